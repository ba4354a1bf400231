"""X2, X3 and X4: what is asked of an execution once it has run within its moves (docs/SPEC.md, section 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from manaflow.errors import Rule, Verdict
from manaflow.moves.leaf import Outcome
from manaflow.moves.marks import Location, Mask, Move


class Used(Protocol):
    """One location that an execution used, with its values before and after (32 bytes each); evm.executor.Use."""

    @property
    def location(self) -> Location:
        """(mark, addr, slot)."""
        ...

    @property
    def prev(self) -> bytes:
        """The value before."""
        ...

    @property
    def next(self) -> bytes:
        """The value afterwards."""
        ...


def check_x2(moves: Sequence[Move], uses: Iterable[Used]) -> None:
    """X2: every consumed location is left at its next, and every other one unchanged.

    `moves` fulfil M1 (one move per location). Raises Verdict(X2) with the move, what the execution leaves
    (expected) and what the move says (actual).
    """
    after = {use.location: use for use in uses}
    for i, move in enumerate(moves):
        use = after.pop(move.location, None)
        before, left = (move.prev, move.prev) if use is None else (use.prev, use.next)
        if left != move.next:
            raise Verdict(Rule.X2, "value after the execution", move=i, expected=left, actual=move.next)
        if before != move.prev:  # only at a slot of an account that the transaction creates: it is 0 by rule
            raise Verdict(Rule.X2, "value before the execution", move=i, expected=before, actual=move.prev)
    for use in after.values():
        if use.next != use.prev:
            raise Verdict(Rule.X2, "a location without a move changed", expected=use.next, actual=use.prev)


def check_x3(declared: Outcome, executed: Outcome) -> None:
    """X3: status, gas used and logs hash are those that the execution yields."""
    for what, expected, actual in (
        ("status", executed.status, declared.status),
        ("gas used", executed.gas_used, declared.gas_used),
        ("logs hash", executed.logs_hash, declared.logs_hash),
    ):
        if actual != expected:
            raise Verdict(Rule.X3, what, expected=expected, actual=actual)


def check_x4(moves: Sequence[Move], uses: Iterable[Used]) -> None:
    """X4: nothing is declared beyond what the execution used, except guards, which are references."""
    used = {use.location for use in uses}
    for i, move in enumerate(moves):
        is_guard = move.is_reference and bool(move.mask & Mask.GUARD)
        if move.location not in used and not is_guard:
            raise Verdict(Rule.X4, "declared and not used, and no guard", move=i, actual=_named(move.location))


def _named(location: Location) -> str:
    mark, addr, slot = location
    return f"{chr(mark)} 0x{addr.hex()} slot 0x{slot.hex()}"
