"""What follows from a proof that verifies (rule F1): the block and its descendants are void for whoever sees it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

from manaflow.evm.executor import Executor
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


@dataclass(frozen=True, slots=True)
class Conviction:
    """A block voided."""

    verified: VerifiedProof
    undone: tuple[int, ...]
    """Numbers of the blocks taken back, last first; empty if the block was not in the chain."""
    evidence: bytes
    """The proof as it is kept: under the convicted block itself, so that no later head is needed to verify it."""


def apply_proof(chain: Convicting, data: bytes, executor: Executor, *, max_gas: int = MAX_GAS) -> Conviction:
    """F1: verify a proof file, take the chain back to the convicted block's parent, and remember the conviction.

    The proof is verified against the convicted block's own hash: its evidence is bound to that block and to what that
    block builds on, whatever the chain's head is. A block that the chain does not hold is remembered all the same.
    Raises ProofRejected, Failure if the chain cannot be taken back so far; then nothing has changed.
    """
    proof = Proof.decode(data)
    if hashlib.sha256(proof.config).digest() != chain.config.hash:
        raise ProofRejected("the proof is about a block of another chain")
    evidence = replace(proof, head=None).encode()
    block_hash = hashlib.sha256(proof.header).digest()
    verified = verify(evidence, block_hash, executor, max_gas=max_gas)
    return Conviction(verified, tuple(chain.convict(block_hash, evidence)), evidence)
