"""M1 to M6, S, B8 and X0 to X5 from one whole transaction."""

from __future__ import annotations

from typing import Final

from manaflow.errors import Rule, Verdict
from manaflow.evm.environment import SYSTEM_ADDRESS, SYSTEM_CONTRACTS, environment_of, system_call
from manaflow.evm.executor import Executor, Job
from manaflow.evm.isolated import execute_alone, execute_within, job_of
from manaflow.fraudproof.authenticate import (
    Accused,
    authenticate_codes,
    authenticate_leaf,
    authenticate_moves,
    authenticate_withdrawals,
)
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.evidence import TransactionEvidence
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import Leaf, SystemKind, system_txid
from manaflow.moves.marks import MAX_NONCE, Mark, Move
from manaflow.moves.transactions import EthereumTransaction
from manaflow.rules.execution import check_x2, check_x4, check_x5_gas
from manaflow.rules.fees import blob_base_fee
from manaflow.rules.forks import precompiles
from manaflow.rules.moves import (
    check_fees,
    check_m1,
    check_m2,
    check_m3,
    check_m4,
    check_m4_precompiles,
    check_m5,
    check_m5_counts,
    check_m6,
    check_withdrawals,
    compute_burned,
    value_of,
)
from manaflow.rules.signed import check_signed
from manaflow.rules.signing import check_b8_masks
from manaflow.rules.system import check_b8_empty, check_b8_place

_TXID_OF_NOTHING: Final = keccak256(b"")
"""An envelope of no bytes, which breaks S1, is there and not missing."""
_EXECUTION_RULES: Final = frozenset({Rule.X0, Rule.X1, Rule.X2, Rule.X3, Rule.X4, Rule.X5})


def judge_transaction(
    rule: Rule, accused: Accused, evidence: TransactionEvidence, executor: Executor, max_gas: int
) -> None:
    """M, S, B8 and X. Raises the rule's Verdict, or ProofRejected for evidence that is not the chain's."""
    if evidence.leaf is None:
        _judge_empty(rule, accused, evidence)
        return
    leaf = authenticate_leaf(accused.header, evidence.leaf)
    moves = authenticate_moves(leaf, evidence.moves)
    codes = authenticate_codes(moves, evidence.codes)
    if evidence.envelope and keccak256(evidence.envelope) != leaf.txid:
        raise ProofRejected("the envelope is not the one that the leaf names")
    is_system = rule == Rule.B8 or (rule == Rule.M6 and not evidence.envelope)
    if evidence.withdrawals and not is_system:
        raise ProofRejected(f"{rule.name} of this transaction needs no withdrawals")
    try:
        if rule in _EXECUTION_RULES:
            _judge_execution(accused, leaf, moves, evidence.envelope, codes, executor, max_gas)
        elif is_system:
            _judge_system(accused, leaf, evidence.leaf.position, moves, evidence.withdrawals)
        else:
            _judge_alone(rule, accused, leaf, moves, evidence.envelope)
    except Verdict as verdict:
        raise verdict.at(evidence.leaf.position) from None


def _judge_alone(rule: Rule, accused: Accused, leaf: Leaf, moves: list[Move], envelope: bytes) -> None:
    """M1 to M6 and S1 to S4, which need no execution."""
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
    else:
        _judge_signed(rule, accused, leaf, moves, envelope)


def _judge_empty(rule: Rule, accused: Accused, evidence: TransactionEvidence) -> None:
    """B8 of a block without leaves. The withdrawals are the header's."""
    if rule != Rule.B8 or accused.header.transactions or evidence.envelope or evidence.moves or evidence.codes:
        raise ProofRejected("the leaf is missing")
    withdrawals = authenticate_withdrawals(accused.header, evidence.withdrawals)
    check_b8_empty(accused.config, accused.header, withdrawals)


def _judge_system(accused: Accused, leaf: Leaf, place: int, moves: list[Move], paid: bytes) -> None:
    """B8, and M6 of a system transaction. `paid`: the withdrawals, which are the header's."""
    header = accused.header
    withdrawals = authenticate_withdrawals(header, paid)
    kind = check_b8_place(accused.config, header, place, leaf, withdrawals)
    if kind is None:
        return
    check_b8_masks(moves)
    if kind == SystemKind.WITHDRAWALS:
        check_withdrawals(moves, withdrawals)
    elif kind == SystemKind.FEES:
        check_fees(moves, header.coinbase, header.fees)
    else:
        check_m6(moves, 0)


def _judge_signed(rule: Rule, accused: Accused, leaf: Leaf, moves: list[Move], envelope: bytes) -> None:
    """S1 to S4, M3 and M6 of a signed transaction."""
    if not envelope and leaf.txid != _TXID_OF_NOTHING:
        raise ProofRejected("the envelope is missing")
    header = accused.header
    transaction, sender = _check_signed(accused, leaf, moves, envelope)
    if rule == Rule.M3:
        check_m3(moves, sender, transaction.nonce)
    elif rule == Rule.M6:
        blobs = accused.config.blobs_at(header.timestamp)
        blob_fee = blob_base_fee(header.excess_blob_gas, blobs.update_fraction) if blobs else 0
        profile = accused.config.profile
        check_m6(moves, compute_burned(profile, transaction, leaf.gas_used, header.base_fee, blob_fee))


def _check_signed(
    accused: Accused, leaf: Leaf, moves: list[Move], envelope: bytes
) -> tuple[EthereumTransaction, bytes]:
    return check_signed(envelope, accused.config, leaf.txid, moves, leaf.status, accused.header.number)


def _judge_execution(
    accused: Accused,
    leaf: Leaf,
    moves: list[Move],
    envelope: bytes,
    codes: dict[bytes, bytes],
    executor: Executor,
    max_gas: int,
) -> None:
    """X0 to X5. Moves that cannot be a world break an M rule, or X2 in an ancestor: those are other proofs."""
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
    transaction, sender = _check_signed(accused, leaf, moves, envelope)
    check_x5_gas(accused.config.profile, transaction.gas_limit)  # shown without executing anything
    left = accused.header.gas_limit - leaf.gas  # a limit above it breaks X0 before anything is executed
    if max_gas < transaction.gas_limit <= left:
        raise ProofRejected(f"a gas limit of {transaction.gas_limit}: this verifier executes at most {max_gas}")
    execute_alone(executor, job_of(environment, transaction, sender, leaf, moves, codes), moves, leaf.outcome)


def _call_kind(accused: Accused, leaf: Leaf) -> SystemKind | None:
    """Which system call the leaf is, by its txid."""
    chain_id, number = accused.config.chain_id, accused.header.number
    return next((kind for kind in SYSTEM_CONTRACTS if system_txid(kind, chain_id, number) == leaf.txid), None)


def _execute_call(executor: Executor, job: Job, moves: list[Move]) -> None:
    """X1, X2 and X4 of a system call. Its leaf's outcome is B8's, whatever the call returns: not X3's."""
    execution = execute_within(executor, job)
    check_x2(moves, execution.uses)
    check_x4(moves, execution.uses)
