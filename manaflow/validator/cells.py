"""`cells`: the fingerprints of all cells in append-only chunks, read in place in LMDB's map.

A chunk's value fills whole LMDB overflow pages, so it stays where it is until it is written again: addresses of
committed full chunks are kept. The last, partly filled chunk is rewritten by the next block and is asked for anew
each time. A packed chunk is a bitmap of the cells that are left, then their fingerprints, padded to whole pages as
well."""

from __future__ import annotations

from typing import Final

import numpy as np

from manaflow.errors import StorageFailure, Unsupported
from manaflow.moves.columns import U8, U64
from manaflow.validator.kernels import sources
from manaflow.validator.shape import Shape
from manaflow.validator.store import OVERFLOW_HEADER, Store, Table, Transaction, number_key

_GROWTH: Final = 1024


def _address(view: memoryview) -> int:
    return int(np.frombuffer(view, np.uint8).__array_interface__["data"][0])


class Cells:
    """Chunks and the table of their addresses."""

    def __init__(self, store: Store, shape: Shape) -> None:
        self._store, self._shape, self._generation = store, shape, store.generation
        self._table: U64 = np.zeros(_GROWTH, np.uint64)
        page = store.page_size
        if (shape.chunk_pages * 4096) % page:
            raise Unsupported(f"chunks of {shape.chunk_pages} x 4096 bytes do not fill LMDB pages of {page} bytes")
        self._page = page
        self._value_bytes = shape.chunk_bytes

    def check_pages(self, txn: Transaction) -> None:
        """Assert, when the index is made, that a chunk fills its pages exactly: one byte too many costs a page each."""
        before = txn.statistics(Table.CELLS)["overflow_pages"]
        txn.put(Table.CELLS, number_key(0), bytes(self._value_bytes))
        taken = (txn.statistics(Table.CELLS)["overflow_pages"] - before) * self._page
        if taken != self._shape.chunk_pages * 4096:
            raise Unsupported(f"a chunk takes {taken} bytes of LMDB pages instead of {self._shape.chunk_pages * 4096}")

    def drop_addresses(self, chunks: U64 | None = None) -> None:
        """Forget where chunks lie; all of them by default."""
        if chunks is None:
            self._table[:] = 0
        else:
            self._table[chunks.astype(np.int64)] = 0

    def table(self, txn: Transaction, claim: U64, next_number: int) -> U64:
        """Addresses by chunk, filled for all that sorted claims (number * 2 + consume, below next_number) need."""
        chunk_cells = self._shape.chunk_cells
        if self._generation != self._store.generation:
            self.drop_addresses()
            self._generation = self._store.generation
        tail = next_number // chunk_cells
        if tail >= len(self._table):
            self._table = np.concatenate([self._table, np.zeros(tail + _GROWTH, np.uint64)])
        self._table[tail] = 0
        for q in sources.missing_chunks(claim, chunk_cells, self._table).tolist():
            self._table[q] = self._locate(txn, q)
        return self._table

    def _locate(self, txn: Transaction, chunk: int) -> int:
        view = txn.view(Table.CELLS, number_key(chunk))
        if view is None:
            return 0
        if (len(view) + OVERFLOW_HEADER) % self._page or len(view) > self._value_bytes:
            raise StorageFailure(f"chunk {chunk} of the index's cells is damaged")
        return _address(view) | (0 if len(view) == self._value_bytes else sources.PACKED)

    def stored(self, txn: Transaction, number: int) -> int | None:
        """The stored fingerprint of one cell, or None if its chunk was packed without it."""
        chunk, at = divmod(number, self._shape.chunk_cells)
        address = np.uint64(self._locate(txn, chunk))
        there, fingerprint = sources.stored_fingerprint(address, at, self._shape.chunk_cells)
        return int(fingerprint) if there else None

    def append(self, txn: Transaction, first: int, fingerprints: U64) -> None:
        """Write the fingerprints of the cells first, first + 1, ..."""
        size, words = self._shape.chunk_cells, self._value_bytes // 8
        chunk, at = divmod(first, size)
        self._table[chunk] = 0  # the tail is rewritten; forgetting its address is right whether or not we commit
        done = 0
        while done < len(fingerprints):
            value = np.zeros(words, np.uint64)
            if at:
                old = txn.view(Table.CELLS, number_key(chunk))
                if old is None or len(old) != self._value_bytes:
                    raise StorageFailure(f"chunk {chunk} of the index's cells is missing")
                value[:at] = np.frombuffer(old, np.uint64)[:at]
            part = fingerprints[done : done + size - at]
            value[at : at + len(part)] = part
            txn.put(Table.CELLS, number_key(chunk), value.data.cast("B"))
            done, chunk, at = done + len(part), chunk + 1, 0

    def truncate(self, txn: Transaction, next_number: int, old_next: int) -> None:
        """Remove the chunks that hold only cells from next_number on. The caller drops addresses after the commit."""
        size = self._shape.chunk_cells
        for chunk in range(-(-next_number // size), -(-old_next // size)):
            txn.delete(Table.CELLS, number_key(chunk))

    def pack(self, txn: Transaction, chunk: int, kept: U8) -> bool:
        """Write a chunk anew with only the cells of the bitmap kept (uint8[chunk_cells / 8]). True if it saves half."""
        size, key = self._shape.chunk_cells, number_key(chunk)
        view = txn.view(Table.CELLS, key)
        left = np.flatnonzero(np.unpackbits(kept, bitorder="little"))
        if view is None or 2 * len(left) > size:
            return False
        words = -(-size // 64)
        room = -(-(8 * (words + len(left)) + OVERFLOW_HEADER) // self._page) * self._page
        if len(left) and 2 * room > len(view) + OVERFLOW_HEADER:
            return False
        if not len(left):
            return txn.delete(Table.CELLS, key)
        value = np.zeros((room - OVERFLOW_HEADER) // 8, np.uint64)
        value[:words].view(np.uint8)[: len(kept)] = kept
        if not sources.gather(np.uint64(self._locate(txn, chunk)), left, size, value[words:]):
            raise StorageFailure(f"chunk {chunk} of the index's cells lacks a fingerprint that is still needed")
        txn.put(Table.CELLS, key, value.data.cast("B"))
        return True
