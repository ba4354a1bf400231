"""What becomes of mutated blocks: refused by the validator, convicted by a proof, and the honest block never is."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from manaflow.errors import Failure, ManaflowError, Rule, Verdict
from manaflow.evm.native import RevmExecutor
from manaflow.evm.native_hashing import NATIVE
from manaflow.evm.pyevm.executor import PyEvmExecutor
from manaflow.fraudproof.challenge import Accusation
from manaflow.fraudproof.equivocation import SignedHeader, prove_equivocation, verify_equivocation
from manaflow.fraudproof.errors import ProofRejected, Unprovable
from manaflow.fraudproof.evidence import TransactionEvidence
from manaflow.fraudproof.format import Proof
from manaflow.fraudproof.verify import verify
from manaflow.moves.block import Block
from manaflow.moves.wire import encode_block
from manaflow.validator.validator import Mode, Validator
from manaflow.validator.witness import Witness
from tests.catalogue.case import MANAFLOW
from tests.declared_chain import sealed_chain
from tests.moves.wire_blocks import same
from tests.mutation.committed import Committed, same_place
from tests.mutation.operators import Impossible, Operator
from tests.replays import chain

TRIES = 8
"""Draws until an operator changes something."""
PYEVM, REVM = PyEvmExecutor(), RevmExecutor()


@dataclass(frozen=True)
class Exhibit:
    """A proof that convicts."""

    rule: Rule
    bytes: int
    code_bytes: int
    """How many of them are code that the accused transaction runs."""
    python_seconds: float
    native_seconds: float

    @property
    def bytes_without_code(self) -> int:
        """The proof beside the code."""
        return self.bytes - self.code_bytes


@dataclass
class Record:
    """Counts of what became of mutations."""

    convicted: list[Exhibit] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    apart: Counter[str] = field(default_factory=Counter)
    free: Counter[str] = field(default_factory=Counter)
    impossible: Counter[str] = field(default_factory=Counter)
    undetected: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)
    unjust: list[str] = field(default_factory=list)
    """Proofs that verify against an honest block."""
    twice: list[tuple[int, float]] = field(default_factory=list)
    """Bytes and seconds of each proof that the producer signed the honest block as well."""

    @property
    def mutations(self) -> int:
        """Blocks that differ from the honest one."""
        faults = len(self.undetected) + len(self.unproved)
        return len(self.convicted) + self.apart.total() + self.free.total() + faults

    def lines(self) -> list[str]:
        """The record in words."""
        rules = Counter(exhibit.rule.name for exhibit in self.convicted)
        return [
            f"{self.mutations} mutations of {len(self.kinds)} kinds of field: {len(self.convicted)} convicted, "
            f"{len(self.undetected)} undetected, {len(self.unproved)} detected without a verifying proof, "
            f"{len(self.unjust)} proofs against honest blocks",
            f"by rule: {dict(sorted(rules.items()))}",
            f"apart, with the reasons of challenge.UNPROVABLE: {dict(sorted(self.apart.items()))}",
            f"as honest as the original: {self.free.total()}",
            f"equivocations proved beside them: {len(self.twice)}",
        ]


class Court:
    """A real block (or MANAFLOW's), the validator that stands before it, and a challenger."""

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        replayed = sealed_chain() if tuple(names) == MANAFLOW.names else chain(*names)
        self.name, self.honest = names[-1], replayed.blocks[-1]
        self.validator = Validator.create(folder / self.name, replayed.genesis, mode=Mode.EXECUTE, threads=1)
        for block in replayed.blocks[:-1]:
            self.validator.import_block(block)
        self._held: set[tuple[object, ...]] = set()

    @cached_property
    def witness(self) -> Witness:
        """The validator as the challenger sees it."""
        return Witness(self.validator)

    def try_one(self, operator: Operator | Committed, seed: int, record: Record) -> None:
        """Mutate, judge, prove, verify, and put down what became of it."""
        if isinstance(operator, Committed):
            self._try_committed(operator, seed, record)
            return
        label = f"{operator.name} of {self.name}, seed {seed}"
        block = self.mutated(operator, seed)
        if block is None:
            record.impossible[operator.name] += 1
            return
        record.kinds[operator.kind] += 1
        accusation = Accusation(self.witness, block)
        try:
            verdict = accusation.verdict()
        except Failure as failure:
            record.unproved.append(f"{label}: {type(failure).__name__} {failure}")
            return
        if verdict is None:
            if operator.free:
                record.free[operator.name] += 1
            else:
                record.undetected.append(label)
            return
        if not self.refuses_file(block):
            record.undetected.append(f"{label}: its file")
        self._convict(operator, accusation, verdict, f"{label}: {verdict}", record)

    def _try_committed(self, operator: Committed, seed: int, record: Record) -> None:
        """The same of bytes that no block holds: the header over them is refused, and whoever has them proves it."""
        label = f"{operator.name} of {self.name}, seed {seed}"
        rng = random.Random(f"{operator.name} {self.name} {seed}")
        block, proof = operator.make(self.honest, self.validator.config, rng)
        record.kinds[operator.kind] += 1
        if not self.refuses_file(block):
            record.undetected.append(label)
            return
        try:
            record.convicted.append(examine(proof, block.hash))
        except (ProofRejected, Failure) as error:
            record.unproved.append(f"{label}: {type(error).__name__} {error}")
            return
        for other in same_place(proof, self.honest):
            if not is_rejected(other.encode(), self.honest.hash):
                record.unjust.append(label)

    def refuses_file(self, block: Block) -> bool:
        """True if the block's file, where it has one, is not imported, and the head stays."""
        head = self.validator.head
        try:
            data = encode_block(block, NATIVE, level=1)
        except (Verdict, ValueError, OverflowError):
            return True  # no file holds such a block
        try:
            self.validator.import_block(data)
        except ManaflowError:
            return self.validator.head == head
        return False

    def mutated(self, operator: Operator, seed: int) -> Block | None:
        """A block that differs from the honest one; None if the operator finds nothing to change."""
        rng = random.Random(f"{operator.name} {self.name} {seed}")
        for _ in range(TRIES):
            try:
                block = operator.make(self.honest, rng)
            except Impossible:
                return None
            if not same(block, self.honest):
                return block
        return None

    def _convict(
        self, operator: Operator, accusation: Accusation, verdict: Verdict, label: str, record: Record
    ) -> None:
        try:
            proof = accusation.proof(verdict)
            exhibit = examine(proof, accusation.block.hash)
        except Unprovable as unprovable:
            if unprovable.why in operator.apart:
                record.apart[unprovable.why] += 1
            else:
                record.unproved.append(f"{label}: {unprovable}")
            return
        except (ProofRejected, Failure, ValueError, IndexError) as error:
            record.unproved.append(f"{label}: {type(error).__name__} {error}")
            return
        record.convicted.append(exhibit)
        self._convict_producer(accusation.block, record)
        record.unjust += [f"{label} ({how})" for how in self.unjust(proof, verdict)]

    def _convict_producer(self, block: Block, record: Record) -> None:
        """Its producer signed the honest block as well: if of one number and parent, that is an equivocation."""
        own, other = (SignedHeader(b.header.encode(), b.signature) for b in (block, self.honest))
        fitting = (block.header.number, block.header.parent_hash, block.header.config) == (
            self.honest.header.number,
            self.honest.header.parent_hash,
            self.honest.header.config,
        )
        data = prove_equivocation(self.validator.config, own, other).encode()
        started = time.perf_counter()
        try:
            verify_equivocation(data, other.hash)
        except ProofRejected:
            if fitting and own.hash != other.hash:
                record.unproved.append(f"equivocation beside {self.name}")
            return
        if fitting:
            record.twice.append((len(data), time.perf_counter() - started))
        else:
            record.unjust.append(f"equivocation beside {self.name}")

    def unjust(self, proof: Proof, verdict: Verdict) -> Iterator[str]:
        """How the proof, or one built for the same place, convicts the honest block."""
        header, signature = self.honest.header.encode(), self.honest.signature
        if not is_rejected(replace(proof, header=header, signature=signature).encode(), self.honest.hash):
            yield "the same evidence"
        place = verdict.rule, verdict.transaction, verdict.move
        if place in self._held:
            return
        self._held.add(place)
        try:
            built = Accusation(self.witness, self.honest).proof(Verdict(verdict.rule, "the same", **_place(verdict)))
        except (Failure, ValueError, IndexError):
            return  # the honest block has not what such a proof needs
        if not is_rejected(built.encode(), self.honest.hash):
            yield "the same place"


def _place(verdict: Verdict) -> dict[str, int | None]:
    return {"transaction": verdict.transaction, "move": verdict.move}


def examine(proof: Proof, head: bytes) -> Exhibit:
    """Verify a proof by both engines. Raises ProofRejected if one rejects it."""
    data = proof.encode()
    seconds = []
    for executor in (PYEVM, REVM):
        started = time.perf_counter()
        verified = verify(data, head, executor)
        seconds.append(time.perf_counter() - started)
        assert verified.rule == proof.rule
    return Exhibit(proof.rule, len(data), code_bytes_of(proof), *seconds)


def code_bytes_of(proof: Proof) -> int:
    """Bytes of the codes that an execution proof brings, each distinct one once."""
    evidence = proof.evidence
    return sum(map(len, evidence.codes)) if isinstance(evidence, TransactionEvidence) else 0


def is_rejected(data: bytes, head: bytes) -> bool:
    """True if a proof does not verify under a head."""
    try:
        verify(data, head, PYEVM)
    except ProofRejected:
        return True
    return False


@contextmanager
def courts(bases: Sequence[Sequence[str]], folder: Path) -> Iterator[list[Court]]:
    """A court for each real block, the last of a chain."""
    made = [Court(names, folder) for names in bases]
    try:
        yield made
    finally:
        for court in made:
            court.validator.close()


def hear(found: Sequence[Court], operators: Sequence[Operator | Committed], rounds: int, first_seed: int = 0) -> Record:
    """Each operator `rounds` times, over the courts in turn; where it finds nothing, over the next ones."""
    record = Record()
    for seed in range(first_seed, first_seed + rounds):
        for i, operator in enumerate(operators):
            before = record.mutations
            for k in range(len(found)):
                found[(seed + i + k) % len(found)].try_one(operator, seed, record)
                if record.mutations > before:
                    break
    return record
