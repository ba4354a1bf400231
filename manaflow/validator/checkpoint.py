"""The rolling checkpoint: each block writes the next slice of `live` and `touched` from memory, and drops old records.

A step passes a few neighbouring buckets and every page p of `live` with p % steps = step. Slices are written as
memory was *before* the block, so that memory changes only once the block is committed; the block's own record covers
the difference. A record's position is the checkpoint's after its block: exactly the steps made since hold the block's
effect. So a record may be dropped once a full turn has been made since, and undo writes exactly those steps again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from manaflow.errors import StorageFailure
from manaflow.moves.columns import I64, U8, U64
from manaflow.validator.cells import Cells
from manaflow.validator.journal import Record, load_record
from manaflow.validator.kernels import sets
from manaflow.validator.memory import Memory
from manaflow.validator.shape import Shape, Tip
from manaflow.validator.store import Table, Transaction, number_key

DROPS_A_BLOCK: Final = 8
"""Records that one block drops at most, so that no block has to do all of it."""
SLICE_SHARE: Final = 8
"""A block passes at most this part of a turn (one eighth)."""


@dataclass(slots=True, eq=False)
class Written:
    """What a slice wrote, for memory to follow after the commit."""

    buckets: I64
    """int64[k]: buckets whose pages were written,"""
    hashes: U64
    starts: I64
    """and the hashes that they hold: hashes[starts[j]:starts[j + 1]]."""
    packed: list[int] = field(default_factory=list)
    """Chunks that were packed: their addresses are stale."""
    dropped: list[Record] = field(default_factory=list)
    """Records that were dropped, oldest first."""


def slice_steps(shape: Shape, tip: Tip, touched: int) -> int:
    """How many steps a block makes that touches so many locations first: enough for a turn in about `pending` of them.

    At least one, so that records do not pile up. Pages grow with the locations: a turn may wait for a 32nd of them.
    """
    wanted = shape.steps * touched // max(shape.pending, tip.touched // 32)
    return int(min(max(wanted, 1), max(shape.steps // SLICE_SHARE, 1)))


def _steps(shape: Shape, start: int, stop: int) -> list[int]:
    """Steps of positions start <= position < stop, each once."""
    return [position % shape.steps for position in range(max(start, stop - shape.steps), stop)]


def is_written_since(shape: Shape, bucket: U64, position: int, now: int) -> U8:
    """uint8[n], 1 where the checkpoint passed a bucket between two positions: its page holds what was known there."""
    step = bucket.astype(np.int64) // shape.buckets_a_step
    return ((step - position) % shape.steps < now - position).astype(np.uint8)


def live_key(shape: Shape, page: int) -> bytes:
    """The key of a page of `live`: pages of one step stand together."""
    return number_key(page % shape.steps << 32 | page // shape.steps)


def live_page_of(shape: Shape, key: bytes) -> int:
    """The page of a key."""
    number = int.from_bytes(key, "big")
    return (number & 0xFFFFFFFF) * shape.steps + (number >> 32)


def read_buckets(txn: Transaction, buckets: I64) -> tuple[U64, I64]:
    """Stored pages of `touched`, one after the other: hashes, and int64[k + 1] starts."""
    starts, parts = np.zeros(len(buckets) + 1, np.int64), []
    for j, b in enumerate(buckets.tolist()):
        view = txn.view(Table.TOUCHED, number_key(b))
        if view is not None:
            if len(view) % 8:
                raise StorageFailure(f"bucket {b} of the touched locations is damaged")
            parts.append(bytes(view))
        starts[j + 1] = starts[j] + (0 if view is None else len(view) // 8)
    return np.frombuffer(b"".join(parts), np.uint64), starts


def write_buckets(txn: Transaction, buckets: I64, hashes: U64, starts: I64) -> None:
    """Write pages of `touched`; an empty one is removed."""
    data, ends = hashes.data.cast("B"), (starts * 8).tolist()
    for j, b in enumerate(buckets.tolist()):
        if ends[j + 1] > ends[j]:
            txn.put(Table.TOUCHED, number_key(b), data[ends[j] : ends[j + 1]])
        else:
            txn.delete(Table.TOUCHED, number_key(b))


def advance(txn: Transaction, memory: Memory, cells: Cells, tip: Tip, steps: int) -> Written:
    """Write the next `steps` steps of `live` and `touched` as memory has them now, and pack chunks on the way."""
    written = _write_touched(txn, memory, _steps(memory.shape, tip.position, tip.position + steps))
    safe = memory.recent[0][1] if memory.recent else tip.next_number
    for step in _steps(memory.shape, tip.position, tip.position + steps):
        for page in range(step, memory.shape.live_pages(tip.next_number), memory.shape.steps):
            _write_live(txn, memory.shape, page, memory.live_page(page))
            written.packed += _pack(txn, memory, cells, page, safe)
    return written


def _write_touched(txn: Transaction, memory: Memory, steps: list[int]) -> Written:
    width = memory.shape.buckets_a_step
    passed = (np.array(steps, np.int64)[:, None] * width + np.arange(width)).ravel()
    buckets = passed[memory.counts[passed] > 0]
    hashes, starts = sets.merge_pages(buckets, *read_buckets(txn, buckets), memory.adds, memory.counts)
    write_buckets(txn, buckets, hashes, starts)
    return Written(buckets, hashes, starts)


def _write_live(txn: Transaction, shape: Shape, page: int, data: U8) -> None:
    key, value = live_key(shape, page), data.tobytes()
    if txn.get(Table.LIVE, key) != value:
        txn.put(Table.LIVE, key, value)


def _pack(txn: Transaction, memory: Memory, cells: Cells, page: int, safe: int) -> list[int]:
    """Pack the mostly dead chunks of one page. Chunks with cells from `safe` on stay: an undo may truncate them."""
    shape = memory.shape
    bitmaps = memory.live_page(page, memory.kept).reshape(shape.live_chunks, -1)
    left = np.bitwise_count(bitmaps).sum(axis=1)
    first = page * shape.live_chunks
    some = [
        c for c in np.flatnonzero(left * 2 <= shape.chunk_cells).tolist() if (first + c + 1) * shape.chunk_cells <= safe
    ]
    return [first + c for c in some if cells.pack(txn, first + c, bitmaps[c])]


def drop_records(txn: Transaction, memory: Memory, height: int, position: int, keep: int) -> list[Record]:
    """Remove records that neither opening nor an undo of `keep` blocks from `height` needs, oldest first."""
    dropped: list[Record] = []
    for old, _, after in list(memory.recent)[:DROPS_A_BLOCK]:
        if old > height - keep or position - after < memory.shape.steps:
            break
        record = load_record(txn, old)
        if record is None:
            raise StorageFailure(f"the journal record of block {old} is missing")
        txn.delete(Table.RECENT, number_key(old))
        dropped.append(record)
    return dropped


def rewrite(txn: Transaction, shape: Shape, record: Record, tip: Tip, live: U64) -> None:
    """Take an undone block out of the steps written since; `live` is the bitmap without it. The position stays."""
    pages, old_pages = shape.live_pages(record.first_cell), shape.live_pages(tip.next_number)
    size, data = shape.live_page_bytes, live.view(np.uint8)
    for step in _steps(shape, record.position, tip.position):
        for page in range(step, pages, shape.steps):
            _write_live(txn, shape, page, data[page * size : (page + 1) * size])
    for page in range(pages, old_pages):
        txn.delete(Table.LIVE, live_key(shape, page))
    _rewrite_touched(txn, shape, record, tip)


def _rewrite_touched(txn: Transaction, shape: Shape, record: Record, tip: Tip) -> None:
    some = is_written_since(shape, record.bucket, record.position, tip.position) == 1
    bucket, low = record.bucket[some].astype(np.int64), record.low[some]
    for b, start, count in zip(*np.unique(bucket, return_index=True, return_counts=True), strict=True):
        one = np.array([b])
        hashes, _ = read_buckets(txn, one)
        left = hashes[~np.isin(hashes, low[start : start + count])]
        write_buckets(txn, one, left, np.array([0, len(left)]))
