"""B2, B6 and B7: a header beside its parent, its chain config and its signature (docs/SPEC.md, section 5)."""

from __future__ import annotations

from typing import Any, Final

from manaflow.errors import Rule, Verdict
from manaflow.moves.header import MAX_EXTRA_DATA, Header
from manaflow.moves.marks import ZERO32
from manaflow.moves.signatures import is_low_signature, recover_address
from manaflow.moves.transactions import GAS_PER_BLOB
from manaflow.moves.trees import EMPTY_ROOT, Frontier, leaf_hash
from manaflow.rules.config import ChainConfig, Fork, Profile
from manaflow.rules.fees import next_base_fee, next_excess_blob_gas

GAS_LIMIT_ADJUSTMENT: Final = 1024
"""A gas limit differs from its parent's by less than the parent's divided by this (Yellow Paper, equation 47)."""
MIN_GAS_LIMIT: Final = 5000
"""Yellow Paper, equation 47."""
SIGNATURE_BYTES: Final = 65
"""r:32 | s:32 | recovery id:1."""


def check_b2(parent: Header, header: Header, config: ChainConfig) -> None:
    """B2: everything in the header that follows from its parent, by Ethereum's formulas.

    Source: EIP-1559, 3675, 4788, 4844, 4895. Raises Verdict(B2) naming the field; Unsupported before the first fork.
    """
    _equal("config", config.hash, header.config)
    _equal("number", parent.number + 1, header.number)
    _equal("parent hash", parent.hash, header.parent_hash)
    if header.timestamp <= parent.timestamp:
        raise Verdict(Rule.B2, "timestamp", expected=f"more than {parent.timestamp}", actual=header.timestamp)
    _check_gas_limit(parent, header)
    _equal("base fee", next_base_fee(parent), header.base_fee)
    _equal("first cell", parent.first_cell + parent.cells, header.first_cell)
    if len(header.extra_data) > MAX_EXTRA_DATA:
        raise Verdict(
            Rule.B2, "length of extra data", expected=f"at most {MAX_EXTRA_DATA}", actual=len(header.extra_data)
        )
    _check_blob_fields(parent, header, config)
    _check_withdrawals_field(header, config)
    if config.profile == Profile.MANAFLOW:
        _check_manaflow_fields(header)
    else:
        _equal("fees in profile ethereum", 0, header.fees)


def _equal(what: str, expected: Any, actual: Any) -> None:
    if actual != expected:
        raise Verdict(Rule.B2, what, expected=expected, actual=actual)


def _check_gas_limit(parent: Header, header: Header) -> None:
    """The bounds are exclusive: |limit - parent's| < parent's // 1024; and at least MIN_GAS_LIMIT."""
    step = parent.gas_limit // GAS_LIMIT_ADJUSTMENT
    low, high = max(parent.gas_limit - step + 1, MIN_GAS_LIMIT), parent.gas_limit + step - 1
    if not low <= header.gas_limit <= high:
        raise Verdict(Rule.B2, "gas limit", expected=f"{low} to {high}", actual=header.gas_limit)
    if header.gas_used > header.gas_limit:
        raise Verdict(Rule.B2, "gas used", expected=f"at most {header.gas_limit}", actual=header.gas_used)


def _check_blob_fields(parent: Header, header: Header, config: ChainConfig) -> None:
    """EIP-4844 and 4788: excess, bounds of what is used; before Cancun and in `manaflow` all of it is zero."""
    blobs = config.blobs_at(header.timestamp)
    if blobs is None or config.profile == Profile.MANAFLOW:
        _equal("blob gas used", 0, header.blob_gas_used)
        _equal("excess blob gas", 0, header.excess_blob_gas)
        _equal("parent beacon root", ZERO32, header.parent_beacon_root)
        return
    _equal("excess blob gas", next_excess_blob_gas(parent, config, header.timestamp), header.excess_blob_gas)
    most = blobs.maximum * GAS_PER_BLOB
    if header.blob_gas_used > most:
        raise Verdict(Rule.B2, "blob gas used", expected=f"at most {most}", actual=header.blob_gas_used)
    _equal("blob gas used beyond whole blobs", 0, header.blob_gas_used % GAS_PER_BLOB)


def _check_withdrawals_field(header: Header, config: ChainConfig) -> None:
    """EIP-4895: no withdrawals before Shanghai, nor in `manaflow`."""
    fork = config.entry_at(header.timestamp).fork
    if fork < Fork.SHANGHAI or config.profile == Profile.MANAFLOW:
        _equal("withdrawals root", EMPTY_ROOT, header.withdrawals_root)


def _check_manaflow_fields(header: Header) -> None:
    _equal("seen parent hash in profile manaflow", header.parent_hash, header.seen_parent_hash)


def check_b6(parent: Header, header: Header, config: ChainConfig, frontier: Frontier) -> None:
    """B6: the history root is the parent's with the parent's hash appended.

    `frontier` is the parent's history tree (without the parent) and stays so. Raises ValueError if it is another's.
    """
    if frontier.count != parent.number - config.genesis_number or frontier.root() != parent.history_root:
        raise ValueError("the frontier is not that of the parent's history")
    grown = Frontier(frontier.count, frontier.peaks)
    grown.append(leaf_hash(parent.hash))
    if header.history_root != grown.root():
        raise Verdict(Rule.B6, "history root", expected=grown.root(), actual=header.history_root)


def check_b7(block_hash: bytes, signature: bytes, config: ChainConfig) -> bytes:
    """B7: the signature (r | s | recovery id 0 or 1, s low) over the block hash is by a producer of the config.

    Returns the producer's address, 20 bytes.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise Verdict(Rule.B7, "length of the signature", expected=SIGNATURE_BYTES, actual=len(signature))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if signature[64] > 1 or not is_low_signature(r, s):
        raise Verdict(Rule.B7, "form of the signature", expected="r and s in range, s low, recovery id 0 or 1")
    producer = recover_address(block_hash, signature[64], r, s)
    if producer is None:
        raise Verdict(Rule.B7, "the signature recovers no producer")
    if producer not in config.producers:
        raise Verdict(Rule.B7, "the signature is by no producer of the config", actual=producer)
    return producer
