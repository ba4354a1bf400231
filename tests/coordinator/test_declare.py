"""Fits of declared transactions: whatever `fit` accepts the rules accept, and it refuses nothing that has a fit."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow.coordinator.declare import Fit, Misfit, fit, ordered, sealed
from manaflow.errors import Verdict
from manaflow.moves.marks import UNSIGNED, Mark, Mask
from manaflow.moves.transactions import DeclaredTransaction, Flag, NamedMove
from manaflow.rules.declared import check_s3, signed_intx
from tests.declared import named_move, unsigned

A, B = b"\xaa" * 20, b"\xbb" * 20
MAKER, OTHER = b"\x01" * 32, b"\x02" * 32


def use(slot: int, prev: int, after: int | None = None, addr: bytes = A, intx: bytes = MAKER) -> NamedMove:
    """A filled move; a reference if `after` is None."""
    mask = UNSIGNED | (Mask.REFERENCE if after is None else 0)
    words = [number.to_bytes(32, "big") for number in (slot, prev, prev if after is None else after)]
    return NamedMove(int(mask), int(Mark.STORAGE), intx, addr, *words)


def judge(transaction: DeclaredTransaction, moves: list[NamedMove], found: Fit, status: int = 1) -> None:
    """S2, S3 and V1's part of signed makers, by the rules."""
    masked = [replace(move, mask=mask) for move, mask in zip(moves, found.masks, strict=True)]
    filled = ordered([*masked, *found.guards])
    for row, intx in signed_intx(transaction, [sealed(move) for move in filled]).items():
        assert filled[row].intx == intx
    check_s3(transaction, [sealed(move) for move in filled], status)


def live(location: Any) -> tuple[bytes, bytes]:
    return MAKER, (7).to_bytes(32, "big")


words = st.integers(0, 2)
uses = st.builds(
    lambda slot, prev, after, addr, intx: use(slot, prev, None if after == prev else after, addr, intx),
    words, words, words, st.sampled_from([A, B]), st.sampled_from([MAKER, OTHER]),
)  # fmt: skip


@st.composite
def fills(draw: st.DrawFn) -> tuple[DeclaredTransaction, list[NamedMove]]:
    """Filled moves, and a transaction that signs something like them."""
    drawn = draw(st.lists(uses, max_size=4, unique_by=lambda move: move.location))
    moves = ordered(drawn)
    forms = []
    for move in draw(st.lists(st.sampled_from(moves), max_size=3)) if moves else []:
        mask = draw(st.integers(0, 62)) | (move.mask & Mask.REFERENCE)
        if draw(st.integers(0, 5)) == 0:
            move = draw(uses)
            mask = (mask & UNSIGNED) | (move.mask & Mask.REFERENCE)
        is_guard = move.is_reference and not mask & (Mask.MARK | Mask.ADDR | Mask.SLOT) and draw(st.booleans())
        forms.append(form_of(move, mask | (Mask.GUARD if is_guard else 0)))
    flags = draw(st.integers(0, 3))
    return unsigned(tuple(forms), flags=flags), moves


def form_of(move: NamedMove, mask: int) -> NamedMove:
    number = int.from_bytes
    after = None if move.is_reference else number(move.next, "big")
    return named_move(
        mask, move.mark, move.addr, number(move.slot, "big"), number(move.prev, "big"), after, intx=move.intx
    )


@settings(deadline=None, max_examples=200)
@given(fills(), st.integers(0, 1))
def test_what_fits_is_what_the_rules_accept(fill: tuple[DeclaredTransaction, list[NamedMove]], status: int) -> None:
    transaction, moves = fill
    found = fit(transaction, moves, status, live)
    if isinstance(found, Fit):
        judge(transaction, moves, found, status)
    else:
        assert found.detail
        assert found.may_change
        assert not any_fit(transaction, moves, status)


def any_fit(transaction: DeclaredTransaction, moves: list[NamedMove], status: int) -> bool:
    """True if some choice of masks, and of the guards' cells, is accepted by the rules."""
    guards = [form for form in transaction.moves if form.mask & Mask.GUARD]
    locations = {move.location for move in moves}
    added = []
    for form in guards:
        if form.location not in locations and form.location not in [g.location for g in added]:
            intx, value = live(form.location)
            added.append(replace(form, intx=intx, prev=value, next=value))
    masks_signed = sorted({move.mask for move in transaction.moves})
    for picked in itertools.product([None, *masks_signed], repeat=len(moves)):
        masks = bytes(move.mask if mask is None else mask for move, mask in zip(moves, picked, strict=True))
        if any((move.mask ^ mask) & Mask.REFERENCE for move, mask in zip(moves, masks, strict=True)):
            continue
        try:
            judge(transaction, moves, Fit(masks, tuple(ordered(added))), status)
        except (Verdict, AssertionError):
            continue
        return True
    return False


def misfit(forms: list[NamedMove], moves: list[NamedMove], flags: int = Flag.OPEN, status: int = 1) -> Misfit:
    found = fit(unsigned(tuple(forms), flags=flags), ordered(moves), status, live)
    assert isinstance(found, Misfit)
    return found


SIGNED = Mask.INTX


@pytest.mark.parametrize(
    ("form", "moves", "field", "expected", "actual"),
    [
        (named_move(SIGNED, addr=A, slot=1, prev=5, after=6), [use(1, 4, 5, intx=OTHER)], "prev", 5, 4),
        (named_move(SIGNED | Mask.PREV, addr=A, slot=1, after=6), [use(1, 4, 5, intx=OTHER)], "next", 6, 5),
        (named_move(0, addr=A, slot=1, prev=4, after=5, intx=MAKER), [use(1, 4, 5, intx=OTHER)], "intx", MAKER, OTHER),
        (named_move(SIGNED, addr=A, slot=2, prev=4, after=5), [use(1, 4, 5)], "location", None, None),
        (named_move(SIGNED, addr=A, slot=1, prev=4, after=5), [use(1, 4, intx=OTHER)], "direction", None, None),
    ],
)
def test_the_signer_is_told_the_field(
    form: NamedMove, moves: list[NamedMove], field: str, expected: Any, actual: Any
) -> None:
    def word(value: Any) -> Any:
        return value.to_bytes(32, "big") if isinstance(value, int) else value

    found = misfit([form], moves)
    assert (found.field, found.location) == (field, form.location)
    assert (found.expected, found.actual) == (word(expected), word(actual))
    assert found.maker == (None if field == "location" else OTHER)


def test_closed_and_must_succeed() -> None:
    assert misfit([], [use(1, 4, 5)], flags=0).field == "open"
    assert misfit([], [use(1, 4, 5)], flags=Flag.OPEN | Flag.MUST_SUCCEED, status=0).field == "status"


def test_the_signer_is_told_the_cause() -> None:
    """Another value in one cell makes the call write other values to all; the maker of that cell has won."""
    own = named_move(SIGNED, addr=A, slot=1, prev=4, after=5)
    shared = named_move(SIGNED, addr=B, slot=2, prev=7, after=8)
    effects = [
        [use(1, 4, 6), use(2, 9, 10, addr=B, intx=OTHER)],  # next
        [use(1, 4), use(2, 9, 10, addr=B, intx=OTHER)],  # direction
        [use(2, 9, 10, addr=B, intx=OTHER)],  # location
    ]
    for moves in effects:
        found = misfit([own, shared], moves)
        assert (found.field, found.location, found.maker) == ("prev", shared.location, OTHER)
    failed = misfit([own, shared], effects[0], flags=Flag.MUST_SUCCEED, status=0)
    assert (failed.field, failed.location, failed.maker) == ("prev", shared.location, OTHER)
    assert misfit([own], [use(1, 4, 6)], flags=Flag.MUST_SUCCEED, status=0).field == "status"


def test_a_guard_is_added_where_the_call_does_not_go() -> None:
    guard = named_move(Mask.REFERENCE | Mask.GUARD | Mask.INTX, addr=B, slot=3, prev=7)
    found = fit(unsigned((guard,)), [use(1, 4, 5)], 1, live)
    assert isinstance(found, Fit)
    assert [(g.location, g.intx, g.prev) for g in found.guards] == [(guard.location, MAKER, guard.prev)]
    assert found.masks == bytes([UNSIGNED])


def test_a_guard_is_the_reference_that_is_there() -> None:
    guard = named_move(Mask.REFERENCE | Mask.GUARD | Mask.INTX, addr=A, slot=1, prev=4)
    found = fit(unsigned((guard,)), [use(1, 4)], 1, live)
    assert found == Fit(bytes([guard.mask]), ())
    assert misfit([guard], [use(1, 4, 5)]).field == "guard"
    assert misfit([guard], []).field == "prev"
    assert misfit([replace(guard, mark=Mark.CODE)], []).field == "guard"  # a c with a slot (M4)


def test_a_form_steps_aside_for_one_that_has_no_other() -> None:
    anywhere = named_move(Mask.INTX | Mask.SLOT | Mask.PREV, addr=A, after=5)  # served first
    narrow = named_move(Mask.INTX | Mask.SLOT | Mask.NEXT, addr=A, prev=0)
    moves = ordered([use(1, 0, 5), use(2, 1, 5)])
    for forms in ((anywhere, narrow), (narrow, anywhere)):
        found = fit(unsigned(forms), moves, 1, live)
        assert isinstance(found, Fit)
        assert found.masks == bytes([narrow.mask, anywhere.mask])


def test_forms_that_fight_for_moves_are_given_up_in_bounded_time() -> None:
    forms = tuple(named_move(Mask.INTX | Mask.SLOT | Mask.PREV, addr=A, after=9) for _ in range(600))
    moves = ordered([use(slot, 1, 9) for slot in range(1, 600)])
    assert misfit(list(forms), moves).field == "location"


def test_guards_on_what_the_call_reads_are_not_compared_with_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger may sign two thousand of them, and lose nothing if they do not fit."""
    count, compared, equal = 300, 0, NamedMove.__eq__

    def counted(one: NamedMove, other: object) -> bool:
        nonlocal compared
        compared += 1
        return equal(one, other)

    guards = [
        named_move(Mask.REFERENCE | Mask.GUARD | Mask.INTX | Mask.PREV | Mask.NEXT, addr=A, slot=i)
        for i in range(count)
    ]
    transaction, moves = unsigned(tuple(guards)), ordered([use(i, 1) for i in range(count)])
    monkeypatch.setattr(NamedMove, "__eq__", counted)
    found = fit(transaction, moves, 1, live)
    assert isinstance(found, Fit)
    assert set(found.masks) == {guards[0].mask}
    assert compared <= count
