"""The state rule read from the head down to genesis, with no index (docs/SPEC.md, section 6, "The chain backwards").

Each move demands that its cell was made earlier, at its location, with its value. Walking down, a creation discharges
the demand on its number; whatever is still demanded below genesis was never made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from manaflow.errors import Rule, Verdict
from manaflow.moves.block import Block
from manaflow.moves.columns import Moves
from manaflow.moves.header import Header
from manaflow.moves.marks import ZERO32, Mark, Mask
from manaflow.rules.config import ChainConfig
from manaflow.validator.conflicts import declared_envelopes, makers_in

_Key = bytes
"""mark | addr | slot, 53 bytes."""


@dataclass(frozen=True, slots=True)
class _Demand:
    """What later moves need of one cell."""

    key: _Key
    value: bytes
    consumer: bytes | None
    """txid of the later transaction that consumes it; None if it is only referenced."""
    maker: bytes | None
    """txid of the transaction that must have made it; None if no signer fixed that."""


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
        """Walk over one block, last transaction first. Raises Verdict (B2, B3, S2, V1 to V4) and its place here."""
        self._link(block)
        offsets = block.leaves.move_offsets().tolist()
        first_cells = _first_cells(block)
        rows = _Rows(block.moves)
        declared = declared_envelopes(block)
        for i in range(len(block.leaves) - 1, -1, -1):
            txid = block.leaves.txid[i].tobytes()
            makers = _makers(block, i, offsets, declared)
            for row in range(offsets[i + 1] - 1, offsets[i] - 1, -1):
                move = row - offsets[i]
                try:
                    self._take_move(rows, row, first_cells[i], first_cells[i] + move, txid, makers.get(move))
                except Verdict as verdict:
                    raise verdict.at(i, move) from None
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

    def _take_move(self, rows: _Rows, row: int, first_cell: int, makes: int, txid: bytes, maker: bytes | None) -> None:
        """One move; `makes`: number of the cell that it makes if it is a consume; maker: of its cell, if signed."""
        if rows.mark[row] == Mark.BLOCKHASH:
            return
        key, number, prev = rows.key(row), rows.number[row], rows.prev(row)
        consumes = not rows.mask[row] & Mask.REFERENCE
        if consumes:
            self._discharge(makes, key, rows.next(row), txid)
            if key in self.virgin:
                raise Verdict(Rule.V4, f"{_shown(key)} is written here and later said to be virgin")
        if number == 0:
            self._take_virgin(key, prev, maker)
        elif number >= first_cell:
            raise Verdict(Rule.V1, f"cell {number} is not made before this transaction, whose first is {first_cell}")
        else:
            self._demand(number, _Demand(key, prev, txid if consumes else None, maker))

    def _discharge(self, number: int, key: _Key, value: bytes, txid: bytes) -> None:
        demand = self.demands.pop(number, None)
        if demand is None:
            return
        if demand.key != key:
            raise Verdict(
                Rule.V1, f"location of cell {number}, made here", expected=_shown(demand.key), actual=_shown(key)
            )
        if demand.value != value:
            raise Verdict(Rule.V1, f"value of cell {number}, made here", expected=demand.value, actual=value)
        if demand.maker not in (None, txid):
            raise Verdict(Rule.V1, f"maker of cell {number}, made here", expected=demand.maker, actual=txid)

    def _take_virgin(self, key: _Key, prev: bytes, maker: bytes | None) -> None:
        if prev != ZERO32:
            raise Verdict(Rule.M4, "prev of a virgin cell", expected=ZERO32, actual=prev)
        if maker not in (None, ZERO32):
            raise Verdict(Rule.V1, "maker of a virgin cell", expected=ZERO32, actual=maker)
        self.virgin.add(key)

    def _demand(self, number: int, here: _Demand) -> None:
        later = self.demands.get(number)
        if later is None:
            self.demands[number] = here
            return
        if here.consumer is not None and later.consumer is not None:
            raise Verdict(Rule.V2, f"cell {number} is consumed here and again later", winner=here.consumer)
        if here.consumer is not None:
            raise Verdict(Rule.V3, f"cell {number} is consumed here and referenced later", winner=here.consumer)
        if (later.key, later.value) != (here.key, here.value):
            raise Verdict(Rule.V1, f"cell {number} is used with two locations or values")
        if here.maker is not None and later.maker not in (None, here.maker):
            raise Verdict(Rule.V1, f"cell {number} is used with two makers", expected=later.maker, actual=here.maker)
        if later.maker is None and here.maker is not None:
            self.demands[number] = replace(later, maker=here.maker)


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


def _makers(block: Block, t: int, offsets: Sequence[int], declared: Mapping[bytes, bytes]) -> Mapping[int, bytes]:
    """The makers that transaction t's signer has fixed, by position of the move."""
    raw = declared.get(block.leaves.txid[t].tobytes())
    if raw is None:
        return {}
    try:
        return makers_in(raw, block.moves.take(offsets[t], offsets[t + 1]).objects())
    except Verdict as verdict:
        raise verdict.at(t) from None


def verify_backwards(blocks: Iterable[Block], config: ChainConfig) -> Iterator[Progress]:
    """Check the state rule over a whole chain, given from the head down to genesis; yields once per block.

    The blocks' own rules (M, S, B) are not judged here, only that headers link and that every cell used was made, is
    used with its own location and value, and maker where a signer fixed it, is consumed once and referenced before
    that, and that virgin means virgin. Raises Verdict (B2, B3, M4, S2, V1 to V4).
    """
    walk = Backwards(config)
    for block in blocks:
        yield walk.take(block)
    walk.finish()
