"""Short chains of synthetic blocks whose trees fit their headers: what inclusion proofs are built from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import rlp

from manaflow.moves import trees
from manaflow.moves.block import Block
from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.header import Header
from tests.moves.wire_blocks import header, honest_block


def config_of(genesis_number: int) -> bytes:
    """A config whose forks, calls and producers do not matter here."""
    forks = [[2, 1, [3, 6, 3338477]], [3, 2, [6, 9, 5007716]]]
    return bytes(rlp.encode([1, 17000, 1, forks, [1, 2], [b"\x07" * 20], genesis_number, bytes(32), 0, 64]))


def encoded_leaves(block: Block) -> list[bytes]:
    return [row.tobytes() for row in block.leaves.encoded()]


@dataclass(frozen=True)
class Chain:
    """Blocks from genesis on."""

    config: bytes
    blocks: tuple[Block, ...]

    def history(self, head: int) -> list[bytes]:
        """Hashes of all blocks before block `head` of the list."""
        return [block.hash for block in self.blocks[:head]]

    def head(self, at: int) -> Header:
        return self.blocks[at].header


def sealed(block: Block, hashes: list[bytes], number: int, config_hash: bytes) -> Block:
    """The block as number `number` after the blocks with these hashes."""
    fields = replace(
        block.header, number=number, config=config_hash, history_root=trees.root(hashes),
        transactions=len(block.leaves), transactions_root=trees.root(encoded_leaves(block)),
        parent_hash=hashes[-1] if hashes else bytes(32),
    )  # fmt: skip
    return replace(block, header=fields)


def chain_of(leaf_counts: list[int], genesis_number: int = 0, seed: int = 0) -> Chain:
    """One block for each count of leaves; 0 leaves is an empty block."""
    config = config_of(genesis_number)
    config_hash, hashes, blocks = hashlib.sha256(config).digest(), [], []
    for i, count in enumerate(leaf_counts):
        block = honest_block(seed + i, count - 1) if count > 1 else single(seed + i) if count else empty()
        blocks.append(sealed(block, hashes, genesis_number + i, config_hash))
        hashes.append(blocks[-1].hash)
    return Chain(config, tuple(blocks))


def single(seed: int) -> Block:
    """A block of one leaf."""
    block = honest_block(seed, 2)
    stop = int(block.leaves.move_offsets()[1])
    columns = {name: getattr(block.leaves, name)[:1] for name in Leaves.__dataclass_fields__}
    return replace(block, leaves=Leaves(**columns), moves=block.moves.take(0, stop))


def empty() -> Block:
    return Block(header(), bytes(65), Leaves.of([]), Moves.empty(), (), (), ())
