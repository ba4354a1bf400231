"""What a filler is told of a block, because nothing that it executes could tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from manaflow.moves.block import Withdrawal


@dataclass(frozen=True, slots=True)
class BlockInputs:
    """The environment that a block opens with, and what it is to hold."""

    number: int
    seen_parent_hash: bytes
    """What BLOCKHASH shows for number - 1."""
    coinbase: bytes
    timestamp: int
    """Seconds."""
    gas_limit: int
    base_fee: int
    """Wei per gas."""
    prevrandao: bytes
    excess_blob_gas: int
    parent_beacon_root: bytes
    extra_data: bytes
    envelopes: tuple[bytes, ...]
    """Signed EIP-2718 bytes, in order."""
    withdrawals: tuple[Withdrawal, ...]
    block_hashes: Mapping[int, bytes]
    """Known hashes of the 256 blocks before this one, by number."""
