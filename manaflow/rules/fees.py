"""Ethereum's fee formulas: base fee (EIP-1559), excess blob gas (EIP-4844, 7691, 7918) and blob base fee (EIP-4844)."""

from __future__ import annotations

from typing import Final

from manaflow.moves.header import Header
from manaflow.moves.transactions import GAS_PER_BLOB
from manaflow.rules.config import ChainConfig, Fork

ELASTICITY: Final = 2
"""The gas target is the gas limit divided by this (EIP-1559)."""
BASE_FEE_CHANGE_DENOMINATOR: Final = 8
"""EIP-1559."""
MIN_BLOB_BASE_FEE: Final = 1
"""Wei per blob gas (EIP-4844)."""
BLOB_BASE_COST: Final = 2**13
"""Execution gas whose price a blob's price follows from below (EIP-7918)."""
MAX_BLOB_BASE_FEE: Final = 2**128 - 1
"""Where the formula is cut off: more wei than exist, so no chain gets there, but a hostile header may claim it."""


def next_base_fee(parent: Header) -> int:
    """Base fee of the block after `parent`, in wei (EIP-1559). The parent's gas limit is at least ELASTICITY."""
    target = parent.gas_limit // ELASTICITY
    if parent.gas_used == target:
        return parent.base_fee
    change = parent.base_fee * abs(parent.gas_used - target) // target // BASE_FEE_CHANGE_DENOMINATOR
    return parent.base_fee + max(change, 1) if parent.gas_used > target else parent.base_fee - change


def next_excess_blob_gas(parent: Header, config: ChainConfig, timestamp: int) -> int:
    """Excess blob gas of the block after `parent` at `timestamp` (seconds), by the parameters in force then.

    0 before Cancun. Raises Unsupported before the chain's first fork.
    """
    entry = config.entry_at(timestamp)
    blobs = entry.blobs
    if blobs is None:
        return 0
    total, target = parent.excess_blob_gas + parent.blob_gas_used, blobs.target * GAS_PER_BLOB
    if total < target:
        return 0
    if entry.fork >= Fork.OSAKA:
        price = GAS_PER_BLOB * blob_base_fee(parent.excess_blob_gas, blobs.update_fraction)
        if BLOB_BASE_COST * parent.base_fee > price:  # EIP-7918: blobs are cheap, so the excess may only grow
            return parent.excess_blob_gas + parent.blob_gas_used * (blobs.maximum - blobs.target) // blobs.maximum
    return total - target


def blob_base_fee(excess: int, fraction: int) -> int:
    """Wei per blob gas: EIP-4844's fake_exponential(1, excess, fraction), at most MAX_BLOB_BASE_FEE.

    It is about e^(excess / fraction). e^89 > 2^128, and the cut comes first: the series of a hostile excess is endless.
    """
    if excess > 89 * fraction:
        return MAX_BLOB_BASE_FEE
    i, total, term = 1, 0, MIN_BLOB_BASE_FEE * fraction
    while term > 0:
        total += term
        term = term * excess // (fraction * i)
        i += 1
    return min(total // fraction, MAX_BLOB_BASE_FEE)
