"""The desk behind mana_submitProof, with a judge of the test's own: who waits, who is turned away, what goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from manaflow.cli.follow import _Following
from manaflow.errors import Rule
from manaflow.evm.native import RevmExecutor
from manaflow.fraudproof.build import prove_parent
from manaflow.fraudproof.consequences import judge_proof
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.verify import VerifiedProof
from manaflow.moves.wire import encode_block
from manaflow.node import http_link, proofs
from manaflow.node.client import LinkDown
from manaflow.node.encoding import Data
from manaflow.node.errors import LIMIT_EXCEEDED, RESOURCE_UNAVAILABLE, SERVER_ERROR, RpcError
from manaflow.node.following import Head, SourceFault
from manaflow.node.http_link import FetchedSource, follow_fetched
from manaflow.node.judging import NotJudged, judge_apart
from manaflow.node.proofs import JUDGING_SECONDS, ProofDesk, read_proof
from manaflow.rules.config import ChainConfig
from manaflow.validator.validator import Validator
from tests.node.voiding import scene


class Chain:
    """What the desk asks of a chain."""

    def __init__(self, validator: Validator) -> None:
        self.validator, self.config = validator, validator.config

    def change(self, run: Callable[[], Any]) -> Any:
        return run()


class Thread:
    """Its thread: this one. Counts its calls: two for each proof that is brought, one for each that is judged."""

    def __init__(self, validator: Validator) -> None:
        self.chain = Chain(validator)
        self.calls = 0

    async def call(self, run: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(0)
        self.calls += 1
        return run(self.chain, *args)


async def until(holds: Callable[[], bool]) -> None:
    """Let the desk work until this is true."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


class Judge:
    """Judges by revm when it is let; counts."""

    def __init__(self) -> None:
        self.calls, self.now, self.peak = 0, 0, 0
        self.may = asyncio.Event()

    async def __call__(self, config: ChainConfig, proof: bytes, seconds: float) -> VerifiedProof:
        self.calls += 1
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            await self.may.wait()
            found = judge_proof(config, proof, RevmExecutor()).verified
            assert isinstance(found, VerifiedProof)
            return found
        finally:
            self.now -= 1


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return scene().proof(tmp_path_factory.mktemp("challenger") / "state")


@pytest.fixture
def validator(tmp_path: Path) -> Iterator[Validator]:
    scene().misled(tmp_path / "state")
    with Validator.open(tmp_path / "state", threads=1) as validator:
        yield validator


def hollow(count: int) -> list[bytes]:
    """Proofs that pass every cheap check, all different, and show nothing."""
    config, chain = scene().producer.config, [scene().producer.genesis.block, *scene().blocks]
    return [
        prove_parent(rule, chain[i + 1], config, parent.header, [block.hash for block in chain[: i + 1]]).encode()
        for i in range(3)
        for rule in (Rule.B2, Rule.B6)
        for parent in (chain[i],)
    ][:count]


def error_of(result: object) -> int | None:
    return result.code if isinstance(result, RpcError) else None


def test_the_same_proof_is_judged_once_for_all_who_bring_it(validator: Validator, proof: bytes) -> None:
    async def run() -> None:
        judge, thread = Judge(), Thread(validator)
        desk = ProofDesk(thread, judge=judge)
        asked = [asyncio.create_task(desk.submit(Data(proof))) for _ in range(5)]
        await until(lambda: thread.calls == 2 * 5 + 1)
        judge.may.set()
        answers = await asyncio.gather(*asked)
        assert [answer["undone"] for answer in answers] == [["0x4"]] * 5
        assert judge.calls == 1
        assert (await desk.submit(Data(proof)))["known"] is True
        assert judge.calls == 1

    asyncio.run(run())
    assert validator.conviction(scene().lie.hash) is not None


def test_one_at_a_time_and_so_many_in_line(validator: Validator, proof: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "MAX_WAITING", 3)

    async def run() -> None:
        judge, thread = Judge(), Thread(validator)
        desk = ProofDesk(thread, judge=judge)
        asked = [asyncio.create_task(desk.submit(Data(file))) for file in hollow(5)]
        await until(lambda: thread.calls == 2 * 5 + 1)
        judge.may.set()
        said = await asyncio.gather(*asked, return_exceptions=True)
        assert sorted(map(error_of, said)) == sorted([SERVER_ERROR] * 3 + [LIMIT_EXCEEDED] * 2)
        assert judge.peak == 1
        assert (await desk.submit(Data(proof)))["undone"] == ["0x4"]

    asyncio.run(run())


def test_a_proof_goes_on_when_its_bringer_is_gone(validator: Validator, proof: bytes) -> None:
    async def run() -> None:
        judge = Judge()
        desk = ProofDesk(Thread(validator), judge=judge)
        asked = asyncio.create_task(desk.submit(Data(proof)))
        await until(lambda: judge.calls == 1)
        asked.cancel()
        judge.may.set()
        await until(lambda: validator.conviction(scene().lie.hash) is not None)

    asyncio.run(run())


def test_a_block_that_nobody_here_knows_is_not_judged(proof: bytes, tmp_path: Path) -> None:
    """A node that is behind, at genesis: neither the lie nor its parent."""

    async def run(validator: Validator) -> None:
        judge = Judge()
        desk = ProofDesk(Thread(validator), judge=judge)
        with pytest.raises(RpcError, match="neither the accused block nor its parent is known here"):
            await desk.submit(Data(proof))
        assert judge.calls == 0

    with Validator.create(tmp_path / "new", scene().producer.genesis) as validator:
        asyncio.run(run(validator))


def test_what_cannot_be_judged_says_nothing_of_the_proof(validator: Validator, proof: bytes) -> None:
    async def run() -> None:
        desk = ProofDesk(Thread(validator), seconds=0.01)
        with pytest.raises(RpcError, match="not judged within") as refused:
            await desk.submit(Data(proof))
        assert refused.value.code == RESOURCE_UNAVAILABLE

    asyncio.run(run())
    assert validator.head[1] == scene().lie.hash


def test_the_process_judges_and_rejects(proof: bytes) -> None:
    config = scene().producer.config
    evidence = read_proof(config, proof).evidence
    found = asyncio.run(judge_apart(config, evidence, 120))
    assert (found.rule, found.number, found.block_hash) == (Rule.X3, 4, scene().lie.hash)
    with pytest.raises(ProofRejected, match="breaks no rule"):
        asyncio.run(judge_apart(config, hollow(1)[0], 120))
    with pytest.raises(NotJudged):
        asyncio.run(judge_apart(config, evidence, 0.001))


async def never(config: ChainConfig, proof: bytes, seconds: float) -> VerifiedProof:
    """judge_apart of a proof that takes too long."""
    assert seconds == JUDGING_SECONDS
    raise NotJudged("too long")


def test_a_proof_from_a_coordinators_validator_is_judged_apart(
    validator: Validator, proof: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge()
    monkeypatch.setattr(proofs, "judge_apart", judge)
    lie, honest = scene().lie, scene().honest
    source = FetchedSource("it", Head(4, honest.hash))
    files = {n: encode_block(block) for n, block in enumerate([*scene().blocks, honest], 1)}

    def lacking() -> int | bytes | None:
        while isinstance(found := follow_fetched(chain, source), int):
            source.blocks[found] = files[found]
        return found

    async def fetch(answer: Any) -> None:
        class Client:
            url = "it"

            async def call(self, method: str, *params: Any) -> Any:
                return answer

        parts: Any = (None, Client(), Thread(validator))
        await http_link._Session(*parts)._fetch(source, lie.hash)

    chain: Any = Chain(validator)
    chain.head = validator.head
    assert lacking() == lie.hash, "it asks why the block is not the validator's"
    judge.may.set()
    asyncio.run(fetch("0x" + proof.hex()))
    assert judge.calls == 1
    assert lacking() is None
    assert validator.head[1] == honest.hash
    assert judge.calls == 1, "on the chain's thread nothing is executed for it"
    monkeypatch.setattr(proofs, "judge_apart", never)
    with pytest.raises(LinkDown, match="too long"):
        asyncio.run(fetch("0x" + proof.hex()))


def test_a_followers_source_gives_a_proof_that_takes_too_long(
    validator: Validator, proof: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Giving(FetchedSource):
        def conviction(self, block_hash: bytes) -> bytes | None:
            return proof

    monkeypatch.setattr(proofs, "judge_apart", never)
    source = Giving("it", Head(4, scene().honest.hash))
    source.blocks = {n: encode_block(block) for n, block in enumerate([*scene().blocks, scene().honest], 1)}
    following: Any = _Following(validator, [], None, as_json=True)
    with pytest.raises(SourceFault, match="too long"):
        list(following._follower.follow(source))
    assert validator.head[1] == scene().lie.hash
