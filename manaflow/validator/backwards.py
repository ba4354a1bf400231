"""The state rule read from the head down to genesis, with no index (docs/SPEC.md, section 6, "The chain backwards").

Each move demands that its cell was made earlier, at its location, with its value. Walking down, a creation discharges
the demand on its number; whatever is still demanded below genesis was never made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from manaflow.errors import Rule, Verdict
from manaflow.moves.block import Block
from manaflow.moves.columns import Moves
from manaflow.moves.header import Header
from manaflow.moves.marks import ZERO32, Mark, Mask
from manaflow.rules.config import ChainConfig

_Key = bytes
"""mark | addr | slot, 53 bytes."""


@dataclass(frozen=True, slots=True)
class _Demand:
    """What later moves need of one cell."""

    key: _Key
    value: bytes
    consumer: bytes | None
    """txid of the later transaction that consumes it; None if it is only referenced."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One block is done."""

    number: int
    hash: bytes
    moves: int
    demanded: int
    """Cells that moves seen so far need and that are not made by any block seen so far."""


@dataclass(slots=True)
class Backwards:
    """The demands of all blocks seen so far. Feed it blocks from the head down; a Verdict ends it."""

    config: ChainConfig
    child: Header | None = None
    demands: dict[int, _Demand] = field(default_factory=dict)
    virgin: set[_Key] = field(default_factory=set)
    """Locations that a later move says were never written."""

    def take(self, block: Block) -> Progress:
        """Walk over one block, last transaction first. Raises Verdict (B2, B3, V1 to V4) and its place here."""
        self._link(block)
        offsets = block.leaves.move_offsets().tolist()
        first_cells = _first_cells(block)
        rows = _Rows(block.moves)
        for i in range(len(block.leaves) - 1, -1, -1):
            txid = block.leaves.txid[i].tobytes()
            for row in range(offsets[i + 1] - 1, offsets[i] - 1, -1):
                try:
                    self._take_move(rows, row, first_cells[i], first_cells[i] + row - offsets[i], txid)
                except Verdict as verdict:
                    raise verdict.at(i, row - offsets[i]) from None
        self.child = block.header
        return Progress(block.header.number, block.hash, len(block.moves), len(self.demands))

    def finish(self) -> None:
        """Below genesis nothing is demanded. Raises Verdict: B2 if it ends elsewhere, V1 for a cell never made."""
        if self.child is None or self.child.number != self.config.genesis_number:
            number = None if self.child is None else self.child.number
            raise Verdict(
                Rule.B2, "the chain does not end at genesis", expected=self.config.genesis_number, actual=number
            )
        if self.demands:
            number = min(self.demands)
            raise Verdict(Rule.V1, f"cell {number} is used and was never made ({_shown(self.demands[number].key)})")

    def _link(self, block: Block) -> None:
        header, child = block.header, self.child
        if header.config != self.config.hash:
            raise Verdict(Rule.B2, f"config of block {header.number}", expected=self.config.hash, actual=header.config)
        if child is None:
            return
        if block.hash != child.parent_hash:
            raise Verdict(Rule.B2, f"parent of block {child.number}", expected=child.parent_hash, actual=block.hash)
        if header.number + 1 != child.number:
            raise Verdict(Rule.B2, "number", expected=header.number + 1, actual=child.number)
        if header.first_cell + header.cells != child.first_cell:
            expected = header.first_cell + header.cells
            raise Verdict(Rule.B2, f"first cell of block {child.number}", expected=expected, actual=child.first_cell)

    def _take_move(self, rows: _Rows, row: int, first_cell: int, makes: int, txid: bytes) -> None:
        """One move; `makes` is the number of the cell that it makes if it is a consume."""
        if rows.mark[row] == Mark.BLOCKHASH:
            return
        key, number, prev = rows.key(row), rows.number[row], rows.prev(row)
        consumes = not rows.mask[row] & Mask.REFERENCE
        if consumes:
            self._discharge(makes, key, rows.next(row))
            if key in self.virgin:
                raise Verdict(Rule.V4, f"{_shown(key)} is written here and later said to be virgin")
        if number == 0:
            self._take_virgin(key, prev)
        elif number >= first_cell:
            raise Verdict(Rule.V1, f"cell {number} is not made before this transaction, whose first is {first_cell}")
        else:
            self._demand(number, key, prev, txid if consumes else None)

    def _discharge(self, number: int, key: _Key, value: bytes) -> None:
        demand = self.demands.pop(number, None)
        if demand is None:
            return
        if demand.key != key:
            raise Verdict(
                Rule.V1, f"location of cell {number}, made here", expected=_shown(demand.key), actual=_shown(key)
            )
        if demand.value != value:
            raise Verdict(Rule.V1, f"value of cell {number}, made here", expected=demand.value, actual=value)

    def _take_virgin(self, key: _Key, prev: bytes) -> None:
        if prev != ZERO32:
            raise Verdict(Rule.M4, "prev of a virgin cell", expected=ZERO32, actual=prev)
        self.virgin.add(key)

    def _demand(self, number: int, key: _Key, value: bytes, consumer: bytes | None) -> None:
        later = self.demands.get(number)
        if later is None:
            self.demands[number] = _Demand(key, value, consumer)
            return
        if consumer is not None and later.consumer is not None:
            raise Verdict(Rule.V2, f"cell {number} is consumed here and again later", winner=consumer)
        if consumer is not None:
            raise Verdict(Rule.V3, f"cell {number} is consumed here and referenced later", winner=consumer)
        if (later.key, later.value) != (key, value):
            raise Verdict(Rule.V1, f"cell {number} is used with two locations or values")


@dataclass(slots=True)
class _Rows:
    """A block's moves as plain Python values, row by row."""

    moves: Moves
    mask: list[int] = field(init=False)
    mark: list[int] = field(init=False)
    number: list[int] = field(init=False)
    _keys: bytes = field(init=False)

    def __post_init__(self) -> None:
        m = self.moves
        self.mask, self.mark, self.number = m.mask.tolist(), m.mark.tolist(), m.number.tolist()
        self._keys = np.concatenate([m.mark.reshape(-1, 1), m.addr, m.slot], axis=1).tobytes()

    def key(self, row: int) -> _Key:
        return self._keys[53 * row : 53 * (row + 1)]

    def prev(self, row: int) -> bytes:
        return bytes(self.moves.prev[row])

    def next(self, row: int) -> bytes:
        return bytes(self.moves.next[row])


def _shown(key: _Key) -> str:
    return f"{chr(key[0])} 0x{key[1:21].hex()} slot 0x{key[21:].hex()}"


def _first_cells(block: Block) -> list[int]:
    """Number of the first cell of each transaction, from the header and the counts alone (B3)."""
    totals = np.cumsum(block.leaves.consumes.astype(np.uint64)).tolist()
    made = totals[-1] if totals else 0
    if made != block.header.cells:
        raise Verdict(Rule.B3, "cells of the block", expected=made, actual=block.header.cells)
    return [block.header.first_cell + total for total in [0, *totals[:-1]]]


def verify_backwards(blocks: Iterable[Block], config: ChainConfig) -> Iterator[Progress]:
    """Check the state rule over a whole chain, given from the head down to genesis; yields once per block.

    The blocks' own rules (M, S, B) are not judged here, only that headers link and that every cell used was made, is
    used with its own location and value, is consumed once and referenced before that, and that virgin means virgin.
    Raises Verdict (B2, B3, M4, V1 to V4).
    """
    walk = Backwards(config)
    for block in blocks:
        yield walk.take(block)
    walk.finish()
