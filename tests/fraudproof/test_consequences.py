"""From a lie in a chain that was not executed, by a proof, to a chain without it; and the two engines' opinions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from manaflow.errors import Convicted, Rule, Verdict
from manaflow.evm.executor import Execution, Job
from manaflow.evm.native import RevmExecutor
from manaflow.evm.pyevm.executor import PyEvmExecutor
from manaflow.fraudproof.build import prove_parent
from manaflow.fraudproof.challenge import Accusation
from manaflow.fraudproof.consequences import apply_proof
from manaflow.fraudproof.errors import EnginesDisagree, ProofRejected
from manaflow.fraudproof.format import Proof
from manaflow.fraudproof.verify import verify, verify_by_both
from manaflow.moves.block import Block
from manaflow.validator.validator import Validator
from manaflow.validator.witness import Witness
from tests.catalogue.dishonest import Draft, sealed
from tests.fraudproof.forge import executed_chain, forge_header
from tests.replays import HOLESKY, chain

PYEVM = PyEvmExecutor()
NAMES = HOLESKY[:2]


def wrong_logs(block: Block) -> Block:
    """A block with a logs hash that no execution gives."""
    draft = Draft.of(block)
    draft[draft.signed[3]].say(logs_hash=bytes(32))
    return sealed(draft)


@pytest.fixture
def misled(tmp_path: Path) -> Iterator[Validator]:
    """A validator that has taken a lie, since it leaves execution to challengers."""
    replayed = chain(*NAMES)
    with Validator.create(tmp_path / "state", replayed.genesis) as validator:
        validator.import_block(replayed.blocks[0])
        validator.import_block(wrong_logs(replayed.blocks[1]))
        yield validator


def proof_against_head(validator: Validator) -> bytes:
    block = validator.block(validator.head[0].number)
    assert block is not None
    accusation = Accusation(Witness(validator), block)
    verdict = accusation.verdict()
    assert verdict is not None
    assert verdict.rule == Rule.X3
    return accusation.proof(verdict).encode()


def test_the_lie_goes_and_the_honest_block_comes(misled: Validator) -> None:
    honest, lie = chain(*NAMES).blocks[1], misled.head[1]
    data = proof_against_head(misled)
    conviction = apply_proof(misled, data, PYEVM)
    assert (conviction.verified.block_hash, conviction.undone) == (lie, (honest.header.number,))
    assert misled.head[1] == chain(*NAMES).blocks[0].hash
    assert misled.conviction(lie) == conviction.evidence
    assert verify(conviction.evidence, lie, PYEVM).rule == Rule.X3
    with pytest.raises(Convicted, match="F1"):
        misled.import_block(wrong_logs(honest))
    misled.import_block(honest)
    assert apply_proof(misled, data, PYEVM).undone == ()
    assert misled.head[1] == honest.hash


def test_a_proof_that_does_not_verify_changes_nothing(misled: Validator) -> None:
    head, data = misled.head, proof_against_head(misled)
    honest = chain(*NAMES).blocks[1]
    proof = Proof.decode(data)
    for wrong in (
        replace(proof, rule=Rule.X2),
        replace(proof, header=honest.header.encode(), signature=honest.signature),
        replace(proof, config=replace(misled.config, chain_id=5).encode()),
        replace(proof, signature=bytes(65)),
    ):
        with pytest.raises(ProofRejected):
            apply_proof(misled, wrong.encode(), PYEVM)
        assert misled.head == head
    assert misled.conviction(head[1]) is None


def test_a_proof_about_another_chain_is_not_ours(misled: Validator) -> None:
    other = executed_chain()
    accused = forge_header(other.head, base_fee=1)
    data = prove_parent(Rule.B2, accused, other.config, other.blocks[-2].header).encode()
    assert verify(data, accused.hash, PYEVM).rule == Rule.B2
    with pytest.raises(ProofRejected, match="another chain"):
        apply_proof(misled, data, PYEVM)
    assert misled.conviction(accused.hash) is None


class Contrary:
    """An engine that calls every transaction invalid."""

    name = "contrary"

    def execute(self, job: Job) -> Execution:
        raise Verdict(Rule.X0, "I say so")


def test_both_engines_convict(misled: Validator) -> None:
    data = proof_against_head(misled)
    assert verify_by_both(data, misled.head[1], PYEVM, RevmExecutor()).rule == Rule.X3
    with pytest.raises(ProofRejected, match="trusted head"):
        verify_by_both(data, bytes(32), PYEVM, RevmExecutor())


def test_engines_that_disagree_convict_nobody(misled: Validator) -> None:
    data = proof_against_head(misled)
    for engines in ((PYEVM, Contrary()), (Contrary(), PYEVM)):
        with pytest.raises(EnginesDisagree, match=r"convicts nobody.*contrary"):
            verify_by_both(data, misled.head[1], *engines)
