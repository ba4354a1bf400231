"""B2, B3 and B6 from headers and neighbouring leaves."""

from __future__ import annotations

from manaflow.errors import Rule, Verdict
from manaflow.fraudproof.authenticate import Accused, authenticate_leaf, authenticate_node, authenticate_parent
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.evidence import LeafEvidence, LeavesEvidence, ParentEvidence, Tree, TreeEvidence
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import Leaf, SystemKind, system_txid
from manaflow.moves.trees import Frontier
from manaflow.rules.config import Profile
from manaflow.rules.headers import check_b2, check_b6
from manaflow.rules.leaves import (
    check_b3_empty,
    check_b3_first,
    check_b3_last,
    check_b3_node,
    check_b3_pair,
    check_b3_size,
    compute_fees_added,
)


def judge_parent(rule: Rule, accused: Accused, evidence: ParentEvidence) -> None:
    """B2 and B6. Raises the rule's Verdict, or ProofRejected for evidence that is not the chain's."""
    parent = authenticate_parent(accused, evidence.parent)
    if rule == Rule.B2:
        if evidence.peaks:
            raise ProofRejected("B2 needs no frontier")
        if parent.config != accused.config.hash:
            raise ProofRejected("the config is not the one that the parent names")
        check_b2(parent, accused.header, accused.config)
        return
    try:
        frontier = Frontier(parent.number - accused.config.genesis_number, evidence.peaks)
        check_b6(parent, accused.header, accused.config, frontier)
    except ValueError as error:
        raise ProofRejected(f"the frontier is not that of the parent's history: {error}") from error


def judge_leaves(accused: Accused, evidence: LeavesEvidence) -> None:
    """B3. Raises its Verdict, or ProofRejected for evidence that is not the chain's."""
    if evidence.tree is not None:
        _judge_tree(accused, evidence, evidence.tree)
        return
    if evidence.leaf is None:
        if evidence.envelope:
            raise ProofRejected("an envelope without its leaf")
        _judge_start(accused, evidence.after)
        return
    try:
        _judge_after(accused, evidence.leaf, evidence.after, evidence.envelope)
    except Verdict as verdict:
        raise verdict.at(evidence.leaf.position) from None


def _judge_tree(accused: Accused, evidence: LeavesEvidence, tree: TreeEvidence) -> None:
    """A node that cannot stand in a tree of the declared count."""
    if evidence.after is not None or evidence.envelope or (evidence.leaf is not None) != (tree.tree == Tree.MOVES):
        raise ProofRejected("more or less than a tree's count needs")
    shown = authenticate_node(accused.header, evidence.leaf, tree)
    if shown.size is None:
        raise ProofRejected("the tree declares no count")
    try:
        check_b3_node(shown.size, tree.preimage)
    except ValueError as error:
        raise ProofRejected(str(error)) from error
    except Verdict as verdict:
        raise verdict.at(None if evidence.leaf is None else evidence.leaf.position) from None


def _judge_start(accused: Accused, first: LeafEvidence | None) -> None:
    """The header beside leaf 0, or a header without leaves."""
    if first is None:
        if accused.header.transactions:
            raise ProofRejected("the leaves are missing")
        check_b3_empty(accused.header)
        return
    leaf = authenticate_leaf(accused.header, first)
    if first.position != 0:
        raise ProofRejected(f"leaf {first.position} is not the first one")
    try:
        check_b3_first(accused.header, leaf)
    except Verdict as verdict:
        raise verdict.at(0) from None


def _judge_after(accused: Accused, evidence: LeafEvidence, next_one: LeafEvidence | None, envelope: bytes) -> None:
    """A leaf beside the next one, or the last one beside the header; or one that alone counts too many moves."""
    header, place = accused.header, evidence.position
    leaf = authenticate_leaf(header, evidence)
    if next_one is None and not envelope:
        check_b3_size(accused.config.profile, leaf)
    fees, blob_gas = _added(accused, leaf, envelope)
    if next_one is not None:
        after = authenticate_leaf(header, next_one)
        if next_one.position != place + 1:
            raise ProofRejected(f"leaves {place} and {next_one.position} are no neighbours")
        check_b3_pair(leaf, after, fees, blob_gas)
        return
    if place + 1 != header.transactions:
        raise ProofRejected(f"leaf {place} is not the last one")
    check_b3_last(header, leaf, fees, blob_gas)


def _added(accused: Accused, leaf: Leaf, envelope: bytes) -> tuple[int, int]:
    """Fees (wei) and blob gas that the leaf's transaction adds; nothing for a system transaction, told by its txid."""
    config, header = accused.config, accused.header
    if any(system_txid(kind, config.chain_id, header.number) == leaf.txid for kind in SystemKind):
        if envelope:
            raise ProofRejected("a system transaction has no envelope")
        return 0, 0
    if keccak256(envelope) != leaf.txid:
        raise ProofRejected("the envelope is not the one that the leaf names")
    transaction = decode_envelope(envelope)
    if config.profile == Profile.ETHEREUM:
        return 0, transaction.blob_gas
    price = transaction.effective_gas_price(header.base_fee)
    return compute_fees_added(price, header.base_fee, leaf.gas_used), transaction.blob_gas
