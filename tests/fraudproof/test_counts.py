"""B3 of counts that their trees contradict, B4 of too much code, B8 of missing leaves, B2 of another chain's config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from manaflow.errors import Rule
from manaflow.fraudproof.build import prove_b3, prove_parent, prove_transaction
from manaflow.fraudproof.build_counts import (
    first_wrong_tree,
    prove_code_count,
    prove_code_size,
    prove_leaf_count,
    prove_move_count,
    prove_no_leaves,
)
from manaflow.fraudproof.evidence import CodesEvidence, LeavesEvidence, TransactionEvidence, Tree, TreeEvidence
from manaflow.fraudproof.format import Proof
from manaflow.moves import trees
from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.hashing import keccak256
from manaflow.rules.bodies import most_code_bytes
from tests.fraudproof.forge import (
    Parts,
    convict,
    executed_chain,
    forge,
    forge_header,
    forge_leaf,
    hashes,
    moves_of,
    rejection,
)

CHAIN = executed_chain()
CONFIG, HONEST = CHAIN.config, CHAIN.head


def with_codes(count: int) -> Block:
    """The block with as many codes that nothing needs, which is honest."""
    codes = sorted((bytes([i]) for i in range(count)), key=keccak256)
    return Parts.of(HONEST).seal(HONEST.header, codes)


# ---- counts ----


@pytest.mark.parametrize("count", range(10))
def test_every_wrong_number_of_codes_is_proved(count: int) -> None:
    honest = with_codes(count)
    for declared in (*range(12), 2**20, 2**64 - 1):
        accused = forge_header(honest, codes=declared)
        if declared == count:
            with pytest.raises(ValueError, match="as it says"):
                prove_code_count(accused, CONFIG)
            continue
        verdict = convict(prove_code_count(accused, CONFIG), accused, Rule.B3).verdict
        assert verdict.what == "node of a tree by its count"
        why = rejection(graft(prove_code_count(accused, CONFIG), honest), honest.hash)
        assert any(reason in why for reason in ("is not in the tree", "B3 holds", "go on below"))


def nodes(items: list[bytes], steps: tuple[bytes, ...] = ()) -> Iterator[TreeEvidence]:
    """Evidence of every node of a tree over codes' hashes."""
    if len(items) < 2:
        yield TreeEvidence(Tree.CODES, b"\0" + items[0] if items else b"", steps)
        return
    at = trees.split(len(items))
    left, right = items[:at], items[at:]
    yield TreeEvidence(Tree.CODES, b"\1" + trees.root(left) + trees.root(right), steps)
    yield from nodes(left, (b"\0" + trees.root(right), *steps))
    yield from nodes(right, (b"\1" + trees.root(left), *steps))


@pytest.mark.parametrize("count", range(10))
def test_no_node_of_an_honest_tree_convicts(count: int) -> None:
    honest = with_codes(count)
    found = list(nodes([keccak256(code) for code in honest.codes]))
    assert len(found) == max(1, 2 * count - 1)
    for tree in found:
        proof = replace(prove_b3(honest, CONFIG, None), evidence=LeavesEvidence(None, None, b"", tree))
        assert "B3 holds" in rejection(proof, honest.hash)


def graft(proof: Proof, block: Block) -> Proof:
    return replace(proof, header=block.header.encode(), signature=block.signature)


@pytest.mark.parametrize("by", [-2, -1, 1, 5])
def test_a_wrong_number_of_transactions(by: int) -> None:
    accused = forge_header(HONEST, transactions=HONEST.header.transactions + by)
    proof = prove_leaf_count(accused, CONFIG)
    convict(proof, accused, Rule.B3)
    assert "is not in the tree" in rejection(graft(proof, CHAIN.blocks[-2]), CHAIN.blocks[-2].hash)
    assert "B3 holds" in rejection(graft(proof, HONEST), HONEST.hash)


@pytest.mark.parametrize("by", [-1, 1, 7])
def test_a_wrong_number_of_moves(by: int) -> None:
    leaf = HONEST.leaves[2]
    accused = forge_leaf(HONEST, 2, references=leaf.references + by)
    found = first_wrong_tree(accused, 3)
    assert found is not None
    assert found == (2, int(HONEST.leaves.move_offsets()[2]), leaf.consumes + leaf.references)
    start, count = found[1], found[2]
    assert count is not None
    assert convict(prove_move_count(accused, CONFIG, 2, start, count), accused, Rule.B3).verdict.transaction == 2
    assert first_wrong_tree(HONEST, 3) is None


def test_moves_that_are_not_here() -> None:
    assert first_wrong_tree(forge_leaf(HONEST, 1, moves_root=bytes(32)), 3) == (1, len(moves_of(HONEST, 0)), None)
    empty = forge_leaf(HONEST, 1, moves_root=trees.EMPTY_ROOT)
    assert first_wrong_tree(empty, 3) == (1, len(moves_of(HONEST, 0)), 0)
    convict(prove_move_count(empty, CONFIG, 1, 0, 0), empty, Rule.B3)


def test_a_tree_that_is_not_what_it_says() -> None:
    accused = forge_header(with_codes(5), codes=6)
    proof = prove_code_count(accused, CONFIG)
    evidence = proof.evidence
    assert isinstance(evidence, LeavesEvidence)
    tree = evidence.tree
    assert tree is not None
    leaf = prove_b3(HONEST, CONFIG, 1).evidence
    assert isinstance(leaf, LeavesEvidence)
    root = b"\1" + trees.root([keccak256(c) for c in accused.codes[:4]]) + trees.leaf_hash(keccak256(accused.codes[4]))
    for wrong, why in (
        (replace(evidence, envelope=b"x"), "more or less"),
        (replace(evidence, leaf=leaf.leaf), "more or less"),
        (replace(evidence, after=leaf.leaf), "more or less"),
        (replace(evidence, tree=replace(tree, tree=Tree.MOVES)), "more or less"),
        (replace(evidence, tree=replace(tree, tree=Tree.TRANSACTIONS)), "is not in the tree"),
        (replace(evidence, tree=replace(tree, preimage=tree.preimage + b"x")), "is not in the tree"),
        (replace(evidence, tree=replace(tree, steps=tree.steps[1:])), "is not in the tree"),
        (replace(evidence, tree=replace(tree, steps=(b"\2" + bytes(32), *tree.steps))), "neither from the left"),
        (replace(evidence, tree=TreeEvidence(Tree.CODES, root, ())), "B3 holds"),
    ):
        assert why in rejection(replace(proof, evidence=wrong), accused.hash)


def test_steps_below_a_leaf_show_nothing() -> None:
    """A code's own bytes cannot pass as nodes: they hash as a leaf."""
    accused = forge_header(with_codes(2), codes=1)
    evidence = prove_code_count(accused, CONFIG).evidence
    assert isinstance(evidence, LeavesEvidence)
    below = next(tree for tree in nodes([keccak256(code) for code in accused.codes]) if tree.steps)
    proof = replace(prove_code_count(accused, CONFIG), evidence=replace(evidence, tree=below))
    assert "go on below" in rejection(proof, accused.hash)


def test_what_is_neither_leaf_nor_node() -> None:
    accused = forge_header(HONEST, codes=1, codes_root=trees.hashlib.sha256(b"\2x").digest())
    tree = TreeEvidence(Tree.CODES, b"\2x", ())
    proof = replace(prove_b3(accused, CONFIG, None), evidence=LeavesEvidence(None, None, b"", tree))
    assert "neither a leaf" in rejection(proof, accused.hash)


# ---- B4: too much code ----


def test_too_much_code_is_proved_by_the_fewest() -> None:
    most = most_code_bytes(HONEST.header)
    small, large = [bytes([i]) * 10 for i in range(20)], [bytes([i]) * (most // 2) for i in range(3)]
    for codes, needed in (([bytes(most + 1)], 1), ([*small, *large], 3), ([*small, bytes(most - 5)], 2)):
        ordered = sorted(codes, key=keccak256)
        accused = Parts.of(HONEST).seal(HONEST.header, ordered)
        proof = prove_code_size(accused, CONFIG)
        assert isinstance(proof.evidence, CodesEvidence)
        assert len(proof.evidence.codes) == needed
        assert convict(proof, accused, Rule.B4).verdict.what == "bytes of code in the body"


def test_as_much_code_as_may_be_is_not_convicted() -> None:
    most = most_code_bytes(HONEST.header)
    codes = sorted([bytes(most - 10), b"\1" * 10], key=keccak256)
    honest = Parts.of(HONEST).seal(HONEST.header, codes)
    proof = prove_code_size(honest, CONFIG)
    assert "B4 holds" in rejection(proof, honest.hash)
    evidence = proof.evidence
    assert isinstance(evidence, CodesEvidence)
    for wrong, why in (
        (replace(evidence, codes=evidence.codes * 2), "out of order"),
        (replace(evidence, codes=(evidence.codes[0], evidence.codes[0])), "out of order"),
        (replace(evidence, codes=evidence.codes[::-1]), "out of order"),
        (replace(evidence, codes=(replace(evidence.codes[0], code=bytes(most + 1)),)), "not in its tree"),
        (replace(evidence, codes=(replace(evidence.codes[0], position=1),)), "not in its tree"),
    ):
        assert why in rejection(replace(proof, evidence=wrong), honest.hash)


# ---- B8: no leaves ----


def test_a_block_without_the_leaves_that_it_must_have() -> None:
    accused = Parts().seal(HONEST.header)
    assert convict(prove_no_leaves(accused, CONFIG), accused, Rule.B8).verdict.expected == 1
    paid = Parts(withdrawals=(Withdrawal(1, 1, b"\7" * 20, 5),)).seal(HONEST.header)
    assert convict(prove_no_leaves(paid, CONFIG), paid, Rule.B8).verdict.expected == 2


def test_no_leaves_convict_nobody_who_has_some() -> None:
    proof = prove_no_leaves(HONEST, CONFIG)
    assert "the leaf is missing" in rejection(proof, HONEST.hash)
    for rule in (Rule.M1, Rule.S1, Rule.X0):
        assert "the leaf is missing" in rejection(replace(proof, rule=rule), HONEST.hash)
    empty = Parts().seal(HONEST.header)
    evidence = TransactionEvidence(None, b"", b"", (b"x",), b"")
    assert "the leaf is missing" in rejection(replace(prove_no_leaves(empty, CONFIG), evidence=evidence), empty.hash)


def test_an_envelope_of_no_bytes() -> None:
    parts = Parts.of(HONEST)
    parts.txids[1], parts.envelopes[0] = keccak256(b""), b""
    accused = parts.seal(HONEST.header)
    convict(prove_transaction(Rule.S1, accused, CONFIG, 1), accused, Rule.S1)
    missing = prove_transaction(Rule.S1, HONEST, CONFIG, 1)
    assert isinstance(missing.evidence, TransactionEvidence)
    bare = replace(missing, evidence=replace(missing.evidence, envelope=b""))
    assert "envelope is missing" in rejection(bare, HONEST.hash)


# ---- B2: the config ----


def test_a_header_of_another_chain_is_convicted_beside_its_parent() -> None:
    parent = CHAIN.blocks[-2].header
    accused = forge_header(HONEST, config=bytes(32))
    assert convict(prove_parent(Rule.B2, accused, CONFIG, parent), accused, Rule.B2).verdict.what == "config"


def test_another_config_judges_nobody() -> None:
    """Under a config of the accuser's own, neither the honest block's B2 nor anything else can be shown."""
    parent, other = CHAIN.blocks[-2].header, replace(CONFIG, genesis_number=0, challenge_blocks=7)
    proof = prove_parent(Rule.B2, HONEST, other, parent)
    assert "not the one that the parent names" in rejection(proof, HONEST.hash)
    own = replace(parent, config=other.hash)
    for history in ([], hashes(CHAIN)):
        proof = prove_parent(Rule.B2, HONEST, CONFIG, parent, history)
        evidence = replace(proof.evidence, parent=replace(proof.evidence.parent, header=own.encode()))  # type: ignore[union-attr]
        forged = replace(proof, evidence=evidence, config=other.encode())
        assert "not the accused block's parent" in rejection(forged, HONEST.hash)


def test_the_leaf_of_a_forged_block_counts_for_it_alone() -> None:
    accused = forge(HONEST, 1, moves_of(HONEST, 1)[:-1])
    assert first_wrong_tree(accused, 3) is None
