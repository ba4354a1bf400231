"""The thread that owns a chain: what runs together, what is told when it ends or breaks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from manaflow.coordinator.messages import Accepted
from manaflow.errors import Failure, StorageFailure
from manaflow.node.chain_thread import NodeThread
from manaflow.node.errors import RESOURCE_UNAVAILABLE, RpcError


class Chain:
    """What the thread asks of a chain; `gate` holds it."""

    def __init__(self) -> None:
        self.broken: BaseException | None = None
        self.rounds: list[int] = []
        self.settled = 0
        self.is_closed = False
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def wait(self) -> float | None:
        return None

    def settle(self) -> None:
        self.settled += 1

    def submit(self, envelopes: Sequence[bytes]) -> list[Accepted]:
        self.entered.set()
        assert self.gate.wait(10)
        if b"break" in envelopes:
            self.broken = StorageFailure("the disk is full")
            raise self.broken
        self.rounds.append(len(envelopes))
        return [Accepted(envelope) for envelope in envelopes]

    def close(self) -> None:
        self.is_closed = True


def started(chain: Chain, failed: Any = lambda error: None) -> NodeThread:
    thread = NodeThread(lambda: chain, failed)  # type: ignore[arg-type, return-value]
    thread.start()
    return thread


def test_envelopes_that_wait_are_taken_together() -> None:
    chain = Chain()
    thread = started(chain)

    async def main() -> None:
        chain.gate.clear()
        first = asyncio.create_task(thread.submit(b"first"))
        await asyncio.to_thread(chain.entered.wait, 10)
        rest = [asyncio.create_task(thread.submit(b"%d" % i)) for i in range(50)]
        await asyncio.sleep(0.05)
        chain.gate.set()
        answers = await asyncio.gather(first, *rest)
        assert [answer.txid for answer in answers] == [b"first", *(b"%d" % i for i in range(50))]

    asyncio.run(main())
    assert chain.rounds == [1, 50]
    thread.stop()
    assert chain.is_closed


def test_calls_run_on_one_thread_in_order_and_raise_what_they_raise() -> None:
    chain = Chain()
    thread = started(chain)
    seen: list[tuple[int, int]] = []

    def look(_: Any, i: int) -> int:
        seen.append((i, threading.get_ident()))
        return i

    def refuse(_: Any) -> None:
        raise Failure("no")

    async def main() -> None:
        assert await asyncio.gather(*(thread.call(look, i) for i in range(20))) == list(range(20))
        with pytest.raises(Failure, match="no"):
            await thread.call(refuse)
        assert await thread.call(look, 99) == 99, "it goes on"
        late = asyncio.create_task(thread.call(look, 100))
        late.cancel()

    asyncio.run(main())
    thread.stop()
    assert [i for i, _ in seen][:20] == list(range(20))
    assert {ident for _, ident in seen} != {threading.get_ident()}
    assert len({ident for _, ident in seen}) == 1
    assert chain.settled >= 21


def test_a_chain_that_breaks_ends_the_thread_and_says_so() -> None:
    chain, told = Chain(), []
    thread = started(chain, told.append)

    async def main() -> None:
        with pytest.raises(StorageFailure):
            await thread.submit(b"break")
        await asyncio.to_thread(thread.stop)
        for late in (thread.submit(b"x"), thread.call(lambda chain: 1)):
            with pytest.raises(RpcError) as caught:
                await late
            assert caught.value.code == RESOURCE_UNAVAILABLE

    asyncio.run(main())
    assert told == [chain.broken]
    assert chain.is_closed
    assert not thread.is_ready


def test_a_chain_that_does_not_open() -> None:
    def fail() -> Any:
        raise Failure("locked")

    thread = NodeThread(fail, lambda error: None)
    with pytest.raises(Failure, match="locked"):
        thread.start()
    assert not thread.is_ready
    thread.stop()
