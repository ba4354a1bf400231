"""B1: bytes that a header commits to and that are nothing; and that nothing honest can be passed off as such."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow.errors import Rule, Verdict
from manaflow.fraudproof.build import leaf_evidence, under_head
from manaflow.fraudproof.build_bytes import entry_among, entry_of_tree, prove_malformed, prove_malformed_parent
from manaflow.fraudproof.evidence import BytesEvidence, LeafEvidence, LeavesEvidence, Tree, TreeEvidence
from manaflow.fraudproof.format import MAX_PREIMAGE, MOVE_BYTES, WITHDRAWAL_BYTES, Proof
from manaflow.fraudproof.verify import verify
from manaflow.moves import trees
from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import LEAF_BYTES, Leaf
from manaflow.rules.encoding import check_b1_node, check_b1_parent
from tests.chain import PRODUCER
from tests.fraudproof.forge import (
    EXECUTOR,
    Parts,
    convict,
    executed_chain,
    forge_header,
    forge_leaf,
    hashes,
    moves_of,
    rejection,
)

CHAIN = executed_chain()
CONFIG = CHAIN.config
PAID = tuple(Withdrawal(i, i, bytes([i]) * 20, i) for i in range(5))
CODES = sorted((bytes([i]) for i in range(6)), key=keccak256)
PAST = hashes(CHAIN)
TRANSACTION = 2
"""Whose moves are meddled with."""
WIDTHS = {
    Tree.TRANSACTIONS: LEAF_BYTES,
    Tree.CODES: 32,
    Tree.MOVES: MOVE_BYTES,
    Tree.WITHDRAWALS: WITHDRAWAL_BYTES,
}


def honest() -> Block:
    """A block with something in every tree; that its withdrawals are paid nowhere is no matter of B1."""
    parts = Parts.of(CHAIN.head)
    parts.withdrawals = PAID
    return parts.seal(CHAIN.head.header, CODES)


HONEST = honest()


def rows_of(block: Block, tree: Tree) -> list[bytes]:
    if tree == Tree.TRANSACTIONS:
        return [row.tobytes() for row in block.leaves.encoded()]
    if tree == Tree.CODES:
        return [keccak256(code) for code in block.codes]
    if tree == Tree.MOVES:
        return [move.encode() for move in moves_of(block, TRANSACTION)]
    return [paid.encode() for paid in block.withdrawals]


def with_root(tree: Tree, root: bytes, count: int) -> Block:
    """The block as if its producer had committed to another tree."""
    if tree == Tree.TRANSACTIONS:
        return forge_header(HONEST, transactions_root=root, transactions=count)
    if tree == Tree.CODES:
        return forge_header(HONEST, codes_root=root, codes=count)
    if tree == Tree.WITHDRAWALS:
        return forge_header(HONEST, withdrawals_root=root)
    return forge_leaf(HONEST, TRANSACTION, moves_root=root, consumes=count, references=0)


def leaf_of(block: Block, tree: Tree) -> LeafEvidence | None:
    return leaf_evidence(block, TRANSACTION) if tree == Tree.MOVES else None


def prove(block: Block, node: TreeEvidence) -> Proof:
    return prove_malformed(block.header, block.signature, CONFIG, node, leaf_of(block, node.tree))


# ---- complete: whatever is of another form is shown ----


@pytest.mark.parametrize("tree", Tree)
@pytest.mark.parametrize("length", ["empty", "short", "long", "node", "huge"])
def test_an_entry_of_another_length(tree: Tree, length: str) -> None:
    lengths = {"empty": 0, "short": WIDTHS[tree] - 1, "long": WIDTHS[tree] + 1, "node": 64, "huge": 100_000}
    rows = rows_of(HONEST, tree)
    for position in (0, len(rows) - 1):
        wrong = [*rows[:position], bytes(lengths[length]), *rows[position + 1 :]]
        accused = with_root(tree, trees.root(wrong), len(wrong))
        verdict = convict(prove(accused, entry_among(tree, wrong, position)), accused, Rule.B1).verdict
        assert (verdict.expected, verdict.actual) == (WIDTHS[tree], lengths[length])
        assert (verdict.transaction, verdict.move) == {
            Tree.TRANSACTIONS: (position, None),
            Tree.MOVES: (TRANSACTION, position),
        }.get(tree, (None, None))
        for other in set(range(len(rows))) - {position}:
            assert "B1 holds" in rejection(prove(accused, entry_among(tree, wrong, other)), accused.hash)


@pytest.mark.parametrize("tree", Tree)
@pytest.mark.parametrize("preimage", [b"\2", b"\xff" * 65, b"\1", b"\1" + bytes(63), b"\1" + bytes(65)])
def test_a_node_that_is_none(tree: Tree, preimage: bytes) -> None:
    """Alone under the root, and as the right child of the root of five."""
    root = hashlib.sha256(preimage).digest()
    alone = with_root(tree, root, 5)
    verdict = convict(prove(alone, TreeEvidence(tree, preimage, ())), alone, Rule.B1).verdict
    assert (verdict.transaction, verdict.move) == (TRANSACTION if tree == Tree.MOVES else None, None)
    sibling = bytes(32)
    below = with_root(tree, trees.node_hash(sibling, root), 5)
    verdict = convict(prove(below, TreeEvidence(tree, preimage, (b"\1" + sibling,))), below, Rule.B1).verdict
    assert verdict.transaction == {Tree.TRANSACTIONS: 4, Tree.MOVES: TRANSACTION}.get(tree)


@pytest.mark.parametrize("tree", Tree)
def test_an_empty_tree_below_a_node(tree: Tree) -> None:
    accused = with_root(tree, trees.node_hash(trees.EMPTY_ROOT, bytes(32)), 2)
    convict(prove(accused, TreeEvidence(tree, b"", (b"\0" + bytes(32),))), accused, Rule.B1)
    empty = with_root(tree, trees.EMPTY_ROOT, 0)
    assert "B1 holds" in rejection(prove(empty, TreeEvidence(tree, b"", ())), empty.hash)


def test_what_the_decoder_of_leaves_refuses_convicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Today that is another length alone; should it refuse more, so does B1."""
    node = entry_among(Tree.TRANSACTIONS, rows_of(HONEST, Tree.TRANSACTIONS), 1)
    assert "B1 holds" in rejection(prove(HONEST, node), HONEST.hash)

    def strict(data: bytes) -> Leaf:
        raise Verdict(Rule.B1, "no leaf is good enough")

    monkeypatch.setattr(Leaf, "decode", staticmethod(strict))
    assert convict(prove(HONEST, node), HONEST, Rule.B1).verdict.transaction == 1


@pytest.mark.parametrize("data", [b"", b"\xc0", b"nothing", bytes(1025), HONEST.header.encode() + b"\0"])
def test_a_parent_that_is_no_header(data: bytes) -> None:
    accused = forge_header(HONEST, parent_hash=hashlib.sha256(data).digest())
    proof = prove_malformed_parent(accused.header, accused.signature, CONFIG, data)
    assert "the parent: " in convict(proof, accused, Rule.B1).verdict.what
    child = replace(accused.header, number=3, parent_hash=accused.hash, history_root=trees.root([*PAST, accused.hash]))
    head = forge_header(accused, **{name: getattr(child, name) for name in child.__slots__})
    under = under_head(proof, head.header, [*PAST, accused.hash])
    assert "not the trusted head" in rejection(proof, head.hash)
    assert verify(under.encode(), head.hash, EXECUTOR).block_hash == accused.hash


# ---- sound: nothing of an honest block is shown ----


def nodes(tree: Tree, rows: list[bytes], steps: tuple[bytes, ...] = ()) -> Iterator[TreeEvidence]:
    """Every node of a tree, as it is."""
    if len(rows) < 2:
        yield TreeEvidence(tree, b"\0" + rows[0] if rows else b"", steps)
        return
    left, right = rows[: trees.split(len(rows))], rows[trees.split(len(rows)) :]
    yield TreeEvidence(tree, b"\1" + trees.root(left) + trees.root(right), steps)
    yield from nodes(tree, left, (b"\0" + trees.root(right), *steps))
    yield from nodes(tree, right, (b"\1" + trees.root(left), *steps))


def disguises(node: TreeEvidence) -> Iterator[TreeEvidence]:
    """The node passed off as something else: a leaf of two hashes, its own child, another tree's, one level up."""
    inner = node.preimage[1:]
    yield replace(node, preimage=b"\0" + inner)
    yield replace(node, preimage=inner)
    yield replace(node, preimage=b"\0" + node.preimage)
    yield replace(node, preimage=b"\1" + inner)
    yield replace(node, preimage=hashlib.sha256(node.preimage).digest())
    yield replace(node, preimage=b"")
    if len(inner) == 64:
        yield replace(node, preimage=inner[:32], steps=(b"\0" + inner[32:], *node.steps))
        yield replace(node, preimage=inner[32:], steps=(b"\1" + inner[:32], *node.steps))
        yield replace(node, preimage=inner + b"\0", steps=node.steps)
    for i, step in enumerate(node.steps):
        yield replace(node, steps=node.steps[:i] + node.steps[i + 1 :])
        yield replace(node, steps=(*node.steps[:i], bytes((step[0] ^ 1,)) + step[1:], *node.steps[i + 1 :]))
    yield from (replace(node, tree=other) for other in Tree if other != node.tree)


@pytest.mark.parametrize("tree", Tree)
def test_no_node_of_an_honest_tree_convicts(tree: Tree) -> None:
    found = list(nodes(tree, rows_of(HONEST, tree)))
    assert len(found) >= 7
    for node in found:
        assert "B1 holds" in rejection(prove(HONEST, node), HONEST.hash)
        for disguise in disguises(node):
            if disguise != node:
                proof = prove_malformed(HONEST.header, HONEST.signature, CONFIG, disguise, leaf_of(HONEST, tree))
                why = rejection(proof, HONEST.hash)
                assert "is not in the tree" in why or "belongs to a tree of moves" in why, (node, disguise)


@settings(max_examples=300, deadline=2_000)
@given(st.sampled_from(Tree), st.data())
def test_no_bytes_of_anyone_convict(tree: Tree, data: st.DataObject) -> None:
    node = data.draw(st.sampled_from(list(nodes(tree, rows_of(HONEST, tree)))))
    preimage = data.draw(st.one_of(st.binary(max_size=200), st.just(node.preimage)))
    step = st.tuples(st.sampled_from([b"\0", b"\1"]), st.binary(min_size=32, max_size=32)).map(b"".join)
    steps = data.draw(st.one_of(st.lists(step, max_size=5).map(tuple), st.just(node.steps)))
    assert rejection(prove(HONEST, TreeEvidence(tree, preimage, steps)), HONEST.hash)


def test_an_honest_parent_convicts_nobody() -> None:
    parent = CHAIN.blocks[-2].header.encode()
    proof = prove_malformed_parent(HONEST.header, HONEST.signature, CONFIG, parent)
    assert "B1 holds" in rejection(proof, HONEST.hash)
    for other in (parent[:-1], parent + b"\0", b"", HONEST.header.encode(), HONEST.header.parent_hash):
        proof = prove_malformed_parent(HONEST.header, HONEST.signature, CONFIG, other)
        assert "not those of the accused block's parent" in rejection(proof, HONEST.hash)


def test_a_header_that_does_not_decode_accuses_nobody_alone() -> None:
    """Nothing in such bytes says that they were signed as a header of this chain: their own hash proves nothing."""
    data = b"signed for something else"
    accused = forge_header(HONEST, parent_hash=hashlib.sha256(data).digest())
    signature = PRODUCER.sign_recoverable(data)
    own = Proof(Rule.B1, CONFIG.encode(), None, data, signature, BytesEvidence(None, None, b""))
    assert "does not decode" in rejection(own, hashlib.sha256(data).digest())
    foreign = prove_malformed_parent(accused.header, CHAIN.keys[0].sign_recoverable(data), CONFIG, data)
    assert "not its producer's" in rejection(foreign, accused.hash)


# ---- one form ----


def test_a_proof_of_bytes_holds_nothing_else() -> None:
    rows = [*rows_of(HONEST, Tree.CODES)[:-1], b"x"]
    accused = with_root(Tree.CODES, trees.root(rows), len(rows))
    proof = prove(accused, entry_among(Tree.CODES, rows, len(rows) - 1))
    evidence = proof.evidence
    assert isinstance(evidence, BytesEvidence)
    leaf, node = leaf_evidence(HONEST, 1), evidence.node
    assert node is not None
    for wrong, why in (
        (replace(evidence, parent=b"x"), "needs no parent"),
        (replace(evidence, leaf=leaf), "belongs to a tree of moves"),
        (replace(evidence, node=None), "not those of the accused block's parent"),
        (replace(evidence, node=None, leaf=leaf), "need nothing else"),
        (replace(evidence, node=replace(node, tree=Tree.MOVES)), "belongs to a tree of moves"),
        (replace(evidence, node=replace(node, steps=(b"\2" + node.steps[0][1:], *node.steps[1:]))), "neither from"),
    ):
        assert why in rejection(replace(proof, evidence=wrong), accused.hash)


def test_steps_stay_within_the_count() -> None:
    """Below the place of a leaf stands nothing, whatever it hashes to: that is B3's to show, one step up."""
    rows = [keccak256(b"a"), b"x"]
    accused = with_root(Tree.CODES, trees.root(rows), 1)
    assert "go on below" in rejection(prove(accused, entry_among(Tree.CODES, rows, 1)), accused.hash)
    fewer = with_root(Tree.WITHDRAWALS, trees.root(rows), 0)
    convict(prove(fewer, entry_among(Tree.WITHDRAWALS, rows, 1)), fewer, Rule.B1)


def test_withdrawals_have_no_count_to_contradict() -> None:
    node = next(nodes(Tree.WITHDRAWALS, rows_of(HONEST, Tree.WITHDRAWALS)))
    evidence = LeavesEvidence(None, None, b"", node)
    proof = replace(prove(HONEST, node), rule=Rule.B3, evidence=evidence)
    assert "declares no count" in rejection(proof, HONEST.hash)


def test_only_b1_brings_bytes_of_any_length() -> None:
    rows = [bytes(MAX_PREIMAGE + 1)]
    accused = with_root(Tree.CODES, trees.root(rows), 1)
    proof = prove(accused, entry_among(Tree.CODES, rows, 0))
    convict(proof, accused, Rule.B1)
    assert isinstance(proof.evidence, BytesEvidence)
    counted = replace(proof, rule=Rule.B3, evidence=LeavesEvidence(None, None, b"", proof.evidence.node))
    assert f"at most {MAX_PREIMAGE}" in rejection(counted, accused.hash)


# ---- builders and the rule itself ----


@pytest.mark.parametrize("count", range(1, 18))
def test_steps_lead_where_the_path_does(count: int) -> None:
    rows = [bytes([i]) for i in range(count)]
    for position in range(count):
        node, root = entry_among(Tree.CODES, rows, position), hashlib.sha256(b"\0" + rows[position]).digest()
        for step in node.steps:
            root = trees.node_hash(step[1:], root) if step[0] else trees.node_hash(root, step[1:])
        assert root == trees.root(rows)
        path = [step[1:] for step in node.steps]
        assert entry_of_tree(Tree.CODES, rows[position], position, count, path) == node
        with pytest.raises(ValueError, match="no path"):
            entry_of_tree(Tree.CODES, rows[position], position, count, [*path, bytes(32)])
    with pytest.raises(ValueError, match="no path"):
        entry_of_tree(Tree.CODES, b"", count, count, [])


def test_the_rule_alone() -> None:
    for preimage in (b"\0" + bytes(44), b"\1" + bytes(64)):
        check_b1_node(preimage, 44, is_root=False)
    check_b1_node(b"", 44, is_root=True)
    check_b1_parent(HONEST.header.encode())
    for preimage in (b"\0", b"\0" + bytes(45), b"\1", b"\2" + bytes(44), b"\2" + bytes(64), b""):
        with pytest.raises(Verdict, match="B1"):
            check_b1_node(preimage, 44, is_root=False)
