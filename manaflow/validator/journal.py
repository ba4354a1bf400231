"""`recent`: what each of the last blocks changed, for opening (which replays it) and for undo."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from manaflow.errors import StorageFailure
from manaflow.moves.columns import U64
from manaflow.validator.kernels import bits as kernels
from manaflow.validator.store import Table, Transaction, number_key

_HEAD: Final = struct.Struct(">8Q")


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """The net effect of one block on the index."""

    height: int
    first_cell: int
    cells: int
    """Numbers that the block made: first_cell up to first_cell + cells."""
    spent: U64
    """uint64[s], ascending: cells from before the block that it consumed."""
    gone: U64
    """uint64[g], ascending: cells that it made and consumed itself, counted from first_cell."""
    bucket: U64
    """uint64[f], ascending: buckets of the locations that it touched first,"""
    low: U64
    """uint64[f]: and the other 64 bits of their hashes."""
    position: int
    """Where the checkpoint stood after the block: steps from here on were written with the block's effect in them."""

    @property
    def stop(self) -> int:
        """The first number after the block's cells."""
        return self.first_cell + self.cells

    @property
    def gone_numbers(self) -> U64:
        """uint64[g]: numbers of the cells that the block made and consumed itself."""
        return self.gone + np.uint64(self.first_cell)

    @property
    def grown(self) -> int:
        """By how many live cells the block grew the state."""
        return self.cells - len(self.gone) - len(self.spent)

    def encode(self) -> bytes:
        """The record as it is stored: head, gaps of spent and gone, buckets as uint32, lows."""
        spent, gone = kernels.write_gaps(self.spent), kernels.write_gaps(self.gone)
        head = _HEAD.pack(
            self.first_cell,
            self.cells,
            len(self.spent),
            len(spent),
            len(self.gone),
            len(gone),
            len(self.low),
            self.position,
        )
        tail = (spent.tobytes(), gone.tobytes(), self.bucket.astype("<u4").tobytes(), self.low.astype("<u8").tobytes())
        return head + b"".join(tail)

    @staticmethod
    def decode(height: int, data: memoryview | bytes) -> Record:
        """Read a stored record (arrays are copies); StorageFailure if its parts do not fit."""
        if len(data) < _HEAD.size:
            raise StorageFailure(f"the journal record of block {height} is damaged")
        first, cells, spent, spent_bytes, gone, gone_bytes, touched, position = _HEAD.unpack(data[: _HEAD.size])
        ends = np.cumsum([_HEAD.size, spent_bytes, gone_bytes, 4 * touched, 8 * touched]).tolist()
        numbers, inside = np.empty(min(spent, len(data)), np.uint64), np.empty(min(gone, len(data)), np.uint64)
        if ends[-1] != len(data) or not (
            kernels.read_gaps(np.frombuffer(data[ends[0] : ends[1]], np.uint8), numbers)
            and kernels.read_gaps(np.frombuffer(data[ends[1] : ends[2]], np.uint8), inside)
        ):
            raise StorageFailure(f"the journal record of block {height} is damaged")
        bucket = np.frombuffer(data[ends[2] : ends[3]], "<u4").astype(np.uint64)
        low = np.frombuffer(data[ends[3] : ends[4]], "<u8").astype(np.uint64)
        return Record(height, first, cells, numbers, inside, bucket, low, position)


def load_record(txn: Transaction, height: int) -> Record | None:
    """The record of one block, or None."""
    data = txn.view(Table.RECENT, number_key(height))
    return None if data is None else Record.decode(height, data)


def records(txn: Transaction) -> Iterator[Record]:
    """Every record, oldest first."""
    for key, data in txn.items(Table.RECENT):
        yield Record.decode(int.from_bytes(key, "big"), data)
