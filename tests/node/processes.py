"""Nodes as real processes: started, asked over HTTP, ended, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import coincurve
import httpx
import rlp

from manaflow.moves.hashing import keccak256
from manaflow.node.development import CHAIN_ID, MNEMONIC, DevelopmentAccount, development_accounts
from tests.conftest import ROOT

ERRORS = (httpx.TransportError,)
"""What a client sees of a process that is killed."""


class NodeError(Exception):
    """An error answer."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.code, self.data = error["code"], error.get("data")
        super().__init__(error["message"])


class Client:
    """Calls of one node."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(timeout=30)

    def call(self, method: str, *params: Any) -> Any:
        answer = self._client.post(self.url, json=request(method, *params)).json()
        if "error" in answer:
            raise NodeError(answer["error"])
        return answer["result"]

    def batch(self, calls: list[tuple[str, list[Any]]]) -> list[dict[str, Any]]:
        """The whole answers, in order."""
        answers: list[dict[str, Any]] = self._client.post(self.url, json=[request(m, *p) for m, p in calls]).json()
        return answers

    def close(self) -> None:
        self._client.close()


def request(method: str, *params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}


class NodeProcess:
    """`with NodeProcess("node", "--dev") as node:`; leaving it ends the process cleanly, unless it was killed."""

    def __init__(self, *arguments: object, log: Path | None = None, port: int = 0) -> None:
        command = [sys.executable, "-m", "manaflow.cli", *map(str, arguments), "--port", str(port), "--json"]
        errors = None if log is None else log.open("ab")
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the node did not start: exit code {self.process.wait()}"
        self.greeting: dict[str, Any] = json.loads(line)
        assert self.greeting["ok"], self.greeting
        self.client = Client(self.greeting["url"])
        self.call, self.batch, self.url = self.client.call, self.client.batch, self.client.url

    @property
    def ws_url(self) -> str:
        return "ws" + self.url.removeprefix("http")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if self.process.poll() is None:
                assert self.stop() == 0 or kind is not None
        finally:
            self.kill()

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it cleanly; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def kill(self) -> None:
        """kill -9; twice is once."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.client.close()


@cache
def rich() -> list[DevelopmentAccount]:
    """The accounts of `manaflow node --dev`."""
    return development_accounts(MNEMONIC, 10)


def transfer(
    sender: int,
    nonce: int,
    to: bytes = b"\x99" * 20,
    value: int = 1,
    *,
    gas_price: int = 10**11,
    tip: int = 10**9,
    data: bytes = b"",
    gas: int = 0,
) -> bytes:
    """A signed envelope of type 2."""
    fields = [CHAIN_ID, nonce, tip, gas_price, gas or 21_000 + 40 * len(data), to, value, data, []]
    signing = keccak256(b"\x02" + rlp.encode(fields))
    signature = coincurve.PrivateKey(rich()[sender].key).sign_recoverable(signing, hasher=None)
    parts = [signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")]
    return bytes(b"\x02" + rlp.encode([*fields, *parts]))


def hexed(value: bytes) -> str:
    return "0x" + value.hex()


def txid(envelope: bytes) -> str:
    return hexed(keccak256(envelope))


@dataclass
class Patience:
    """Waits for what another process does."""

    seconds: float = 30.0

    def until(self, holds: Callable[[], Any]) -> Any:
        """What `holds` returns, once it is true."""
        end = time.monotonic() + self.seconds
        while True:
            found = holds()
            if found:
                return found
            assert time.monotonic() < end, "it never came to be"
            time.sleep(0.05)


until = Patience().until
