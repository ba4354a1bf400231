"""Checking a cell that one is shown: that it was made is proved by a path, that it is the latest is trusted."""

from __future__ import annotations

from dataclasses import dataclass

from manaflow.light.inclusion import Inclusion, InclusionRejected, verify_inclusion
from manaflow.moves.marks import ZERO32, Location
from manaflow.wallet.source import Cell
from manaflow.wallet.words import cell_name, shown_value


@dataclass(frozen=True, slots=True)
class ShownCell:
    """A cell whose making is proved."""

    location: Location
    cell: Cell
    block: int
    """Number of the block that made it."""
    head_number: int
    head_hash: bytes

    def lines(self) -> list[str]:
        """What is proved, and what is not."""
        name = cell_name(self.location)
        return [
            f"proved: {name} was made {shown_value(self.location, self.cell.value)} by transaction "
            f"0x{self.cell.intx.hex()} in block {self.block}, in the chain of head 0x{self.head_hash.hex()}",
            f"trusted: that nobody has written it since, up to block {self.head_number}: no path can show that a cell "
            "still lives",
        ]


def check_shown(location: Location, cell: Cell, proof: bytes, trusted_head: bytes, chain_id: int) -> ShownCell:
    """Check a cell by an inclusion proof of the move that made it, under a head's hash (32 bytes).

    Raises InclusionRejected: the proof does not hold, or is of another cell.
    """
    shown = verify_inclusion(proof, trusted_head)
    if shown.chain_id != chain_id:
        raise InclusionRejected(f"the proof is of chain {shown.chain_id}, not of {chain_id}")
    if cell.intx == ZERO32 or shown.txid != cell.intx:
        raise InclusionRejected(f"the proof is of transaction 0x{shown.txid.hex()}, the cell of 0x{cell.intx.hex()}")
    _check_move(shown, location, cell)
    return ShownCell(location, cell, shown.block_number, shown.head_number, shown.head_hash)


def _check_move(shown: Inclusion, location: Location, cell: Cell) -> None:
    move = shown.move
    if move is None or move.makes is None:
        raise InclusionRejected("the proof shows no move that makes a cell")
    mark, address, slot = location
    if (move.mark, move.addr, move.slot) != (chr(mark), address, slot):
        raise InclusionRejected("the proof is of a cell elsewhere")
    if move.next != cell.value:
        raise InclusionRejected(f"the cell was made 0x{move.next.hex()}, shown is 0x{cell.value.hex()}")
    if cell.number and move.makes != cell.number:
        raise InclusionRejected(f"the cell's number is {move.makes}, shown is {cell.number}")


def virgin_line(location: Location) -> str:
    """What is to be said of a cell that nobody is said to have made."""
    return (
        f"trusted: that nobody has ever written {cell_name(location)}, so that it is zero: no path can show that a "
        "cell is not there"
    )
