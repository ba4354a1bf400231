"""The shrinker and what it stands on: a wrong engine is found by its differences, and the finding made small."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from manaflow.evm.executor import Execution, Job
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.moves.marks import ZERO32, Mark
from tests.evm import random_jobs
from tests.evm.comparing import EXTREME, difference, gas_steps, outcome
from tests.evm.crafting import OTHER, SENDER, THIRD, TO, Account, asm, call, case, look, store
from tests.evm.job_files import accounts_of, from_json, to_json
from tests.evm.shrinking import shrink


class Careless(PyEvmExecutor):
    """Forgets a use of a block hash, charges one gas too much for a log, or follows cells that nobody used."""

    name = "careless"

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def execute(self, job: Job) -> Execution:
        execution = super().execute(job)
        if self.fault == "uses":
            return replace(execution, uses=tuple(use for use in execution.uses if use.mark != Mark.BLOCKHASH))
        if self.fault == "gas":
            return replace(execution, gas_used=execution.gas_used + bool(execution.logs))
        looked = job.cells.get((Mark.BALANCE, job.environment.coinbase, ZERO32))
        return replace(execution, gas_used=execution.gas_used + (looked == EXTREME[Mark.BALANCE]))


@pytest.mark.parametrize("fault", ["uses", "gas", "poison"])
def test_a_wrong_engine_is_found_and_the_finding_made_small(fault: str) -> None:
    right, wrong = PyEvmExecutor(), Careless(fault)

    def is_wrong(job: Job) -> bool:
        return difference(right, wrong, job) is not None

    found = next(job for job in map(random_jobs.job, range(200)) if is_wrong(job))
    small = shrink(found, is_wrong)
    assert is_wrong(small)
    assert len(json.dumps(to_json(small))) < len(json.dumps(to_json(found))) / 2
    assert difference(right, right, small) is None


def test_nothing_stays_that_is_not_needed() -> None:
    right, wrong = PyEvmExecutor(), Careless("gas")
    noise = call(OTHER, 1) + look("BALANCE", THIRD) + store(3)
    world = {OTHER: Account(1, 1, noise, {1: 1}), THIRD: Account(5)}
    found = case("", [], code=noise + asm(0, 0, "LOG0") + noise, accounts=world, value=3, data=b"abc").job
    small = shrink(found, lambda job: difference(right, wrong, job) is not None)
    assert set(accounts_of(small)) == {SENDER, TO}
    assert accounts_of(small)[TO].balance == 0
    assert len(accounts_of(small)[TO].code) <= len(asm(0, 0, "LOG0"))
    assert (small.call.value, small.call.data) == (0, b"")


def test_a_job_survives_its_json() -> None:
    engine = PyEvmExecutor()
    for seed in range(40):
        job = random_jobs.job(seed)
        again = from_json(to_json(job))
        assert to_json(again) == to_json(job)
        assert outcome(engine, again) == outcome(engine, job), f"seed {seed}"


def test_gas_steps_stand_on_both_sides_of_each_change() -> None:
    engine, job = PyEvmExecutor(), random_jobs.job(3)
    limits = [step.call.gas_limit for step in gas_steps(engine, job)]
    assert limits
    assert all(low + 1 in limits or low - 1 in limits for low in limits)


def test_seeds_reach_every_type_and_mark() -> None:
    jobs = [random_jobs.job(seed) for seed in range(60)]
    assert {job.call.type for job in jobs} == {0, 1, 2, 3, 4}
    executions = [result for job in jobs if isinstance(result := outcome(PyEvmExecutor(), job), Execution)]
    assert {use.mark for execution in executions for use in execution.uses} == set(Mark)
    assert {execution.status for execution in executions} == {0, 1}
    assert any(execution.logs for execution in executions)
    assert any(execution.codes for execution in executions)
