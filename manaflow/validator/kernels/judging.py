"""Rules M1 to M6 and S1's masks over a block's moves: the data-parallel twins of the plain functions.

`judge_moves` answers with one word of bits per transaction: which rules it breaks. The plain functions then find the
place within that transaction and word the verdict (transactions.py). Transactions are judged apart from each other.
Addresses come as uint32[n, 5] and words as uint64[n, 4], views of the byte columns.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit, prange

from manaflow.moves.marks import UNSIGNED, Mark, Mask

M1: Final = 1
M2: Final = 2
M3: Final = 4
M4: Final = 8
M5: Final = 16
M6: Final = 32
S1: Final = 64

FEW: Final = 8192
"""Moves of a block below which judge_few is faster."""
BURNED_BYTES: Final = 48
"""Width of what a transaction burns: gas (64 bits) times a price (256 bits), twice, stays below 384 bits."""

_REFERENCE, _UNSIGNED = int(Mask.REFERENCE), UNSIGNED
_BALANCE, _CODE, _BLOCKHASH = int(Mark.BALANCE), int(Mark.CODE), int(Mark.BLOCKHASH)
_NONCE, _STORAGE = int(Mark.NONCE), int(Mark.STORAGE)
_LIMBS = BURNED_BYTES // 4
# A uint64 and a plain int make a signed number, whose shifts drag the sign along: constants of words are words.
_8, _16, _32 = np.uint64(8), np.uint64(16), np.uint64(32)
_BYTES, _PAIRS, _LOW = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF), np.uint64(0xFFFFFFFF)


@njit(cache=True, inline="always")
def _is_zero(words: Any, i: Any) -> Any:
    any_bit = words[i, 0]
    for k in range(1, words.shape[1]):
        any_bit |= words[i, k]
    return any_bit == 0


@njit(cache=True, inline="always")
def _is_same(a: Any, b: Any, i: Any) -> Any:
    difference = a[i, 0] ^ b[i, 0]
    for k in range(1, a.shape[1]):
        difference |= a[i, k] ^ b[i, k]
    return difference == 0


@njit(cache=True, inline="always")
def _swapped(word: Any) -> Any:
    """The big-endian number in a uint64 read little-endian."""
    word = (word & _BYTES) << _8 | (word >> _8) & _BYTES
    word = (word & _PAIRS) << _16 | (word >> _16) & _PAIRS
    return word << _32 | word >> _32


@njit(cache=True)
def _compare(mark: Any, addr: Any, slot: Any, i: Any, j: Any) -> Any:
    """-1, 0 or 1 as row i's location sorts before, with or after row j's: by (mark, addr, slot), bytewise."""
    if mark[i] != mark[j]:
        return -1 if mark[i] < mark[j] else 1
    for k in range(5):
        if addr[i, k] != addr[j, k]:
            return -1 if _swapped(np.uint64(addr[i, k])) < _swapped(np.uint64(addr[j, k])) else 1
    for k in range(4):
        if slot[i, k] != slot[j, k]:
            return -1 if _swapped(slot[i, k]) < _swapped(slot[j, k]) else 1
    return 0


@njit(cache=True, inline="always")
def _add(limbs: Any, words: Any, i: Any, sign: Any) -> Any:
    """limbs += sign * the big-endian number in row i. Limb 0 is the least significant; each stands for 32 bits."""
    last = words.shape[1] - 1
    for k in range(last + 1):
        word = _swapped(words[i, last - k])
        limbs[2 * k] += sign * np.int64(word & _LOW)
        limbs[2 * k + 1] += sign * np.int64(word >> _32)


@njit(cache=True)
def _is_positive(limbs: Any) -> Any:
    """True if the signed sum is more than 0. A limb holds fewer than 2^31 terms of 32 bits, so it never overflows."""
    carry, low = np.int64(0), np.int64(0)
    for k in range(limbs.shape[0]):
        total = limbs[k] + carry
        low |= total & 0xFFFFFFFF
        carry = total >> 32
    return carry > 0 or (carry == 0 and low != 0)


@njit(cache=True, inline="always")
def _is_precompile(addr: Any, precompiles: Any, i: Any) -> Any:
    """precompiles: uint32[p], the last 4 bytes of their addresses as they stand; the 16 bytes before are zero."""
    if addr[i, 0] | addr[i, 1] | addr[i, 2] | addr[i, 3] != 0:
        return False
    found = False
    for k in range(precompiles.shape[0]):
        found |= addr[i, 4] == precompiles[k]
    return found


@njit(cache=True)
def _breaks_m4(moves: Any, precompiles: Any, reference: Any, i: Any) -> Any:
    mark, number, addr, slot, prev = moves[1], moves[2], moves[3], moves[4], moves[5]
    kind = mark[i]
    if kind == _BLOCKHASH:
        return not reference or number[i] != 0 or not _is_zero(addr, i)
    if kind != _BALANCE and kind != _CODE and kind != _NONCE and kind != _STORAGE:
        return True
    if kind != _STORAGE and not _is_zero(slot, i):
        return True
    if number[i] == 0 and not _is_zero(prev, i):
        return True
    return kind in (_CODE, _NONCE) and _is_precompile(addr, precompiles, i)


@njit(cache=True)
def _has_double(moves: Any, start: Any, split: Any, stop: Any) -> Any:
    """True if a location stands twice in the sorted runs [start, split) and [split, stop) (M1, where M5 holds)."""
    mark, addr, slot = moves[1], moves[3], moves[4]
    for i in range(start + 1, stop):
        if _compare(mark, addr, slot, i - 1, i) == 0:
            return True
    a, b = start, split
    while a < split and b < stop:
        order = _compare(mark, addr, slot, a, b)
        if order == 0:
            return True
        if order < 0:
            a += 1
        else:
            b += 1
    return False


@njit(cache=True)
def _broken_by_rows(moves: Any, precompiles: Any, start: Any, split: Any, stop: Any) -> Any:
    """Bits of S1 (masks), M2, M4 and M5 for one transaction, whose leaf lets the references begin at row `split`."""
    mask, mark, addr, slot = moves[0], moves[1], moves[3], moves[4]
    broken = 0
    for i in range(start, stop):
        reference = mask[i] & _REFERENCE != 0
        if mask[i] & 0x7F != _UNSIGNED:
            broken |= S1
        if _breaks_m4(moves, precompiles, reference, i):
            broken |= M4
        if _is_same(moves[5], moves[6], i) != reference:
            broken |= M2
        if reference != (i >= split) or (i > start and i != split and _compare(mark, addr, slot, i - 1, i) > 0):
            broken |= M5
    return broken


@njit(cache=True)
def _breaks_m3(moves: Any, start: Any, split: Any, sender: Any, nonce: Any, t: Any) -> Any:
    """True unless exactly one consume is of the sender's nonce, and its prev is the envelope's nonce."""
    mark, addr, prev = moves[1], moves[3], moves[5]
    found, right = 0, False
    for i in range(start, split):
        if mark[i] == _NONCE:
            same = True
            for k in range(5):
                same &= addr[i, k] == sender[t, k]
            if same:
                found += 1
                right = prev[i, 0] | prev[i, 1] | prev[i, 2] == 0 and _swapped(prev[i, 3]) == nonce[t]
    return found != 1 or not right


@njit(cache=True)
def _breaks_m6(moves: Any, start: Any, stop: Any, burned: Any, t: Any) -> Any:
    """True if the balances after, and what is burned, are more than the balances before."""
    mark, prev, next_ = moves[1], moves[5], moves[6]
    limbs = np.zeros(_LIMBS, np.int64)
    _add(limbs, burned, t, 1)
    for i in range(start, stop):
        if mark[i] == _BALANCE:
            _add(limbs, next_, i, 1)
            _add(limbs, prev, i, -1)
    return _is_positive(limbs)


@njit(cache=True)
def _judge(
    moves: Any,
    offsets: Any,
    consumes: Any,
    precompiles: Any,
    sender: Any,
    nonce: Any,
    burned: Any,
    exempt: Any,
    t: Any,
) -> Any:
    start, stop = offsets[t], offsets[t + 1]
    split = start + consumes[t]
    bits = _broken_by_rows(moves, precompiles, start, split, stop)
    if not bits & M5 and _has_double(moves, start, split, stop):
        bits |= M1
    if not exempt[t] & M3 and _breaks_m3(moves, start, split, sender, nonce, t):
        bits |= M3
    if not exempt[t] & M6 and _breaks_m6(moves, start, stop, burned, t):
        bits |= M6
    return bits & ~exempt[t]


@njit(cache=True)
def judge_few(
    moves: Any,
    offsets: Any,
    consumes: Any,
    precompiles: Any,
    sender: Any,
    nonce: Any,
    burned: Any,
    exempt: Any,
    broken: Any,
) -> None:
    """judge_moves on the caller's thread: waking others costs more than a small block."""
    for t in range(offsets.shape[0] - 1):
        broken[t] = _judge(moves, offsets, consumes, precompiles, sender, nonce, burned, exempt, t)


@njit(cache=True, parallel=True)
def judge_moves(
    moves: Any,
    offsets: Any,
    consumes: Any,
    precompiles: Any,
    sender: Any,
    nonce: Any,
    burned: Any,
    exempt: Any,
    broken: Any,
) -> None:
    """Which rules each transaction of a block breaks.

    moves: (mask uint8[n], mark uint8[n], number uint64[n], addr uint32[n, 5], slot, prev, next uint64[n, 4]);
    offsets: int64[t + 1], consumes + references of each leaf, summed; consumes: uint32[t], the leaves'; precompiles:
    uint32[p], last words of addresses; sender: uint32[t, 5]; nonce: uint64[t]; burned: uint64[t, 6], wei, big-endian;
    exempt: uint32[t], rules that do not bind the transaction. Fills broken: uint32[t], bits M1 to M6 and S1. The first
    broken rule in the order S1, M4, M2, M5, M1, M3, M6 is exact; what follows it may be beside the point.
    """
    for t in prange(offsets.shape[0] - 1):
        broken[t] = _judge(moves, offsets, consumes, precompiles, sender, nonce, burned, exempt, t)
