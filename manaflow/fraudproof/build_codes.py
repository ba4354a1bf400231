"""Which codes a proof of X needs: those that the execution asks for, up to where it stops.

A transaction may name far more code than a proof may hold: references that nothing uses (X4), or codes beyond the one
that is too much (X5).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from manaflow.errors import ManaflowError
from manaflow.evm.executor import Execution, Executor, Job
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.fraudproof.authenticate import authenticate_header
from manaflow.fraudproof.evidence import TransactionEvidence
from manaflow.fraudproof.format import MAX_CODES, Proof
from manaflow.fraudproof.judge_transaction import judge_transaction
from manaflow.moves.hashing import keccak256
from manaflow.rules.execution import MAX_CODE_BYTES

ENOUGH: Final = MAX_CODE_BYTES
"""Bytes of codes, by X5, that a proof has room for beside the moves, the envelope and the paths (F2)."""


class _Asked(Mapping[bytes, bytes]):
    """Codes by hash that remember which of them were asked for."""

    def __init__(self, codes: Mapping[bytes, bytes], asked: set[bytes]) -> None:
        self._codes, self._asked = codes, asked

    def __getitem__(self, code_hash: bytes) -> bytes:
        code = self._codes[code_hash]
        self._asked.add(code_hash)
        return code

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._codes)

    def __len__(self) -> int:
        return len(self._codes)


class _Watched:
    """An executor that takes down which codes it asks for."""

    def __init__(self, executor: Executor) -> None:
        self.name, self.asked, self._executor = executor.name, set[bytes](), executor

    def execute(self, job: Job) -> Execution:
        return self._executor.execute(replace(job, codes=_Asked(job.codes, self.asked)))


def with_codes_asked_for(proof: Proof) -> Proof:
    """A proof of X whose head is the accused block, without the codes that its execution by py-evm does not ask for.

    A proof with few codes stays as it is.
    """
    evidence = proof.evidence
    if not isinstance(evidence, TransactionEvidence):
        return proof
    if sum(map(len, evidence.codes)) <= ENOUGH and len(evidence.codes) <= MAX_CODES:
        return proof
    watched, accused = _Watched(PyEvmExecutor()), authenticate_header(proof, hashlib.sha256(proof.header).digest())
    with suppress(ManaflowError):  # whoever publishes the proof verifies it: here only what was asked for matters
        judge_transaction(proof.rule, accused, evidence, watched, accused.header.gas_limit)
    codes = tuple(code for code in evidence.codes if keccak256(code) in watched.asked)
    return replace(proof, evidence=replace(evidence, codes=codes))
