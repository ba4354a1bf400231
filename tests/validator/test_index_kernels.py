"""The kernels against the same thing in a few lines of Python."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow.errors import StorageFailure
from manaflow.moves.columns import Moves
from manaflow.moves.marks import Move
from manaflow.validator.journal import Record
from manaflow.validator.kernels import bits, order, sets
from manaflow.validator.netting import Columns
from manaflow.validator.shape import Keys, Shape, Tip

numbers = st.lists(st.integers(0, 2**48), unique=True, max_size=200).map(sorted)


def multilinear(key: list[int], words: list[int]) -> int:
    """MULTILINEAR-HM as its paper writes it."""
    total = key[0]
    for i in range(0, len(words), 2):
        total += (key[i + 1] + words[i]) * (key[i + 2] + words[i + 1])
    return total % 2**64 >> 32


def little_words(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]


def test_hashes_are_those_of_the_paper() -> None:
    rng = random.Random(1)
    keys = Keys.decode(rng.randbytes(Keys.BYTES))
    rows = [
        Move(
            0x3F,
            rng.choice(b"bcns"),
            number,
            rng.randbytes(20),
            rng.randbytes(32),
            rng.randbytes(32),
            rng.randbytes(32),
        )
        for number in (0, 2**40 - 1, 12345, 0)
    ]
    columns = Columns(Moves.of(rows), np.array([0, 2, 4]), 2**40, keys, 16)
    for i, row in enumerate(rows):
        where = [row.mark, *little_words(row.addr + row.slot)]
        for number, value, found in ((row.number, row.prev, columns.used[i]), (2**40 + i, row.next, columns.made[i])):
            words = [number % 2**32, number >> 32, *where, *little_words(value)]
            high, low = (multilinear(key.tolist(), words) for key in keys.cell)
            assert int(found) == (high << 32 | low if number else 0)
        if not row.number:
            bucket, high, low = (multilinear(key.tolist(), where) for key in keys.place)
            assert (int(columns.bucket[i]), int(columns.low[i])) == (bucket >> 16, high << 32 | low)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=300), st.integers(0, 20), st.integers(1, 44))
@settings(deadline=None, max_examples=50)
def test_radix_order_is_a_stable_sort(values: list[int], start: int, width: int) -> None:
    keys = np.array(values, np.uint64)
    passes = -(-width // 11) * 11
    rows, sorted_keys = order.radix_order(np.arange(len(values)), keys, start, width)
    expected = sorted(range(len(values)), key=lambda i: values[i] >> start & (1 << passes) - 1)
    assert rows.tolist() == expected
    assert sorted_keys.tolist() == [values[i] for i in expected]


@given(numbers)
@settings(deadline=None, max_examples=50)
def test_gaps_round_trip_and_truncation_is_noticed(values: list[int]) -> None:
    data = bits.write_gaps(np.array(values, np.uint64))
    out = np.empty(len(values), np.uint64)
    assert bits.read_gaps(data, out)
    assert out.tolist() == values
    assert not bits.read_gaps(np.append(data, np.uint8(0)), out)
    if values:
        assert not bits.read_gaps(data[:-1], out)


@given(st.integers(0, 300), st.integers(0, 300), st.booleans())
@settings(deadline=None, max_examples=100)
def test_fill_range(start: int, stop: int, value: bool) -> None:
    words = np.full(6, 0 if value else 2**64 - 1, np.uint64)
    bits.fill_range(words, start, stop, value)
    found = np.unpackbits(words.view(np.uint8), bitorder="little")
    assert [bool(x) == value for x in found.tolist()] == [start <= i < stop for i in range(384)]


def test_filters_keep_every_hash_when_they_double_and_refuse_most_others() -> None:
    rng = np.random.default_rng(3)
    bucket = np.sort(rng.integers(0, 4, 150)).astype(np.uint64)
    low = rng.integers(0, 2**64, 150, np.uint64)
    filters, adds, counts = np.zeros((4, 1, 8), np.uint64), np.zeros((4, 60), np.uint64), np.zeros(4, np.int64)
    assert sets.largest_load(counts, bucket) == np.bincount(bucket.astype(int)).max()
    sets.add_hashes(filters, adds, counts, bucket, low)
    for _ in range(3):
        assert len(sets.probe(filters, np.arange(150), bucket, low)) == 150
        filters = np.ascontiguousarray(np.repeat(filters, 2, axis=1))
    others = rng.integers(0, 2**64, 10_000, np.uint64)
    hits = sets.probe(filters, np.arange(10_000), rng.integers(0, 4, 10_000).astype(np.uint64), others)
    assert len(hits) < 200


def test_records_round_trip_and_damage_is_noticed() -> None:
    rng = np.random.default_rng(4)
    low = rng.integers(0, 2**64, 5, np.uint64)
    record = Record(
        9,
        100,
        50,
        np.array([1, 7, 99], np.uint64),
        np.array([0, 49], np.uint64),
        np.arange(5, dtype=np.uint64),
        low,
        77,
    )
    data = record.encode()
    again = Record.decode(9, data)
    assert again.encode() == data
    assert (again.first_cell, again.stop, again.position, again.grown) == (100, 150, 77, 45)
    assert again.gone_numbers.tolist() == [100, 149]
    for broken in (data[:10], data[:-1], data + b"\0", data[:16] + b"\xff" * 8 + data[24:]):
        with pytest.raises(StorageFailure, match="damaged"):
            Record.decode(9, broken)


def test_shapes_and_tips_round_trip() -> None:
    assert Shape.decode(Shape().encode()) == Shape()
    assert Tip.decode(Tip(-1, 5, 6, 7, 8).encode()) == Tip(-1, 5, 6, 7, 8)
    assert Shape().chunk_cells * 8 <= Shape().chunk_bytes == 4 * 4096 - 16
    assert Shape().live_page_bytes == 4096 - 16
    for bad in ({"chunk_cells": 2048}, {"chunk_cells": 20}, {"steps": 3}, {"bucket_bits": 3, "steps": 16}):
        with pytest.raises(ValueError, match=r"chunk|steps"):
            Shape(**bad)
