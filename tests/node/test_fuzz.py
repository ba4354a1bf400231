"""Raw bytes at a real server: always an answer or a clean end, and the server is there afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manaflow.node.limits import Limits
from tests.conftest import is_nightly
from tests.node.served import METHODS, Served, frame, read_all, request, upgraded

EXAMPLES = 20_000 if is_nightly() else 100
FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with Served(Limits(max_body_bytes=10_000, max_message_bytes=10_000, header_timeout=1, body_timeout=1)) as served:
        yield served
        assert served.is_alive()
        assert served.metrics.registry.get_sample_value("manaflow_rpc_errors_total", {"method": "http"}) is None


METHOD_NAMES = [name for name in sorted(METHODS) if name not in ("t_sleep", "t_large", "t_broken", "t_unreadable")]
PIECES = b'[ ] { } , null 1e400 -0 "0x1" "\\u0000" \xff " \\ {"jsonrpc":"2.0", "id": "method": "params":'.split()
SNIPPETS = st.sampled_from([*PIECES, *(b'"%b"' % name.encode() for name in METHOD_NAMES)])
VALID = st.sampled_from(METHOD_NAMES).map(
    lambda name: json.dumps({"jsonrpc": "2.0", "id": 1, "method": name, "params": ["0x1", "0x2"]}).encode()
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid request with a piece replaced."""
    body = draw(VALID)
    start, length = draw(st.integers(0, len(body))), draw(st.integers(0, 5))
    return body[:start] + draw(st.binary(max_size=4) | SNIPPETS) + body[start + length :]


BODIES = st.binary(max_size=200) | st.lists(SNIPPETS, max_size=30).map(b"".join) | VALID | damaged()


def check_answer(body: bytes) -> None:
    """It is JSON-RPC: an object or a list of them, each with a result or an error."""
    decoded = json.loads(body)
    for one in decoded if isinstance(decoded, list) else [decoded]:
        assert one["jsonrpc"] == "2.0"
        assert ("result" in one) != ("error" in one)


@FUZZ
@given(body=BODIES)
def test_any_body_is_answered(served: Served, body: bytes) -> None:
    raw = served.socket()
    raw.sendall(request(body, "Connection: close"))
    head, _, answer = read_all(raw).partition(b"\r\n\r\n")
    raw.close()
    status = int(head.split(b" ")[1])
    assert status in (200, 204)
    if status == 200:
        check_answer(answer)


@FUZZ
@given(messages=st.lists(st.tuples(BODIES, st.sampled_from([1, 2])), min_size=1, max_size=5))
def test_any_websocket_message_is_answered_or_ends_it(served: Served, messages: list[tuple[bytes, int]]) -> None:
    raw = upgraded(served)
    raw.sendall(b"".join(frame(body, opcode) for body, opcode in messages) + frame(b"\x03\xe8", opcode=8))
    read_all(raw)
    raw.close()


LINES = b"""\
POST / HTTP/1.1
GET /health HTTP/1.1
OPTIONS * HTTP/9.9
Host: localhost
Host: \xff
Content-Type: application/json
Content-Length: 2
Content-Length: -1
Content-Length: 99999999999999999999999
Transfer-Encoding: chunked
Expect: 100-continue
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Version: 13
ffffffffffffffff
0

{}
""".replace(b"\n", b"\r\n").splitlines(keepends=True)
REQUESTS = st.lists(st.sampled_from([*LINES, b"GET ", b"\x00", b":"]), max_size=15).map(b"".join)


@FUZZ
@given(data=st.binary(max_size=300) | REQUESTS)
def test_any_bytes_at_the_port_end_cleanly(served: Served, data: bytes) -> None:
    raw = served.socket()
    try:
        raw.sendall(data)
        raw.shutdown(1)
    except OSError:
        pass
    answer = read_all(raw)
    raw.close()
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert b" 500 " not in answer.split(b"\r\n")[0]


@FUZZ
@given(data=st.binary(max_size=300))
def test_any_bytes_after_the_handshake_end_cleanly(served: Served, data: bytes) -> None:
    raw = upgraded(served)
    try:
        raw.sendall(data)
        raw.shutdown(1)
    except OSError:
        pass
    read_all(raw)
    raw.close()
