"""A development node inside a test: the real chain in a folder, its thread, and a server with Ethereum's methods."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import uvloop

from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.node.chain_thread import NodeThread
from manaflow.node.development import (
    CHAIN_ID,
    ETHER,
    MNEMONIC,
    development_accounts,
    development_genesis,
)
from manaflow.node.eth_dev import OwnProducing
from manaflow.node.eth_events import EthEvents
from manaflow.node.eth_methods import EthLimits, eth_methods
from manaflow.node.limits import Limits
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.server import RpcServer
from manaflow.node.service import Fan
from manaflow.node.subscriptions import Hub, Publishers
from manaflow.node.validator_role import Instantly, OnDemand, Sealing, Surroundings, ValidatorRole
from manaflow.validator.validator import Validator

BASE_FEE = 10**9
COINBASE = b"\xc0" * 20
ACCOUNTS = development_accounts(MNEMONIC, 10)
GENESIS_TIME = 1_750_000_000


class RefusedCall(Exception):
    """An error answer."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.code, self.message, self.data = error["code"], error["message"], error.get("data")
        super().__init__(f"{self.code}: {self.message}")


class Live:
    """`with Live(tmp_path) as node:`. Blocks are sealed as soon as something is admitted, or on demand."""

    def __init__(
        self,
        path: Path,
        *,
        instantly: bool = True,
        eth_limits: EthLimits | None = None,
        keys: Sequence[bytes] | None = None,
        is_new: bool = True,
    ) -> None:
        self.limits, self.path = Limits(), path
        genesis = development_genesis(
            ACCOUNTS,
            chain_id=CHAIN_ID,
            balance=10_000 * ETHER,
            gas_limit=30_000_000,
            base_fee=BASE_FEE,
            timestamp=GENESIS_TIME,
        )
        if is_new:
            Validator.create(path / "validator", genesis, mode="execute", threads=1).close()
        self.fan, self.sealing = Fan(), Instantly() if instantly else OnDemand()
        self.thread = NodeThread(self._open, lambda error: None)
        self.thread.start()
        methods, self.filters = eth_methods(
            self.thread,
            self.limits,
            time.monotonic,
            keys=[account.key for account in ACCOUNTS] if keys is None else keys,
            producing=OwnProducing(self.thread),
            eth_limits=eth_limits,
        )
        self.hub = Hub(self.limits)
        self.methods = frozenset(methods)
        self.server = RpcServer(methods, self.hub, self.limits, port=0)
        self._server_thread = threading.Thread(target=lambda: uvloop.run(self._main()))
        self._is_up = threading.Event()
        self.loop: asyncio.AbstractEventLoop
        self._ids = itertools.count(1)
        self._client: httpx.Client

    def _open(self) -> OwnedChain:
        validator = Validator.open(self.path / "validator", mode="execute", threads=1)
        latest = LatestIndex.open(self.path / "latest")
        sealing: Sealing = self.sealing
        around = Surroundings(time.time, lambda: os.urandom(32), coinbase=COINBASE)
        return OwnedChain(
            validator,
            latest,
            self.fan,
            None,
            producer=lambda follower: ValidatorRole(validator, latest, follower, DEVELOPMENT_KEY, around),
            sealing=sealing,
            clock=time.monotonic,
        )

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.fan.listeners.append(EthEvents(Publishers(self.hub, self.filters), self.loop))
        task = asyncio.create_task(self.server.serve())
        await self.server.started.wait()
        self._is_up.set()
        await task

    def __enter__(self) -> Live:
        self._server_thread.start()
        assert self._is_up.wait(10)
        self._client = httpx.Client(base_url=self.url, timeout=30)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()
        self.loop.call_soon_threadsafe(self.server.shutdown)
        self._server_thread.join(30)
        self.thread.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.server.port}/"

    def ask(self, method: str, *params: Any) -> dict[str, Any]:
        """The whole answer."""
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
        answer: dict[str, Any] = self._client.post("/", json=body).json()
        return answer

    def call(self, method: str, *params: Any) -> Any:
        """The result. Raises RefusedCall."""
        answer = self.ask(method, *params)
        if "error" in answer:
            raise RefusedCall(answer["error"])
        return answer["result"]

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[dict[str, Any]]:
        """The answers to (method, parameters) each, sent as one batch."""
        body = [
            {"jsonrpc": "2.0", "id": i, "method": method, "params": params} for i, (method, params) in enumerate(calls)
        ]
        answers: list[dict[str, Any]] = self._client.post("/", json=body).json()
        return sorted(answers, key=lambda answer: int(answer["id"]))

    def on_chain(self, run: Any) -> Any:
        """Run something on the chain's thread, and wait."""
        return asyncio.run_coroutine_threadsafe(self.thread.call(run), self.loop).result(30)
