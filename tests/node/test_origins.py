"""Hosts and origins, by themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from manaflow.node.origins import OriginPolicy, host_name, is_loopback

LOCAL = OriginPolicy(True, frozenset({"node.example"}), frozenset({"https://wallet.example"}))
OPEN = OriginPolicy(False, frozenset(), frozenset({"*"}))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8545", "localhost"),
        ("[::1]:8545", "::1"),
        ("a.example.", "a.example"),
        ("", ""),
        ("[::1", ""),
        ("user@evil", "evil"),
        ("localhost/@evil", "localhost"),
    ],
)
def test_host_names(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost:1", True),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("192.168.0.7:8545", True),
        ("node.example", True),
        ("NODE.example:1", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_hosts(host: str, allowed: bool) -> None:
    assert LOCAL.allows_host(host) is allowed
    assert (LOCAL.refusal(Headers({"host": host})) is None) is allowed
    assert OPEN.refusal(Headers({"host": host})) is None


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://wallet.example", True),
        ("http://localhost:8545", True),
        ("moz-extension://abc", True),
        ("http://wallet.example", False),
        ("https://wallet.example.evil", False),
        ("http://localhost:3000", False),
        ("HTTPS://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_origins(origin: str, allowed: bool) -> None:
    headers = Headers({"host": "localhost:8545", "origin": origin})
    assert (LOCAL.refusal(headers) is None) is allowed
    assert OPEN.refusal(headers) is None
    assert bool(LOCAL.cors_headers(origin)) is (origin == "https://wallet.example")


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_judged(host: str, origin: str) -> None:
    LOCAL.allows_host(host)
    LOCAL.allows_origin(origin, host)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
