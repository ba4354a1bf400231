"""S2 to S4: what a fill of a declared transaction may change, and every way to fill wrongly."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow.errors import Rule, Verdict
from manaflow.moves.declared import MAX_SIGNED_MOVES, is_signed, signed_form
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask, Move
from manaflow.moves.transactions import DeclaredTransaction, Flag, NamedMove
from manaflow.rules.config import Profile
from manaflow.rules.declared import check_s2, check_s3, check_s4, signed_intx
from manaflow.rules.signing import ETHEREUM_CHAIN_IDS
from manaflow.rules.state import check_v1_intx
from tests.builders import TO
from tests.chain import chain_config
from tests.declared import (
    CHAIN_ID,
    LIMIT,
    MOVES,
    SENDER,
    declared,
    declared_envelope,
    declared_items,
    encode_declared_items,
    filled,
    named_move,
    unsigned,
    unsigned_move,
    word,
)
from tests.rules.build import refused

CONFIG = replace(chain_config(), profile=Profile.MANAFLOW, chain_id=CHAIN_ID)
RAW = declared_envelope()
OTHER = b"\x0f" * 20
ADDED = unsigned_move(Mark.BALANCE, OTHER)


def m5(moves: list[Move]) -> list[Move]:
    return sorted(moves, key=lambda move: (move.is_reference, move.location))


def fill(*forms: NamedMove) -> list[Move]:
    """What is masked filled with something."""
    somethings: dict[str, Any] = {"mark": ord("s"), "addr": OTHER, "slot": word(3), "prev": word(8), "next": word(9)}
    return m5([
        filled(form, **{name: somethings[name] for bit, name in LIMIT.items() if form.mask & bit and name != "intx"})
        for form in forms
    ])  # fmt: skip


HONEST = fill(*MOVES)


def judge(moves: list[Move], status: int = 1, **fields: Any) -> None:
    """S2 and S3 of a fill of MOVES."""
    raw = declared_envelope(**fields)
    transaction, sender = check_s2(raw, CONFIG, keccak256(raw), moves)
    assert sender == SENDER
    check_s3(transaction, moves, status)


def at(moves: list[Move], mark: Mark) -> int:
    return next(i for i, move in enumerate(moves) if move.mark == mark and move.mask & UNSIGNED != UNSIGNED)


def test_honest_fills() -> None:
    judge(HONEST)
    judge(m5([*HONEST, ADDED]))
    judge(HONEST, status=0)
    judge(HONEST, flags=0)
    judge(HONEST, flags=2)
    judge(m5([*HONEST, ADDED]), flags=3)
    for name in ("prev", "next"):
        masked = next(i for i, move in enumerate(HONEST) if move.mark == Mark.BALANCE)
        judge([replace(move, **{name: word(77)}) if i == masked else move for i, move in enumerate(HONEST)])
    judge([replace(move, number=5) for move in HONEST])


def test_invalid_profile() -> None:
    config = replace(CONFIG, profile=Profile.ETHEREUM)
    refused(Rule.S2, check_s2, RAW, config, keccak256(RAW), HONEST, what="in profile ethereum")


def test_invalid_chain() -> None:
    other = replace(CONFIG, chain_id=CHAIN_ID + 1)
    verdict = refused(Rule.S2, check_s2, RAW, other, keccak256(RAW), HONEST, what="chain id")
    assert (verdict.expected, verdict.actual) == (CHAIN_ID + 1, CHAIN_ID)
    for chain_id in ETHEREUM_CHAIN_IDS:
        raw = declared_envelope(chain_id=chain_id)
        config = replace(CONFIG, chain_id=chain_id)
        refused(Rule.S2, check_s2, raw, config, keccak256(raw), HONEST, what="an Ethereum network's chain id")


def test_invalid_txid() -> None:
    verdict = refused(Rule.S2, check_s2, RAW, CONFIG, word(1), HONEST, what="txid in the leaf")
    assert (verdict.expected, verdict.actual) == (keccak256(RAW), word(1))


def test_invalid_envelopes() -> None:
    items = declared_items()
    n = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = items | {"s": n - int.from_bytes(items["s"], "big"), "y_parity": 1 - len(items["y_parity"])}
    flags = items | {"flags": 4}
    for changed, why in ((high, "s not low"), (flags, "bits that nobody knows")):
        raw = encode_declared_items(changed)
        refused(Rule.S2, check_s2, raw, CONFIG, keccak256(raw), HONEST, what=why)
    raw = b"\x02" + RAW[1:]
    refused(Rule.S1, check_s2, raw, CONFIG, keccak256(raw), HONEST)


def one_field_masked(bit: Mask) -> NamedMove:
    """A consume of which everything but the intx and one field is signed."""
    return named_move(Mask.INTX | bit, slot=1, prev=2, after=3)


CHANGED: dict[str, Any] = {"mark": ord("b"), "addr": OTHER, "slot": word(9), "prev": word(9), "next": word(9)}


@pytest.mark.parametrize("name", CHANGED)
def test_each_field_is_fixed_unless_masked(name: str) -> None:
    bit = next(bit for bit, field in LIMIT.items() if field == name)
    signed, open_ = named_move(Mask.INTX, slot=1, prev=2, after=3), one_field_masked(bit)
    (honest,) = fill(signed)
    lie = replace(honest, **{name: CHANGED[name]})
    verdict = refused(Rule.S2, signed_intx, unsigned((signed,)), [lie], what="a move that nobody signed so")
    assert verdict.move == 0
    for move in (lie, honest):
        assert signed_intx(unsigned((open_,)), [replace(move, mask=open_.mask)]) == {}


def test_a_signed_maker_is_given_to_v1() -> None:
    signed = named_move(0, slot=1, intx=b"\5" * 32)
    virgin = named_move(0, slot=2)
    moves = [filled(signed, number=7), filled(virgin)]
    fixed = signed_intx(unsigned((signed, virgin)), moves)
    assert fixed == {0: b"\5" * 32, 1: ZERO32}
    check_v1_intx(moves[0], fixed[0], b"\5" * 32)
    check_v1_intx(moves[1], fixed[1], None)
    refused(Rule.V1, check_v1_intx, moves[0], fixed[0], b"\6" * 32, what="maker of cell 7")
    refused(Rule.V1, check_v1_intx, replace(moves[0], number=0), fixed[0], None, what="maker of a virgin cell")
    refused(Rule.V1, check_v1_intx, replace(moves[1], number=8), fixed[1], b"\5" * 32, what="maker of cell 8")


def test_makers_of_moves_that_fit_one_another_ascend() -> None:
    """Where the location is masked several moves fit: the first in M5's order takes the least maker."""
    forms = [named_move(Mask.SLOT | Mask.PREV | Mask.NEXT, intx=bytes((maker,)) * 32) for maker in (9, 3, 3)]
    plain = named_move(Mask.INTX | Mask.SLOT | Mask.PREV | Mask.NEXT)
    moves = [*(filled(forms[0], slot=word(k), next=word(1)) for k in (1, 2, 3)), filled(plain, slot=word(4))]
    assert signed_intx(unsigned((*forms, plain)), moves) == {0: b"\3" * 32, 1: b"\3" * 32, 2: b"\x09" * 32}


def test_equal_forms_are_counted() -> None:
    form = named_move(Mask.INTX | Mask.SLOT | Mask.PREV | Mask.NEXT)
    moves = [filled(form, slot=word(k), next=word(1)) for k in (1, 2, 3)]
    twice = unsigned((form, form))
    assert signed_intx(twice, moves[:2]) == {}
    verdict = refused(Rule.S2, signed_intx, twice, moves, what="a move that nobody signed so")
    assert verdict.move == 2
    verdict = refused(Rule.S2, signed_intx, twice, moves[:1], what="signed moves that are not there")
    assert (verdict.expected, verdict.actual) == (0, 1)


@pytest.mark.parametrize("left_out", range(len(MOVES)))
def test_invalid_missing_move(left_out: int) -> None:
    fewer = [move for i, move in enumerate(HONEST) if i != left_out]
    for moves in (fewer, m5([*fewer, ADDED])):
        with pytest.raises(Verdict) as caught:
            judge(moves)
        assert (caught.value.rule, caught.value.what) == (Rule.S2, "signed moves that are not there")
    replaced = replace(HONEST[left_out], mask=UNSIGNED | (HONEST[left_out].mask & Mask.REFERENCE))
    with pytest.raises(Verdict, match="signed moves that are not there"):
        judge(m5([*fewer, replaced]))


@pytest.mark.parametrize("bit", LIMIT)
@pytest.mark.parametrize("which", range(len(MOVES)))
def test_invalid_masks(bit: Mask, which: int) -> None:
    """A mask that says of any field the contrary of what was signed."""
    move = HONEST[which]
    lie = replace(move, mask=move.mask ^ bit)
    verdict = refused(
        Rule.S2, signed_intx, declared(), [*HONEST[:which], lie, *HONEST[which + 1 :]], what="nobody signed so"
    )
    assert verdict.move == which


def test_invalid_direction() -> None:
    """REFERENCE and GUARD are always signed."""
    for which, bit in (
        (0, Mask.REFERENCE),
        (at(HONEST, Mark.CODE), Mask.GUARD),
        (at(HONEST, Mark.STORAGE), Mask.GUARD),
    ):
        lie = replace(HONEST[which], mask=HONEST[which].mask ^ bit)
        refused(Rule.S2, signed_intx, declared(), [*HONEST[:which], lie, *HONEST[which + 1 :]], what="nobody signed so")


def test_invalid_forged_guard() -> None:
    forged = replace(ADDED, mask=ADDED.mask | Mask.GUARD)
    transaction = declared()
    signed_intx(transaction, [*HONEST, forged])  # S2 knows nothing of moves that claim no signature
    verdict = refused(Rule.S3, check_s3, transaction, [*HONEST, forged], 1, what="a guard that nobody signed")
    assert verdict.move == len(HONEST)
    partly = replace(ADDED, mask=(ADDED.mask & ~Mask.NEXT) | Mask.GUARD)
    refused(Rule.S2, signed_intx, transaction, [*HONEST, partly], what="nobody signed so")


@pytest.mark.parametrize("flags", [0, int(Flag.MUST_SUCCEED)])
def test_invalid_extra_move_in_a_closed_transaction(flags: int) -> None:
    transaction = declared(flags=flags)
    check_s3(transaction, HONEST, 1)
    verdict = refused(Rule.S3, check_s3, transaction, [*HONEST, ADDED], 1, what="an unsigned move, and no flag open")
    assert verdict.move == len(HONEST)
    assert "0x0f0f" in str(verdict)


@pytest.mark.parametrize("flags", [2, 3])
def test_invalid_failure_of_what_must_succeed(flags: int) -> None:
    transaction = declared(flags=flags)
    check_s3(transaction, HONEST, 1)
    for status in (0, 2):
        verdict = refused(Rule.S3, check_s3, transaction, HONEST, status, what="must succeed")
        assert (verdict.expected, verdict.actual) == (1, status)
    check_s3(declared(flags=flags & 1), HONEST, 0)


def test_s4() -> None:
    def until(block: int) -> DeclaredTransaction:
        return declared(valid_until=block)

    check_s4(until(0), 2**64 - 1)
    check_s4(until(7), 7)
    check_s4(until(7), 1)
    verdict = refused(Rule.S4, check_s4, until(7), 8, what="block number")
    assert (verdict.expected, verdict.actual) == ("at most 7", 8)


MASKS = st.integers(0, 255).filter(lambda mask: not mask & Mask.GUARD)
SMALL = st.sampled_from((0, 1))


@st.composite
def small_moves(draw: st.DrawFn) -> Move:
    """Of few values, so that many fit one another."""
    slot, prev, after = (word(draw(SMALL)) for _ in range(3))
    return Move(draw(MASKS), draw(st.sampled_from(b"bs")), 0, draw(st.sampled_from((TO, OTHER))), slot, prev, after)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.lists(small_moves(), max_size=5), st.data())
def test_matching_is_that_of_multisets(moves: list[Move], data: st.DataObject) -> None:
    """Accepted exactly if the fill, masked again, counts as many of each form as are signed, whatever the order."""
    makers = [word(data.draw(SMALL)) for _ in moves]
    forms = [signed_form(move, maker) for move, maker in zip(moves, makers, strict=True) if is_signed(move.mask)]
    transaction = unsigned(tuple(forms))
    changed = [*moves]
    for _ in range(data.draw(st.integers(0, 2))):
        changed = data.draw(st.permutations(changed))
        change = data.draw(st.sampled_from(("none", "drop", "add", "replace")))
        if change == "drop" and changed:
            changed.pop()
        elif change == "add":
            changed.append(data.draw(small_moves()))
        elif change == "replace" and changed:
            changed[0] = data.draw(small_moves())
    signed = Counter(replace(form, intx=ZERO32) for form in forms)
    if Counter(signed_form(move) for move in changed if is_signed(move.mask)) != signed:
        refused(Rule.S2, signed_intx, transaction, changed)
        return
    fixed = signed_intx(transaction, changed)
    assert Counter(signed_form(changed[i], maker) for i, maker in fixed.items()) == Counter(
        form for form in forms if not form.mask & Mask.INTX
    )


def test_matching_is_linear() -> None:
    """As many moves as a transaction may hold that fit one form, and the least maker first: no list is searched."""
    count = MAX_SIGNED_MOVES
    forms = tuple(named_move(Mask.SLOT | Mask.NEXT, intx=word(k)) for k in range(count))
    moves = [filled(forms[0], slot=word(k), next=word(1)) for k in range(count)]
    fixed = signed_intx(unsigned(forms), moves)
    assert [fixed[k] for k in range(count)] == [word(k) for k in range(count)]
