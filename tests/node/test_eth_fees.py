"""Suggested fees and the history of fees of a live node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from manaflow.node import eth_fees
from manaflow.node.eth_fees import DEFAULT_TIP, FeeMethods, Tips
from manaflow.rules.fees import next_base_fee
from tests.node.live import Live, RefusedCall
from tests.node.probe import NOBODY, SENDERS


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Block 1 has three transactions with tips of 1, 2 and 3 gwei, block 2 none."""
    with Live(tmp_path_factory.mktemp("node"), instantly=False) as node:
        assert int(node.call("eth_maxPriorityFeePerGas"), 16) == DEFAULT_TIP
        for sender, tip in enumerate((1, 3, 2)):
            fees = {"maxFeePerGas": hex(10**11), "maxPriorityFeePerGas": hex(tip * 10**9)}
            node.call("eth_sendTransaction", {"from": SENDERS[sender], "to": NOBODY, **fees})
        node.call("evm_mine")
        node.call("evm_mine")
        yield node


def next_fee(node: Live) -> int:
    return int(node.on_chain(lambda chain: next_base_fee(chain.head[0])))


def test_suggestions(node: Live) -> None:
    tip = int(node.call("eth_maxPriorityFeePerGas"), 16)
    assert tip == 2 * 10**9  # the 60th percentile of three
    assert int(node.call("eth_gasPrice"), 16) == next_fee(node) + tip
    assert node.call("eth_blobBaseFee") == "0x1"


def test_history(node: Live) -> None:
    history = node.call("eth_feeHistory", "0x2", "latest", [0, 50, 100])
    assert history["oldestBlock"] == "0x1"
    fees = [node.call("eth_getBlockByNumber", number)["baseFeePerGas"] for number in ("0x1", "0x2")]
    assert history["baseFeePerGas"] == [*fees, hex(next_fee(node))]
    assert history["gasUsedRatio"] == [63_000 / 30_000_000, 0]
    assert history["reward"] == [[hex(10**9), hex(2 * 10**9), hex(3 * 10**9)], ["0x0"] * 3]
    assert history["baseFeePerBlobGas"] == ["0x1"] * 3
    assert history["blobGasUsedRatio"] == [0, 0]


def test_a_long_history_gives_other_calls_their_turn(node: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a thousand full blocks takes many seconds."""
    whole = node.call("eth_feeHistory", "0x3", "latest", [50])
    at_once: list[int] = []
    rewards = FeeMethods._rewards

    def noted(fees: FeeMethods, chain: Any, headers: Any, percentiles: Any) -> Any:
        at_once.append(len(headers))
        return rewards(fees, chain, headers, percentiles)

    monkeypatch.setattr(FeeMethods, "_rewards", noted)
    monkeypatch.setattr(eth_fees, "BLOCKS_AT_ONCE", 2)
    assert node.call("eth_feeHistory", "0x3", "latest", [50]) == whole
    assert at_once == [2, 1]


def test_history_without_rewards_and_with_fewer_blocks(node: Live) -> None:
    history = node.call("eth_feeHistory", 1024, "0x1", [])
    assert (history["oldestBlock"], len(history["baseFeePerGas"])) == ("0x0", 3)
    assert "reward" not in history
    assert node.call("eth_feeHistory", "0x400", "pending")["oldestBlock"] == "0x0"
    assert node.call("eth_feeHistory", "0x0", "latest") == {"oldestBlock": "0x0", "gasUsedRatio": []}


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ([], -32602),
        (["two", "latest"], -32602),
        ([True, "latest"], -32602),
        (["0x1", "latest", "half"], -32602),
        (["0x1", "latest", [50, 10]], -32000),
        (["0x1", "latest", [101]], -32000),
        (["0x1", "latest", [-1]], -32000),
        (["0x1", "latest", list(range(101))], -32000),
        (["0x1", "0xffff"], -32000),
    ],
)
def test_bad_parameters(node: Live, params: list[Any], code: int) -> None:
    with pytest.raises(RefusedCall) as caught:
        node.call("eth_feeHistory", *params)
    assert caught.value.code == code


def test_rewards_are_weighed_by_gas() -> None:
    tips = Tips((1, 5, 9), (10, 80, 10))
    assert [tips.at(percentile) for percentile in (0, 10, 11, 90, 91, 100)] == [1, 1, 5, 5, 9, 9]
