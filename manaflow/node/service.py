"""A node as a process: its chain's thread, its server, and what connects the two."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from manaflow.errors import Failure
from manaflow.moves.wire_batch import LIMITS
from manaflow.node.backup import Admin
from manaflow.node.chain import Events, SealedBlock
from manaflow.node.chain_thread import NodeThread
from manaflow.node.eth_dev import OwnProducing
from manaflow.node.eth_events import EthEvents
from manaflow.node.eth_methods import eth_methods
from manaflow.node.limits import Limits
from manaflow.node.mana import MANA_SUBSCRIPTIONS, ManaEvents, mana_methods
from manaflow.node.mana_reads import INCLUSION_CLASS
from manaflow.node.mana_roles import COORDINATION_CLASS
from manaflow.node.metrics import ChainMetrics, Metrics
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.parameters import Method
from manaflow.node.proofs import PROOF_CLASS, ProofDesk
from manaflow.node.rehearsal import rehearse
from manaflow.node.server import RpcServer
from manaflow.node.subscriptions import Hub, Publishers

BODY: Final = 2 * LIMITS.file_bytes + (1 << 16)
"""Bytes: the largest batch as hex."""
ANSWER: Final = 1 << 26
"""Bytes: a large block's file as hex."""
MakeChain = Callable[[Events], OwnedChain]
"""Opens a chain that tells `events` what happens; called on the thread that is to own it."""

Beside = Callable[[NodeThread], Awaitable[None]]
"""What else works on a chain until it is cancelled."""


class Fan:
    """`chain.Events` for several listeners."""

    def __init__(self) -> None:
        self.listeners: list[Events] = []
        """All are there before the chain is opened."""

    def sealed(self, block: SealedBlock) -> None:
        """Pass it on, in order."""
        for listener in self.listeners:
            listener.sealed(block)

    def undone(self, block: SealedBlock) -> None:
        """Pass it on, in order."""
        for listener in self.listeners:
            listener.undone(block)

    def accepted(self, txid: bytes, envelope: bytes) -> None:
        """Pass it on, in order."""
        for listener in self.listeners:
            listener.accepted(txid, envelope)

    def notice(self, kind: str, item: Mapping[str, Any]) -> None:
        """Pass it on, in order."""
        for listener in self.listeners:
            listener.notice(kind, item)


def node_limits() -> Limits:
    """What a node lets its clients take, unless told otherwise."""
    classes = (PROOF_CLASS, COORDINATION_CLASS, INCLUSION_CLASS)
    return Limits(max_body_bytes=BODY, max_response_bytes=ANSWER, method_classes=classes)


def _ready(make_chain: MakeChain, events: Events) -> OwnedChain:
    """The chain, open, when everything is compiled that its first transaction takes."""
    chain = make_chain(events)
    rehearse()
    return chain


@dataclass(frozen=True, slots=True)
class Options:
    """Where a node listens, and within which bounds."""

    host: str = "127.0.0.1"
    port: int = 8545
    limits: Limits = field(default_factory=node_limits)
    keys: tuple[bytes, ...] = ()
    """Of accounts that the node signs for (eth_accounts, eth_sendTransaction): for development only."""
    admin: Admin | None = None
    """Whoever shows its token may have the node backed up."""
    may_seal: bool = False
    """Whether any client may seal blocks and move their clock (mana_seal, evm_mine and its kin): where whoever reaches
    the node is its operator."""


class Service:
    """A running node; made and run inside one event loop.

    service = Service(make_chain, options)
    await service.run(lambda: print(service.port))     # until Ctrl-C, SIGTERM, `shutdown`, or the chain breaks
    """

    def __init__(self, make_chain: MakeChain, options: Options) -> None:
        self._loop = asyncio.get_running_loop()
        self._failure: BaseException | None = None
        fan, limits = Fan(), options.limits
        self.thread = NodeThread(partial(_ready, make_chain, fan), self._failed)
        self.metrics = Metrics()
        hub = Hub(limits, MANA_SUBSCRIPTIONS, self.thread.settled)
        producing = OwnProducing(self.thread) if options.may_seal else None
        methods, filters = eth_methods(self.thread, limits, time.monotonic, keys=options.keys, producing=producing)
        publisher = Publishers(hub, filters)
        fan.listeners += [
            EthEvents(publisher, self._loop),
            ManaEvents(publisher, self._loop),
            ChainMetrics(self.metrics),
        ]
        self._server = RpcServer(
            {**methods, **mana_methods(self.thread, may_seal=options.may_seal), **self._own_methods(options)},
            hub,
            limits,
            options.host,
            options.port,
            ready=lambda: self.thread.is_ready,
            metrics=self.metrics,
        )

    def _own_methods(self, options: Options) -> dict[str, Method]:
        """Of the node as a process: proofs that come to it, and what its operator asks."""
        asked = {} if options.admin is None else options.admin.methods(self.thread)
        return {**ProofDesk(self.thread, self.metrics).methods(), **asked}

    @property
    def port(self) -> int:
        """The port, once it is open."""
        return self._server.port

    async def run(
        self, opened: Callable[[], None], beside: Beside | None = None, *, handle_signals: bool = True
    ) -> None:
        """Open the chain and the port, call `opened`, serve. `beside` runs as long as the chain does.

        Raises what opening the chain raises, Failure if the port cannot be had, if the chain breaks, or `beside` does.
        """
        try:
            await asyncio.to_thread(self.thread.start)
            self.metrics.head.set(await self.thread.call(lambda chain: chain.head[0].number))
            await self._serve(opened, beside, handle_signals)
        finally:  # also of whoever is interrupted while the chain opens: its thread would go on
            await asyncio.to_thread(self.thread.stop)
        if self._failure is not None:
            raise Failure(f"the node has stopped: {self._failure}") from self._failure

    async def _serve(self, opened: Callable[[], None], beside: Beside | None, handle_signals: bool) -> None:
        task = asyncio.create_task(self._beside(beside))
        try:
            serving = asyncio.create_task(self._server.serve(handle_signals=handle_signals))
            starting = asyncio.create_task(self._server.started.wait())
            await asyncio.wait([serving, starting], return_when=asyncio.FIRST_COMPLETED)
            starting.cancel()
            if self._server.started.is_set():
                opened()
            await serving
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _beside(self, beside: Beside | None) -> None:
        try:
            if beside is not None:
                await beside(self.thread)
        except Exception as error:
            self._failure = error
            self._server.shutdown()

    def shutdown(self) -> None:
        """Answer what is in flight, then end. From the loop's thread."""
        self._server.shutdown()

    def _failed(self, error: BaseException) -> None:
        self._failure = error
        self._loop.call_soon_threadsafe(self._server.shutdown)
