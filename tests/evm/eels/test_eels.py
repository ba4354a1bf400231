"""Both executors against EELS: status, gas, logs, writes and codes exactly; every use within what EELS read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from manaflow.errors import Verdict
from manaflow.evm.executor import Execution, Executor, Job
from manaflow.rules.config import Profile
from tests.conftest import is_nightly
from tests.evm import random_jobs
from tests.evm.access_cases import CASES
from tests.evm.comparing import gas_steps, outcome
from tests.evm.crafting import Case
from tests.evm.eels.executor import EelsExecutor, eels_difference
from tests.evm.engines import ENGINES
from tests.evm.job_files import from_json
from tests.evm.shrinking import finding
from tests.evm.test_engine_vectors import FILES

JOBS = 5_000 if is_nightly() else 300
STEPPED = JOBS // 25
ENGINE = ENGINES[-1]
"""One is enough: test_engines_agree compares the other with it."""
STORAGE_OF_NEW = "slots of a new account are 0 whatever is said"
"""Cells that lie about a new account's slots: EELS sees an account with storage there, which EIP-7610 refuses."""


def credited(job: Job) -> Job:
    """The job in profile `ethereum`, the only one that EELS knows."""
    return replace(job, environment=replace(job.environment, profile=Profile.ETHEREUM))


def agree(engine: Executor, eels: EelsExecutor, job: Job, what: str) -> None:
    if told := eels_difference(engine, eels, job):
        small = finding(job, lambda simpler: eels_difference(engine, eels, simpler) is not None)
        pytest.fail(f"{what}: {told}\nminimised, to be kept in tests/vectors/engines:\n{small}")


def test_random_transactions(eels: EelsExecutor) -> None:
    for seed in random_jobs.seeds(JOBS):
        agree(ENGINE, eels, credited(random_jobs.job(seed)), f"seed {seed}")


def test_gas_steps(eels: EelsExecutor) -> None:
    for seed in random_jobs.seeds(STEPPED):
        for job in gas_steps(ENGINE, credited(random_jobs.job(seed))):
            agree(ENGINE, eels, job, f"seed {seed}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_access_cases(case: Case, eels: EelsExecutor) -> None:
    if case.name == STORAGE_OF_NEW:
        pytest.skip("no chain has storage where an account is made (docs/SPEC.md, section 5)")
    told = eels_difference(ENGINE, eels, credited(case.job))
    assert told is None


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_vectors(file: Path, eels: EelsExecutor) -> None:
    told = eels_difference(ENGINE, eels, credited(from_json(json.loads(file.read_text())["job"])))
    answers_otherwise = "eels" in json.loads(file.read_text())
    assert (told is not None) == answers_otherwise, told


def test_a_wrong_answer_is_told(eels: EelsExecutor) -> None:
    class Wrong:
        name = "wrong"

        def __init__(self, **changes: object) -> None:
            self.changes = changes

        def execute(self, job: Job) -> Execution:
            return replace(ENGINE.execute(job), **self.changes)

    job = credited(next(job for job in map(random_jobs.job, range(99)) if isinstance(outcome(ENGINE, job), Execution)))
    assert eels_difference(ENGINE, eels, job) is None
    status = ENGINE.execute(job).status
    for changes in ({"status": 1 - status}, {"gas_used": 1}, {"uses": ()}, {"codes": {b"": b""}}):
        assert eels_difference(Wrong(**changes), eels, job) is not None
    with pytest.raises(Verdict):
        eels.execute(replace(job, call=replace(job.call, nonce=99)))
