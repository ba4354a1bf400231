"""Bitmaps over cell numbers, and ascending numbers as gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from manaflow.moves.columns import U8, U64

_ONE = np.uint64(1)
_63 = np.uint64(63)
_6 = np.uint64(6)
_7 = np.uint64(7)
_127 = np.uint64(127)


@njit(cache=True)
def set_bits(bits: U64, numbers: U64) -> None:
    """Set the bit of every number."""
    for j in range(numbers.shape[0]):
        bits[numbers[j] >> _6] |= _ONE << (numbers[j] & _63)


@njit(cache=True)
def clear_bits(bits: U64, numbers: U64) -> None:
    """Clear the bit of every number."""
    for j in range(numbers.shape[0]):
        bits[numbers[j] >> _6] &= ~(_ONE << (numbers[j] & _63))


@njit(cache=True)
def fill_range(bits: U64, start: Any, stop: Any, value: bool) -> None:
    """Set (or clear) the bits of start <= number < stop."""
    no = start
    while no < stop:
        if no & 63 == 0 and no + 64 <= stop:
            bits[no >> 6] = np.uint64(0xFFFFFFFFFFFFFFFF) if value else np.uint64(0)
            no += 64
            continue
        bit = _ONE << np.uint64(no & 63)
        if value:
            bits[no >> 6] |= bit
        else:
            bits[no >> 6] &= ~bit
        no += 1


@njit(cache=True)
def write_gaps(numbers: U64) -> U8:
    """Ascending numbers as LEB128 gaps, the first from 0."""
    out, n, last = np.empty(numbers.shape[0] * 10, np.uint8), 0, np.uint64(0)
    for j in range(numbers.shape[0]):
        gap = numbers[j] - last
        last = numbers[j]
        while gap > _127:
            out[n] = (gap & _127) | np.uint64(128)
            gap >>= _7
            n += 1
        out[n] = gap
        n += 1
    return out[:n].copy()


@njit(cache=True)
def read_gaps(data: U8, numbers: U64) -> Any:
    """Fill `numbers` from `write_gaps`' bytes; False if the bytes do not hold exactly that many."""
    at, last = 0, np.uint64(0)
    for j in range(numbers.shape[0]):
        gap, shift = np.uint64(0), np.uint64(0)
        while True:
            if at >= data.shape[0] or shift > _63:
                return False
            byte = np.uint64(data[at])
            at += 1
            gap |= (byte & _127) << shift
            shift += _7
            if byte <= _127:
                break
        last += gap
        numbers[j] = last
    return at == data.shape[0]
