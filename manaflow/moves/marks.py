"""Marks, mask bits and the Move (docs/SPEC.md, sections 2 and 3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

ZERO20: Final = bytes(20)
ZERO32: Final = bytes(32)
MAX_NONCE: Final = 2**64 - 1
"""Largest nonce an account can have (EIP-2681 keeps transactions below it)."""
MAX_NUMBER: Final = 2**48 - 1
"""Largest cell number; number 0 means virgin."""


class Mark(IntEnum):
    """What kind of state a location is; one ASCII letter on the wire."""

    BALANCE = ord("b")
    CODE = ord("c")
    BLOCKHASH = ord("e")
    NONCE = ord("n")
    STORAGE = ord("s")


class Mask(IntFlag):
    """Which fields of a move the signer leaves to a filler (the six low bits), and the move's kind."""

    INTX = 1
    PREV = 2
    NEXT = 4
    SLOT = 8
    ADDR = 16
    MARK = 32
    GUARD = 64
    REFERENCE = 128


UNSIGNED: Final = 0x3F
"""All six low bits: a move of which the signer signed nothing."""

Location = tuple[int, bytes, bytes]
"""(mark, addr:20, slot:32)."""


class AnyMove:
    """What a move is by its fields, however it names its cell."""

    __slots__ = ()
    mask: int
    mark: int
    addr: bytes
    slot: bytes

    @property
    def is_reference(self) -> bool:
        """True if the REFERENCE bit says that the cell stays live."""
        return bool(self.mask & Mask.REFERENCE)

    @property
    def location(self) -> Location:
        """(mark, addr, slot)."""
        return self.mark, self.addr, self.slot


@dataclass(frozen=True, slots=True)
class Move(AnyMove):
    """One move of a sealed transaction, as people, rules and tests see it. Blocks hold columns instead (columns.py)."""

    mask: int
    """One byte of Mask bits."""
    mark: int
    """One byte, a Mark where the move is valid."""
    number: int
    """Number of the cell that is used; 0 means virgin. Below 2^64 on the wire."""
    addr: bytes
    """20 bytes."""
    slot: bytes
    """32 bytes, big-endian; zero where the mark has no slot."""
    prev: bytes
    """32 bytes, big-endian: the cell's value before."""
    next: bytes
    """32 bytes, big-endian: the location's value afterwards."""

    def encode(self) -> bytes:
        """126 bytes, mask | mark | number:8 | addr | slot | prev | next; their RFC 6962 leaf hash is the move hash."""
        head = bytes((self.mask, self.mark)) + self.number.to_bytes(8, "big")
        return head + self.addr + self.slot + self.prev + self.next
