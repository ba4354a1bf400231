"""Each of the six fields of a signed move: filled otherwise though it is signed, and filled wrongly where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from manaflow.errors import Rule
from manaflow.moves.marks import ZERO32, Location, Mark, Mask
from manaflow.moves.transactions import DECLARED_TYPE
from tests.catalogue.case import MANAFLOW, Case, Lie, Maker, add
from tests.catalogue.declared import IDENTIFIED, NOT_SIGNED, place, sign_again, transaction_at
from tests.catalogue.dishonest import Draft, sealed
from tests.chain import word
from tests.declared import masked
from tests.declared_chain import COUNT, COUNTER, FLAG

NOBODY: Final = b"\x0c" * 20
"""An account that nothing has touched."""
FIELDS: Final = {
    "intx": Mask.INTX, "prev": Mask.PREV, "next": Mask.NEXT, "slot": Mask.SLOT, "addr": Mask.ADDR, "mark": Mask.MARK,
}  # fmt: skip


def sign_with_mask(case: Case, draft: Draft, t: int, location: Location, mask: int) -> int:
    """Let the sender of t mask its move at a location so, and whoever names t as a maker sign t's new id."""
    i, before = place(draft, t, location), transaction_at(draft, t)
    mask = int(draft[t].moves[i].mask & Mask.REFERENCE | mask)
    (form,) = [form for form in before.moves if form.location == location]
    others = tuple(other for other in before.moves if other != form)
    sign_again(case, draft, t, moves=(*others, masked(replace(form, mask=mask))))
    draft[t].change(i, mask=mask)
    _rename(case, draft, before.txid, transaction_at(draft, t).txid)
    return i


def _rename(case: Case, draft: Draft, before: bytes, after: bytes) -> None:
    """A transaction has another id: whoever has signed the old one as a maker signs the new one."""
    for t in draft.signed:
        if (draft[t].envelope or b"")[:1] == bytes([DECLARED_TYPE]):
            forms = transaction_at(draft, t).moves
            if any(form.intx == before for form in forms):
                renamed = (replace(form, intx=after) if form.intx == before else form for form in forms)
                sign_again(case, draft, t, moves=tuple(renamed))


# ---- signed, and filled otherwise: S2 (the maker: V1, in declared.py) ----


def signed_field(**lie: Any) -> Maker:
    """A block whose filler changes a field of a move of which everything is signed."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        i = place(draft, IDENTIFIED, COUNT)
        assert draft[IDENTIFIED].moves[i].mask == 0
        draft[IDENTIFIED].change(i, **lie)
        changed = draft[IDENTIFIED].moves[i]
        draft[IDENTIFIED].sort()
        return Lie(sealed(draft), IDENTIFIED, draft[IDENTIFIED].moves.index(changed))

    return make


for _name, _lie in (
    ("prev", word(9)), ("next", word(9)), ("slot", word(9)), ("addr", NOBODY), ("mark", int(Mark.NONCE)),
):  # fmt: skip
    add(f"signed_{_name}_filled_otherwise", Rule.S2, NOT_SIGNED, signed_field(**{_name: _lie}), MANAFLOW)


# ---- masked, and not what the chain has: V1 ----


def masked_field(field: str, reason: str, lie: Callable[[Case], dict[str, Any]]) -> None:
    """Register a block in which one field of a move is masked, all others are signed, and the fill contradicts V."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        i = sign_with_mask(case, draft, IDENTIFIED, COUNT, FIELDS[field])
        draft[IDENTIFIED].change(i, **lie(case))
        changed = draft[IDENTIFIED].moves[i]
        draft[IDENTIFIED].sort()
        return Lie(sealed(draft), IDENTIFIED, draft[IDENTIFIED].moves.index(changed))

    add(f"masked_{field}_filled_with_another", Rule.V1, reason, make, MANAFLOW)


masked_field("intx", "location of cell", lambda case: {"number": case.cells[FLAG][0]})
masked_field("prev", "value of cell", lambda case: {"prev": word(99)})
masked_field("slot", "location of cell", lambda case: {"slot": word(9)})
masked_field("addr", "location of cell", lambda case: {"addr": NOBODY})
masked_field("mark", "location of cell", lambda case: {"mark": int(Mark.NONCE)})


# ---- masked, and such that only an execution tells: X1, X2 ----


def _shift(draft: Draft, by: int) -> None:
    """Let all who use the counter after IDENTIFIED find another count, so that nothing but an execution is wrong."""
    for t, i in draft.uses(COUNT):
        if t > IDENTIFIED:
            move = draft[t].moves[i]
            values = {name: word(int.from_bytes(getattr(move, name), "big") + by) for name in ("prev", "next")}
            draft[t].change(i, **values)


def masked_elsewhere(bit: Mask, location: Callable[[Case], Location]) -> Maker:
    """A block in which a move's field is masked, and filled so that the move is of another, honest cell."""

    def make(case: Case) -> Lie:
        draft, where = case.draft(), location(case)
        i = sign_with_mask(case, draft, IDENTIFIED, COUNT, int(bit | Mask.INTX | Mask.PREV | Mask.NEXT))
        number, value = case.cells.get(where, (0, ZERO32))
        after = word(int.from_bytes(value, "big") + 1)
        mark, addr, slot = where
        draft[IDENTIFIED].change(i, number=number, mark=mark, addr=addr, slot=slot, prev=value, next=after)
        draft[IDENTIFIED].sort()
        _shift(draft, -1)
        draft.sources.setdefault(where, number)
        draft.renumber()
        return Lie(sealed(draft), IDENTIFIED)

    return make


def masked_next(case: Case) -> Lie:
    """The counter is said to go up by two, and everybody after it goes on from there."""
    draft = case.draft()
    i = sign_with_mask(case, draft, IDENTIFIED, COUNT, int(Mask.NEXT))
    after = int.from_bytes(draft[IDENTIFIED].moves[i].next, "big")
    draft[IDENTIFIED].change(i, next=word(after + 1))
    _shift(draft, 1)
    return Lie(sealed(draft), IDENTIFIED, i)


add("masked_next_filled_with_another", Rule.X2, "value after the execution", masked_next, MANAFLOW)
for _name, _where in (
    ("slot", lambda case: (Mark.STORAGE, COUNTER, word(9))),
    ("addr", lambda case: (Mark.STORAGE, NOBODY, ZERO32)),
    ("mark", lambda case: (Mark.NONCE, COUNTER, ZERO32)),
):
    add(
        f"masked_{_name}_filled_with_an_honest_cell",
        Rule.X1,
        "undeclared access",
        masked_elsewhere(FIELDS[_name], _where),
        MANAFLOW,
    )
