"""Codes named by moves: all of a group's are held while it is executed, and no more than the bound or one's own."""

from __future__ import annotations

import itertools
import random

import pytest

from manaflow.evm.code_cache import OVERHEAD, CodeCache, code_hashes_named
from manaflow.moves.columns import Moves
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask, Move

CODES = {keccak256(code): code for code in (bytes([i]) * (100 + 30 * i) for i in range(40))}
UNKNOWN = b"\x01" * 32


def size_of(hashes: set[bytes]) -> int:
    return sum(len(CODES[h]) + OVERHEAD for h in hashes if h in CODES)


@pytest.mark.parametrize("most", [0, 1, 900, 3_000, 20_000, 10**6])
@pytest.mark.parametrize("seed", range(5))
def test_every_group_has_its_codes_within_the_bound(most: int, seed: int) -> None:
    rng, cache = random.Random(seed), CodeCache(most)
    for _ in range(6):
        named = {t: {*rng.sample(sorted(CODES), rng.randrange(5)), UNKNOWN} for t in range(20)}
        which = rng.sample(range(20), rng.randrange(21))
        every = set().union(*(named[t] for t in which)) if which else set()
        seen: list[int] = []
        for group in cache.groups(which, every, named.__getitem__, CODES.get):
            held = {h for h in CODES if h in cache.codes}
            assert all((named[t] & set(CODES)) <= held for t in group)
            assert UNKNOWN not in cache.codes
            largest = max((size_of(named[t]) for t in which), default=0)
            assert size_of(held) <= max(most, largest)
            seen += group
        assert seen == which


def test_what_fits_is_one_group_and_stays() -> None:
    cache, asked = CodeCache(10**6), list[bytes]()

    def code_of(code_hash: bytes) -> bytes | None:
        asked.append(code_hash)
        return CODES.get(code_hash)

    for _ in range(2):
        assert list(cache.groups([2, 1], CODES, lambda t: CODES, code_of)) == [[2, 1]]
    assert len(asked) == len(CODES)
    assert list(cache.groups([], (), lambda t: (), code_of)) in ([], [[]])


def test_groups_are_as_long_as_fits() -> None:
    same = [h for h, code in CODES.items() if len(code) < 300]
    most = sum(len(CODES[h]) + OVERHEAD for h in same)
    named = dict(enumerate({h} for h in (*same, *CODES)))
    groups = list(CodeCache(most).groups(list(named), CODES, named.__getitem__, CODES.get))
    assert groups[0][: len(same)] == list(range(len(same)))
    assert list(itertools.chain.from_iterable(groups)) == list(named)


def test_the_codes_that_moves_name() -> None:
    codes = sorted(CODES)[:3]
    rows = [Move(UNSIGNED | Mask.REFERENCE, Mark.CODE, 1, bytes(20), ZERO32, h, h) for h in (*codes, codes[0], ZERO32)]
    other = Move(UNSIGNED | Mask.REFERENCE, Mark.STORAGE, 1, bytes(20), ZERO32, UNKNOWN, UNKNOWN)
    assert code_hashes_named(Moves.of([*rows, other])) == set(codes)
