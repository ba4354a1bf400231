"""Proofs of what is wrong with a header, a total or a body: dishonest blocks as files, convicted by the command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manaflow.cli.files import read_block
from manaflow.cli.tamper import body_of
from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.coordinator.seal import seal, sign
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.block import Block
from manaflow.moves.wire import encode_block
from tests.cli.conftest import Ran, refused

Command = Callable[..., Ran]


def base_fee(block: Block) -> Block:
    return seal(replace(block.header, base_fee=block.header.base_fee + 1), body_of(block), DEVELOPMENT_KEY, NATIVE)


def history(block: Block) -> Block:
    return seal(replace(block.header, history_root=bytes(32)), body_of(block), DEVELOPMENT_KEY, NATIVE)


def total(block: Block) -> Block:
    """Gas before transaction 7 is one too much."""
    gas = block.leaves.gas.copy()
    gas[7] += np.uint64(1)
    leaves = replace(block.leaves, gas=gas)
    return resigned(replace(block, leaves=leaves), NATIVE.tree_root(leaves.encoded()))


def system_leaf(block: Block) -> Block:
    """The first system transaction has another id."""
    txid = block.leaves.txid.copy()
    txid[0, 0] ^= 1
    return seal(block.header, replace(body_of(block), txid=txid), DEVELOPMENT_KEY, NATIVE)


def resigned(block: Block, transactions_root: bytes) -> Block:
    header = replace(block.header, transactions_root=transactions_root)
    return replace(block, header=header, signature=sign(header.hash, DEVELOPMENT_KEY))


LIES: dict[str, Callable[[Block], Block]] = {"B2": base_fee, "B3": total, "B6": history, "B8": system_leaf}


@pytest.mark.parametrize("rule", LIES)
def test_a_lie_about_the_block_is_proved(
    rule: str, chain: Path, first: Path, tmp_path: Path, manaflow: Command
) -> None:
    lie, proof = tmp_path / "lie.mana", tmp_path / "lie.proof"
    dishonest = LIES[rule](read_block(chain / "2971845.mana"))
    lie.write_bytes(encode_block(dishonest, NATIVE))
    assert rule in refused(manaflow("import", lie, "--state", first), 1)
    proved = manaflow("prove", lie, "--state", first, "--out", proof, "--json").json
    assert proved["rule"] == rule
    assert manaflow("verify-proof", proof, "--head", "0x" + dishonest.hash.hex()).code == 0


def test_a_body_that_is_not_the_headers_convicts_nobody(
    chain: Path, first: Path, tmp_path: Path, manaflow: Command
) -> None:
    """Whoever passes on a wrong body proves nothing against the producer, who did not sign it."""
    block = read_block(chain / "2971845.mana")
    status = block.leaves.status.copy()
    status[4] ^= 1
    lie = tmp_path / "lie.mana"
    lie.write_bytes(encode_block(replace(block, leaves=replace(block.leaves, status=status)), NATIVE))
    assert "B3" in refused(manaflow("import", lie, "--state", first), 1)
    line = refused(manaflow("prove", lie, "--state", first, "--out", tmp_path / "proof"), 3)
    assert "no file shows" in line
