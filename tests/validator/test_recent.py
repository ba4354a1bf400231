"""The memory of sealed blocks: what it finds, and that looking a maker up does not cost what the maker's size is."""

from __future__ import annotations

from pathlib import Path

import pytest

from manaflow.moves.marks import Location, Mask
from manaflow.validator.recent import RecentBlock
from tests.manaflow_chain import Producer
from tests.validator.admitting import Stage


def key(location: Location) -> bytes:
    return bytes([location[0]]) + location[1] + location[2]


@pytest.fixture
def block(tmp_path: Path) -> RecentBlock:
    stage = Stage(tmp_path / "state")
    stage.open()
    sender = stage.sender()
    sender.send(sender.fill([stage.transfer(i, stage.addresses[i + 1]) for i in range(3)]))
    sealed = stage.seal()
    stage.close()
    return RecentBlock(sealed)


def test_every_cell_is_found_by_its_maker_and_location(block: RecentBlock) -> None:
    leaves, offsets = block.block.leaves.objects(), block.block.leaves.move_offsets().tolist()
    makers = 0
    for t, leaf in enumerate(leaves):
        for i, move in enumerate(block.block.moves.take(offsets[t], offsets[t + 1]).objects()):
            found = block.made(leaf.txid, key(move.location))
            assert found == (None if move.mask & Mask.REFERENCE else leaf.first_cell + i)
            makers += found is not None
        for wrong in (bytes(53), b"\xff" * 53):
            assert block.made(leaf.txid, wrong) is None
    assert makers == block.block.header.cells
    assert block.made(b"\x07" * 32, key(block.block.moves[0].location)) is None


def test_a_maker_of_many_cells_is_not_read_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's batch may ask once for each of its moves, of a maker with thousands of cells."""
    genesis = Producer(accounts=200).genesis.block
    block, asked = RecentBlock(genesis), 0
    read = RecentBlock._key

    def counted(self: RecentBlock, row: int) -> bytes:
        nonlocal asked
        asked += 1
        return read(self, row)

    monkeypatch.setattr(RecentBlock, "_key", counted)
    assert genesis.header.cells > 200
    for row in range(genesis.header.cells):
        assert block.made(genesis.leaves.txid[0].tobytes(), key(genesis.moves[row].location)) == 1 + row
    assert asked <= 10 * genesis.header.cells
