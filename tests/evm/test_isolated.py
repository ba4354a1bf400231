"""One transaction alone: X0 to X5 in their order, on real evidence with one thing broken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.errors import Failure, Rule, Verdict
from manaflow.evm.executor import Job, Use
from manaflow.evm.isolated import execute_alone, job_of
from manaflow.evm.logs import outcome_of
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.moves.leaf import Leaf, Outcome
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask, Move
from tests.evm.crafting import COINBASE, OTHER, SENDER, TO, Account, asm, case, look, store, word

EXECUTOR = PyEvmExecutor()
CODE = store(1) + look("EXTCODESIZE", OTHER) + asm(0, 0, "LOG0")
CASE = case("", [], code=CODE, accounts={OTHER: Account(0, 1, b"\0")})


def move_of(use: Use) -> Move:
    mask = UNSIGNED | (Mask.REFERENCE if use.prev == use.next else 0)
    return Move(mask, use.mark, 1, use.addr, use.slot, use.prev, use.next)


MOVES = [move_of(use) for use in EXECUTOR.execute(CASE.job).uses]
OUTCOME = outcome_of(EXECUTOR.execute(CASE.job))
LEAF = Leaf(ZERO32, ZERO32, 0, 0, 1, OUTCOME.gas_used, OUTCOME.logs_hash, 1, 1_000, 0, 500)


def job(moves: list[Move] = MOVES) -> Job:
    return job_of(CASE.job.environment, CASE.job.call, SENDER, LEAF, moves, CASE.job.codes)


def refused(moves: list[Move] = MOVES, outcome: Outcome = OUTCOME, changed: Job | None = None) -> Verdict:
    with pytest.raises(Verdict) as raised:
        execute_alone(EXECUTOR, changed or job(moves), moves, outcome)
    return raised.value


def broken(mark: Mark, addr: bytes, **changes: bytes) -> tuple[int, list[Move]]:
    """The place of a move, and the moves with it changed."""
    at = next(i for i, move in enumerate(MOVES) if (move.mark, move.addr) == (mark, addr))
    return at, [*MOVES[:at], replace(MOVES[at], **changes), *MOVES[at + 1 :]]


def test_job_of_takes_moves_and_totals() -> None:
    made = job()
    assert made.cells == {move.location: move.prev for move in MOVES}
    assert (made.gas_before, made.blob_gas_before, made.sender) == (1_000, 500, SENDER)


def test_a_valid_transaction() -> None:
    execution = execute_alone(EXECUTOR, job(), MOVES, OUTCOME)
    assert [use.location for use in execution.uses] == [move.location for move in MOVES]


def test_x0_comes_first() -> None:
    _, moves = broken(Mark.NONCE, SENDER, prev=word(4))
    assert refused(moves, replace(OUTCOME, status=0)).rule == Rule.X0


def test_x0_takes_the_leafs_totals() -> None:
    full = replace(job(), gas_before=CASE.job.environment.gas_limit)
    assert refused(changed=full).rule == Rule.X0


@pytest.mark.parametrize(("mark", "addr"), [(Mark.NONCE, SENDER), (Mark.CODE, OTHER), (Mark.STORAGE, TO)])
def test_x1_names_the_location(mark: Mark, addr: bytes) -> None:
    verdict = refused([move for move in MOVES if (move.mark, move.addr) != (mark, addr)])
    assert verdict.rule == Rule.X1
    assert f"{chr(mark)} 0x{addr.hex()}" in verdict.what


def test_x2_before_x3() -> None:
    at, moves = broken(Mark.BALANCE, COINBASE, next=word(1))
    verdict = refused(moves, replace(OUTCOME, status=0))
    assert (verdict.rule, verdict.move, verdict.actual) == (Rule.X2, at, word(1))


def test_x3_before_x4() -> None:
    unused = Move(UNSIGNED | Mask.REFERENCE, Mark.CODE, 0, b"\x99" * 20, ZERO32, ZERO32, ZERO32)
    assert refused([*MOVES, unused], replace(OUTCOME, status=0)).rule == Rule.X3
    verdict = refused([*MOVES, unused])
    assert (verdict.rule, verdict.move) == (Rule.X4, len(MOVES))


def test_a_missing_code_is_no_verdict() -> None:
    with pytest.raises(Failure, match="missing"):
        execute_alone(EXECUTOR, replace(job(), codes={}), MOVES, OUTCOME)
