"""Verification: from the file and the trusted head's hash alone, by the rules' own functions and an executor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from manaflow.errors import Failure, Rule, Verdict
from manaflow.evm.executor import Executor
from manaflow.fraudproof.authenticate import Accused, authenticate_header
from manaflow.fraudproof.errors import EnginesDisagree, ProofRejected
from manaflow.fraudproof.evidence import (
    BytesEvidence,
    CodesEvidence,
    Evidence,
    HashesEvidence,
    LeavesEvidence,
    MakerEvidence,
    MovesEvidence,
    ParentEvidence,
)
from manaflow.fraudproof.format import Proof
from manaflow.fraudproof.judge_block import judge_leaves, judge_parent
from manaflow.fraudproof.judge_body import judge_codes, judge_hashes
from manaflow.fraudproof.judge_bytes import judge_bytes
from manaflow.fraudproof.judge_moves import judge_maker, judge_moves
from manaflow.fraudproof.judge_transaction import judge_transaction

MAX_GAS: Final = 2**27
"""Gas limit of an accused transaction that a verifier executes, unless told otherwise: what bounds its time."""


@dataclass(frozen=True, slots=True)
class VerifiedProof:
    """A conviction: this block of the trusted chain is invalid, and so are its descendants (F1)."""

    rule: Rule
    block_hash: bytes
    number: int
    producer: bytes
    """Who signed it, 20 bytes."""
    verdict: Verdict
    """Where the rule is broken, with both values."""


def verify(data: bytes, trusted_head: bytes, executor: Executor, *, max_gas: int = MAX_GAS) -> VerifiedProof:
    """Verify a fraud proof file against the chain whose head has this 32-byte hash.

    executor: an independent one (evm.pyevm.PyEvmExecutor); only proofs of X rules run it. Raises ProofRejected, and
    only that, if the file does not show a block of that chain breaking the very rule that it names.
    """
    proof = Proof.decode(data)
    accused = authenticate_header(proof, trusted_head)
    try:
        _judge(proof.rule, accused, proof.evidence, executor, max_gas)
    except Verdict as verdict:
        if verdict.rule != proof.rule:
            raise ProofRejected(f"the evidence breaks another rule than {proof.rule.name}: {verdict}") from verdict
        return VerifiedProof(proof.rule, accused.hash, accused.header.number, accused.producer, verdict)
    except Failure as failure:
        raise ProofRejected(f"the evidence cannot be judged: {failure}") from failure
    raise ProofRejected(f"the evidence breaks no rule: {proof.rule.name} holds")


def verify_by_both(
    data: bytes, trusted_head: bytes, first: Executor, second: Executor, *, max_gas: int = MAX_GAS
) -> VerifiedProof:
    """Verify by two engines that must agree, on the verdict and its place. Raises as verify does.

    Raises EnginesDisagree, which convicts nobody, if one convicts and the other does not, or elsewhere.
    """
    opinions = [_opinion(data, trusted_head, executor, max_gas) for executor in (first, second)]
    places = [None if isinstance(o, ProofRejected) else (o.verdict.transaction, o.verdict.move) for o in opinions]
    if places[0] != places[1]:
        said = "; ".join(
            f"{executor.name}: {opinion if isinstance(opinion, ProofRejected) else opinion.verdict}"
            for executor, opinion in zip((first, second), opinions, strict=True)
        )
        raise EnginesDisagree(f"the engines judge the proof differently, which convicts nobody ({said})")
    opinion = opinions[0]
    if isinstance(opinion, ProofRejected):
        raise opinion
    return opinion


def _opinion(data: bytes, trusted_head: bytes, executor: Executor, max_gas: int) -> VerifiedProof | ProofRejected:
    try:
        return verify(data, trusted_head, executor, max_gas=max_gas)
    except ProofRejected as rejected:
        return rejected


def _judge(rule: Rule, accused: Accused, evidence: Evidence, executor: Executor, max_gas: int) -> None:
    if isinstance(evidence, MovesEvidence):
        judge_moves(rule, accused, evidence)
    elif isinstance(evidence, MakerEvidence):
        judge_maker(accused, evidence)
    elif isinstance(evidence, ParentEvidence):
        judge_parent(rule, accused, evidence)
    elif isinstance(evidence, LeavesEvidence):
        judge_leaves(accused, evidence)
    elif isinstance(evidence, CodesEvidence):
        judge_codes(accused, evidence)
    elif isinstance(evidence, HashesEvidence):
        judge_hashes(accused, evidence)
    elif isinstance(evidence, BytesEvidence):
        judge_bytes(accused, evidence)
    else:
        judge_transaction(rule, accused, evidence, executor, max_gas)
