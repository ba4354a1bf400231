"""The client of another node, and a node that is made to waste its time or its memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from manaflow.node import client
from manaflow.node.client import LinkDown, RpcClient

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def ask(answer: Answer, timeout: float = 5.0) -> object:
    """What a call returns when a server that says `answer` hears it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await answer(writer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def main() -> object:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(20), RpcClient(f"http://127.0.0.1:{port}", timeout=timeout) as asked:
            try:
                return await asked.call("mana_head")
            finally:
                server.close()

    return asyncio.run(main())


def head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % length


def whole(body: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head(len(body)) + body)

    return answer


async def drip_body(writer: asyncio.StreamWriter) -> None:
    writer.write(head(1000))
    for _ in range(1000):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def drip_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nx: ")
    for _ in range(1000):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("drip", [drip_body, drip_headers])
def test_an_answer_that_drips_has_an_end(drip: Answer) -> None:
    with pytest.raises(LinkDown, match="does not end"):
        ask(drip, timeout=0.5)


def test_a_long_answer_that_comes_steadily_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"result":"%b"}' % (b"x" * 40_000)
    monkeypatch.setattr(client, "BYTES_A_SECOND", 1 << 14)

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head(len(body)))
        for at in range(0, len(body), 4_000):
            writer.write(body[at : at + 4_000])
            await writer.drain()
            await asyncio.sleep(0.1)

    assert ask(answer, timeout=0.5) == "x" * 40_000


@pytest.mark.parametrize(
    "body", [b"[" * 1_000_000, b'{"result":[%b[]]}' % (b"[]," * (1 << 20)), b'{"a":' * 100 + b"1" + b"}" * 100]
)
def test_an_answer_of_brackets_is_none(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_DECODER", None)  # nothing may be decoded
    with pytest.raises(LinkDown, match="no JSON"):
        ask(whole(body))
