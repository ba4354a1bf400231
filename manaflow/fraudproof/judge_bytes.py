"""B1 from the very bytes that a header commits to."""

from __future__ import annotations

import hashlib
from typing import Final

from manaflow.errors import Verdict
from manaflow.fraudproof.authenticate import Accused, Shown, authenticate_node
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.evidence import BytesEvidence, LeafEvidence, Tree, TreeEvidence
from manaflow.fraudproof.format import MOVE_BYTES, WITHDRAWAL_BYTES
from manaflow.moves.leaf import LEAF_BYTES, Leaf
from manaflow.rules.encoding import check_b1_node, check_b1_parent

_WIDTHS: Final = {
    Tree.TRANSACTIONS: LEAF_BYTES,
    Tree.CODES: 32,
    Tree.MOVES: MOVE_BYTES,
    Tree.WITHDRAWALS: WITHDRAWAL_BYTES,
}
"""Bytes of each tree's leaves."""


def judge_bytes(accused: Accused, evidence: BytesEvidence) -> None:
    """B1. Raises its Verdict, or ProofRejected for evidence that is not the block's."""
    if evidence.node is None:
        if evidence.leaf is not None:
            raise ProofRejected("the parent's bytes need nothing else")
        if hashlib.sha256(evidence.parent).digest() != accused.header.parent_hash:
            raise ProofRejected("the bytes are not those of the accused block's parent")
        check_b1_parent(evidence.parent)
        return
    if evidence.parent:
        raise ProofRejected("a tree's node needs no parent")
    shown = authenticate_node(accused.header, evidence.leaf, evidence.node)
    try:
        _check_node(evidence.node)
    except Verdict as verdict:
        raise verdict.at(*_place(shown, evidence.node.tree, evidence.leaf)) from None


def _check_node(node: TreeEvidence) -> None:
    check_b1_node(node.preimage, _WIDTHS[node.tree], not node.steps)
    if node.tree == Tree.TRANSACTIONS and node.preimage[:1] == b"\0":
        Leaf.decode(node.preimage[1:])


def _place(shown: Shown, tree: Tree, leaf: LeafEvidence | None) -> tuple[int | None, int | None]:
    """Transaction and move, as far as the node is one."""
    own = shown.position if shown.size == 1 else None
    if tree == Tree.TRANSACTIONS:
        return own, None
    return (None, None) if leaf is None else (leaf.position, own)
