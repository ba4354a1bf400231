"""Signing and sending with the keys that a development node holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data

from manaflow.node.eth_accounts import AccountMethods
from manaflow.node.eth_fees import FeeMethods
from tests.conftest import ROOT
from tests.node.live import ACCOUNTS, Live, RefusedCall
from tests.node.probe import NOBODY, SENDERS, Probe, topic

TYPED: dict[str, Any] = {
    "types": {
        "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "chainId", "type": "uint256"}],
        "Mail": [{"name": "to", "type": "address"}, {"name": "contents", "type": "string"}],
    },
    "primaryType": "Mail",
    "domain": {"name": "Post", "chainId": 31337},
    "message": {"to": NOBODY, "contents": "hello"},
}


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    with Live(tmp_path_factory.mktemp("node")) as node:
        yield Probe.deploy(node)


def test_the_accounts(probe: Probe) -> None:
    assert probe.node.call("eth_accounts") == probe.node.call("personal_listAccounts") == SENDERS
    assert probe.node.call("personal_unlockAccount", SENDERS[0], "", None) is True


def test_messages(probe: Probe) -> None:
    call, message = probe.node.call, "0x" + b"hello".hex()
    signature = call("eth_sign", SENDERS[1], message)
    assert signature == call("personal_sign", message, SENDERS[1], "password")
    assert Account.recover_message(encode_defunct(b"hello"), signature=signature).lower() == SENDERS[1]
    assert call("personal_ecRecover", message, signature) == SENDERS[1]
    with pytest.raises(RefusedCall, match="invalid signature"):
        call("personal_ecRecover", message, "0x12")


def test_typed_data(probe: Probe) -> None:
    signature = probe.node.call("eth_signTypedData_v4", SENDERS[1], TYPED)
    assert probe.node.call("eth_signTypedData", SENDERS[1], json.dumps(TYPED)) == signature
    signer = Account.recover_message(encode_typed_data(full_message=TYPED), signature=signature)
    assert signer.lower() == SENDERS[1]


def test_declared_transactions_are_typed_data(tmp_path: Path) -> None:
    """The node signs the vectors of declared transactions with the vectors' keys, byte for byte (S2)."""
    vectors = ROOT / "tests" / "vectors" / "declared"
    types = json.loads((vectors / "types.json").read_text())
    cases = json.loads((vectors / "valid.json").read_text())
    keys = sorted({bytes.fromhex(case["key"][2:]) for case in cases})
    with Live(tmp_path, keys=keys) as node:
        for case in cases:
            typed = {**types, "domain": case["domain"], "message": case["message"]}
            signature = case["signature"]
            expected = signature["r"] + signature["s"][2:] + f"{27 + signature['y_parity']:02x}"
            assert node.call("eth_signTypedData_v4", case["sender"], typed) == expected, case["name"]


def test_sending_fills_in_what_is_left_out(probe: Probe) -> None:
    node = probe.node
    txid = node.call("eth_sendTransaction", {"from": SENDERS[2], "to": NOBODY, "value": "0x1"})
    sent = node.call("eth_getTransactionByHash", txid)
    assert (sent["type"], sent["nonce"], sent["gas"]) == ("0x2", "0x0", hex(21_000))
    block = node.call("eth_getBlockByNumber", sent["blockNumber"])
    tip, base_fee = int(sent["maxPriorityFeePerGas"], 16), int(block["baseFeePerGas"], 16)
    assert int(sent["maxFeePerGas"], 16) == 2 * base_fee + tip
    legacy = {"from": SENDERS[2], "to": NOBODY, "gasPrice": hex(3 * 10**9), "gas": "0x5300", "nonce": "0x1"}
    sent = node.call("eth_getTransactionByHash", node.call("personal_sendTransaction", legacy, ""))
    assert (sent["type"], sent["gasPrice"], sent["gas"], sent["nonce"]) == ("0x0", hex(3 * 10**9), "0x5300", "0x1")
    listed = [{"address": probe.address, "storageKeys": [topic(0)]}]
    access = {"from": SENDERS[2], "to": NOBODY, "gasPrice": hex(3 * 10**9), "accessList": listed}
    sent = node.call("eth_getTransactionByHash", node.call("eth_sendTransaction", access))
    assert (sent["type"], sent["accessList"]) == ("0x1", listed)


def test_nonces_of_what_is_sent_at_once_differ(probe: Probe) -> None:
    def send(value: int) -> str:
        request = {"from": SENDERS[8], "to": NOBODY, "value": hex(value)}
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendTransaction", "params": [request]}
        return str(httpx.post(probe.node.url, json=body, timeout=30).json()["result"])

    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(send, range(16)))
    nonces = [probe.node.call("eth_getTransactionByHash", txid)["nonce"] for txid in sent]
    assert sorted(int(nonce, 16) for nonce in nonces) == list(range(16))


def test_sending_a_delegation(probe: Probe) -> None:
    one = Account.sign_authorization({"chainId": 31337, "address": probe.address, "nonce": 0}, ACCOUNTS[6].key)
    row = {"chainId": hex(one.chain_id), "address": probe.address, "nonce": hex(one.nonce),
           "yParity": hex(one.y_parity), "r": hex(one.r), "s": hex(one.s)}  # fmt: skip
    request = {"from": SENDERS[5], "to": SENDERS[6], "authorizationList": [row]}
    txid = probe.node.call("eth_sendTransaction", {**request, "data": "0x1b9265b8", "gas": "0x30d40"})
    assert probe.node.call("eth_getTransactionReceipt", txid)["status"] == "0x1"
    assert probe.node.call("eth_getCode", SENDERS[6]) == "0xef0100" + probe.address[2:]


def test_signing_without_sending(probe: Probe) -> None:
    node, request = probe.node, {"from": SENDERS[7], "to": NOBODY, "value": "0x9"}
    signed = node.call("eth_signTransaction", request)
    assert Account.recover_transaction(signed["raw"]).lower() == SENDERS[7]
    assert signed["tx"]["value"] == "0x9"
    assert node.call("eth_getTransactionByHash", signed["tx"]["hash"]) is None
    assert node.call("eth_sendRawTransaction", signed["raw"]) == signed["tx"]["hash"]


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("eth_sign", [NOBODY, "0x12"], -32000),
        ("eth_sendTransaction", [{"from": NOBODY, "to": NOBODY}], -32000),
        ("eth_sendTransaction", [{"to": NOBODY}], -32000),
        ("eth_signTypedData_v4", [SENDERS[0], {}], -32602),
        ("eth_signTypedData_v4", [SENDERS[0], "{"], -32602),
        ("eth_signTypedData_v4", [SENDERS[0], "[" * 200_000], -32602),  # decoders recurse as deep, in C
        ("eth_signTypedData_v4", [SENDERS[0], {**TYPED, "primaryType": "Letter"}], -32602),
        ("eth_sign", [SENDERS[0], "hello"], -32602),
        ("eth_sendTransaction", [{"from": SENDERS[0], "to": "0x12"}], -32602),
    ],
)
def test_refusals(probe: Probe, method: str, params: list[Any], code: int) -> None:
    with pytest.raises(RefusedCall) as caught:
        probe.node.call(method, *params)
    assert caught.value.code == code


def test_a_failing_transaction_is_not_sent(probe: Probe) -> None:
    with pytest.raises(RefusedCall, match="3: execution reverted: not today"):
        probe.node.call("eth_sendTransaction", probe.request("failWithReason()"))


def test_without_keys_nothing_signs(probe: Probe) -> None:
    methods = AccountMethods(probe.node.thread, FeeMethods(probe.node.thread)).methods()
    assert set(methods) == {"eth_accounts", "personal_ecRecover"}
