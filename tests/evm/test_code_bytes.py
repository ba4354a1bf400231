"""X5: the codes that an execution uses (C of the access table), and the limits of profile `manaflow`; both engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from manaflow._native import Environment
from manaflow.errors import Rule, Verdict
from manaflow.evm.executor import Execution, Executor, Job
from manaflow.evm.isolated import execute_alone
from manaflow.evm.logs import outcome_of
from manaflow.moves.leaf import Outcome
from manaflow.moves.marks import UNSIGNED, Mask, Move
from manaflow.rules.config import Profile
from manaflow.rules.execution import MAX_CODE_BYTES, MAX_GAS_LIMIT
from tests.evm.crafting import (
    ETHER,
    NAMES,
    OTHER,
    SENDER,
    THIRD,
    TO,
    Account,
    Case,
    asm,
    call,
    case,
    create,
    designation,
    look,
    sign_authorization,
    system_case,
    unless,
)
from tests.evm.engines import ENGINES

by_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
PLAIN = Account(0, 1, b"\0" * 100)
RETURNS_A_BYTE = asm(1, 0, "RETURN")
"""Init code that deploys one zero byte."""


def of(code: bytes = b"", **changes: Any) -> Case:
    """Without a tip, so that profiles do not differ in their uses."""
    return case("", [], code=code, **({"max_fee": 7} | changes))


def twice(opcode: str) -> bytes:
    return look(opcode, OTHER) + look(opcode, THIRD)


SIZE, HASH = look("EXTCODESIZE", OTHER), look("EXTCODEHASH", OTHER)
COPY = asm(0, 0, 0, OTHER, "EXTCODECOPY")
BIG = Account(0, 1, b"\1" * 200)
MADE = create(RETURNS_A_BYTE) + look("EXTCODESIZE", NAMES["made"])
DELEGATING = Account(0, 1, designation(THIRD))
DELEGATED = Account(0, 1, designation(OTHER))
COUNTED = {
    "nothing but empty codes": (of(), 0),
    "the code that runs": (of(asm("STOP")), 1),
    "EXTCODESIZE": (of(SIZE, accounts={OTHER: PLAIN}), len(SIZE) + 100),
    "EXTCODECOPY of nothing": (of(COPY, accounts={OTHER: PLAIN}), len(COPY) + 100),
    "EXTCODEHASH does not": (of(HASH, accounts={OTHER: PLAIN}), len(HASH)),
    "after an EXTCODEHASH": (of(HASH + SIZE, accounts={OTHER: PLAIN}), len(HASH + SIZE) + 100),
    "one code at two addresses counts once": (
        of(twice("EXTCODESIZE"), accounts={OTHER: PLAIN, THIRD: PLAIN}),
        len(twice("EXTCODESIZE")) + 100,
    ),
    "two codes": (
        of(twice("EXTCODESIZE"), accounts={OTHER: PLAIN, THIRD: BIG}),
        len(twice("EXTCODESIZE")) + 300,
    ),
    "a call with value": (of(call(OTHER, 1), accounts={OTHER: PLAIN}), len(call(OTHER, 1)) + 100),
    "a delegatecall in a frame that reverts": (
        of(call(OTHER), accounts={OTHER: Account(0, 1, call(THIRD, kind="DELEGATECALL") + b"\xfe"), THIRD: BIG}),
        len(call(OTHER)) + len(call(THIRD, kind="DELEGATECALL")) + 1 + 200,
    ),
    "a call without the gas for its access": (
        of(call(OTHER), accounts={OTHER: PLAIN}, gas_limit=21_000 + 100, status=0),
        len(call(OTHER)),
    ),
    "a delegate of the top call": (of(accounts={TO: DELEGATING, THIRD: PLAIN}), 23 + 100),
    "a delegate of a call": (of(call(OTHER), accounts={OTHER: DELEGATING, THIRD: PLAIN}), len(call(OTHER)) + 123),
    "the sender's delegation": (of(accounts={SENDER: Account(ETHER, 5, designation(THIRD))}), 23),
    "a code that the transaction makes does not": (of(MADE, value=0), len(MADE)),
    "an authority's old delegation": (
        of(authorizations=(sign_authorization(THIRD, 1),), accounts={NAMES["authority"]: DELEGATED}),
        23,
    ),
    "an authority's new delegation does not": (
        of(
            to=NAMES["authority"],
            authorizations=(sign_authorization(THIRD, 0),),
            accounts={THIRD: PLAIN},
        ),
        100,
    ),
    "a precompile": (of(to=NAMES["identity"]), 0),
    "a new address that is taken": (of(MADE, accounts={NAMES["made"]: PLAIN}), len(MADE) + 100),
    "a new address with a nonce": (of(MADE, accounts={NAMES["made"]: Account(0, 1)}), len(MADE)),
}  # fmt: skip


@by_engine
@pytest.mark.parametrize("name", COUNTED)
def test_the_bytes_of_distinct_codes_that_were_there_before(name: str, engine: Executor) -> None:
    counted, expected = COUNTED[name]
    assert engine.execute(counted.job).code_bytes == expected


def with_code(size: int, profile: Profile = Profile.MANAFLOW, code: bytes = SIZE) -> Job:
    """A transaction that uses `size` bytes of code, those of TO's own code among them."""
    accounts = {OTHER: Account(0, 1, b"\0" * (size - len(code)))}
    return of(code, accounts=accounts, settings={"profile": profile}).job


def refused(engine: Executor, job: Job) -> Rule:
    with pytest.raises(Verdict) as caught:
        engine.execute(job)
    return caught.value.rule


@by_engine
def test_the_limit_on_code_is_reached_and_not_passed(engine: Executor) -> None:
    assert engine.execute(with_code(MAX_CODE_BYTES)).code_bytes == MAX_CODE_BYTES
    assert refused(engine, with_code(MAX_CODE_BYTES + 1)) == Rule.X5
    assert engine.execute(with_code(MAX_CODE_BYTES + 1, Profile.ETHEREUM)).code_bytes == MAX_CODE_BYTES + 1


@by_engine
def test_the_limit_stops_the_execution_before_a_later_code_is_needed(engine: Executor) -> None:
    """So that a proof needs only the codes up to there."""
    job = with_code(MAX_CODE_BYTES + 1, code=SIZE + look("EXTCODESIZE", THIRD))
    lost = {
        location: b"\x99" * 32 if location == (ord("c"), THIRD, bytes(32)) else value
        for location, value in job.cells.items()
    }
    assert refused(engine, replace(job, cells=lost)) == Rule.X5


@by_engine
def test_the_limit_on_gas(engine: Executor) -> None:
    def limited(gas: int, profile: Profile) -> Job:
        return of(settings={"profile": profile}, gas_limit=gas, max_fee=7, max_priority_fee=0).job

    assert isinstance(engine.execute(limited(MAX_GAS_LIMIT, Profile.MANAFLOW)), Execution)
    assert refused(engine, limited(MAX_GAS_LIMIT + 1, Profile.MANAFLOW)) == Rule.X5
    assert isinstance(engine.execute(limited(MAX_GAS_LIMIT + 1, Profile.ETHEREUM)), Execution)


@by_engine
def test_the_gas_limit_comes_before_x0(engine: Executor) -> None:
    job = of(settings={"profile": Profile.MANAFLOW}, gas_limit=MAX_GAS_LIMIT + 1, nonce=4, max_fee=2**130).job
    assert refused(engine, job) == Rule.X5


@by_engine
def test_system_calls_are_exempt(engine: Executor) -> None:
    code = unless(asm(1), b"") + b"\0" * MAX_CODE_BYTES
    made = system_case("", [], Account(0, 1, code))
    job = replace(made.job, environment=replace(made.job.environment, profile=Profile.MANAFLOW))
    assert engine.execute(job).code_bytes == len(code)


class Unbounded:
    """An engine that knows nothing of X5."""

    name = "unbounded"

    def __init__(self, engine: Executor) -> None:
        self.engine = engine

    def execute(self, job: Job) -> Execution:
        return self.engine.execute(replace(job, environment=replace(job.environment, profile=Profile.ETHEREUM)))


def alone(engine: Executor, job: Job) -> tuple[list[Move], Outcome]:
    execution = Unbounded(engine).execute(job)
    moves = [
        Move(
            UNSIGNED | (Mask.REFERENCE if use.prev == use.next else 0),
            use.mark,
            1,
            use.addr,
            use.slot,
            use.prev,
            use.next,
        )
        for use in execution.uses
    ]
    return moves, outcome_of(execution)


@pytest.mark.parametrize(("size", "rule"), [(MAX_CODE_BYTES, None), (MAX_CODE_BYTES + 1, Rule.X5)])
def test_an_engine_that_does_not_stop_is_judged_by_its_count(size: int, rule: Rule | None) -> None:
    engine, job = Unbounded(ENGINES[0]), with_code(size)
    moves, outcome = alone(engine, job)
    if rule is None:
        execute_alone(engine, job, moves, outcome)
        return
    with pytest.raises(Verdict) as caught:
        execute_alone(engine, job, moves, outcome)
    assert caught.value.rule == rule


def test_a_profile_that_nobody_knows_has_no_native_environment() -> None:
    with pytest.raises(ValueError, match="no profile has the number 2"):
        Environment(1, 3, 100, 1_000, b"\xfe" * 20, 1, 7, bytes(32), 0, 1, 9, 5007716, 2)
