"""Opening the index: memory from the stored pages, and `recent` replayed over them in order."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from manaflow.errors import StorageFailure
from manaflow.validator import checkpoint
from manaflow.validator.journal import Record, records
from manaflow.validator.kernels import sets
from manaflow.validator.memory import Memory
from manaflow.validator.shape import Shape, Tip
from manaflow.validator.store import Table, Transaction


def load_memory(txn: Transaction, shape: Shape, tip: Tip) -> Memory:
    """Memory from the pages and the records that are stored: read the pages, replay `recent` in order."""
    memory = Memory(shape)
    memory.reserve(tip.next_number)
    for key, view in txn.items(Table.LIVE):
        page = checkpoint.live_page_of(shape, key)
        if page >= shape.live_pages(tip.next_number) or len(view) != shape.live_page_bytes:
            raise StorageFailure(f"page {page} of the live bits is damaged")
        memory.set_live_page(page, view)
    memory.size_filters(tip.touched)
    _load_filters(memory, txn.items(Table.TOUCHED))
    memory.kept[:] = memory.live
    last: Record | None = None
    for record in records(txn):
        if last is not None and (record.height != last.height + 1 or record.first_cell != last.stop):
            raise StorageFailure(f"the journal record of block {record.height} does not follow its neighbour")
        _replay(memory, record, tip)
        last = record
    if last is not None and (last.height, last.stop) != (tip.height, tip.next_number):
        raise StorageFailure(f"the journal ends at block {last.height} and the index at block {tip.height}")
    return memory


def _load_filters(memory: Memory, items: Iterable[tuple[bytes, memoryview]]) -> None:
    for key, view in items:
        bucket = int.from_bytes(key, "big")
        if bucket >= memory.shape.buckets or len(view) % 8:
            raise StorageFailure(f"bucket {bucket} of the touched locations is damaged")
        hashes = np.frombuffer(bytes(view), np.uint64)
        sets.build_filters(memory.filters, np.array([bucket]), hashes, np.array([0, len(hashes)]))


def _replay(memory: Memory, record: Record, tip: Tip) -> None:
    """Apply a record; of its locations only those that no page holds yet: a long journal would fill memory."""
    if record.stop > tip.next_number:
        raise StorageFailure(f"the journal record of block {record.height} makes cells beyond the tip")
    memory.replay_bits(record)
    waiting = checkpoint.is_written_since(memory.shape, record.bucket, record.position, tip.position) == 0
    memory.add_touched(record.bucket[waiting], record.low[waiting])
    memory.recent.append((record.height, record.first_cell, record.position))
