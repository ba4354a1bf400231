"""A block in memory: header, signature and body."""

from __future__ import annotations

from dataclasses import dataclass

from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.header import Header


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A validator's withdrawal (EIP-4895)."""

    index: int
    validator: int
    address: bytes
    amount: int
    """Gwei."""

    def encode(self) -> bytes:
        """The leaf of the withdrawals tree: index:8 | validator:8 | address:20 | amount:8."""
        head = self.index.to_bytes(8, "big") + self.validator.to_bytes(8, "big")
        return head + self.address + self.amount.to_bytes(8, "big")


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A sealed block. Nothing here is checked yet: the wire form bounds it (B1), the validator judges it."""

    header: Header
    signature: bytes
    """r:32 | s:32 | recovery id:1 over the block hash, s low; empty for genesis (exempt from B7)."""
    leaves: Leaves
    moves: Moves
    envelopes: tuple[bytes, ...]
    """Signed envelopes, in order; the leaves before and after them are system transactions (B8)."""
    codes: tuple[bytes, ...]
    """Code bytes in the order of their keccak-256 hashes."""
    withdrawals: tuple[Withdrawal, ...]

    @property
    def hash(self) -> bytes:
        """The block hash."""
        return self.header.hash
