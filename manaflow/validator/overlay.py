"""What an open block's transactions have done to cells: V1 to V4 against each other (docs/SPEC.md, sections 6 and 8).

Plain dicts, keyed by bytes: cells that the open block made by (intx, location), cells that it consumed by number,
virgin locations that it wrote by location. One pass over a transaction's moves checks it, a second one takes it in:
the second cannot fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from manaflow.errors import Rule
from manaflow.moves.batch import Cells
from manaflow.moves.columns import U8, Moves

KEY_BYTES: Final = 32 + 53
"""intx | mark | addr | slot: the name of a cell outside sealed blocks."""
VIRGIN: Final = 0
OPEN: Final = -1
"""Of a cell that the open block has made, if anyone has; its number is found here."""
NO_CELL: Final = -2
"""Of an `e` move."""


class LiveCell(NamedTuple):
    """A live cell of an open block."""

    number: int
    intx: bytes
    """Txid of its maker, 32 bytes."""
    value: bytes
    """32 bytes."""


@dataclass(slots=True)
class Rows:
    """A batch's moves as the overlay reads them; lists and bytes, row by row."""

    keys: bytes
    """KEY_BYTES a row."""
    prev: bytes
    next: bytes
    number: list[int]
    """Of a sealed cell; VIRGIN, OPEN or NO_CELL. The overlay puts the number of an OPEN one in its place."""
    broken: list[int]
    """The number of the rule of V1 to V4 that the move breaks against the sealed state, else 0."""

    @staticmethod
    def of(moves: Moves, intx: U8, number: list[int]) -> Rows:
        """Rows that break nothing yet."""
        keys = np.concatenate([intx, moves.mark.reshape(-1, 1), moves.addr, moves.slot], axis=1).tobytes()
        return Rows(keys, moves.prev.tobytes(), moves.next.tobytes(), number, [0] * len(moves))

    def intx(self, row: int) -> bytes:
        """Who made the cell, 32 bytes."""
        return self.keys[KEY_BYTES * row : KEY_BYTES * row + 32]

    def location(self, row: int) -> bytes:
        """mark | addr | slot, 53 bytes."""
        return self.keys[KEY_BYTES * row + 32 : KEY_BYTES * (row + 1)]

    def value_before(self, row: int) -> bytes:
        """prev, 32 bytes."""
        return self.prev[32 * row : 32 * row + 32]


@dataclass(frozen=True, slots=True)
class Broken:
    """The first move of a transaction that breaks V1 to V4."""

    row: int
    rule: Rule
    what: str
    winner: bytes | None = None
    expected: bytes | None = None


class Overlay:
    """The cells of one open block."""

    def __init__(self, first_cell: int) -> None:
        self.next_number = first_cell
        """Of the next cell that the block will make."""
        self.txids: set[bytes] = set()
        """Of every transaction taken in, system transactions too."""
        self._made: dict[bytes, tuple[int, bytes]] = {}
        """Name of a cell -> its number and value; in the order of numbers."""
        self._names: list[bytes] = []
        """Names of the cells made, in the order of numbers."""
        self._spent: dict[int, bytes] = {}
        """Number of a consumed cell -> txid."""
        self._written: dict[bytes, bytes] = {}
        """Location consumed from virgin -> txid."""

    @property
    def cells(self) -> int:
        """How many cells the block has made."""
        return len(self._names)

    def check(self, rows: Rows, start: int, split: int, stop: int) -> Broken | None:
        """V1 to V4 of a transaction: rows start to split consume, split to stop refer. None if it breaks none."""
        keys, numbers, broken = rows.keys, rows.number, rows.broken
        made, spent, written = self._made, self._spent, self._written
        for row in range(start, stop):
            if broken[row]:
                return _against_sealed(rows, row)
            number = numbers[row]
            if number > 0:
                winner = spent.get(number)
            elif number == VIRGIN:
                winner = written.get(keys[KEY_BYTES * row + 32 : KEY_BYTES * (row + 1)])
            elif number == OPEN:
                cell = made.get(keys[KEY_BYTES * row : KEY_BYTES * (row + 1)])
                if cell is None:
                    return Broken(row, Rule.V1, "no transaction that is admitted or lately sealed has made the cell")
                if cell[1] != rows.prev[32 * row : 32 * row + 32]:
                    return Broken(row, Rule.V1, "value of a cell of the open block", expected=cell[1])
                number = numbers[row] = cell[0]
                winner = spent.get(number)
            else:
                continue
            if winner is not None:
                return _lost(row, number, row < split, winner)
        return None

    def take(self, txid: bytes, rows: Rows, start: int, split: int) -> None:
        """Take in a transaction that `check` has let pass. txid: 32 bytes."""
        keys, numbers, after = rows.keys, rows.number, rows.next
        made, spent, written, names, next_number = self._made, self._spent, self._written, self._names, self.next_number
        for row in range(start, split):
            number, location = numbers[row], keys[KEY_BYTES * row + 32 : KEY_BYTES * (row + 1)]
            if number:
                spent[number] = txid
            else:
                written[location] = txid
            name = txid + location
            made[name] = (next_number, after[32 * row : 32 * row + 32])
            names.append(name)
            next_number += 1
        self.next_number = next_number
        self.txids.add(txid)

    def cell(self, location: bytes) -> LiveCell | None:
        """The live cell at a location (53 bytes), None if the block made none there."""
        for name in reversed(self._names):
            if name[32:] == location:
                number, value = self._made[name]
                return LiveCell(number, name[:32], value)
        return None

    def cells_since(self, made: int) -> Cells:
        """The cells made after the first `made`, latest at each location."""
        names = list({name[32:]: name for name in self._names[made:]}.values())
        rows = np.frombuffer(b"".join(names), np.uint8).reshape(-1, KEY_BYTES)
        values = b"".join([self._made[name][1] for name in names])
        return Cells(
            mark=rows[:, 32].copy(),
            addr=rows[:, 33:53].copy(),
            slot=rows[:, 53:].copy(),
            intx=rows[:, :32].copy(),
            value=np.frombuffer(values, np.uint8).reshape(-1, 32),
        )


def _against_sealed(rows: Rows, row: int) -> Broken:
    rule, number = Rule(rows.broken[row]), rows.number[row]
    if rule is Rule.V1:
        return Broken(row, rule, f"cell {number} is of another maker or location, or has another value")
    return _lost(row, number, rule is Rule.V2, None)


def _lost(row: int, number: int, consumes: bool, winner: bytes | None) -> Broken:
    """A lost race: the words are those of the plain rules, where a cell was consumed before."""
    if number == VIRGIN:
        return Broken(row, Rule.V4, "the location is not virgin", winner)
    if consumes:
        return Broken(row, Rule.V2, f"cell {number} is consumed twice", winner)
    return Broken(row, Rule.V3, f"cell {number} was consumed before", winner)
