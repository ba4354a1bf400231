"""X2 to X5: valid evidence, then one thing broken and one verdict at one place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.errors import Rule, Verdict
from manaflow.evm.executor import Use
from manaflow.moves.leaf import Outcome
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask, Move
from manaflow.rules.config import Profile
from manaflow.rules.execution import MAX_CODE_BYTES, MAX_GAS_LIMIT, check_x2, check_x3, check_x4, check_x5

ONE, TWO = b"\1" * 20, b"\2" * 20
OUTCOME = Outcome(1, 21_000, b"\3" * 32)


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def consume(addr: bytes, prev: int, after: int) -> Move:
    return Move(UNSIGNED, Mark.BALANCE, 1, addr, ZERO32, word(prev), word(after))


def reference(addr: bytes, value: int, mask: int = 0) -> Move:
    return Move(UNSIGNED | Mask.REFERENCE | mask, Mark.CODE, 1, addr, ZERO32, word(value), word(value))


MOVES = [consume(ONE, 5, 4), consume(TWO, 1, 2), reference(ONE, 9)]
USES = [
    Use(Mark.BALANCE, ONE, ZERO32, word(5), word(4)),
    Use(Mark.BALANCE, TWO, ZERO32, word(1), word(2)),
    Use(Mark.CODE, ONE, ZERO32, word(9), word(9)),
]


def refused_x2(moves: list[Move], uses: list[Use]) -> Verdict:
    with pytest.raises(Verdict) as raised:
        check_x2(moves, uses)
    assert raised.value.rule == Rule.X2
    return raised.value


def test_x2_accepts_what_the_execution_leaves() -> None:
    check_x2(MOVES, USES)
    check_x2(MOVES, reversed(USES))
    check_x2([], [])


def test_x2_a_consume_that_is_left_otherwise() -> None:
    verdict = refused_x2([MOVES[0], replace(MOVES[1], next=word(3)), MOVES[2]], USES)
    assert (verdict.move, verdict.expected, verdict.actual) == (1, word(2), word(3))


def test_x2_a_consume_that_changes_nothing() -> None:
    verdict = refused_x2(MOVES, [USES[0], replace(USES[1], next=word(1)), USES[2]])
    assert (verdict.move, verdict.expected, verdict.actual) == (1, word(1), word(2))


def test_x2_a_consume_that_is_not_used() -> None:
    verdict = refused_x2(MOVES, USES[1:])
    assert (verdict.move, verdict.expected, verdict.actual) == (0, word(5), word(4))


def test_x2_a_reference_that_changes() -> None:
    verdict = refused_x2(MOVES, [*USES[:2], replace(USES[2], next=word(8))])
    assert (verdict.move, verdict.expected, verdict.actual) == (2, word(8), word(9))


def test_x2_an_unused_reference_is_unchanged() -> None:
    check_x2(MOVES, USES[:2])


def test_x2_a_prev_that_the_execution_does_not_see() -> None:
    verdict = refused_x2(MOVES, [replace(USES[0], prev=word(0)), *USES[1:]])
    assert (verdict.move, verdict.expected, verdict.actual) == (0, word(0), word(5))


def test_x2_a_change_without_a_move() -> None:
    verdict = refused_x2(MOVES[1:], USES)
    assert (verdict.move, verdict.expected, verdict.actual) == (None, word(4), word(5))
    check_x2(MOVES[:2], USES)


def test_x3_accepts_the_outcome() -> None:
    check_x3(OUTCOME, replace(OUTCOME))


@pytest.mark.parametrize(
    ("what", "declared"),
    [
        ("status", replace(OUTCOME, status=0)),
        ("gas used", replace(OUTCOME, gas_used=21_001)),
        ("logs hash", replace(OUTCOME, logs_hash=b"\4" * 32)),
    ],
)
def test_x3_refuses_each_field(what: str, declared: Outcome) -> None:
    with pytest.raises(Verdict) as raised:
        check_x3(declared, OUTCOME)
    field = what.replace(" ", "_")
    assert (raised.value.rule, raised.value.what) == (Rule.X3, what)
    assert (raised.value.expected, raised.value.actual) == (getattr(OUTCOME, field), getattr(declared, field))


def test_x4_accepts_what_is_used() -> None:
    check_x4(MOVES, USES)


def test_x4_refuses_an_unused_reference() -> None:
    with pytest.raises(Verdict) as raised:
        check_x4([*MOVES, reference(TWO, 9)], USES)
    assert (raised.value.rule, raised.value.move) == (Rule.X4, 3)
    assert "0x" + TWO.hex() in str(raised.value)


def test_x4_a_guard_may_be_unused_or_used() -> None:
    check_x4([*MOVES, reference(TWO, 9, Mask.GUARD)], USES)
    check_x4([*MOVES[:2], reference(ONE, 9, Mask.GUARD)], USES)


def test_x4_a_consume_is_no_guard() -> None:
    guarded = replace(consume(TWO, 1, 2), mask=UNSIGNED | Mask.GUARD)
    with pytest.raises(Verdict) as raised:
        check_x4([MOVES[0], guarded, MOVES[2]], [USES[0], USES[2]])
    assert (raised.value.rule, raised.value.move) == (Rule.X4, 1)


def test_x5_holds_up_to_both_limits_and_in_profile_ethereum_without_any() -> None:
    check_x5(Profile.MANAFLOW, MAX_GAS_LIMIT, MAX_CODE_BYTES)
    check_x5(Profile.ETHEREUM, MAX_GAS_LIMIT + 1, MAX_CODE_BYTES + 1)


@pytest.mark.parametrize(
    ("gas_limit", "code_bytes", "what"),
    [
        (MAX_GAS_LIMIT + 1, 0, "a gas limit of more than 16777216"),
        (0, MAX_CODE_BYTES + 1, "more than 1048576 bytes of distinct code"),
    ],
)
def test_x5_is_broken_beyond_either_limit(gas_limit: int, code_bytes: int, what: str) -> None:
    with pytest.raises(Verdict) as raised:
        check_x5(Profile.MANAFLOW, gas_limit, code_bytes)
    assert (raised.value.rule, raised.value.what) == (Rule.X5, what)
    assert raised.value.actual == max(gas_limit, code_bytes)
