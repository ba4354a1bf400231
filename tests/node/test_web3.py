"""A client that people use: web3.py over HTTP and WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import Web3RPCError
from web3.types import RPCEndpoint

from tests.node.served import Served

HASH = "0x" + "22" * 32


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with Served() as served:
        yield served


def test_http(served: Served) -> None:
    client = Web3(Web3.HTTPProvider(served.url))
    assert client.eth.chain_id == 1
    assert client.provider.make_request(RPCEndpoint("t_add"), ["0x1", "0x2"])["result"] == "0x3"
    with pytest.raises(Web3RPCError, match="does not exist"):
        client.eth.get_balance("0x" + "11" * 20)
    answers = client.provider.make_batch_request([(RPCEndpoint("eth_chainId"), [])] * 3)
    assert isinstance(answers, list)
    assert [answer["result"] for answer in answers] == ["0x1"] * 3


def test_a_websocket_with_a_subscription(served: Served) -> None:
    async def run() -> list[str]:
        async with AsyncWeb3(WebSocketProvider(served.ws_url)) as client:
            assert await client.eth.chain_id == 1
            name = await client.eth.subscribe("newPendingTransactions")
            await asyncio.to_thread(served.publish, "newPendingTransactions", {"hash": HASH})
            async for message in client.socket.process_subscriptions():
                assert message["subscription"] == name
                assert await client.eth.unsubscribe(name)
                return [message["result"].to_0x_hex()]
        return []

    assert asyncio.run(run()) == [HASH]
