"""Nodes as processes of their own, and what a coordinator tells signers as it happens."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from manaflow.moves.hashing import keccak256
from manaflow.wallet.client import Client
from manaflow.wallet.rpc import Rpc
from manaflow.wallet.rpc_source import RpcSource, read_config

CONNECTIONS: Final = httpx.Limits(max_connections=32)
RECEIPT_SECONDS: Final = 1.0
"""How long a wallet waits for a verdict before it looks for a receipt."""


class Node:
    """`with Node("validator", "--state", ..., log=...) as node:` runs `manaflow validator ...` on a free port."""

    def __init__(self, *arguments: object, log: Path) -> None:
        self._log = log
        command = [sys.executable, "-m", "manaflow.cli", *map(str, arguments), "--port", "0", "--json"]
        with log.open("wb") as errors:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)

    @cached_property
    def url(self) -> str:
        """Where it answers; waits until it does."""
        assert self._process.stdout is not None
        greeting = self._process.stdout.readline()
        if not greeting:
            raise RuntimeError(f"the node did not start: see {self._log}")
        return str(json.loads(greeting)["url"])

    def __enter__(self) -> Node:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()


class Coordinator:
    """A wallet's connection to one coordinator; any thread may use it."""

    def __init__(self, url: str) -> None:
        self.rpc = Rpc(url, httpx.Client(timeout=30, limits=CONNECTIONS))
        self.config = read_config(self.rpc)
        self.client = Client(self.rpc, self.config)
        self._verdicts: dict[str, Future[dict[str, Any]]] = {}
        self._socket = connect("ws" + url.removeprefix("http"), max_size=None)
        self._socket.send(json.dumps(_call("eth_subscribe", "manaVerdicts")))
        self._socket.recv()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        self._listener.join()
        self.rpc.close()

    def state(self) -> RpcSource:
        """The state as this coordinator knows it now, with what waits to be sealed."""
        return RpcSource(self.rpc, self.config)

    def send(self, envelope: bytes) -> dict[str, Any]:
        """Submit, and wait: {"kind": "admitted"}, or why not: "lost" with the winner, or "dropped"."""
        txid = "0x" + keccak256(envelope).hex()
        verdict = self._verdicts[txid] = Future()
        self.client.submit(envelope)
        while True:
            try:
                return verdict.result(RECEIPT_SECONDS)
            except TimeoutError:  # a block that was sealed meanwhile tells by its receipts
                if self.client.receipt(keccak256(envelope)) is not None:
                    return {"kind": "admitted", "txid": txid}

    def _listen(self) -> None:
        try:
            for message in self._socket:
                told = json.loads(message)["params"]["result"]
                verdict = self._verdicts.get(told["txid"])
                if verdict is not None and not verdict.done():
                    verdict.set_result(told)
        except ConnectionClosed:
            pass


def _call(method: str, *params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
