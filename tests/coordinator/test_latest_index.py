"""The latest index against a plain dict over random chains, back and forth, and after being reopened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from manaflow.coordinator import latest_index
from manaflow.coordinator.latest_index import Cell, LatestIndex, LatestTip, key_of
from manaflow.coordinator.receipts import Receipt
from manaflow.errors import Failure, Locked
from manaflow.moves.block import Block
from manaflow.moves.marks import ZERO32, Location
from tests.chain import random_chain
from tests.conftest import ROOT

State = dict[Location, Cell]


def after(state: State, block: Block) -> State:
    """The cells after a block, move by move."""
    found, number = dict(state), block.header.first_cell
    offsets = block.leaves.move_offsets().tolist()
    for leaf in range(len(block.leaves)):
        for row in range(offsets[leaf], offsets[leaf + 1]):
            move = block.moves[row]
            if not move.is_reference:
                found[move.location] = Cell(number, block.leaves[leaf].txid, move.next)
                number += 1
    return found


def receipts_of(block: Block) -> list[Receipt]:
    return [Receipt(2, 1, 21_000 * (i + 1), b"\xc0") for i in range(len(block.envelopes))]


def same(index: LatestIndex, state: State, everywhere: set[Location]) -> None:
    for location in everywhere:
        assert index.cell(location) == state.get(location, Cell(0, ZERO32, ZERO32))
        assert (index.source(key_of(location)) or ZERO32) == index.cell(location).value


@pytest.mark.parametrize("seed", range(3))
def test_it_follows_and_goes_back(tmp_path: Path, seed: int) -> None:
    chain = random_chain(6, seed)
    states: list[State] = [{}]
    for block in chain.blocks:
        states.append(after(states[-1], block))
    everywhere = set(states[-1])
    with LatestIndex.open(tmp_path) as index:
        for height, block in enumerate(chain.blocks):
            index.apply(block, receipts_of(block))
            same(index, states[height + 1], everywhere)
    with LatestIndex.open(tmp_path) as index:  # as another process finds it
        assert index.tip == LatestTip(chain.blocks[-1].header.number, chain.blocks[-1].hash)
        for height in range(len(chain.blocks) - 1, 0, -1):
            block = chain.blocks[height]
            txid, number = block.leaves[len(block.leaves) - 1].txid, block.header.number
            assert index.transaction(txid) == (number, len(block.leaves) - 1)
            assert index.receipts(number) == tuple(receipts_of(block))
            index.undo(block)
            same(index, states[height], everywhere)
            assert index.transaction(txid) is None
            assert index.receipts(number) is None
        for height, block in enumerate(chain.blocks[1:], 1):  # forward again, from what undo left
            index.apply(block, receipts_of(block))
            same(index, states[height + 1], everywhere)


@pytest.mark.parametrize("most", [0, 8, 1 << 16])
def test_what_is_in_memory_is_what_the_disk_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(latest_index, "MAX_RECENT", most)
    chain = random_chain(5, 7)
    states: list[State] = [{}]
    for block in chain.blocks:
        states.append(after(states[-1], block))
    everywhere = set(states[-1])
    with LatestIndex.open(tmp_path) as index:
        for height, block in enumerate(chain.blocks):
            index.apply(block, receipts_of(block))
            if height:  # there, back, and there again
                index.undo(block)
                same(index, states[height], everywhere)
                assert index.transaction(block.leaves.txid[0].tobytes()) is None
                index.apply(block, receipts_of(block))
            same(index, states[height + 1], everywhere)
            assert index.transaction(block.leaves.txid[0].tobytes()) == (block.header.number, 0)
            assert max(len(index._cells), len(index._places)) <= most


def test_what_does_not_follow_changes_nothing(tmp_path: Path) -> None:
    genesis, first, second = random_chain(2).blocks
    with LatestIndex.open(tmp_path) as index:
        index.apply(genesis, ())
        with pytest.raises(Failure, match="does not follow"):
            index.apply(second, receipts_of(second))
        with pytest.raises(Failure, match="not the tip"):
            index.undo(first)
        with pytest.raises(Failure, match="too old"):
            index.undo(genesis)
        with pytest.raises(ValueError, match="receipts for"):
            index.apply(first, ())
        index.apply(first, receipts_of(first))
        assert index.tip == LatestTip(first.header.number, first.hash)


def test_old_journals_go(tmp_path: Path) -> None:
    chain = random_chain(70, transactions=1)
    with LatestIndex.open(tmp_path) as index:
        for block in chain.blocks:
            index.apply(block, receipts_of(block))
        for block in reversed(chain.blocks[-64:]):
            index.undo(block)
        with pytest.raises(Failure, match="too old"):
            index.undo(chain.blocks[-65])


def test_one_owner(tmp_path: Path) -> None:
    with LatestIndex.open(tmp_path), pytest.raises(Locked):
        LatestIndex.open(tmp_path)


def test_the_pool_is_kept_in_order(tmp_path: Path) -> None:
    with LatestIndex.open(tmp_path) as index:
        index.keep([(300, b"c"), (2, b"b")])
        index.keep([(1, b"a")], [300, 77])
    with LatestIndex.open(tmp_path) as index:
        assert index.kept() == ((1, b"a"), (2, b"b"))


CHILD = """
import sys
from pathlib import Path
from manaflow.coordinator.latest_index import LatestIndex
from tests.chain import random_chain
from tests.coordinator.test_latest_index import receipts_of
index = LatestIndex.open(Path(sys.argv[1]))
for i, block in enumerate(random_chain(40).blocks):
    index.apply(block, receipts_of(block))
    index.keep([(i, bytes([i]))])
    print(i, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    chain = random_chain(40)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    assert child.stdout is not None
    said = -1
    while said < 12:
        said = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().split()
    child.wait()
    said = int(rest[-1]) if rest else said
    with LatestIndex.open(tmp_path) as index:
        assert index.tip is not None
        assert index.tip.number - chain.blocks[0].header.number in (said, said + 1)
        assert len(index.kept()) in (said + 1, said + 2)
        height = index.tip.number - chain.blocks[0].header.number
        state: State = {}
        for block in chain.blocks[: height + 1]:
            state = after(state, block)
        same(index, state, set(state))
        for block in chain.blocks[height + 1 :]:
            index.apply(block, receipts_of(block))
