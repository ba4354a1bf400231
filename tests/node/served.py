"""A server in a thread of its own, for clients that know only sockets; and the methods that the tests call."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import httpx
import uvloop

from manaflow.errors import Rule, Verdict
from manaflow.node.encoding import LATEST, Address, BlockTag, Quantity, data
from manaflow.node.errors import RpcError, execution_reverted
from manaflow.node.limits import Limits
from manaflow.node.metrics import Metrics
from manaflow.node.parameters import Method
from manaflow.node.rpc import CLIENT
from manaflow.node.server import RpcServer
from manaflow.node.subscriptions import Hub

SECRET = "/var/lib/secret"


async def chain_id() -> str:
    return "0x1"


async def balance(address: Address, tag: BlockTag = LATEST) -> list[Any]:
    return [data(address), tag.name, tag.number]


async def add(a: Quantity, b: Quantity) -> str:
    return hex(a + b)


async def revert() -> None:
    raise execution_reverted(b"\x01")


async def refuse() -> None:
    raise RpcError(-32003, "nonce too low")


async def judge() -> None:
    raise Verdict(Rule.V2, "the cell is dead", transaction=3)


async def broken() -> None:
    raise OSError(SECRET)


async def unreadable() -> Any:
    return object()


class Sleepers:
    """How many calls of t_sleep run, and ran at most, in this process."""

    now = 0
    peak = 0


async def sleep(seconds: float) -> float:
    Sleepers.now += 1
    Sleepers.peak = max(Sleepers.peak, Sleepers.now)
    try:
        await asyncio.sleep(seconds)
    finally:
        Sleepers.now -= 1
    return seconds


async def sleeping() -> int:
    return Sleepers.now


async def large(size: int) -> str:
    return "x" * size


async def client() -> str:
    return CLIENT.get()


METHODS: Mapping[str, Method] = {
    "t_client": client,
    "eth_chainId": chain_id,
    "t_balance": balance,
    "t_add": add,
    "t_revert": revert,
    "t_refuse": refuse,
    "t_judge": judge,
    "t_broken": broken,
    "t_unreadable": unreadable,
    "t_sleep": sleep,
    "t_sleeping": sleeping,
    "t_large": large,
}


class Served:
    """`with Served(limits) as served:` a running server; leaving it shuts it down and waits."""

    def __init__(self, limits: Limits | None = None, **options: Any) -> None:
        self.limits = limits or Limits()
        self.hub = Hub(self.limits)
        self.metrics = Metrics()
        self.server = RpcServer(METHODS, self.hub, self.limits, port=0, metrics=self.metrics, **options)
        self._thread = threading.Thread(target=lambda: uvloop.run(self._main()))
        self._is_up = threading.Event()
        self.loop: asyncio.AbstractEventLoop

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        task = asyncio.create_task(self.server.serve())
        await self.server.started.wait()
        self._is_up.set()
        await task

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._is_up.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Shut down and wait; twice is once."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.server.shutdown)
            self._thread.join(30)
        assert not self._thread.is_alive()

    def run(self, act: Callable[[], Any]) -> Any:
        """Do something in the server's loop, and wait for it."""

        async def doing() -> Any:
            return act()

        return asyncio.run_coroutine_threadsafe(doing(), self.loop).result(10)

    def publish(self, kind: str, item: Any) -> None:
        """Publish from the server's loop."""
        self.run(lambda: self.hub.publish(kind, item))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.server.port}/"

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20, **options)

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        """One POST of JSON on a connection of its own."""
        with self.client() as client:
            return client.post("/", content=body, headers={"content-type": "application/json", **headers})

    def is_alive(self) -> bool:
        """Whether a new client is answered rightly."""
        body = b'{"jsonrpc":"2.0","id":7,"method":"eth_chainId"}'
        return self.post(body).json() == {"jsonrpc": "2.0", "id": 7, "result": "0x1"}

    def socket(self, receive_buffer: int | None = None) -> socket.socket:
        """A raw connection; a small receive buffer makes a slow reader slow at once."""
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(20)
        raw.connect(("127.0.0.1", self.server.port))
        return raw


def read_all(raw: socket.socket) -> bytes:
    """Everything until the server closes; a reset is an end too."""
    parts = []
    try:
        while part := raw.recv(1 << 16):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def request(body: bytes, *headers: str, method: str = "POST", path: str = "/") -> bytes:
    """An HTTP request with the usual headers and some more."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A client's WebSocket frame, masked with zeros."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + bytes(4) + payload


def upgraded(served: Served, receive_buffer: int | None = None) -> socket.socket:
    """A raw connection after the WebSocket handshake."""
    raw = served.socket(receive_buffer)
    raw.sendall(UPGRADE)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += raw.recv(4096)
    assert answer.startswith(b"HTTP/1.1 101")
    return raw
