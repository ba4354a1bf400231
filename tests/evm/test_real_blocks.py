"""Real blocks on py-evm against the oracle: on a world, then alone on the cells used, then without one of them."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from manaflow.coordinator.ethereum import EthereumBlock, load_block
from manaflow.errors import Undeclared
from manaflow.evm.executor import Execution, Job
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.moves.marks import Location
from tests.conftest import block_files, is_nightly
from tests.evm.worlds import alone, jobs_of, world_of
from tests.oracle import Step, expected_path, load_expected

EVERYDAY = (
    "1-15537394", "1-19426586", "1-19933122", "1-21230867", "1-22615247", "17000-2971844", "17000-2971846",
)  # fmt: skip
BEFORE_PARIS = ("1-12047794",)
MISSING_PER_TRANSACTION = 3
EXECUTOR = PyEvmExecutor()


def names() -> list[str]:
    """All blocks from Paris on in the nightly run; on other days a few of each fork (Paris to Prague)."""
    every = [path.name.split(".")[0] for path in block_files()]
    return [name for name in every if name not in BEFORE_PARIS and (is_nightly() or name in EVERYDAY)]


def steps_and_jobs(block: EthereumBlock, steps: tuple[Step, ...]) -> list[tuple[Step, Job, Execution]]:
    """Every call and transaction of a block, executed in sequence on the world that its predecessors left."""
    world = world_of(block)
    jobs, done, gas_used = jobs_of(block, world), [], None
    for step in steps:
        job = next(jobs) if gas_used is None or step.kind == "system" else jobs.send(gas_used)
        execution = EXECUTOR.execute(job)
        gas_used = execution.gas_used if step.kind == "tx" else None
        world.apply(execution)
        done.append((step, alone(job, execution), execution))
    return done


def check_against_oracle(step: Step, execution: Execution) -> None:
    writes = {use.location: (use.prev, use.next) for use in execution.uses if use.prev != use.next}
    assert writes == dict(step.writes)
    slots = {(use.addr, use.slot) for use in execution.uses if chr(use.mark) == "s"}
    assert slots == step.read_slots
    assert {use.addr for use in execution.uses if chr(use.mark) != "e"} <= step.read_accounts
    if step.kind == "tx":
        assert (execution.status, execution.gas_used) == (step.status, step.gas_used)
        logs = [(log.address, log.topics, log.data) for log in execution.logs]
        assert logs == [(log.address, log.topics, log.data) for log in step.logs]


def check_missing(job: Job, seed: random.Random) -> None:
    locations = sorted(job.cells)
    for missing in seed.sample(locations, min(MISSING_PER_TRANSACTION, len(locations))):
        cells = {location: value for location, value in job.cells.items() if location != missing}
        with pytest.raises(Undeclared) as refused:
            EXECUTOR.execute(replace(job, cells=cells))
        assert named(refused.value) == missing


def named(error: Undeclared) -> Location:
    return error.mark[0], error.addr, error.slot


@pytest.mark.parametrize("name", names())
def test_a_real_block(name: str, data: Path) -> None:
    path = data / "blocks" / f"{name}.block.json.zst"
    block = load_block(path)
    steps = tuple(step for step in load_expected(expected_path(path)) if step.kind in ("system", "tx"))
    known = tuple(step for step in steps if step.target not in block.unknown_accounts)
    done = steps_and_jobs(block, steps)
    seed = random.Random(name)
    for step, job, execution in done:
        if step in known:
            check_against_oracle(step, execution)
        assert EXECUTOR.execute(job) == execution
        check_missing(job, seed)
    assert sum(execution.gas_used for _, _, execution in done) == block.gas_used
