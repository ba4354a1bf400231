"""X4 and X0 of guards: 2,100 gas each before the execution, the same on both executors and in a native block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from manaflow._native import Codes
from manaflow.errors import Rule, Verdict
from manaflow.evm.encoding import encode_envelope
from manaflow.evm.executor import Execution, Executor, Job
from manaflow.evm.isolated import execute_alone
from manaflow.evm.logs import outcome_of
from manaflow.evm.native import execute_block
from manaflow.evm.validity import GAS_GUARD, floor_gas, intrinsic_gas
from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.leaf import Leaf
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask, Move
from manaflow.moves.transactions import DECLARED_TYPE, DeclaredTransaction, EthereumTransaction, NamedMove
from manaflow.rules.config import Fork, Profile
from tests.conftest import is_nightly
from tests.declared import named_move
from tests.evm import random_jobs
from tests.evm.comparing import difference, gas_steps, outcome
from tests.evm.crafting import ETHER, INVALID, OTHER, TO, Account, asm, case, load, store, word
from tests.evm.engines import ENGINES

REFUNDED = asm(0, 1, "SSTORE")
"""Clears slot 1: a refund."""
CODES = {
    "stop": asm("STOP"),
    "stores": store(1) + load(2),
    "refunds": REFUNDED,
    "reverts": store(1) + asm(0, 0, "REVERT"),
    "fails": INVALID,
}
JOBS = 3000 if is_nightly() else 150
FORKS = [Fork.PARIS, Fork.SHANGHAI, Fork.CANCUN, Fork.PRAGUE]


def guard(slot: int) -> NamedMove:
    return named_move(Mask.REFERENCE | Mask.GUARD | Mask.INTX, Mark.STORAGE, OTHER, slot)


def job(code: bytes, guards: int, fork: Fork = Fork.PRAGUE, **changes: Any) -> Job:
    """A declared call of `to` with so many guards, within a wide world."""
    accounts = {TO: Account(ETHER, 1, code, {1: 5})}
    plain = case("", [], accounts=accounts, code=code, fork=fork, settings={"profile": Profile.MANAFLOW}).job
    made = with_guards(plain, guards)
    return replace(made, call=replace(declared(made), **changes))


def declared(job: Job) -> DeclaredTransaction:
    assert isinstance(job.call, DeclaredTransaction)
    return job.call


def run(engine: Executor, job: Job) -> Execution:
    result = outcome(engine, job)
    assert isinstance(result, Execution), result
    return result


@pytest.mark.parametrize("fork", FORKS)
@pytest.mark.parametrize("code", CODES)
def test_engines_agree_on_gas(code: str, fork: Fork) -> None:
    """What a guard costs is spent whatever becomes of the call; a refund is a fifth at most of all that was spent."""
    used = []
    for guards in (0, 1, 3):
        first, second = (run(engine, job(CODES[code], guards, fork)) for engine in ENGINES)
        assert first == second
        used.append(first.gas_used)
    if code == "fails":
        assert used == [500_000] * 3
    elif code != "refunds":
        assert used == [used[0], used[0] + GAS_GUARD, used[0] + 3 * GAS_GUARD]
    else:
        assert used[0] < used[1] < used[2]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
@pytest.mark.parametrize("fork", FORKS)
@pytest.mark.parametrize("guards", [0, 1, 2, 50])
def test_the_least_gas_limit(engine: Executor, fork: Fork, guards: int) -> None:
    least = intrinsic_gas(declared(job(CODES["stop"], guards, fork)), fork)
    assert least == 21_000 + guards * GAS_GUARD
    assert run(engine, job(CODES["stop"], guards, fork, gas_limit=least)).gas_used == least
    with pytest.raises(Verdict) as caught:
        engine.execute(job(CODES["stop"], guards, fork, gas_limit=least - 1))
    assert caught.value.rule == Rule.X0


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_the_floor_is_not_raised(engine: Executor) -> None:
    """EIP-7623's floor is the data's alone: guards are paid out of what lies above the intrinsic gas."""
    data = b"\1" * 1000
    call = declared(job(CODES["stop"], 2, data=data))
    intrinsic, floor = intrinsic_gas(call, Fork.PRAGUE), floor_gas(call, Fork.PRAGUE)
    assert intrinsic < floor == 21_000 + 40 * 1000
    assert run(engine, job(CODES["stop"], 2, data=data, gas_limit=floor)).gas_used == floor
    with pytest.raises(Verdict):
        engine.execute(job(CODES["stop"], 2, data=data, gas_limit=floor - 1))
    many = declared(job(CODES["stop"], 20, data=data))
    assert run(engine, job(CODES["stop"], 20, data=data)).gas_used == intrinsic_gas(many, Fork.PRAGUE) > floor


@pytest.mark.parametrize("code", CODES)
def test_engines_agree_at_every_gas_step(code: str) -> None:
    pyevm, revm = ENGINES
    steps = gas_steps(revm, job(CODES[code], 3))
    assert steps or code in ("stop", "fails")
    for step in steps:
        assert outcome(pyevm, step) == outcome(revm, step)


def with_guards(plain: Job, guards: int) -> Job:
    """The same call, declared."""
    call = plain.call
    assert isinstance(call, EthereumTransaction)
    fields = {name: getattr(call, name) for name in EthereumTransaction.__slots__}
    moves = tuple(guard(slot) for slot in range(guards))
    changed = {"type": DECLARED_TYPE, "valid_until": 0, "flags": 1, "moves": moves}
    return replace(plain, call=DeclaredTransaction(**(fields | changed)))


def test_engines_agree_on_random_calls_with_guards() -> None:
    pyevm, revm = ENGINES
    seen: Counter[object] = Counter()
    for seed in random_jobs.seeds(JOBS):
        plain = random_jobs.job(seed)
        if not isinstance(plain.call, EthereumTransaction) or plain.call.type != 2:
            continue
        declared_job = with_guards(plain, seed % 4)
        assert (told := difference(revm, pyevm, declared_job, seed)) is None, f"seed {seed}: {told}"
        result = outcome(revm, declared_job)
        seen[result.status if isinstance(result, Execution) else result[0]] += 1
    assert seen[0] > JOBS // 20
    assert seen[1] > JOBS // 20


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_a_create_with_guards(engine: Executor) -> None:
    found = run(engine, job(CODES["stop"], 2, to=b"", data=asm(0, 0, "RETURN")))
    without = run(engine, job(CODES["stop"], 0, to=b"", data=asm(0, 0, "RETURN")))
    assert found.gas_used == without.gas_used + 2 * GAS_GUARD


# ---- within moves: X4 lets guards be, in the plain rule and in the native block ----


def moves_of(execution: Execution, extra: Sequence[Move]) -> list[Move]:
    used = [
        Move(int(UNSIGNED | (Mask.REFERENCE if use.prev == use.next else 0)), use.mark, 0, use.addr, use.slot, use.prev,
             use.next) for use in execution.uses
    ]  # fmt: skip
    return sorted([*used, *extra], key=lambda move: (move.is_reference, move.location))


def judge_natively(job: Job, moves: Sequence[Move], execution: Execution) -> int:
    made = outcome_of(execution)
    consumes = sum(not move.is_reference for move in moves)
    leaf = Leaf(ZERO32, ZERO32, consumes, len(moves) - consumes, made.status, made.gas_used, made.logs_hash, 1, 0, 0, 0)
    codes = Codes()
    for code in job.codes.values():
        codes.add(code)
    raw = encode_envelope(declared(job))
    senders = np.frombuffer(job.sender, np.uint8).reshape(1, 20)
    return int(execute_block(job.environment, Moves.of(moves), Leaves.of([leaf]), [raw], senders, codes)[0])


def guard_move(slot: int, mask: int, prev: bytes = ZERO32) -> Move:
    return Move(mask, Mark.STORAGE, 0, OTHER, word(slot), prev, prev)


def test_guards_are_declared_and_not_used() -> None:
    honest = job(CODES["stores"], 2)
    execution = run(ENGINES[0], honest)
    guards = [guard_move(slot, guard(slot).mask) for slot in range(2)]
    moves = moves_of(execution, guards)
    strict = replace(honest, cells={move.location: move.prev for move in moves})
    for engine in ENGINES:
        execute_alone(engine, strict, moves, outcome_of(execution))
    assert judge_natively(strict, moves, execution) == 0
    for mask in (int(UNSIGNED | Mask.REFERENCE), int(Mask.INTX | Mask.REFERENCE)):
        plain = moves_of(execution, [guards[0], guard_move(1, mask)])
        with pytest.raises(Verdict) as caught:
            execute_alone(ENGINES[0], strict, plain, outcome_of(execution))
        assert caught.value.rule == Rule.X4
        assert judge_natively(strict, plain, execution) == Rule.X4


def test_less_gas_than_the_guards_cost_breaks_x3() -> None:
    honest = job(CODES["stores"], 2)
    execution = run(ENGINES[0], honest)
    moves = moves_of(execution, [guard_move(slot, guard(slot).mask) for slot in range(2)])
    strict = replace(honest, cells={move.location: move.prev for move in moves})
    cheap = replace(execution, gas_used=execution.gas_used - GAS_GUARD)
    assert judge_natively(strict, moves, cheap) == Rule.X3


def test_too_little_gas_for_the_guards_breaks_x0_in_a_block() -> None:
    honest = job(CODES["stop"], 2, gas_limit=21_000 + 2 * GAS_GUARD)
    execution = run(ENGINES[0], honest)
    moves = moves_of(execution, [guard_move(slot, guard(slot).mask) for slot in range(2)])
    strict = replace(honest, cells={move.location: move.prev for move in moves})
    assert judge_natively(strict, moves, execution) == 0
    short = replace(strict, call=replace(declared(strict), gas_limit=21_000 + 2 * GAS_GUARD - 1))
    assert judge_natively(short, moves, execution) == Rule.X0


def test_bytes_that_s2_refuses_are_marked_so() -> None:
    honest = job(CODES["stop"], 1, s=0)
    execution = run(ENGINES[0], job(CODES["stop"], 1))
    assert judge_natively(honest, moves_of(execution, []), execution) == Rule.S2
