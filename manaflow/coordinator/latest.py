"""The latest index: which cell lives at each location. Here what a filler asks of one, and one in memory."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from manaflow.moves.columns import I64, U8, U64, Moves
from manaflow.moves.marks import UNSIGNED, Location, Mark, Mask

_KEY_BYTES = 1 + 20 + 32


class Latest(Protocol):
    """What numbering the moves of a block needs of a latest index."""

    next_number: int
    """Number of the next cell that the chain will make."""

    def number(self, location: Location) -> int:
        """Number of the live cell at `location`, 0 if virgin."""
        ...

    def assign(self, mark: U8, addr: U8, slot: U8, consumes: I64, offsets: I64) -> U64:
        """Number the sources of a block's moves and the cells that they make (see LatestCells)."""
        ...


class LatestCells:
    """Location -> number of its live cell. Absent means virgin (number 0).

    Values live beside it in the executor's world; this map names the cells, in the order that sealing numbers them.
    """

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self.next_number = 1
        """Number of the next cell that the chain will make."""

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, location: Location) -> int:
        """Number of the live cell at `location`, 0 if virgin."""
        mark, addr, slot = location
        return self._numbers.get(bytes((mark,)) + addr + slot, 0)

    def assign(self, mark: U8, addr: U8, slot: U8, consumes: I64, offsets: I64) -> U64:
        """Number the sources of a block's moves and the cells that they make, in order.

        mark: uint8[n]; addr: uint8[n, 20]; slot: uint8[n, 32]; consumes: int64[t], how many of each transaction's
        first moves are consumes; offsets: int64[t + 1]. Returns uint64[n]: the number of the cell that each uses.
        """
        keys = np.concatenate([mark.reshape(-1, 1), addr, slot], axis=1).tobytes()
        sources: list[int] = []
        numbers, next_number = self._numbers, self.next_number
        for i, count in enumerate(consumes.tolist()):
            start, stop = int(offsets[i]), int(offsets[i + 1])
            for row in range(start, stop):
                key = keys[row * _KEY_BYTES : (row + 1) * _KEY_BYTES]
                sources.append(numbers.get(key, 0))
                if row < start + count:
                    numbers[key] = next_number
                    next_number += 1
        self.next_number = next_number
        return np.array(sources, np.uint64)


def filled_moves(latest: Latest, columns: tuple[U8, U8, U8, U8, U8], consumes: I64, offsets: I64) -> Moves:
    """Moves that no signer signed, from (mark, addr, slot, prev, next) in M5's order: masks and numbers are added."""
    mark, addr, slot, prev, next_ = columns
    row = np.arange(len(mark)) - np.repeat(offsets[:-1], np.diff(offsets))
    is_reference = row >= np.repeat(consumes, np.diff(offsets))
    mask = np.where(is_reference, UNSIGNED | Mask.REFERENCE, UNSIGNED).astype(np.uint8)
    number = latest.assign(mark, addr, slot, consumes, offsets)
    number[mark == Mark.BLOCKHASH] = 0
    return Moves(mask, mark, number, addr, slot, prev, next_)
