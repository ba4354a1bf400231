"""What the wallet says of a signature holds of every fill that the rules accept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow.errors import Failure, Verdict
from manaflow.moves.declared import encode_declared, is_signed
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark, Mask, Move
from manaflow.moves.transactions import DeclaredTransaction, NamedMove
from manaflow.rules.declared import check_s2, check_s3, check_s4
from manaflow.wallet.claims import Becomes, Fill, MadeBy, PriceIs, Requires, SpendsAtMost, Succeeds, TouchesOnly, Until
from manaflow.wallet.declare import Wish, declare
from manaflow.wallet.explain import (
    FILLERS_POWER,
    HAS_CODE,
    MAX_SHOWN_DATA,
    MAY_FAIL,
    NOTHING_OPEN,
    PROTECTION,
    STANDING,
    explain,
)
from manaflow.wallet.intents import Intent, Policy
from manaflow.wallet.keys import sign
from manaflow.wallet.replace import what_the_old_may_do
from manaflow.wallet.source import Snapshot
from tests.builders import envelope
from tests.wallet.model import (
    CLOCK,
    CONFIG,
    COUNTER,
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
    world,
)

policies = st.builds(
    Policy,
    st.sampled_from(Intent),
    sign_makers=st.booleans(),
    pinned=st.sampled_from([frozenset(), frozenset({balance(ME)})]),
) | st.builds(Policy, st.just(Intent.CONTESTED), any_cells=st.just(True))
wishes = st.builds(
    Wish,
    st.sampled_from([OTHER, ME, COUNTER, SWITCH, HASHER, CLOCK, PAYER, READER]),
    st.sampled_from([0, 1, 3, 2 * ETHER]),
    data=st.sampled_from([b"", b"\1"]),
    valid_until=st.sampled_from([0, 10, 11]),
    may_fail=st.booleans(),
    guards=st.sampled_from([(), (storage(READER, 3),), (storage(COUNTER, 9), balance(OTHER))]),
)
CELLS: list[Location] = [
    *(storage(a, i) for a in (COUNTER, SWITCH, READER, PAYER, HASHER) for i in (0, 3, 4, 9)),
    *(balance(a) for a in (ME, OTHER, COUNTER, PAYER)),
]
writes = st.lists(st.tuples(st.sampled_from(CELLS), st.sampled_from([0, 1, 4, 5, 9, ETHER, 99 * ETHER])), max_size=4)
TOKEN = bytes.fromhex("70" * 20)
DELEGATION = bytes.fromhex("ef0100") + PAYER
DRAIN = asm("5f 5f 5f 5f 47 73" + OTHER.hex() + "5a f1 00")
"""Sends all that its account has to OTHER."""


def changed(model: Model, drawn: list[tuple[Location, int]], base_fee: int, later: int) -> Model:
    for location, value in drawn:
        model.write(location, value)
    model.environment = environment(base_fee=base_fee, number=10 + later, timestamp=10_000 + later)
    return model


@settings(deadline=None, max_examples=250)
@given(wishes, policies, writes, st.sampled_from([1, 10**9, 2 * 10**9]), st.integers(0, 2))
def test_what_is_claimed_holds_of_every_fill_on_every_state(
    wish: Wish, policy: Policy, drawn: list[tuple[Location, int]], base_fee: int, later: int
) -> None:
    """Honest fills: the state is another, and the rules, X among them, accept what a coordinator makes of it."""
    model = world()
    try:
        declared = declare(Snapshot(model), ME, wish, policy)
    except Failure:  # a guard on what the call changes, a pinned cell that it does not use, a call that fails
        return
    explanation = explain(declared.transaction, ME)
    try:
        fill = changed(model, drawn, base_fee, later).fill(sign(declared.transaction, KEY))
    except (Refused, Verdict):
        return
    broken = [str(claim) for claim in explanation.claims if not claim.holds(fill)]
    assert broken == []


@st.composite
def forged(draw: st.DrawFn) -> tuple[DeclaredTransaction, list[NamedMove], int, int]:
    """Moves with anything at all in their masked fields, and moves that nobody signed."""
    wish = Wish(COUNTER, valid_until=11)
    declared = declare(Snapshot(world()), ME, wish, draw(policies))
    words = st.sampled_from([ZERO32, b"\x01" * 32, b"\xff" * 32])
    moves = []
    for move in declared.moves:
        fields = {
            "prev": Mask.PREV, "next": Mask.NEXT, "intx": Mask.INTX, "slot": Mask.SLOT,
        }  # fmt: skip
        masked = {name: draw(words) for name, bit in fields.items() if move.mask & bit or draw(st.integers(0, 9)) == 0}
        moves.append(replace(move, **masked))
    if draw(st.booleans()):
        moves = [move for move in moves if draw(st.integers(0, 9))]
    extra = st.builds(
        NamedMove, st.sampled_from([0x3F, 0xBF]), st.just(Mark.STORAGE), words, st.just(OTHER), words, words, words
    )
    moves += draw(st.lists(extra, max_size=2, unique_by=lambda move: move.location))
    return declared.transaction, moves, draw(st.integers(0, 1)), draw(st.integers(9, 12))


@settings(deadline=None, max_examples=250)
@given(forged())
def test_what_is_claimed_of_cells_needs_no_execution(
    made: tuple[DeclaredTransaction, list[NamedMove], int, int],
) -> None:
    """Whatever a filler writes into its fill: what S2 to S4 accept is what the claims about cells say."""
    transaction, named, status, number = made
    raw = sign(transaction, KEY)
    moves = [Move(m.mask, m.mark, 0, m.addr, m.slot, m.prev, m.next) for m in named]
    try:
        check_s2(raw, CONFIG, keccak256(raw), moves)
        check_s3(transaction, moves, status)
        check_s4(transaction, number)
    except Verdict:
        return
    fill = Fill(named, status, 21_000, 10**9, number)
    by_rules = [
        c for c in explain(transaction, ME).fixed if isinstance(c, Becomes | Requires | TouchesOnly | Succeeds | Until)
    ]
    consistent = all(not m.is_reference or m.prev == m.next for m in named)  # M2
    broken = [str(c) for c in by_rules if not c.holds(fill)]
    assert broken == [] or not consistent


def test_the_balance_that_is_stated_is_the_balance() -> None:
    model = world()
    declared = declare(Snapshot(model), ME, Wish(OTHER, 3), Policy(Intent.EXACT))
    (stated,) = [claim for claim in explain(declared.transaction, ME).worst if isinstance(claim, Becomes)]
    move = model.fill(sign(declared.transaction, KEY)).at(balance(ME))
    assert move is not None
    assert (stated.location, stated.value) == (balance(ME), move.next)
    assert str(stated).startswith("your balance after this transaction is exactly 99.99")


def test_what_is_read_and_left_open_is_no_condition() -> None:
    model = world()
    transaction = declare(Snapshot(model), ME, Wish(READER), Policy(Intent.CONTESTED)).transaction
    explanation = explain(transaction, ME)
    place = storage(READER, 3)
    assert not any(isinstance(claim, Requires) and claim.location == place for claim in explanation.fixed)
    assert f"it reads the storage of 0x{READER.hex()} at slot 0x3, whatever it holds" in explanation.open
    model.write(place, 2)
    fill = model.fill(sign(transaction, KEY))
    assert all(claim.holds(fill) for claim in explanation.claims)


def test_what_is_left_at_least() -> None:
    """Tight: with a fee cap that is what is paid and a gas limit that is used up, nothing more is left."""
    model = world()
    wish = Wish(OTHER, 2 * ETHER, gas_limit=21_000, max_fee=3 * 10**9, priority_fee=3 * 10**9)
    transaction = declare(Snapshot(model), ME, wish, Policy(Intent.CONTESTED)).transaction
    (spends,) = [claim for claim in explain(transaction, ME).worst if isinstance(claim, SpendsAtMost)]
    fill = model.fill(sign(transaction, KEY))
    left = fill.at(balance(ME))
    assert left is not None
    assert spends.at_least == int.from_bytes(left.next, "big") == 98 * ETHER - 21_000 * 3 * 10**9
    assert spends.holds(fill)
    for lower in (replace(spends, value=0), replace(spends, fee=spends.fee - 1), replace(spends, at_least=98 * ETHER)):
        assert not lower.holds(fill)


def drained(policy: Policy, *, delegate_first: bool) -> tuple[Model, DeclaredTransaction]:
    """An account whose own code gives its ether away when it is called."""
    model = world()
    drain = model.account(b"\xdd" * 20, 0, 1, DRAIN)
    delegation = bytes.fromhex("ef0100") + drain
    model.codes[keccak256(delegation)] = delegation
    if delegate_first:
        model.write((Mark.CODE, ME, ZERO32), keccak256(delegation))
    declared = declare(Snapshot(model), ME, Wish(ME, gas_limit=100_000), policy)
    model.write((Mark.CODE, ME, ZERO32), keccak256(delegation))
    return model, declared.transaction


def test_an_account_with_code_may_lose_everything_and_the_words_say_so() -> None:
    """The bound on what leaves is claimed only where the account has no code; here it has some."""
    model, transaction = drained(Policy(Intent.OPEN), delegate_first=True)
    (spends,) = [claim for claim in explain(transaction, ME).worst if isinstance(claim, SpendsAtMost)]
    fill = model.fill(sign(transaction, KEY))
    left = fill.at(balance(ME))
    assert left is not None
    assert int.from_bytes(left.next, "big") < ETHER
    assert "as long as your account has no code" in str(spends)
    assert spends.holds(fill)
    assert not replace(spends, code_is_signed=True).holds(fill)


def test_a_signature_for_an_account_with_code_claims_no_bound() -> None:
    model, transaction = drained(Policy(Intent.CONTESTED), delegate_first=True)
    explanation = explain(transaction, ME)
    assert not any(isinstance(claim, SpendsAtMost) for claim in explanation.worst)
    assert HAS_CODE in explanation.notes
    fill = model.fill(sign(transaction, KEY))
    assert all(claim.holds(fill) for claim in explanation.claims)


def test_that_an_account_has_no_code_is_signed_by_contested() -> None:
    model, transaction = drained(Policy(Intent.CONTESTED), delegate_first=False)
    (spends,) = [claim for claim in explain(transaction, ME).worst if isinstance(claim, SpendsAtMost)]
    assert spends.code_is_signed
    with pytest.raises(Refused):
        model.fill(sign(transaction, KEY))
    model, transaction = drained(Policy(Intent.OPEN), delegate_first=False)
    assert model.fill(sign(transaction, KEY)).status == 1


def test_each_claim_can_be_broken() -> None:
    """A claim that always holds says nothing."""
    model = world()
    policy = Policy(Intent.EXACT, sign_makers=True)
    declared = declare(Snapshot(model), ME, Wish(COUNTER, 3), policy)
    loose = declare(Snapshot(model), ME, Wish(COUNTER, 3), Policy(Intent.CONTESTED))
    claims = {type(c): c for d in (declared, loose) for c in explain(d.transaction, ME).claims}
    other = [replace(m, prev=b"\7" * 32, next=bytes(32), intx=b"\7" * 32) for m in declared.moves[:-1]]
    bad = Fill(other, 0, 10**9, 10**8, 10**6)
    assert [kind.__name__ for kind, claim in claims.items() if claim.holds(bad)] == ["PriceIs"]
    assert not replace(claims[PriceIs], priority_fee=1).holds(bad)  # it is made only where both fees are the same
    assert len(claims) == 9


def test_words() -> None:
    model = world()

    def lines(wish: Wish, policy: Policy) -> str:
        return "\n".join(explain(declare(Snapshot(model), ME, wish, policy).transaction, ME).lines())

    exact = lines(Wish(OTHER, ETHER), Policy(Intent.EXACT))
    assert f"0x{ME.hex()} (nonce 7, chain 7777) sends 1 ether to 0x{OTHER.hex()}" in exact
    assert "it runs only while your balance is 100 ether" in exact
    assert "Left open:\n  - nothing" in exact
    assert NOTHING_OPEN in exact
    assert FILLERS_POWER not in exact
    loose = lines(Wish(COUNTER, ETHER), Policy(Intent.CONTESTED))
    assert f"it changes the storage of 0x{COUNTER.hex()} at slot 0x0, whatever it holds before and afterwards" in loose
    assert "it uses the 6 cells that are named, and no others" in loose
    for sentence in (FILLERS_POWER, PROTECTION):
        assert sentence in loose
    wide = lines(Wish(COUNTER, may_fail=True, valid_until=0), Policy(Intent.OPEN))
    assert "every cell that the call uses: which ones, and what they hold" in wide
    for sentence in (MAY_FAIL, STANDING, FILLERS_POWER):
        assert sentence in wide


def test_the_data_of_a_call_is_shown_in_full() -> None:
    """It says who gets a token: what is signed offline was declared on a machine that may be another's."""
    model = world()
    model.account(TOKEN, 0, 1, asm("00"))
    transfer = bytes.fromhex("a9059cbb") + OTHER.rjust(32, b"\0") + (5).to_bytes(32, "big")
    declared = declare(Snapshot(model), ME, Wish(TOKEN, data=transfer), Policy(Intent.OPEN)).transaction
    explanation = explain(declared, ME)
    lines = explanation.lines()
    at = lines.index("Data of the call:")
    assert "".join(line.strip()[2:] for line in lines[at + 1 : at + 4]) == transfer.hex()
    assert explanation.as_json()["data"] == "0x" + transfer.hex()
    old = what_the_old_may_do(declared, ME)
    assert "  0x" + OTHER.rjust(32, b"\0").hex() in old
    long = bytes(range(256)) * 16
    for data in (long[:MAX_SHOWN_DATA], long[: MAX_SHOWN_DATA + 1], long):
        text = "\n".join(explain(replace(declared, to=b"", data=data), ME).lines())
        assert (f"0x{keccak256(data).hex()}" in text) == (len(data) > MAX_SHOWN_DATA)
        assert data[MAX_SHOWN_DATA - 32 : MAX_SHOWN_DATA].hex() in text
    assert "Data of the call:" not in explain(replace(declared, data=b""), ME).lines()


def test_what_somebody_else_made_is_explained_from_its_bytes() -> None:
    """No field of a strange envelope breaks the words: unknown marks, masked places, an Ethereum envelope."""
    declared = declare(Snapshot(world()), ME, Wish(COUNTER), Policy(Intent.EXACT)).transaction
    strange = replace(declared.moves[0], mark=0x7A)
    placeless = replace(declared.moves[0], mask=int(Mask.ADDR | Mask.SLOT), addr=bytes(20), slot=bytes(32))
    moves = tuple(sorted((strange, placeless), key=lambda m: m.sort_key))
    read = decode_envelope(encode_declared(replace(declared, moves=moves)))
    text = explain(read, ME).lines()
    assert any("what mark 122 means of" in line for line in text)
    assert any("one more cell: which one" in line for line in text)
    plain = explain(decode_envelope(envelope(2)), ME)
    assert plain.open == ("every cell that the call uses",)
    assert not any(is_signed(0x3F) for _ in plain.fixed)
    assert not any(isinstance(c, SpendsAtMost) for c in explain(decode_envelope(envelope(4)), ME).worst)


def test_blobs_cost_as_well() -> None:
    read = decode_envelope(envelope(3))
    assert read.blob_gas * read.max_fee_per_blob_gas > 0
    (spends,) = [claim for claim in explain(read, ME).worst if isinstance(claim, SpendsAtMost)]
    assert spends.fee == read.gas_limit * read.max_fee + read.blob_gas * read.max_fee_per_blob_gas


def test_signed_makers_are_said() -> None:
    model = world()
    claims = explain(
        declare(Snapshot(model), ME, Wish(COUNTER), Policy(Intent.EXACT, sign_makers=True)).transaction, ME
    )
    assert sum(isinstance(claim, MadeBy) for claim in claims.fixed) == 5
