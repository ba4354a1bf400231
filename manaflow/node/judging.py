"""A proof verified in a process of its own: a stranger's file decides how long that takes, and what it needs.

    python -m manaflow.node.judging < request > answer

Request: config length:4 | config RLP | proof file. Answer: one JSON object, `{"rule", "number", "producer", "what",
"transaction", "move"}` of a conviction, or `{"rejected": why}`. First revm, which is fast, judges; py-evm, which is
independent, must then say the same. The process has bounds on processor time and memory, and is killed at a deadline.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import sys
from typing import Any, Final

from manaflow.errors import Failure, ManaflowError, Rule, Verdict
from manaflow.evm.executor import Executor
from manaflow.fraudproof.consequences import Judged, judge_proof
from manaflow.fraudproof.equivocation import VerifiedEquivocation
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.format import MAX_PROOF_BYTES, Proof
from manaflow.fraudproof.verify import VerifiedProof
from manaflow.rules.config import MAX_CONFIG_BYTES, ChainConfig

MAX_MEMORY_BYTES: Final = 4 << 30
"""Address space of the process."""


class NotJudged(Failure):
    """The verification did not end: time, memory, or a fault of ours. It says nothing of the proof."""


async def judge_apart(config: ChainConfig, proof: bytes, seconds: float) -> VerifiedProof:
    """Verify a proof of a rule, in the form that is kept, in a process of its own.

    Raises ProofRejected; NotJudged if it takes longer than `seconds` or breaks.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "manaflow.node.judging", str(int(seconds) + 1),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    encoded = config.encode()
    try:
        async with asyncio.timeout(seconds):
            answer, _ = await child.communicate(len(encoded).to_bytes(4, "big") + encoded + proof)
    except TimeoutError:
        raise NotJudged(f"the proof was not judged within {seconds:g} seconds") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return _read_answer(answer, proof)


def _read_answer(answer: bytes, proof: bytes) -> VerifiedProof:
    try:
        found: dict[str, Any] = json.loads(answer)
    except ValueError as error:
        raise NotJudged("the process that judged the proof broke, for want of memory or time perhaps") from error
    if "rejected" in found:
        raise ProofRejected(found["rejected"])
    rule = Rule[found["rule"]]
    verdict = Verdict(rule, found["what"], transaction=found["transaction"], move=found["move"])
    block_hash = hashlib.sha256(Proof.decode(proof).header).digest()
    return VerifiedProof(rule, block_hash, found["number"], bytes.fromhex(found["producer"]), verdict)


def judge_twice(config: ChainConfig, proof: bytes, first: Executor, second: Executor) -> VerifiedProof:
    """Verify a proof by two engines that must agree on the place; the second is not asked about what the first rejects.

    Raises ProofRejected.
    """
    one = _of_a_rule(judge_proof(config, proof, first))
    try:
        two = _of_a_rule(judge_proof(config, proof, second))
    except ProofRejected as rejected:
        raise ProofRejected(f"the engines disagree, which convicts nobody: {second.name}: {rejected}") from rejected
    places = {(found.verdict.transaction, found.verdict.move) for found in (one, two)}
    if len(places) != 1:
        raise ProofRejected(f"the engines disagree, which convicts nobody: {one.verdict}; {two.verdict}")
    return two


def _of_a_rule(judged: Judged) -> VerifiedProof:
    if isinstance(judged.verified, VerifiedEquivocation):
        raise ProofRejected("an equivocation, where a proof of a rule is expected")
    return judged.verified


def answer_to(request: bytes, first: Executor, second: Executor) -> dict[str, Any]:
    """What the process says."""
    length = int.from_bytes(request[:4], "big")
    config = ChainConfig.decode(request[4 : 4 + length])
    try:
        found = judge_twice(config, request[4 + length :], first, second)
    except ProofRejected as rejected:
        return {"rejected": str(rejected)[:1000]}
    verdict = found.verdict
    return {
        "rule": found.rule.name,
        "number": found.number,
        "producer": found.producer.hex(),
        "what": verdict.what,
        "transaction": verdict.transaction,
        "move": verdict.move,
    }


def main(seconds: int) -> None:
    """The process."""
    from manaflow.evm.native import RevmExecutor
    from manaflow.evm.pyevm.executor import PyEvmExecutor

    resource.setrlimit(resource.RLIMIT_CPU, (2 * seconds, 2 * seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    request = sys.stdin.buffer.read(4 + MAX_CONFIG_BYTES + MAX_PROOF_BYTES)
    try:
        answer = answer_to(request, RevmExecutor(), PyEvmExecutor())
    except (ManaflowError, MemoryError) as error:
        sys.exit(f"not judged: {error}")
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(int(sys.argv[1]))
