"""The process that test_crash.py kills: it imports and takes back blocks, and says where it is."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from manaflow.errors import StorageFailure
from manaflow.validator import checkpoint
from manaflow.validator.index import Index
from manaflow.validator.kernels import bits
from manaflow.validator.store import Store, Transaction
from manaflow.validator.validator import Validator

bits.set_bits(np.zeros(1, np.uint64), np.zeros(0, np.uint64))
"""numba gets ready on its first call (a second or more): here, before processes are forked; it starts no thread."""

Report = tuple[str, int]
"""(what, block number): "import" or "undo" before it starts, a phase within it, "done" with the head after it."""


def report_phases(report: Callable[[str], None]) -> None:
    """Say "checkpoint" before a slice is written, "undo" before an undo is, "commit" before any commit."""
    write, advance, undo = Store.write, checkpoint.advance, Index.undo

    @contextmanager
    def reporting_write(self: Store, *arguments: Any) -> Iterator[Transaction]:
        with write(self, *arguments) as txn:
            yield txn
            report("commit")

    def reporting_advance(*arguments: Any) -> Any:
        report("checkpoint")
        return advance(*arguments)

    def reporting_undo(*arguments: Any) -> Any:
        report("undo")
        return undo(*arguments)

    Store.write = reporting_write
    checkpoint.advance = reporting_advance
    Index.undo = reporting_undo


def run(path: Path, blocks: Sequence[bytes], seed: int, reports: Connection) -> None:
    """Import and undo at random until killed. blocks[i] is block i + 1's file."""
    rng, at = random.Random(seed), 0

    def report(what: str) -> None:
        reports.send((what, at))

    report_phases(report)
    with Validator.open(path, threads=1) as state:
        at = state.head[0].number
        report("open")
        while True:
            if at == len(blocks) or (at > 0 and rng.random() < 0.35):
                report("start undo")
                state.undo_block()
            else:
                report("start import")
                state.import_block(blocks[at])
            at = state.head[0].number
            report("done")


def fill_the_disk(path: Path, blocks: Sequence[bytes], reports: Connection) -> None:
    """Import under a limit on the size of files until it is reached; then without it, the same block and the rest."""
    with Validator.open(path, threads=1) as state:
        size = (path / "data.mdb").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 64 * 1024, resource.RLIM_INFINITY))
        failure = _import_until_failure(state, blocks)
        number, content = state.head[0].number, state.index.content()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        state.check()
        assert state.index.content() == content
        for data in blocks[number:]:
            state.import_block(data)
        state.check()
    reports.send((failure, number))


def fill_the_map(path: Path, blocks: Sequence[bytes], reports: Connection) -> None:
    """Import into a map that may not grow until it is full; then with a larger one, the same block and the rest."""
    opened = Store.open
    pages = (path / "data.mdb").stat().st_size + 256 * 1024
    Store.open = lambda path: opened(path, map_size=pages, map_ceiling=pages)
    with Validator.open(path, threads=1) as state:
        failure = _import_until_failure(state, blocks)
        number = state.head[0].number
        state.check()
    Store.open = opened
    with Validator.open(path, threads=1) as state:
        assert state.head[0].number == number
        for data in blocks[number:]:
            state.import_block(data)
        state.check()
    reports.send((failure, number))


def _import_until_failure(state: Validator, blocks: Sequence[bytes]) -> str:
    for data in blocks:
        try:
            state.import_block(data)
        except StorageFailure as failure:
            return str(failure)
    return "no failure"
