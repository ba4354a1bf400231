"""M1 to M6: transactions whose moves contradict themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from manaflow.errors import Rule
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Move
from manaflow.rules.moves import value_of
from tests.catalogue.case import (
    CANCUN,
    PRAGUE,
    Base,
    Case,
    Lie,
    add,
    entry,
    flipped,
    is_storage_consume,
    is_storage_reference,
    sender_of,
    virgin,
)
from tests.catalogue.dishonest import Draft, Step, Transaction, sealed
from tests.catalogue.envelopes import STRANGER, append_signed, bump, edited, referring, signed

IDENTITY = (4).to_bytes(20, "big")
"""A precompile."""


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def raised(value: bytes, by: int = 1) -> bytes:
    return word(value_of(value) + by)


def changed(
    name: str,
    rule: Rule,
    reason: str,
    which: Callable[[Move], bool],
    change: Callable[[Move], Move],
    base: Base = CANCUN,
) -> None:
    """Register a block in which one move of a signed transaction is another one, in its place of M5's order."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        signed_ones = set(draft.signed)
        t, i = draft.find(lambda t, move: t in signed_ones and which(move))
        made = change(draft[t].moves.pop(i))
        i = draft[t].add(made)
        return Lie(sealed(draft), t, i)

    add(name, rule, reason, make, base)


def with_fields(**fields: Any) -> Callable[[Move], Move]:
    return lambda move: replace(move, **fields)


def _is(mark: Mark, reference: bool | None = None) -> Callable[[Move], bool]:
    return lambda move: move.mark == mark and reference in (None, move.is_reference)


# M1


@entry(Rule.M1, "move ")
def location_consumed_and_referred_to(case: Case) -> Lie:
    draft = case.draft()
    t, i = draft.find(lambda t, move: t in draft.signed and is_storage_consume(move))
    twin = draft[t].add(referring(draft[t].moves[i]))
    return Lie(sealed(draft), t, twin)


@entry(Rule.M1, "move ")
def location_consumed_twice(case: Case) -> Lie:
    draft = case.draft()
    t, i = draft.find(lambda t, move: t in draft.signed and is_storage_consume(move))
    draft[t].moves.insert(i + 1, draft[t].moves[i])
    draft.renumber()
    return Lie(sealed(draft), t, i + 1)


@entry(Rule.M1, "move ")
def location_referred_to_twice(case: Case) -> Lie:
    draft = case.draft()
    t, i = draft.find(lambda t, move: t in draft.signed and is_storage_reference(move))
    draft[t].moves.insert(i + 1, draft[t].moves[i])
    return Lie(sealed(draft), t, i + 1)


@entry(Rule.M1, "move ", PRAGUE)
def system_call_names_a_location_twice(case: Case) -> Lie:
    draft = case.draft()
    twin = draft[0].add(referring(draft[0].moves[0]))
    return Lie(sealed(draft), 0, twin)


# M2

changed(
    "reference_that_changes",
    Rule.M2,
    "next of a reference",
    is_storage_reference,
    lambda m: replace(m, next=flipped(m.next)),
)
changed(
    "reference_that_changes_a_balance",
    Rule.M2,
    "next of a reference",
    _is(Mark.BALANCE, True),
    lambda m: replace(m, next=flipped(m.next)),
    PRAGUE,
)
changed(
    "consume_that_changes_nothing", Rule.M2, "next of a consume", is_storage_consume, lambda m: replace(m, next=m.prev)
)


# M3


def nonce(name: str, reason: str, change: Callable[[Transaction, int], int | None]) -> None:
    """Register a change to the move that consumes the last signed sender's nonce."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        t = draft.signed[-1]
        transaction = draft[t]
        move = change(transaction, transaction.index(Mark.NONCE, sender_of(transaction), reference=False))
        draft.renumber()
        return Lie(sealed(draft), t, move)

    add(name, Rule.M3, reason, make)


def _drop(transaction: Transaction, i: int) -> None:
    del transaction.moves[i]


def _refer(transaction: Transaction, i: int) -> None:
    transaction.add(referring(transaction.moves.pop(i)))


def _shift(transaction: Transaction, i: int) -> int:
    move = transaction.moves[i]
    transaction.change(i, prev=raised(move.prev), next=raised(move.next))
    return i


nonce("nonce_not_used", "consumes of the nonce of sender", _drop)
nonce("nonce_only_read", "consumes of the nonce of sender", _refer)
nonce("nonce_of_the_next_transaction", "prev of the sender's nonce", _shift)


@entry(Rule.M3, "consumes of the nonce of sender")
def envelope_changed_after_signing(case: Case) -> Lie:
    """It still recovers a sender: another one."""
    draft = case.draft()
    t = next(t for t in draft.signed if (draft[t].envelope or b"")[0] == 2)
    raw = draft[t].envelope
    assert raw is not None
    draft[t].envelope = edited(raw, lambda items: items.update(value=b"\1"))
    return Lie(sealed(draft), t)


@entry(Rule.M3, "prev of the sender's nonce")
def envelope_with_another_nonce(case: Case) -> Lie:
    """Validly signed with nonce 5, filled as if it were 0."""
    draft = case.draft()
    moves = [bump(), virgin(Mark.BALANCE, STRANGER), virgin(Mark.CODE, STRANGER)]
    t = append_signed(draft, signed(case, 2, nonce=5), moves)
    return Lie(sealed(draft), t, 0)


@entry(Rule.M3, "prev of the sender's nonce")
def transaction_twice(case: Case) -> Lie:
    """A replay of an envelope: its nonce is used, whatever the block calls it."""
    draft = case.draft()
    t = draft.signed[-1]
    again = draft[t]
    moves = [replace(m, prev=raised(m.prev), next=raised(m.next)) if m.mark == Mark.NONCE else m for m in again.moves]
    assert again.envelope is not None
    at = append_signed(draft, again.envelope, moves)
    draft[at].say(gas_used=0)
    sender = sender_of(again)
    return Lie(sealed(draft), at, draft[at].index(Mark.NONCE, sender))


# M4

changed("mark_unknown", Rule.M4, "mark", is_storage_reference, with_fields(mark=ord("x")))
changed("slot_of_a_balance", Rule.M4, "slot of a b move", _is(Mark.BALANCE), with_fields(slot=word(1)))
changed("slot_of_a_nonce", Rule.M4, "slot of a n move", _is(Mark.NONCE), with_fields(slot=word(1)))
changed("slot_of_a_code", Rule.M4, "slot of a c move", _is(Mark.CODE), with_fields(slot=word(1)))
changed(
    "virgin_cell_with_a_value", Rule.M4, "prev of a virgin cell", is_storage_reference,
    with_fields(number=0, prev=word(1), next=word(1)),
)  # fmt: skip
changed("code_of_a_precompile", Rule.M4, "c or n of a precompile", _is(Mark.CODE, True), with_fields(addr=IDENTITY))
changed("nonce_of_a_precompile", Rule.M4, "c or n of a precompile", _is(Mark.NONCE), with_fields(addr=IDENTITY))
changed(
    "block_hash_with_an_address", Rule.M4, "address of an e move", _is(Mark.BLOCKHASH), with_fields(addr=b"\1" * 20)
)
changed("block_hash_with_a_number", Rule.M4, "number of an e move", _is(Mark.BLOCKHASH), with_fields(number=1))


@entry(Rule.M4, "an e move consumes")
def block_hash_consumed(case: Case) -> Lie:
    draft = case.draft()
    t, i = draft.find(lambda t, move: move.mark == Mark.BLOCKHASH)
    move = draft[t].moves.pop(i)
    made = draft[t].add(replace(move, mask=UNSIGNED, next=flipped(move.next)))
    return Lie(sealed(draft), t, made)


@entry(Rule.M4, "prev of a virgin cell")
def system_call_invents_a_value(case: Case) -> Lie:
    draft = case.draft()
    i = draft[0].index(Mark.STORAGE)
    draft[0].change(i, number=0, prev=word(7))
    return Lie(sealed(draft), 0, i)


# M5


def ordered(name: str, reason: str, change: Callable[[Draft], tuple[int, int]]) -> None:
    """Register a block with the moves of one transaction in another order; `change` says where."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        t, i = change(draft)
        return Lie(sealed(draft, leave={Step.COUNTS}), t, i)

    add(name, Rule.M5, reason, make)


def _swap(draft: Draft, t: int, i: int) -> tuple[int, int]:
    """Exchange move i with the one before it."""
    moves = draft[t].moves
    moves[i - 1], moves[i] = moves[i], moves[i - 1]
    draft.renumber()
    return t, i


def _swap_kinds(draft: Draft) -> tuple[int, int]:
    t = draft.signed[0]
    return _swap(draft, t, draft[t].leaf.consumes)


def _swap_consumes(draft: Draft) -> tuple[int, int]:
    return _swap(draft, draft.signed[0], 1)


def _swap_references(draft: Draft) -> tuple[int, int]:
    t = next(t for t in draft.signed if draft[t].leaf.references > 1)
    return _swap(draft, t, draft[t].leaf.consumes + 1)


def _one_consume_less(draft: Draft) -> tuple[int, int]:
    leaf = draft[draft.signed[0]].leaf
    draft[draft.signed[0]].say(consumes=leaf.consumes - 1, references=leaf.references + 1)
    return draft.signed[0], leaf.consumes - 1


def _one_consume_more(draft: Draft) -> tuple[int, int]:
    leaf = draft[draft.signed[0]].leaf
    draft[draft.signed[0]].say(consumes=leaf.consumes + 1, references=leaf.references - 1)
    return draft.signed[0], leaf.consumes


ordered("reference_before_a_consume", "a consume after a reference", _swap_kinds)
ordered("consumes_out_of_order", "moves out of order", _swap_consumes)
ordered("references_out_of_order", "moves out of order", _swap_references)
ordered("leaf_counts_a_consume_less", "direction of the move", _one_consume_less)
ordered("leaf_counts_a_consume_more", "direction of the move", _one_consume_more)
ordered("system_call_out_of_order", "moves out of order", lambda draft: _swap(draft, 0, 1))


# M6

_ETHER = "balances after plus what is burned"


@entry(Rule.M6, _ETHER)
def one_wei_created(case: Case) -> Lie:
    """The last touch of an account in the block, so that nothing else is wrong."""
    draft = case.draft()
    last = {move.location: (t, i) for t, i, move in draft.places() if move.mark == Mark.BALANCE}
    t, i = next((t, i) for t, i in last.values() if t in draft.signed and not draft[t].moves[i].is_reference)
    draft[t].change(i, next=raised(draft[t].moves[i].next))
    return Lie(sealed(draft), t)


@entry(Rule.M6, _ETHER)
def ether_for_a_stranger(case: Case) -> Lie:
    draft = case.draft()
    t = draft.signed[-1]
    draft[t].add(Move(UNSIGNED, Mark.BALANCE, 0, STRANGER, ZERO32, ZERO32, word(10**18)))
    draft.renumber()
    return Lie(sealed(draft), t)


@entry(Rule.M6, _ETHER)
def ether_beyond_256_bits(case: Case) -> Lie:
    """The sums are over unbounded integers: two of 2^255 do not vanish."""
    draft = case.draft()
    t = draft.signed[-1]
    draft[t].add(*(Move(UNSIGNED, Mark.BALANCE, 0, bytes([k]) * 20, ZERO32, ZERO32, word(2**255)) for k in (1, 2)))
    draft.renumber()
    return Lie(sealed(draft), t)


@entry(Rule.M6, _ETHER)
def gas_not_paid_for(case: Case) -> Lie:
    """A leaf that used more gas than its balances burn."""
    draft = case.draft()
    t = draft.signed[-1]
    draft[t].say(gas_used=draft[t].leaf.gas_used + 1)
    return Lie(sealed(draft), t)


@entry(Rule.M6, _ETHER)
def blobs_not_paid_for(case: Case) -> Lie:
    """The sender keeps what its blobs cost: base fee x gas alone is burned."""
    draft = case.draft()
    t = next(t for t in draft.signed if decode_envelope(draft[t].envelope or b"").blob_hashes)
    i = draft[t].index(Mark.BALANCE, sender_of(draft[t]), reference=False)
    draft[t].change(i, next=raised(draft[t].moves[i].next, decode_envelope(draft[t].envelope or b"").blob_gas))
    return Lie(sealed(draft), t)


@entry(Rule.M6, _ETHER)
def system_call_creates_ether(case: Case) -> Lie:
    draft = case.draft()
    draft[0].add(Move(UNSIGNED, Mark.BALANCE, 0, STRANGER, ZERO32, ZERO32, word(1)))
    draft.renumber()
    return Lie(sealed(draft), 0)


@entry(Rule.M6, "balance after the credit")
def withdrawal_of_one_wei_more(case: Case) -> Lie:
    draft = case.draft()
    credit = draft.transactions[-1]
    credit.change(0, next=raised(credit.moves[0].next))
    return Lie(sealed(draft), len(draft.transactions) - 1, 0)


@entry(Rule.M6, "balance after the credit")
def withdrawal_of_one_wei_less(case: Case) -> Lie:
    draft = case.draft()
    credit = draft.transactions[-1]
    last = len(credit.moves) - 1
    credit.change(last, next=raised(credit.moves[last].next, -1))
    return Lie(sealed(draft), len(draft.transactions) - 1, last)


@entry(Rule.M6, "balance after the credit")
def withdrawal_amount_raised_in_the_body(case: Case) -> Lie:
    """The body says more than its leaf pays out."""
    draft = case.draft()
    paid = [move.addr for move in draft.transactions[-1].moves]
    draft.withdrawals[0] = replace(draft.withdrawals[0], amount=draft.withdrawals[0].amount + 1)
    return Lie(sealed(draft), len(draft.transactions) - 1, paid.index(draft.withdrawals[0].address))
