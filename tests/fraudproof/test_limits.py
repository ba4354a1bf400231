"""X5: what a proof of it holds, and what it does not need."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.errors import Rule
from manaflow.evm.executor import Execution, Job
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.fraudproof.build import prove_transaction
from manaflow.fraudproof.build_codes import with_codes_asked_for
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.evidence import TransactionEvidence
from manaflow.fraudproof.format import MAX_CODES, Proof
from manaflow.fraudproof.verify import verify
from manaflow.moves.block import Block
from manaflow.rules.execution import MAX_CODE_BYTES, MAX_GAS_LIMIT
from tests.catalogue.case import CODES as CODED
from tests.catalogue.case import case_of, lie_of
from tests.catalogue.catalogue import CATALOGUE
from tests.manaflow_chain import CODE_BYTES

PYEVM = PyEvmExecutor()


class Never:
    """An executor that must not run."""

    name = "never"

    def execute(self, job: Job) -> Execution:
        raise AssertionError("executed")


def lie(name: str) -> tuple[Block, int]:
    """A dishonest block of the catalogue, and the place of what is wrong with it."""
    made = lie_of(next(entry for entry in CATALOGUE if entry.name == name))
    assert isinstance(made.made, Block)
    assert made.transaction is not None
    return made.made, made.transaction


def proof_of(block: Block, transaction: int, rule: Rule = Rule.X5) -> Proof:
    case = case_of(CODED)
    return with_codes_asked_for(prove_transaction(rule, block, case.config, transaction, case.chain.codes))


def codes_of(proof: Proof) -> tuple[bytes, ...]:
    assert isinstance(proof.evidence, TransactionEvidence)
    return proof.evidence.codes


@pytest.mark.parametrize("name", ["one_gas_too_many", "gas_of_the_whole_block"])
def test_a_gas_limit_is_shown_without_executing(name: str) -> None:
    block, t = lie(name)
    verified = verify(proof_of(block, t).encode(), block.hash, Never(), max_gas=0)
    assert (verified.rule, verified.verdict.transaction) == (Rule.X5, t)


def test_codes_are_shown_up_to_the_one_that_is_too_much() -> None:
    block, t = lie("more_codes_than_a_proof_holds")
    proof = proof_of(block, t)
    sizes = list(map(len, codes_of(proof)))
    assert MAX_CODE_BYTES < sum(sizes) <= MAX_CODE_BYTES + CODE_BYTES
    verified = verify(proof.encode(), block.hash, PYEVM)
    assert (verified.rule, verified.verdict.transaction) == (Rule.X5, t)


def test_each_of_those_codes_is_needed() -> None:
    block, t = lie("one_code_too_many")
    proof = proof_of(block, t)
    assert isinstance(proof.evidence, TransactionEvidence)
    fewer = replace(proof, evidence=replace(proof.evidence, codes=proof.evidence.codes[1:]))
    with pytest.raises(ProofRejected, match="is missing"):
        verify(fewer.encode(), block.hash, PYEVM)


@pytest.mark.parametrize("t", [1, 2])
def test_an_honest_transaction_just_within_the_limit_is_not_convicted(t: int) -> None:
    block = case_of(CODED).block
    with pytest.raises(ProofRejected, match="breaks no rule: X5 holds"):
        verify(proof_of(block, t).encode(), block.hash, PYEVM)


def test_unused_codes_are_left_out_of_any_long_proof_of_an_execution() -> None:
    block, t = lie("more_codes_declared_than_a_proof_holds")
    proof = proof_of(block, t, Rule.X4)
    assert sum(map(len, codes_of(proof))) <= MAX_CODE_BYTES
    assert verify(proof.encode(), block.hash, PYEVM).rule == Rule.X4


def test_a_proof_may_hold_as_many_codes_as_gas_reaches() -> None:
    """Sender, target, delegates and authorities cost more than an access that a list pays ahead (2,400 + 100)."""
    assert MAX_CODES > MAX_GAS_LIMIT // 2_400 + 4
