"""Columns of big-endian words: their short form on the wire, and arithmetic on 256-bit words a column at a time.

A column is a uint8[n, width] array, one big-endian word a row. On the wire it is n bytes, each the count of significant
bytes of its row, then those bytes: most rows of a block's columns are predicted and so zero, and cost one byte that
compresses to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from manaflow.errors import Rule, Verdict
from manaflow.moves.columns import I64, U8, U64

Bools = NDArray[np.bool_]

_LOW32 = np.uint64(2**32 - 1)


def words_of(numbers: NDArray[np.unsignedinteger]) -> U8:
    """uint8[n, itemsize]: the big-endian words of an unsigned column."""
    big = np.ascontiguousarray(numbers, numbers.dtype.newbyteorder(">"))
    return big.view(np.uint8).reshape(len(numbers), numbers.dtype.itemsize)


def numbers_of(words: U8) -> U64:
    """uint64[n]: the values of words of at most 8 bytes."""
    wide = np.zeros((len(words), 8), np.uint8)
    wide[:, 8 - words.shape[1] :] = words
    return wide.view(">u8").reshape(-1).astype(np.uint64)


def encode_words(words: U8) -> bytes:
    """n lengths, then the significant bytes of every row."""
    if not words.any():  # as most columns of an honest block
        return bytes(len(words))
    width = words.shape[1]
    nonzero = words != 0
    lengths = np.where(nonzero.any(axis=1), width - nonzero.argmax(axis=1), 0).astype(np.uint8)
    rows = np.flatnonzero(lengths)
    return lengths.tobytes() + words[rows][_significant(lengths[rows], width)].tobytes()


def _significant(lengths: U8, width: int) -> Bools:
    """bool[n, width]: which bytes of each row are its last `length` ones."""
    result: Bools = np.arange(width) >= width - lengths[:, None].astype(np.int64)
    return result


class Reader:
    """Takes columns from the front of one frame. Raises Verdict(B1) unless bytes are the one form of what they say."""

    def __init__(self, data: bytes, name: str) -> None:
        """`name` is the frame's, for errors."""
        self.data, self.name, self.at = data, name, 0

    def take(self, length: int, what: str) -> bytes:
        """The next `length` bytes."""
        if length > len(self.data) - self.at:
            raise self.refusal(what, "is cut short")
        self.at += length
        return self.data[self.at - length : self.at]

    def words(self, n: int, width: int, what: str) -> U8:
        """The next column, uint8[n, width]. Memory: the n lengths must be there before the column is made."""
        lengths = np.frombuffer(self.take(n, what), np.uint8)
        if n and int(lengths.max()) > width:
            raise self.refusal(what, f"has a word of more than {width} bytes")
        rows = np.flatnonzero(lengths)
        significant = np.frombuffer(self.take(int(lengths.sum(dtype=np.int64)), what), np.uint8)
        short = np.zeros((len(rows), width), np.uint8)
        short[_significant(lengths[rows], width)] = significant
        if not short[np.arange(len(rows)), width - lengths[rows].astype(np.int64)].all():
            raise self.refusal(what, "has a word with a leading zero")
        words = np.zeros((n, width), np.uint8)
        words[rows] = short
        return words

    def numbers(self, n: int, width: int, what: str) -> U64:
        """The next column as uint64[n]; words of `width` bytes, at most 8."""
        return numbers_of(self.words(n, width, what))

    def strings(self, n: int, what: str) -> tuple[bytes, ...]:
        """n byte strings: a column of 4-byte lengths, then the strings."""
        lengths = self.numbers(n, 4, what).tolist()
        return tuple(self.take(length, what) for length in lengths)

    def finish(self) -> None:
        """No byte may be left."""
        if self.at != len(self.data):
            raise self.refusal("the frame", "has trailing bytes")

    def refusal(self, what: str, problem: str) -> Verdict:
        """The verdict that names this frame."""
        return Verdict(Rule.B1, f"frame {self.name}: {what} {problem}")


def encode_strings(strings: Sequence[bytes]) -> bytes:
    """What Reader.strings reads."""
    lengths = np.array([len(s) for s in strings], np.uint32)
    return encode_words(words_of(lengths)) + b"".join(strings)


def limbs_of(words: U8) -> U64:
    """uint64[n, 8] of 32-bit limbs, most significant first, from uint8[n, 32]."""
    return words.view(">u4").astype(np.uint64)


def words_of_limbs(limbs: U64) -> U8:
    """uint8[n, 32], the inverse of limbs_of."""
    return limbs.astype(">u4").view(np.uint8).reshape(len(limbs), 32)


def subtract(a: U64, b: U64) -> U64:
    """a - b modulo 2^256, by rows of limbs."""
    result, borrow = np.empty_like(a), np.zeros(len(a), np.uint64)
    for limb in range(7, -1, -1):
        # Wraps modulo 2^64 when negative; the low 32 bits are right in any case, and bit 63 then says "borrow".
        difference = a[:, limb] - b[:, limb] - borrow
        result[:, limb], borrow = difference & _LOW32, difference >> np.uint64(63)
    return result


def zigzag(limbs: U64) -> U64:
    """Signed to unsigned modulo 2^256, so that -1, 1, -2 become 1, 2, 3 and small negative numbers stay short."""
    negative = (limbs[:, :1] >> np.uint64(31)) * _LOW32
    carried = np.concatenate([limbs[:, 1:] >> np.uint64(31), np.zeros((len(limbs), 1), np.uint64)], axis=1)
    result: U64 = (((limbs << np.uint64(1)) & _LOW32) | carried) ^ negative
    return result


def unzigzag(limbs: U64) -> U64:
    """The inverse of zigzag."""
    negative = (limbs[:, -1:] & np.uint64(1)) * _LOW32
    carried = np.concatenate([np.zeros((len(limbs), 1), np.uint64), limbs[:, :-1] << np.uint64(31)], axis=1) & _LOW32
    result: U64 = ((limbs >> np.uint64(1)) | carried) ^ negative
    return result


def starts_before(starts: Bools) -> I64:
    """int64[n]: for each row, the place of the last start at or before it. Row 0 must be a start."""
    result: I64 = np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))
    return result


def running_sums(terms: U64, starts: Bools) -> U64:
    """Sums modulo 2^64 over each run of rows, inclusive; a run begins wherever `starts` is set, and at row 0."""
    if not len(terms):
        return terms
    sums = np.cumsum(terms, dtype=np.uint64)
    begin = starts_before(starts)
    result: U64 = sums - (sums - terms)[begin]
    return result


def running_sums_of_limbs(terms: U64, starts: Bools) -> U64:
    """running_sums for 256-bit words as limbs[n, 8]. Sums of 2^32 limbs of 32 bits fit 64 bits, so n is below 2^32."""
    result, carry = np.empty_like(terms), np.zeros(len(terms), np.uint64)
    for limb in range(7, -1, -1):
        total = running_sums(terms[:, limb], starts) + carry
        result[:, limb], carry = total & _LOW32, total >> np.uint64(32)
    return result
