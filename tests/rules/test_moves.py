from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from manaflow.errors import Rule
from manaflow.moves.block import Withdrawal
from manaflow.moves.marks import Mark, Mask
from manaflow.moves.transactions import GAS_PER_BLOB
from manaflow.rules.config import Fork, Profile
from manaflow.rules.forks import precompiles
from manaflow.rules.moves import (
    check_fees,
    check_m1,
    check_m2,
    check_m3,
    check_m4,
    check_m4_precompiles,
    check_m5,
    check_m5_counts,
    check_m6,
    check_withdrawals,
    compute_burned,
    withdrawal_credits,
)
from tests.rules.build import A, B, C, consume, reference, refused, word

b, c, e, n, s = Mark.BALANCE, Mark.CODE, Mark.BLOCKHASH, Mark.NONCE, Mark.STORAGE


def test_m1() -> None:
    check_m1([])
    check_m1([consume(s, A, 1), consume(s, A, 2), consume(s, B, 1), reference(b, A)])


def test_invalid_m1_across_directions() -> None:
    verdict = refused(Rule.M1, check_m1, [consume(s, A, 1), consume(s, A, 2), reference(s, A, 1)], what="move 0")
    assert verdict.move == 2
    assert verdict.actual == f"s 0x{A.hex()} slot 0x{word(1).hex()}"


def test_m2() -> None:
    check_m2([consume(s, prev=1, after=2), reference(s, prev=0), reference(s, prev=9)])


def test_invalid_m2() -> None:
    changed = replace(reference(s, prev=1), next=word(2))
    verdict = refused(Rule.M2, check_m2, [consume(b), changed], what="next of a reference")
    assert (verdict.move, verdict.expected, verdict.actual) == (1, word(1), word(2))
    verdict = refused(Rule.M2, check_m2, [consume(s, prev=3, after=3)], what="equals its prev")
    assert verdict.move == 0


def test_m3() -> None:
    check_m3([consume(b), consume(n, B, prev=3, after=9), consume(n, A, prev=5, after=6)], A, 5)


@pytest.mark.parametrize(
    ("moves", "expected", "actual", "move"),
    [
        ([consume(n, B, prev=5, after=6)], 1, 0, None),
        ([reference(n, A, prev=5)], 1, 0, None),
        ([consume(n, A, prev=5, after=6), consume(n, A, prev=5, after=6)], 1, 2, None),
        ([consume(b), consume(n, A, prev=4, after=6)], 5, 4, 1),
        ([consume(n, A, prev=6, after=7)], 5, 6, 0),
    ],
)
def test_invalid_m3(moves: Any, expected: int, actual: int, move: int | None) -> None:
    verdict = refused(Rule.M3, check_m3, moves, A, 5)
    assert (verdict.expected, verdict.actual, verdict.move) == (expected, actual, move)


def test_m4() -> None:
    blockhash = replace(reference(e, bytes(20), 17), prev=word(99), next=word(99))
    check_m4([consume(s, A, 2**256 - 1, prev=5, number=1), consume(b), reference(c), reference(n), blockhash])


@pytest.mark.parametrize(
    ("move", "what"),
    [
        (consume(0), "mark"),
        (consume(ord("p")), "mark"),
        (consume(b, slot=1), "slot of a b move"),
        (consume(c, slot=1), "slot of a c move"),
        (consume(n, slot=2**255), "slot of a n move"),
        (consume(s, prev=1, after=2, number=0), "prev of a virgin cell"),
        (reference(b, prev=1), "prev of a virgin cell"),
        (consume(e, bytes(20)), "an e move consumes"),
        (reference(e, bytes(20), number=1), "number of an e move"),
        (reference(e, A), "address of an e move"),
    ],
)
def test_invalid_m4(move: Any, what: str) -> None:
    assert refused(Rule.M4, check_m4, [reference(s), move], what=what).move == 1


def test_m4_precompiles() -> None:
    last = (9).to_bytes(20, "big")
    check_m4_precompiles([consume(b, last), reference(s, last), reference(c, bytes(20))], precompiles(Fork.PARIS))
    check_m4_precompiles([reference(c, (10).to_bytes(20, "big"))], precompiles(Fork.SHANGHAI))


@pytest.mark.parametrize(
    ("fork", "last"), [(Fork.PARIS, 9), (Fork.SHANGHAI, 9), (Fork.CANCUN, 10), (Fork.PRAGUE, 17), (Fork.OSAKA, 17)]
)
def test_invalid_m4_precompiles(fork: Fork, last: int) -> None:
    for mark in (c, n):
        move = reference(mark, last.to_bytes(20, "big"))
        verdict = refused(Rule.M4, check_m4_precompiles, [consume(b), move], precompiles(fork), what="precompile")
        assert verdict.move == 1
    check_m4_precompiles([reference(c, (last + 1).to_bytes(20, "big"))], precompiles(fork))


def test_m5() -> None:
    check_m5([])
    check_m5([consume(b, A), consume(b, A)])  # M1's to refuse
    check_m5([consume(b, A), consume(b, B), consume(s, A, 1), consume(s, A, 2), reference(b, C), reference(c, A)])


@pytest.mark.parametrize(
    ("moves", "what"),
    [
        ([reference(b, A), consume(b, B)], "a consume after a reference"),
        ([consume(s, A), consume(b, A)], "out of order"),
        ([consume(b, B), consume(b, A)], "out of order"),
        ([reference(s, A, 2), reference(s, A, 1)], "out of order"),
    ],
)
def test_invalid_m5(moves: Any, what: str) -> None:
    assert refused(Rule.M5, check_m5, [consume(b, bytes(20)), *moves][-2:], what=what).move == 1


def test_m5_counts() -> None:
    check_m5_counts([consume(b), reference(b, B)], 1, 1)
    with pytest.raises(ValueError, match="2 moves for a leaf"):
        check_m5_counts([consume(b), reference(b, B)], 1, 2)


def test_invalid_m5_counts() -> None:
    moves = [consume(b), reference(b, B)]
    for counts, place, expected in (((2, 0), 1, "a consume"), ((0, 2), 0, "a reference")):
        verdict = refused(Rule.M5, check_m5_counts, moves, *counts)
        assert (verdict.move, verdict.expected) == (place, expected)


def test_m6_at_the_bound() -> None:
    check_m6([consume(b, A, prev=100, after=30), consume(b, B, prev=1, after=51), consume(s, A, after=10**9)], 20)
    check_m6([consume(b, A, prev=2**256 - 1, after=0), consume(b, B, prev=1, after=2**256 - 1)], 1)


def test_invalid_m6_beyond_the_bound() -> None:
    moves = [consume(b, A, prev=100, after=30), consume(b, B, prev=1, after=51)]
    verdict = refused(Rule.M6, check_m6, moves, 21)
    assert (verdict.expected, verdict.actual) == ("at most 101", 102)
    # 2^256 wei more would vanish in a word
    wrapped = [consume(b, A, prev=0, after=2**255), consume(b, B, prev=0, after=2**255)]
    refused(Rule.M6, check_m6, wrapped, 0)


def test_burned() -> None:
    transaction: Any = SimpleNamespace(blob_gas=2 * GAS_PER_BLOB, effective_gas_price=lambda base: base + 3)
    assert compute_burned(Profile.ETHEREUM, transaction, 21_000, 7, 5) == 21_000 * 7 + 2 * GAS_PER_BLOB * 5
    assert compute_burned(Profile.MANAFLOW, transaction, 21_000, 7, 5) == 21_000 * 10 + 2 * GAS_PER_BLOB * 5


PAID = [Withdrawal(1, 1, B, 5), Withdrawal(2, 2, A, 2), Withdrawal(3, 3, B, 1), Withdrawal(4, 4, C, 0)]


def credited() -> list[Any]:
    return [consume(b, A, after=2 * 10**9), consume(b, B, prev=1, after=6 * 10**9 + 1, number=4)]


def test_withdrawals() -> None:
    assert withdrawal_credits(PAID) == {A: 2 * 10**9, B: 6 * 10**9}
    check_withdrawals(credited(), PAID)
    check_withdrawals([], [PAID[3]])


def test_invalid_withdrawals() -> None:
    first, second = credited()
    more = replace(second, next=word(6 * 10**9 + 2))
    verdict = refused(Rule.M6, check_withdrawals, [first, more], PAID, what="after the credit")
    assert (verdict.move, verdict.expected, verdict.actual) == (1, 6 * 10**9 + 1, 6 * 10**9 + 2)
    assert refused(Rule.B8, check_withdrawals, [first], PAID).expected == 2
    assert refused(Rule.B8, check_withdrawals, [first, second, reference(b, C)], PAID).actual == 3
    assert refused(Rule.B8, check_withdrawals, [second, first], PAID).move == 0
    assert refused(Rule.B8, check_withdrawals, [first, reference(b, B, prev=1)], PAID).move == 1
    guarded = replace(second, mask=second.mask | Mask.GUARD)
    assert refused(Rule.B8, check_withdrawals, [first, guarded], PAID).move == 1


def test_fees() -> None:
    check_fees([consume(b, C, prev=10, after=17, number=3)], C, 7)
    refused(Rule.M6, check_fees, [consume(b, C, prev=10, after=18, number=3)], C, 7)
    refused(Rule.B8, check_fees, [consume(b, A, prev=10, after=17, number=3)], C, 7)
