"""Polled filters, on a clock that the tests turn."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import Any

import pytest

from manaflow.node.errors import RpcError
from manaflow.node.filters import Filters
from manaflow.node.limits import Limits
from manaflow.node.log_filter import LogQuery
from manaflow.node.parameters import Signature
from manaflow.node.rpc import CLIENT
from tests.node.test_limits import Hands

A, B = "0x" + "aa" * 20, "0x" + "bb" * 20


async def get_logs(query: LogQuery) -> list[Any]:
    return ["all logs of", query.from_block.number if query.from_block else None]


class Node:
    """Filters and a clock."""

    def __init__(self, **limits: Any) -> None:
        self.clock = Hands()
        self.filters = Filters(Limits(**limits), self.clock, get_logs, self.settled)
        self.sealing: list[dict[str, Any]] = []
        """Heads that are not told yet."""

    async def settled(self) -> None:
        while self.sealing:
            self.filters.publish("newHeads", self.sealing.pop(0))

    def call(self, method: str, *params: Any) -> Any:
        function = self.filters.methods()[method]
        return asyncio.run(function(*Signature(function).bind(list(params))))  # type: ignore[arg-type]

    def is_gone(self, name: str) -> bool:
        with pytest.raises(RpcError) as refused:
            self.call("eth_getFilterChanges", name)
        return (refused.value.code, refused.value.message) == (-32000, "filter not found")


def log(address: str, number: str = "0x1") -> dict[str, Any]:
    return {"address": address, "topics": [], "blockNumber": number}


def test_each_filter_keeps_what_came_since_its_last_poll() -> None:
    node = Node()
    blocks, pending, whole, logs = (
        node.call("eth_newBlockFilter"),
        node.call("eth_newPendingTransactionFilter"),
        node.call("eth_newPendingTransactionFilter", True),
        node.call("eth_newFilter", {"address": A, "fromBlock": "0x1"}),
    )
    transaction = {"hash": "0x9", "nonce": "0x0"}
    taken_back = {**log(A), "removed": True}
    node.filters.publish("newHeads", {"hash": "0x7"})
    node.filters.publish("newPendingTransactions", transaction)
    for item in (log(A), log(B), log(A, "0x0"), taken_back):
        node.filters.publish("logs", item)
    node.filters.publish("manaVerdicts", {})
    expected = {blocks: ["0x7"], pending: ["0x9"], whole: [transaction], logs: [log(A), taken_back]}
    for name, items in expected.items():
        assert node.call("eth_getFilterChanges", name) == items
        assert node.call("eth_getFilterChanges", name) == []


def test_a_block_that_is_being_sealed_is_waited_for() -> None:
    node = Node()
    node.sealing.append({"hash": "0x1"})
    name = node.call("eth_newBlockFilter")
    assert node.call("eth_getFilterChanges", name) == [], "it was there before the filter"
    node.sealing.append({"hash": "0x2"})
    assert node.call("eth_getFilterChanges", name) == ["0x2"], "it was there before the poll"
    node.sealing.append({"hash": "0x3"})
    assert node.call("eth_newFilter", {})
    assert node.call("eth_newPendingTransactionFilter")
    assert node.sealing == []


def test_all_logs_of_a_log_filter() -> None:
    node = Node()
    assert node.call("eth_getFilterLogs", node.call("eth_newFilter", {"fromBlock": "0x5"})) == ["all logs of", 5]
    with pytest.raises(RpcError, match="filter not found"):
        node.call("eth_getFilterLogs", node.call("eth_newBlockFilter"))


def test_uninstalling() -> None:
    node = Node()
    name = node.call("eth_newBlockFilter")
    assert node.call("eth_uninstallFilter", name) is True
    assert node.call("eth_uninstallFilter", name) is False
    assert node.is_gone(name)


def test_a_filter_that_nobody_polls_expires_and_a_polled_one_stays() -> None:
    node = Node()
    polled, forgotten = node.call("eth_newBlockFilter"), node.call("eth_newBlockFilter")
    node.clock.now += 299
    node.call("eth_getFilterChanges", polled)
    node.clock.now += 1
    assert node.is_gone(forgotten)
    node.clock.now += 298
    assert node.call("eth_getFilterChanges", polled) == []
    node.clock.now += 300
    node.filters.publish("newHeads", {"hash": "0x1"})  # memory is given back even if nobody asks any more
    assert len(node.filters) == 0


def test_filters_are_bounded_and_places_come_back() -> None:
    node = Node(max_filters=2)
    for _ in range(2):
        node.call("eth_newBlockFilter")
    with pytest.raises(RpcError) as refused:
        node.call("eth_newFilter", {})
    assert refused.value.code == -32005
    node.clock.now += 300
    node.call("eth_newFilter", {})


def test_one_client_cannot_take_all_filters() -> None:
    node = Node(max_filters=4, max_filters_each=2)

    def begin(client: str) -> str:
        return str(copy_context().run(lambda: (CLIENT.set(client), node.call("eth_newBlockFilter"))[1]))

    begin("greedy")
    name = begin("greedy")
    with pytest.raises(RpcError) as refused:
        begin("greedy")
    assert refused.value.code == -32005
    begin("other")
    node.call("eth_uninstallFilter", name)
    begin("greedy")


def test_a_filter_with_too_many_items_is_dropped_rather_than_cut_short() -> None:
    node = Node(max_filter_items=3)
    name, other = node.call("eth_newBlockFilter"), node.call("eth_newPendingTransactionFilter")
    for number in range(3):
        node.filters.publish("newHeads", {"hash": number})
    assert node.call("eth_getFilterChanges", name) == [0, 1, 2]
    for number in range(4):
        node.filters.publish("newHeads", {"hash": number})
    assert node.is_gone(name)
    assert node.call("eth_getFilterChanges", other) == []


def large(size: int) -> dict[str, Any]:
    return {**log(A), "data": "0x" + "00" * size}


def test_a_filter_that_no_answer_could_hold_is_dropped() -> None:
    node = Node(max_response_bytes=100_000)
    logs, whole = node.call("eth_newFilter", {}), node.call("eth_newPendingTransactionFilter", True)
    for _ in range(2):
        for _ in range(4):
            node.filters.publish("logs", large(10_000))
        assert len(node.call("eth_getFilterChanges", logs)) == 4
    node.filters.publish("newPendingTransactions", {"hash": "0x1", "input": "0x" + "00" * 50_000})
    assert node.is_gone(whole)
    for _ in range(5):
        node.filters.publish("logs", large(10_000))
    assert node.is_gone(logs)


def test_all_filters_together_are_bounded_at_the_cost_of_the_largest() -> None:
    node = Node(max_buffered_bytes=200_000)
    polled, unpolled, narrow = (node.call("eth_newFilter", {}), node.call("eth_newFilter", {}),
                                node.call("eth_newFilter", {"address": B}))  # fmt: skip
    for _ in range(20):
        node.filters.publish("logs", large(10_000))
        assert len(node.call("eth_getFilterChanges", polled)) == 1
    assert node.is_gone(unpolled)
    for name in (polled, narrow):
        assert node.call("eth_uninstallFilter", name) is True
    assert node.filters.kept_bytes == 0


@pytest.mark.parametrize("params", [(), (5,), ({"topics": [None] * 5},), ({"address": "0x1"},)])
def test_bad_queries(params: tuple[Any, ...]) -> None:
    node = Node()
    with pytest.raises(RpcError) as refused:
        node.call("eth_newFilter", *params)
    assert (refused.value.code, len(node.filters)) == (-32602, 0)
