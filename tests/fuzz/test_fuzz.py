"""Every decoder on hostile input: only the documented errors, twins agree, and memory and time stay bounded.

A failing example prints its bytes; kept as a file of the corpus, it is tried in every run from then on.
"""

from __future__ import annotations

import time
import tracemalloc
from random import Random

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.conftest import is_nightly
from tests.fuzz import targets
from tests.fuzz.targets import CORPUS, TARGETS, Target, corpus

MAX_CORPUS_BYTES = 10**6
SECONDS = 5.0
"""Of processor time for one input: far beyond the milliseconds that each takes, so that only a blow-up fails."""
EXAMPLES = 2000 if is_nightly() else 100
FINDING = "finding-"
"""How names of inputs begin that a decoder must refuse, or once failed on."""


def mutated(target: Target, seeds: list[bytes], seed: int) -> bytes:
    """One of the seeds after one to three mutations."""
    rng = Random(seed)
    data = rng.choice(seeds)
    for _ in range(rng.randint(1, 3)):
        data = target.mutate(data, rng)
    return data


def within_bounds(target: Target, data: bytes) -> bool:
    """What the target says of the bytes; fails if that took too much memory or time."""
    tracemalloc.start()
    started = time.process_time()
    try:
        accepted = target.run(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < SECONDS
    assert peak <= target.base + target.factor * len(data), f"{peak} bytes for an input of {len(data)}"
    return accepted


def test_every_target_has_a_small_corpus() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == set(TARGETS)
    assert sum(path.stat().st_size for path in files) < MAX_CORPUS_BYTES


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus(name: str) -> None:
    """What make_corpus.py writes is accepted: refused after a change of a format, it must be made anew."""
    target = TARGETS[name]
    for path in sorted((CORPUS / name).iterdir()):
        target.run(path.read_bytes())  # caches fill up before memory is measured
        assert within_bounds(target, path.read_bytes()) or path.name.startswith(FINDING), path.name


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_of_the_corpus(name: str) -> None:
    target, seeds = TARGETS[name], corpus(name)

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**64))
    def check(seed: int) -> None:
        data = mutated(target, seeds, seed)
        note(f"{name}: {data.hex()}")
        within_bounds(target, data)

    check()


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    """Also behind the first bytes of a real input, where magic and version stand."""
    target, seed = TARGETS[name], corpus(name)[0]

    @settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 12), st.binary(max_size=300))
    def check(kept: int, data: bytes) -> None:
        within_bounds(target, seed[:kept] + data)

    check()


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_reach_far(name: str) -> None:
    """They follow from their seeds, and a decoder takes some of them: those that are all refused test little."""
    target, seeds = TARGETS[name], corpus(name)
    assert mutated(target, seeds, 1) == mutated(target, seeds, 1)
    outcomes: set[bool] = set()
    for seed in range(1000):
        outcomes.add(target.run(mutated(target, seeds, seed)))
        if outcomes == {True, False}:
            return
    pytest.fail(f"all are {'accepted' if outcomes.pop() else 'refused'}")


def test_a_leak_is_noticed() -> None:
    """The bound on memory is one that fails."""
    greedy = Target(lambda data: len(bytearray(10**6)) > len(data), TARGETS["header"].mutate, 2**18, 64)
    with pytest.raises(AssertionError, match="bytes for an input"):
        within_bounds(greedy, b"x")


def test_another_error_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(data: bytes) -> None:
        raise IndexError(len(data))

    monkeypatch.setattr(targets, "decode_envelope", crash)
    with pytest.raises(IndexError):
        TARGETS["envelope"].run(b"\x02")
