"""Random transactions on both executors: the same outcome, the same uses, the same values, the same gas.

Each is also executed within exactly what it used, without one of those cells, with poison in all others, and (a sample)
with the gas limits around every step that uses something new.
"""

from __future__ import annotations

from collections import Counter

import pytest

from manaflow.evm.executor import Execution, Executor, Job
from tests.conftest import is_nightly
from tests.evm import random_jobs
from tests.evm.comparing import difference, gas_steps, outcome
from tests.evm.engines import ENGINES
from tests.evm.shrinking import finding

JOBS = 50_000 if is_nightly() else 500
STEPPED = JOBS // 25
"""Of so many jobs all gas steps are compared."""


def agree(first: Executor, second: Executor, job: Job, seed: int) -> None:
    if told := difference(first, second, job, seed):
        small = finding(job, lambda simpler: difference(first, second, simpler, seed) is not None)
        pytest.fail(f"seed {seed}: {told}\nminimised, to be kept in tests/vectors/engines:\n{small}")


def test_engines_agree_on_random_transactions() -> None:
    pyevm, revm = ENGINES
    seen: Counter[object] = Counter()
    for seed in random_jobs.seeds(JOBS):
        job = random_jobs.job(seed)
        agree(revm, pyevm, job, seed)
        result = outcome(revm, job)
        seen[result.status if isinstance(result, Execution) else result[0]] += 1
    assert seen[0] > JOBS // 5
    assert seen[1] > JOBS // 3
    assert seen["Verdict"] < JOBS // 10  # else the generator makes invalid transactions, and nobody is tested
    assert seen["Unsupported"] < JOBS // 50


def test_engines_agree_at_every_gas_step() -> None:
    pyevm, revm = ENGINES
    steps = 0
    for seed in random_jobs.seeds(STEPPED):
        for job in gas_steps(revm, random_jobs.job(seed)):
            agree(revm, pyevm, job, seed)
            steps += 1
    assert steps > STEPPED
