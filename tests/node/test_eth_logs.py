"""eth_getLogs, filters and subscriptions of a live node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from manaflow.node import eth_logs
from manaflow.node.eth_logs import LogLimits
from manaflow.node.eth_methods import EthLimits
from manaflow.node.eth_sealed import Reading
from tests.node.live import Live, RefusedCall
from tests.node.probe import NOBODY, PAID, SENDERS, STORED, Probe, topic


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    """Block 1 deploys, 2 stores 5, 3 pays, 4 stores twice, 5 is empty."""
    with Live(tmp_path_factory.mktemp("node")) as node:
        probe = Probe.deploy(node)
        probe.send("store(uint256,string)", 5, "five")
        probe.send("pay()", value="0x3")
        probe.send("storeTwice(uint256)", 6)
        node.call("evm_mine")
        yield probe


def places(logs: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(int(log["blockNumber"], 16), int(log["logIndex"], 16)) for log in logs]


ALL = [(2, 0), (3, 0), (4, 0), (4, 1)]


def test_which_logs(probe: Probe) -> None:
    def found(**query: Any) -> list[tuple[int, int]]:
        return places(probe.node.call("eth_getLogs", {"fromBlock": "earliest", **query}))

    assert found() == ALL
    assert found(toBlock="latest", address=probe.address) == ALL
    assert found(address=[probe.address, NOBODY], toBlock="0x3") == ALL[:2]
    assert found(address=NOBODY) == []
    assert found(topics=[PAID]) == [(3, 0)]
    assert found(topics=[[PAID, STORED], topic(SENDERS[0])]) == ALL
    assert found(topics=[STORED, None, topic(6)]) == [(4, 1)]
    assert found(topics=[None, topic(SENDERS[1])]) == []
    assert found(fromBlock="0x4") == ALL[2:]
    assert found(fromBlock="0x3", toBlock="0x3") == ALL[1:2]
    assert found(fromBlock="0x2", toBlock="0xffff") == ALL
    assert found(fromBlock="pending", toBlock="pending") == []


def test_the_default_is_the_head(probe: Probe) -> None:
    assert probe.node.call("eth_getLogs", {}) == []
    assert probe.node.call("eth_getLogs", {"fromBlock": None, "toBlock": None, "topics": []}) == []


def test_logs_are_those_of_the_receipts(probe: Probe) -> None:
    logs = [
        log
        for number in range(1, 6)
        for receipt in probe.node.call("eth_getBlockReceipts", hex(number))
        for log in receipt["logs"]
    ]
    assert probe.node.call("eth_getLogs", {"fromBlock": "0x0"}) == logs
    block_hash = probe.node.call("eth_getBlockByNumber", "0x4")["hash"]
    assert probe.node.call("eth_getLogs", {"blockHash": block_hash}) == logs[2:]


def test_bounds(tmp_path: Path) -> None:
    with Live(tmp_path, eth_limits=EthLimits(logs=LogLimits(blocks=3, logs=2))) as node:
        probe = Probe.deploy(node)
        for value in range(3):
            probe.send("store(uint256,string)", value, "")
        assert len(node.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x2"})) == 1
        with pytest.raises(RefusedCall, match="-32005: limit exceeded: logs of 5 blocks, at most 3"):
            node.call("eth_getLogs", {"fromBlock": "0x0"})
        with pytest.raises(RefusedCall, match="-32005: limit exceeded: query returned more than 2 results"):
            node.call("eth_getLogs", {"fromBlock": "0x2"})


LOGGER = "0x5f355b80156014576020355fa0600190036002565b00"
"""Runtime code: as many logs as the first word says, of as many zero bytes as the second."""


class Logger:
    """A contract that logs what it is told to."""

    def __init__(self, node: Live) -> None:
        self.node = node
        creation = "0x6016600c60003960166000f3" + LOGGER[2:]
        deployed = node.call("eth_sendTransaction", {"from": SENDERS[0], "data": creation})
        self.address = node.call("eth_getTransactionReceipt", deployed)["contractAddress"]

    def log(self, count: int, size: int) -> dict[str, Any]:
        request = {"from": SENDERS[0], "to": self.address, "data": topic(count) + topic(size)[2:], "gas": "0xf42400"}
        receipt: dict[str, Any] = self.node.call(
            "eth_getTransactionReceipt", self.node.call("eth_sendTransaction", request)
        )
        assert len(receipt["logs"]) == count
        return receipt


def test_no_more_is_read_than_may_be_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block may have a hundred thousand logs, and a query reach over ten thousand blocks."""
    read: list[int] = []
    monkeypatch.setattr(eth_logs, "BYTES_AT_ONCE", 1000)
    each_log = Reading.each_log

    def noted(reading: Reading) -> Iterator[Any]:
        read.append(reading.header.number)
        return each_log(reading)

    monkeypatch.setattr(Reading, "each_log", noted)
    with Live(tmp_path, eth_limits=EthLimits(logs=LogLimits(logs=120))) as node:
        logger = Logger(node)
        receipts = [logger.log(50, 0) for _ in range(4)]
        assert node.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x3"}) == [
            *receipts[0]["logs"], *receipts[1]["logs"]
        ]  # fmt: skip
        read.clear()
        with pytest.raises(RefusedCall, match="-32005: limit exceeded: query returned more than 120 results"):
            node.call("eth_getLogs", {"fromBlock": "0x0"})
        assert read == [2, 3, 4]  # blocks without any log have an empty bloom
        many = logger.log(121, 0)
        with pytest.raises(RefusedCall, match="-32005: limit exceeded: query returned more than 120 results"):
            node.call("eth_getLogs", {"blockHash": many["blockHash"]})


def test_the_bytes_of_logs_are_bounded(tmp_path: Path) -> None:
    with Live(tmp_path) as node:
        logger = Logger(node)
        for _ in range(6):
            logger.log(15, 100_000)
        assert len(node.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x6"})) == 5 * 15
        with pytest.raises(RefusedCall, match="-32005: limit exceeded: query returned more than 16777216 bytes"):
            node.call("eth_getLogs", {"fromBlock": "0x0"})


def test_a_known_bloom_keeps_a_block_from_being_read(tmp_path: Path) -> None:
    with Live(tmp_path) as node:
        Probe.deploy(node).send("pay()", value="0x1")
        for _ in range(9):
            node.call("evm_mine")
        asked = {"fromBlock": "0x0", "topics": [STORED]}
        assert node.call("eth_getLogs", asked) == []
        node.on_chain(lambda chain: setattr(chain, "sealed", None))  # whoever reads a block fails
        try:
            assert node.call("eth_getLogs", asked) == []
            with pytest.raises(RefusedCall, match="-32603"):
                node.call("eth_getLogs", {"fromBlock": "0x0", "topics": [PAID]})
        finally:
            node.on_chain(lambda chain: delattr(chain, "sealed"))


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"fromBlock": "0x3", "toBlock": "0x2"}, -32602),
        ({"fromBlock": "latest", "toBlock": "earliest"}, -32602),
        ({"blockHash": topic(1), "fromBlock": "0x0"}, -32602),
        ({"blockHash": topic(1)}, -32000),
        ({"topics": [topic(0)] * 5}, -32602),
        ({"address": "0x12"}, -32602),
        ({"topics": "all"}, -32602),
    ],
)
def test_bad_queries(probe: Probe, query: dict[str, Any], code: int) -> None:
    with pytest.raises(RefusedCall) as caught:
        probe.node.call("eth_getLogs", query)
    assert caught.value.code == code


def test_filters(tmp_path: Path) -> None:
    with Live(tmp_path) as node:
        probe = Probe.deploy(node)
        logs = node.call("eth_newFilter", {"address": probe.address, "topics": [STORED]})
        blocks, pending = node.call("eth_newBlockFilter"), node.call("eth_newPendingTransactionFilter")
        probe.send("pay()", value="0x1")
        receipt = probe.send("store(uint256,string)", 1, "")
        assert node.call("eth_getFilterChanges", logs) == receipt["logs"]
        assert node.call("eth_getFilterChanges", logs) == []
        hashes = [node.call("eth_getBlockByNumber", hex(number))["hash"] for number in (2, 3)]
        assert node.call("eth_getFilterChanges", blocks) == hashes
        assert node.call("eth_getFilterChanges", pending)[-1] == receipt["transactionHash"]
        assert node.call("eth_getFilterLogs", logs) == receipt["logs"]
        assert node.call("eth_uninstallFilter", logs) is True
        with pytest.raises(RefusedCall, match="filter not found"):
            node.call("eth_getFilterChanges", logs)


def test_a_subscriber_who_reads_gets_every_log_of_a_large_block(tmp_path: Path) -> None:
    """More than may wait for one client: what is published in one go would cut off whoever asked for it."""

    async def run(node: Live, logger: Logger) -> None:
        async with websockets.connect(node.ws_url, max_queue=None) as socket:
            body = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["logs", {}]}
            await socket.send(json.dumps(body))
            await socket.recv()
            sending = asyncio.create_task(asyncio.to_thread(logger.log, 12_000, 0))
            for number in range(12_000):
                log = json.loads(await asyncio.wait_for(socket.recv(), 20))["params"]["result"]
                assert log["logIndex"] == hex(number)
            await sending

    with Live(tmp_path) as node:
        assert node.limits.max_queued_messages < 12_000
        asyncio.run(run(node, Logger(node)))


def test_subscriptions_and_an_undone_block(tmp_path: Path) -> None:
    async def run(node: Live, probe: Probe) -> None:
        async with websockets.connect(node.ws_url) as socket:
            names: dict[str, str] = {}
            for kind, parameters in (("newHeads", []), ("logs", [{"address": probe.address}]),
                                     ("newPendingTransactions", [])):  # fmt: skip
                body = {"jsonrpc": "2.0", "id": kind, "method": "eth_subscribe", "params": [kind, *parameters]}
                await socket.send(json.dumps(body))
                names[json.loads(await socket.recv())["result"]] = kind

            async def heard(count: int) -> list[tuple[str, Any]]:
                found = []
                for _ in range(count):
                    params = json.loads(await asyncio.wait_for(socket.recv(), 10))["params"]
                    found.append((names[params["subscription"]], params["result"]))
                return found

            receipt = await asyncio.to_thread(probe.send, "storeTwice(uint256)", 8)
            head = await asyncio.to_thread(node.call, "eth_getBlockByNumber", "latest")
            items = await heard(4)
            assert items[0] == ("newPendingTransactions", receipt["transactionHash"])
            assert items[1][0] == "newHeads"
            without = {"transactions", "uncles", "withdrawals", "size"}
            assert items[1][1] == {name: value for name, value in head.items() if name not in without}
            assert items[2:] == [("logs", log) for log in receipt["logs"]]
            await asyncio.to_thread(node.on_chain, lambda chain: node.fan.undone(chain.sealed(2)))
            removed = [("logs", {**log, "removed": True}) for log in reversed(receipt["logs"])]
            assert (await heard(2)) == removed

    with Live(tmp_path) as node:
        asyncio.run(run(node, Probe.deploy(node)))
