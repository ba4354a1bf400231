"""B3, S1 and S2 of profile `manaflow`: transactions of which no proof could hold every move, or the envelope."""

from __future__ import annotations

from manaflow.errors import Rule
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Move
from manaflow.rules.leaves import MAX_MOVES
from manaflow.rules.signing import MAX_SIGNED_BYTES
from tests.catalogue.case import CODES, MANAFLOW, Case, Lie, add, entry, virgin
from tests.catalogue.declared import CLOSED, OPEN, sign_again
from tests.catalogue.dishonest import Draft, sealed
from tests.catalogue.envelopes import append_signed, signed, stranger_moves
from tests.chain import word

MOVES = "moves of one transaction"
LENGTH = "length of the envelope"


def crowd(draft: Draft, t: int, count: int = MAX_MOVES + 1) -> None:
    """Fill a transaction up to `count` moves with references to slots that nobody has touched."""
    missing = count - len(draft[t].moves)
    draft[t].add(*(virgin(Mark.STORAGE, b"\x77" * 20, word(i)) for i in range(missing)))


@entry(Rule.B3, MOVES, MANAFLOW)
def one_move_too_many(case: Case) -> Lie:
    draft = case.draft()
    crowd(draft, OPEN)
    return Lie(sealed(draft), OPEN)


@entry(Rule.B3, MOVES, MANAFLOW)
def one_consume_too_many(case: Case) -> Lie:
    """Each makes a cell."""
    draft = case.draft()
    missing = MAX_MOVES + 1 - len(draft[OPEN].moves)
    draft[OPEN].add(*(Move(UNSIGNED, Mark.STORAGE, 0, b"\x77" * 20, word(i), ZERO32, word(1)) for i in range(missing)))
    draft.renumber()
    return Lie(sealed(draft), OPEN)


@entry(Rule.B3, MOVES, MANAFLOW)
def fees_credited_beside_too_many_moves(case: Case) -> Lie:
    draft = case.draft()
    t = len(draft.transactions) - 1
    crowd(draft, t)
    return Lie(sealed(draft), t)


@entry(Rule.B3, MOVES, CODES)
def system_call_of_too_many_moves(case: Case) -> Lie:
    draft = case.draft()
    assert draft[0].envelope is None
    crowd(draft, 0, 2 * MAX_MOVES)
    return Lie(sealed(draft), 0)


@entry(Rule.B3, MOVES, MANAFLOW)
def too_many_moves_under_an_envelope_that_is_none(case: Case) -> Lie:
    """A proof of S1 would have to bring them."""
    draft = case.draft()
    crowd(draft, OPEN, 40_000)
    draft[OPEN].envelope = b"\x02"
    return Lie(sealed(draft), OPEN)


def _too_long(name: str, size: int) -> None:
    def make(case: Case) -> Lie:
        draft = case.draft()
        t = append_signed(draft, signed(case, 2, data=bytes(size)), stranger_moves())
        return Lie(sealed(draft), t)

    add(name, Rule.S1, LENGTH, make, MANAFLOW)


_too_long("envelope_of_more_than_128_kib", MAX_SIGNED_BYTES)
_too_long("envelope_of_nearly_a_mebibyte", 2**20 - 200)


@entry(Rule.S2, LENGTH, MANAFLOW)
def declared_envelope_of_more_than_128_kib(case: Case) -> Lie:
    draft = case.draft()
    sign_again(case, draft, CLOSED, data=bytes(MAX_SIGNED_BYTES))
    return Lie(sealed(draft), CLOSED)
