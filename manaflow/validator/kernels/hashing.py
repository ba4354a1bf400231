"""Keyed universal hashes of cells, locations and txids.

MULTILINEAR-HM (Lemire and Kaser, "Strongly universal string hashing is fast", 2013): for 32-bit words s and secret
64-bit words m, the upper 32 bits of m[0] + sum (m[2i+1] + s[2i]) * (m[2i+2] + s[2i+1]) mod 2^64 are strongly
universal: two different messages of one length meet with probability 2^-32, whoever chose them, as long as the key
stays secret. Two evaluations give 64 bits, three give 96."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit, prange

from manaflow.moves.columns import I64, U8, U32, U64

CELL_WORDS: Final = 24
"""32-bit words of (number:8, mark:4, addr:20, slot:32, value:32)."""
PLACE_WORDS: Final = 14
"""32-bit words of (mark:4, addr:20, slot:32)."""
TXID_WORDS: Final = 8

SKIPPED: Final = 0
"""Kinds of a move's source: none (mark e);"""
VIRGIN: Final = 1
"""number 0;"""
INSIDE: Final = 2
"""a cell that an earlier transaction of the block makes;"""
OUTSIDE: Final = 3
"""a cell that was there before the block;"""
UNBORN: Final = 4
"""a cell that does not exist before the transaction."""

_HIGH = np.uint64(0xFFFFFFFF00000000)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


@njit(cache=True)
def _eight(total: Any, key: U64, at: Any, words: U32, row: Any) -> Any:
    """Absorb 8 words of one row under key[at:at + 8]."""
    for w in range(0, 8, 2):
        total += (key[at + w] + np.uint64(words[row, w])) * (key[at + w + 1] + np.uint64(words[row, w + 1]))
    return total


@njit(cache=True)
def _number(total: Any, key: U64, number: Any) -> Any:
    """Absorb a 64-bit number under key[1:3]."""
    return total + (key[1] + (number & _LOW)) * (key[2] + (number >> _32))


@njit(cache=True)
def _place(total: Any, key: U64, at: Any, mark: U8, addr: U32, slot: U32, row: Any) -> Any:
    """Absorb (mark, addr, slot) of one row under key[at:at + 14]."""
    total += (key[at] + np.uint64(mark[row])) * (key[at + 1] + np.uint64(addr[row, 0]))
    for w in range(1, 5, 2):
        total += (key[at + w + 1] + np.uint64(addr[row, w])) * (key[at + w + 2] + np.uint64(addr[row, w + 1]))
    return _eight(total, key, at + 6, slot, row)


@njit(cache=True)
def _joined(a: Any, b: Any) -> Any:
    """64 bits of two evaluations' upper halves."""
    return (a & _HIGH) | (b >> _32)


@njit(cache=True)
def _fingerprint(key: U64, number: Any, a: Any, b: Any, value: U32, row: Any) -> Any:
    """64 bits of a cell whose place has been absorbed into a and b."""
    a = _eight(_number(a, key[0], number), key[0], 17, value, row)
    b = _eight(_number(b, key[1], number), key[1], 17, value, row)
    return _joined(a, b)


@njit(cache=True)
def _location(key: U64, mark: U8, addr: U32, slot: U32, row: Any, bucket_shift: Any) -> tuple[Any, Any]:
    """A location's bucket (the leading bits of the first evaluation) and the 64 bits of the other two."""
    h = _place(key[0, 0], key[0], 1, mark, addr, slot, row)
    a = _place(key[1, 0], key[1], 1, mark, addr, slot, row)
    b = _place(key[2, 0], key[2], 1, mark, addr, slot, row)
    return h >> np.uint64(bucket_shift), _joined(a, b)


@njit(cache=True)
def _hash_row(
    i: Any,
    kind: U8,
    made_at: I64,
    number: U64,
    mark: U8,
    addr: U32,
    slot: U32,
    prev: U32,
    next_: U32,
    first_cell: Any,
    cell_key: U64,
    place_key: U64,
    bucket_shift: Any,
    used: U64,
    made: U64,
    bucket: U64,
    low: U64,
) -> None:
    k = kind[i]
    if k == OUTSIDE or made_at[i] >= 0:
        a = _place(cell_key[0, 0], cell_key[0], 3, mark, addr, slot, i)
        b = _place(cell_key[1, 0], cell_key[1], 3, mark, addr, slot, i)
        if k == OUTSIDE:
            used[i] = _fingerprint(cell_key, number[i], a, b, prev, i)
        if made_at[i] >= 0:
            born = np.uint64(first_cell) + np.uint64(made_at[i])
            made[made_at[i]] = _fingerprint(cell_key, born, a, b, next_, i)
    if k == VIRGIN:
        bucket[i], low[i] = _location(place_key, mark, addr, slot, i, bucket_shift)


@njit(cache=True)
def hash_block(
    kind: U8,
    made_at: I64,
    number: U64,
    mark: U8,
    addr: U32,
    slot: U32,
    prev: U32,
    next_: U32,
    first_cell: Any,
    cell_key: U64,
    place_key: U64,
    bucket_shift: Any,
    used: U64,
    made: U64,
    bucket: U64,
    low: U64,
) -> None:
    """Every hash that a block needs, in one pass over its moves.

    addr: uint32[n, 5]; slot, prev, next_: uint32[n, 8]; cell_key: uint64[2, 25]; place_key: uint64[3, 15].
    Fills used[i] (OUTSIDE: the fingerprint that move i claims), made[k] (the fingerprint of the block's cell k) and
    bucket[i], low[i] (VIRGIN: the location's bucket and the other 64 bits).
    """
    for i in range(kind.shape[0]):
        _hash_row(
            i,
            kind,
            made_at,
            number,
            mark,
            addr,
            slot,
            prev,
            next_,
            first_cell,
            cell_key,
            place_key,
            bucket_shift,
            used,
            made,
            bucket,
            low,
        )


@njit(cache=True, parallel=True)
def hash_block_parallel(
    kind: U8,
    made_at: I64,
    number: U64,
    mark: U8,
    addr: U32,
    slot: U32,
    prev: U32,
    next_: U32,
    first_cell: Any,
    cell_key: U64,
    place_key: U64,
    bucket_shift: Any,
    used: U64,
    made: U64,
    bucket: U64,
    low: U64,
) -> None:
    """hash_block on all threads."""
    for i in prange(kind.shape[0]):
        _hash_row(
            i,
            kind,
            made_at,
            number,
            mark,
            addr,
            slot,
            prev,
            next_,
            first_cell,
            cell_key,
            place_key,
            bucket_shift,
            used,
            made,
            bucket,
            low,
        )


@njit(cache=True)
def hash_txids(txid: U32, key: U64) -> U64:
    """uint64[t]: keyed hashes of txids given as uint32[t, 8]; key: uint64[2, 9]."""
    out = np.empty(txid.shape[0], np.uint64)
    for i in range(txid.shape[0]):
        out[i] = _joined(_eight(key[0, 0], key[0], 1, txid, i), _eight(key[1, 0], key[1], 1, txid, i))
    return out
