"""What the index holds in memory: the bits of the cells that live, and what answers for touched locations.

The truth is here; pages lag behind it (checkpoint.py). Nothing here changes before the block's transaction is
committed."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from manaflow.moves.columns import I64, U8, U64
from manaflow.validator.journal import Record
from manaflow.validator.kernels import bits, sets
from manaflow.validator.shape import Shape

KEYS_A_LINE: Final = 40
"""Hashes in a filter's cache line of 512 bits, on average, beyond which the filters double (then 0.2 % false hits)."""


def _bytes_of(words: U64) -> U8:
    return words.view(np.uint8)


class Memory:
    """Bitmaps, filters and hashes that wait for their pages. Numbers below the tip are always within the bitmaps."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.live: U64 = np.zeros(0, np.uint64)
        """One bit per number: the cell lives."""
        self.kept: U64 = np.zeros(0, np.uint64)
        """One bit per number: the cell lives, or an undo may bring it back, so packing keeps its fingerprint."""
        self.filters: U64 = np.zeros((shape.buckets, 1, 8), np.uint64)
        self.adds: U64 = np.zeros((shape.buckets, 4), np.uint64)
        """Hashes that their bucket's page does not hold yet."""
        self.counts: I64 = np.zeros(shape.buckets, np.int64)
        """How many of a bucket's row of adds are used."""
        self.recent: deque[tuple[int, int, int]] = deque()
        """(height, first cell, position) of every record in `recent`, oldest first."""

    def reserve(self, numbers: int) -> None:
        """Make the bitmaps hold `numbers` bits at least, in whole pages of `live`."""
        page = self.shape.live_page_bytes
        if numbers // 8 + page <= self.live.nbytes:
            return
        size = -(-max(numbers // 8 + page, self.live.nbytes * 5 // 4) // page) * page
        words = -(-size // 8) + 1
        for name in ("live", "kept"):
            grown, old = np.zeros(words, np.uint64), getattr(self, name)
            grown[: len(old)] = old
            setattr(self, name, grown)

    def live_page(self, page: int, words: U64 | None = None) -> U8:
        """uint8[live_page_bytes]: a page of the live bits (or of other bits of the same form)."""
        size = self.shape.live_page_bytes
        return _bytes_of(self.live if words is None else words)[page * size : (page + 1) * size]

    def set_live_page(self, page: int, data: memoryview) -> None:
        """Put a stored page into the live bits."""
        self.live_page(page)[:] = np.frombuffer(data, np.uint8)

    def is_live(self, number: int) -> bool:
        """True if the bit of `number` is set."""
        return bool(int(self.live[number >> 6]) >> (number & 63) & 1)

    def count_live(self) -> int:
        """How many bits of `live` are set."""
        return int(np.bitwise_count(self.live).sum())

    def apply(self, record: Record) -> None:
        """Follow a block: its bits, its first touches. Replaying records in order over newer pages is harmless."""
        self.replay_bits(record)
        self.add_touched(record.bucket, record.low)
        self.recent.append((record.height, record.first_cell, record.position))

    def replay_bits(self, record: Record) -> None:
        """The block's bits alone."""
        self.reserve(record.stop)
        for words in (self.live, self.kept):
            bits.fill_range(words, record.first_cell, record.stop, True)
            bits.clear_bits(words, record.gone_numbers)
        bits.clear_bits(self.live, record.spent)
        bits.set_bits(self.kept, record.spent)

    def undone_live(self, record: Record) -> U64:
        """The live bits as they were before the last block: a copy."""
        words: U64 = self.live.copy()
        bits.set_bits(words, record.spent)
        bits.fill_range(words, record.first_cell, record.stop, False)
        return words

    def undo(self, record: Record, live: U64) -> None:
        """Forget the last block; `live` is what undone_live gave."""
        self.live = live
        bits.fill_range(self.kept, record.first_cell, record.stop, False)
        sets.remove_hashes(self.adds, self.counts, record.bucket, record.low)
        self.recent.pop()

    def forget(self, record: Record) -> None:
        """The oldest record is dropped: nothing brings back what it spent."""
        bits.clear_bits(self.kept, record.spent)
        self.recent.popleft()

    def add_touched(self, bucket: U64, low: U64) -> None:
        """Add locations; buckets ascending."""
        load = int(sets.largest_load(self.counts, bucket))
        if load > self.adds.shape[1]:
            room = max(load, 2 * self.adds.shape[1])
            grown = np.zeros((self.shape.buckets, room), np.uint64)
            grown[:, : self.adds.shape[1]] = self.adds
            self.adds = grown
        sets.add_hashes(self.filters, self.adds, self.counts, bucket, low)

    def size_filters(self, touched: int) -> None:
        """Double the filters until `touched` hashes fit them."""
        while touched > self.filters.shape[1] * self.shape.buckets * KEYS_A_LINE:
            self.filters = np.ascontiguousarray(np.repeat(self.filters, 2, axis=1))

    def pages_written(self, buckets: I64, hashes: U64, starts: I64) -> None:
        """The pages of `buckets` now hold these hashes, and nothing of them waits any more."""
        self.counts[buckets] = 0
        sets.build_filters(self.filters, buckets, hashes, starts)
