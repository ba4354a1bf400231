"""Building B1: bytes that a header commits to and that do not decode (docs/SPEC.md, section 9).

A block's file cannot carry them, for it derives every width; whoever was given them out of band brings them here: the
bytes, where they stand in which tree, and the path to its root.
"""

from __future__ import annotations

from collections.abc import Sequence

from manaflow.errors import Rule
from manaflow.fraudproof.evidence import BytesEvidence, LeafEvidence, Tree, TreeEvidence
from manaflow.fraudproof.format import Proof
from manaflow.moves import trees
from manaflow.moves.header import Header
from manaflow.rules.config import ChainConfig


def entry_of_tree(tree: Tree, entry: bytes, position: int, count: int, path: Sequence[bytes]) -> TreeEvidence:
    """An entry at `position` of a tree of `count`, with its RFC 6962 path. Raises ValueError if that does not fit."""
    if not 0 <= position < count or len(path) != trees.path_length(position, count):
        raise ValueError(f"{len(path)} hashes are no path from entry {position} of {count}")
    steps, at, last, siblings = [], position, count - 1, iter(path)
    while last > 0:
        if at & 1 or at < last:
            steps.append(bytes((at & 1,)) + next(siblings))
        at, last = at // 2, last // 2
    return TreeEvidence(tree, b"\0" + entry, tuple(steps))


def entry_among(tree: Tree, entries: Sequence[bytes], position: int) -> TreeEvidence:
    """An entry of a tree whose entries are all at hand. Raises IndexError if it has no such place."""
    path = trees.path([trees.leaf_hash(entry) for entry in entries], position)
    return entry_of_tree(tree, entries[position], position, len(entries), path)


def prove_malformed(
    header: Header, signature: bytes, config: ChainConfig, node: TreeEvidence, leaf: LeafEvidence | None = None
) -> Proof:
    """B1: a node of one of the header's trees is none, or a leaf of other bytes. leaf: the transaction of its moves."""
    return _proof_of(header, signature, config, BytesEvidence(leaf, node, b""))


def prove_malformed_parent(header: Header, signature: bytes, config: ChainConfig, parent: bytes) -> Proof:
    """B1: the bytes that the header's parent hash is the SHA-256 of are no header."""
    return _proof_of(header, signature, config, BytesEvidence(None, None, parent))


def _proof_of(header: Header, signature: bytes, config: ChainConfig, evidence: BytesEvidence) -> Proof:
    return Proof(Rule.B1, config.encode(), None, header.encode(), signature, evidence)
