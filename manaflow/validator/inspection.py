"""Reading the whole index: the checks behind `manaflow check`, and its content as plain sets for tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manaflow.errors import StorageFailure
from manaflow.moves.columns import U8
from manaflow.validator.checkpoint import read_buckets
from manaflow.validator.kernels import sets
from manaflow.validator.loading import load_memory
from manaflow.validator.memory import Memory
from manaflow.validator.shape import Shape, Tip
from manaflow.validator.store import Table, Transaction, number_key

_BUCKETS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Content:
    """What an index says, whatever its pages look like."""

    next_number: int
    live: frozenset[int]
    touched: frozenset[int]
    """bucket * 2^64 + low of each location ever consumed from virgin."""
    births: tuple[tuple[int, int], ...]
    """(first cell, keyed hash of the txid), ascending."""


def read_content(txn: Transaction, shape: Shape, tip: Tip, memory: Memory) -> Content:
    """Everything, as sets."""
    live = np.flatnonzero(np.unpackbits(memory.live.view(np.uint8), bitorder="little")[: tip.next_number])
    touched: set[int] = set()
    for start in range(0, shape.buckets, _BUCKETS_AT_ONCE):
        buckets = np.arange(start, min(start + _BUCKETS_AT_ONCE, shape.buckets))
        hashes, starts = sets.merge_pages(buckets, *read_buckets(txn, buckets), memory.adds, memory.counts)
        of = np.repeat(buckets, np.diff(starts))
        touched.update((b << 64) + x for b, x in zip(of.tolist(), hashes.tolist(), strict=True))
    births = [(first, maker) for _, view in txn.items(Table.BIRTHS) for first, maker in _births(view).tolist()]
    return Content(tip.next_number, frozenset(live.tolist()), frozenset(touched), tuple(births))


def _births(view: memoryview) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    if not len(view) or len(view) % 16:
        raise StorageFailure("a row of births is damaged")
    return np.frombuffer(bytes(view), "<u8").astype(np.uint64).reshape(-1, 2)


def verify(txn: Transaction, shape: Shape, tip: Tip, memory: Memory) -> None:
    """Raise StorageFailure at the first part of the index that does not fit the others."""
    stored = load_memory(txn, shape, tip)
    _verify_bits(stored, memory, tip)
    count = _verify_touched(txn, stored, memory)
    if not tip.live == tip.touched == count:
        raise StorageFailure(
            f"{tip.live} cells live, but {count} locations are touched: each has exactly one live cell"
        )
    _verify_cells(txn, memory, tip)
    _verify_births(txn, tip)


def _verify_bits(stored: Memory, memory: Memory, tip: Tip) -> None:
    words = -(-tip.next_number // 64)
    for name in ("live", "kept"):
        if not np.array_equal(getattr(stored, name)[:words], getattr(memory, name)[:words]):
            raise StorageFailure(f"the {name} bits in memory differ from the stored ones")
    if memory.live[words:].any() or stored.count_live() != tip.live or memory.is_live(0):
        raise StorageFailure(f"{stored.count_live()} cells live, but the tip says {tip.live}")
    if list(stored.recent) != list(memory.recent):
        raise StorageFailure("the journal in memory differs from the stored one")


def _verify_touched(txn: Transaction, stored: Memory, memory: Memory) -> int:
    count = 0
    for start in range(0, memory.shape.buckets, _BUCKETS_AT_ONCE):
        buckets = np.arange(start, min(start + _BUCKETS_AT_ONCE, memory.shape.buckets))
        pages, starts = read_buckets(txn, buckets)
        ours, at = sets.merge_pages(buckets, pages, starts, memory.adds, memory.counts)
        theirs, there = sets.merge_pages(buckets, pages, starts, stored.adds, stored.counts)
        if not (np.array_equal(ours, theirs) and np.array_equal(at, there)):
            raise StorageFailure(f"touched locations of buckets from {start} on differ between memory and pages")
        of = np.repeat(buckets, np.diff(at)).astype(np.uint64)
        if len(sets.probe(memory.filters, np.arange(len(ours)), of, ours)) != len(ours):
            raise StorageFailure(f"a filter of buckets from {start} on lacks a location")
        count += len(ours)
    return count


def _verify_cells(txn: Transaction, memory: Memory, tip: Tip) -> None:
    shape = memory.shape
    width = shape.chunk_cells // 8
    kept: U8 = memory.kept.view(np.uint8)
    for chunk in range(-(-tip.next_number // shape.chunk_cells)):
        needed = kept[chunk * width : (chunk + 1) * width]
        view = txn.view(Table.CELLS, number_key(chunk))
        if view is None and not needed.any():
            continue
        full = view is not None and len(view) == shape.chunk_bytes
        if view is None or (not full and (needed & ~np.frombuffer(view[:width], np.uint8)).any()):
            raise StorageFailure(f"chunk {chunk} of the index's cells lacks a fingerprint that is still needed")


def _verify_births(txn: Transaction, tip: Tip) -> None:
    above = 0
    for key, view in txn.items(Table.BIRTHS):
        first = _births(view)[:, 0]
        if int(first[0]) != int.from_bytes(key, "big") or (np.diff(first.astype(np.int64)) <= 0).any():
            raise StorageFailure("a row of births is damaged")
        if int(first[0]) <= above or int(first[-1]) >= tip.next_number:
            raise StorageFailure("births do not follow each other up to the tip")
        above = int(first[-1])
    if tip.next_number > 1 and not above:
        raise StorageFailure("births are missing")
