"""Declaring by intent: what fits the state it was made on, what fits another, and what is refused before signing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from manaflow.errors import CallFailed, Failure, Rule, Verdict
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask
from manaflow.moves.transactions import Flag
from manaflow.wallet.declare import DEFAULT_BLOCKS, Wish, declare
from manaflow.wallet.intents import Intent, Policy
from manaflow.wallet.keys import sign
from manaflow.wallet.source import MAX_CELLS, Snapshot
from tests.wallet.model import (
    CLOCK,
    COUNTER,
    COUNTER_CODE,
    ETHER,
    HASHER,
    KEY,
    ME,
    OTHER,
    PAYER,
    READER,
    SWITCH,
    Model,
    Refused,
    asm,
    balance,
    environment,
    storage,
    word,
    world,
)

INITCODE = asm("6001 5f 53 6001 5f f3")
"""Deploys one byte, 0x01."""
CALLS = {
    "transfer": Wish(OTHER, 3), "counter": Wish(COUNTER, 3), "switch": Wish(SWITCH), "hasher": Wish(HASHER),
    "clock": Wish(CLOCK), "payer": Wish(PAYER), "reader": Wish(READER), "create": Wish(b"", 3, INITCODE),
}  # fmt: skip


def signed(model: Model, wish: Wish, policy: Policy) -> bytes:
    return sign(declare(Snapshot(model), ME, wish, policy).transaction, KEY)


def contested(**options: Any) -> Policy:
    return Policy(Intent.CONTESTED, **options)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("makers", [False, True])
@pytest.mark.parametrize("intent", Intent)
def test_it_lands_on_the_state_that_it_was_made_on(intent: Intent, makers: bool, call: str) -> None:
    """Under every rule: M, S2, S3, S4 and X."""
    model = world()
    declared = declare(Snapshot(model), ME, CALLS[call], Policy(intent, sign_makers=makers))
    fill = model.fill(sign(declared.transaction, KEY))
    assert list(fill.moves) == list(declared.moves)
    assert (fill.status, fill.gas_used) == (declared.status, declared.gas_used) == (1, declared.gas_used)


def test_exact_loses_to_whoever_writes_one_of_its_cells() -> None:
    model = world()
    raw = signed(model, Wish(COUNTER), Policy(Intent.EXACT))
    winner = model.write(storage(COUNTER, 0), 6)
    with pytest.raises(Refused) as refused:
        model.fill(raw)
    misfit = refused.value.misfit
    assert (misfit.field, misfit.location, misfit.maker) == ("prev", storage(COUNTER, 0), winner)
    assert (misfit.expected, misfit.actual) == (word(5), word(6))


def test_contested_lands_when_only_others_cells_have_changed() -> None:
    model = world()
    raw = signed(model, Wish(COUNTER, 3), contested())
    model.write(storage(COUNTER, 0), 70)
    model.write(balance(COUNTER), 9)
    fill = model.fill(raw)
    move, paid = fill.at(storage(COUNTER, 0)), fill.at(balance(COUNTER))
    assert move is not None and move.next == word(71)  # noqa: PT018
    assert paid is not None and paid.next == word(12)  # noqa: PT018


@pytest.mark.parametrize("mark", [Mark.BALANCE, Mark.CODE])
def test_contested_stops_when_an_own_cell_or_the_code_has_changed(mark: Mark) -> None:
    model = world()
    raw = signed(model, Wish(COUNTER), contested())
    if mark == Mark.BALANCE:
        model.write(balance(ME), 101 * ETHER)
    else:
        model.account(COUNTER, ETHER, 1, COUNTER_CODE + b"\0")  # does the same
    with pytest.raises(Refused) as refused:
        model.fill(raw)
    assert (refused.value.misfit.field, (refused.value.misfit.location or (0,))[0]) == ("prev", mark)


def test_contested_stops_when_the_call_uses_other_cells_unless_any_may_be_used() -> None:
    model = world()
    raw, wide = signed(model, Wish(SWITCH), contested()), signed(model, Wish(SWITCH), contested(any_cells=True))
    model.write(storage(SWITCH, 0), 8)
    with pytest.raises(Refused) as refused:
        model.fill(raw)
    assert refused.value.misfit.field == "location"
    assert model.fill(wide).at(storage(SWITCH, 8)) is not None
    model.write(balance(ME), ETHER)
    with pytest.raises(Refused):
        model.fill(wide)


def test_contested_reads_whichever_block_hash_is_the_last() -> None:
    model = world()
    raw = signed(model, Wish(HASHER), contested())
    model.environment = environment(number=12)
    assert model.fill(raw).at((Mark.BLOCKHASH, bytes(20), word(11))) is not None


def test_open_runs_on_any_state() -> None:
    model = world()
    raw = signed(model, Wish(SWITCH), Policy(Intent.OPEN))
    model.write(storage(SWITCH, 0), 8)
    model.write(balance(ME), ETHER)
    assert model.fill(raw).status == 1


def test_a_guard_stops_it_when_its_cell_changes() -> None:
    model = world()
    flag = storage(COUNTER, 9)
    raw = signed(model, Wish(COUNTER, guards=(flag, balance(OTHER))), contested())
    model.write(storage(COUNTER, 0), 70)
    assert model.fill(raw).at(flag) is not None
    winner = model.write(flag, 1)
    with pytest.raises(Refused) as refused:
        model.fill(raw)
    assert (refused.value.misfit.location, refused.value.misfit.maker) == (flag, winner)


@pytest.mark.parametrize("intent", Intent)
def test_a_guard_on_a_cell_that_the_call_reads_is_one_move(intent: Intent) -> None:
    model = world()
    raw = signed(model, Wish(READER, guards=(storage(READER, 3),)), Policy(intent))
    move = model.fill(raw).at(storage(READER, 3))
    assert move is not None
    assert move.mask == Mask.REFERENCE | Mask.GUARD | Mask.INTX
    model.write(storage(READER, 3), 2)
    with pytest.raises(Refused):
        model.fill(raw)


def test_a_guard_on_what_the_call_changes_is_refused_and_pinning_does_it() -> None:
    model = world()
    with pytest.raises(Failure, match="pin it instead"):
        signed(model, Wish(COUNTER, guards=(storage(COUNTER, 0),)), contested())
    raw = signed(model, Wish(COUNTER), contested(pinned=frozenset({storage(COUNTER, 0)})))
    assert model.fill(raw).status == 1
    model.write(storage(COUNTER, 0), 6)
    with pytest.raises(Refused):
        model.fill(raw)


def test_what_cannot_be_guarded_or_pinned() -> None:
    model = world()
    for location in ((Mark.CODE, (1).to_bytes(20, "big"), ZERO32), (Mark.BALANCE, ME, word(1)), (0, ME, ZERO32)):
        with pytest.raises(Failure, match="guard"):
            signed(model, Wish(COUNTER, guards=(location,)), contested())
    with pytest.raises(Failure, match="guard it instead"):
        signed(model, Wish(COUNTER), contested(pinned=frozenset({storage(COUNTER, 9)})))


def test_signed_makers_refuse_an_equal_value_of_another() -> None:
    model = world()
    plain, made = (signed(model, Wish(COUNTER), Policy(Intent.EXACT, sign_makers=s)) for s in (False, True))
    model.write(storage(COUNTER, 0), 5)
    assert model.fill(plain).status == 1
    with pytest.raises(Refused) as refused:
        model.fill(made)
    assert refused.value.misfit.field == "intx"


def test_makers_are_signed_only_beside_what_the_cell_holds() -> None:
    model = world()
    transaction = declare(Snapshot(model), ME, Wish(COUNTER), contested(sign_makers=True)).transaction
    masks = {move.location: move.mask for move in transaction.moves}
    assert masks[storage(COUNTER, 0)] == Mask.INTX | Mask.PREV | Mask.NEXT
    assert masks[balance(ME)] == Mask.NEXT


@pytest.mark.parametrize("intent", Intent)
def test_it_must_succeed_unless_its_signer_says_otherwise(intent: Intent) -> None:
    model = world()
    fails = Wish(COUNTER, data=b"\1")
    with pytest.raises(CallFailed, match="reverts"):
        signed(model, fails, Policy(intent))
    with pytest.raises(CallFailed, match="reverts"):
        signed(model, replace(fails, gas_limit=100_000), Policy(intent))
    assert model.fill(signed(model, replace(fails, may_fail=True), Policy(intent))).status == 0
    transaction = declare(Snapshot(model), ME, Wish(COUNTER), Policy(intent)).transaction
    assert transaction.must_succeed


def test_a_call_that_must_succeed_waits_for_a_state_on_which_it_does() -> None:
    model = world()
    model.write(storage(PAYER, 0), 5)
    raw = signed(model, Wish(COUNTER), Policy(Intent.OPEN))
    model.account(COUNTER, ETHER, 1, asm("5f 5f fd"))
    with pytest.raises(Refused) as refused:
        model.fill(raw)
    assert refused.value.misfit.field == "status"


@pytest.mark.parametrize("base_fee", [7, 10**9, 10**9 * 5 // 4])
def test_exact_does_not_depend_on_the_base_fee(base_fee: int) -> None:
    model = world()
    declared = declare(Snapshot(model), ME, Wish(COUNTER, 3), Policy(Intent.EXACT))
    model.environment = environment(base_fee=base_fee)
    assert list(model.fill(sign(declared.transaction, KEY)).moves) == list(declared.moves)


def test_a_pinned_balance_fixes_the_price_too() -> None:
    model = world()
    declared = declare(Snapshot(model), ME, Wish(COUNTER, 3), contested(pinned=frozenset({balance(ME)})))
    transaction = declared.transaction
    assert transaction.max_priority_fee == transaction.max_fee
    model.environment = environment(base_fee=1)
    assert model.fill(sign(transaction, KEY)).at(balance(ME)) in declared.moves


def test_fees_are_the_signers_to_choose() -> None:
    model = world()
    wish = Wish(OTHER, 1, max_fee=3 * 10**9, priority_fee=5, gas_limit=50_000, valid_until=0)
    transaction = declare(Snapshot(model), ME, wish, contested()).transaction
    chosen = transaction.max_fee, transaction.max_priority_fee, transaction.gas_limit, transaction.valid_until
    assert chosen == (3 * 10**9, 5, 50_000, 0)
    plain = declare(Snapshot(model), ME, Wish(OTHER, 1), contested()).transaction
    assert plain.valid_until == model.environment.number + DEFAULT_BLOCKS - 1


def test_the_gas_limit_has_a_margin_only_where_the_state_may_be_another() -> None:
    model = world()
    exact = declare(Snapshot(model), ME, Wish(OTHER, 1), Policy(Intent.EXACT)).transaction
    loose = declare(Snapshot(model), ME, Wish(OTHER, 1), contested()).transaction
    assert (exact.gas_limit, loose.gas_limit) == (21_000, 26_250)


def test_guards_are_paid_for() -> None:
    model = world()
    guarded = declare(Snapshot(model), ME, Wish(OTHER, 1, guards=(storage(COUNTER, 9),)), Policy(Intent.EXACT))
    assert guarded.transaction.gas_limit == guarded.gas_used == 21_000 + 2_100


def test_masks_by_the_table() -> None:
    """The whole table, as words: a change of it is a change of what people sign."""
    model = world()
    masks = {}
    for intent in Intent:
        moves = declare(Snapshot(model), ME, Wish(COUNTER, 3), Policy(intent)).moves
        masks[intent] = {(chr(m.mark), m.addr == ME): m.mask & UNSIGNED for m in moves}
    intx, cell = int(Mask.INTX), int(Mask.INTX | Mask.PREV | Mask.NEXT)
    places = [("b", True), ("b", False), ("n", True), ("s", False), ("c", True), ("c", False)]
    assert masks == {
        Intent.EXACT: dict.fromkeys(places, intx),
        Intent.CONTESTED: dict(zip(places, [intx | Mask.NEXT, cell, intx, cell, intx, intx], strict=True)),
        Intent.OPEN: dict.fromkeys(places, UNSIGNED),
    }
    flags = {i: declare(Snapshot(model), ME, Wish(COUNTER), Policy(i)).transaction.flags for i in Intent}
    succeed = Flag.MUST_SUCCEED
    assert flags == {Intent.EXACT: succeed, Intent.CONTESTED: succeed, Intent.OPEN: succeed | Flag.OPEN}


def test_only_a_contested_transaction_may_leave_its_cells_open() -> None:
    with pytest.raises(ValueError, match="contested"):
        Policy(Intent.EXACT, any_cells=True)


def test_every_cell_is_asked_for_once() -> None:
    model = world()
    declare(Snapshot(model), ME, Wish(SWITCH, guards=(storage(SWITCH, 0),) * 0), contested())
    assert len(model.asked) == len(set(model.asked))


def test_a_call_that_reads_too_much_is_refused() -> None:
    model = world()
    snapshot = Snapshot(model)
    snapshot.cells.update({storage(OTHER, i): model.cell(storage(OTHER, i)) for i in range(MAX_CELLS)})
    with pytest.raises(Failure, match="reads more than"):
        declare(snapshot, ME, Wish(COUNTER), contested())


def test_who_cannot_pay_is_told_so() -> None:
    model = world()
    model.write(balance(ME), 1000)
    with pytest.raises(CallFailed, match="does not pay"):
        signed(model, Wish(OTHER, 1), contested())
    with pytest.raises(Failure, match="below the base fee"):
        signed(world(), Wish(OTHER, 1, max_fee=5), contested())


def test_a_nonce_that_is_not_the_next_is_refused() -> None:
    with pytest.raises(Verdict) as refused:
        signed(world(), Wish(OTHER, 1, nonce=9), contested())
    assert refused.value.rule == Rule.X0


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_asks_for_its_block_is_warned_of(call: str) -> None:
    warned = declare(Snapshot(world()), ME, CALLS[call], Policy(Intent.EXACT)).warning
    assert bool(warned) == (call in ("clock", "hasher"))
    assert not declare(Snapshot(world()), ME, CALLS[call], contested()).warning
