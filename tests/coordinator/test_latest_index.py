"""The latest index against a plain dict over random chains, back and forth, and after being reopened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manaflow.coordinator import latest_index
from manaflow.coordinator.latest_index import Cell, LatestIndex, LatestTip, key_of
from manaflow.coordinator.receipts import Receipt
from manaflow.errors import Failure, Locked, StorageFailure
from manaflow.moves.block import Block
from manaflow.moves.marks import ZERO32, Location
from manaflow.validator.store import ROOM
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


@pytest.mark.parametrize("waiting", [0, 2, 100])
@pytest.mark.parametrize("seed", range(3))
def test_it_follows_and_goes_back(tmp_path: Path, seed: int, waiting: int) -> None:
    chain = random_chain(6, seed)
    states: list[State] = [{}]
    for block in chain.blocks:
        states.append(after(states[-1], block))
    everywhere = set(states[-1])
    with LatestIndex.open(tmp_path, waiting=waiting) as index:
        for height, block in enumerate(chain.blocks):
            index.apply(block, receipts_of(block))
            same(index, states[height + 1], everywhere)
            assert index.receipts(block.header.number) == tuple(receipts_of(block))
    with LatestIndex.open(tmp_path, waiting=waiting) as index:  # as another process finds it
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


@pytest.mark.parametrize("waiting", [0, 3])
@pytest.mark.parametrize("most", [0, 8, 40, 1 << 16])
def test_what_is_in_memory_is_what_the_disk_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, waiting: int
) -> None:
    monkeypatch.setattr(latest_index, "MAX_RECENT", most)
    chain = random_chain(5, 7)
    states: list[State] = [{}]
    for block in chain.blocks:
        states.append(after(states[-1], block))
    everywhere = set(states[-1])
    with LatestIndex.open(tmp_path, waiting=waiting) as index:
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


def stored_tip(index: LatestIndex) -> int | None:
    """Number of the block that the disk has."""
    with index._store.read() as txn:
        tip = latest_index._read_tip(txn)
    return None if tip is None else tip.number


def test_blocks_wait_for_each_other_and_for_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, found = random_chain(9).blocks, []
    with LatestIndex.open(tmp_path, waiting=2) as index:
        for block in blocks[:6]:
            index.apply(block, receipts_of(block))
            found.append(stored_tip(index))
        assert found == [None, None, 2, 2, 2, 5]
        index.apply(blocks[6], receipts_of(blocks[6]))
        index.keep([(1, b"a")])
        assert stored_tip(index) == 6, "what waits goes with the pool"
        monkeypatch.setattr(latest_index, "MAX_WAITING_CELLS", 0)
        index.apply(blocks[7], receipts_of(blocks[7]))
        assert stored_tip(index) == 7, "so many cells do not wait"
        monkeypatch.undo()
        index.apply(blocks[8], receipts_of(blocks[8]))
        assert stored_tip(index) == 7
    with LatestIndex.open(tmp_path) as index:
        assert index.tip == LatestTip(8, blocks[8].hash)


def test_large_receipts_and_pools_have_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits together, and what is kept together, must fit the free bytes that a commit asks for."""
    blocks, asked = random_chain(5, transactions=1).blocks, list[int]()
    with LatestIndex.open(tmp_path, waiting=4) as index:
        index.apply(blocks[0], ())
        for block in blocks[1:3]:
            index.apply(block, [replace(receipt, logs_rlp=bytes(9 << 20)) for receipt in receipts_of(block)])
        assert stored_tip(index) == 2, "so many bytes do not wait"
        writes = index._store.write

        def noting(room: int) -> Any:
            asked.append(room)
            return writes(room)

        monkeypatch.setattr(index._store, "write", noting)
        index.apply(blocks[3], [replace(receipt, logs_rlp=bytes(1000)) for receipt in receipts_of(blocks[3])])
        index.keep(iter([(1, bytes(5000)), (2, bytes(7000))]))
        assert asked[0] >= ROOM + 2 * 13_000
        assert index.kept() == ((1, bytes(5000)), (2, bytes(7000)))


def test_blocks_bring_back_what_waited_in_memory(tmp_path: Path) -> None:
    blocks = random_chain(7).blocks
    index = LatestIndex.open(tmp_path, waiting=4)
    for block in blocks[:7]:
        index.apply(block, receipts_of(block))
    index._drop_view()
    index._store.close()  # as a process ends that is killed
    with LatestIndex.open(tmp_path, waiting=4) as index:
        assert index.tip == LatestTip(4, blocks[4].hash)
        for block in blocks[5:]:
            index.apply(block, receipts_of(block))
        index.undo(blocks[-1])
        same(index, state_of(blocks[:-1]), set(state_of(blocks)))
        assert index.receipts(6) == tuple(receipts_of(blocks[6]))


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = random_chain(3).blocks
    everywhere = set(state_of(blocks))
    with LatestIndex.open(tmp_path, waiting=2) as index:
        for block in blocks[:2]:
            index.apply(block, receipts_of(block))

        def fail(*_: object) -> None:
            raise StorageFailure("the disk is full")

        with monkeypatch.context() as broken:
            broken.setattr(latest_index, "_write_tip", fail)
            broken.setattr(latest_index, "MAX_WAITING_CELLS", 0)
            with pytest.raises(StorageFailure):
                index.apply(blocks[2], receipts_of(blocks[2]))
        assert index.tip == LatestTip(1, blocks[1].hash)
        assert stored_tip(index) is None
        same(index, state_of(blocks[:2]), everywhere)
        assert index.receipts(2) is None
        index.apply(blocks[2], receipts_of(blocks[2]))
        same(index, state_of(blocks[:3]), everywhere)


def state_of(blocks: Sequence[Block]) -> State:
    """The cells after blocks from genesis on."""
    state: State = {}
    for block in blocks:
        state = after(state, block)
    return state


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
