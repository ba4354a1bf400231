"""eth_call, eth_estimateGas and eth_createAccessList of a live node, worded as geth's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode, encode

from manaflow.errors import Failure
from manaflow.node import eth_calls
from manaflow.node.development import ETHER
from manaflow.node.eth_methods import EthLimits
from tests.node.live import BASE_FEE, Live, RefusedCall
from tests.node.probe import NOBODY, SENDERS, Probe, packed, selector, topic

POOR = "0x" + "66" * 20


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    with Live(tmp_path_factory.mktemp("node")) as node:
        yield Probe.deploy(node)


def test_a_call_returns(probe: Probe) -> None:
    assert probe.read("uint256", "add(uint256,uint256)", 3, 4) == 7
    assert probe.read("uint256", "value()") == 7
    assert probe.node.call("eth_call", {"to": NOBODY}) == "0x"
    assert probe.node.call("eth_call", {"to": probe.address, "input": packed("value()")}, "pending") == topic(7)
    assert probe.node.call("eth_call", {"to": None, "data": "0x"}, None, None) == "0x"


def test_a_call_sees_its_block_and_sender(probe: Probe) -> None:
    head = probe.node.call("eth_getBlockByNumber", "latest")
    sender, number, time, base_fee = probe.read("address,uint256,uint256,uint256", "who()")
    assert (sender, number, time) == (SENDERS[0], int(head["number"], 16), int(head["timestamp"], 16))
    assert base_fee == 0  # without a fee, as in geth
    found = probe.node.call("eth_call", probe.request("who()", gasPrice=hex(10 * BASE_FEE)), "pending")
    _, number, _, base_fee = decode(["address", "uint256", "uint256", "uint256"], bytes.fromhex(found[2:]))
    assert number == int(head["number"], 16) + 1
    assert base_fee == int(probe.node.call("eth_getBlockByNumber", "pending")["baseFeePerGas"], 16)


def test_calls_change_nothing(probe: Probe) -> None:
    probe.ask("store(uint256,string)", 9, "nothing")
    assert probe.read("uint256", "value()") == 7


def failure(probe: Probe, signature: str, *values: Any, method: str = "eth_call", **more: Any) -> RefusedCall:
    with pytest.raises(RefusedCall) as caught:
        probe.node.call(method, probe.request(signature, *values, **more), "latest")
    return caught.value


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
def test_reverts(probe: Probe, method: str) -> None:
    reason = failure(probe, "failWithReason()", method=method)
    assert (reason.code, reason.message) == (3, "execution reverted: not today")
    assert reason.data == selector("Error(string)") + encode(["string"], ["not today"]).hex()
    custom = failure(probe, "failWithError(uint256)", 5, method=method)
    assert (custom.code, custom.message) == (3, "execution reverted")
    data = encode(["address", "uint256"], [SENDERS[0], 5]).hex()
    assert custom.data == selector("Refused(address,uint256)") + data
    panic = failure(probe, "add(uint256,uint256)", 2**256 - 1, 1, method=method)
    assert (panic.code, panic.message) == (3, "execution reverted: arithmetic underflow or overflow")
    bare = failure(probe, "failWithNothing()", method=method)
    assert (bare.code, bare.message, bare.data) == (3, "execution reverted", "0x")


def test_halts(probe: Probe) -> None:
    invalid = failure(probe, "failInvalid()")
    assert (invalid.code, invalid.message) == (-32000, "invalid opcode: INVALID")
    burnt = failure(probe, "burn()", gas="0x186a0")
    assert (burnt.code, burnt.message) == (-32000, "out of gas")
    short = failure(probe, "burn()", gas="0x5208")
    assert short.code == -32000
    assert short.message.startswith("intrinsic gas too low: have 21000")


def test_money(probe: Probe) -> None:
    poor = {"from": POOR, "to": NOBODY, "value": "0x1"}
    for method in ("eth_call", "eth_estimateGas", "eth_createAccessList"):
        with pytest.raises(RefusedCall, match="-32000: insufficient funds for gas \\* price \\+ value") as caught:
            probe.node.call(method, poor)
        assert f"address {POOR} have 0 want 1" in caught.value.message
    cheap = failure(probe, "value()", maxFeePerGas="0x1", gas="0x186a0")
    assert cheap.message.startswith("max fee per gas less than block base fee")
    upside_down = failure(probe, "value()", maxFeePerGas="0x1", maxPriorityFeePerGas="0x2")
    assert upside_down.message == "maxFeePerGas (1) < maxPriorityFeePerGas (2)"
    both = failure(probe, "value()", maxFeePerGas="0x1", gasPrice="0x2")
    assert both.message == "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified"


def test_a_call_on_genesis(tmp_path: Path) -> None:
    with Live(tmp_path) as node:
        for block in ("latest", "pending"):
            assert node.call("eth_call", {"to": NOBODY}, block) == "0x"
            assert node.call("eth_estimateGas", {"to": NOBODY}, block) == hex(21_000)


def test_state_overrides(probe: Probe) -> None:
    call = probe.node.call
    request = probe.request("value()")
    assert call("eth_call", request, "latest", {probe.address: {"stateDiff": {topic(0): topic(9)}}}) == topic(9)
    assert call("eth_call", request, "latest", {probe.address: {"state": {}}}) == topic(0)
    returns_3 = "0x60035f5260205ff3"
    assert call("eth_call", {"to": NOBODY}, "latest", {NOBODY: {"code": returns_3}}) == topic(3)
    rich = {POOR: {"balance": hex(ETHER)}}
    assert call("eth_call", {"from": POOR, "to": NOBODY, "value": "0x1"}, "latest", rich) == "0x"
    assert call("eth_estimateGas", {"from": POOR, "to": NOBODY, "value": "0x1"}, "latest", rich) == hex(21_000)
    for wrong in ({probe.address: {"state": {}, "stateDiff": {}}}, {"0x12": {}}, {NOBODY: {"stateDiff": {"x": "0x1"}}}):
        with pytest.raises(RefusedCall) as caught:
            call("eth_call", request, "latest", wrong)
        assert caught.value.code == -32602


def test_block_overrides(probe: Probe) -> None:
    header = {"number": "0x64", "time": "0x7fffffff", "baseFeePerGas": "0x5"}
    found = probe.node.call("eth_call", probe.request("who()", gasPrice="0x5"), "latest", {}, header)
    assert decode(["address", "uint256", "uint256", "uint256"], bytes.fromhex(found[2:]))[1:] == (100, 2**31 - 1, 5)


def test_estimates_are_enough_and_exact(probe: Probe) -> None:
    assert probe.node.call("eth_estimateGas", {"from": SENDERS[1], "to": NOBODY, "value": "0x1"}) == hex(21_000)
    request = probe.request("store(uint256,string)", 8, "estimated")
    gas = int(probe.node.call("eth_estimateGas", request), 16)
    assert failure(probe, "store(uint256,string)", 8, "estimated", gas=hex(gas - 1)).message == "out of gas"
    receipt = probe.send("store(uint256,string)", 8, "estimated", gas=hex(gas))
    assert receipt["status"] == "0x1"
    probe.send("store(uint256,string)", 7, "back")


def test_estimates_that_nothing_satisfies(probe: Probe) -> None:
    endless = failure(probe, "burn()", method="eth_estimateGas")
    assert (endless.code, endless.message) == (-32000, "gas required exceeds allowance (16777216)")
    capped = failure(probe, "burn()", method="eth_estimateGas", gas="0x186a0")
    assert capped.message == "gas required exceeds allowance (100000)"
    invalid = failure(probe, "failInvalid()", method="eth_estimateGas")
    assert invalid.message == "invalid opcode: INVALID"


def test_access_lists(probe: Probe) -> None:
    request = probe.request("store(uint256,string)", 8, "listed")
    listed = probe.node.call("eth_createAccessList", request)
    assert listed["accessList"] == [{"address": probe.address, "storageKeys": [topic(0)]}]
    assert "error" not in listed
    used = probe.send("store(uint256,string)", 8, "listed", accessList=listed["accessList"])
    assert used["gasUsed"] == listed["gasUsed"]
    assert used["type"] == "0x2"
    probe.send("store(uint256,string)", 7, "back")
    failed = probe.node.call("eth_createAccessList", probe.request("failWithReason()"))
    assert failed["error"] == "execution reverted: not today"


def test_a_cap_on_gas(tmp_path: Path) -> None:
    with Live(tmp_path, eth_limits=EthLimits(call_gas=400_000)) as node:
        probe = Probe.deploy(node)
        assert failure(probe, "burn()", gas=hex(10**12)).message == "out of gas"
        assert failure(probe, "burn()", gas=hex(10**12), method="eth_estimateGas").message.endswith("(400000)")


@pytest.mark.parametrize(
    "params",
    [
        [],
        [{"to": "0x12"}],
        [{"gas": 5}],
        [{"gas": "0x10000000000000000"}],
        [{"value": "-0x1"}],
        [{"data": "0x1"}],
        [{"data": "0x11", "input": "0x22"}],
        [{"accessList": [{"address": NOBODY, "storageKeys": ["0x1"]}]}],
        [{}, "latest", {}, {"number": "later"}],
        [["not", "an", "object"]],
    ],
)
def test_bad_parameters(probe: Probe, params: list[Any]) -> None:
    for method in ("eth_call", "eth_estimateGas"):
        with pytest.raises(RefusedCall) as caught:
            probe.node.call(method, *params)
        assert caught.value.code == -32602


def test_a_call_for_another_chain(probe: Probe) -> None:
    with pytest.raises(RefusedCall, match="chainId does not match node's \\(have=1, want=31337\\)"):
        probe.node.call("eth_call", {"to": NOBODY, "chainId": "0x1"})


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas", "eth_createAccessList"])
def test_what_this_node_lacks_is_no_fault_of_its_own(
    probe: Probe, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A code that another coordinator's transaction has made in the open block, say."""

    def lacking(*_: Any) -> Any:
        raise Failure("the code 0x12 is missing")

    for name in ("simulate", "estimate_gas", "create_access_list"):
        monkeypatch.setattr(eth_calls, name, lacking)
    with pytest.raises(RefusedCall, match="-32000: the code 0x12 is missing"):
        probe.node.call(method, {"to": NOBODY}, "pending")
