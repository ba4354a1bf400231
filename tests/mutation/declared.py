"""Mutations of declared transactions: what their senders sign, and what fillers make of it (rules S2, S3, S4, V1)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from manaflow.moves.block import Block
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32, Mark, Mask, Move
from manaflow.moves.transactions import DeclaredTransaction, Flag, NamedMove
from manaflow.rules.leaves import MAX_MOVES
from manaflow.rules.signing import MAX_SIGNED_BYTES
from tests.catalogue.case import virgin
from tests.catalogue.dishonest import Draft, Transaction, sealed
from tests.declared import declared_items, encode_declared_items, masked
from tests.declared_chain import sealed_chain
from tests.mutation.operators import WORDS, Impossible, Operator, flipped, integer

BASE: Final = ("manaflow",)
"""The chain of tests/declared_chain.py."""
DECLARED: Final[list[Operator]] = []
"""Every operator of this module."""
Change = Callable[[Draft, random.Random], None]


def _register(name: str, change: Change, *, free: bool = False) -> None:
    def make(block: Block, rng: random.Random) -> Block:
        draft = Draft.of(block)
        try:
            change(draft, rng)
        except (LookupError, OverflowError) as error:
            raise Impossible(name) from error
        return sealed(draft)

    DECLARED.append(Operator(name, make, free))


def _declared(draft: Draft) -> list[tuple[int, DeclaredTransaction]]:
    """(place among the signed, transaction) of every declared one."""
    decoded = enumerate(decode_envelope(draft[t].envelope or b"") for t in draft.signed)
    return [(i, found) for i, found in decoded if isinstance(found, DeclaredTransaction)]


def _sign(draft: Draft, i: int, transaction: DeclaredTransaction) -> Transaction:
    """Let its sender sign it; the moves that fill it stay."""
    chain, moves = sealed_chain(), tuple(sorted(transaction.moves, key=lambda form: form.sort_key))
    made = draft[draft.signed[i]]
    made.envelope = chain.producer.signed(replace(transaction, moves=moves), chain.calls[i].sender)
    return made


# ---- signed again, by the sender ----


def _sign_field(name: str, falsify: Callable[[Any, random.Random], Any]) -> Change:
    def change(draft: Draft, rng: random.Random) -> None:
        i, transaction = rng.choice(_declared(draft))
        _sign(draft, i, replace(transaction, **{name: falsify(getattr(transaction, name), rng)}))

    return change


def _sign_form(edit: Callable[[NamedMove, random.Random], NamedMove]) -> Change:
    """One of the signed moves is signed otherwise."""

    def change(draft: Draft, rng: random.Random) -> None:
        i, transaction = rng.choice([(i, t) for i, t in _declared(draft) if t.moves])
        forms = list(transaction.moves)
        at = rng.randrange(len(forms))
        forms[at] = edit(forms[at], rng)
        _sign(draft, i, replace(transaction, moves=tuple(forms)))

    return change


def _field_of(form: NamedMove, names: tuple[str, ...], rng: random.Random) -> str:
    bits = {"intx": Mask.INTX, "addr": Mask.ADDR, "slot": Mask.SLOT, "prev": Mask.PREV, "next": Mask.NEXT}
    return rng.choice([name for name in names if not form.mask & bits[name]])


def _other_word(*names: str) -> Callable[[NamedMove, random.Random], NamedMove]:
    def edit(form: NamedMove, rng: random.Random) -> NamedMove:
        name, way = _field_of(form, names, rng), rng.choice(list(WORDS.values()))
        return replace(form, **{name: way(getattr(form, name), rng)})

    return edit


def _other_mask(form: NamedMove, rng: random.Random) -> NamedMove:
    """More or less of the move is signed than the filled one says."""
    mask = form.mask ^ rng.choice((1, 2, 4))
    if mask & UNSIGNED == UNSIGNED:
        raise LookupError("nothing of it would be signed")
    return masked(replace(form, mask=mask))


def _delete_form(draft: Draft, rng: random.Random) -> None:
    i, transaction = rng.choice([(i, t) for i, t in _declared(draft) if t.moves])
    at = rng.randrange(len(transaction.moves))
    _sign(draft, i, replace(transaction, moves=transaction.moves[:at] + transaction.moves[at + 1 :]))


def _duplicate_form(draft: Draft, rng: random.Random) -> None:
    i, transaction = rng.choice([(i, t) for i, t in _declared(draft) if t.moves])
    _sign(draft, i, replace(transaction, moves=(*transaction.moves, rng.choice(transaction.moves))))


def _demand_guard(draft: Draft, rng: random.Random) -> None:
    """A guard that no filler has set."""
    i, transaction = rng.choice(_declared(draft))
    guard = NamedMove(
        int(Mask.REFERENCE | Mask.GUARD | Mask.INTX | Mask.PREV | Mask.NEXT), Mark.STORAGE, ZERO32, rng.randbytes(20),
        rng.randbytes(32), ZERO32, ZERO32,
    )  # fmt: skip
    _sign(draft, i, replace(transaction, moves=(*transaction.moves, guard)))


def _expire(draft: Draft, rng: random.Random) -> None:
    i, transaction = rng.choice(_declared(draft))
    _sign(draft, i, replace(transaction, valid_until=rng.randrange(1, draft.header.number)))


def _close(draft: Draft, rng: random.Random) -> None:
    """No longer open, although a filler has added moves."""
    i, transaction = rng.choice([(i, t) for i, t in _declared(draft) if t.is_open and _has_unsigned(draft, i)])
    _sign(draft, i, replace(transaction, flags=transaction.flags & ~Flag.OPEN))


def _has_unsigned(draft: Draft, i: int) -> bool:
    return any(move.mask & UNSIGNED == UNSIGNED for move in draft[draft.signed[i]].moves)


def _forbid_failure(draft: Draft, rng: random.Random) -> None:
    i, transaction = rng.choice([(i, t) for i, t in _declared(draft) if not draft[draft.signed[i]].leaf.status])
    _sign(draft, i, replace(transaction, flags=transaction.flags | Flag.MUST_SUCCEED))


for _name, _bits in (("chain_id", 40), ("nonce", 40), ("gas_limit", 12), ("value", 70), ("max_fee", 30)):
    for _way in ("flip", "more", "top"):
        _register(
            f"signed.{_name}.{_way}", _sign_field(_name, integer(_bits)[_way]), free=_name in ("gas_limit", "max_fee")
        )
_register("signed.to.random", _sign_field("to", WORDS["random"]))
_register("signed.data.more", _sign_field("data", lambda data, rng: data + rng.randbytes(9)))
_register("signed.valid_until.past", _expire)
_register("signed.valid_until.future", _sign_field("valid_until", lambda last, rng: 10**6), free=True)
_register("signed.flags.closed", _close)
_register("signed.flags.must_succeed", _forbid_failure)
_register("signed.flags.flip", _sign_field("flags", lambda flags, rng: flags ^ rng.choice((1, 2, 3))), free=True)
for _k in range(4):
    _register(f"signed_move.intx.{_k}", _sign_form(_other_word("intx")))
    _register(f"signed_move.place.{_k}", _sign_form(_other_word("addr", "slot")))
    _register(f"signed_move.values.{_k}", _sign_form(_other_word("prev", "next")))
    _register(f"signed_move.mask.{_k}", _sign_form(_other_mask))
_register("signed_length.too_long", _sign_field("data", lambda data, rng: data + rng.randbytes(MAX_SIGNED_BYTES)))
_register("signed_moves.delete", _delete_form)
_register("signed_moves.duplicate", _duplicate_form)
_register("signed_moves.guard", _demand_guard)


# ---- changed by whoever fills ----


def _pick(draft: Draft, rng: random.Random, test: Callable[[Move], bool]) -> tuple[Transaction, int]:
    places = [draft.signed[i] for i, _ in _declared(draft)]
    found = [(t, k) for t in places for k, move in enumerate(draft[t].moves) if test(move)]
    t, k = rng.choice(found)
    return draft[t], k


def _is_signed(move: Move) -> bool:
    return move.mask & UNSIGNED != UNSIGNED


def _mask_bit(draft: Draft, rng: random.Random) -> None:
    transaction, k = _pick(draft, rng, _is_signed)
    transaction.change(k, mask=transaction.moves[k].mask ^ 1 << rng.randrange(8))


def _claim_signature(draft: Draft, rng: random.Random) -> None:
    transaction, k = _pick(draft, rng, lambda move: not _is_signed(move))
    transaction.change(k, mask=transaction.moves[k].mask & ~rng.randrange(1, 64))


def _disown(draft: Draft, rng: random.Random) -> None:
    transaction, k = _pick(draft, rng, _is_signed)
    transaction.change(k, mask=int(transaction.moves[k].mask & Mask.REFERENCE | UNSIGNED))


def _drop_guard(draft: Draft, rng: random.Random) -> None:
    transaction, k = _pick(draft, rng, lambda move: bool(move.mask & Mask.GUARD))
    del transaction.moves[k]


def _set_guard(draft: Draft, rng: random.Random) -> None:
    """A guard that nobody signed, on what nobody has touched."""
    move = virgin(Mark.STORAGE, rng.randbytes(20), rng.randbytes(32))
    places = [draft.signed[i] for i, _ in _declared(draft)]
    draft[rng.choice(places)].add(replace(move, mask=int(move.mask | Mask.GUARD)))


def _open_move(draft: Draft, rng: random.Random) -> None:
    places = [draft.signed[i] for i, _ in _declared(draft)]
    draft[rng.choice(places)].add(virgin(Mark.STORAGE, rng.randbytes(20), rng.randbytes(32)))


def _another_cell(draft: Draft, rng: random.Random) -> None:
    """Guards name other cells: their values fit what was signed, or are as free."""
    transaction, k = _pick(draft, rng, lambda move: bool(move.mask & Mask.GUARD))
    transaction.change(k, number=rng.randrange(1, draft.header.first_cell))


def _crowd(draft: Draft, rng: random.Random) -> None:
    """More moves than one transaction may have, a system one perhaps."""
    transaction, addr = rng.choice(draft.transactions), rng.randbytes(20)
    missing = MAX_MOVES + 1 + rng.randrange(9) - len(transaction.moves)
    transaction.add(*(virgin(Mark.STORAGE, addr, i.to_bytes(32, "big")) for i in range(missing)))


def _fail(draft: Draft, rng: random.Random) -> None:
    i, _ = rng.choice(_declared(draft))
    transaction = draft[draft.signed[i]]
    transaction.say(status=1 - transaction.leaf.status)


def _edit_items(edit: Callable[[dict[str, Any], random.Random], object]) -> Change:
    """Items of an envelope after it was signed."""

    def change(draft: Draft, rng: random.Random) -> None:
        i, _ = rng.choice(_declared(draft))
        transaction = draft[draft.signed[i]]
        items = declared_items(transaction.envelope)
        edit(items, rng)
        transaction.envelope = encode_declared_items(items)

    return change


def _flip_item(items: dict[str, Any], rng: random.Random) -> None:
    name = rng.choice([name for name, value in items.items() if isinstance(value, bytes) and value])
    items[name] = flipped(items[name], rng)


def _flip_move_item(items: dict[str, Any], rng: random.Random) -> None:
    move = rng.choice(items["moves"])
    at = rng.choice([at for at, value in enumerate(move) if value])
    move[at] = flipped(move[at], rng)


for _k in range(2):
    _register(f"filled.mask.flip_{_k}", _mask_bit)
    _register(f"filled.mask.claim_{_k}", _claim_signature)
    _register(f"declared_envelope.item_{_k}", _edit_items(_flip_item))
    _register(f"declared_envelope.move_{_k}", _edit_items(_flip_move_item))
_register("filled.mask.disown", _disown)
_register("filled.guard.drop", _drop_guard)
_register("filled.guard.set", _set_guard)
_register("filled.guard.another_cell", _another_cell)
_register("filled.moves.open", _open_move)
_register("filled.size.too_many", _crowd)
_register("filled.status.other", _fail)
_register("declared_envelope.addr_of_zeros", _edit_items(lambda items, rng: items.update(to=ZERO20)))
