"""Rules V1 to V4 over columns: where each move's cell comes from, and whether it is as claimed and still there.

Rules are numbers of `errors.Rule`; `verdict[row]` is 0 where a move breaks none. Conflicts (V2, V3, V4) blame the later
row, so the lowest row with a verdict is one whose whole past in the block is valid: that one is reported.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from manaflow.errors import Rule
from manaflow.moves.columns import I64, U8, U32, U64
from manaflow.moves.marks import Mark, Mask
from manaflow.validator.kernels.hashing import INSIDE, OUTSIDE, SKIPPED, UNBORN, VIRGIN

_REFERENCE = int(Mask.REFERENCE)
_BLOCKHASH = int(Mark.BLOCKHASH)
_V1, _V2, _V3, _V4 = int(Rule.V1), int(Rule.V2), int(Rule.V3), int(Rule.V4)
PACKED: Final = 1
"""Set in a chunk's address (chunks are aligned to 8 bytes at least) if the chunk is a bitmap and what it names."""
_ONE = np.uint64(1)
_63 = np.uint64(63)
_6 = np.uint64(6)


def _as_pointer(_context: Any, _address: Any) -> Any:
    """An address as a pointer, for carray."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.uint64), codegen


_pointer: Any = intrinsic(_as_pointer)
_array_at: Any = numba.carray  # type: ignore[attr-defined]


@njit(cache=True)
def classify(mask: U8, mark: U8, number: U64, offsets: I64, first_cell: Any, kind: U8, made_at: I64) -> Any:
    """Fill kind[n] and made_at[n] (the block's cell that a consume makes, else -1); return how many cells it makes."""
    first, cells = np.uint64(first_cell), 0
    for t in range(offsets.shape[0] - 1):
        own = first + np.uint64(cells)
        for i in range(offsets[t], offsets[t + 1]):
            made_at[i] = -1
            if mark[i] == _BLOCKHASH:
                kind[i] = SKIPPED
                continue
            if number[i] == 0:
                kind[i] = VIRGIN
            elif number[i] >= own:
                kind[i] = UNBORN
            else:
                kind[i] = INSIDE if number[i] >= first else OUTSIDE
            if not mask[i] & _REFERENCE:
                made_at[i] = cells
                cells += 1
    return cells


@njit(cache=True)
def split(kind: U8, made_at: I64, cells: Any, verdict: U8) -> tuple[I64, I64, I64, I64]:
    """Rows of the consumes (one per cell made), and of the VIRGIN, INSIDE and OUTSIDE moves; UNBORN ones break V1."""
    n = kind.shape[0]
    makers, rows, counts = np.empty(cells, np.int64), np.empty((3, n), np.int64), np.zeros(3, np.int64)
    for i in range(n):
        if made_at[i] >= 0:
            makers[made_at[i]] = i
        if kind[i] == UNBORN:
            verdict[i] = _V1
        elif kind[i] != SKIPPED:
            c = kind[i] - VIRGIN
            rows[c, counts[c]] = i
            counts[c] += 1
    return makers, rows[0, : counts[0]], rows[1, : counts[1]], rows[2, : counts[2]]


@njit(cache=True)
def _same(a: U32, i: Any, b: U32, j: Any, words: Any) -> Any:
    equal = True
    for w in range(words):
        equal &= a[i, w] == b[j, w]
    return equal


@njit(cache=True)
def _check_one_inside(
    j: Any,
    rows: I64,
    number: U64,
    first_cell: Any,
    makers: I64,
    mark: U8,
    addr: U32,
    slot: U32,
    prev: U32,
    next_: U32,
    verdict: U8,
) -> None:
    i = rows[j]
    m = makers[np.int64(number[i] - np.uint64(first_cell))]
    if not (
        mark[i] == mark[m] and _same(addr, i, addr, m, 5) and _same(slot, i, slot, m, 8) and _same(prev, i, next_, m, 8)
    ):
        verdict[i] = _V1


@njit(cache=True)
def check_inside(
    rows: I64,
    number: U64,
    first_cell: Any,
    makers: I64,
    mark: U8,
    addr: U32,
    slot: U32,
    prev: U32,
    next_: U32,
    verdict: U8,
) -> None:
    """V1 inside the block: the cell is what its maker wrote, exactly: same location, and its next is our prev."""
    for j in range(rows.shape[0]):
        _check_one_inside(j, rows, number, first_cell, makers, mark, addr, slot, prev, next_, verdict)


@njit(cache=True, parallel=True)
def check_inside_parallel(
    rows: I64,
    number: U64,
    first_cell: Any,
    makers: I64,
    mark: U8,
    addr: U32,
    slot: U32,
    prev: U32,
    next_: U32,
    verdict: U8,
) -> None:
    """check_inside on all threads."""
    for j in prange(rows.shape[0]):
        _check_one_inside(j, rows, number, first_cell, makers, mark, addr, slot, prev, next_, verdict)


@njit(cache=True)
def spend_inside(rows: I64, number: U64, first_cell: Any, made_at: I64, cells: Any, verdict: U8) -> U8:
    """V2 and V3 among moves on the block's own cells; returns uint8[cells], 1 where a cell is made and consumed."""
    gone = np.zeros(cells, np.uint8)
    for j in range(rows.shape[0]):
        i = rows[j]
        c = np.int64(number[i] - np.uint64(first_cell))
        if gone[c] and verdict[i] == 0:
            verdict[i] = _V2 if made_at[i] >= 0 else _V3
        if made_at[i] >= 0:
            gone[c] = 1
    return gone


@njit(cache=True)
def claims(number: U64, made_at: I64) -> U64:
    """Sort keys of moves on outside cells: number * 2, plus 1 for a consume. Numbers of such cells are below 2^48."""
    out = np.empty(number.shape[0], np.uint64)
    for i in range(number.shape[0]):
        out[i] = (number[i] << _ONE) | np.uint64(made_at[i] >= 0)
    return out


@njit(cache=True)
def spend_sorted(ordered: I64, claim: U64, verdict: U8) -> U64:
    """V2 and V3 among moves on outside cells, sorted by (number, row); returns the numbers consumed, ascending."""
    out, n, spent = np.empty(claim.shape[0], np.uint64), 0, False
    for j in range(claim.shape[0]):
        if j == 0 or claim[j] >> _ONE != claim[j - 1] >> _ONE:
            spent = False
        consumes = claim[j] & _ONE
        if spent and verdict[ordered[j]] == 0:
            verdict[ordered[j]] = _V2 if consumes else _V3
        if consumes and not spent:
            spent = True
            out[n] = claim[j] >> _ONE
            n += 1
    return out[:n].copy()


@njit(cache=True)
def missing_chunks(claim: U64, chunk_cells: Any, table: U64) -> U64:
    """Chunks, ascending, that sorted claims fall into and that have no address in `table` yet."""
    out, n, last = np.empty(claim.shape[0], np.uint64), 0, np.int64(-1)
    for j in range(claim.shape[0]):
        q = np.int64((claim[j] >> _ONE) // np.uint64(chunk_cells))
        if q != last and table[q] == 0:
            out[n] = q
            n += 1
        last = q
    return out[:n]


@njit(cache=True)
def _popcount(x: Any) -> Any:
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(cache=True)
def stored_fingerprint(address: Any, at: Any, chunk_cells: Any) -> tuple[bool, Any]:
    """Whether a chunk holds the fingerprint of its cell `at`, and the fingerprint."""
    if address == 0:
        return False, np.uint64(0)
    if not address & np.uint64(PACKED):
        return True, _array_at(_pointer(address), (chunk_cells,), np.uint64)[at]
    words = (chunk_cells + 63) // 64
    packed = _array_at(_pointer(address - np.uint64(PACKED)), (words + chunk_cells,), np.uint64)
    bit = np.uint64(at) & _63
    if not (packed[at // 64] >> bit) & _ONE:
        return False, np.uint64(0)
    rank = _popcount(packed[at // 64] & ((_ONE << bit) - _ONE))
    for w in range(at // 64):
        rank += _popcount(packed[w])
    return True, packed[words + np.int64(rank)]


@njit(cache=True)
def gather(address: Any, wanted: I64, chunk_cells: Any, out: U64) -> Any:
    """Copy the fingerprints of these cells of one chunk to `out`; False if one is not there."""
    for k in range(wanted.shape[0]):
        there, out[k] = stored_fingerprint(address, wanted[k], chunk_cells)
        if not there:
            return False
    return True


@njit(cache=True)
def _check_one_outside(
    j: Any, ordered: I64, claim: U64, used: U64, table: U64, chunk_cells: Any, live: U64, verdict: U8
) -> None:
    no = claim[j] >> _ONE
    if not (live[no >> _6] >> (no & _63)) & _ONE:
        verdict[ordered[j]] = _V2 if claim[j] & _ONE else _V3
        return
    q = no // np.uint64(chunk_cells)
    there, fingerprint = stored_fingerprint(table[q], np.int64(no - q * np.uint64(chunk_cells)), chunk_cells)
    if not there or fingerprint != used[ordered[j]]:
        verdict[ordered[j]] = _V1


@njit(cache=True)
def check_outside(ordered: I64, claim: U64, used: U64, table: U64, chunk_cells: Any, live: U64, verdict: U8) -> None:
    """V1 to V3 against the index. Sorted claims walk the chunks in order.

    A cell that was spent before this block is V2 or V3, whatever the move claims of it: packing may have dropped its
    fingerprint, and a verdict must not depend on that.
    """
    for j in range(ordered.shape[0]):
        _check_one_outside(j, ordered, claim, used, table, chunk_cells, live, verdict)


@njit(cache=True, parallel=True)
def check_outside_parallel(
    ordered: I64, claim: U64, used: U64, table: U64, chunk_cells: Any, live: U64, verdict: U8
) -> None:
    """check_outside on all threads."""
    for j in prange(ordered.shape[0]):
        _check_one_outside(j, ordered, claim, used, table, chunk_cells, live, verdict)


@njit(cache=True)
def spend_virgin(ordered: I64, bucket: U64, low: U64, made_at: I64, verdict: U8) -> None:
    """V4 inside the block, over virgin rows sorted by (bucket, low, row)."""
    touched = False
    for j in range(ordered.shape[0]):
        i = ordered[j]
        if j == 0 or low[i] != low[ordered[j - 1]] or bucket[i] != bucket[ordered[j - 1]]:
            touched = False
        if touched:
            verdict[i] = _V4
        if made_at[i] >= 0 and not touched:
            touched = True


@njit(cache=True)
def collisions(ordered: I64, bucket: U64, low: U64, mark: U8, addr: U32, slot: U32) -> Any:
    """How many neighbours of the sorted virgin rows have one hash and two locations."""
    count = 0
    for j in range(1, ordered.shape[0]):
        i, h = ordered[j], ordered[j - 1]
        if low[i] == low[h] and bucket[i] == bucket[h]:
            same = mark[i] == mark[h] and _same(addr, i, addr, h, 5) and _same(slot, i, slot, h, 8)
            count += not same
    return count
