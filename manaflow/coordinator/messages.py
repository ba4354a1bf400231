"""What a coordinator is told and what it answers: the messages and results of `core.Coordinator`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from manaflow.moves.batch import Batch, Cells, Reply
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.marks import Location


@dataclass(frozen=True, slots=True)
class Submit:
    """Signed envelopes, Ethereum's or declared, of any length and content: input of strangers."""

    envelopes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Restore:
    """What `Keep` results left on disk, ascending by arrival: the first message after a start, before `Opened`."""

    kept: tuple[tuple[int, bytes], ...]
    """(arrival, envelope)."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A producer has opened a block on the latest index's tip; it replaces whatever block was open before."""

    header: Header
    """Its environment is fixed, its roots and totals are zero."""
    block_hashes: Mapping[int, bytes]
    """What BLOCKHASH answers: hashes by number, of the 256 blocks before."""
    sequence: int
    """How many transactions it has admitted, and `cells`: every live cell that it has made; as an empty batch tells."""
    cells: Cells


@dataclass(frozen=True, slots=True)
class Fill:
    """Make the next batch, if none is on its way. The shell says when: the later, the larger."""

    limit: int = 1000
    """Transactions at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Replied:
    """The answer to a batch."""

    batch: int
    """The id that `Send` gave it."""
    reply: Reply


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What others have done to the open block: the answer to an empty batch, sent while there is nothing to fill.

    Its `since` is at most `Coordinator.sequence`.
    """

    reply: Reply


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer to a batch will come, or nobody waits for it any more; whether it was admitted is unknown."""

    batch: int


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """The latest index has applied this block. No block is open until the next `Opened`."""

    block: Block


@dataclass(frozen=True, slots=True, eq=False)
class Undone:
    """The latest index has taken this block back. No block is open until the next `Opened`."""

    block: Block


Message = Submit | Restore | Opened | Fill | Replied | Learnt | Lost | Sealed | Undone


class Reason(StrEnum):
    """Why a transaction is refused at the door or leaves the pool; stable names for machines."""

    MALFORMED = "malformed"
    """S1, S2: it does not decode, has no sender, or is of another chain or a kind that this chain does not take."""
    TOO_LARGE = "too-large"
    """The envelope is longer than a pool takes."""
    GAS_LIMIT = "gas-limit"
    """Its gas limit is above what any block or transaction may have, or below what is always due."""
    KNOWN = "known"
    """It is in the pool already."""
    NONCE_USED = "nonce-used"
    """Its sender's nonce has passed it: `winner` used it."""
    NONCE_FAR = "nonce-far"
    """Its nonce is too far ahead of its sender's."""
    BALANCE = "balance"
    """Its sender cannot pay its highest cost."""
    FEES = "fees"
    """Its tip is above its fee cap, or a fee is beyond what engines compute."""
    UNDERPRICED = "underpriced"
    """It does not pay enough more than the one of the same nonce, or than any in a full pool."""
    SENDER_FULL = "sender-full"
    """Its sender has as many waiting as one sender may."""
    REPLACED = "replaced"
    """`winner` has the same sender and nonce and pays more."""
    EVICTED = "evicted"
    """The pool was full and others pay more."""
    EXPIRED = "expired"
    """S4, or it waited for more blocks than a pool keeps it."""
    INVALID = "invalid"
    """X0 or another rule refuses it, whatever comes before it."""
    LOST = "lost"
    """The state that its signature names is gone; its `Notice` says which, and to whom."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A submission is in the pool (once the `Keep` results of the same answer are on disk)."""

    txid: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A submission is not taken."""

    txid: bytes
    """keccak-256 of the envelope, also of one that does not decode."""
    reason: Reason
    detail: str
    """In words, with what was expected and found."""
    winner: bytes | None = None
    """Txid of the transaction that stands in its way, where one does and it is known."""


@dataclass(frozen=True, slots=True)
class Keep:
    """For the disk, before any other result of the same answer leaves."""

    arrival: int
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Forget:
    """For the disk: what was kept under this arrival is no longer needed."""

    arrival: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """An accepted transaction has left the pool and is in no block."""

    txid: bytes
    reason: Reason
    detail: str
    winner: bytes | None = None
    """Txid of the transaction that took its place or its cell, where known."""


@dataclass(frozen=True, slots=True)
class Notice:
    """For a signer: a race is lost, and this signature does not allow another fill on the state as it is."""

    txid: bytes
    winner: bytes | None
    """Txid of the transaction that made the contested cell what it is; None where nobody did (a virgin cell)."""
    location: Location | None
    """Of the move; None if its signer masked where it is."""
    field: str
    """The signed field that contradicts the state: intx, prev, next, location, direction, guard, open or status."""
    expected: bytes | None
    """What is signed, where the field has bytes."""
    actual: bytes | None
    """What a fill on the state as it is would have there."""
    may_change: tuple[str, ...]
    """What to sign anew, or to mask, for a fill to fit."""
    detail: str
    waits: bool
    """True if the transaction stays in the pool for the value to come back, until its `valid until`."""

    def as_json(self) -> dict[str, Any]:
        """The notice for machines."""
        location = None
        if self.location is not None:
            mark, addr, slot = self.location
            location = {"mark": chr(mark), "addr": "0x" + addr.hex(), "slot": "0x" + slot.hex()}
        shown = {name: _hex(getattr(self, name)) for name in ("txid", "winner", "expected", "actual")}
        rest = {"field": self.field, "mayChange": list(self.may_change), "detail": self.detail, "waits": self.waits}
        return {**shown, "location": location, **rest}


def _hex(value: bytes | None) -> str | None:
    return None if value is None else "0x" + value.hex()


@dataclass(frozen=True, slots=True, eq=False)
class Send:
    """A batch for the open block: `OpenBlock.admit(batch, since)`; its reply comes back as `Replied`."""

    id: int
    batch: Batch
    since: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """The open block has these transactions, on the validator's disk. After a lost reply it may not be said of all."""

    block: int
    txids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Included:
    """These transactions of the pool stand in a sealed block."""

    block: int
    txids: tuple[bytes, ...]


Result = Accepted | Refused | Keep | Forget | Dropped | Notice | Send | Admitted | Included
