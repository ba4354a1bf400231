"""Subscriptions without a socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from manaflow.node.errors import RpcError
from manaflow.node.limits import Limits
from manaflow.node.subscriptions import MAX_HELD, Hub, Publishers, Subscriber, Subscription

HEAD = {"hash": "0x" + "11" * 32}


class Client:
    """A subscriber and what it was sent."""

    def __init__(self, hub: Hub, **limits: int) -> None:
        self.sent: list[Any] = []
        self.subscriber = Subscriber(hub, Limits(**limits), lambda raw: self.sent.append(json.loads(raw)))  # type: ignore[arg-type]
        self.made: list[Subscription] = []

    def call(self, method: str, *params: Any) -> Any:
        bound = self.subscriber.methods(self.made)[method]
        return asyncio.run(bound.method(*bound.signature.bind(list(params))))

    def subscribe(self, *params: Any) -> str:
        name: str = self.call("eth_subscribe", *params)
        for made in self.made:
            made.release()
        self.made.clear()
        return name

    def results(self) -> list[Any]:
        return [message["params"]["result"] for message in self.sent]


def test_each_client_gets_what_it_asked_for() -> None:
    hub = Hub(Limits())
    heads, both = Client(hub), Client(hub)
    heads.subscribe("newHeads")
    both.subscribe("newHeads")
    both.subscribe("manaVerdicts")
    hub.publish("newHeads", HEAD)
    hub.publish("manaVerdicts", {"rule": "V2"})
    assert heads.results() == [HEAD]
    assert both.results() == [HEAD, {"rule": "V2"}]
    assert hub.count() == 3


def test_a_block_that_is_being_sealed_was_there_before_the_subscription() -> None:
    async def settled() -> None:
        hub.publish("newHeads", HEAD)

    hub = Hub(Limits(), settled=settled)
    client = Client(hub)
    client.subscribe("newHeads")
    assert client.results() == []


def test_a_connection_that_closes_while_it_subscribes_leaves_nothing() -> None:
    async def settled() -> None:
        client.subscriber.close()

    hub = Hub(Limits(), settled=settled)
    client = Client(hub)
    with pytest.raises(RpcError, match="the connection is closed"):
        client.subscribe("newHeads")
    assert hub.count() == 0


def test_ids_differ_and_are_told() -> None:
    hub = Hub(Limits())
    client = Client(hub)
    names = [client.subscribe("newHeads") for _ in range(2)]
    hub.publish("newHeads", HEAD)
    assert [message["params"]["subscription"] for message in client.sent] == names
    assert len(set(names)) == 2


def test_what_happens_before_the_id_is_sent_comes_after_it() -> None:
    hub = Hub(Limits())
    client = Client(hub)
    client.call("eth_subscribe", "newHeads")
    hub.publish("newHeads", HEAD)
    assert client.sent == []
    client.made[0].release()
    hub.publish("newHeads", HEAD)
    assert client.results() == [HEAD, HEAD]


def test_what_is_held_is_bounded() -> None:
    hub = Hub(Limits())
    client = Client(hub)
    client.call("eth_subscribe", "newHeads")
    for number in range(MAX_HELD + 2):
        hub.publish("newHeads", number)
    assert client.results() == list(range(MAX_HELD + 2))


def test_views() -> None:
    hub = Hub(Limits(), {"mana_even": lambda _: lambda item: item if item % 2 == 0 else None})
    client = Client(hub)
    client.subscribe("mana_even")
    client.subscribe("logs", {"address": ["0x" + "aa" * 20]})
    client.subscribe("newPendingTransactions", False)
    for item in (1, 2, 3):
        hub.publish("mana_even", item)
    taken_back = {"address": "0x" + "aa" * 20, "topics": [], "blockNumber": "0x1", "removed": True}
    hub.publish("logs", taken_back)
    hub.publish("logs", {**taken_back, "address": "0x" + "ab" * 20})
    hub.publish("newPendingTransactions", {"hash": "0x5", "to": None})
    assert client.results() == [2, taken_back, "0x5"]


def test_the_end() -> None:
    hub = Hub(Limits())
    client, other = Client(hub), Client(hub)
    name = client.subscribe("newHeads")
    with pytest.raises(RpcError, match="subscription not found"):
        other.call("eth_unsubscribe", name)
    assert client.call("eth_unsubscribe", name) is True
    with pytest.raises(RpcError, match="subscription not found"):
        client.call("eth_unsubscribe", name)
    client.subscribe("newHeads")
    client.subscriber.close()
    client.subscriber.close()
    hub.publish("newHeads", HEAD)
    assert (client.sent, hub.count(), len(client.subscriber)) == ([], 0, 0)


def test_a_client_that_ends_while_others_are_told() -> None:
    """A slow reader is cut off in the middle of a publication."""
    hub = Hub(Limits())
    first, last = Client(hub), Client(hub)
    first.subscriber._send = lambda _: last.subscriber.close()
    first.subscribe("newHeads")
    last.subscribe("newHeads")
    hub.publish("newHeads", HEAD)
    assert hub.count() == 1


@pytest.mark.parametrize(
    "params", [("nothing",), ("logs", 5), ("logs", {"topics": 1}), ("newPendingTransactions", "x")]
)
def test_refused(params: tuple[Any, ...]) -> None:
    hub = Hub(Limits())
    with pytest.raises(RpcError) as refused:
        Client(hub).subscribe(*params)
    assert (refused.value.code, hub.count()) == (-32602, 0)


def test_subscriptions_of_a_connection_are_bounded() -> None:
    client = Client(Hub(Limits()), max_subscriptions=2)
    names = [client.subscribe("newHeads") for _ in range(2)]
    with pytest.raises(RpcError, match="limit exceeded"):
        client.subscribe("newHeads")
    client.call("eth_unsubscribe", names[0])
    client.subscribe("newHeads")


def test_several_publishers_as_one() -> None:
    hubs = [Hub(Limits()), Hub(Limits())]
    clients = [Client(hub) for hub in hubs]
    for client in clients:
        client.subscribe("newHeads")
    Publishers(*hubs).publish("newHeads", HEAD)
    assert [client.results() for client in clients] == [[HEAD], [HEAD]]
