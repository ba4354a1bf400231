"""What an open block's transactions have done to cells: V1 to V4 against each other (docs/SPEC.md, sections 6 and 8).

Plain dicts, keyed by bytes: cells that the open block made by (intx, location), cells that it consumed by number,
virgin locations that it wrote by location. One pass over a transaction's moves checks it, a second one takes it in:
the second cannot fail. Many that are in nobody's way, as most are, are taken in together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from manaflow.errors import Rule
from manaflow.moves.batch import Cells
from manaflow.moves.columns import U8, Moves, rows_of

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
        self._first = first_cell
        self._made: dict[bytes, int] = {}
        """Name of a cell -> its number; in the order of numbers."""
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        """Of the cells made, in the order of numbers."""
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
                found = made.get(keys[KEY_BYTES * row : KEY_BYTES * (row + 1)])
                if found is None:
                    return Broken(row, Rule.V1, "no transaction that is admitted or lately sealed has made the cell")
                value = self._values[found - self._first]
                if value != rows.prev[32 * row : 32 * row + 32]:
                    return Broken(row, Rule.V1, "value of a cell of the open block", expected=value)
                number = numbers[row] = found
                winner = spent.get(number)
            else:
                continue
            if winner is not None:
                return _lost(row, number, row < split, winner)
        return None

    def take(self, txid: bytes, rows: Rows, start: int, split: int) -> None:
        """Take in a transaction that `check` has let pass. txid: 32 bytes."""
        keys, numbers, after = rows.keys, rows.number, rows.next
        made, spent, written, next_number = self._made, self._spent, self._written, self.next_number
        names, values = self._names, self._values
        for row in range(start, split):
            number, location = numbers[row], keys[KEY_BYTES * row + 32 : KEY_BYTES * (row + 1)]
            if number:
                spent[number] = txid
            else:
                written[location] = txid
            name = txid + location
            made[name] = next_number
            names.append(name)
            values.append(after[32 * row : 32 * row + 32])
            next_number += 1
        self.next_number = next_number
        self.txids.add(txid)

    def take_all(self, txids: Sequence[bytes], rows: Rows, offsets: Sequence[int], splits: Sequence[int]) -> bool:
        """Take in transactions, one after another, if none of them breaks V1 to V4; if one may, change nothing.

        txids: of each; rows offsets[i] to splits[i] of transaction i consume, splits[i] to offsets[i + 1] refer. The
        twin of `check` and `take`, which say what is wrong where this returns False.
        """
        if any(rows.broken[offsets[0] : offsets[-1]]) or len(set(txids)) < len(txids):
            return False
        if not self.txids.isdisjoint(txids):
            return False
        taken = _Together(self, txids, rows, offsets, splits)
        if not (taken.finds_open() and taken.spends_alone() and taken.refers_in_time()):
            return False
        for row, number in taken.found.items():
            rows.number[row] = number
        self._made.update(taken.made)
        self._names += taken.made
        self._values += taken.values
        self._spent.update((number, txids[t]) for number, t in taken.spent.items())
        self._written.update((location, txids[t]) for location, t in taken.written.items())
        self.next_number += len(taken.made)
        self.txids.update(txids)
        return True

    def value(self, number: int) -> bytes:
        """Of a cell that the block has made, 32 bytes."""
        return self._values[number - self._first]

    def cell(self, location: bytes) -> LiveCell | None:
        """The live cell at a location (53 bytes), None if the block made none there."""
        for name in reversed(self._names):
            if name[32:] == location:
                number = self._made[name]
                return LiveCell(number, name[:32], self.value(number))
        return None

    def cells_since(self, made: int) -> Cells:
        """The cells made after the first `made`, latest at each location."""
        latest = {name[32:]: at for at, name in enumerate(self._names[made:], made)}.values()
        rows = np.frombuffer(b"".join([self._names[at] for at in latest]), np.uint8).reshape(-1, KEY_BYTES)
        values = b"".join([self._values[at] for at in latest])
        return Cells(
            mark=rows[:, 32].copy(),
            addr=rows[:, 33:53].copy(),
            slot=rows[:, 53:].copy(),
            intx=rows[:, :32].copy(),
            value=np.frombuffer(values, np.uint8).reshape(-1, 32),
        )


class _Together:
    """What transactions would find, spend and make if each of them entered the block, in order."""

    def __init__(
        self, overlay: Overlay, txids: Sequence[bytes], rows: Rows, offsets: Sequence[int], splits: Sequence[int]
    ) -> None:
        self._overlay, self._rows, self._start, stop = overlay, rows, offsets[0], offsets[-1]
        starts, counts = np.array(offsets[:-1], np.int64), np.diff(offsets)
        consumes = np.array(splits, np.int64) - starts
        owners = np.repeat(np.arange(len(txids)), counts)
        is_consume = np.arange(self._start, stop) < np.repeat(splits, counts)
        self._owners: list[int] = owners.tolist()
        self._numbers = rows.number[self._start : stop]
        """Of each row's cell, from row `start` on."""
        self._consumes: list[int] = np.flatnonzero(is_consume).tolist()
        self._references: list[int] = np.flatnonzero(~is_consume).tolist()
        names = np.frombuffer(rows.keys, np.uint8).reshape(-1, KEY_BYTES)[self._start : stop][is_consume]
        names[:, :32] = np.frombuffer(b"".join(txids), np.uint8).reshape(-1, 32)[owners[is_consume]]
        values = np.frombuffer(rows.next, np.uint8).reshape(-1, 32)[self._start : stop][is_consume]
        self._firsts: list[int] = (overlay.next_number + np.cumsum(consumes) - consumes).tolist()
        """Number of each transaction's first cell."""
        made = rows_of(names)
        self.made = dict(zip(made, range(overlay.next_number, overlay.next_number + len(made)), strict=True))
        self.values = rows_of(values)
        self.found: dict[int, int] = {}
        """Row -> number of its cell, of those that are OPEN."""
        self.spent: dict[int, int] = {}
        """Number of a consumed cell -> transaction; `written` likewise by location."""
        self.written: dict[bytes, int] = {}

    def finds_open(self) -> bool:
        """V1 of cells that the open block has made, or these transactions make before they are used."""
        rows, made, numbers = self._rows, self._overlay._made, self._numbers
        for at in [at for at, number in enumerate(numbers) if number == OPEN]:
            row = self._start + at
            key = rows.keys[KEY_BYTES * row : KEY_BYTES * (row + 1)]
            cell = made.get(key) or self.made.get(key)
            if cell is None or cell >= self._firsts[self._owners[at]] or self._value(cell) != rows.value_before(row):
                return False
            self.found[row] = numbers[at] = cell
        return True

    def _value(self, number: int) -> bytes:
        overlay = self._overlay
        own = number - overlay.next_number
        return overlay.value(number) if own < 0 else self.values[own]

    def spends_alone(self) -> bool:
        """V2, and V4 of consumes: nobody else spends these cells, or writes these locations first."""
        numbers, owners, consumes = self._numbers, self._owners, self._consumes
        virgin = [at for at in consumes if not numbers[at]]
        self.written = {self._rows.location(self._start + at): owners[at] for at in virgin}
        self.spent = {numbers[at]: owners[at] for at in consumes if numbers[at]}
        if len(self.spent) + len(virgin) < len(consumes) or len(self.written) < len(virgin):
            return False
        overlay = self._overlay
        return overlay._spent.keys().isdisjoint(self.spent) and overlay._written.keys().isdisjoint(self.written)

    def refers_in_time(self) -> bool:
        """V3, and V4 of references: who spends the cell, or writes the location, does so later."""
        overlay, last = self._overlay, len(self._firsts)
        used = {self._numbers[at] for at in self._references}
        if VIRGIN not in used and overlay._spent.keys().isdisjoint(used) and self.spent.keys().isdisjoint(used):
            return True
        for at in self._references:
            number = self._numbers[at]
            if number > 0:
                is_late = number in overlay._spent or self.spent.get(number, last) < self._owners[at]
            elif number == VIRGIN:
                location = self._rows.location(self._start + at)
                is_late = location in overlay._written or self.written.get(location, last) < self._owners[at]
            else:
                continue
            if is_late:
                return False
        return True


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
