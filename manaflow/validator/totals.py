"""B3's totals and sizes over a block's columns: the data-parallel twins of rules/leaves.py."""

from __future__ import annotations

import numpy as np

from manaflow.errors import Verdict
from manaflow.moves.columns import U8, U64, Leaves
from manaflow.rules.config import ChainConfig, Profile
from manaflow.rules.leaves import (
    MAX_MOVES,
    check_b3_empty,
    check_b3_first,
    check_b3_last,
    check_b3_pair,
    check_b3_size,
    compute_fees_added,
)
from manaflow.validator.transactions import Bools, Transactions, first_of, prices, refuse


def check_sizes(leaves: Leaves, config: ChainConfig) -> None:
    """B3: in profile `manaflow` no leaf of a block after genesis counts more moves than a proof may hold."""
    if config.profile != Profile.MANAFLOW:
        return
    at = first_of(leaves.consumes.astype(np.uint64) + leaves.references > MAX_MOVES)
    if at is not None:
        leaf = leaves[at]
        refuse(at, lambda: check_b3_size(config.profile, leaf))


def _integers(words: U8) -> list[int]:
    """Rows of uint8[n, w] as big-endian integers."""
    data, width = words.tobytes(), words.shape[1]
    return [int.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width)]


def check_totals(transactions: Transactions, config: ChainConfig) -> None:
    """B3: running totals start with the header's first cell and zero, grow by each leaf, and end in the header."""
    header, leaves = transactions.block.header, transactions.block.leaves
    if not len(leaves):
        check_b3_empty(header)
        return
    check_b3_first(header, leaves[0])
    blob_gas = transactions.blob_gas
    fees = _fees_added(transactions, config)
    wrong = _is_off(leaves.first_cell, leaves.consumes.astype(np.uint64))
    wrong |= _is_off(leaves.gas, leaves.gas_used) | _is_off(leaves.blob_gas, blob_gas)
    if config.profile == Profile.ETHEREUM:
        wrong |= (leaves.fees[1:] != leaves.fees[:-1]).any(axis=1)
    else:
        totals = _integers(leaves.fees)
        steps = zip(totals, fees, totals[1:], strict=False)
        wrong |= np.array([before + added != after for before, added, after in steps], np.bool_)
    at = first_of(wrong)
    if at is not None:
        leaf, after, fee, blob = leaves[at], leaves[at + 1], fees[at], int(blob_gas[at])
        refuse(at, lambda: check_b3_pair(leaf, after, fee, blob))
    try:
        check_b3_last(header, leaves[len(leaves) - 1], fees[-1], int(blob_gas[-1]))
    except Verdict as verdict:
        raise verdict.at(len(leaves) - 1) from None


def _fees_added(transactions: Transactions, config: ChainConfig) -> list[int]:
    """Wei that each transaction adds to the block's fees; 0 in profile `ethereum` and for system transactions."""
    fees = [0] * len(transactions)
    if config.profile == Profile.MANAFLOW:
        base_fee, gas = transactions.block.header.base_fee, transactions.block.leaves.gas_used.tolist()
        price = prices(transactions, config)
        for t in range(transactions.signed.start, transactions.signed.stop):
            fees[t] = compute_fees_added(price[t], base_fee, gas[t])
    return fees


def _is_off(totals: U64, added: U64) -> Bools:
    """bool[t - 1]: the next total is not this one plus what is added, over unbounded integers."""
    off: Bools = (totals[1:] < totals[:-1]) | (totals[1:] - totals[:-1] != added[:-1])
    return off
