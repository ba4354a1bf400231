"""What follows from a proof that verifies (rule F1): the block and its descendants are void for whoever sees it.

An equivocation voids nothing: whoever sees it keeps the evidence against the producer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

from manaflow.evm.executor import Executor
from manaflow.fraudproof.equivocation import (
    Equivocation,
    VerifiedEquivocation,
    is_equivocation,
    verify_equivocation,
)
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.format import Proof
from manaflow.fraudproof.verify import MAX_GAS, VerifiedProof, verify
from manaflow.rules.config import ChainConfig


class Convicting(Protocol):
    """A chain that can take blocks back; a `manaflow.validator.validator.Validator` is one."""

    @property
    def config(self) -> ChainConfig:
        """The chain's config."""
        ...

    def convict(self, block_hash: bytes, proof: bytes) -> list[int]:
        """Void a block for good and keep the proof; returns the numbers of the blocks taken back, last first."""
        ...

    def convict_producer(self, producer: bytes, number: int, proof: bytes) -> None:
        """Keep the proof that a producer signed two blocks of one number; no block changes."""
        ...


@dataclass(frozen=True, slots=True)
class Conviction:
    """A block voided."""

    verified: VerifiedProof
    undone: tuple[int, ...]
    """Numbers of the blocks taken back, last first; empty if the block was not in the chain."""
    evidence: bytes
    """The proof as it is kept: under the convicted block itself, so that no later head is needed to verify it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A verified proof, and the file as it is kept."""

    verified: VerifiedProof | VerifiedEquivocation
    evidence: bytes
    """Under the convicted block itself, or one of the two, so that no later head is needed to verify it."""


Applied = Conviction | VerifiedEquivocation


def judge_proof(config: ChainConfig, data: bytes, executor: Executor, *, max_gas: int = MAX_GAS) -> Judged:
    """Verify a proof file about the chain of this config, under the accused block's own hash.

    Its evidence is bound to that block and to what that block builds on, whatever the chain's head is; of an
    equivocation the config binds the producer. Raises ProofRejected.
    """
    if is_equivocation(data):
        found = Equivocation.decode(data)
        _check_chain(found.config, config)
        evidence = replace(found, head=None).encode()
        return Judged(verify_equivocation(evidence, found.first.hash), evidence)
    proof = Proof.decode(data)
    _check_chain(proof.config, config)
    evidence = replace(proof, head=None).encode()
    block_hash = hashlib.sha256(proof.header).digest()
    return Judged(verify(evidence, block_hash, executor, max_gas=max_gas), evidence)


def carry_out(chain: Convicting, judged: Judged) -> Applied:
    """F1: take the chain back to the convicted block's parent, and remember the conviction; idempotent.

    A block that the chain does not hold is remembered all the same. An equivocation is kept and undoes nothing.
    Raises Failure if the chain cannot be taken back so far; then nothing has changed.
    """
    verified, evidence = judged.verified, judged.evidence
    if isinstance(verified, VerifiedEquivocation):
        chain.convict_producer(verified.producer, verified.number, evidence)
        return verified
    return Conviction(verified, tuple(chain.convict(verified.block_hash, evidence)), evidence)


def apply_proof(chain: Convicting, data: bytes, executor: Executor, *, max_gas: int = MAX_GAS) -> Applied:
    """Verify a proof file and carry out what follows from it. Raises ProofRejected, Failure; then nothing changed."""
    return carry_out(chain, judge_proof(chain.config, data, executor, max_gas=max_gas))


def _check_chain(config: bytes, own: ChainConfig) -> None:
    if hashlib.sha256(config).digest() != own.hash:
        raise ProofRejected("the proof is about a block of another chain")
