"""Hashing in Python and natively: equal on random columns, and on published vectors."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from manaflow import _native
from manaflow.evm.native_hashing import NATIVE, NativeHashing
from manaflow.moves import trees
from manaflow.moves.columns import Moves
from manaflow.moves.hashing import PYTHON, Hashing, keccak256
from tests.moves.test_columns import some_moves
from tests.moves.test_trees import LEAVES, ROOTS, some_hashes

KECCAKS = {
    b"": "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
    b"abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
}
"""Ethereum's keccak-256."""
BOTH = pytest.mark.parametrize("hashing", [PYTHON, NATIVE, NativeHashing(1)], ids=["python", "native", "one thread"])


@BOTH
def test_moves_roots_are_the_trees_of_the_moves(hashing: Hashing) -> None:
    rows = some_moves(300)
    cuts = [0, 0, 1, 3, 6, 7, 7, 15, 31, 64, 100, 299, 300, 300]
    roots = hashing.moves_roots(Moves.of(rows), np.array(cuts, np.int64))
    assert roots.dtype == np.uint8
    assert roots.shape == (len(cuts) - 1, 32)
    expected = [trees.root([move.encode() for move in rows[start:stop]]) for start, stop in itertools.pairwise(cuts)]
    assert [row.tobytes() for row in roots] == expected


@BOTH
@pytest.mark.parametrize("count", range(41))
def test_moves_roots_of_every_small_count(hashing: Hashing, count: int) -> None:
    moves = Moves.of(some_moves(count, seed=count))
    (root,) = hashing.moves_roots(moves, np.array([0, count], np.int64))
    assert root.tobytes() == trees.root([move.encode() for move in moves.objects()])


@BOTH
def test_moves_roots_of_views(hashing: Hashing) -> None:
    moves = Moves.of(some_moves(20))
    offsets = np.array([0, 4, 10], np.int64)
    copied = Moves.of(moves.objects()[5:15])
    assert np.array_equal(hashing.moves_roots(moves.take(5, 15), offsets), hashing.moves_roots(copied, offsets))


@BOTH
def test_invalid_offsets(hashing: Hashing) -> None:
    moves = Moves.of(some_moves(5))
    for offsets in ([], [-1, 5], [0, 6], [0, 3, 2, 5], [3, 2]):
        with pytest.raises(ValueError, match="offsets"):
            hashing.moves_roots(moves, np.array(offsets, np.int64))
    assert hashing.moves_roots(moves, np.array([5], np.int64)).shape == (0, 32)


def test_invalid_columns() -> None:
    moves, offsets = Moves.of(some_moves(4)), np.array([0, 4], np.int64)
    for name in ("mark", "number", "addr", "slot", "prev", "next"):
        with pytest.raises(ValueError, match="lengths"):
            NATIVE.moves_roots(replace(moves, **{name: getattr(moves, name)[:3]}), offsets)
    with pytest.raises(ValueError, match="contiguous"):
        NATIVE.moves_roots(replace(moves, mask=np.repeat(moves.mask, 2)[::2]), offsets)
    wrong: Any
    for wrong in (moves.number.astype(np.uint32), moves.number.astype(np.int64), moves.number.astype(">u8")):
        with pytest.raises((ValueError, BufferError)):
            NATIVE.moves_roots(replace(moves, number=wrong), offsets)


@BOTH
def test_published_roots(hashing: Hashing) -> None:
    """Those of RFC 6962 whose leaves have one width."""
    for width in (0, 1, 2):
        same = [leaf for leaf in LEAVES if len(leaf) == width]
        if width:
            leaves = np.frombuffer(b"".join(same), np.uint8).reshape(-1, width)
            assert hashing.tree_root(leaves) == trees.root(same)
    assert hashing.tree_root(np.zeros((0, 5), np.uint8)).hex() == ROOTS[0]
    assert hashing.tree_root(np.zeros((1, 1), np.uint8)) == trees.root([LEAVES[1]])


@BOTH
@pytest.mark.parametrize("count", [*range(41), 1000])
def test_tree_roots(hashing: Hashing, count: int) -> None:
    hashes = (some_hashes(256) * 4)[:count]
    leaves = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)
    assert hashing.tree_root(leaves) == trees.root(hashes)


def test_invalid_widths() -> None:
    for width in (0, 3):
        with pytest.raises(ValueError, match="width"):
            _native.tree_root(np.zeros(4, np.uint8), width)


@BOTH
def test_keccak_of_many(hashing: Hashing) -> None:
    items = [*KECCAKS, *(bytes(range(256))[:n] for n in range(0, 256, 5)), bytes(10_000)]
    hashed = hashing.keccak_many(items)
    assert hashed.shape == (len(items), 32)
    assert hashed.dtype == np.uint8
    assert [row.tobytes().hex() for row in hashed[:2]] == list(KECCAKS.values())
    assert [row.tobytes() for row in hashed] == [keccak256(item) for item in items]
    assert hashing.keccak_many([]).shape == (0, 32)


def test_keccak_of_one() -> None:
    for data, expected in KECCAKS.items():
        assert _native.keccak256(data) == keccak256(data) == bytes.fromhex(expected)
