"""Does a fill bear out what a declared transaction signs (S2, S3)? And if not, which signed field contradicts what?

`fit` is pure. Whatever it accepts, `rules.declared` accepts: it ends with the rules' own judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32, Location, Mark, Mask, Move
from manaflow.moves.transactions import DeclaredTransaction, NamedMove
from manaflow.rules.declared import signed_intx
from manaflow.rules.moves import named

CellAt = Callable[[Location], tuple[bytes, bytes] | None]
"""(intx, value) of the cell that lives at a location where the transaction stands; None if nothing can be there."""

MAX_STEPS: Final = 1 << 16
"""Comparisons of signed forms with moves before a fit is given up: forms without a location can be made to fight."""
# Plain ints: an operation on an IntFlag costs ten times one on an int, and these run for each comparison.
_INTX, _PREV, _NEXT = int(Mask.INTX), int(Mask.PREV), int(Mask.NEXT)
_MARK, _ADDR, _SLOT = int(Mask.MARK), int(Mask.ADDR), int(Mask.SLOT)
_LOCATION: Final = _MARK | _ADDR | _SLOT
_REFERENCE: Final = int(Mask.REFERENCE)
_NAMED: Final = ((_INTX, "intx"), (_PREV, "prev"), (_NEXT, "next"))
_REMEDY: Final = {
    "prev": ("prev", "mask prev"),
    "next": ("next", "mask next"),
    "intx": ("intx", "mask intx"),
    "location": ("the signed move", "flag open"),
    "direction": ("the signed move", "flag open"),
    "guard": ("the guard",),
    "open": ("sign the move", "flag open"),
    "status": ("the call", "flag must succeed"),
}


@dataclass(frozen=True, slots=True)
class Fit:
    """How the signed moves stand in a fill."""

    masks: bytes
    """One mask per filled move."""
    guards: tuple[NamedMove, ...]
    """References to add, which the execution does not use, in M5's order."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a fill does not bear out what is signed."""

    field: str
    """As in messages.Notice."""
    location: Location | None
    expected: bytes | None
    """What is signed."""
    actual: bytes | None
    """What the fill has."""
    maker: bytes | None
    """Txid of the transaction that made the cell as it is; None where there is no such cell, or a virgin one."""
    detail: str

    @property
    def may_change(self) -> tuple[str, ...]:
        """What to sign anew, or to mask, for a fill to fit."""
        return _REMEDY[self.field]


def fit(transaction: DeclaredTransaction, moves: Sequence[NamedMove], status: int, cell_at: CellAt) -> Fit | Misfit:
    """Give each signed form a filled move, and every guard its cell; what is left over must be allowed (`open`).

    moves: what the execution used, in M5's order, with masks UNSIGNED and REFERENCE only. status: its outcome.
    The same answer for the same arguments: forms are served in their order, by the first move that they fit.
    """
    fitting = _Fitting(transaction, moves, cell_at)
    if transaction.must_succeed and status != 1:
        failed = Misfit("status", None, None, None, None, "the call fails on this state, and must succeed")
        return fitting.cause() or failed
    return fitting.run()


class _Fitting:
    """The work of one `fit`."""

    def __init__(self, transaction: DeclaredTransaction, moves: Sequence[NamedMove], cell_at: CellAt) -> None:
        self.transaction, self.moves, self.cell_at = transaction, moves, cell_at
        self.rows = {move.location: i for i, move in enumerate(moves)}
        self.holder: dict[int, int] = {}
        """Row of a filled move -> place of the signed form that it bears out."""
        self.guards: dict[Location, NamedMove] = {}
        self.steps = 0

    def run(self) -> Fit | Misfit:
        forms = self.transaction.moves
        for place in sorted(range(len(forms)), key=lambda i: bool(forms[i].mask & _LOCATION)):  # exact ones first
            misfit = self._guard(place) if forms[place].mask & Mask.GUARD else self._serve(place)
            if misfit is not None:
                return misfit if misfit.field == "guard" else self.cause() or misfit
        return self._unsigned() or self._judged()

    def cause(self) -> Misfit | None:
        """The first cell that is another than what is signed: it made the call do other things, and its maker won."""
        for form in self.transaction.moves:
            row = None if form.mask & _LOCATION else self.rows.get(form.location)
            misfit = None if row is None else self._named_misfit(form, self.moves[row])
            if misfit is not None and misfit.field != "next":
                return misfit
        return None

    def _candidates(self, form: NamedMove) -> Sequence[int]:
        """Rows that may bear out a form: one at most where the location is signed (M1)."""
        if form.mask & _LOCATION:
            return range(len(self.moves))
        row = self.rows.get(form.location)
        return () if row is None else (row,)

    def _serve(self, place: int) -> Misfit | None:
        """Find a form its move; others may have to step aside (an augmenting path)."""
        return None if self._assign(place) else self._why_not(self.transaction.moves[place])

    def _assign(self, start: int) -> bool:
        """Breadth first, so that the first move that fits is taken unless another form needs it."""
        came: dict[int, tuple[int, int | None]] = {}
        queue: list[tuple[int, int | None]] = [(start, None)]
        for place, row_before in queue:
            form = self.transaction.moves[place]
            for row in self._candidates(form):
                self.steps += 1
                if self.steps > MAX_STEPS:
                    return False
                if row in came or not _bears_out(self.moves[row], form):
                    continue
                came[row] = (place, row_before)
                if row not in self.holder:
                    self._take(row, came)
                    return True
                queue.append((self.holder[row], row))
        return False

    def _take(self, row: int | None, came: dict[int, tuple[int, int | None]]) -> None:
        while row is not None:
            place, before = came[row]
            self.holder[row] = place
            row = before

    def _guard(self, place: int) -> Misfit | None:
        """A guard is the reference that the execution makes there anyway, or one more, on the cell that lives."""
        form = self.transaction.moves[place]
        row = self.rows.get(form.location)
        if row is not None:
            move = self.moves[row]
            if not move.is_reference:
                return self._misfit("guard", form, move, "the call itself consumes a guarded cell")
            if row in self.holder:
                return self._misfit("guard", form, move, "two signed moves name one location")
            self.holder[row] = place
            return self._named_misfit(form, move)
        if form.location in self.guards:
            return self._misfit("guard", form, self.guards[form.location], "two guards name one location")
        cell = self.cell_at(form.location) if _can_be(form.location) else None
        if cell is None:
            return self._misfit("guard", form, None, "no cell can be where a guard is")
        intx, value = cell
        move = NamedMove(form.mask, form.mark, intx, form.addr, form.slot, value, value)
        self.guards[form.location] = move
        return self._named_misfit(form, move)

    def _why_not(self, form: NamedMove) -> Misfit:
        """The nearest thing to a form, and the field in which they differ."""
        if form.mask & _LOCATION:
            return self._misfit("location", form, None, "no use of the call is left that fits a signed move")
        row = self.rows.get(form.location)
        if row is None:
            return self._misfit("location", form, None, "the call does not use what a signed move names")
        move = self.moves[row]
        if move.is_reference != form.is_reference:
            does = "only reads" if move.is_reference else "changes"
            return self._misfit("direction", form, move, f"the call {does} what a signed move names")
        twice = self._misfit("location", form, move, "two signed moves name one location")
        return self._named_misfit(form, move) or twice

    def _named_misfit(self, form: NamedMove, move: NamedMove) -> Misfit | None:
        """The first of intx, prev and next that is signed and another."""
        for bit, name in _NAMED:
            signed, found = getattr(form, name), getattr(move, name)
            if not form.mask & bit and signed != found:
                what = f"the {name} that is signed is not what the state has"
                return self._misfit(name, form, move, what, signed, found)
        return None

    def _misfit(
        self,
        field: str,
        form: NamedMove,
        move: NamedMove | None,
        what: str,
        expected: bytes | None = None,
        actual: bytes | None = None,
    ) -> Misfit:
        location = None if form.mask & _LOCATION else form.location
        where = "" if location is None else f": {named(location)}"
        maker = move.intx if move is not None and move.intx != ZERO32 else None
        return Misfit(field, location, expected, actual, maker, what + where)

    def _unsigned(self) -> Misfit | None:
        """S3: moves that nobody signed only in an open transaction."""
        if self.transaction.is_open or len(self.holder) == len(self.moves):
            return None
        move = next(move for row, move in enumerate(self.moves) if row not in self.holder)
        maker = move.intx if move.intx != ZERO32 else None
        what = f"the call uses what nobody signed, and the transaction is not open: {named(move.location)}"
        return Misfit("open", move.location, None, None, maker, what)

    def _judged(self) -> Fit | Misfit:
        """The masks, once more by the rule; a signed maker must be the cell's in the order that the rule gives."""
        forms = self.transaction.moves
        masks = bytes(
            forms[self.holder[row]].mask if row in self.holder else move.mask for row, move in enumerate(self.moves)
        )
        guards = tuple(self.guards[location] for location in sorted(self.guards))
        moves = ordered([*(replace(move, mask=mask) for move, mask in zip(self.moves, masks, strict=True)), *guards])
        for row, intx in signed_intx(self.transaction, [sealed(move) for move in moves]).items():
            if moves[row].intx != intx:
                found = moves[row]
                return self._misfit("intx", found, found, "the maker that is signed is another", intx, found.intx)
        return Fit(masks, guards)


def _bears_out(move: NamedMove, form: NamedMove) -> bool:
    """Equal in direction and in every signed field."""
    mask = form.mask
    return not (
        (mask ^ move.mask) & _REFERENCE
        or (not mask & _SLOT and move.slot != form.slot)
        or (not mask & _ADDR and move.addr != form.addr)
        or (not mask & _MARK and move.mark != form.mark)
        or (not mask & _PREV and move.prev != form.prev)
        or (not mask & _NEXT and move.next != form.next)
        or (not mask & _INTX and move.intx != form.intx)
    )


def _can_be(location: Location) -> bool:
    """M4 of a location by itself."""
    mark, addr, slot = location
    if mark == Mark.BLOCKHASH:
        return addr == ZERO20
    return mark == Mark.STORAGE or (mark in (Mark.BALANCE, Mark.CODE, Mark.NONCE) and slot == ZERO32)


def ordered(moves: Sequence[NamedMove]) -> list[NamedMove]:
    """Moves in M5's order."""
    return sorted(moves, key=lambda move: (move.is_reference, move.location))


def sealed(move: NamedMove) -> Move:
    """A named move as rules see it in a block; its number, which no signature covers, is left 0."""
    return Move(move.mask, move.mark, 0, move.addr, move.slot, move.prev, move.next)


def is_masked_whole(transaction: DeclaredTransaction) -> bool:
    """True if any fill with status 1 fits: nothing signed, everything open."""
    return transaction.is_open and not transaction.moves


def unsigned_mask(is_reference: bool) -> int:
    """The mask of a move that nobody signed."""
    return UNSIGNED | (Mask.REFERENCE if is_reference else 0)
