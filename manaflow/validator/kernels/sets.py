"""The set of touched locations: Bloom filters of one cache line a look-up, hashes not yet in pages, and merging them.

filters: uint64[buckets, lines, 8]; adds: uint64[buckets, room]; counts: int64[buckets], how many of a row of adds are
used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from manaflow.moves.columns import I64, U64

_ONE = np.uint64(1)
_63 = np.uint64(63)
_32 = np.uint64(32)


@njit(cache=True)
def _line(low: Any, lines: Any) -> Any:
    """The line of a hash. Doubling `lines` splits line j into 2j and 2j + 1: a filter grows by repeating its lines."""
    return np.int64(((low >> _32) * np.uint64(lines)) >> _32)


@njit(cache=True)
def _mark(filters: U64, b: Any, low: Any) -> None:
    line = _line(low, filters.shape[1])
    for w in range(8):
        filters[b, line, w] |= _ONE << ((low >> np.uint64(6 * w)) & _63)


@njit(cache=True)
def probe(filters: U64, rows: I64, bucket: U64, low: U64) -> I64:
    """Those of `rows` whose hash may be in the set, in order."""
    out, n = np.empty(rows.shape[0], np.int64), 0
    for j in range(rows.shape[0]):
        i = rows[j]
        b, x = np.int64(bucket[i]), low[i]
        line, hit = _line(x, filters.shape[1]), _ONE
        for w in range(8):
            hit &= filters[b, line, w] >> ((x >> np.uint64(6 * w)) & _63)
        if hit & _ONE:
            out[n] = i
            n += 1
    return out[:n]


@njit(cache=True)
def add_hashes(filters: U64, adds: U64, counts: I64, bucket: U64, low: U64) -> None:
    """Add hashes to filters and adds; every row of adds has room."""
    for j in range(bucket.shape[0]):
        b = np.int64(bucket[j])
        adds[b, counts[b]] = low[j]
        counts[b] += 1
        _mark(filters, b, low[j])


@njit(cache=True)
def remove_hashes(adds: U64, counts: I64, bucket: U64, low: U64) -> None:
    """Take hashes out of adds, where they are there. Their filter bits stay, which costs a look-up and no error."""
    for j in range(bucket.shape[0]):
        b = np.int64(bucket[j])
        k = 0
        while k < counts[b]:
            if adds[b, k] == low[j]:
                counts[b] -= 1
                adds[b, k] = adds[b, counts[b]]
            else:
                k += 1


@njit(cache=True)
def largest_load(counts: I64, bucket: U64) -> Any:
    """The longest row of adds after adding one hash to each of these buckets (sorted ascending)."""
    largest, run = 0, 0
    for j in range(bucket.shape[0]):
        run = run + 1 if j and bucket[j] == bucket[j - 1] else 1
        largest = max(largest, counts[np.int64(bucket[j])] + run)
    return largest


@njit(cache=True)
def build_filters(filters: U64, buckets: I64, hashes: U64, starts: I64) -> None:
    """Write the filters of `buckets` anew: bucket j holds hashes[starts[j]:starts[j + 1]]."""
    for j in range(buckets.shape[0]):
        filters[buckets[j]] = np.uint64(0)
        for k in range(starts[j], starts[j + 1]):
            _mark(filters, buckets[j], hashes[k])


@njit(cache=True)
def merge_pages(buckets: I64, pages: U64, page_starts: I64, adds: U64, counts: I64) -> tuple[U64, I64]:
    """Pages of `buckets` with their adds merged in: (hashes, starts), each bucket sorted and without repetitions."""
    total = pages.shape[0]
    for j in range(buckets.shape[0]):
        total += counts[buckets[j]]
    out, starts, m = np.empty(total, np.uint64), np.zeros(buckets.shape[0] + 1, np.int64), 0
    for j in range(buckets.shape[0]):
        b = buckets[j]
        new = np.sort(adds[b, : counts[b]])
        p, a, start = page_starts[j], 0, m
        while p < page_starts[j + 1] or a < new.shape[0]:
            if a == new.shape[0] or (p < page_starts[j + 1] and pages[p] <= new[a]):
                x = pages[p]
                p += 1
            else:
                x = new[a]
                a += 1
            if m == start or out[m - 1] != x:
                out[m] = x
                m += 1
        starts[j + 1] = m
    return out[:m], starts


@njit(cache=True)
def in_pages(rows: I64, bucket: U64, low: U64, buckets: I64, pages: U64, starts: I64, adds: U64, counts: I64) -> I64:
    """Those of `rows` (sorted by bucket) that are in the pages of `buckets` or in adds: for certain."""
    out, n, j = np.empty(rows.shape[0], np.int64), 0, 0
    for r in range(rows.shape[0]):
        i = rows[r]
        b = np.int64(bucket[i])
        while buckets[j] != b:
            j += 1
        page = pages[starts[j] : starts[j + 1]]
        at = np.searchsorted(page, low[i])
        found = at < page.shape[0] and page[at] == low[i]
        for k in range(counts[b]):
            found |= adds[b, k] == low[i]
        if found:
            out[n] = i
            n += 1
    return out[:n]
