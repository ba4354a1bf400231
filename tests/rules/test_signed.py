"""S of a signed transaction: S1 for Ethereum's envelopes, S2, S3, S4 in this order for declared ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.errors import Rule, Verdict
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import UNSIGNED, Mark
from manaflow.moves.transactions import Flag
from manaflow.rules.config import Profile
from manaflow.rules.signed import check_filled, check_signed, is_declared
from tests.builders import envelope
from tests.declared import CHAIN_ID, GUARD, SENDER, declared_envelope, decoded, filled, unsigned_move
from tests.rules.build import CONFIG

MANAFLOW = replace(CONFIG, profile=Profile.MANAFLOW, chain_id=CHAIN_ID)
RAW = declared_envelope((GUARD,), valid_until=5, flags=int(Flag.MUST_SUCCEED))
MOVES = [filled(GUARD, 3)]
OPEN = unsigned_move(Mark.STORAGE, bytes(20), 9)


def judged(raw: bytes, moves: list[object], status: int = 1, number: int = 5) -> Rule | None:
    try:
        check_signed(raw, MANAFLOW, keccak256(raw), moves, status, number)  # type: ignore[arg-type]
    except Verdict as verdict:
        return verdict.rule
    return None


def test_a_declared_transaction_and_its_sender() -> None:
    transaction, sender = check_signed(RAW, MANAFLOW, keccak256(RAW), MOVES, 1, 5)
    assert (transaction, sender) == (decoded(RAW), SENDER)


def test_an_ethereum_transaction_is_judged_by_s1_alone() -> None:
    raw = envelope(2, chain_id=CHAIN_ID)
    assert judged(raw, []) is None
    assert judged(raw, [], status=0, number=2**60) is None
    assert judged(raw, [replace(OPEN, mask=OPEN.mask & ~1)]) == Rule.S1
    assert judged(raw + b"\0", []) == Rule.S1


def test_invalid_s2_before_s3_before_s4() -> None:
    unsigned = replace(MOVES[0], mask=MOVES[0].mask | UNSIGNED)
    assert judged(RAW, [], status=0, number=6) == Rule.S2
    assert judged(RAW, [unsigned], status=0, number=6) == Rule.S2
    assert judged(RAW, [*MOVES, OPEN], status=1, number=6) == Rule.S3
    assert judged(RAW, MOVES, status=0, number=6) == Rule.S3
    assert judged(RAW, MOVES, number=6) == Rule.S4
    assert judged(RAW + b"\0", MOVES) == Rule.S2


@pytest.mark.parametrize(("status", "number", "rule"), [(1, 5, None), (0, 5, Rule.S3), (1, 6, Rule.S4)])
def test_what_is_filled_is_judged_the_same(status: int, number: int, rule: Rule | None) -> None:
    assert judged(RAW, MOVES, status, number) == rule
    if rule is None:
        assert check_filled(decoded(RAW), MOVES, status, number) == {}
        return
    with pytest.raises(Verdict) as caught:
        check_filled(decoded(RAW), MOVES, status, number)
    assert caught.value.rule == rule


def test_the_first_byte_says_which_rule_binds() -> None:
    assert is_declared(RAW)
    assert is_declared(b"\x4d")
    assert not any(is_declared(raw) for raw in (b"", b"\x4e", envelope(0), envelope(2)))
