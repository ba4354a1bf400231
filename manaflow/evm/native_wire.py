"""The native twin of manaflow.moves.wire_moves.encode_moves."""

from __future__ import annotations

from manaflow import _native
from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.wire_moves import MoveFrames


def encode_moves(moves: Moves, leaves: Leaves, first_cell: int) -> MoveFrames:
    """See manaflow.moves.wire_moves; the GIL is released. Raises ValueError if the leaves do not count the moves."""
    columns = moves.mask, moves.mark, moves.number, moves.addr, moves.slot, moves.prev, moves.next
    return MoveFrames(*_native.encode_moves(*columns, leaves.consumes, leaves.references, first_cell))
