"""What a signature makes certain of every fill that the rules accept: each claim can say itself, and can be tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.moves.transactions import NamedMove
from manaflow.wallet.words import amount, cell_name, shown_value


@dataclass(frozen=True, slots=True)
class Fill:
    """A filled transaction in a block."""

    moves: Sequence[NamedMove]
    status: int
    gas_used: int
    base_fee: int
    """Wei per gas, of its block."""
    block: int
    """Its block's number."""

    def at(self, location: Location) -> NamedMove | None:
        """The move at a location (M1: one at most)."""
        return next((move for move in self.moves if move.location == location), None)


class Claim(Protocol):
    """Something that holds of every valid fill of what is signed."""

    def holds(self, fill: Fill) -> bool:
        """Does it hold of this one?"""
        ...

    def __str__(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Becomes:
    """A cell is used, and is exactly this afterwards."""

    location: Location
    value: bytes
    own: bool = False

    def holds(self, fill: Fill) -> bool:
        """See Claim."""
        move = fill.at(self.location)
        return move is not None and move.next == self.value

    def __str__(self) -> str:
        if self.own and self.location[0] == Mark.BALANCE:
            return f"your balance after this transaction is exactly {shown_value(self.location, self.value)}"
        return f"afterwards {cell_name(self.location)} is exactly {shown_value(self.location, self.value)}"


@dataclass(frozen=True, slots=True)
class Requires:
    """It runs only where a cell is exactly this."""

    location: Location
    value: bytes
    stays: bool
    """The transaction leaves it so (a reference)."""

    def holds(self, fill: Fill) -> bool:
        """See Claim."""
        move = fill.at(self.location)
        return move is not None and move.prev == self.value and (not self.stays or move.next == self.value)

    def __str__(self) -> str:
        rest = ", and leaves it so" if self.stays else ""
        return f"it runs only while {cell_name(self.location)} is {shown_value(self.location, self.value)}{rest}"


@dataclass(frozen=True, slots=True)
class MadeBy:
    """It runs only on the cell that one transaction made."""

    location: Location
    intx: bytes

    def holds(self, fill: Fill) -> bool:
        """See Claim."""
        move = fill.at(self.location)
        return move is not None and move.intx == self.intx

    def __str__(self) -> str:
        whom = "that nobody has written yet" if self.intx == ZERO32 else f"that transaction 0x{self.intx.hex()} made"
        return f"it uses only the cell of {cell_name(self.location)} {whom}"


@dataclass(frozen=True, slots=True)
class TouchesOnly:
    """It uses these cells and no others."""

    locations: frozenset[Location]
    others: int = 0
    """How many more, of which the signature does not say where they are."""

    def holds(self, fill: Fill) -> bool:
        """See Claim."""
        used = {move.location for move in fill.moves}
        return self.locations <= used and len(fill.moves) == len(self.locations) + self.others

    def __str__(self) -> str:
        rest = "" if not self.others else f" and {self.others} more that are left open"
        return f"it uses the {len(self.locations)} cells that are named{rest}, and no others"


@dataclass(frozen=True, slots=True)
class Succeeds:
    """It is in no block in which its call fails."""

    def holds(self, fill: Fill) -> bool:
        """See Claim."""
        return fill.status == 1

    def __str__(self) -> str:
        return "it counts only if the call succeeds: if not, nothing happens and no fee is paid"


@dataclass(frozen=True, slots=True)
class Until:
    """It is in no later block."""

    block: int

    def holds(self, fill: Fill) -> bool:
        """See Claim."""
        return fill.block <= self.block

    def __str__(self) -> str:
        return f"it is good until block {self.block}"


@dataclass(frozen=True, slots=True)
class FeeAtMost:
    """Its fee is bounded."""

    wei: int
    max_fee: int
    priority_fee: int

    def holds(self, fill: Fill) -> bool:
        """See Claim."""
        return fill.gas_used * min(self.max_fee, fill.base_fee + self.priority_fee) <= self.wei

    def __str__(self) -> str:
        return f"the fee is at most {amount(self.wei)}"


@dataclass(frozen=True, slots=True)
class PriceIs:
    """What a gas costs does not depend on the block."""

    max_fee: int
    priority_fee: int

    def holds(self, fill: Fill) -> bool:
        """See Claim."""
        return min(self.max_fee, fill.base_fee + self.priority_fee) == self.max_fee

    def __str__(self) -> str:
        return f"gas costs exactly {amount(self.max_fee)} each, whatever the block's base fee"


@dataclass(frozen=True, slots=True)
class SpendsAtMost:
    """No more ether than this leaves the sender's account."""

    sender: bytes
    value: int
    fee: int
    code_is_signed: bool
    """True if it is signed that the sender has no code; else the claim is made only of states where it has none."""
    at_least: int | None
    """What is left at least, where it is signed what the balance is before."""

    def holds(self, fill: Fill) -> bool:
        """See Claim."""
        code, balance = fill.at((Mark.CODE, self.sender, ZERO32)), fill.at((Mark.BALANCE, self.sender, ZERO32))
        if balance is None or code is None:
            return False  # X0 asks for both of every transaction
        if code.prev != ZERO32:
            return not self.code_is_signed
        before, after = int.from_bytes(balance.prev, "big"), int.from_bytes(balance.next, "big")
        value = self.value if fill.status == 1 else 0
        return before - after <= value + self.fee and (self.at_least is None or after >= self.at_least)

    def __str__(self) -> str:
        text = (
            f"at most {amount(self.value + self.fee)} leaves your balance "
            f"({amount(self.value)} of value and {amount(self.fee)} of fee)"
        )
        if self.at_least is not None:
            text += f", so that at least {amount(self.at_least)} is left"
        return text if self.code_is_signed else text + ", as long as your account has no code (EIP-7702)"
