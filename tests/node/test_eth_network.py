"""Names and numbers of a live node, and what development adds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from tests.node.live import COINBASE, Live, RefusedCall


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with Live(tmp_path_factory.mktemp("node")) as node:
        yield node


def test_names(node: Live) -> None:
    assert node.call("eth_chainId") == "0x7a69"
    assert node.call("net_version") == "31337"
    assert node.call("eth_syncing") is False
    assert node.call("net_listening") is True
    assert node.call("net_peerCount") == "0x0"
    assert node.call("eth_coinbase") == "0x" + COINBASE.hex()
    assert node.call("web3_clientVersion").startswith("Manaflow/v")
    assert node.call("web3_sha3", "0x68656c6c6f") == "0x" + keccak(b"hello").hex()
    with pytest.raises(RefusedCall, match="-32602"):
        node.call("web3_sha3", "hello")
    with pytest.raises(RefusedCall, match="-32602: too many arguments"):
        node.call("eth_chainId", 1)


def test_blocks_on_demand(node: Live) -> None:
    before = int(node.call("eth_blockNumber"), 16)
    assert node.call("evm_mine") == "0x0"
    node.call("hardhat_mine", "0x2", "0x3c")
    node.call("anvil_mine", 3)
    node.call("evm_mine", {"blocks": 2})
    assert int(node.call("eth_blockNumber"), 16) == before + 8
    times = [
        int(node.call("eth_getBlockByNumber", hex(before + i))["timestamp"], 16) for i in range(2, 4)
    ]  # those of hardhat_mine
    assert times[1] - times[0] == 60


def test_the_clock(tmp_path: Path) -> None:
    def timestamp() -> int:
        return int(node.call("eth_getBlockByNumber", "latest")["timestamp"], 16)

    with Live(tmp_path) as node:
        node.call("evm_mine")
        start = timestamp()
        assert node.call("evm_increaseTime", 1000) == 1000
        assert node.call("anvil_increaseTime", "0x10") == 1016
        node.call("evm_mine")
        assert start + 1016 <= timestamp() < start + 1100
        ahead = timestamp() + 10**6
        node.call("evm_setNextBlockTimestamp", ahead)
        node.call("evm_mine")
        assert timestamp() == ahead
        node.call("evm_mine", ahead + 50)
        assert timestamp() == ahead + 50
        for method, params in (("evm_setNextBlockTimestamp", [ahead]), ("evm_mine", [hex(ahead)])):
            with pytest.raises(RefusedCall, match=r"-32000: timestamp .* is not later than the head's"):
                node.call(method, *params)


@pytest.mark.parametrize("method", ["evm_setNextBlockTimestamp", "evm_increaseTime", "evm_mine"])
def test_the_clock_has_an_end(node: Live, method: str) -> None:
    for time in ("0xffffffffffffffff", 253_402_300_800):
        with pytest.raises(RefusedCall, match=r"-32000: timestamp .*: the clock goes no further than 253402300799"):
            node.call(method, time)
    node.call("evm_mine")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("evm_mine", ["soon"]),
        ("evm_mine", [-1]),
        ("evm_mine", [{"blocks": 1.5}]),
        ("hardhat_mine", [True]),
        ("anvil_mine", [10**6]),
        ("evm_increaseTime", []),
        ("evm_increaseTime", [None]),
    ],
)
def test_bad_parameters(node: Live, method: str, params: list[Any]) -> None:
    with pytest.raises(RefusedCall) as caught:
        node.call(method, *params)
    assert caught.value.code == -32602
    assert node.on_chain(lambda chain: chain.broken) is None


@pytest.mark.parametrize("method", ["hardhat_setBalance", "anvil_setCode", "evm_snapshot", "debug_traceTransaction"])
def test_what_does_not_exist(node: Live, method: str) -> None:
    with pytest.raises(RefusedCall, match="-32601"):
        node.call(method)
