"""Building proofs of what no leaf or move shows alone, as pure functions of blocks, like build.py: counts that a tree
contradicts (B3), too many bytes of code (B4), and a block without the leaves that it must have (B8).
"""

from __future__ import annotations

from collections.abc import Sequence

from manaflow.errors import Rule
from manaflow.fraudproof.build import leaf_evidence, proof_of
from manaflow.fraudproof.evidence import (
    CodeEvidence,
    CodesEvidence,
    LeafEvidence,
    LeavesEvidence,
    TransactionEvidence,
    Tree,
    TreeEvidence,
)
from manaflow.fraudproof.format import Proof
from manaflow.moves import trees
from manaflow.moves.block import Block
from manaflow.moves.hashing import keccak256
from manaflow.rules.bodies import most_code_bytes
from manaflow.rules.config import ChainConfig, Profile
from manaflow.rules.leaves import MAX_MOVES


def prove_no_leaves(block: Block, config: ChainConfig) -> Proof:
    """B8: a block without leaves whose config or withdrawals demand some."""
    paid = b"".join(w.encode() for w in block.withdrawals)
    return proof_of(Rule.B8, block, config, TransactionEvidence(None, b"", b"", (), paid))


def prove_leaf_count(block: Block, config: ChainConfig) -> Proof:
    """B3: the header's number of transactions is not that of its tree."""
    rows = [row.tobytes() for row in block.leaves.encoded()]
    tree = _contradiction(Tree.TRANSACTIONS, rows, block.header.transactions)
    return proof_of(Rule.B3, block, config, LeavesEvidence(None, None, b"", tree))


def prove_code_count(block: Block, config: ChainConfig) -> Proof:
    """B3: the header's number of codes is not that of its tree."""
    tree = _contradiction(Tree.CODES, [keccak256(code) for code in block.codes], block.header.codes)
    return proof_of(Rule.B3, block, config, LeavesEvidence(None, None, b"", tree))


def prove_move_count(block: Block, config: ChainConfig, transaction: int, start: int, count: int) -> Proof:
    """B3: a leaf's number of moves is not that of its tree, whose moves are rows `start` to `start + count`."""
    leaf = block.leaves[transaction]
    rows = [move.encode() for move in block.moves.take(start, start + count).objects()]
    tree = _contradiction(Tree.MOVES, rows, leaf.consumes + leaf.references)
    return proof_of(Rule.B3, block, config, LeavesEvidence(_leaf(block, transaction), None, b"", tree))


def prove_leaf_size(block: Block, config: ChainConfig, transaction: int) -> Proof:
    """B3: a leaf that counts more moves than one may have."""
    return proof_of(Rule.B3, block, config, LeavesEvidence(_leaf(block, transaction), None, b""))


def first_oversized_leaf(block: Block, config: ChainConfig) -> int | None:
    """The first transaction whose leaf counts more moves than one may have."""
    if config.profile != Profile.MANAFLOW:
        return None
    counted = zip(block.leaves.consumes.tolist(), block.leaves.references.tolist(), strict=True)
    return next((t for t, (consumes, references) in enumerate(counted) if consumes + references > MAX_MOVES), None)


def first_wrong_tree(block: Block, last: int) -> tuple[int, int, int | None] | None:
    """The first transaction up to `last` whose moves root is not that of the moves that its leaf counts.

    Returns (transaction, its first row, how many moves from there on have that root; None if none have). None: all fit.
    """
    start = 0
    for transaction in range(last + 1):
        leaf = block.leaves[transaction]
        stop = start + leaf.consumes + leaf.references
        hashes = [trees.leaf_hash(move.encode()) for move in block.moves.take(start, stop).objects()]
        if len(hashes) != stop - start or trees.root_of_hashes(hashes) != leaf.moves_root:
            return transaction, start, _count_with_root(block, start, leaf.moves_root)
        start = stop
    return None


def _count_with_root(block: Block, start: int, root: bytes) -> int | None:
    if root == trees.EMPTY_ROOT:
        return 0
    frontier = trees.Frontier()
    for move in block.moves.take(start, len(block.moves)).objects():
        frontier.append(trees.leaf_hash(move.encode()))
        if frontier.root() == root:
            return frontier.count
    return None


def prove_code_number(block: Block, config: ChainConfig) -> Proof:
    """B4: the header counts more codes than a body may have."""
    return proof_of(Rule.B4, block, config, CodesEvidence(None, None, None))


def prove_code_size(block: Block, config: ChainConfig) -> Proof:
    """B4: as few codes as are longer together than the codes of a block may be."""
    hashes = [keccak256(code) for code in block.codes]
    largest = sorted(range(len(hashes)), key=lambda i: -len(block.codes[i]))
    most, total, shown = most_code_bytes(block.header), 0, []
    for i in largest:
        shown.append(i)
        total += len(block.codes[i])
        if total > most:
            break
    tree = [trees.leaf_hash(code_hash) for code_hash in hashes]
    codes = tuple(CodeEvidence(i, block.codes[i], tuple(trees.path(tree, i))) for i in sorted(shown))
    return proof_of(Rule.B4, block, config, CodesEvidence(None, None, None, codes))


def _leaf(block: Block, transaction: int) -> LeafEvidence:
    return leaf_evidence(block, transaction)


def _contradiction(tree: Tree, rows: Sequence[bytes], declared: int) -> TreeEvidence:
    """Where a tree of len(rows) leaves has a node that a tree of `declared` leaves has not, nearest to the root."""
    if len(rows) == declared:
        raise ValueError(f"the tree has {declared} leaves, as it says")
    steps: list[bytes] = []
    while rows and declared > 1 and len(rows) > 1:
        split, wanted = trees.split(len(rows)), trees.split(declared)
        right = split == wanted  # then the left subtrees are alike
        sibling = rows[:split] if right else rows[split:]
        steps.insert(0, bytes((right,)) + trees.root(sibling))
        rows, declared = (rows[split:], declared - wanted) if right else (rows[:split], wanted)
    return TreeEvidence(tree, _preimage(rows), tuple(steps))


def _preimage(rows: Sequence[bytes]) -> bytes:
    """What the root of a subtree is the hash of."""
    if len(rows) < 2:
        return b"\0" + rows[0] if rows else b""
    split = trees.split(len(rows))
    return b"\1" + trees.root(rows[:split]) + trees.root(rows[split:])
