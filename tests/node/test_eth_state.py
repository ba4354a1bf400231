"""Balances, nonces, codes and storage of a live node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manaflow.node.development import ETHER
from tests.node.live import Live, RefusedCall
from tests.node.probe import NOBODY, SENDERS, Probe, topic


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    with Live(tmp_path_factory.mktemp("node")) as node:
        yield Probe.deploy(node)


def test_balances(probe: Probe) -> None:
    node = probe.node
    assert int(node.call("eth_getBalance", SENDERS[9], "latest"), 16) == 10_000 * ETHER
    assert node.call("eth_getBalance", NOBODY) == "0x0"
    spent = 10_000 * ETHER - int(node.call("eth_getBalance", SENDERS[0], "latest"), 16)
    receipt = node.call("eth_getTransactionReceipt", probe.deployed)
    assert spent == int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)


def test_code_and_storage(probe: Probe) -> None:
    node = probe.node
    assert node.call("eth_getCode", probe.address, "latest").startswith("0x6080")
    assert node.call("eth_getCode", SENDERS[0], "latest") == "0x"
    assert node.call("eth_getStorageAt", probe.address, "0x0", "latest") == topic(7)
    assert node.call("eth_getStorageAt", probe.address, topic(0)) == topic(7)
    assert node.call("eth_getStorageAt", probe.address, topic(1)) == topic(0)


def test_nonces_latest_and_pending(tmp_path: Path) -> None:
    with Live(tmp_path, instantly=False) as node:
        transfer = {"from": SENDERS[0], "to": NOBODY, "value": "0x1"}
        for count in range(3):
            assert node.call("eth_getTransactionCount", SENDERS[0], "pending") == hex(count)
            assert node.call("eth_getBalance", NOBODY, "pending") == hex(count)
            node.call("eth_sendTransaction", transfer)
        assert node.call("eth_getTransactionCount", SENDERS[0], "latest") == "0x0"
        assert node.call("eth_getBalance", NOBODY, "latest") == "0x0"
        node.call("eth_sendTransaction", {**transfer, "nonce": "0x9"})  # behind a gap
        assert node.call("eth_getTransactionCount", SENDERS[0], "pending") == "0x3"
        node.call("evm_mine")
        assert node.call("eth_getTransactionCount", SENDERS[0], "latest") == "0x3"
        assert node.call("eth_getBalance", NOBODY, "latest") == "0x3"


def test_pending_nonces_count_what_the_open_block_does_not_take(tmp_path: Path) -> None:
    with Live(tmp_path, instantly=False) as node:
        cheap = {"gas": "0x5208", "maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x0"}  # below the base fee
        node.call("eth_sendTransaction", {"from": SENDERS[0], "to": NOBODY, "value": "0x1", **cheap})
        assert node.call("eth_getBalance", NOBODY, "pending") == "0x0"
        assert node.call("eth_getTransactionCount", SENDERS[0], "pending") == "0x1"
        assert node.call("eth_getTransactionCount", SENDERS[0], "latest") == "0x0"


def test_every_way_to_name_the_head(probe: Probe) -> None:
    node = probe.node
    head = node.call("eth_getBlockByNumber", "latest")
    names = ["latest", "safe", "pending", head["number"], head["hash"], {"blockHash": head["hash"]},
             {"blockNumber": head["number"]}, {"blockHash": head["hash"], "requireCanonical": True}]  # fmt: skip
    for block in names:
        assert node.call("eth_getStorageAt", probe.address, "0x0", block) == topic(7)


@pytest.mark.parametrize("block", ["earliest", "0x0", "finalized"])
def test_an_older_state_is_not_kept(probe: Probe, block: str) -> None:
    for method, params in [("eth_getBalance", [NOBODY]), ("eth_getTransactionCount", [NOBODY]),
                           ("eth_getCode", [NOBODY]), ("eth_getStorageAt", [NOBODY, "0x0"]),
                           ("eth_call", [{"to": NOBODY}])]:  # fmt: skip
        with pytest.raises(RefusedCall, match="missing trie node: the state of block 0 is not kept") as caught:
            probe.node.call(method, *params, block)
        assert caught.value.code == -32000


def test_a_block_that_does_not_exist(probe: Probe) -> None:
    with pytest.raises(RefusedCall, match="-32000: header not found"):
        probe.node.call("eth_getBalance", NOBODY, "0xffff")
    with pytest.raises(RefusedCall, match="-32000: header for hash not found"):
        probe.node.call("eth_getBalance", NOBODY, topic(1))


def test_there_are_no_state_proofs(probe: Probe) -> None:
    with pytest.raises(RefusedCall, match=r"no Merkle-Patricia state exists .* mana_getInclusion") as caught:
        probe.node.call("eth_getProof", probe.address, ["0x0"], "latest")
    assert caught.value.code == -32004


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_getBalance", []),
        ("eth_getBalance", ["0x12"]),
        ("eth_getBalance", [NOBODY, "sometimes"]),
        ("eth_getBalance", [NOBODY, {"blockHash": topic(1), "blockNumber": "0x1"}]),
        ("eth_getCode", [7]),
        ("eth_getStorageAt", [NOBODY]),
        ("eth_getStorageAt", [NOBODY, "0x" + "0" * 66]),
        ("eth_getTransactionCount", [NOBODY, "latest", "more"]),
    ],
)
def test_bad_parameters(probe: Probe, method: str, params: list[object]) -> None:
    with pytest.raises(RefusedCall) as caught:
        probe.node.call(method, *params)
    assert caught.value.code == -32602
