"""Ethereum's own state tests (execution-spec-tests) on every executor: post-state, logs, and what is refused."""

from __future__ import annotations

import functools
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from manaflow.errors import Rule, Verdict
from manaflow.evm.executor import Environment, Execution, Executor, Job
from manaflow.evm.logs import logs_hash
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.rules.config import BlobParameters, Fork
from manaflow.rules.fees import blob_base_fee
from tests.conftest import is_nightly, shared_data
from tests.evm.engines import ENGINES
from tests.evm.worlds import World, alone, word

STORAGE_COLLISIONS = "create2collisionStorage"
"""Outside by name: EIP-7610's storage without code and nonce cannot arise in a chain (docs/SPEC.md, section 5)."""
EVERYDAY_STRIDE = 3
SLOW = "test_valid_gas_pairing"
"""On py-evm, whose pairings are pure Python: 15 seconds."""
PYEVM_FORKS = ("Cancun", "Prague")


@dataclass(frozen=True)
class StateTest:
    name: str
    fork: str
    test: Mapping[str, Any]
    post: Mapping[str, Any]


@functools.cache
def state_tests() -> list[StateTest]:
    found: list[StateTest] = []
    with tarfile.open(shared_data() / "statetests.tar.gz") as archive:
        for member in sorted(archive.getnames()):
            file = archive.extractfile(member)
            if file is None or not member.endswith(".json") or "MANIFEST" in member:
                continue
            for name, test in json.load(file).items():
                found += [StateTest(name, fork, test, post) for fork, posts in test["post"].items() for post in posts]
    return found


def chosen() -> Iterator[Any]:
    """Every third test on every executor that has its fork; all of them in the nightly run."""
    for i, test in enumerate(test for test in state_tests() if STORAGE_COLLISIONS not in test.name):
        for engine in ENGINES:
            if test.fork not in PYEVM_FORKS and engine.name == "pyevm":
                continue
            if is_nightly() or (i % EVERYDAY_STRIDE == 0 and not (engine.name == "pyevm" and SLOW in test.name)):
                yield pytest.param(test, engine, id=f"{test.name.split('::')[-1]}-{test.fork}-{engine.name}")


def raw(text: str) -> bytes:
    digits = text.removeprefix("0x")
    return bytes.fromhex(digits.rjust(len(digits) + len(digits) % 2, "0"))


def number(text: str) -> int:
    return int(text, 16)


def cells_of(state: Mapping[str, Any]) -> dict[Location, bytes]:
    cells: dict[Location, bytes] = {}
    for name, account in state.items():
        address, code = raw(name), raw(account["code"])
        cells[Mark.BALANCE, address, ZERO32] = word(number(account["balance"]))
        cells[Mark.NONCE, address, ZERO32] = word(number(account["nonce"]))
        cells[Mark.CODE, address, ZERO32] = keccak256(code) if code else ZERO32
        for slot, value in account["storage"].items():
            cells[Mark.STORAGE, address, word(number(slot))] = word(number(value))
    return {location: value for location, value in cells.items() if value != ZERO32}


def environment_of(case: StateTest) -> Environment:
    env, config = case.test["env"], case.test["config"]
    schedule = config["blobSchedule"][case.fork]
    blobs = BlobParameters(*(number(schedule[key]) for key in ("target", "max", "baseFeeUpdateFraction")))
    excess = number(env.get("currentExcessBlobGas", "0x0"))
    return Environment(
        chain_id=number(config["chainid"]),
        fork=Fork[case.fork.upper()],
        number=number(env["currentNumber"]),
        timestamp=number(env["currentTimestamp"]),
        coinbase=raw(env["currentCoinbase"]),
        gas_limit=number(env["currentGasLimit"]),
        base_fee=number(env["currentBaseFee"]),
        prevrandao=raw(env["currentRandom"]),
        excess_blob_gas=excess,
        blob_base_fee=blob_base_fee(excess, blobs.update_fraction),
        blobs=blobs,
        credits_coinbase=True,
    )


def job_of(case: StateTest) -> Job:
    pre = case.test["pre"]
    world = World(cells_of(pre), {keccak256(code): code for code in (raw(a["code"]) for a in pre.values()) if code})
    # A hash for every earlier block, which never was: no post-state of these tests depends on it.
    environment = environment_of(case)
    for earlier in range(max(0, environment.number - 256), environment.number):
        world.values[Mark.BLOCKHASH, bytes(20), word(earlier)] = keccak256(str(earlier).encode())
    transaction = decode_envelope(raw(case.post["txbytes"]))
    return Job(environment, transaction, recover_sender(transaction), 0, 0, world, world.codes)


def state_after(job: Job, execution: Execution) -> dict[Location, bytes]:
    after = {location: job.cells[location] for location in job.cells} | {u.location: u.next for u in execution.uses}
    return {location: value for location, value in after.items() if value != ZERO32 and location[0] != Mark.BLOCKHASH}


def test_only_one_stays_outside() -> None:
    assert sum(STORAGE_COLLISIONS in test.name for test in state_tests()) == 1


@pytest.mark.parametrize(("case", "engine"), list(chosen()))
def test_state_test(case: StateTest, engine: Executor) -> None:
    if "expectException" in case.post:
        with pytest.raises(Verdict) as refused:
            engine.execute(job_of(case))
        assert refused.value.rule in (Rule.S1, Rule.X0)
        return
    job = job_of(case)
    execution = engine.execute(job)
    assert state_after(job, execution) == cells_of(case.post["state"])
    assert logs_hash(execution.logs) == raw(case.post["logs"])
    assert engine.execute(alone(job, execution)) == execution
