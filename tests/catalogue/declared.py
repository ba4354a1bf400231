"""S2, S3, S4 and V1 where a signer fixed the maker: declared transactions that are not what was signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from manaflow.errors import Rule
from manaflow.moves.marks import UNSIGNED, ZERO32, Location, Mark, Mask, Move
from manaflow.moves.signatures import CURVE_ORDER
from manaflow.moves.transactions import DeclaredTransaction, Flag, NamedMove
from tests.catalogue.case import CANCUN, MANAFLOW, Case, Lie, Maker, add, entry, flipped
from tests.catalogue.dishonest import Draft, Step, Transaction, sealed
from tests.catalogue.envelopes import append_signed, stranger_moves
from tests.chain import word
from tests.declared import declared_envelope, declared_items, decoded, encode_declared_items
from tests.declared_chain import COUNT, COUNTER, EMPTY, FLAG, Sealed

CLOSED, GUARDED, IDENTIFIED, OPEN, REVERTING, LAST = 0, 1, 2, 3, 5, 6
"""Places of declared transactions in the last block of MANAFLOW (tests/declared_chain.py)."""
NOT_SIGNED: Final = "a move that nobody signed so"
MISSING: Final = "signed moves that are not there"
UNDECODED: Final = "the envelope does not decode"


def declared(rule: Rule, reason: str) -> Callable[[Maker], Maker]:
    """Register a function that makes a block of MANAFLOW."""
    return entry(rule, reason, MANAFLOW)


def transaction_at(draft: Draft, t: int) -> DeclaredTransaction:
    raw = draft[t].envelope
    assert raw is not None
    return decoded(raw)


def sign_again(case: Case, draft: Draft, t: int, **fields: Any) -> Transaction:
    """Let the sender sign the transaction with fields changed; its moves stay."""
    assert isinstance(case.chain, Sealed)
    changed = replace(transaction_at(draft, t), **fields)
    moves = tuple(sorted(changed.moves, key=lambda form: form.sort_key))
    draft[t].envelope = case.chain.producer.signed(replace(changed, moves=moves), case.chain.calls[t].sender)
    return draft[t]


def edit(t: int, change: Callable[[dict[str, Any]], object]) -> Maker:
    """A block in which items of an envelope are changed after signing."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        items = declared_items(draft[t].envelope)
        change(items)
        draft[t].envelope = encode_declared_items(items)
        return Lie(sealed(draft), t)

    return make


def place(draft: Draft, t: int, location: Location) -> int:
    return next(i for i, move in enumerate(draft[t].moves) if move.location == location)


def nonce_of(case: Case, t: int) -> Location:
    assert isinstance(case.chain, Sealed)
    return Mark.NONCE, case.chain.producer.addresses[case.chain.calls[t].sender], ZERO32


def swapped_moves(items: dict[str, Any]) -> None:
    items["moves"] = items["moves"][::-1]


def unmasked_value(items: dict[str, Any]) -> None:
    """A masked field that is not empty."""
    masked = next(move for move in items["moves"] if not move[5])
    masked[5] = ZERO32


for _name, _change, _reason in (
    ("unknown_flag", lambda items: items.update(flags=b"\x04"), UNDECODED),
    ("high_s", lambda items: items.update(s=CURVE_ORDER - int.from_bytes(items["s"], "big")), UNDECODED),
    ("moves_out_of_order", swapped_moves, UNDECODED),
    ("masked_and_not_empty", unmasked_value, UNDECODED),
    ("move_of_which_nothing_is_signed", lambda items: items["moves"].append([b"\x3f", *[b""] * 6]), UNDECODED),
    ("guard_that_is_a_consume", lambda items: items["moves"][0].__setitem__(0, b"\x47"), UNDECODED),
    ("leading_zero", lambda items: items.update(value=b"\0\1"), UNDECODED),
    ("no_key_recovers", lambda items: items.update(r=b"\5"), "the signature recovers no sender"),
):
    add(_name, Rule.S2, _reason, edit(GUARDED, _change), MANAFLOW)


@declared(Rule.S2, UNDECODED)
def declared_trailing_byte(case: Case) -> Lie:
    draft = case.draft()
    draft[OPEN].envelope = (draft[OPEN].envelope or b"") + b"\0"
    return Lie(sealed(draft), OPEN)


@declared(Rule.S2, "chain id")
def declared_for_another_chain(case: Case) -> Lie:
    draft = case.draft()
    sign_again(case, draft, CLOSED, chain_id=case.config.chain_id + 1)
    return Lie(sealed(draft), CLOSED)


@declared(Rule.S2, "txid in the leaf")
def declared_txid(case: Case) -> Lie:
    draft = case.draft()
    draft[LAST].say(txid=word(1))
    return Lie(sealed(draft, leave={Step.TXIDS}), LAST)


@entry(Rule.S2, UNDECODED, CANCUN)
def ethereum_envelope_under_the_declared_type(case: Case) -> Lie:
    draft = case.draft()
    t = next(t for t in draft.signed if (draft[t].envelope or b"")[:1] == b"\2")
    draft[t].envelope = b"\x4d" + (draft[t].envelope or b"")[1:]
    return Lie(sealed(draft), t)


@entry(Rule.S2, "a declared envelope in profile ethereum", CANCUN)
def declared_in_profile_ethereum(case: Case) -> Lie:
    draft = case.draft()
    raw = declared_envelope((), chain_id=case.config.chain_id, nonce=0)
    t = append_signed(draft, raw, stranger_moves())
    return Lie(sealed(draft), t)


@declared(Rule.S2, NOT_SIGNED)
def signed_value_changed(case: Case) -> Lie:
    """The recipient's balance, of which everything was signed, is left at another value."""
    draft = case.draft()
    i = draft[CLOSED].index(Mark.BALANCE, reference=False)
    draft[CLOSED].change(i, next=word(int.from_bytes(draft[CLOSED].moves[i].next, "big") + 1))
    return Lie(sealed(draft), CLOSED, i)


@declared(Rule.S2, NOT_SIGNED)
def more_masked_than_signed(case: Case) -> Lie:
    draft = case.draft()
    i = place(draft, CLOSED, nonce_of(case, CLOSED))
    draft[CLOSED].change(i, mask=int(Mask.INTX | Mask.NEXT))
    return Lie(sealed(draft), CLOSED, i)


@declared(Rule.S2, NOT_SIGNED)
def less_masked_than_signed(case: Case) -> Lie:
    """A move that the filler chose claims to be signed."""
    draft = case.draft()
    i = place(draft, OPEN, (Mark.BALANCE, nonce_of(case, OPEN)[1], ZERO32))
    draft[OPEN].change(i, mask=int(Mask.INTX | Mask.PREV | Mask.NEXT))
    return Lie(sealed(draft), OPEN, i)


@declared(Rule.S2, NOT_SIGNED)
def guard_made_a_plain_reference(case: Case) -> Lie:
    draft = case.draft()
    i = place(draft, GUARDED, FLAG)
    draft[GUARDED].change(i, mask=int(Mask.REFERENCE))
    return Lie(sealed(draft), GUARDED, i)


@declared(Rule.S2, MISSING)
def guard_left_out(case: Case) -> Lie:
    draft = case.draft()
    del draft[GUARDED].moves[place(draft, GUARDED, FLAG)]
    return Lie(sealed(draft), GUARDED)


@declared(Rule.S2, MISSING)
def signed_move_said_to_be_the_fillers(case: Case) -> Lie:
    draft = case.draft()
    i = place(draft, IDENTIFIED, nonce_of(case, IDENTIFIED))
    draft[IDENTIFIED].change(i, mask=UNSIGNED)
    return Lie(sealed(draft), IDENTIFIED)


@declared(Rule.S3, "an unsigned move, and no flag open")
def move_added_to_a_closed_transaction(case: Case) -> Lie:
    draft = case.draft()
    i = draft[CLOSED].add(case.reference(FLAG))
    return Lie(sealed(draft), CLOSED, i)


@declared(Rule.S3, "an unsigned move, and no flag open")
def open_flag_not_signed(case: Case) -> Lie:
    draft = case.draft()
    sign_again(case, draft, OPEN, flags=0)
    i = next(i for i, move in enumerate(draft[OPEN].moves) if move.mask & UNSIGNED == UNSIGNED)
    return Lie(sealed(draft), OPEN, i)


@declared(Rule.S3, "a guard that nobody signed")
def guard_added_by_a_filler(case: Case) -> Lie:
    draft = case.draft()
    added = replace(case.reference(FLAG), mask=int(UNSIGNED | Mask.REFERENCE | Mask.GUARD))
    i = draft[IDENTIFIED].add(added)
    return Lie(sealed(draft), IDENTIFIED, i)


@declared(Rule.S3, "status of a transaction that must succeed")
def failure_of_what_must_succeed(case: Case) -> Lie:
    """It really reverts, and its signer forbade that."""
    draft = case.draft()
    sign_again(case, draft, REVERTING, flags=int(Flag.MUST_SUCCEED))
    return Lie(sealed(draft), REVERTING)


@declared(Rule.S3, "status of a transaction that must succeed")
def failure_claimed_of_what_must_succeed(case: Case) -> Lie:
    draft = case.draft()
    draft[GUARDED].say(status=0)
    return Lie(sealed(draft), GUARDED)


def late(t: int, blocks: int) -> Maker:
    """A block that holds transaction t so many blocks after its signer's last one."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        sign_again(case, draft, t, valid_until=case.header.number - blocks)
        return Lie(sealed(draft), t)

    return make


for _name, _t, _blocks in (
    ("a_block_late", GUARDED, 1),
    ("two_blocks_late", CLOSED, 2),
    ("open_and_late", OPEN, 1),
    ("late_and_reverting", REVERTING, 2),
):
    add(_name, Rule.S4, "block number of a transaction with a limit", late(_t, _blocks), MANAFLOW)


def another_maker(t: int, location: Callable[[Case], Location], intx: Callable[[Case], bytes]) -> Maker:
    """A block whose transaction t says of the cell at a location that `intx` made it."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        i = place(draft, t, location(case))
        move, transaction = draft[t].moves[i], transaction_at(draft, t)
        signed = [form for form in transaction.moves if _is_of(form, move)]
        assert len(signed) == 1
        others = [form for form in transaction.moves if form != signed[0]]
        sign_again(case, draft, t, moves=(*others, replace(signed[0], intx=intx(case))))
        return Lie(sealed(draft), t, i)

    return make


def _is_of(form: NamedMove, move: Move) -> bool:
    return form.location == move.location and not form.mask & Mask.INTX


def txid_of(block: int, t: int) -> Callable[[Case], bytes]:
    return lambda case: [*case.before, case.block][block].leaves.txid[t].tobytes()


_V1_OF_A_CELL, _V1_OF_A_VIRGIN = "maker of cell ", "maker of a virgin cell"
for _name, _t, _location, _intx, _reason in (
    ("maker_another_than_genesis", GUARDED, lambda case: FLAG, txid_of(1, 0), _V1_OF_A_CELL),
    ("maker_another_of_the_block", IDENTIFIED, lambda case: COUNT, txid_of(3, 0), _V1_OF_A_CELL),
    ("maker_of_an_earlier_value", IDENTIFIED, lambda case: COUNT, txid_of(1, 1), _V1_OF_A_CELL),
    ("maker_another_of_an_earlier_block", IDENTIFIED, lambda case: nonce_of(case, IDENTIFIED), txid_of(1, 0),
     _V1_OF_A_CELL),
    ("maker_genesis_of_a_later_cell", IDENTIFIED, lambda case: nonce_of(case, IDENTIFIED), txid_of(0, 0),
     _V1_OF_A_CELL),
    ("maker_a_fees_leaf", REVERTING, lambda case: nonce_of(case, REVERTING), txid_of(2, 1), _V1_OF_A_CELL),
    ("maker_one_bit_off", LAST, lambda case: nonce_of(case, LAST), lambda case: flipped(txid_of(3, 2)(case)),
     _V1_OF_A_CELL),
    ("virgin_signed_and_numbered", IDENTIFIED, lambda case: (Mark.CODE, COUNTER, ZERO32), lambda case: ZERO32,
     _V1_OF_A_CELL),
    ("maker_of_a_virgin_cell", GUARDED, lambda case: EMPTY, txid_of(0, 0), _V1_OF_A_VIRGIN),
):  # fmt: skip
    add(_name, Rule.V1, _reason, another_maker(_t, _location, _intx), MANAFLOW)
