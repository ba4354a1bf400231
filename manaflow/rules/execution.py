"""X2 to X5: what is asked of an execution that runs within its moves (docs/SPEC.md, section 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from manaflow.errors import Rule, Verdict
from manaflow.moves.leaf import Outcome
from manaflow.moves.marks import Location, Mask, Move
from manaflow.rules.config import Profile

MAX_GAS_LIMIT: Final = 2**24
"""Of a transaction in profile `manaflow` (EIP-7825)."""
MAX_CODE_BYTES: Final = 2**20
"""Of the distinct codes that a transaction may use in profile `manaflow`."""


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


def check_x5(profile: Profile, gas_limit: int, code_bytes: int) -> None:
    """X5 (`manaflow`): a proof of the transaction's execution stays small, and cheap to verify.

    code_bytes: of the distinct codes whose bytes the execution used and that stood in cells before it.
    """
    check_x5_gas(profile, gas_limit)
    check_x5_code(profile, code_bytes)


def check_x5_gas(profile: Profile, gas_limit: int) -> None:
    """X5, the part that needs no execution."""
    if profile == Profile.MANAFLOW and gas_limit > MAX_GAS_LIMIT:
        raise Verdict(Rule.X5, f"a gas limit of more than {MAX_GAS_LIMIT}", actual=gas_limit)


def check_x5_code(profile: Profile, code_bytes: int) -> None:
    """X5, the part that an execution shows; executors stop by it at the first code that is too much."""
    if profile == Profile.MANAFLOW and code_bytes > MAX_CODE_BYTES:
        raise Verdict(Rule.X5, f"more than {MAX_CODE_BYTES} bytes of distinct code", actual=code_bytes)


def _named(location: Location) -> str:
    mark, addr, slot = location
    return f"{chr(mark)} 0x{addr.hex()} slot 0x{slot.hex()}"
