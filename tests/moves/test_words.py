"""Arithmetic on columns of words against Python's integers, and the short form of columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow.errors import Verdict
from manaflow.moves import words as w

WORD = st.one_of(st.integers(0, 2**256 - 1), st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**255, 2**255 - 1, 2**256 - 1]))
M = 2**256


def limbs(values: list[int]) -> w.U64:
    return w.limbs_of(np.frombuffer(b"".join(v.to_bytes(32, "big") for v in values), np.uint8).reshape(-1, 32))


def values(rows: w.U64) -> list[int]:
    return [int.from_bytes(row.tobytes(), "big") for row in w.words_of_limbs(rows)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORD, WORD, st.booleans()), max_size=20))
def test_256_bit_columns_compute_as_integers_do(rows: list[tuple[int, int, bool]]) -> None:
    a, b = [x for x, _, _ in rows], [y for _, y, _ in rows]
    starts = np.array([s for _, _, s in rows], np.bool_)
    assert values(w.subtract(limbs(a), limbs(b))) == [(x - y) % M for x, y in zip(a, b, strict=True)]
    folded = [2 * x if x < M // 2 else 2 * (M - x) - 1 for x in a]
    assert values(w.zigzag(limbs(a))) == folded
    assert values(w.unzigzag(limbs(folded))) == a
    sums: list[int] = []
    for x, start in zip(a, starts.tolist(), strict=True):
        sums.append(x if start or not sums else (sums[-1] + x) % M)
    assert values(w.running_sums_of_limbs(limbs(a), starts)) == sums


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.booleans()), max_size=20))
def test_running_sums_wrap_at_64_bits(rows: list[tuple[int, bool]]) -> None:
    terms, starts = np.array([x for x, _ in rows], np.uint64), np.array([s for _, s in rows], np.bool_)
    sums: list[int] = []
    for x, start in rows:
        sums.append(x if start or not sums else (sums[-1] + x) % 2**64)
    assert w.running_sums(terms, starts).tolist() == sums


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 33).flatmap(lambda k: st.lists(st.binary(min_size=k, max_size=k), min_size=1, max_size=20)))
def test_words_come_back_in_as_few_bytes_as_they_need(rows: list[bytes]) -> None:
    width = len(rows[0])
    column = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width)
    data = w.encode_words(column)
    assert len(data) == len(rows) + sum(len(row.lstrip(b"\0")) for row in rows)
    reader = w.Reader(data, "test")
    assert np.array_equal(reader.words(len(rows), width, "a column"), column)
    reader.finish()


def read_whole(data: bytes) -> None:
    reader = w.Reader(data, "test")
    reader.words(2, 4, "a column")
    reader.finish()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\1", "cut short"),
        (b"\1\0", "cut short"),
        (b"\2\0\1", "cut short"),
        (b"\2\0\0\1", "leading zero"),
        (b"\1\0\0", "leading zero"),
        (b"\5\0\1\1\1\1\1", "more than 4 bytes"),
        (b"\0\0\0", "trailing bytes"),
    ],
)
def test_invalid_words_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(Verdict, match=message):
        read_whole(data)


def test_numbers_of_every_width() -> None:
    numbers = np.array([0, 1, 255, 256, 2**32 - 1], np.uint32)
    assert w.numbers_of(w.words_of(numbers)).tolist() == numbers.tolist()
    wide = np.array([0, 2**64 - 1, 2**33], np.uint64)
    assert w.numbers_of(w.words_of(wide)).tolist() == wide.tolist()
    assert w.words_of(wide)[2].tolist() == [0, 0, 0, 2, 0, 0, 0, 0]
