"""Ethereum's signed envelopes, types 0 to 4, decoded strictly (rule S1)."""

from __future__ import annotations

from dataclasses import dataclass

GAS_PER_BLOB = 2**17
"""EIP-4844."""


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
