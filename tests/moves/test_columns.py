"""Columns and objects are two views of the same rows."""

from __future__ import annotations

import random
from dataclasses import fields, replace

import numpy as np
import pytest

from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.leaf import LEAF_BYTES, Leaf
from manaflow.moves.marks import Move


def some_moves(count: int, seed: int = 1) -> list[Move]:
    rng = random.Random(seed)
    return [
        Move(
            rng.randrange(256), rng.randrange(256), rng.randrange(2**64), rng.randbytes(20), rng.randbytes(32),
            rng.randbytes(32), rng.randbytes(32),
        )
        for _ in range(count)
    ]  # fmt: skip


def some_leaves(count: int, seed: int = 2) -> list[Leaf]:
    rng = random.Random(seed)
    return [Leaf.decode(rng.randbytes(LEAF_BYTES)) for _ in range(count)]


@pytest.mark.parametrize("count", [0, 1, 37])
def test_moves_round_trip(count: int) -> None:
    rows = some_moves(count)
    columns = Moves.of(rows)
    assert columns.objects() == rows
    assert len(columns) == count
    assert [getattr(columns, f.name).dtype for f in fields(Moves)] == [np.uint8, np.uint8, np.uint64, *[np.uint8] * 4]
    assert [getattr(columns, name).shape for name in ("addr", "slot", "prev", "next")] == [
        (count, width) for width in (20, 32, 32, 32)
    ]
    assert all(getattr(columns, f.name).flags.c_contiguous for f in fields(Moves))


def test_take_is_a_view() -> None:
    rows = some_moves(10)
    columns = Moves.of(rows)
    taken = columns.take(3, 7)
    assert taken.objects() == rows[3:7]
    columns.prev[3] = 0
    assert taken[0] == replace(rows[3], prev=bytes(32))


def test_empty_moves() -> None:
    zero = Move(0, 0, 0, bytes(20), bytes(32), bytes(32), bytes(32))
    assert Moves.empty().equals(Moves.of([]))
    assert Moves.empty(2).equals(Moves.of([zero, zero]))


def test_moves_equal_only_if_every_field_is() -> None:
    rows = some_moves(3)
    assert Moves.of(rows).equals(Moves.of(rows))
    for field in fields(Moves):
        changed = Moves.of(rows)
        getattr(changed, field.name)[1] ^= 1
        assert not changed.equals(Moves.of(rows)), field.name
    assert not Moves.of(rows).equals(Moves.of(rows[:2]))


@pytest.mark.parametrize("count", [0, 1, 23])
def test_leaves_round_trip(count: int) -> None:
    rows = some_leaves(count)
    columns = Leaves.of(rows)
    assert columns.objects() == rows
    assert len(columns) == count
    encoded = columns.encoded()
    assert encoded.shape == (count, LEAF_BYTES)
    assert encoded.dtype == np.uint8
    assert [row.tobytes() for row in encoded] == [leaf.encode() for leaf in rows]


def test_leaves_equal_only_if_every_field_is() -> None:
    rows = some_leaves(3)
    assert Leaves.of(rows).equals(Leaves.of(rows))
    for field in fields(Leaves):
        changed = Leaves.of(rows)
        getattr(changed, field.name)[1] ^= 1
        assert not changed.equals(Leaves.of(rows)), field.name


def test_move_offsets() -> None:
    counts = [(1, 2), (0, 0), (2**32 - 1, 2**32 - 1), (4, 0)]
    leaves = [replace(leaf, consumes=c, references=r) for leaf, (c, r) in zip(some_leaves(4), counts, strict=True)]
    offsets = Leaves.of(leaves).move_offsets()
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [0, 3, 3, 3 + 2 * (2**32 - 1), 7 + 2 * (2**32 - 1)]
    assert Leaves.of([]).move_offsets().tolist() == [0]
