"""Build an inclusion proof (docs/LIGHT.md) from blocks: a pure function. `inclusion.py` verifies it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rlp

from manaflow.light.inclusion import INCLUSION_VERSION, MAGIC
from manaflow.moves import trees
from manaflow.moves.block import Block
from manaflow.moves.header import Header


def prove_inclusion(
    block: Block, transaction: int, move: int | None, config: bytes, head: Header, history: Sequence[bytes]
) -> bytes:
    """The file that shows a transaction of a block, and one of its moves unless `move` is None, under a trusted head.

    config: the chain config's RLP. history: hashes of all blocks before the head, genesis first.
    Raises IndexError if the block has no such place, ValueError if it is neither the head nor in its history.
    """
    leaves = [row.tobytes() for row in block.leaves.encoded()]
    shown = [] if move is None else _member(_moves_of(block, transaction), move)
    fields = [config, _head(block, head, history), block.header.encode(), _member(leaves, transaction), shown]
    return MAGIC + bytes((INCLUSION_VERSION,)) + bytes(rlp.encode(fields))


def _head(block: Block, head: Header, history: Sequence[bytes]) -> list[Any]:
    """The head's header and the path of the block's hash to its history root; nothing if the block is the head."""
    if block.hash == head.hash:
        return []
    position = list(history).index(block.hash)
    return [head.encode(), trees.path([trees.leaf_hash(block_hash) for block_hash in history], position)]


def _member(rows: Sequence[bytes], position: int) -> list[Any]:
    """[position, bytes, path] of one leaf of a tree."""
    path = trees.path([trees.leaf_hash(row) for row in rows], position)
    return [position, rows[position], path]


def _moves_of(block: Block, transaction: int) -> list[bytes]:
    """The encodings of a transaction's moves. Raises IndexError if the block has no such transaction."""
    if not 0 <= transaction < len(block.leaves):
        raise IndexError(transaction)
    offsets = block.leaves.move_offsets()
    return [
        move.encode() for move in block.moves.take(int(offsets[transaction]), int(offsets[transaction + 1])).objects()
    ]
