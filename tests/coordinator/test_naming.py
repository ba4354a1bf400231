"""Naming the cells of a fill: the pass for what nobody has signed moves of is the general one."""

from __future__ import annotations

import random
from dataclasses import astuple

import numpy as np
import pytest

from manaflow.coordinator.naming import Hashes, Rows, _name_one_by_one, name_cells
from manaflow.coordinator.view import View
from manaflow.moves.marks import Mark
from tests.coordinator.test_pool import entry

LOCATIONS = [(mark, bytes(19) + bytes((i,))) for i in range(3) for mark in (Mark.BALANCE, Mark.NONCE)]
HASHES = Hashes(1, {}, frozenset())


class Sealed:
    """A record at every other location."""

    def record(self, key: bytes) -> bytes | None:
        return bytes(7) + key[:1] + key[1:21].rjust(32, b"\7") + bytes(31) + b"\5" if key[20] % 2 else None


def fill(rng: random.Random, steps: int) -> Rows:
    """Each step consumes some locations and refers to others."""
    chosen = [rng.sample(LOCATIONS, rng.randint(1, 5)) for _ in range(steps)]
    consumes = np.array([rng.randint(0, len(used)) for used in chosen], np.uint32)
    counts = np.array([len(used) for used in chosen], np.int64)
    used = [one for step in chosen for one in step]
    n = len(used)
    words = [np.frombuffer(rng.randbytes(32 * n), np.uint8).reshape(n, 32) for _ in range(2)]
    return Rows(
        np.arange(steps),
        consumes,
        (counts - consumes).astype(np.uint32),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
        np.array([mark for mark, _ in used], np.uint8),
        np.frombuffer(b"".join(addr for _, addr in used), np.uint8).reshape(n, 20),
        np.zeros((n, 32), np.uint8),
        *words,
    )


@pytest.mark.parametrize("seed", range(100))
def test_what_nobody_signed_is_named_as_one_by_one(seed: int) -> None:
    rng = random.Random(seed)
    rows = fill(rng, rng.randint(1, 4))
    entries = [entry(i, arrival=i + 1) for i in range(len(rows.consumes))]
    statuses = bytes(len(entries))
    views = [View(Sealed(), lambda code_hash: None) for _ in range(2)]
    found = name_cells(rows, entries, statuses, views[0], HASHES)
    expected = _name_one_by_one(rows, entries, statuses, views[1], HASHES)
    assert astuple(found) == astuple(expected)
    assert views[0].known == views[1].known
