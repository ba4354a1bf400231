from __future__ import annotations

import pytest

from manaflow.errors import Rule
from manaflow.moves.marks import Mark, Move
from manaflow.rules.state import Place, Placed, check_v1, check_v1_intx, check_v2, check_v3, check_v4
from tests.rules.build import ZERO32, A, B, consume, reference, refused, word

S = Mark.STORAGE
FIRST, SECOND = b"\1" * 32, b"\2" * 32


def placed(move: Move, place: Place, txid: bytes = FIRST) -> Placed:
    return Placed(move, place, txid)


def test_v1() -> None:
    maker = consume(S, A, 1, after=7)
    check_v1(consume(S, A, 1, prev=7, after=8, number=9), 10, maker)
    check_v1(reference(S, A, 1, prev=7, number=9), 10, None)
    check_v1(reference(S, A, 1), 1, None)


def test_invalid_v1() -> None:
    maker = consume(S, A, 1, after=7)
    verdict = refused(Rule.V1, check_v1, reference(S, A, 1, prev=7, number=10), 10, maker, what="not born")
    assert (verdict.expected, verdict.actual) == ("below 10", 10)
    verdict = refused(Rule.V1, check_v1, reference(S, A, 1, prev=8, number=9), 10, maker, what="value of cell 9")
    assert (verdict.expected, verdict.actual) == (word(7), word(8))
    for other in (reference(S, A, 2, prev=7, number=9), reference(S, B, 1, prev=7, number=9)):
        refused(Rule.V1, check_v1, other, 10, maker, what="location of cell 9")
    refused(Rule.V1, check_v1, reference(Mark.BALANCE, A, 1, prev=7, number=9), 10, maker, what="location")


def test_v1_intx() -> None:
    check_v1_intx(reference(S, number=9), FIRST, FIRST)
    check_v1_intx(reference(S, number=9), FIRST, None)
    check_v1_intx(reference(S), ZERO32, None)
    check_v1_intx(consume(S), ZERO32, FIRST)


def test_invalid_v1_intx() -> None:
    for intx in (SECOND, ZERO32):
        verdict = refused(Rule.V1, check_v1_intx, reference(S, number=9), intx, FIRST, what="maker of cell 9")
        assert (verdict.expected, verdict.actual) == (FIRST, intx)
    for maker in (None, FIRST):
        verdict = refused(Rule.V1, check_v1_intx, consume(S), FIRST, maker, what="maker of a virgin cell")
        assert (verdict.expected, verdict.actual) == (ZERO32, FIRST)


@pytest.mark.parametrize("place", [(5, 1, 0), (5, 2, 0), (6, 0, 0)])
def test_invalid_v2_falls_on_the_later(place: Place) -> None:
    early = placed(consume(S, A, 1, number=3), (5, 0, 3), FIRST)
    late = placed(consume(S, A, 1, number=3), place, SECOND)
    for pair in ((early, late), (late, early)):
        verdict = refused(Rule.V2, check_v2, *pair, what="cell 3 is consumed twice")
        assert (verdict.transaction, verdict.move, verdict.winner) == (place[1], place[2], FIRST)
        assert "block 5, transaction 0, move 3" in verdict.actual


def test_v2() -> None:
    early, same = placed(consume(S, number=3), (5, 0, 0)), placed(consume(S, number=3), (5, 0, 0))
    check_v2(early, same)
    check_v2(early, placed(consume(S, number=4), (5, 1, 0)))
    check_v2(early, placed(reference(S, number=3), (5, 1, 0)))
    check_v2(placed(consume(S), (5, 0, 0)), placed(consume(S), (5, 1, 0)))


def test_v3() -> None:
    spent = placed(consume(S, number=3), (5, 1, 0))
    check_v3(placed(reference(S, number=3), (5, 0, 9)), spent)
    check_v3(placed(reference(S, number=4), (5, 2, 0)), spent)
    check_v3(placed(consume(S, number=3), (5, 2, 0)), spent)
    check_v3(placed(reference(S, number=3), (5, 2, 0)), placed(reference(S, number=3), (5, 1, 0)))


def test_invalid_v3() -> None:
    spent = placed(consume(S, number=3), (5, 1, 0), SECOND)
    verdict = refused(Rule.V3, check_v3, placed(reference(S, number=3), (5, 2, 4)), spent, what="cell 3")
    assert (verdict.transaction, verdict.move, verdict.winner) == (2, 4, SECOND)


def test_v4() -> None:
    spent = placed(consume(S, A, 1, number=3), (5, 1, 0))
    check_v4(placed(reference(S, A, 1), (5, 0, 9)), spent)
    check_v4(placed(reference(S, A, 2), (5, 2, 0)), spent)
    check_v4(placed(reference(S, A, 1, number=4), (5, 2, 0)), spent)
    check_v4(placed(reference(S, A, 1), (5, 2, 0)), placed(reference(S, A, 1), (5, 1, 0)))
    blockhash = reference(Mark.BLOCKHASH, bytes(20), 1)
    check_v4(placed(blockhash, (5, 2, 0)), placed(consume(Mark.BLOCKHASH, bytes(20), 1), (5, 1, 0)))


def test_invalid_v4() -> None:
    spent = placed(consume(S, A, 1, number=0), (5, 1, 0), SECOND)
    for claim in (reference(S, A, 1), consume(S, A, 1, after=5)):
        verdict = refused(Rule.V4, check_v4, placed(claim, (6, 0, 2)), spent, what="is not virgin")
        assert (verdict.transaction, verdict.move, verdict.winner) == (0, 2, SECOND)
