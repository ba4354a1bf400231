"""What an execution sees of its block, and the four system calls, from a header (docs/SPEC.md, sections 5 and 7)."""

from __future__ import annotations

from typing import Final

from manaflow.evm.executor import Environment, SystemCall
from manaflow.moves.header import Header
from manaflow.moves.leaf import SystemKind
from manaflow.rules.config import ChainConfig
from manaflow.rules.fees import blob_base_fee

SYSTEM_ADDRESS: Final = bytes.fromhex("fffffffffffffffffffffffffffffffffffffffe")
"""Who makes system calls (EIP-4788)."""
SYSTEM_GAS: Final = 30_000_000
"""Gas of a system call; it counts for no block (EIP-4788)."""
SYSTEM_CONTRACTS: Final = {
    SystemKind.BEACON_ROOTS: bytes.fromhex("000f3df6d732807ef1319fb7b8bb8522d0beac02"),
    SystemKind.HISTORY: bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935"),
    SystemKind.WITHDRAWAL_REQUESTS: bytes.fromhex("00000961ef480eb55e80d19ad83579a64c007002"),
    SystemKind.CONSOLIDATION_REQUESTS: bytes.fromhex("0000bbddc7ce488642fb579f8b00f3a590007251"),
}
"""EIP-4788, 2935, 7002, 7251."""


def environment_of(header: Header, config: ChainConfig) -> Environment:
    """The environment of a header's transactions. Raises Unsupported before the chain's first fork."""
    entry = config.entry_at(header.timestamp)
    blobs = entry.blobs
    return Environment(
        chain_id=config.chain_id,
        fork=entry.fork,
        number=header.number,
        timestamp=header.timestamp,
        coinbase=header.coinbase,
        gas_limit=header.gas_limit,
        base_fee=header.base_fee,
        prevrandao=header.prevrandao,
        excess_blob_gas=header.excess_blob_gas,
        blob_base_fee=blob_base_fee(header.excess_blob_gas, blobs.update_fraction) if blobs else 0,
        blobs=blobs,
        profile=config.profile,
    )


def system_call(kind: SystemKind, header: Header) -> SystemCall:
    """The call of this kind that a block with this header makes. Raises ValueError for a kind that is no call."""
    inputs = {SystemKind.BEACON_ROOTS: header.parent_beacon_root, SystemKind.HISTORY: header.seen_parent_hash}
    if kind not in SYSTEM_CONTRACTS:
        raise ValueError(f"{kind.name} is not a system call")
    return SystemCall(kind, SYSTEM_CONTRACTS[kind], inputs.get(kind, b""))
