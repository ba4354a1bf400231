"""Ethereum's receipts root and logs bloom, recomputed from executions to compare a replay with the original header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import or_

import rlp
from eth_bloom.bloom import get_bloom_bits
from trie.hexary import HexaryTrie

from manaflow.errors import Failure
from manaflow.moves.rlp_reader import RlpReader, list_prefix


@dataclass(frozen=True, slots=True)
class Receipt:
    """One transaction's receipt (Yellow Paper 4.4.1, EIP-2718)."""

    type: int
    status: int
    cumulative_gas: int
    logs_rlp: bytes
    """RLP of the list of logs [address, [topics], data]."""


@lru_cache(maxsize=1 << 14)
def item_bloom(item: bytes) -> int:
    """The 2048-bit bloom of one address or topic, as an integer. The same few recur in a block's logs."""
    return reduce(or_, get_bloom_bits(item))


def bloom_of(logs_rlp: bytes) -> int:
    """The 2048-bit bloom of a list of logs, as an integer."""
    items, logs = set(), RlpReader.whole(logs_rlp)
    while logs.more:
        log = logs.items("log")
        items.add(log.fixed("address", 20))
        topics = log.items("topics")
        while topics.more:
            items.add(topics.fixed("topic", 32))
        log.string("data")
    return reduce(or_, map(item_bloom, items), 0)


def receipts_root(receipts: Sequence[Receipt]) -> tuple[bytes, bytes]:
    """(receipts root:32, logs bloom:256) of a block."""
    trie, block_bloom = HexaryTrie({}), 0
    for i, receipt in enumerate(receipts):
        bloom = bloom_of(receipt.logs_rlp)
        block_bloom |= bloom
        fields = (receipt.status, receipt.cumulative_gas, bloom.to_bytes(256, "big"))
        payload = b"".join(map(rlp.encode, fields)) + receipt.logs_rlp  # the logs are RLP already
        prefix = bytes((receipt.type,)) if receipt.type else b""
        trie[rlp.encode(i)] = prefix + list_prefix(len(payload)) + payload
    return bytes(trie.root_hash), block_bloom.to_bytes(256, "big")


def check_receipts(receipts: Sequence[Receipt], root: bytes, bloom: bytes, number: int) -> None:
    """Raises Failure if the receipts do not give the header's root and bloom: a wrong pre-state or engine."""
    found_root, found_bloom = receipts_root(receipts)
    if found_root != root:
        raise Failure(f"block {number}: receipts root 0x{found_root.hex()}, the Ethereum header has 0x{root.hex()}")
    if found_bloom != bloom:
        raise Failure(f"block {number}: the logs bloom differs from the Ethereum header's")
