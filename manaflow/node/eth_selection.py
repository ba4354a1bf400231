"""Which block or state a method's block parameter means. These run on the chain's thread."""

from __future__ import annotations

from functools import lru_cache

from manaflow.errors import Pruned
from manaflow.moves.header import Header
from manaflow.node.chain import Chain, SealedBlock, View
from manaflow.node.encoding import BlockTag
from manaflow.node.errors import SERVER_ERROR, RpcError
from manaflow.node.eth_sealed import Reading

PRUNED = 4444
"""Geth's code for history that a node does not keep (EIP-4444)."""


def number_of(chain: Chain, tag: BlockTag) -> int:
    """The number of the block that is meant, which may not exist yet; `pending` is the one after the head.

    `latest` and `safe` are the head: this node has checked it whole. Raises RpcError -32000 for an unknown hash.
    """
    if tag.number is not None:
        return tag.number
    if tag.block_hash is not None:
        head, head_hash = chain.head
        if tag.block_hash == head_hash:
            return head.number
        reading = reading_of(chain, tag.block_hash)
        if reading is None:
            raise RpcError(SERVER_ERROR, "header for hash not found")
        return reading.header.number
    head_number = chain.head[0].number
    named = {"earliest": chain.config.genesis_number, "finalized": chain.finalized, "pending": head_number + 1}
    return named.get(tag.name or "", head_number)


def header_of(chain: Chain, tag: BlockTag) -> Header:
    """The header that is meant; for `pending` the open block's. Raises RpcError -32000 if there is none."""
    if tag.name == "pending":
        return chain.view(pending=True).header
    header = chain.header(number_of(chain, tag))
    if header is None:
        raise RpcError(SERVER_ERROR, "header not found")
    return header


def sealed_of(chain: Chain, key: int | bytes) -> SealedBlock | None:
    """A canonical block by number or hash. Raises RpcError 4444 for one whose body this node has let go."""
    try:
        return chain.sealed(key)
    except Pruned as pruned:
        raise RpcError(PRUNED, f"pruned history unavailable: {pruned}") from None


def reading_of(chain: Chain, key: int | bytes) -> Reading | None:
    """The same, to be read as Ethereum sees it."""
    sealed = sealed_of(chain, key)
    return None if sealed is None else _read(sealed)


@lru_cache(maxsize=8)
def _read(sealed: SealedBlock) -> Reading:
    """Transactions of a block are asked for one by one: what reading it has worked out is kept."""
    return Reading(sealed)


def state_of(chain: Chain, tag: BlockTag) -> View:
    """The state after a block: of the head, or with the open block. Raises RpcError -32000 for any other."""
    if tag.name == "pending":
        return chain.view(pending=True)
    number, head = number_of(chain, tag), chain.head[0].number
    if number > head:
        raise RpcError(SERVER_ERROR, "header not found")
    if number < head:
        raise RpcError(
            SERVER_ERROR,
            f"missing trie node: the state of block {number} is not kept; this node has that of block {head}, the head",
        )
    return chain.view()
