"""Verification: from the file and the trusted head's hash alone, by the rules' own functions and an executor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from manaflow.errors import Failure, Rule, Undeclared, Verdict
from manaflow.evm.environment import SYSTEM_ADDRESS, SYSTEM_CONTRACTS, environment_of, system_call
from manaflow.evm.executor import Executor, Job
from manaflow.evm.isolated import execute_alone, job_of
from manaflow.fraudproof.authenticate import (
    Accused,
    authenticate_codes,
    authenticate_header,
    authenticate_leaf,
    authenticate_moves,
    authenticate_old,
    authenticate_placed,
)
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.format import MovesEvidence, Proof, TransactionEvidence
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import Leaf, SystemKind, system_txid
from manaflow.moves.marks import MAX_NONCE, Mark, Move
from manaflow.rules.execution import check_x2, check_x4
from manaflow.rules.fees import blob_base_fee
from manaflow.rules.forks import precompiles
from manaflow.rules.moves import (
    check_m1,
    check_m2,
    check_m3,
    check_m4,
    check_m4_precompiles,
    check_m5,
    check_m5_counts,
    check_m6,
    compute_burned,
    value_of,
)
from manaflow.rules.signing import check_s1
from manaflow.rules.state import Placed, check_v1, check_v2, check_v3, check_v4

MAX_GAS: Final = 2**27
"""Gas limit of an accused transaction that a verifier executes, unless told otherwise: what bounds its time."""
_PAIRS: Final = {Rule.V2: check_v2, Rule.V3: check_v3, Rule.V4: check_v4}
_EXECUTION_RULES: Final = frozenset({Rule.X0, Rule.X1, Rule.X2, Rule.X3, Rule.X4})


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
        if isinstance(proof.evidence, MovesEvidence):
            _judge_moves(proof.rule, accused, proof.evidence)
        else:
            _judge_transaction(proof.rule, accused, proof.evidence, executor, max_gas)
    except Verdict as verdict:
        if verdict.rule != proof.rule:
            raise ProofRejected(f"the evidence breaks another rule than {proof.rule.name}: {verdict}") from verdict
        return VerifiedProof(proof.rule, accused.hash, accused.header.number, accused.producer, verdict)
    except Failure as failure:
        raise ProofRejected(f"the evidence cannot be judged: {failure}") from failure
    raise ProofRejected(f"the evidence breaks no rule: {proof.rule.name} holds")


def _judge_moves(rule: Rule, accused: Accused, evidence: MovesEvidence) -> None:
    """V1 to V4. Raises the rule's Verdict, or ProofRejected for evidence that is not the chain's."""
    leaf, placed = authenticate_placed(accused.header, evidence.placed)
    if evidence.other is None:
        if rule != Rule.V1 or evidence.old is not None:
            raise ProofRejected("the other move is missing")
        _judge_v1(leaf, placed, None)
        return
    header = accused.header if evidence.old is None else authenticate_old(accused, evidence.old)
    source, other = authenticate_placed(header, evidence.other)
    if rule != Rule.V1:
        _PAIRS[rule](placed, other)
        return
    made = source.first_cell + evidence.other.move.position
    if other.move.is_reference or evidence.other.move.position >= source.consumes or made != placed.move.number:
        raise ProofRejected(f"the other move did not make cell {placed.move.number}")
    _judge_v1(leaf, placed, other.move)


def _judge_v1(leaf: Leaf, placed: Placed, maker: Move | None) -> None:
    try:
        check_v1(placed.move, leaf.first_cell, maker)
    except Verdict as verdict:
        raise verdict.at(placed.place[1], placed.place[2]) from None


def _judge_transaction(
    rule: Rule, accused: Accused, evidence: TransactionEvidence, executor: Executor, max_gas: int
) -> None:
    """M, S1 and X. Raises the rule's Verdict, or ProofRejected for evidence that is not the chain's."""
    leaf = authenticate_leaf(accused.header, evidence.leaf)
    moves = authenticate_moves(leaf, evidence)
    codes = authenticate_codes(moves, evidence.codes)
    if evidence.envelope and keccak256(evidence.envelope) != leaf.txid:
        raise ProofRejected("the envelope is not the one that the leaf names")
    try:
        if rule in _EXECUTION_RULES:
            _judge_execution(accused, leaf, moves, evidence.envelope, codes, executor, max_gas)
        else:
            _judge_alone(rule, accused, leaf, moves, evidence.envelope)
    except Verdict as verdict:
        raise verdict.at(evidence.leaf.position) from None


def _judge_alone(rule: Rule, accused: Accused, leaf: Leaf, moves: list[Move], envelope: bytes) -> None:
    """M1 to M6 and S1, which need no execution."""
    if rule == Rule.M1:
        check_m1(moves)
    elif rule == Rule.M2:
        check_m2(moves)
    elif rule == Rule.M4:
        check_m4(moves)
        check_m4_precompiles(moves, precompiles(accused.config.entry_at(accused.header.timestamp).fork))
    elif rule == Rule.M5:
        check_m5(moves)
        check_m5_counts(moves, leaf.consumes, leaf.references)
    elif rule == Rule.M6 and _call_kind(accused, leaf) is not None:
        check_m6(moves, 0)
    else:
        _judge_signed(rule, accused, leaf, moves, envelope)


def _judge_signed(rule: Rule, accused: Accused, leaf: Leaf, moves: list[Move], envelope: bytes) -> None:
    """S1, M3 and M6 of a signed transaction."""
    if not envelope:
        raise ProofRejected("the envelope is missing")
    header = accused.header
    transaction, sender = check_s1(envelope, accused.config, leaf.txid, moves)
    if rule == Rule.M3:
        check_m3(moves, sender, transaction.nonce)
    elif rule == Rule.M6:
        blobs = accused.config.blobs_at(header.timestamp)
        blob_fee = blob_base_fee(header.excess_blob_gas, blobs.update_fraction) if blobs else 0
        profile = accused.config.profile
        check_m6(moves, compute_burned(profile, transaction, leaf.gas_used, header.base_fee, blob_fee))


def _judge_execution(
    accused: Accused,
    leaf: Leaf,
    moves: list[Move],
    envelope: bytes,
    codes: dict[bytes, bytes],
    executor: Executor,
    max_gas: int,
) -> None:
    """X0 to X4. Moves that cannot be a world break an M rule, or X2 in an ancestor: those are other proofs."""
    check_m1(moves)
    check_m2(moves)
    check_m4(moves)
    if any(move.mark == Mark.NONCE and value_of(move.prev) > MAX_NONCE for move in moves):
        raise ProofRejected("a nonce beyond 64 bits: an ancestor made it (X2)")
    environment = environment_of(accused.header, accused.config)
    if not envelope:
        kind = _call_kind(accused, leaf)
        if kind is None:
            raise ProofRejected("the envelope is missing")
        job = job_of(environment, system_call(kind, accused.header), SYSTEM_ADDRESS, leaf, moves, codes)
        _execute_call(executor, job, moves)
        return
    transaction, sender = check_s1(envelope, accused.config, leaf.txid, moves)
    if transaction.gas_limit > max_gas:
        raise ProofRejected(f"a gas limit of {transaction.gas_limit}: this verifier executes at most {max_gas}")
    execute_alone(executor, job_of(environment, transaction, sender, leaf, moves, codes), moves, leaf.outcome)


def _call_kind(accused: Accused, leaf: Leaf) -> SystemKind | None:
    """Which system call the leaf is, by its txid."""
    chain_id, number = accused.config.chain_id, accused.header.number
    return next((kind for kind in SYSTEM_CONTRACTS if system_txid(kind, chain_id, number) == leaf.txid), None)


def _execute_call(executor: Executor, job: Job, moves: list[Move]) -> None:
    """X1, X2 and X4 of a system call. Its leaf's outcome is B8's, whatever the call returns: not X3's."""
    try:
        execution = executor.execute(job)
    except Undeclared as undeclared:
        raise Verdict(Rule.X1, str(undeclared)) from undeclared
    check_x2(moves, execution.uses)
    check_x4(moves, execution.uses)
