"""A validator killed, or out of disk: it opens at a block boundary, nothing acknowledged is lost, `check` is clean."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.wire import GenesisFile, encode_block
from manaflow.validator.shape import Shape
from manaflow.validator.validator import Validator
from tests.chain import Chain, random_chain
from tests.conftest import ROOT, is_nightly
from tests.validator import crash_child

SMALL = Shape(chunk_cells=248, chunk_pages=1, live_chunks=2, bucket_bits=6, steps=8, pending=200)
"""Many pages and turns of the checkpoint in few blocks."""
PHASES = ("commit", "checkpoint", "undo")
PATIENCE_SECONDS = 120.0
"""For a process's next word: on a busy machine, with everything to compile, it comes late."""


@dataclass
class Prepared:
    """A chain, its files, and which cells live after each block."""

    chain: Chain
    files: list[bytes]
    live: list[frozenset[int]]


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    chain = random_chain(60, seed=11, transactions=6, slots=60)
    live: set[int] = set()
    history = []
    for block in chain.blocks:
        made = block.header.first_cell
        for move in block.moves.objects():
            if not move.is_reference:
                live.discard(move.number)
                live.add(made)
                made += 1
        history.append(frozenset(live))
    return Prepared(chain, [encode_block(block, NATIVE) for block in chain.blocks[1:]], history)


@pytest.fixture
def path(tmp_path: Path, prepared: Prepared) -> Path:
    chain = prepared.chain
    genesis = GenesisFile(chain.config.encode(), (), chain.blocks[0])
    Validator.create(tmp_path / "state", genesis, shape=SMALL).close()
    return tmp_path / "state"


@pytest.fixture(scope="module")
def processes() -> Any:
    """Processes forked from one that has imported everything and run nothing: no threads, and a quick start."""
    os.environ["PYTHONPATH"] = str(ROOT)  # or the server, started here, does not find what to preload, and says nothing
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.validator.crash_child"])
    return context


@dataclass
class Death:
    """What a killed process had said."""

    acknowledged: int
    """Head after the last operation that it acknowledged (or at its start)."""
    possible: int
    """Head if the operation that it was in got through."""
    phase: str


def kill_at(context: Any, path: Path, files: list[bytes], seed: int) -> Death:
    """Start a process and kill it a moment after the n-th time that it enters a phase."""
    rng = random.Random(seed)
    wanted, times, delay = PHASES[seed % len(PHASES)], rng.randrange(1, 12), rng.choice((0, 0, rng.random() * 0.004))
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=crash_child.run, args=(path, files, seed, sending))
    process.start()
    sending.close()
    death = Death(-1, -1, wanted)
    try:
        while times:
            times -= _follow(_heard(receiving), death) == wanted
        time.sleep(delay)
    finally:
        process.kill()
        process.join()
    _drain(receiving, death)
    return death


def _heard(receiving: Connection) -> tuple[str, int]:
    """The process's next word. Raises EOFError if it has ended."""
    assert receiving.poll(PATIENCE_SECONDS), "the process says nothing"
    report: tuple[str, int] = receiving.recv()
    return report


def _follow(report: tuple[str, int], death: Death) -> str:
    what, number = report
    if what in ("open", "done"):
        death.acknowledged = death.possible = number
    elif what.startswith("start"):
        death.possible = number + (1 if what == "start import" else -1)
    return what


def _drain(receiving: Connection, death: Death) -> None:
    """What the process had said before it died."""
    try:
        while True:
            _follow(receiving.recv(), death)
    except EOFError:
        pass


def test_nothing_acknowledged_is_lost_and_no_block_is_half_there(
    path: Path, prepared: Prepared, processes: Any
) -> None:
    heads: dict[str, list[str]] = {phase: [] for phase in PHASES}
    for seed in range(201 if is_nightly() else 21):
        death = kill_at(processes, path, prepared.files, seed)
        with Validator.open(path, threads=1) as state:
            header, block_hash = state.head
            assert header.number in (death.acknowledged, death.possible)
            assert block_hash == prepared.chain.blocks[header.number].hash
            assert state.index.content().live == prepared.live[header.number]
            state.check()
        heads[death.phase].append("before" if header.number == death.acknowledged else "after")
    assert all(len(found) >= 2 for found in heads.values())


def test_a_full_disk_stops_the_block_and_nothing_else(path: Path, prepared: Prepared, processes: Any) -> None:
    failure, number = outcome(processes, crash_child.fill_the_disk, path, prepared.files)
    assert re.search("reached the largest size of a file|disk is full", failure)
    assert 0 < number < len(prepared.files)
    assert_complete(path, prepared)


def test_a_full_map_stops_the_block_and_nothing_else(path: Path, prepared: Prepared, processes: Any) -> None:
    failure, number = outcome(processes, crash_child.fill_the_map, path, prepared.files)
    assert "map is full" in failure
    assert 0 < number < len(prepared.files)
    assert_complete(path, prepared)


def outcome(context: Any, target: Any, *arguments: Any) -> tuple[str, int]:
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*arguments, sending))
    process.start()
    sending.close()
    try:
        result = _heard(receiving)
        process.join(PATIENCE_SECONDS)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == 0
    return result


def assert_complete(path: Path, prepared: Prepared) -> None:
    with Validator.open(path, threads=1) as state:
        assert state.head[1] == prepared.chain.head.hash
        assert state.index.content().live == prepared.live[-1]
        state.check()
