"""A coordinator's link to a validator that answers late, twice, not at all, or with lies."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.errors import Failure, Rule, Verdict
from manaflow.moves.hashing import keccak256
from manaflow.moves.wire import encode_block
from manaflow.node import http_link
from manaflow.node.chain_thread import NodeThread
from manaflow.node.client import CallRefused, LinkDown, RpcClient
from manaflow.node.development import ETHER, development_genesis
from manaflow.node.errors import limit_exceeded
from manaflow.node.following import Head
from manaflow.node.http_link import FetchedSource, HttpLink, follow_fetched, head_of, opened_of
from manaflow.node.limits import Limits, MethodRates
from manaflow.node.mana import MANA_SUBSCRIPTIONS, ManaEvents, mana_methods
from manaflow.node.mana_roles import COORDINATION_CLASS
from manaflow.node.opening import Plan, Producing, open_chain
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.parameters import Method
from manaflow.node.server import RpcServer
from manaflow.node.service import Fan, node_limits
from manaflow.node.subscriptions import Hub
from manaflow.validator.admission import OpenBlock
from tests.node.processes import rich, transfer

PAID = b"\x95" * 20


def plan(path: Path, **options: Any) -> Plan:
    def genesis() -> Any:
        return development_genesis(
            rich(), chain_id=31337, balance=100 * ETHER, gas_limit=30_000_000, base_fee=10**9, timestamp=1
        )

    return Plan(path, genesis, threads=1, **options)


class Faulty:
    """A validator whose answers `faults` may spoil: method -> what to do with each of the next answers."""

    def __init__(self, path: Path) -> None:
        fan = Fan()
        producing = Producing(DEVELOPMENT_KEY, seconds=None)
        self.thread = NodeThread(lambda: open_chain(plan(path, producing=producing), fan), lambda error: None)
        self.thread.start()
        self.faults: dict[str, list[Callable[[Any], Any]]] = {}
        self.calls: Counter[str] = Counter()
        hub = Hub(Limits(), MANA_SUBSCRIPTIONS)
        fan.listeners.append(ManaEvents(hub, asyncio.get_running_loop()))
        methods = {name: self._spoiled(name, method) for name, method in mana_methods(self.thread).items()}
        self.server = RpcServer(methods, hub, port=0)
        self._task = asyncio.create_task(self.server.serve())

    def _spoiled(self, name: str, method: Method) -> Method:
        @functools.wraps(method)
        async def answer(*arguments: Any) -> Any:
            self.calls[name] += 1
            result = await method(*arguments)
            waiting = self.faults.get(name)
            return waiting.pop(0)(result) if waiting else result

        return answer

    async def is_honest(self) -> bool:
        """Whether every fault has happened."""
        return not any(self.faults.values())

    async def close(self) -> None:
        self.server.shutdown()
        await self._task
        await asyncio.to_thread(self.thread.stop)


class Together:
    """A faulty validator, a coordinator, and the link between them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def __aenter__(self) -> Together:
        self.faulty = Faulty(self.path / "validator")
        await self.faulty.server.started.wait()
        self.link = HttpLink(f"http://127.0.0.1:{self.faulty.server.port}")
        self.thread = NodeThread(
            lambda: open_chain(plan(self.path / "coordinator", link=self.link), Fan()), lambda error: None
        )
        self.thread.start()
        self._running = asyncio.create_task(self.link.run(self.thread))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])
        await asyncio.to_thread(self.thread.stop)
        await self.faulty.close()

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(30):
            while not await holds():
                assert not self._running.done(), self._running
                await asyncio.sleep(0.02)

    async def admitted(self, count: int) -> None:
        """Wait until the validator's open block holds so many."""

        async def holds() -> bool:
            return await self.faulty.thread.call(lambda c: c.producer is not None and c.producer.admitted == count)

        await self.until(holds)

    async def height(self, number: int) -> None:
        """Wait until the coordinator has followed so far."""

        async def holds() -> bool:
            return await self.thread.call(lambda chain: chain.head[0].number) == number

        await self.until(holds)


def lost(result: Any) -> Any:
    raise OSError("the answer never arrives")


def garbage(result: Any) -> Any:
    return {"hash": 7}


def run(test: Callable[[Together], Awaitable[None]], path: Path) -> None:
    async def main() -> None:
        with mock.patch.object(http_link, "LEARN_SECONDS", 0.05), mock.patch.object(http_link, "wait_after", short):
            async with Together(path) as both:
                await test(both)

    asyncio.run(main())


def short(faults: int) -> float:
    return 0.01


def test_replies_are_lost_and_everything_lands_once(tmp_path: Path) -> None:
    async def test(both: Together) -> None:
        sent = [transfer(i % 4, i // 4, PAID) for i in range(12)]
        both.faulty.faults["mana_submitBatch"] = [lost, garbage, lost]
        both.faulty.faults["mana_openBlock"] = [lambda result: result, garbage, lost]
        both.faulty.faults["mana_head"] = [lambda result: result, garbage]
        for envelope in sent:
            await both.thread.submit(envelope)
        await both.admitted(12)
        await both.until(both.faulty.is_honest)
        await both.faulty.thread.call(lambda chain: chain.seal())
        await both.height(1)
        block = await both.thread.call(lambda chain: chain.sealed(1))
        assert block is not None
        assert sorted(block.block.envelopes) == sorted(sent)
        assert await both.thread.call(lambda chain: len(chain.coordinator.core.pool)) == 0
        assert await both.thread.call(lambda chain: chain.place(keccak256(sent[0]))) is not None

    run(test, tmp_path)


def test_a_batch_that_is_too_large_is_sent_in_parts(tmp_path: Path) -> None:
    def too_large(result: Any) -> Any:
        raise Verdict(Rule.B1, "raw bytes of the batch")

    async def test(both: Together) -> None:
        both.faulty.faults["mana_submitBatch"] = []
        await both.thread.submit(transfer(0, 0, PAID))
        await both.admitted(1)
        sizes: list[int] = []
        session = http_link._Session._submit

        async def submit(self: Any, batch: Any, since: int) -> Any:
            if len(batch) > 3:
                sizes.append(len(batch))
                raise http_link.BatchTooLarge
            return await session(self, batch, since)

        with mock.patch.object(http_link._Session, "_submit", submit):
            await asyncio.gather(*(both.thread.submit(transfer(i, 1 - (i > 0), PAID)) for i in range(8)))
            await both.admitted(9)
        assert all(size > 3 for size in sizes)
        both.faulty.faults["mana_submitBatch"] = [too_large]
        await both.until(both.faulty.is_honest)  # an empty batch: it cannot be smaller, and the link begins again
        await asyncio.gather(*(both.thread.submit(transfer(i, 2 - (i > 0), PAID)) for i in range(8)))
        await both.admitted(17)

    run(test, tmp_path)


def test_a_block_that_breaks_the_rules_is_not_followed(tmp_path: Path) -> None:
    def spoiled(file: Any) -> Any:
        return file[:-2] + ("00" if file[-2:] != "00" else "01")

    async def test(both: Together) -> None:
        await both.thread.submit(transfer(0, 0, PAID))
        await both.admitted(1)
        both.faulty.faults["mana_getBlock"] = [lambda result: result, spoiled, lambda result: None, garbage]
        await both.faulty.thread.call(lambda chain: chain.seal())
        await both.height(1)
        assert await both.thread.call(lambda chain: chain.broken) is None

    run(test, tmp_path)


@pytest.mark.parametrize(
    "answer",
    [None, [], 7, {}, {"number": "0x1"}, {"number": 1, "hash": "0x" + "00" * 32}, {"number": "0x1", "hash": "0x00"}],
)
def test_heads_that_are_none(answer: Any) -> None:
    with pytest.raises(LinkDown):
        head_of(answer)


@pytest.mark.parametrize(
    "change",
    [
        {"header": "0x"}, {"header": None}, {"blockHashes": []}, {"blockHashes": {"1": "0x"}}, {"sequence": "0x0"},
        {"sequence": -1}, {"sequence": True}, {"cells": None}, {"cells": {}},
        {"blockHashes": {hex(i): "0x" + "00" * 32 for i in range(257)}},
    ],
)  # fmt: skip
def test_open_blocks_that_are_none(change: dict[str, Any], tmp_path: Path) -> None:
    thread = NodeThread(
        lambda: open_chain(plan(tmp_path, producing=Producing(DEVELOPMENT_KEY, seconds=None)), Fan()), lambda _: None
    )
    thread.start()
    try:
        honest = asyncio.run(_ask(mana_methods(thread)["mana_openBlock"]))
        assert opened_of(honest).header.number == 1
        with pytest.raises(LinkDown):
            opened_of({**honest, **change})
    finally:
        thread.stop()


async def _ask(method: Method) -> Any:
    return await method()


def test_what_a_client_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        faulty = Faulty(tmp_path)
        await faulty.server.started.wait()
        async with RpcClient(f"http://127.0.0.1:{faulty.server.port}") as client:
            assert (await client.call("mana_head"))["number"] == "0x0"
            with pytest.raises(CallRefused) as caught:
                await client.call("mana_nothing")
            assert caught.value.code == -32601
            with pytest.raises(CallRefused):
                await client.call("mana_getCell", "x", "0x")
        async with RpcClient(f"http://127.0.0.1:{faulty.server.port}/metrics") as client:
            with pytest.raises(LinkDown, match="HTTP 405"):
                await client.call("mana_head")
        await faulty.close()
        async with RpcClient(f"http://127.0.0.1:{faulty.server.port}") as client:
            with pytest.raises(LinkDown):
                await client.call("mana_head")
            with pytest.raises(LinkDown):
                async with client.notified("manaHeads", asyncio.Event()):
                    pass

    asyncio.run(main())


def test_another_chains_validator_is_none(tmp_path: Path) -> None:
    async def main() -> None:
        faulty = Faulty(tmp_path / "validator")
        await faulty.server.started.wait()

        class Other:
            async def call(self, run: Any) -> bytes:
                return b"\1" * 32

        with pytest.raises(Failure, match="another chain"):
            await HttpLink(f"http://127.0.0.1:{faulty.server.port}").run(Other())  # type: ignore[arg-type]
        await faulty.close()

    asyncio.run(main())


def test_a_coordinator_waits_when_the_validator_has_no_room_for_its_calls(tmp_path: Path) -> None:
    def too_many(result: Any) -> Any:
        raise limit_exceeded("too many calls")

    faults: list[BaseException] = []

    def counted(count: int) -> float:
        faults.append(AssertionError("the link began again"))
        return 0.01

    async def test(both: Together) -> None:
        await both.thread.submit(transfer(0, 0, PAID))
        await both.admitted(1)
        with mock.patch.object(http_link, "wait_after", counted):
            both.faulty.faults["mana_submitBatch"] = [too_many] * 3
            both.faulty.faults["mana_openBlock"] = [too_many] * 2
            await both.thread.submit(transfer(0, 1, PAID))
            await both.admitted(2)
            await both.faulty.thread.call(lambda chain: chain.seal())
            await both.height(1)
            await both.until(both.faulty.is_honest)
        assert faults == []

    with mock.patch.object(http_link, "PAUSE_SECONDS", 0.01):
        run(test, tmp_path)


def test_batches_have_a_bucket_for_each_client() -> None:
    rates = MethodRates(node_limits().method_classes, lambda: 0.0)
    kind = COORDINATION_CLASS.each_client
    allowed = [rates.allow(("mana_submitBatch", "mana_openBlock")[i % 2], "one") for i in range(int(kind.burst) + 1)]
    assert allowed == [True] * int(kind.burst) + [False]
    assert rates.allow("mana_submitBatch", "another")
    assert rates.allow("mana_head", "one")


def test_a_batch_that_the_validator_fails_at_is_sent_in_parts(tmp_path: Path) -> None:
    judge, sizes = OpenBlock._admit_in_order, list[int]()

    def fails(self: OpenBlock, judged: Any) -> Any:
        sizes.append(len(judged.candidates.batch))
        if sizes[-1] > 3:
            raise Failure("internal error")
        return judge(self, judged)

    async def test(both: Together) -> None:
        await both.thread.submit(transfer(0, 0, PAID))
        await both.admitted(1)
        with mock.patch.object(OpenBlock, "_admit_in_order", fails):
            sent = [transfer(i, 1 - (i > 0), PAID) for i in range(8)]
            await both.thread.call(lambda chain: chain.submit(sent))
            await both.admitted(9)
        assert max(sizes) == 8
        assert await both.faulty.thread.call(lambda chain: chain.broken) is None

    run(test, tmp_path)


def sealed_chain(path: Path, blocks: int) -> OwnedChain:
    chain = open_chain(plan(path, producing=Producing(DEVELOPMENT_KEY, seconds=None)), Fan())
    for _ in range(blocks):
        chain.seal()
    return chain


def brought(follower: OwnedChain, chain: OwnedChain) -> int:
    """Follow a chain as a session does; how many blocks were fetched."""
    source = FetchedSource("a validator", Head(chain.head[0].number, chain.head[1]))
    count = 0
    while (lacking := follow_fetched(follower, source)) is not None:
        for number in source.wanted(lacking) if isinstance(lacking, int) else []:
            block = chain.validator.block(number)
            source.blocks[number] = None if block is None else encode_block(block)
            count += 1
        if isinstance(lacking, bytes):
            source.convictions[lacking] = None
        assert count < 100, "it never ends"
    return count


def test_a_fork_deeper_than_what_is_fetched_at_once_is_found(tmp_path: Path) -> None:
    link = mock.Mock()
    with (
        mock.patch.object(http_link, "WINDOW", 4),
        closing(sealed_chain(tmp_path / "one", 10)) as one,
        closing(sealed_chain(tmp_path / "other", 12)) as other,
        closing(open_chain(plan(tmp_path / "follower", link=link), Fan())) as follower,
    ):
        assert brought(follower, one) == 10
        assert follower.head == one.head
        assert brought(follower, other) <= 2 * 12
        assert follower.head == other.head


def test_blocks_that_wait_to_be_judged_are_bounded(tmp_path: Path) -> None:
    async def test(both: Together) -> None:
        with mock.patch.object(http_link, "WINDOW_BYTES", 1):
            for _ in range(5):
                await both.faulty.thread.call(lambda chain: chain.seal())
            await both.height(5)

    run(test, tmp_path)
