"""Missing, damaged, foreign and hostile inputs: the right exit code, one clear line, nothing changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from manaflow.cli.files import MAX_FILE_BYTES
from manaflow.cli.keys import MAX_KEYSTORE_BYTES
from manaflow.validator.validator import Validator
from tests.cli.conftest import HOLESKY, Ran, refused

Command = Callable[..., Ran]
BLOCK = "2971845.mana"
HASH = "0x" + "11" * 32


@pytest.fixture
def damaged(chain: Path, tmp_path: Path) -> dict[str, Path]:
    """Block files that are none, by what is wrong with them."""
    good = (chain / BLOCK).read_bytes()
    contents = {
        "empty": b"",
        "garbage": b"not a block at all, however long this text may go on to be" * 3,
        "truncated": good[: len(good) // 2],
        "one byte more": good + b"\0",
        "one bit": good[:200] + bytes((good[200] ^ 1,)) + good[201:],
    }
    for name, data in contents.items():
        (tmp_path / f"{name}.mana").write_bytes(data)
    return {name: tmp_path / f"{name}.mana" for name in contents}


@pytest.mark.parametrize("what", ["empty", "garbage", "truncated", "one byte more", "one bit"])
def test_damaged_block_files_break_b1(
    what: str, damaged: dict[str, Path], chain: Path, first: Path, manaflow: Command
) -> None:
    path = damaged[what]
    commands: list[tuple[object, ...]] = [
        ("import", path, "--state", first),
        ("verify", path, "--genesis", chain / "genesis.mana"),
        ("inspect", "block", path),
        ("tamper", path, "--transaction", 0, "--field", "gas", "--out", path.with_suffix(".out")),
        ("prove", path, "--state", first, "--out", path.with_suffix(".out")),
    ]
    for command in commands:
        assert str(path) in refused(manaflow(*command), 1)
        verdict = manaflow(*command, "--json").json["verdict"]
        assert verdict["rule"] == "B1"
    assert not path.with_suffix(".out").exists()
    assert manaflow("head", "--state", first, "--json").json["number"] == 2971844


def test_missing_files_are_wrong_usage(chain: Path, first: Path, tmp_path: Path, manaflow: Command) -> None:
    missing = tmp_path / "missing"
    for command in (
        ("replay", missing, "--out", tmp_path / "out"),
        ("import", missing, "--state", first),
        ("import", chain / BLOCK, "--state", first, missing),
        ("verify", missing),
        ("verify", chain, "--genesis", missing),
        ("inspect", "block", missing),
        ("tamper", missing, "--transaction", 0, "--field", "gas", "--out", tmp_path / "out"),
        ("prove", missing, "--state", first, "--out", tmp_path / "out"),
        ("verify-proof", missing, "--head", HASH),
    ):
        assert "missing" in refused(manaflow(*command), 2)
    assert not (tmp_path / "out").exists()


def test_a_folder_is_no_file(chain: Path, manaflow: Command) -> None:
    assert "is a folder" in refused(manaflow("inspect", "block", chain), 2)


def test_a_file_without_end_is_not_read(tmp_path: Path, manaflow: Command) -> None:
    path = tmp_path / "endless.mana"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert "longer than" in refused(manaflow("inspect", "block", path), 3)


@pytest.mark.parametrize("command", ["head", "check", "undo"])
def test_a_directory_without_a_state(command: str, tmp_path: Path, manaflow: Command) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        assert "no state directory" in refused(manaflow(command, "--state", path), 3)
    assert not (tmp_path / "missing").exists()


def test_a_state_directory_of_something_else(tmp_path: Path, manaflow: Command) -> None:
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
    refused(manaflow("head", "--state", tmp_path), 3)


def test_a_new_state_needs_a_genesis(chain: Path, tmp_path: Path, manaflow: Command) -> None:
    lonely = shutil.copy(chain / BLOCK, tmp_path / BLOCK)
    assert "genesis.mana" in refused(manaflow("import", lonely, "--state", tmp_path / "state"), 2)
    assert not (tmp_path / "state").exists()


def test_a_genesis_of_another_chain(chain: Path, state: Path, tmp_path: Path, manaflow: Command) -> None:
    assert manaflow("replay", HOLESKY[1], "--out", tmp_path / "other").code == 0
    line = refused(manaflow("import", tmp_path / "other" / "genesis.mana", "--state", state), 3)
    assert "another chain" in line


def test_a_locked_state(state: Path, chain: Path, manaflow: Command) -> None:
    with Validator.open(state):
        for command in (("head", "--state", state), ("import", chain, "--state", state)):
            ran = manaflow(*command, "--json")
            refused(ran, 3)
            assert ran.json["failure"]["kind"] == "Locked"
    assert manaflow("head", "--state", state).code == 0


def test_undo_stops_at_genesis(state: Path, manaflow: Command) -> None:
    assert "genesis cannot be undone" in refused(manaflow("undo", "--state", state, "--count", 3), 3)
    assert manaflow("head", "--state", state, "--json").json["number"] == 2971843


def test_a_block_that_does_not_follow(chain: Path, state: Path, manaflow: Command) -> None:
    assert manaflow("undo", "--state", state, "--count", 2).code == 0
    assert "builds on" in refused(manaflow("import", chain / BLOCK, "--state", state), 3)


def test_ethereum_files_that_are_none(tmp_path: Path, manaflow: Command) -> None:
    for name, data in {"text": b"no json", "json": b"{}", "list": b"[1, 2]", "zstd": b"\x28\xb5\x2f\xfd\0\0"}.items():
        (tmp_path / name).write_bytes(data)
        assert name in refused(manaflow("replay", tmp_path / name, "--out", tmp_path / "out"), 3)
    assert not (tmp_path / "out").exists()


def test_a_block_before_paris_is_unsupported(data: Path, tmp_path: Path, manaflow: Command) -> None:
    ran = manaflow("replay", data / "blocks" / "1-12047794.block.json.zst", "--out", tmp_path / "out", "--json")
    refused(ran, 3)
    assert ran.json["failure"]["kind"] == "Unsupported"
    assert not (tmp_path / "out").exists()


def test_replay_does_not_mix_chains(chain: Path, manaflow: Command) -> None:
    assert "already holds a chain" in refused(manaflow("replay", HOLESKY[0], "--out", chain), 2)


@pytest.mark.parametrize("content", [b"", b"zz" * 32, b"ab" * 31, bytes(32), b"\xff" * 32, b"x" * 1000, b"x" * 2**15])
def test_keys_that_are_none(content: bytes, tmp_path: Path, manaflow: Command) -> None:
    key = tmp_path / "key"
    key.write_bytes(content)
    ran = manaflow("replay", HOLESKY[0], "--out", tmp_path / "out", "--producer-key", key)
    refused(ran, 3 if len(content) > MAX_KEYSTORE_BYTES else 2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("head", ["", "0x12", "zz" * 32, HASH + "00"])
def test_a_head_that_is_no_hash(head: str, tmp_path: Path, manaflow: Command) -> None:
    (tmp_path / "proof").write_bytes(b"")
    assert "no block hash" in refused(manaflow("verify-proof", tmp_path / "proof", "--head", head), 2)


@pytest.mark.parametrize(
    "content", [b"", b"MANAPROOF", b"garbage" * 50, b"MANAPROOF\1\xc0", b"MANAPROOF\1" + b"\xff" * 60]
)
def test_proofs_that_are_none(content: bytes, tmp_path: Path, manaflow: Command) -> None:
    (tmp_path / "proof").write_bytes(content)
    ran = manaflow("verify-proof", tmp_path / "proof", "--head", HASH, "--json")
    assert refused(ran, 1).startswith("rejected: ")
    assert json.loads(ran.out)["rejected"]
