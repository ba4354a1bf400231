"""The one thread that owns a chain: methods run on it, and envelopes that wait are taken together.

Their senders are recovered before they come here, on other cores. They are answered as soon as they are in the pool
and on disk; a block is sealed when no more wait, or a call does: whoever calls after an answer sees it sealed.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from manaflow.coordinator.messages import Accepted, Refused
from manaflow.evm.envelopes import decode_envelopes
from manaflow.node.errors import RESOURCE_UNAVAILABLE, RpcError
from manaflow.node.owned_chain import OwnedChain
from manaflow.rules.signing import MAX_SIGNED_BYTES

P = ParamSpec("P")
T = TypeVar("T")

MOST_AT_ONCE: Final = 20_000
"""Envelopes that are taken together at most."""
MOST_ROUNDS: Final = 8
"""In which envelopes are taken, one after another, before what they have filled is sealed."""
FEW: Final = 8
"""Envelopes whose senders are recovered sooner than another thread is woken."""


@dataclass(slots=True)
class _Waiting:
    """Who waits for a job."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


@dataclass(slots=True)
class _Job:
    """A function to run, or (None) envelopes to take; with nobody waiting, its result is dropped."""

    run: Callable[[OwnedChain], Any] | None
    envelopes: Sequence[bytes]
    waiting: _Waiting | None
    result: Any = None
    error: BaseException | None = None


class NodeThread:
    """`chain.ChainThread`. `start` it; `stop` it from any thread."""

    def __init__(self, make: Callable[[], OwnedChain], failed: Callable[[BaseException], None]) -> None:
        """make: opens the chain, on the thread. failed: is called there when the chain breaks; nothing runs after."""
        self._make, self._failed = make, failed
        self._jobs: deque[_Job] = deque()
        self._recovery = ThreadPoolExecutor(1, "manaflow-senders")
        self._wake = threading.Event()
        self._is_ending = False
        self._opened = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="manaflow-chain")

    @property
    def is_ready(self) -> bool:
        """True while the chain answers."""
        return self._opened.is_set() and self._error is None and not self._is_ending

    @property
    def waiting(self) -> int:
        """Jobs that wait, about."""
        return len(self._jobs)

    def start(self) -> None:
        """Open the chain; returns when it answers. Raises what opening it raises."""
        self._thread.start()
        self._opened.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    def stop(self) -> None:
        """End the thread after what it is doing, and close the chain. Safe to call twice."""
        self._is_ending = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._recovery.shutdown()

    async def call(self, run: Callable[Concatenate[OwnedChain, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See chain.ChainThread."""
        result: T = await self._put(lambda chain: run(chain, *args, **kwargs), ())
        return result

    async def settled(self) -> None:
        """Returns when what was answered before is sealed, if it is to be, and whoever listens has been told."""
        await self._put(lambda chain: None, ())

    async def submit(self, envelope: bytes) -> Accepted | Refused:
        """See chain.ChainThread."""
        (result,) = await self.submit_all((envelope,))
        return result

    async def submit_all(self, envelopes: Sequence[bytes]) -> list[Accepted | Refused]:
        """See chain.ChainThread."""
        if len(envelopes) > FEW and self.is_ready:
            await self._recover(envelopes)
        results: list[Accepted | Refused] = await self._put(None, envelopes)
        return results

    async def _recover(self, envelopes: Sequence[bytes]) -> None:
        """The native library remembers the senders that it has recovered: the chain's thread will look them up."""
        short = [raw for raw in envelopes if len(raw) <= MAX_SIGNED_BYTES]
        with suppress(RuntimeError):  # the node is shutting down
            await asyncio.get_running_loop().run_in_executor(self._recovery, decode_envelopes, short)

    def post(self, run: Callable[[OwnedChain], Any]) -> None:
        """Run something for whose result nobody waits; from any thread."""
        self._jobs.append(_Job(run, (), None))
        self._rouse()

    def _rouse(self) -> None:
        """The thread clears the flag before it looks at the jobs: where it is set, the next look is still to come."""
        if not self._wake.is_set():
            self._wake.set()

    def _put(self, run: Callable[[OwnedChain], Any] | None, envelopes: Sequence[bytes]) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._jobs.append(_Job(run, envelopes, _Waiting(loop, future)))
        self._rouse()
        if self._is_ending or self._error is not None:
            self._refuse_rest()
        return future

    # On the thread

    def _main(self) -> None:
        try:
            chain = self._make()
        except BaseException as error:
            self._error = error
            self._opened.set()
            return
        self._opened.set()
        try:
            while not self._is_ending and chain.broken is None:
                self._round(chain)
        finally:
            self._error, self._is_ending = chain.broken, True
            self._refuse_rest()
            with suppress(Exception):
                chain.close()
            if chain.broken is not None:
                self._failed(chain.broken)

    def _round(self, chain: OwnedChain) -> None:
        """Wait for work, and do what waits: envelopes as long as more come, then what they lead to, then calls."""
        envelopes, calls = self._take(chain.wait())
        rounds = 0
        while envelopes:
            self._together(chain, envelopes)
            self._answer(envelopes)
            rounds += 1
            envelopes, calls = ([], calls) if calls or rounds == MOST_ROUNDS else self._take(0.0)
        with suppress(Exception):  # then it has begun anew, or is broken, which ends the thread
            chain.settle()
        for job in calls:
            self._alone(chain, job)
            self._answer([job])

    def _take(self, seconds: float | None) -> tuple[list[_Job], list[_Job]]:
        """What waits, after at most so many seconds: (envelopes, calls)."""
        if not self._jobs:
            self._wake.wait(seconds)
        self._wake.clear()
        envelopes: list[_Job] = []
        calls: list[_Job] = []
        count = 0
        while self._jobs and count < MOST_AT_ONCE:
            job = self._jobs.popleft()
            (envelopes if job.run is None else calls).append(job)
            count += len(job.envelopes)
        if self._jobs:
            self._wake.set()
        return envelopes, calls

    def _together(self, chain: OwnedChain, jobs: Sequence[_Job]) -> None:
        try:
            results = chain.take([envelope for job in jobs for envelope in job.envelopes])
            chain.promise()
        except BaseException as error:
            for job in jobs:
                job.error = error
            return
        rest = iter(results)
        for job in jobs:
            job.result = list(islice(rest, len(job.envelopes)))

    def _alone(self, chain: OwnedChain, job: _Job) -> None:
        assert job.run is not None
        try:
            job.result = job.run(chain)
            chain.settle()
        except BaseException as error:
            job.error = error

    def _answer(self, jobs: Sequence[_Job]) -> None:
        """One step of the loop for all of them."""
        by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        for job in jobs:
            if job.waiting is not None:
                by_loop.setdefault(job.waiting.loop, []).append(job)
        for loop, waiting in by_loop.items():
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(_deliver, waiting)

    def _refuse_rest(self) -> None:
        while self._jobs:
            with suppress(IndexError):
                job = self._jobs.popleft()
                job.error = RpcError(RESOURCE_UNAVAILABLE, "the node is shutting down")
                self._answer([job])


def _deliver(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        assert job.waiting is not None
        future = job.waiting.future
        if future.done():
            continue
        if job.error is not None:
            future.set_exception(job.error)
        else:
            future.set_result(job.result)
