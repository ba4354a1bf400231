"""`manaflow conformance`: Ethereum's official state tests through the whole pipeline."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from manaflow.cli.files import existing
from manaflow.cli.options import Json
from manaflow.cli.output import ExitCode, progress, show

if TYPE_CHECKING:
    from manaflow.conformance.fixtures import Case
    from manaflow.conformance.results import Counts, Result
    from manaflow.conformance.runner import Runner

_WAITING_A_JOB: Final = 16
"""Tests handed to a process ahead of time; the rest stays in its file."""


def conformance(
    fixtures: Annotated[
        Path,
        typer.Argument(help="Fixtures of format state_test: a folder and all below it, a tar.gz, or a JSON file."),
    ],
    fork: Annotated[str | None, typer.Option(help="Run only the tests for this fork, e.g. Prague.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes at most; 0 for one a core.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Run Ethereum's official state tests (ethereum/execution-spec-tests) from genesis to the imported block.

    Each test becomes a genesis, a filled and sealed block, an import by a validator in mode execute, and an execution
    of the transaction alone by revm and by py-evm (which has no Osaka). The state held and the logs must be the
    expected ones; invalid transactions must be refused. Exit code 1 if a test fails.
    """
    known: set[str] = set()
    total = 0
    with progress("reading", None) as advance:
        for case in _cases(existing(fixtures)):
            known.add(case.fork)
            total += fork in (None, case.fork)
            advance()
    if not total:
        asked = f" for the fork {fork}, only for {', '.join(sorted(known))}" if fork and known else ""
        raise typer.BadParameter(f"no state test in {fixtures}{asked}")
    started = time.perf_counter()
    with progress("running", total) as advance:
        results = []
        for result in _run((case for case in _cases(fixtures) if fork in (None, case.fork)), total, jobs):
            results.append(result)
            advance()
    _report(results, time.perf_counter() - started, as_json)


def _cases(fixtures: Path) -> Iterator[Case]:
    from manaflow.conformance.fixtures import fixture_files, read_fixtures

    for name, content in fixture_files(fixtures):
        yield from read_fixtures(name, content)


def _run(cases: Iterator[Case], total: int, jobs: int) -> Iterator[Result]:
    """Results in the order of the tests."""
    # A process takes seconds to start, as long as some tens of tests take.
    processes = min(jobs or os.cpu_count() or 1, -(-total // _WAITING_A_JOB))
    if processes == 1:
        from manaflow.conformance.runner import Runner

        yield from map(Runner().run, cases)
        return
    waiting: deque[Future[Result]] = deque()
    with ProcessPoolExecutor(processes, get_context("spawn"), _start_worker) as pool:
        for case in cases:
            waiting.append(pool.submit(_run_in_worker, case))
            if len(waiting) >= processes * _WAITING_A_JOB:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


_runner: Runner
"""In a worker process: what runs its tests."""


def _start_worker() -> None:
    global _runner
    from manaflow.conformance.runner import Runner

    _runner = Runner()


def _run_in_worker(case: Case) -> Result:
    return _runner.run(case)


def _report(results: list[Result], seconds: float, as_json: bool) -> None:
    from manaflow.conformance.results import Standing, count

    counts = count(results)
    failed = [result for result in results if result.standing is Standing.FAILED]
    fields = {
        "ok": not failed,
        "exit_code": int(ExitCode.VERDICT if failed else ExitCode.FINE),
        "tests": len(results),
        "failed": len(failed),
        "counts": counts,
        "results": [result.as_json() for result in results],
        "seconds": seconds,
    }
    named = [result for result in results if result.standing in (Standing.FAILED, Standing.OUTSIDE)]
    lines = [f"{result.standing.value}: {result.fork} {result.id}: {result.reason}" for result in named]
    show(as_json, fields, [*lines, *_table(counts), f"{len(results)} tests, {len(failed)} failed ({seconds:.1f} s)"])
    if failed:
        raise typer.Exit(ExitCode.VERDICT)


def _table(counts: Counts) -> Iterator[str]:
    """A line per fork and engine."""
    for fork, engines in sorted(counts.items()):
        for engine, row in engines.items():
            if engine != "all":
                yield f"{fork} by {engine}: {', '.join(f'{n} {standing}' for standing, n in sorted(row.items()))}"
