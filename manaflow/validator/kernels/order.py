"""A stable radix sort of row numbers by 64-bit keys."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from manaflow.moves.columns import I64, U64

_DIGIT = 11


@njit(cache=True)
def radix_order(rows: I64, keys: U64, start_bit: Any, bits: Any) -> tuple[I64, U64]:
    """`rows`, stably sorted by bits start_bit to start_bit + bits of keys[row], and keys[row] in that order.

    Least significant digit first, 11 bits a pass.
    """
    n = rows.shape[0]
    row, key = rows.copy(), np.empty(n, np.uint64)
    for j in range(n):
        key[j] = keys[row[j]]
    other_row, other_key = np.empty(n, np.int64), np.empty(n, np.uint64)
    start = np.zeros((1 << _DIGIT) + 1, np.int64)
    mask = np.uint64((1 << _DIGIT) - 1)
    for shift in range(start_bit, start_bit + bits, _DIGIT):
        start[:] = 0
        for j in range(n):
            start[np.int64((key[j] >> np.uint64(shift)) & mask) + 1] += 1
        for d in range(1 << _DIGIT):
            start[d + 1] += start[d]
        for j in range(n):
            digit = np.int64((key[j] >> np.uint64(shift)) & mask)
            other_row[start[digit]] = row[j]
            other_key[start[digit]] = key[j]
            start[digit] += 1
        row, other_row = other_row, row
        key, other_key = other_key, key
    return row, key
