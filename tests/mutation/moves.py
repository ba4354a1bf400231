"""Mutations of moves: every column, their list, and the state that they name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32, Location, Mark, Mask, Move
from tests.catalogue.case import virgin
from tests.catalogue.dishonest import Draft, Transaction
from tests.mutation.operators import WORDS, Change, flipped, integer, pick, register, renumbered


def change_move(name: str, falsify: Callable[[Any, random.Random], Any], sort: bool, renumber: bool) -> Change:
    def change(draft: Draft, rng: random.Random) -> None:
        transaction = pick(draft, rng)
        i = rng.randrange(len(transaction.moves))
        transaction.change(i, **{name: falsify(getattr(transaction.moves[i], name), rng)})
        if sort:
            transaction.sort()
        if renumber:
            draft.renumber()

    return change


def _register_moves() -> None:
    for name in ("addr", "slot", "prev", "next"):
        for way, falsify in WORDS.items():
            register(f"move.{name}.{way}", change_move(name, falsify, sort=False, renumber=False))
            if name in ("addr", "slot"):
                register(f"move.{name}.{way}_sorted", change_move(name, falsify, sort=True, renumber=True))
    for bits, name in ((8, "mask"), (8, "mark"), (48, "number")):
        for way, change in integer(bits).items():
            register(f"move.{name}.{way}", change_move(name, change, sort=False, renumber=False))
    marks = [int(mark) for mark in Mark]
    register("move.mark.other", change_move("mark", lambda mark, rng: rng.choice(marks), sort=True, renumber=True))
    register("move.number.stolen", _steal("number", "prev"))
    register("move.number.spent", _steal("number"))
    register("move.prev_and_next.random", _both)
    for name in ("prev", "next", "addr", "slot", "mark", "mask"):
        register(f"move.{name}.of_another", _steal(name))


def _steal(*names: str) -> Change:
    """Fields of one move become those of another one, of an earlier use of its location if there is one."""

    def change(draft: Draft, rng: random.Random) -> None:
        transaction = pick(draft, rng)
        i = rng.randrange(len(transaction.moves))
        move = transaction.moves[i]
        uses = [draft[t].moves[k] for t, k in draft.uses(move.location) if draft[t].moves[k].number != move.number]
        other = rng.choice(uses or pick(draft, rng).moves)
        transaction.change(i, **{name: getattr(other, name) for name in names})

    return change


def _both(draft: Draft, rng: random.Random) -> None:
    """Another value before and after, by the same difference: nothing but V1 or X can tell."""
    transaction = pick(draft, rng)
    i = rng.randrange(len(transaction.moves))
    move = transaction.moves[i]
    transaction.change(i, prev=WORDS["next"](move.prev, rng), next=WORDS["next"](move.next, rng))


_register_moves()


# ---- moves as a list ----


def _delete_move(draft: Draft, rng: random.Random) -> None:
    transaction = pick(draft, rng)
    del transaction.moves[rng.randrange(len(transaction.moves))]


def _duplicate_move(draft: Draft, rng: random.Random) -> None:
    transaction = pick(draft, rng)
    i = rng.randrange(len(transaction.moves))
    transaction.moves.insert(i, transaction.moves[i])


def _copy_move(draft: Draft, rng: random.Random) -> None:
    """A move of one transaction in another one, too."""
    pick(draft, rng).add(rng.choice(pick(draft, rng).moves))


def _swap_moves(draft: Draft, rng: random.Random) -> None:
    moves = pick(draft, rng).moves
    i, k = rng.sample(range(len(moves)), 2) if len(moves) > 1 else (0, 0)
    moves[i], moves[k] = moves[k], moves[i]


def _insert_virgin(draft: Draft, rng: random.Random) -> None:
    """A reference to what nobody has ever touched: only X4 tells."""
    pick(draft, rng).add(virgin(Mark.STORAGE, rng.randbytes(20), rng.randbytes(32)))


def _insert_e(draft: Draft, rng: random.Random) -> None:
    asked = (draft.header.number - rng.choice((0, 1, 2, 3, 200, 256, 257))).to_bytes(32, "big")
    shown = rng.randbytes(32)
    pick(draft, rng).add(Move(UNSIGNED | Mask.REFERENCE, Mark.BLOCKHASH, 0, ZERO20, asked, shown, shown))


def _insert_consume(draft: Draft, rng: random.Random) -> None:
    pick(draft, rng).add(Move(UNSIGNED, Mark.STORAGE, 0, rng.randbytes(20), ZERO32, ZERO32, rng.randbytes(32)))


def _insert_code(draft: Draft, rng: random.Random) -> None:
    pick(draft, rng).add(Move(UNSIGNED, Mark.CODE, 0, rng.randbytes(20), ZERO32, ZERO32, rng.randbytes(32)))


def _move_away(draft: Draft, rng: random.Random) -> None:
    """A move stands in another transaction."""
    source = pick(draft, rng)
    move = source.moves.pop(rng.randrange(len(source.moves)))
    pick(draft, rng).add(move)


for _name, _change in {
    "delete": _delete_move, "duplicate": _duplicate_move, "copy": _copy_move, "swap": _swap_moves,
    "insert_virgin": _insert_virgin, "insert_e": _insert_e, "insert_consume": _insert_consume,
    "insert_code": _insert_code, "elsewhere": _move_away,
}.items():  # fmt: skip
    register(f"moves.{_name}", _change)
    register(f"moves.{_name}_renumbered", renumbered(_change))


# ---- state ----


def _stored(draft: Draft, rng: random.Random, test: Callable[[Move], bool]) -> tuple[Transaction, int]:
    """A storage move of a signed transaction that passes a test."""
    found = [(t, i) for t, i, move in draft.places() if move.mark == Mark.STORAGE and test(move)]
    t, i = rng.choice([place for place in found if draft[place[0]].envelope is not None])
    return draft[t], i


def _use_again(reference: bool) -> Change:
    """A move uses a cell that an earlier transaction of the block has consumed."""

    def change(draft: Draft, rng: random.Random) -> None:
        spent: dict[Location, Move] = {}
        for _, _, move in draft.places():
            if not move.is_reference and move.number:
                spent.setdefault(move.location, move)
        late = {location: move.number for location, move in spent.items()}
        transaction, i = _stored(
            draft, rng, lambda m: m.is_reference == reference and late.get(m.location, m.number) < m.number
        )
        early = spent[transaction.moves[i].location]
        transaction.change(i, number=early.number, prev=early.prev)
        if reference:
            transaction.change(i, next=early.prev)
        elif transaction.moves[i].next == early.prev:
            transaction.change(i, next=flipped(early.prev, rng))

    return change


def _refer_after(draft: Draft, rng: random.Random) -> None:
    """A reference to a cell that an earlier transaction of the block has consumed, inserted where nothing was."""
    consumes = [(t, m) for t, _, m in draft.places() if not m.is_reference and m.number]
    t, move = rng.choice([(t, m) for t, m in consumes if t + 2 < len(draft.transactions)])
    late = draft[rng.randrange(t + 1, len(draft.transactions) - 1)]
    if any(m.location == move.location for m in late.moves):
        raise LookupError("it uses the location itself")
    late.add(replace(move, mask=UNSIGNED | Mask.REFERENCE, next=move.prev))


def _claim_virgin(draft: Draft, rng: random.Random) -> None:
    """A location that has been written is claimed to be untouched."""
    transaction, i = _stored(draft, rng, lambda m: m.number != 0)
    transaction.change(i, number=0, prev=ZERO32)
    if transaction.moves[i].is_reference:
        transaction.change(i, next=ZERO32)
    elif transaction.moves[i].next == ZERO32:
        transaction.change(i, next=rng.randbytes(32))


register("state.consume.again", _use_again(reference=False))
register("state.reference.again", _use_again(reference=True))
register("state.reference.too_late", _refer_after)
register("state.virgin.again", _claim_virgin)
