"""Ethereum's receipts root and logs bloom, recomputed from executions to compare a replay with the original header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import rlp
from eth_bloom.bloom import BloomFilter
from trie.hexary import HexaryTrie

from manaflow.errors import Failure


@dataclass(frozen=True, slots=True)
class Receipt:
    """One transaction's receipt (Yellow Paper 4.4.1, EIP-2718)."""

    type: int
    status: int
    cumulative_gas: int
    logs_rlp: bytes
    """RLP of the list of logs [address, [topics], data]."""


def _logs(logs_rlp: bytes) -> list[list[bytes]]:
    decoded: list[list[bytes]] = rlp.decode(logs_rlp)
    return decoded


def bloom_of(logs_rlp: bytes) -> int:
    """The 2048-bit bloom of a list of logs, as an integer."""
    bloom = BloomFilter()
    for address, topics, _ in _logs(logs_rlp):
        bloom.add(bytes(address))
        bloom.extend(bytes(topic) for topic in topics)
    return int(bloom)


def receipts_root(receipts: Sequence[Receipt]) -> tuple[bytes, bytes]:
    """(receipts root:32, logs bloom:256) of a block."""
    trie, block_bloom = HexaryTrie({}), 0
    for i, receipt in enumerate(receipts):
        bloom = bloom_of(receipt.logs_rlp)
        block_bloom |= bloom
        payload = [receipt.status, receipt.cumulative_gas, bloom.to_bytes(256, "big"), _logs(receipt.logs_rlp)]
        prefix = bytes((receipt.type,)) if receipt.type else b""
        trie[rlp.encode(i)] = prefix + rlp.encode(payload)
    return bytes(trie.root_hash), block_bloom.to_bytes(256, "big")


def check_receipts(receipts: Sequence[Receipt], root: bytes, bloom: bytes, number: int) -> None:
    """Raises Failure if the receipts do not give the header's root and bloom: a wrong pre-state or engine."""
    found_root, found_bloom = receipts_root(receipts)
    if found_root != root:
        raise Failure(f"block {number}: receipts root 0x{found_root.hex()}, the Ethereum header has 0x{root.hex()}")
    if found_bloom != bloom:
        raise Failure(f"block {number}: the logs bloom differs from the Ethereum header's")
