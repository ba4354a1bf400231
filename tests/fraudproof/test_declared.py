"""Proofs against declared transactions: none verifies against an honest block; a maker's leaf must be the maker's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.errors import Rule
from manaflow.fraudproof.build import (
    leaf_evidence,
    proof_of,
    prove_b3,
    prove_transaction,
    prove_v1_maker,
)
from manaflow.fraudproof.evidence import HeaderEvidence, MakerEvidence
from manaflow.fraudproof.format import TRANSACTION_RULES
from manaflow.moves import trees
from manaflow.moves.block import Block
from manaflow.validator.conflicts import signed_makers
from tests.catalogue.case import MANAFLOW, case_of, lie_of
from tests.catalogue.catalogue import CATALOGUE
from tests.declared_chain import sealed_chain
from tests.fraudproof.forge import rejection

CHAIN = sealed_chain()
GENESIS, FIRST, _, LAST = CHAIN.producer.blocks
CONFIG = CHAIN.config
HISTORY = [block.hash for block in CHAIN.producer.blocks[:-1]]
SIGNED = [(t, i) for t in range(len(LAST.leaves)) for i in signed_makers(LAST, t)]
GONE = "did not make cell"


def maker_of(number: int) -> Block | None:
    blocks = CHAIN.producer.blocks
    return next((b for b in blocks if b.header.first_cell <= number < b.header.first_cell + b.header.cells), None)


def number_at(t: int, i: int) -> int:
    return int(LAST.moves.number[int(LAST.leaves.move_offsets()[t]) + i])


@pytest.mark.parametrize("rule", sorted(TRANSACTION_RULES))
def test_no_transaction_of_an_honest_block_is_convicted(rule: Rule) -> None:
    for block in (FIRST, LAST):
        for t in range(len(block.leaves)):
            proof = prove_transaction(rule, block, CONFIG, t, CHAIN.producer.codes)
            assert rejection(proof.encode(), block.hash)


def test_no_total_of_an_honest_block_is_convicted() -> None:
    for t in range(len(LAST.leaves)):
        assert "holds" in rejection(prove_b3(LAST, CONFIG, t).encode(), LAST.hash)


def test_no_maker_of_an_honest_block_is_convicted() -> None:
    makers = {maker_of(number_at(*seat)) for seat in SIGNED}
    assert makers == {None, GENESIS, FIRST, LAST}, "virgin, of genesis, of an earlier block and of this one"
    for seat in SIGNED:
        proof = prove_v1_maker(LAST, CONFIG, seat, maker_of(number_at(*seat)), HISTORY)
        assert "V1 holds" in rejection(proof.encode(), LAST.hash)


def evidence_of(name: str) -> tuple[Block, MakerEvidence]:
    """The evidence that convicts a block of the catalogue."""
    lie = lie_of(next(entry for entry in CATALOGUE if entry.name == name))
    assert isinstance(lie.made, Block)
    assert lie.transaction is not None
    assert lie.move is not None
    row = int(lie.made.leaves.move_offsets()[lie.transaction]) + lie.move
    number = int(lie.made.moves.number[row])
    maker = lie.made if number >= lie.made.header.first_cell else maker_of(number)
    evidence = prove_v1_maker(lie.made, CONFIG, (lie.transaction, lie.move), maker, HISTORY).evidence
    assert isinstance(evidence, MakerEvidence)
    return lie.made, evidence


def refused(block: Block, evidence: MakerEvidence) -> str:
    return rejection(proof_of(Rule.V1, block, CONFIG, evidence).encode(), block.hash)


def test_invalid_leaf_that_did_not_make_the_cell() -> None:
    block, evidence = evidence_of("maker_another_of_an_earlier_block")
    assert evidence.maker is not None
    others = [t for t in range(len(FIRST.leaves)) if t != evidence.maker.position]
    for t in others:
        assert GONE in refused(block, replace(evidence, maker=leaf_evidence(FIRST, t)))
    assert GONE in refused(block, replace(evidence, old=None, maker=leaf_evidence(block, 0)))


def test_invalid_maker_left_out() -> None:
    block, evidence = evidence_of("maker_another_of_an_earlier_block")
    assert GONE in refused(block, replace(evidence, old=None, maker=None))
    assert "without a leaf" in refused(block, replace(evidence, maker=None))


def test_invalid_older_block_outside_the_history() -> None:
    block, evidence = evidence_of("maker_another_of_an_earlier_block")
    assert evidence.old is not None
    path = (trees.leaf_hash(b"other"), *evidence.old.path[1:])
    assert "history" in refused(block, replace(evidence, old=HeaderEvidence(evidence.old.header, path)))
    assert "is not in block" in refused(block, replace(evidence, old=None))


def test_invalid_moves_envelope_and_position() -> None:
    block, evidence = evidence_of("maker_another_of_the_block")
    t, envelopes = evidence.leaf.position, case_of(MANAFLOW).block.envelopes
    assert "not the one that the leaf names" in refused(block, replace(evidence, envelope=envelopes[0]))
    assert "not those of the leaf" in refused(block, replace(evidence, moves=evidence.moves[:-126]))
    signed = signed_makers(block, t)
    unsigned = next(i for i in range(len(evidence.moves) // 126) if i not in signed)
    for position in (unsigned, 10**6):
        assert "no signature fixes" in refused(block, replace(evidence, position=position))


def test_invalid_ethereum_transaction_fixes_no_maker() -> None:
    ethereum = next(t for t in range(len(LAST.leaves)) if LAST.envelopes[t][0] == 2)
    proof = prove_v1_maker(LAST, CONFIG, (ethereum, 0), maker_of(number_at(ethereum, 0)), HISTORY)
    assert isinstance(proof.evidence, MakerEvidence)
    assert "another rule" in rejection(proof.encode(), LAST.hash)


def test_invalid_s1_of_a_declared_and_s2_of_an_ethereum_envelope() -> None:
    """The rule follows the envelope: neither convicts by the other's."""
    for entry in CATALOGUE:
        if entry.base == MANAFLOW and entry.rule in (Rule.S2, Rule.S3, Rule.S4):
            lie = lie_of(entry)
            assert isinstance(lie.made, Block)
            assert lie.transaction is not None
            for rule in (Rule.S1, Rule.S2, Rule.S3, Rule.S4):
                if rule != entry.rule:
                    proof = prove_transaction(rule, lie.made, CONFIG, lie.transaction)
                    assert rejection(proof.encode(), lie.made.hash)
