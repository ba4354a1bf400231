"""docs/RPC.md is true: each of its examples runs against `manaflow node --dev`, in order."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from manaflow.node.backup import Admin
from manaflow.node.chain_thread import NodeThread
from manaflow.node.conflicts import MAX_REMEMBERED
from manaflow.node.eth_calls import CALL_GAS
from manaflow.node.eth_fees import MAX_HISTORY
from manaflow.node.eth_logs import LogLimits
from manaflow.node.eth_pool import MAX_SHOWN
from manaflow.node.limits import Limits
from manaflow.node.mana import mana_methods
from manaflow.node.proofs import ProofDesk
from manaflow.rules.execution import MAX_GAS_LIMIT
from tests.conftest import ROOT
from tests.node.live import Live

DOCUMENT = (ROOT / "docs" / "RPC.md").read_text()
OTHERS = "\n## Cells, moves and roles\n"
"""What comes after it is of mana_*, and runs against a node of its own."""


def examples(of: str = DOCUMENT.partition(OTHERS)[0]) -> Iterator[tuple[str, Any]]:
    """("-->", request), ("<--", answer) and ("<~~", notification), in order."""
    for block in re.findall(r"^```\n(.*?)^```$", of, flags=re.MULTILINE | re.DOTALL):
        lines = [line for line in block.splitlines() if line]
        if lines and lines[0].startswith("--> "):
            yield from ((line[:3], json.loads(line[4:])) for line in lines)


class Names:
    """What the document's $names stand for."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def fill(self, value: Any) -> Any:
        """A request with the values of its names."""
        if isinstance(value, dict):
            return {key: self.fill(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.fill(one) for one in value]
        return self.values[value] if isinstance(value, str) and value.startswith("$") else value

    def compare(self, documented: Any, actual: Any, where: str) -> None:
        """Raises AssertionError if the answer is not as documented; takes down what new names stand for."""
        if documented == "$_":
            return
        if isinstance(documented, str) and documented.startswith("$"):
            assert self.values.setdefault(documented, actual) == actual, where
        elif isinstance(documented, dict):
            assert isinstance(actual, dict), f"{where}: {actual}"
            keys = set(documented) - {"..."}
            assert keys <= set(actual) if "..." in documented else keys == set(actual), f"{where}: {actual}"
            for key in keys:
                self.compare(documented[key], actual[key], f"{where}.{key}")
        elif isinstance(documented, list):
            assert isinstance(actual, list), f"{where}: {actual}"
            assert len(documented) == len(actual), f"{where}: {actual}"
            for i, (one, found) in enumerate(zip(documented, actual, strict=True)):
                self.compare(one, found, f"{where}[{i}]")
        else:
            assert documented == actual, where


@pytest.fixture
def socket() -> Iterator[ClientConnection]:
    """A connection to `manaflow node --dev`."""
    command = [sys.executable, "-m", "manaflow.cli", "node", "--dev", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            greeting = json.loads(process.stdout.readline())
            with connect(greeting["url"].replace("http", "ws")) as socket:
                yield socket
        finally:
            process.terminate()
            process.communicate(timeout=30)


def run(socket: ClientConnection, shown: Iterator[tuple[str, Any]]) -> int:
    """How many examples there were, each answered as documented."""
    names, number, held = Names(), 0, []
    request: dict[str, Any] = {}
    answer: Any = None

    def receive() -> Any:
        return json.loads(socket.recv(timeout=30))

    for mark, value in shown:
        if mark == "-->":
            number += 1
            request = {"jsonrpc": "2.0", "id": number, "params": [], **names.fill(value)}
            socket.send(json.dumps(request))
            answer = receive()
            while answer.get("method") == "eth_subscription":
                held.append(answer)
                answer = receive()
        elif mark == "<--":
            assert answer["id"] == number
            names.compare(value, answer.get("error", answer.get("result")), str(request))
        else:
            told = held.pop(0) if held else receive()
            names.compare(value, told["params"], f"what came after {request}")
    return number


def test_every_example_runs(socket: ClientConnection) -> None:
    assert run(socket, examples()) > 80


def test_every_example_of_mana_runs(socket: ClientConnection) -> None:
    assert run(socket, examples(DOCUMENT.partition(OTHERS)[2])) > 15


def test_every_method_of_mana_has_an_example(tmp_path: Path) -> None:
    thread = NodeThread(lambda: pytest.fail("no chain is needed"), lambda error: None)
    methods = {*mana_methods(thread), *ProofDesk(thread).methods(), *Admin(tmp_path).methods(thread)}
    shown = {value["method"] for mark, value in examples(DOCUMENT.partition(OTHERS)[2]) if mark == "-->"}
    assert shown == methods | {"eth_subscribe"}


def test_every_method_has_an_example(tmp_path: Any) -> None:
    with Live(tmp_path) as node:
        methods = set(node.methods)
    shown = {value["method"] for mark, value in examples() if mark == "-->"}
    assert shown == methods | {"eth_subscribe", "eth_unsubscribe"}


def test_the_bounds_that_it_names_are_the_nodes() -> None:
    text, limits, logs = " ".join(DOCUMENT.split()), Limits(), LogLimits()
    for said in (
        f"a call uses at most {CALL_GAS:,} gas, and a transaction {MAX_GAS_LIMIT:,} (X5)",
        f"`eth_getLogs` looks at {logs.blocks:,} blocks and returns {logs.logs:,} logs at most",
        f"fee history has {MAX_HISTORY:,} blocks",
        f"nobody polls for {limits.filter_timeout:.0f} seconds is dropped, one with more than "
        f"{limits.max_filter_items:,} items",
        f"A pool of more than {MAX_SHOWN:,} is shown",
        f"A node remembers {MAX_REMEMBERED:,} of them",
    ):
        assert said in text, said
