"""A shown cell is checked by its proof; every statement of the proof that is not the cell's is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.light.build import prove_inclusion
from manaflow.light.inclusion import InclusionRejected
from manaflow.moves.block import Block
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.wallet.source import Cell
from manaflow.wallet.verify import check_shown, virgin_line
from tests.declared_chain import CHAIN_ID, COUNT, Sealed, sealed_chain

SEALED: Sealed = sealed_chain()
CHAIN = [SEALED.producer.blocks[0], *SEALED.blocks]


def maker(location: Location) -> tuple[Block, int, int, Cell]:
    """(block, transaction, move, cell) of the last consume of a location."""
    for block in reversed(CHAIN):
        offsets = block.leaves.move_offsets()
        for i in range(len(block.leaves) - 1, -1, -1):
            moves = block.moves.take(int(offsets[i]), int(offsets[i + 1])).objects()
            for k, move in enumerate(moves):
                if move.location == location and not move.is_reference:
                    number = int(block.leaves.first_cell[i]) + k
                    return block, i, k, Cell(block.leaves.txid[i].tobytes(), move.next, number)
    raise AssertionError(location)


def proof_of(block: Block, transaction: int, move: int | None, head: Block) -> bytes:
    hashes = [each.hash for each in CHAIN]
    history = hashes[: hashes.index(head.hash)]
    return prove_inclusion(block, transaction, move, SEALED.config.encode(), head.header, history)


BLOCK, AT, MOVE, CELL = maker(COUNT)
HEAD = CHAIN[-1]
PROOF = proof_of(BLOCK, AT, MOVE, HEAD)


def test_a_shown_cell_is_proved_and_its_being_the_latest_is_trusted() -> None:
    shown = check_shown(COUNT, CELL, PROOF, HEAD.hash, CHAIN_ID)
    assert (shown.block, shown.head_number, shown.head_hash) == (BLOCK.header.number, HEAD.header.number, HEAD.hash)
    proved, trusted = shown.lines()
    assert proved.startswith("proved: the storage of")
    assert "0x" + CELL.intx.hex() in proved
    assert trusted.startswith("trusted: that nobody has written it since")


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (replace(CELL, value=ZERO32), "was made"),
        (replace(CELL, intx=b"\1" * 32), "is of transaction"),
        (replace(CELL, intx=ZERO32), "is of transaction"),
        (replace(CELL, number=CELL.number + 1), "number"),
    ],
)
def test_another_cell_than_the_proofs(cell: Cell, words: str) -> None:
    with pytest.raises(InclusionRejected, match=words):
        check_shown(COUNT, cell, PROOF, HEAD.hash, CHAIN_ID)
    check_shown(COUNT, replace(CELL, number=0), PROOF, HEAD.hash, CHAIN_ID)


def test_another_place_chain_head_or_no_move() -> None:
    elsewhere = (Mark.STORAGE, COUNT[1], b"\1" * 32)
    with pytest.raises(InclusionRejected, match="elsewhere"):
        check_shown(elsewhere, CELL, PROOF, HEAD.hash, CHAIN_ID)
    with pytest.raises(InclusionRejected, match="chain"):
        check_shown(COUNT, CELL, PROOF, HEAD.hash, CHAIN_ID + 1)
    with pytest.raises(InclusionRejected, match="trusted head"):
        check_shown(COUNT, CELL, PROOF, CHAIN[1].hash, CHAIN_ID)
    with pytest.raises(InclusionRejected, match="no move"):
        check_shown(COUNT, CELL, proof_of(BLOCK, AT, None, HEAD), HEAD.hash, CHAIN_ID)


def test_a_reference_makes_nothing() -> None:
    offsets = BLOCK.leaves.move_offsets()
    moves = BLOCK.moves.take(int(offsets[AT]), int(offsets[AT + 1])).objects()
    at = next(i for i, move in enumerate(moves) if move.is_reference)
    cell = Cell(CELL.intx, moves[at].prev)
    with pytest.raises(InclusionRejected, match="no move that makes"):
        check_shown(moves[at].location, cell, proof_of(BLOCK, AT, at, HEAD), HEAD.hash, CHAIN_ID)


def test_nothing_is_proved_of_a_virgin_cell() -> None:
    assert virgin_line(COUNT).startswith("trusted: that nobody has ever written the storage of")
