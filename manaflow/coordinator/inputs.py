"""What a filler is told of a block, because nothing that it executes could tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from manaflow.moves.block import Withdrawal
from manaflow.moves.header import HEADER_VERSION, Header
from manaflow.moves.marks import ZERO32
from manaflow.moves.trees import EMPTY_ROOT
from manaflow.rules.config import ChainConfig, Profile
from manaflow.rules.fees import next_base_fee, next_excess_blob_gas


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


def next_inputs(
    config: ChainConfig,
    head: Header,
    block_hashes: Mapping[int, bytes],
    *,
    coinbase: bytes,
    timestamp: int,
    prevrandao: bytes = ZERO32,
    gas_limit: int | None = None,
    extra_data: bytes = b"",
    envelopes: tuple[bytes, ...] = (),
) -> BlockInputs:
    """The inputs of the block after `head`: what B2 does not say is the producer's to choose. Without withdrawals.

    block_hashes: hashes of this chain's last 256 blocks by number, the head's among them (`Filler.block_hashes`).
    timestamp: seconds, more than the head's. gas_limit: None for the head's.
    """
    return BlockInputs(
        number=head.number + 1,
        seen_parent_hash=head.hash,
        coinbase=coinbase,
        timestamp=timestamp,
        gas_limit=head.gas_limit if gas_limit is None else gas_limit,
        base_fee=next_base_fee(head),
        prevrandao=prevrandao,
        excess_blob_gas=0 if config.profile == Profile.MANAFLOW else next_excess_blob_gas(head, config, timestamp),
        parent_beacon_root=ZERO32,
        extra_data=extra_data,
        envelopes=envelopes,
        withdrawals=(),
        block_hashes=block_hashes,
    )


def open_header(inputs: BlockInputs, config: ChainConfig, head: Header, history_root: bytes, first_cell: int) -> Header:
    """The header of a block on `head` before it is filled: its environment is fixed, roots and totals are zero."""
    return Header(
        version=HEADER_VERSION,
        config=config.hash,
        number=inputs.number,
        parent_hash=head.hash,
        seen_parent_hash=inputs.seen_parent_hash,
        coinbase=inputs.coinbase,
        timestamp=inputs.timestamp,
        gas_limit=inputs.gas_limit,
        gas_used=0,
        base_fee=inputs.base_fee,
        prevrandao=inputs.prevrandao,
        blob_gas_used=0,
        excess_blob_gas=inputs.excess_blob_gas,
        parent_beacon_root=inputs.parent_beacon_root,
        extra_data=inputs.extra_data,
        transactions_root=EMPTY_ROOT,
        codes_root=EMPTY_ROOT,
        withdrawals_root=EMPTY_ROOT,
        history_root=history_root,
        first_cell=first_cell,
        cells=0,
        transactions=0,
        codes=0,
        fees=0,
    )
