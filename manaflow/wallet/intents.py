"""Which mask bits a wallet sets, by intent: a table (docs/SPEC.md, section 4, S2 and S3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from manaflow.moves.marks import UNSIGNED, Location, Mark, Mask
from manaflow.moves.transactions import Flag

_VALUES: Final = int(Mask.PREV | Mask.NEXT)


class Intent(StrEnum):
    """What a signer wants of a transaction."""

    EXACT = "exact"
    """Everything fixed: it runs on the state that was shown, or not at all."""
    CONTESTED = "contested"
    """Which cells it uses is fixed, and what the signer's own hold; what others write is left to whoever fills it."""
    OPEN = "open"
    """All left to whoever fills it, as with an Ethereum transaction."""


class Kind(StrEnum):
    """What a move is to its signer."""

    OWN_NONCE = "own nonce"
    OWN_CODE = "own code"
    OWN_BALANCE = "own balance"
    TARGET_CODE = "code of the called contract"
    CODE = "other code"
    """That runs, is asked for, or is deployed."""
    BLOCKHASH = "block hash"
    OTHER = "others' cells"
    """Balances, nonces and storage that others may write as well; a token's storage too, whoever's balance it holds."""


_ELSEWHERE: Final = frozenset({Kind.CODE, Kind.BLOCKHASH, Kind.OTHER})
"""What a call may use or not, depending on the state."""
_OPEN_ROW: Final = dict.fromkeys(Kind, UNSIGNED)
TABLE: Final[Mapping[Intent, Mapping[Kind, int]]] = {
    Intent.EXACT: dict.fromkeys(Kind, 0),
    Intent.CONTESTED: {
        Kind.OWN_NONCE: 0,
        Kind.OWN_CODE: 0,
        Kind.OWN_BALANCE: int(Mask.NEXT),  # what is left of it depends on the gas, and gas may on others' cells
        Kind.TARGET_CODE: 0,
        Kind.CODE: 0,
        Kind.BLOCKHASH: _VALUES | Mask.SLOT,  # which hashes a call reads moves on with every block
        Kind.OTHER: _VALUES,
    },
    Intent.OPEN: _OPEN_ROW,
}
"""What is masked of each move, beside INTX (see `mask_of`)."""
FLAGS: Final[Mapping[Intent, Flag]] = {
    Intent.EXACT: Flag(0),
    Intent.CONTESTED: Flag(0),
    Intent.OPEN: Flag.OPEN,
}
"""Beside MUST_SUCCEED, which is the default of all."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How to mask: the intent, and what its signer wants otherwise."""

    intent: Intent
    any_cells: bool = False
    """`contested`: which of the others' cells the call uses is left open as well (S3's flag open)."""
    sign_makers: bool = False
    """Sign which transaction made each cell (INTX), where its value is signed."""
    pinned: frozenset[Location] = frozenset()
    """Cells whose values are signed whatever the table says."""

    def __post_init__(self) -> None:
        if self.any_cells and self.intent != Intent.CONTESTED:
            raise ValueError("only a contested transaction can leave open which cells it uses")

    @property
    def flags(self) -> Flag:
        """S3's flags, without MUST_SUCCEED."""
        return FLAGS[self.intent] | (Flag.OPEN if self.any_cells else Flag(0))

    def mask_of(self, kind: Kind, location: Location) -> int:
        """Which of the six low bits to set in the move at a location."""
        masked = 0 if location in self.pinned else TABLE[self.intent][kind]
        if masked == UNSIGNED or (self.any_cells and location not in self.pinned and kind in _ELSEWHERE):
            return UNSIGNED
        signs_maker = self.sign_makers and not masked & Mask.PREV and location[0] != Mark.BLOCKHASH
        return masked | (0 if signs_maker else Mask.INTX)


def kind_of(location: Location, sender: bytes, to: bytes) -> Kind:
    """What a location is to the signer of a transaction to `to` (20 bytes, or none for a create)."""
    mark, address, _ = location
    if mark == Mark.BLOCKHASH:
        return Kind.BLOCKHASH
    if mark == Mark.CODE:
        if address == sender:
            return Kind.OWN_CODE
        return Kind.TARGET_CODE if address == to else Kind.CODE
    if address == sender and mark == Mark.NONCE:
        return Kind.OWN_NONCE
    if address == sender and mark == Mark.BALANCE:
        return Kind.OWN_BALANCE
    return Kind.OTHER
