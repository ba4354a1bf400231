"""A client of another node's JSON-RPC: bounded in time and size, hostile answers included."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import msgspec
import websockets

from manaflow.errors import Failure
from manaflow.node.errors import RpcError
from manaflow.node.limits import Limits
from manaflow.node.messages import check_structure

TIMEOUT: Final = 30.0
"""Seconds for one call whose answer is small, and the longest silence."""
BYTES_A_SECOND: Final = 1 << 17
"""How fast an answer must come at least: each byte of it gives its call so much more time."""
MAX_ANSWER_BYTES: Final = 1 << 27
"""Twice a block's file, as hex, and more."""
MAX_NOTIFICATION_BYTES: Final = 1 << 20
STRUCTURE: Final = Limits(max_values=1 << 20)
"""Of an answer: what is large in one is a string. A JSON value takes thirty times its two bytes in memory."""
_DECODER: Final = msgspec.json.Decoder()


class LinkDown(Failure):
    """The other node does not answer, or not as a node does. What became of the call is unknown."""


class CallRefused(Failure):
    """The other node answers with an error: `code` as in node/errors.py, `data` as it gave it."""

    def __init__(self, code: int, message: str, data: Any) -> None:
        self.code, self.data = code, data
        super().__init__(message)


class RpcClient:
    """Calls of one other node, in one event loop. Use it as an async context manager."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        """url: http:// or https://."""
        self.url, self._timeout = url, timeout
        self._client = httpx.AsyncClient(timeout=timeout, follow_redirects=False)

    async def __aenter__(self) -> RpcClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def call(self, method: str, *params: Any) -> Any:
        """The result. Raises LinkDown, CallRefused."""
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        try:
            answer = await self._post(body)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise LinkDown(f"{self.url}: {method}: {error or type(error).__name__}") from error
        if not isinstance(answer, dict) or ("result" in answer) == ("error" in answer):
            raise LinkDown(f"{self.url}: {method}: an answer that is no JSON-RPC")
        if "error" in answer:
            raise self._refusal(answer["error"])
        return answer["result"]

    async def _post(self, body: bytes) -> Any:
        status, data = await self._read(body)
        if status != 200:
            raise LinkDown(f"{self.url}: HTTP {status}: {data[:100]!r}")
        try:
            check_structure(data, STRUCTURE)
            return _DECODER.decode(data)
        except (RpcError, msgspec.DecodeError, RecursionError) as error:
            raise LinkDown(f"{self.url}: an answer that is no JSON") from error

    async def _read(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; the whole of it in time, however slowly it drips."""
        headers = {"content-type": "application/json"}
        data = bytearray()
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._timeout) as timeout:
                async with self._client.stream("POST", self.url, content=body, headers=headers) as response:
                    async for part in response.aiter_raw():
                        data += part
                        if len(data) > MAX_ANSWER_BYTES:
                            raise LinkDown(f"{self.url}: an answer of more than {MAX_ANSWER_BYTES} bytes")
                        timeout.reschedule(started + self._timeout + len(data) / BYTES_A_SECOND)
        except TimeoutError as error:
            raise LinkDown(f"{self.url}: an answer that does not end: {len(data)} bytes so far") from error
        return response.status_code, bytes(data)

    def _refusal(self, error: Any) -> Failure:
        if not isinstance(error, dict) or not isinstance(error.get("code"), int):
            return LinkDown(f"{self.url}: an error that is none")
        return CallRefused(error["code"], str(error.get("message"))[:1000], error.get("data"))

    @asynccontextmanager
    async def notified(self, kind: str, wake: asyncio.Event) -> AsyncIterator[None]:
        """While inside, `wake` is set whenever the other node publishes something of a kind, and when it is gone.

        Raises LinkDown if it does not let anyone subscribe.
        """
        try:
            socket = await websockets.connect(
                "ws" + self.url.removeprefix("http"), max_size=MAX_NOTIFICATION_BYTES, open_timeout=TIMEOUT
            )
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            raise LinkDown(f"{self.url}: no WebSocket: {error}") from error
        request = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": [kind]}
        listening = asyncio.create_task(_listen(socket, json.dumps(request), wake))
        try:
            yield
        finally:
            listening.cancel()
            await socket.close()


async def _listen(socket: websockets.ClientConnection, request: str, wake: asyncio.Event) -> None:
    """Whatever comes wakes; the other side's end as well, for calls will fail then."""
    try:
        await socket.send(request)
        async for _ in socket:
            wake.set()
    except websockets.WebSocketException:
        pass
    finally:
        wake.set()
