"""A producer's key: encrypted on disk, whole round, and every way in which it is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from coincurve import PrivateKey

from manaflow.cli.files import read_key
from manaflow.cli.keys import decrypt, is_keystore, producer_key
from manaflow.coordinator.genesis import manaflow_config
from manaflow.coordinator.replay import address_of
from manaflow.errors import Failure
from tests.cli.conftest import Ran, refused

Command = Callable[..., Ran]


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manaflow: Command) -> Path:
    monkeypatch.setenv("MANAFLOW_PASSWORD", "correct horse")
    assert manaflow("keys", "new", "--out", tmp_path / "key.json").code == 0
    return tmp_path / "key.json"


def test_a_new_key_is_encrypted_and_its_address_is_what_a_genesis_names(key: Path, manaflow: Command) -> None:
    secret = read_key(key)
    assert secret.hex() not in key.read_text()
    assert key.stat().st_mode & 0o777 == 0o600
    shown = manaflow("keys", "show", key, "--json").json
    assert shown["address"] == "0x" + address_of(secret).hex()
    assert producer_key(key, manaflow_config(7778, [address_of(secret)])) == secret


def test_a_key_is_never_overwritten(key: Path, manaflow: Command) -> None:
    before = key.read_bytes()
    refused(manaflow("keys", "new", "--out", key), 2)
    assert key.read_bytes() == before


def test_a_password_comes_from_a_file_before_the_environment(key: Path, tmp_path: Path, manaflow: Command) -> None:
    (tmp_path / "wrong").write_text("another\n")
    assert "password is wrong" in refused(manaflow("keys", "show", key, "--password-file", tmp_path / "wrong"), 3)
    (tmp_path / "right").write_text("correct horse\n")
    assert manaflow("keys", "show", key, "--password-file", tmp_path / "right").code == 0
    (tmp_path / "empty").write_text("")
    assert "empty password" in refused(manaflow("keys", "show", key, "--password-file", tmp_path / "empty"), 2)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\n")
    assert "UTF-8" in refused(manaflow("keys", "show", key, "--password-file", tmp_path / "bytes"), 2)


def test_a_password_that_is_no_text_makes_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manaflow: Command
) -> None:
    monkeypatch.setitem(os.environ, "MANAFLOW_PASSWORD", os.fsdecode(b"\xff"))
    for group in ("keys", "wallet"):
        assert "UTF-8" in refused(manaflow(group, "new", "--out", tmp_path / "new.json"), 2)
    assert list(tmp_path.iterdir()) == []


def test_a_newer_keystore_and_a_damaged_one_are_refused(key: Path, manaflow: Command) -> None:
    kept = json.loads(key.read_text())
    key.write_text(json.dumps(kept | {"version": 4}))
    assert "version 4; this program reads version 3" in refused(manaflow("keys", "show", key), 3)
    key.write_text(json.dumps({"version": 3, "pad": "x" * 100}))
    assert "damaged keystore" in refused(manaflow("keys", "show", key), 3)
    for text in ("[]", "", "{", "[" * 16_000):
        key.write_text(text)
        told = refused(manaflow("keys", "show", key), 3)
        assert "no keystore" in told
        assert str(key) in told


@pytest.mark.parametrize("dear", [{"n": 2**40}, {"n": 2, "r": 2**28}, {"p": 2**20}, {"dklen": 2**40}])
def test_a_hostile_keystore_takes_no_memory_and_no_time(key: Path, manaflow: Command, dear: dict[str, int]) -> None:
    """The producer's operator opens it with the same care as a wallet's owner."""
    kept = json.loads(key.read_text())
    kept["crypto"]["kdfparams"] |= dear
    key.write_text(json.dumps(kept))
    assert "more memory or time" in refused(manaflow("keys", "show", key), 3)
    with pytest.raises(Failure, match="more memory or time"):
        read_key(key)


def test_a_key_of_no_producer_is_refused(key: Path) -> None:
    with pytest.raises(Failure, match=r"no producer of this chain \(B7\)"):
        producer_key(key, manaflow_config(7778, [b"\1" * 20]))


def test_a_bare_key_that_begins_with_a_brace_is_one(tmp_path: Path) -> None:
    bare = b"{" * 32
    PrivateKey(bare)
    (tmp_path / "key").write_bytes(bare)
    assert not is_keystore(bare)
    assert read_key(tmp_path / "key") == bare
    with pytest.raises(Failure, match="no keystore"):
        decrypt(tmp_path / "key", bare, "x")
