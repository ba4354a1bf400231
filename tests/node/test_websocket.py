"""WebSockets as clients see them, over real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from manaflow.node.limits import Limits, Rate
from tests.node.served import Served, Sleepers, frame, read_all, upgraded

HEAD = {"hash": "0x" + "11" * 32, "number": "0x1"}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with Served(Limits(max_message_bytes=100_000, max_subscriptions=3)) as served:
        yield served


def ask(socket: ClientConnection, method: str, *params: Any) -> Any:
    socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    return json.loads(socket.recv(timeout=10))


def until(condition: Any) -> None:
    """Wait for something that a thread will make true."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_calls_and_batches(served: Served) -> None:
    with connect(served.ws_url) as socket:
        assert ask(socket, "eth_chainId") == {"jsonrpc": "2.0", "id": 1, "result": "0x1"}
        socket.send(json.dumps([{"jsonrpc": "2.0", "id": i, "method": "eth_chainId"} for i in range(3)]))
        assert [answer["id"] for answer in json.loads(socket.recv())] == [0, 1, 2]
        socket.send(b'{"jsonrpc":"2.0","id":4,"method":"eth_chainId"}')  # a binary frame
        assert isinstance(socket.recv(), str)
        socket.send("[[[")
        assert json.loads(socket.recv())["error"]["code"] == -32700


def test_calls_of_one_client_run_at_the_same_time(served: Served) -> None:
    with connect(served.ws_url) as socket:
        for seconds in (0.5, 0.0):
            socket.send(json.dumps({"jsonrpc": "2.0", "id": seconds, "method": "t_sleep", "params": [seconds]}))
        assert [json.loads(socket.recv())["id"] for _ in range(2)] == [0.0, 0.5]


def test_a_subscription_from_start_to_end(served: Served) -> None:
    with connect(served.ws_url) as socket, connect(served.ws_url) as other:
        name = ask(socket, "eth_subscribe", "newHeads")["result"]
        served.publish("newHeads", HEAD)
        told = json.loads(socket.recv(timeout=10))
        assert told == {
            "jsonrpc": "2.0",
            "method": "eth_subscription",
            "params": {"subscription": name, "result": HEAD},
        }
        assert ask(other, "eth_unsubscribe", name)["error"]["message"] == "subscription not found"
        assert ask(socket, "eth_unsubscribe", name)["result"] is True
        served.publish("newHeads", HEAD)
        assert ask(socket, "eth_chainId")["result"] == "0x1"  # and not a notification


def test_kinds_of_subscription(served: Served) -> None:
    log = {"address": "0x" + "aa" * 20, "topics": ["0x" + "01" * 32], "blockNumber": "0x5", "removed": True}
    pending = {"hash": "0x" + "22" * 32, "nonce": "0x0"}
    with connect(served.ws_url) as socket:
        ask(socket, "eth_subscribe", "logs", {"address": "0x" + "aa" * 20, "topics": [None]})
        ask(socket, "eth_subscribe", "newPendingTransactions")
        served.publish("logs", log)
        served.publish("logs", {**log, "address": "0x" + "bb" * 20})
        served.publish("newPendingTransactions", pending)
        assert [json.loads(socket.recv(timeout=10))["params"]["result"] for _ in range(2)] == [log, pending["hash"]]
    with connect(served.ws_url) as socket:
        ask(socket, "eth_subscribe", "newPendingTransactions", True)
        served.publish("newPendingTransactions", pending)
        assert json.loads(socket.recv(timeout=10))["params"]["result"] == pending


def test_bad_subscriptions_and_too_many(served: Served) -> None:
    with connect(served.ws_url) as socket:
        assert ask(socket, "eth_subscribe", "syncings")["error"]["code"] == -32602
        assert ask(socket, "eth_subscribe", "logs", {"topics": ["0x1"]})["error"]["code"] == -32602
        assert ask(socket, "eth_subscribe")["error"]["code"] == -32602
        codes = [ask(socket, "eth_subscribe", "newHeads").get("error", {}).get("code") for _ in range(4)]
        assert codes == [None, None, None, -32005]


def test_subscriptions_end_with_the_connection(served: Served) -> None:
    with connect(served.ws_url) as socket:
        ask(socket, "eth_subscribe", "newHeads")
        assert served.run(served.hub.count) == 1
    until(lambda: served.run(served.hub.count) == 0)


def test_no_notification_before_the_id(served: Served) -> None:
    """In a batch the subscription is made before the answer can be sent."""
    with connect(served.ws_url) as socket:
        calls = [("eth_subscribe", ["newHeads"]), ("t_sleep", [0.5])]
        socket.send(json.dumps([{"jsonrpc": "2.0", "id": 1, "method": m, "params": p} for m, p in calls]))
        until(lambda: served.run(served.hub.count) == 1)
        served.publish("newHeads", HEAD)
        first, second = json.loads(socket.recv(timeout=10)), json.loads(socket.recv(timeout=10))
        assert first[0]["result"] == second["params"]["subscription"]


def test_a_message_that_is_too_long_closes(served: Served) -> None:
    with connect(served.ws_url) as socket:
        socket.send(b" " * 100_001)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    assert served.is_alive()


def test_text_that_is_not_utf8_closes(served: Served) -> None:
    raw = upgraded(served)
    raw.sendall(frame(b"\xff\xfe"))
    assert b"\x03\xef" in read_all(raw)  # 1007
    assert served.is_alive()


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_web_pages_cannot_connect(served: Served, headers: dict[str, str]) -> None:
    origin = headers.get("Origin")
    uri = served.ws_url if origin else served.ws_url.replace("127.0.0.1", "evil.example")
    raw = served.socket()
    with pytest.raises(InvalidStatus) as refused:
        connect(uri, origin=Origin(origin) if origin else None, sock=raw).close()
    assert refused.value.response.status_code == 403


def test_other_paths_have_no_websocket(served: Served) -> None:
    with pytest.raises(InvalidStatus):
        connect(served.ws_url + "other").close()


def test_many_clients_at_once(served: Served) -> None:
    async def client(number: int) -> list[Any]:
        async with connect_async(served.ws_url) as socket:
            found = []
            for i in range(10):
                await socket.send(json.dumps({"jsonrpc": "2.0", "id": [number, i][1], "method": "eth_chainId"}))
                found.append(json.loads(await socket.recv())["id"])
            return found

    async def run() -> list[list[Any]]:
        return await asyncio.gather(*map(client, range(100)))

    assert asyncio.run(run()) == [list(range(10))] * 100


def test_requests_in_flight_are_bounded() -> None:
    """What is above the bound waits unread, and is answered in the end."""
    with Served(Limits(max_in_flight=2)) as served, connect(served.ws_url) as socket:
        Sleepers.peak = 0
        for i in range(6):
            socket.send(json.dumps({"jsonrpc": "2.0", "id": i, "method": "t_sleep", "params": [0.2]}))
        assert sorted(json.loads(socket.recv(timeout=10))["id"] for _ in range(6)) == list(range(6))
    assert Sleepers.peak == 2


def test_the_rate_of_a_websocket_is_bounded() -> None:
    with Served(Limits(rate=Rate(0.001, 2))) as served, connect(served.ws_url) as socket:
        codes = [ask(socket, "eth_chainId").get("error", {}).get("code") for _ in range(3)]
        assert codes == [None, None, -32005]


def test_an_idle_socket_is_closed_and_a_subscriber_is_not() -> None:
    limits = Limits(idle_timeout=0.6)
    with Served(limits) as served, connect(served.ws_url) as idle, connect(served.ws_url) as subscriber:
        ask(subscriber, "eth_subscribe", "newHeads")
        with pytest.raises(ConnectionClosed):
            idle.recv(timeout=10)
        time.sleep(0.7)
        served.publish("newHeads", HEAD)
        assert json.loads(subscriber.recv(timeout=10))["method"] == "eth_subscription"


def test_shutdown_finishes_what_is_in_flight_and_says_goodbye() -> None:
    with Served() as served, connect(served.ws_url) as busy, connect(served.ws_url) as quiet:
        busy.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "t_sleep", "params": [0.5]}))
        until(lambda: ask(quiet, "t_sleeping")["result"] == 1)
        served.loop.call_soon_threadsafe(served.server.shutdown)
        assert json.loads(busy.recv(timeout=10))["result"] == 0.5
        for socket in (busy, quiet):
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
