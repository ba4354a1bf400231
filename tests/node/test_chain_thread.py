"""The thread that owns a chain: what runs together, what is told when it ends or breaks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import rlp
from coincurve import PrivateKey

from manaflow._native import senders_recovered
from manaflow.coordinator.messages import Accepted
from manaflow.errors import Failure, StorageFailure
from manaflow.moves.hashing import keccak256
from manaflow.node.chain_thread import FEW, MOST_ROUNDS, NodeThread
from manaflow.node.errors import RESOURCE_UNAVAILABLE, RpcError


class Chain:
    """What the thread asks of a chain; `gate` holds it."""

    def __init__(self) -> None:
        self.broken: BaseException | None = None
        self.rounds: list[int] = []
        self.settled = 0
        self.events: list[str] = []
        self.sealing = threading.Event()
        """`settle` waits for it."""
        self.taken: Callable[[], None] = lambda: None
        self.sealing.set()
        self.is_closed = False
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def wait(self) -> float | None:
        return None

    def settle(self) -> None:
        self.events.append("settle")
        assert self.sealing.wait(10)
        self.settled += 1

    def promise(self) -> None:
        self.events.append("promise")

    def take(self, envelopes: Sequence[bytes]) -> list[Accepted]:
        self.entered.set()
        assert self.gate.wait(10)
        if b"break" in envelopes:
            self.broken = StorageFailure("the disk is full")
            raise self.broken
        self.rounds.append(len(envelopes))
        self.events.append("take")
        self.taken()
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


def test_envelopes_are_answered_before_the_block_is_sealed_and_a_call_after_it() -> None:
    chain = Chain()
    thread = started(chain)

    async def main() -> None:
        chain.sealing.clear()
        await asyncio.wait_for(thread.submit(b"first"), 10)
        assert chain.settled == 0
        while "settle" not in chain.events:  # until then it would take more into the same block
            await asyncio.sleep(0.001)
        second = asyncio.create_task(thread.submit(b"second"))
        call = asyncio.create_task(thread.call(lambda chain: chain.settled))  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        assert not second.done(), "the thread is sealing"
        chain.sealing.set()
        assert await asyncio.wait_for(call, 10) == 2
        assert second.done()

    asyncio.run(main())
    thread.stop()
    assert chain.events[:7] == ["take", "promise", "settle"] * 2 + ["settle"], "a call is settled by itself"


def test_a_stream_of_envelopes_does_not_keep_a_block_from_being_sealed() -> None:
    chain = Chain()
    thread = started(chain)

    async def main() -> None:
        loop, tasks = asyncio.get_running_loop(), list[asyncio.Task[Any]]()

        def more() -> None:
            """One more waits before the thread looks again."""
            if len(tasks) < 40:
                loop.call_soon_threadsafe(lambda: tasks.append(asyncio.create_task(thread.submit(b"next"))))
                while not thread.waiting:
                    time.sleep(0.001)

        chain.taken = more
        await thread.submit(b"first")
        while len(tasks) < 40:
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)

    asyncio.run(main())
    thread.stop()
    runs = " ".join(chain.events).replace("take promise", "t").split("settle")
    assert [run.count("t") for run in runs[:5]] == [MOST_ROUNDS] * 5


def test_senders_of_many_envelopes_are_recovered_before_the_chain_takes_them() -> None:
    chain = Chain()
    thread = started(chain)
    key = PrivateKey(b"\1" * 32)
    envelopes = [signed(key, nonce) for nonce in range(FEW + 1)]
    before = senders_recovered()

    async def main() -> None:
        chain.gate.clear()
        task = asyncio.create_task(thread.submit_all(envelopes))
        await asyncio.to_thread(chain.entered.wait, 10)
        recovered = senders_recovered() - before
        chain.gate.set()
        await task
        assert recovered == len(envelopes)

    asyncio.run(main())
    thread.stop()
    assert chain.rounds == [len(envelopes)]


def signed(key: PrivateKey, nonce: int) -> bytes:
    """A transfer of type 2."""
    fields = [1, nonce, 0, 10**9, 21_000, b"\2" * 20, 1, b"", []]
    signature = key.sign_recoverable(keccak256(b"\2" + rlp.encode(fields)), hasher=None)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return b"\2" + bytes(rlp.encode([*fields, signature[64], r, s]))


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
