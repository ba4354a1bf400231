"""A server in a process of its own: memory under load, Ctrl-C, logs."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.conftest import ROOT, is_nightly
from tests.node.processes import until
from tests.node.served import UPGRADE, frame, request

MEGABYTE = 1 << 20
SUBSCRIBE = b'{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}'
ROUNDS = 10 if is_nightly() else 1


class Child:
    """The process, its port, and how much memory it has used at most."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.node.server_child"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/"

    def peak(self) -> int:
        """Bytes of resident memory, the most there ever were."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])

    def call(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return httpx.post(self.url, json=body, timeout=60).json()["result"]

    def listens(self) -> bool:
        """Whether it takes new connections."""
        with socket.socket() as raw:
            return raw.connect_ex(("127.0.0.1", self.port)) == 0

    def raw(self, data: bytes) -> socket.socket:
        """A connection that has sent this and will read nothing."""
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(30)
        raw.connect(("127.0.0.1", self.port))
        raw.sendall(data)
        return raw


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    try:
        yield child
    finally:
        child.process.kill()
        child.process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_bounded_under_hostile_load(child: Child) -> None:
    """Slow readers of 2 GB of notifications and answers, unread bodies, brackets, giant batches: within 128 MB more."""
    child.call("t_publish", 1, 1)
    before = child.peak()
    for _ in range(ROUNDS):
        crowd = [child.raw(UPGRADE) for _ in range(40)]
        for raw in crowd:
            raw.recv(4096)
            raw.sendall(frame(SUBSCRIBE))
        until(lambda: child.call("t_publish", 1, 1) == 40)
        assert child.call("t_publish", 2000, 25_000) <= 40
        large = request(b'{"jsonrpc":"2.0","id":1,"method":"t_large","params":[8000000]}')
        crowd += [child.raw(large) for _ in range(40)]
        half = request(b" " * (9 * MEGABYTE))[: -1 * MEGABYTE]
        crowd += [unfinished(child, half) for _ in range(10)]
        for body in (b"[" * 9_000_000, b'{"":' * 2_000_000, b"{}," * 3_000_000, b"[" + b"1," * 4_000_000 + b"1]"):
            answer = httpx.post(child.url, content=body, headers={"content-type": "application/json"}, timeout=30)
            assert answer.status_code == 503 or "error" in answer.json()
        assert child.call("eth_chainId") == "0x1"
        for raw in crowd:
            raw.close()
    assert child.peak() - before < 128 * MEGABYTE


def unfinished(child: Child, data: bytes) -> socket.socket:
    """A request that stays unfinished, or is refused because others have taken the memory."""
    raw = child.raw(b"")
    with contextlib.suppress(OSError):
        raw.sendall(data)
    return raw


def test_ctrl_c_finishes_what_is_in_flight_and_leaves_cleanly(child: Child) -> None:
    with connect(f"ws://127.0.0.1:{child.port}/") as socket:
        socket.send('{"jsonrpc":"2.0","id":1,"method":"t_sleep","params":[0.7]}')
        until(lambda: child.call("t_sleeping") == 1)
        child.process.send_signal(signal.SIGINT)
        assert json.loads(socket.recv(timeout=10))["result"] == 0.7
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    out, err = child.process.communicate(timeout=20)
    assert (child.process.returncode, out, err) == (0, "", "")


def test_a_second_ctrl_c_does_not_wait(child: Child) -> None:
    with connect(f"ws://127.0.0.1:{child.port}/") as socket:
        socket.send('{"jsonrpc":"2.0","id":1,"method":"t_sleep","params":[25]}')
        until(lambda: child.call("t_sleeping") == 1)
        child.process.send_signal(signal.SIGINT)
        until(lambda: not child.listens())
        child.process.send_signal(signal.SIGINT)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)
    assert child.process.wait(timeout=5) == 0


def test_faults_are_logged_with_their_id_and_nothing_else_is(child: Child) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "t_broken"}
    message = httpx.post(child.url, json=body).json()["error"]["message"]
    child.raw(b"\x00\x01\x02 nonsense\r\n\r\n").close()
    child.process.send_signal(signal.SIGTERM)
    _, err = child.process.communicate(timeout=20)
    logged = [json.loads(line) for line in err.splitlines()]
    assert [(line["event"], line["method"]) for line in logged] == [("rpc_internal_error", "t_broken")]
    assert logged[0]["id"] in message
    assert "Traceback" in logged[0]["exception"]
