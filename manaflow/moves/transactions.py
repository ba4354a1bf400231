"""Decoded envelopes: Ethereum's transactions, and declared ones, which also say their moves (rules S1 and S2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from manaflow.moves.marks import AnyMove, Mask

GAS_PER_BLOB: Final = 2**17
"""EIP-4844."""
DECLARED_TYPE: Final = 0x4D
"""EIP-2718 type of the declared envelope (S2)."""


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """One entry of an EIP-2930 access list."""

    address: bytes
    slots: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Authorization:
    """One EIP-7702 tuple. A tuple that does not verify is skipped by the execution, not refused."""

    chain_id: int
    address: bytes
    nonce: int
    y_parity: int
    r: int
    s: int


@dataclass(frozen=True, slots=True)
class EthereumTransaction:
    """A decoded envelope. Integers are non-negative; fees in wei."""

    type: int
    """EIP-2718 type; 0 for legacy."""
    chain_id: int | None
    """None for a legacy transaction without EIP-155 protection."""
    nonce: int
    max_priority_fee: int
    """Equal to max_fee in types 0 and 1."""
    max_fee: int
    """The gas price in types 0 and 1."""
    gas_limit: int
    to: bytes
    """20 bytes, or none for a create."""
    value: int
    data: bytes
    access_list: tuple[AccessEntry, ...]
    max_fee_per_blob_gas: int
    blob_hashes: tuple[bytes, ...]
    authorizations: tuple[Authorization, ...]
    y_parity: int
    r: int
    s: int
    signing_hash: bytes
    """What the sender signed, 32 bytes."""
    txid: bytes
    """keccak-256 of the envelope: the transaction's ordinary Ethereum hash."""

    @property
    def blob_gas(self) -> int:
        """Blob gas that the transaction uses."""
        return GAS_PER_BLOB * len(self.blob_hashes)

    def effective_gas_price(self, base_fee: int) -> int:
        """Wei per gas (EIP-1559); meaningful only if max_fee >= base_fee."""
        return min(self.max_fee, base_fee + self.max_priority_fee)


class Flag(IntFlag):
    """What a declared transaction's signer allows and demands (S3). Unknown flags are refused."""

    OPEN = 1
    """A filler may add any number of moves that the signer did not sign."""
    MUST_SUCCEED = 2
    """Valid only with status 1."""


@dataclass(frozen=True, slots=True)
class NamedMove(AnyMove):
    """A move outside a sealed block: its cell is named by its maker's txid (SPEC 2). Compares as (mask, mark, ...).

    In what a signer signs (S2) masked fields are zero.
    """

    mask: int
    """One byte of Mask bits."""
    mark: int
    """One byte."""
    intx: bytes
    """Txid of the transaction that made the cell, 32 bytes; zero for a virgin one."""
    addr: bytes
    """20 bytes."""
    slot: bytes
    """32 bytes."""
    prev: bytes
    """32 bytes."""
    next: bytes
    """32 bytes."""

    @property
    def sort_key(self) -> tuple[int, int, bytes, bytes, bytes, bytes, bytes]:
        """The fields in their order: signed moves ascend by it."""
        return self.mask, self.mark, self.intx, self.addr, self.slot, self.prev, self.next


@dataclass(frozen=True, slots=True)
class DeclaredTransaction(EthereumTransaction):
    """A declared envelope (S2): an EIP-1559 call, and what its signer says of the moves that it will make."""

    valid_until: int
    """Last block number that may hold it; 0 for no limit (S4)."""
    flags: int
    """Flag bits."""
    moves: tuple[NamedMove, ...]
    """The signed moves in their signed form, ascending."""

    @property
    def is_open(self) -> bool:
        """A filler may add moves."""
        return bool(self.flags & Flag.OPEN)

    @property
    def must_succeed(self) -> bool:
        """Valid only with status 1."""
        return bool(self.flags & Flag.MUST_SUCCEED)

    @property
    def guards(self) -> int:
        """How many of the signed moves are guards, each of which adds to the intrinsic gas (X4)."""
        return sum(bool(move.mask & Mask.GUARD) for move in self.moves)
