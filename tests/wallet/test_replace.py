"""Speeding up and cancelling: what a pool takes as a replacement, and that never both land."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.coordinator.pool import BUMP_PERCENT as POOL_PERCENT
from manaflow.errors import Failure, Verdict
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.wallet.declare import Wish, declare
from manaflow.wallet.explain import explain
from manaflow.wallet.intents import Intent, Policy
from manaflow.wallet.keys import sign
from manaflow.wallet.replace import (
    BUMP_PERCENT,
    CANCELLING,
    EITHER,
    bumped,
    cancel,
    policy_of,
    speed_up,
    what_the_old_may_do,
)
from manaflow.wallet.source import Snapshot
from manaflow.wallet.words import amount, parse_amount
from tests.builders import envelope
from tests.wallet.model import COUNTER, KEY, ME, READER, Model, balance, storage, world

BASE_FEE = 10**9
POLICIES = {
    "exact": Policy(Intent.EXACT), "makers": Policy(Intent.EXACT, sign_makers=True),
    "contested": Policy(Intent.CONTESTED), "any": Policy(Intent.CONTESTED, any_cells=True), "open": Policy(Intent.OPEN),
}  # fmt: skip


def old_of(model: Model, policy: Policy, wish: Wish | None = None) -> bytes:
    return sign(
        declare(Snapshot(model), ME, wish or Wish(READER, guards=(storage(COUNTER, 9),)), policy).transaction, KEY
    )


def test_the_pool_asks_for_what_we_add() -> None:
    assert BUMP_PERCENT == POOL_PERCENT
    for fee in (0, 1, 9, 10, 10**9, 10**18 + 1):
        assert bumped(fee) > fee
        assert bumped(fee) * 100 >= fee * (100 + POOL_PERCENT)


@pytest.mark.parametrize("made", POLICIES)
def test_a_sped_up_one_is_the_same_for_more(made: str) -> None:
    model, policy = world(), POLICIES[made]
    raw = old_of(model, policy)
    old = decode_envelope(raw)
    assert policy_of(old, ME) == policy
    new = decode_envelope(old_of(model, policy_of(old, ME), speed_up(old, BASE_FEE, ME)))
    assert (new.to, new.value, new.data, new.nonce) == (old.to, old.value, old.data, old.nonce)
    assert new.max_fee >= bumped(old.max_fee)
    assert new.max_priority_fee >= bumped(old.max_priority_fee)
    assert getattr(new, "guards", 0) == getattr(old, "guards", 0) == 1
    assert (speed_up(old, 10**12, ME).max_fee or 0) > 2 * 10**12


PINS = (storage(READER, 3), balance(ME))


@pytest.mark.parametrize("pins", [PINS[:1], PINS[1:], PINS])
@pytest.mark.parametrize("made", ["contested", "any", "open"])
def test_a_sped_up_one_keeps_what_was_pinned(made: str, pins: tuple[Location, ...]) -> None:
    """Who pinned a price and pays more for speed still wants that price."""
    model, policy = world(), replace(POLICIES[made], pinned=frozenset(pins))
    old = decode_envelope(old_of(model, policy))
    assert policy_of(old, ME) == policy
    old_of(model, policy_of(old, ME), speed_up(old, BASE_FEE, ME))


@pytest.mark.parametrize("made", ["contested", "any", "open"])
@pytest.mark.parametrize("moved", [storage(COUNTER, 9), storage(READER, 3)])
def test_a_sped_up_one_asks_no_less_than_the_old_one(made: str, moved: Location) -> None:
    """The guard, or the pin, that stopped the old one is not signed anew with the value that it was to keep away."""
    model, policy = world(), replace(POLICIES[made], pinned=frozenset(PINS))
    old = decode_envelope(old_of(model, policy))
    model.write(balance(ME), 50 * 10**18)  # one's own balance is pinned as whatever it is
    model.write(moved, 2)
    with pytest.raises(Failure, match=r"was to be 0x[01], and is 0x2"):
        old_of(model, policy_of(old, ME), speed_up(old, BASE_FEE, ME))


def test_nobody_can_hold_up_a_cancelling_one_with_a_wei() -> None:
    """Who holds the old one would pay its sender a wei in each block: what is signed of a balance is no longer so."""
    model = world()
    old = decode_envelope(old_of(model, Policy(Intent.CONTESTED), Wish(COUNTER, 3)))
    new = old_of(model, CANCELLING, cancel(old, BASE_FEE))
    model.write(balance(ME), 100 * 10**18 + 1)
    fill = model.fill(new)
    explanation = explain(decode_envelope(new), ME)
    assert fill.status == 1
    assert all(claim.holds(fill) for claim in explanation.claims)


@pytest.mark.parametrize("first", [0, 1])
def test_either_of_the_two_lands_never_both(first: int) -> None:
    model = world()
    old = old_of(model, Policy(Intent.OPEN))
    new = old_of(model, Policy(Intent.OPEN), cancel(decode_envelope(old), BASE_FEE))
    pair = (old, new) if first == 0 else (new, old)
    model.apply(model.fill(pair[0]), keccak256(pair[0]))
    with pytest.raises(Verdict, match="nonce"):
        model.fill(pair[1])


def test_a_cancelling_one_changes_nothing_but_nonce_and_fee() -> None:
    model = world()
    old = decode_envelope(old_of(model, Policy(Intent.CONTESTED)))
    wish = cancel(old, BASE_FEE)
    assert wish.nonce == old.nonce  # said, so that the wallet does not take the next one's
    fill = model.fill(old_of(model, Policy(Intent.EXACT), wish))
    changed = {move.location for move in fill.moves if move.prev != move.next}
    assert changed == {balance(ME), (Mark.NONCE, ME, ZERO32)}


def test_what_the_old_one_may_still_do_is_said() -> None:
    model = world()
    old = decode_envelope(old_of(model, Policy(Intent.CONTESTED), Wish(COUNTER, 3)))
    lines = what_the_old_may_do(old, ME)
    assert lines[0] == EITHER
    assert "good until block 109" in lines[1]
    assert any("leaves your balance" in line for line in lines)
    assert "for ever" in what_the_old_may_do(replace(old, valid_until=0), ME)[1]  # type: ignore[call-arg]


def test_ethereums_envelopes() -> None:
    plain = decode_envelope(envelope(2))
    assert policy_of(plain, ME) == Policy(Intent.OPEN)
    assert speed_up(plain, BASE_FEE, ME).may_fail
    for kind in (3, 4):
        with pytest.raises(Failure, match="anew"):
            speed_up(decode_envelope(envelope(kind)), BASE_FEE, ME)


AMOUNTS = {
    "0": 0, "7": 7, "7wei": 7, "1.5ether": 15 * 10**17, "20 gwei": 2 * 10**10, "0.000000000000000001ether": 1,
}  # fmt: skip


@pytest.mark.parametrize(("text", "wei"), AMOUNTS.items())
def test_amounts(text: str, wei: int) -> None:
    assert parse_amount(text) == wei
    assert parse_amount(amount(wei)) == wei


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "1.5wei", "1e18", "0x10", "1 eth er", "9" * 79, "1.", "٣"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(Failure):
        parse_amount(text)
