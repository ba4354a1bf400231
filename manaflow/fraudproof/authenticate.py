"""Binding evidence to the trusted head: headers by hashes and history paths, leaves and moves by their trees."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise

from manaflow.errors import Failure, Rule, Verdict
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.evidence import (
    HeaderEvidence,
    ItemEvidence,
    LeafEvidence,
    MoveEvidence,
    PlacedEvidence,
    Tree,
    TreeEvidence,
)
from manaflow.fraudproof.format import MOVE_BYTES, STEP_BYTES, WITHDRAWAL_BYTES, Proof
from manaflow.moves import trees
from manaflow.moves.block import Withdrawal
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.leaf import Leaf
from manaflow.moves.marks import Mark, Move
from manaflow.rules.config import ChainConfig
from manaflow.rules.headers import check_b7
from manaflow.rules.state import Placed


@dataclass(frozen=True, slots=True)
class Shown:
    """Where a node stands in its tree."""

    position: int
    """Of the first leaf below it; 0 in a tree that declares no count."""
    size: int | None
    """How many leaves the declared count puts below it; None in a tree that declares none."""


@dataclass(frozen=True, slots=True)
class Accused:
    """A header of the trusted chain that its producer signed, and the config that judges it."""

    config: ChainConfig
    header: Header
    hash: bytes
    producer: bytes


def authenticate_header(proof: Proof, trusted_head: bytes) -> Accused:
    """The accused block: the trusted head (32-byte hash) or an ancestor, after genesis, signed by a producer (B7).

    Raises ProofRejected. The config is decoded only after a trusted header has named its hash.
    """
    block_hash = hashlib.sha256(proof.header).digest()
    top = proof.header if proof.head is None else proof.head.header
    if hashlib.sha256(top).digest() != trusted_head:
        what = "accused block" if proof.head is None else "head in the file"
        raise ProofRejected(f"the {what} is not the trusted head 0x{trusted_head.hex()}")
    header, head = decode_header(proof.header), decode_header(top)
    named = {header.config, head.config} if proof.rule != Rule.B2 else set()  # B2 compares it: the parent names it
    if named - {hashlib.sha256(proof.config).digest()}:
        raise ProofRejected("the config is not the one that the headers name")
    try:
        config = ChainConfig.decode(proof.config)
    except Failure as failure:
        raise ProofRejected(str(failure)) from failure
    if header.number <= config.genesis_number and proof.rule != Rule.B2:  # B2 needs a parent, which genesis has not
        raise ProofRejected("genesis cannot be convicted")
    if proof.head is not None:
        _check_history(config, block_hash, header, head, proof.head.path)
    try:
        producer = check_b7(block_hash, proof.signature, config)
    except Verdict as verdict:
        raise ProofRejected(f"the accused header is not its producer's: {verdict}") from verdict
    return Accused(config, header, block_hash, producer)


def authenticate_old(accused: Accused, evidence: HeaderEvidence) -> Header:
    """An older header (genesis included) in the accused header's own history. Raises ProofRejected."""
    header = decode_header(evidence.header)
    block_hash = hashlib.sha256(evidence.header).digest()
    _check_history(accused.config, block_hash, header, accused.header, evidence.path)
    return header


def authenticate_parent(accused: Accused, evidence: HeaderEvidence) -> Header:
    """The accused header's parent: named by its parent hash, or the last block of its history. Raises ProofRejected.

    In an honest block both are the same; in a dishonest one either convicts (B2 compares the parent hash).
    """
    header = decode_header(evidence.header)
    block_hash = hashlib.sha256(evidence.header).digest()
    if header.number < accused.config.genesis_number:
        raise ProofRejected("the parent is older than genesis: it breaks B2 itself")
    if not evidence.path and block_hash == accused.header.parent_hash:
        return header
    count = accused.header.number - accused.config.genesis_number
    root = trees.root_from_path(trees.leaf_hash(block_hash), count - 1, count, evidence.path)
    if root != accused.header.history_root:
        raise ProofRejected("the header is not the accused block's parent")
    return header


def authenticate_withdrawals(header: Header, data: bytes) -> list[Withdrawal]:
    """The withdrawals of the header's block, WITHDRAWAL_BYTES each. Raises ProofRejected."""
    rows = [data[at : at + WITHDRAWAL_BYTES] for at in range(0, len(data), WITHDRAWAL_BYTES)]
    if trees.root(rows) != header.withdrawals_root:
        raise ProofRejected("the withdrawals are not those of the header")
    number = int.from_bytes
    return [Withdrawal(number(r[:8], "big"), number(r[8:16], "big"), r[16:36], number(r[36:], "big")) for r in rows]


def decode_header(data: bytes) -> Header:
    """A header from its RLP. Raises ProofRejected."""
    try:
        return Header.decode(data)
    except Verdict as verdict:
        raise ProofRejected(str(verdict)) from verdict


def _check_history(
    config: ChainConfig, block_hash: bytes, header: Header, later: Header, path: tuple[bytes, ...]
) -> None:
    position, count = header.number - config.genesis_number, later.number - config.genesis_number
    root = trees.root_from_path(trees.leaf_hash(block_hash), position, count, path)
    if root != later.history_root:
        raise ProofRejected(f"the path does not lead from block {header.number} to the history of block {later.number}")


def authenticate_leaf(header: Header, evidence: LeafEvidence) -> Leaf:
    """A leaf of the header's transactions. Raises ProofRejected."""
    root = trees.root_from_path(trees.leaf_hash(evidence.leaf), evidence.position, header.transactions, evidence.path)
    if root != header.transactions_root:
        raise ProofRejected(f"leaf {evidence.position} is not in block {header.number}")
    return Leaf.decode(evidence.leaf)


def authenticate_item(evidence: ItemEvidence, count: int, root: bytes) -> bytes:
    """An entry of a tree with `count` leaves. Raises ProofRejected."""
    found = trees.root_from_path(trees.leaf_hash(evidence.item), evidence.position, count, evidence.path)
    if found != root:
        raise ProofRejected(f"item {evidence.position} is not in its tree")
    return evidence.item


def authenticate_move(leaf: Leaf, evidence: MoveEvidence) -> Move:
    """A move of the leaf's transaction. Raises ProofRejected."""
    count = leaf.consumes + leaf.references
    root = trees.root_from_path(trees.leaf_hash(evidence.move), evidence.position, count, evidence.path)
    if root != leaf.moves_root:
        raise ProofRejected(f"move {evidence.position} is not in its transaction")
    return decode_move(evidence.move)


def authenticate_placed(header: Header, evidence: PlacedEvidence) -> tuple[Leaf, Placed]:
    """A move where it stands in a block, and its leaf. Raises ProofRejected."""
    leaf = authenticate_leaf(header, evidence.leaf)
    move = authenticate_move(leaf, evidence.move)
    place = (header.number, evidence.leaf.position, evidence.move.position)
    return leaf, Placed(move, place, leaf.txid)


def authenticate_moves(leaf: Leaf, data: bytes) -> list[Move]:
    """All moves of the leaf's transaction, MOVE_BYTES each. Raises ProofRejected."""
    rows = [data[at : at + MOVE_BYTES] for at in range(0, len(data), MOVE_BYTES)]
    if len(rows) != leaf.consumes + leaf.references or trees.root(rows) != leaf.moves_root:
        raise ProofRejected("the moves are not those of the leaf")
    return [decode_move(row) for row in rows]


def authenticate_codes(moves: list[Move], codes: tuple[bytes, ...]) -> dict[bytes, bytes]:
    """Code bytes by hash; each must be the prev of a c move, by ascending hash. Raises ProofRejected."""
    hashes = [keccak256(code) for code in codes]
    named = {move.prev for move in moves if move.mark == Mark.CODE}
    if any(a >= b for a, b in pairwise(hashes)) or not named.issuperset(hashes):
        raise ProofRejected("the codes are out of order, or no move names them")
    return dict(zip(hashes, codes, strict=True))


def decode_move(data: bytes) -> Move:
    """The move in MOVE_BYTES bytes: mask | mark | number:8 | addr | slot | prev | next."""
    number = int.from_bytes(data[2:10], "big")
    return Move(data[0], data[1], number, data[10:30], data[30:62], data[62:94], data[94:MOVE_BYTES])


def authenticate_node(header: Header, leaf: LeafEvidence | None, node: TreeEvidence) -> Shown:
    """A node of one of the header's trees, or of its leaf's moves. Raises ProofRejected.

    The steps to it stay within what the tree's declared count allows: they end where that puts a leaf.
    """
    if (leaf is not None) != (node.tree == Tree.MOVES):
        raise ProofRejected("a leaf belongs to a tree of moves, and to no other")
    count, root = _declared(header, leaf, node.tree)
    found = hashlib.sha256(node.preimage).digest()
    for step in node.steps:
        if len(step) != STEP_BYTES or step[0] > 1:
            raise ProofRejected("a step of the tree is neither from the left nor from the right")
        found = trees.node_hash(step[1:], found) if step[0] else trees.node_hash(found, step[1:])
    if found != root:
        raise ProofRejected("the node is not in the tree")
    return Shown(0, None) if count is None else _place_of(count, node.steps)


def _declared(header: Header, evidence: LeafEvidence | None, tree: Tree) -> tuple[int | None, bytes]:
    """How many leaves the tree says it has, None where nothing says it, and its root."""
    if evidence is not None:
        leaf = authenticate_leaf(header, evidence)
        return leaf.consumes + leaf.references, leaf.moves_root
    if tree == Tree.CODES:
        return header.codes, header.codes_root
    if tree == Tree.WITHDRAWALS:
        return None, header.withdrawals_root
    return header.transactions, header.transactions_root


def _place_of(count: int, steps: tuple[bytes, ...]) -> Shown:
    """Where the steps, from a node up to the root of a tree of `count` leaves, come from."""
    position = 0
    for step in reversed(steps):
        if count < 2:
            raise ProofRejected("the steps go on below where the count puts a leaf")
        left = trees.split(count)
        position, count = (position + left, count - left) if step[0] else (position, left)
    return Shown(position, count)
