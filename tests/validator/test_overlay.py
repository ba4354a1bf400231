"""The open block's cells: many transactions taken in together are those taken in one by one, or none."""

from __future__ import annotations

import random
from copy import deepcopy
from itertools import accumulate
from typing import Any

import pytest

from manaflow.validator.overlay import NO_CELL, OPEN, VIRGIN, Overlay, Rows

FIRST = 1_000
"""Number of the open block's first cell."""
LOCATIONS = [bytes((115,)) + bytes(51) + bytes((i,)) for i in range(5)]


def one_by_one(overlay: Overlay, txids: list[bytes], rows: Rows, offsets: list[int], splits: list[int]) -> bool:
    """False at the first transaction that breaks a rule."""
    for i, txid in enumerate(txids):
        if txid in overlay.txids or overlay.check(rows, offsets[i], splits[i], offsets[i + 1]) is not None:
            return False
        overlay.take(txid, rows, offsets[i], splits[i])
    return True


def state_of(overlay: Overlay) -> Any:
    return {name: value for name, value in vars(overlay).items() if name != "_first"}


def batch(rng: random.Random, overlay: Overlay, before: list[bytes]) -> tuple[list[bytes], Rows, list[int], list[int]]:
    """Up to four transactions on few cells, as if nobody had judged them; most of them could be admitted."""
    txids = [rng.randbytes(32) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.05:
        txids[-1] = rng.choice(txids + before)
    keys, numbers, values, counts, consumes = [], list[int](), list[bytes](), list[int](), list[int]()
    for i, _ in enumerate(txids):
        used = rng.sample(LOCATIONS, rng.randint(1, 3))
        consumes.append(rng.randint(0, len(used)))
        counts.append(len(used))
        for at, location in enumerate(used):
            kind = rng.choice((VIRGIN, OPEN, 1, 1, 1, NO_CELL if at >= consumes[-1] else OPEN))
            maker = rng.choice([*txids[: i + 1], *before]) if kind == OPEN else bytes(32)
            sealed = 1 + rng.randrange(6) * len(LOCATIONS) + LOCATIONS.index(location)  # a number is of one location
            numbers.append(sealed if kind == 1 else kind)
            keys.append(maker + location)
            cell = overlay._made.get(maker + location)
            values.append(overlay.value(cell) if cell is not None and rng.random() < 0.9 else bytes(32))
    after = b"".join(rng.choice((bytes(32), b"\1" * 32)) for _ in numbers)
    broken = [int(rng.random() < 0.005) for _ in numbers]
    offsets = list(accumulate(counts, initial=0))
    rows = Rows(b"".join(keys), b"".join(values), after, numbers, broken)
    return txids, rows, offsets, [start + count for start, count in zip(offsets, consumes, strict=False)]


@pytest.mark.parametrize("seed", range(8))
def test_together_is_one_by_one(seed: int) -> None:
    rng, found = random.Random(seed), [0, 0]
    for _ in range(60):
        overlay, before = Overlay(FIRST), list[bytes]()
        for _ in range(4):
            made = batch(rng, overlay, before)
            together, rows = deepcopy(overlay), deepcopy(made[1])
            is_taken = together.take_all(made[0], rows, made[2], made[3])
            found[is_taken] += 1
            if not is_taken:
                assert state_of(together) == state_of(overlay)
                assert rows == made[1]
            is_right = one_by_one(overlay, *made)
            assert is_taken == is_right
            if is_right:
                assert state_of(together) == state_of(overlay)
                assert rows == made[1]
            before += made[0]
    assert min(found) > 20, found


def test_a_part_of_a_batch() -> None:
    """Rows need not begin at the first transaction."""
    keys = b"".join(bytes(32) + location for location in LOCATIONS[:3])
    after = b"".join(bytes((i,)) * 32 for i in range(3))
    for first in (0, 1):
        offsets, splits = [0, 1, 3], [1, 3]
        txids = [bytes((i,)) * 32 for i in (7, 8)]
        whole, parts = Overlay(FIRST), Overlay(FIRST)
        rows = Rows(keys, bytes(96), after, [5, 6, VIRGIN], [0, 0, 0])
        assert one_by_one(whole, txids[first:], rows, offsets[first:], splits[first:])
        assert parts.take_all(txids[first:], rows, offsets[first:], splits[first:])
        assert state_of(whole) == state_of(parts)
        assert parts.value(FIRST) == after[32 * first : 32 * first + 32]
