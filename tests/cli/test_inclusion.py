"""prove-inclusion and verify-inclusion: from files and from a state directory, by place and by id."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from manaflow.cli.files import read_block
from tests.cli.conftest import Ran, refused

Command = Callable[..., Ran]
LAST = 2971845
FIRST = LAST - 1
GENESIS = FIRST - 1


@pytest.mark.parametrize("transaction", [f"{LAST}:5", f"{FIRST}:0", f"{GENESIS}:0"])
def test_files_and_state_give_the_same_proof(
    chain: Path, imported: Path, tmp_path: Path, manaflow: Command, transaction: str
) -> None:
    names, sources = ("files", "state"), ((chain,), ("--state", imported))
    for name, source in zip(names, sources, strict=True):
        found = manaflow(
            "prove-inclusion", *source, "--transaction", transaction, "--move", 0, "--out", tmp_path / name, "--json"
        ).json
    assert (tmp_path / "files").read_bytes() == (tmp_path / "state").read_bytes()
    head = read_block(chain / f"{LAST}.mana").hash
    assert found["head"] == "0x" + head.hex()
    shown = manaflow("verify-inclusion", tmp_path / "state", "--head", found["head"], "--json").json
    assert f"{shown['block_number']}:{shown['transaction']}" == transaction
    assert shown == {name: value for name, value in found.items() if name not in ("file", "bytes", "head")}
    assert found["bytes"] == (tmp_path / "state").stat().st_size < 3_000


def test_by_id_and_under_an_earlier_head(chain: Path, imported: Path, tmp_path: Path, manaflow: Command) -> None:
    block, out = read_block(chain / f"{FIRST}.mana"), tmp_path / "proof"
    txid = "0x" + block.leaves.txid[2].tobytes().hex()
    by_id = ("prove-inclusion", "--state", imported, "--transaction", txid, "--out", out, "--json")
    deep = manaflow(*by_id).json
    assert (deep["block_number"], deep["transaction"], deep["move"]) == (FIRST, 2, None)
    itself = manaflow(*by_id, "--head", block.hash.hex()).json
    assert itself["bytes"] < deep["bytes"] - 300
    assert manaflow("verify-inclusion", out, "--head", itself["head"]).code == 0
    assert refused(manaflow("verify-inclusion", out, "--head", deep["head"]), 1).startswith("rejected: the head in")


def test_people_are_told_what_it_shows(chain: Path, tmp_path: Path, manaflow: Command) -> None:
    out = tmp_path / "proof"
    ran = manaflow("prove-inclusion", chain, "--transaction", f"{LAST}:5", "--move", 0, "--out", out)
    assert "move 0" in ran.out
    command = ran.out.splitlines()[1].split()[1:]
    told = manaflow(*command).out
    assert f"stands in block {LAST} of chain 17000 at place 5" in told
    assert "not shown: that the cell it made still lives" in told


def test_usage(chain: Path, imported: Path, tmp_path: Path, manaflow: Command) -> None:
    out, block = tmp_path / "proof", read_block(chain / f"{LAST}.mana")

    def prove(transaction: str, *more: object, source: tuple[object, ...] = (chain,)) -> str:
        return refused(manaflow("prove-inclusion", *source, "--transaction", transaction, "--out", out, *more), 2)

    assert "has no transaction 999" in prove(f"{LAST}:999")
    assert "transaction 5 with a move 999" in prove(f"{LAST}:5", "--move", 999)
    for beyond in (GENESIS - 1, LAST + 1):
        assert "is not in the chain" in prove(f"{beyond}:0")
    assert "is not in the chain" in prove(f"{LAST}:0", "--head", read_block(chain / f"{FIRST}.mana").hash.hex())
    assert "has the transaction 0x12" in prove("0x12")
    for nothing in ("5", "5:", ":5", "-1:5", "²:1", "head"):
        assert "is neither" in prove(nothing), nothing
    assert "the chain has no block" in prove(f"{LAST}:0", "--head", "00" * 32)
    assert "is no block hash" in prove(f"{LAST}:0", "--head", "0x12")
    assert "either block files or --state" in prove(f"{LAST}:0", source=())
    assert "either block files or --state" in prove(f"{LAST}:0", "--state", imported)
    assert not out.exists()
    (tmp_path / "long").write_bytes(bytes(2**14 + 1))
    refused(manaflow("verify-inclusion", tmp_path / "long", "--head", block.hash.hex()), 3)
    refused(manaflow("verify-inclusion", out, "--head", block.hash.hex()), 2)
    refused(manaflow("verify-inclusion", chain / f"{FIRST}.mana", "--head", block.hash.hex()), 1)
