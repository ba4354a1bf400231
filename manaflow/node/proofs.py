"""`mana_submitProof`: a stranger's fraud proof, judged, and what follows from it (rule F1).

Checks come by their cost: the file's length, its decoding, the chain, the producer's signature, whether the block is
known to be void, whether the chain holds it or its parent; only then it is executed, by revm and by py-evm, one proof
at a time, in a process of its own (judging.py). The node serves all the while; its chain's thread is asked for moments.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from manaflow.errors import Failure, Verdict
from manaflow.fraudproof.authenticate import decode_header
from manaflow.fraudproof.consequences import Conviction, Judged, carry_out
from manaflow.fraudproof.equivocation import Equivocation, VerifiedEquivocation, is_equivocation, verify_equivocation
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.format import MAX_PROOF_BYTES, Proof
from manaflow.fraudproof.verify import VerifiedProof
from manaflow.moves.header import Header
from manaflow.node.chain_thread import NodeThread
from manaflow.node.encoding import Data, data, quantity
from manaflow.node.errors import RESOURCE_UNAVAILABLE, SERVER_ERROR, RpcError, limit_exceeded
from manaflow.node.judging import judge_apart
from manaflow.node.limits import MethodClass, Rate
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.parameters import Method
from manaflow.rules.config import ChainConfig
from manaflow.rules.headers import check_b7

SUBMIT_PROOF: Final = "mana_submitProof"
PROOF_CLASS: Final = MethodClass(
    frozenset({SUBMIT_PROOF}), everyone=Rate(per_second=2, burst=40), each_client=Rate(per_second=0.5, burst=20)
)
"""How many proofs a node looks at."""
JUDGING_SECONDS: Final = 60.0
"""For one proof, by both engines. The gas of one transaction bounds the work (F2)."""
MAX_WAITING: Final = 8
"""Proofs that passed every cheap check and wait to be judged, or are; each has at most MAX_PROOF_BYTES."""

JudgeApart = Callable[[ChainConfig, bytes, float], Awaitable[VerifiedProof]]
"""judging.judge_apart, or a test's own."""


class Judging(Protocol):
    """What the desk counts and tells; metrics of the node."""

    def proof(self, outcome: str) -> None:
        """One proof: "convicted", "known", "rejected" or "not judged"."""
        ...


@dataclass(frozen=True, slots=True)
class Filed:
    """A proof file that passed every check that needs neither the chain nor an engine."""

    accused: bytes
    """Hash of the block that it accuses; of an equivocation, of the first of the two."""
    parents: tuple[bytes, ...]
    """Hashes of what the chain must hold for it to matter: the accused block, or its parent."""
    evidence: bytes
    """The file as it is kept."""
    equivocation: VerifiedEquivocation | None
    """Verified already: it needs no engine."""


def read_proof(config: ChainConfig, file: bytes) -> Filed:
    """The cheap checks: length, form, chain, signature. Raises ProofRejected."""
    if len(file) > MAX_PROOF_BYTES:
        raise ProofRejected(f"the file has {len(file)} bytes, a proof has at most {MAX_PROOF_BYTES} (F2)")
    if is_equivocation(file):
        return _read_equivocation(config, file)
    proof = Proof.decode(file)
    _check_chain(config, proof.config)
    header, block_hash = decode_header(proof.header), hashlib.sha256(proof.header).digest()
    try:
        check_b7(block_hash, proof.signature, config)
    except Verdict as verdict:
        raise ProofRejected(f"the accused header is not its producer's: {verdict}") from verdict
    evidence = replace(proof, head=None).encode()
    return Filed(block_hash, (block_hash, *_parent_of(header, config)), evidence, None)


async def judge_file(config: ChainConfig, file: bytes, *, seconds: float = JUDGING_SECONDS) -> Judged:
    """Judge a proof that somebody gives, in a process of its own; an equivocation needs none, it is signatures.

    Raises ProofRejected; NotJudged if it takes longer than `seconds`.
    """
    filed = await asyncio.to_thread(read_proof, config, file)
    verified = filed.equivocation or await judge_apart(config, filed.evidence, seconds)
    return Judged(verified, filed.evidence)


def _read_equivocation(config: ChainConfig, file: bytes) -> Filed:
    found = Equivocation.decode(file)
    _check_chain(config, found.config)
    evidence = replace(found, head=None).encode()
    verified = verify_equivocation(evidence, found.first.hash)
    return Filed(found.first.hash, (*verified.hashes, verified.parent), evidence, verified)


def _parent_of(header: Header, config: ChainConfig) -> tuple[bytes, ...]:
    return (header.parent_hash,) if header.number > config.genesis_number else ()


def _check_chain(config: ChainConfig, named: bytes) -> None:
    if hashlib.sha256(named).digest() != config.hash:
        raise ProofRejected("the proof is about a block of another chain")


class ProofDesk:
    """Takes proofs, one desk for a node; in its event loop."""

    def __init__(
        self,
        thread: NodeThread,
        observer: Judging | None = None,
        *,
        judge: JudgeApart = judge_apart,
        seconds: float = JUDGING_SECONDS,
    ) -> None:
        self._thread, self._observer, self._judge, self._seconds = thread, observer, judge, seconds
        self._one_at_a_time = asyncio.Semaphore(1)
        self._running: dict[bytes, asyncio.Task[dict[str, Any]]] = {}

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {SUBMIT_PROOF: self.submit}

    async def submit(self, proof: Data) -> dict[str, Any]:
        """mana_submitProof(file as hex): {block, number, rule, verdict, producer, undone: numbers, known: bool}.

        Of an equivocation: {equivocation: true, producer, number, blocks, known}; it undoes nothing. -32000 with why if
        the proof is rejected, -32005 if too many wait, -32002 if it could not be judged: that says nothing of it.
        """
        try:
            return await self._file(bytes(proof))
        except ProofRejected as rejected:
            self._count("rejected")
            raise RpcError(SERVER_ERROR, f"the proof is rejected: {rejected}") from None
        except Failure as failure:
            self._count("not judged")
            raise RpcError(RESOURCE_UNAVAILABLE, str(failure)) from None

    async def _file(self, file: bytes) -> dict[str, Any]:
        config = await self._thread.call(lambda chain: chain.config)
        filed = await asyncio.to_thread(read_proof, config, file)
        known = await self._thread.call(_known, filed)
        if known is not None:
            self._count("known")
            return known
        if filed.equivocation is not None:
            return await self._carry_out(Judged(filed.equivocation, filed.evidence))
        return await asyncio.shield(self._task_for(config, filed))

    def _task_for(self, config: ChainConfig, filed: Filed) -> asyncio.Task[dict[str, Any]]:
        """One for all who bring the same proof; it goes on when they are gone."""
        running = self._running.get(filed.evidence)
        if running is not None:
            return running
        if len(self._running) >= MAX_WAITING:
            raise limit_exceeded(f"{len(self._running)} proofs wait to be judged")
        task = asyncio.create_task(self._judge_in_turn(config, filed))
        self._running[filed.evidence] = task
        task.add_done_callback(lambda done: self._ended(filed.evidence, done))
        return task

    def _ended(self, evidence: bytes, task: asyncio.Task[dict[str, Any]]) -> None:
        del self._running[evidence]
        if not task.cancelled():
            task.exception()  # whoever waits is told; if nobody does, it is no fault of the loop

    async def _judge_in_turn(self, config: ChainConfig, filed: Filed) -> dict[str, Any]:
        async with self._one_at_a_time:
            known = await self._thread.call(_known, filed)
            if known is not None:
                return known
            verified = await self._judge(config, filed.evidence, self._seconds)
        return await self._carry_out(Judged(verified, filed.evidence))

    async def _carry_out(self, judged: Judged) -> dict[str, Any]:
        answer = await self._thread.call(convict, judged)
        self._count("convicted")
        return answer

    def _count(self, outcome: str) -> None:
        if self._observer is not None:
            self._observer.proof(outcome)


def _known(chain: OwnedChain, filed: Filed) -> dict[str, Any] | None:
    """What is to be answered without judging: the block is void already. Raises ProofRejected if it is not ours."""
    found = filed.equivocation
    if found is not None:
        if chain.validator.equivocation(found.producer, found.number) is not None:
            return {**_equivocation_json(found), "known": True}
    elif chain.validator.conviction(filed.accused) is not None:
        return {"block": data(filed.accused), "undone": [], "known": True}
    with chain.validator.archive() as archive:
        if all(archive.header_of(block_hash) is None for block_hash in filed.parents):
            raise ProofRejected("neither the accused block nor its parent is known here")
    return None


def convict(chain: OwnedChain, judged: Judged) -> dict[str, Any]:
    """F1 on the chain's thread: blocks void, receipts gone, transactions back in the pool, listeners told.

    Raises Failure if the block is too old to be taken back; then nothing has changed.
    """
    applied = chain.change(lambda: carry_out(chain.validator, judged))
    if isinstance(applied, VerifiedEquivocation):
        return {**_equivocation_json(applied), "known": False}
    return _conviction_json(applied)


def _conviction_json(applied: Conviction) -> dict[str, Any]:
    verified = applied.verified
    return {
        "block": data(verified.block_hash),
        "number": quantity(verified.number),
        "rule": verified.rule.name,
        "verdict": verified.verdict.as_json(),
        "producer": data(verified.producer),
        "undone": [quantity(number) for number in applied.undone],
        "known": False,
    }


def _equivocation_json(found: VerifiedEquivocation) -> dict[str, Any]:
    blocks = [data(block_hash) for block_hash in found.hashes]
    return {"equivocation": True, "producer": data(found.producer), "number": quantity(found.number), "blocks": blocks}
