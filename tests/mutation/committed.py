"""Bytes that a dishonest producer commits to and that do not decode (B1): no block in memory holds them, so each
operator makes the header over them and, as whoever was given the bytes would, the proof.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from manaflow.fraudproof.build import leaf_evidence
from manaflow.fraudproof.build_bytes import entry_among, prove_malformed, prove_malformed_parent
from manaflow.fraudproof.evidence import BytesEvidence, LeafEvidence, Tree, TreeEvidence
from manaflow.fraudproof.format import MOVE_BYTES, WITHDRAWAL_BYTES, Proof
from manaflow.moves import trees
from manaflow.moves.block import Block
from manaflow.moves.columns import Leaves
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import LEAF_BYTES
from manaflow.rules.config import ChainConfig
from tests.catalogue.dishonest import resigned

Lie = tuple[Block, Proof]
"""The honest body under a header that commits to other bytes, and the proof."""


@dataclass(frozen=True)
class Committed:
    """One way to commit to bytes that are nothing."""

    name: str
    """committed.leaf.short"""
    make: Callable[[Block, ChainConfig, random.Random], Lie]

    @property
    def kind(self) -> str:
        """The kind of field."""
        return self.name.rsplit(".", 1)[0]


WIDTHS: Final = {
    Tree.TRANSACTIONS: LEAF_BYTES,
    Tree.CODES: 32,
    Tree.MOVES: MOVE_BYTES,
    Tree.WITHDRAWALS: WITHDRAWAL_BYTES,
}
LENGTHS: Final[dict[str, Callable[[bytes, random.Random], bytes]]] = {
    "empty": lambda entry, rng: b"",
    "short": lambda entry, rng: entry[: rng.randrange(1, len(entry))],
    "long": lambda entry, rng: entry + rng.randbytes(rng.randrange(1, 40)),
    "two_hashes": lambda entry, rng: rng.randbytes(64),
    "of_a_leaf_under_another_prefix": lambda entry, rng: b"\1" + entry,
    "megabyte": lambda entry, rng: rng.randbytes(2**20),
}
"""Bytes that are no entry of any tree, out of one that is."""
NODES: Final[dict[str, Callable[[random.Random], bytes]]] = {
    "prefix": lambda rng: bytes((rng.randrange(2, 256),)) + rng.randbytes(64),
    "short": lambda rng: b"\1" + rng.randbytes(rng.randrange(64)),
    "long": lambda rng: b"\1" + rng.randbytes(rng.randrange(65, 200)),
}
"""Preimages of a tree's node that are none."""
PARENTS: Final[dict[str, Callable[[bytes, random.Random], bytes]]] = {
    "short": lambda header, rng: header[: rng.randrange(len(header))],
    "long": lambda header, rng: header + rng.randbytes(1),
    "random": lambda header, rng: rng.randbytes(rng.randrange(2000)),
}


def entries_of(block: Block, tree: Tree, transaction: int) -> list[bytes]:
    """What the tree holds; `transaction`: whose moves."""
    if tree == Tree.TRANSACTIONS:
        return [row.tobytes() for row in block.leaves.encoded()]
    if tree == Tree.CODES:
        return [keccak256(code) for code in block.codes]
    if tree == Tree.WITHDRAWALS:
        return [paid.encode() for paid in block.withdrawals]
    rows = block.leaves.move_offsets()[transaction : transaction + 2]
    return [move.encode() for move in block.moves.take(int(rows[0]), int(rows[1])).objects()]


def over(block: Block, tree: Tree, root: bytes, count: int, transaction: int) -> Block:
    """The block whose producer committed to another tree."""
    if tree == Tree.WITHDRAWALS:
        return resigned(block, withdrawals_root=root)
    if tree == Tree.CODES:
        return resigned(block, codes_root=root, codes=count)
    if tree == Tree.TRANSACTIONS:
        return resigned(block, transactions_root=root, transactions=count)
    leaves = block.leaves.objects()
    leaf = leaves[transaction]
    leaves[transaction] = replace(leaf, moves_root=root, references=count - leaf.consumes)
    rows = Leaves.of(leaves)
    return resigned(
        replace(block, leaves=rows), transactions_root=trees.root([row.tobytes() for row in rows.encoded()])
    )


def proof_of(block: Block, config: ChainConfig, node: TreeEvidence, transaction: int) -> Proof:
    """That a node of the block's tree is none."""
    leaf: LeafEvidence | None = leaf_evidence(block, transaction) if node.tree == Tree.MOVES else None
    return prove_malformed(block.header, block.signature, config, node, leaf)


def same_place(proof: Proof, block: Block) -> list[Proof]:
    """Against another block: the same evidence, and its own bytes at that place."""
    evidence = proof.evidence
    assert isinstance(evidence, BytesEvidence)
    graft = replace(proof, header=block.header.encode(), signature=block.signature)
    if evidence.node is None:
        return [graft]
    leaf = None if evidence.leaf is None else leaf_evidence(block, evidence.leaf.position)
    rows = entries_of(block, evidence.node.tree, 0 if leaf is None else leaf.position)
    nodes = [entry_among(evidence.node.tree, rows, position) for position in {0, len(rows) - 1} if rows]
    nodes += [replace(nodes[0], preimage=evidence.node.preimage), replace(nodes[0], preimage=b"")] if rows else []
    return [graft, *(replace(graft, evidence=BytesEvidence(leaf, node, b"")) for node in nodes)]


def _entry(tree: Tree, falsify: Callable[[bytes, random.Random], bytes]) -> Callable[..., Lie]:
    def make(block: Block, config: ChainConfig, rng: random.Random) -> Lie:
        transaction = rng.randrange(len(block.leaves))
        rows = entries_of(block, tree, transaction)
        at = rng.randrange(len(rows) + 1)
        rows[at : at + 1] = [falsify(rng.choice(rows) if rows else bytes(WIDTHS[tree]), rng)]
        accused = over(block, tree, trees.root(rows), len(rows), transaction)
        return accused, proof_of(accused, config, entry_among(tree, rows, at), transaction)

    return make


def _node(tree: Tree, falsify: Callable[[random.Random], bytes]) -> Callable[..., Lie]:
    def make(block: Block, config: ChainConfig, rng: random.Random) -> Lie:
        transaction, preimage = rng.randrange(len(block.leaves)), falsify(rng)
        sibling, root = rng.randbytes(32), hashlib.sha256(preimage).digest()
        is_right = rng.randrange(2)
        root = trees.node_hash(sibling, root) if is_right else trees.node_hash(root, sibling)
        count = max(2, len(entries_of(block, tree, transaction)))
        accused = over(block, tree, root, count, transaction)
        node = TreeEvidence(tree, preimage, (bytes((is_right,)) + sibling,))
        return accused, proof_of(accused, config, node, transaction)

    return make


def _parent(falsify: Callable[[bytes, random.Random], bytes]) -> Callable[..., Lie]:
    def make(block: Block, config: ChainConfig, rng: random.Random) -> Lie:
        data = falsify(block.header.encode(), rng)
        accused = resigned(block, parent_hash=hashlib.sha256(data).digest())
        return accused, prove_malformed_parent(accused.header, accused.signature, config, data)

    return make


COMMITTED: Final[tuple[Committed, ...]] = (
    *(Committed(f"committed.{t.name.lower()}.{way}", _entry(t, to)) for t in Tree for way, to in LENGTHS.items()),
    *(Committed(f"committed.node_of_{t.name.lower()}.{way}", _node(t, to)) for t in Tree for way, to in NODES.items()),
    *(Committed(f"committed.parent.{way}", _parent(to)) for way, to in PARENTS.items()),
)
"""Every way."""
