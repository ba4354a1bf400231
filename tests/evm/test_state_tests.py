"""Ethereum's own state tests (execution-spec-tests) on every executor alone: post-state, logs, and what is refused.

tests/conformance/ runs them through everything else as well; here run those too that no genesis can hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from manaflow.conformance.fixtures import FORKS, StateTest
from manaflow.conformance.states import codes_of, known_values
from manaflow.errors import Rule, Verdict
from manaflow.evm.executor import Environment, Execution, Executor, Job
from manaflow.evm.logs import logs_hash
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.rules.config import Profile
from manaflow.rules.fees import blob_base_fee
from tests.conformance.cases import shared_cases
from tests.conftest import is_nightly
from tests.evm.engines import ENGINES
from tests.evm.worlds import World, alone, word

STORAGE_COLLISIONS = "create2collisionStorage"
"""Outside by name: EIP-7610's storage without code and nonce cannot arise in a chain (docs/SPEC.md, section 5)."""
EVERYDAY_STRIDE = 3
SLOW = "test_valid_gas_pairing"
"""On py-evm, whose pairings are pure Python: 15 seconds."""
PYEVM_FORKS = ("Cancun", "Prague")


def state_tests() -> list[StateTest]:
    return [case for case in shared_cases() if isinstance(case, StateTest)]


def chosen() -> Iterator[Any]:
    """Every third test on every executor that has its fork; all of them in the nightly run."""
    for i, case in enumerate(case for case in state_tests() if STORAGE_COLLISIONS not in case.id):
        for engine in ENGINES:
            if case.fork not in PYEVM_FORKS and engine.name == "pyevm":
                continue
            if is_nightly() or (i % EVERYDAY_STRIDE == 0 and not (engine.name == "pyevm" and SLOW in case.id)):
                yield pytest.param(case, engine, id=f"{case.id.split('::')[-1]}-{case.fork}-{engine.name}")


def environment_of(case: StateTest) -> Environment:
    block, blobs = case.block, case.blobs
    assert blobs is not None
    return Environment(
        chain_id=case.chain_id,
        fork=FORKS[case.fork],
        number=block.number,
        timestamp=block.timestamp,
        coinbase=block.coinbase,
        gas_limit=block.gas_limit,
        base_fee=block.base_fee,
        prevrandao=block.prevrandao,
        excess_blob_gas=block.excess_blob_gas,
        blob_base_fee=blob_base_fee(block.excess_blob_gas, blobs.update_fraction),
        blobs=blobs,
        profile=Profile.ETHEREUM,
    )


def job_of(case: StateTest) -> Job:
    world = World(known_values(case.pre), codes_of(case.pre))
    for earlier, block_hash in case.block.block_hashes.items():
        world.values[Mark.BLOCKHASH, bytes(20), word(earlier)] = block_hash
    transaction = decode_envelope(case.block.envelopes[0])
    return Job(environment_of(case), transaction, recover_sender(transaction), 0, 0, world, world.codes)


def state_after(job: Job, execution: Execution) -> dict[Location, bytes]:
    after = {location: job.cells[location] for location in job.cells} | {u.location: u.next for u in execution.uses}
    return {location: value for location, value in after.items() if value != ZERO32 and location[0] != Mark.BLOCKHASH}


def test_only_one_stays_outside() -> None:
    assert sum(STORAGE_COLLISIONS in case.id for case in state_tests()) == 1


@pytest.mark.parametrize(("case", "engine"), list(chosen()))
def test_state_test(case: StateTest, engine: Executor) -> None:
    if case.exception is not None:
        with pytest.raises(Verdict) as refused:
            engine.execute(job_of(case))
        assert refused.value.rule in (Rule.S1, Rule.X0)
        return
    job = job_of(case)
    execution = engine.execute(job)
    assert state_after(job, execution) == known_values(case.post)
    assert logs_hash(execution.logs) == case.logs_hash
    assert engine.execute(alone(job, execution)) == execution
