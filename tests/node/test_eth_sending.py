"""Sending transactions to a live node, and what it says of those that it does not take: geth's words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils.crypto import keccak

from manaflow.coordinator.messages import Accepted, Reason, Refused
from manaflow.errors import Failure, StorageFailure
from manaflow.node.development import CHAIN_ID, ETHER
from manaflow.node.errors import RpcError
from manaflow.node.eth_sending import refusal_words, send
from tests.manaflow_chain import Producer
from tests.node.live import ACCOUNTS, Live, RefusedCall
from tests.node.probe import NOBODY, SENDERS

STRANGER = Account.from_key(b"\x55" * 32)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Blocks on demand, so that transactions wait."""
    with Live(tmp_path_factory.mktemp("node"), instantly=False) as node:
        yield node


def signed(node: Live, sender: int = 0, key: bytes | None = None, **changes: Any) -> str:
    """The sender's next envelope."""
    nonce = int(node.call("eth_getTransactionCount", SENDERS[sender], "pending"), 16)
    fields: dict[str, Any] = {
        "type": 2, "chainId": CHAIN_ID, "nonce": nonce, "gas": 21_000, "to": NOBODY, "value": 1,
        "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9,
    }  # fmt: skip
    fields = {name: value for name, value in {**fields, **changes}.items() if value is not None}
    return str(Account.sign_transaction(fields, key or ACCOUNTS[sender].key).raw_transaction.to_0x_hex())


def refusal(node: Live, envelope: str) -> RefusedCall:
    with pytest.raises(RefusedCall) as caught:
        node.call("eth_sendRawTransaction", envelope)
    assert caught.value.code == -32000
    assert caught.value.data["hash"] == "0x" + keccak(hexstr=envelope).hex()
    return caught.value


def test_what_is_accepted_waits_and_is_sealed(node: Live) -> None:
    envelope = signed(node)
    txid = node.call("eth_sendRawTransaction", envelope)
    assert txid == "0x" + keccak(hexstr=envelope).hex()
    kept = node.on_chain(lambda chain: [raw for _, raw in chain.latest.kept()])
    assert bytes.fromhex(envelope[2:]) in kept, "the answer leaves after the disk has it"
    assert node.call("eth_getTransactionByHash", txid)["blockHash"] is None
    node.call("evm_mine")
    assert node.call("eth_getTransactionReceipt", txid)["status"] == "0x1"


def test_already_known(node: Live) -> None:
    envelope = signed(node, 1)
    node.call("eth_sendRawTransaction", envelope)
    refused = refusal(node, envelope)
    assert refused.message == "already known"
    assert refused.data["reason"] == "known"


def test_nonces(node: Live) -> None:
    node.call("eth_sendRawTransaction", signed(node, 2))
    node.call("evm_mine")
    assert refusal(node, signed(node, 2, nonce=0)).message == "nonce too low: nonce 0, the sender's is 1"
    assert refusal(node, signed(node, 2, nonce=10**6)).message.startswith("nonce too high: ")


def test_replacements(node: Live) -> None:
    ahead = int(node.call("eth_getTransactionCount", SENDERS[3], "pending"), 16) + 1
    first = node.call("eth_sendRawTransaction", signed(node, 3, nonce=ahead))
    cheap = signed(node, 3, nonce=ahead, value=2)
    assert refusal(node, cheap).message.startswith("replacement transaction underpriced: ")
    better = signed(node, 3, nonce=ahead, value=2, maxFeePerGas=2 * 10**10, maxPriorityFeePerGas=2 * 10**9)
    second = node.call("eth_sendRawTransaction", better)
    assert node.call("eth_getTransactionByHash", first) is None
    assert node.call("eth_getTransactionByHash", second) is not None
    node.call("eth_sendRawTransaction", signed(node, 3))  # closes the gap
    node.call("evm_mine")
    assert node.call("eth_getTransactionReceipt", second)["status"] == "0x1"


def test_funds(node: Live) -> None:
    refused = refusal(node, signed(node, 4, value=10**5 * ETHER))
    assert refused.message.startswith("insufficient funds for gas * price + value: ")
    refused = refusal(node, signed(node, 4, key=STRANGER.key, nonce=0))
    assert refused.message.startswith("insufficient funds for gas * price + value: ")


def test_gas_and_fees(node: Live) -> None:
    assert refusal(node, signed(node, 4, gas=20_999)).message.startswith("intrinsic gas too low: ")
    assert refusal(node, signed(node, 4, gas=2**24 + 1)).message.startswith("exceeds block gas limit: ")
    upside_down = signed(node, 4, maxFeePerGas=10**9, maxPriorityFeePerGas=2 * 10**9)
    assert refusal(node, upside_down).message.startswith("max priority fee per gas higher than max fee per gas: ")
    initcode = signed(node, 4, to=None, value=0, data=b"\0" * 49_153, gas=10**7)
    assert refusal(node, initcode).message.startswith("max initcode size exceeded: ")
    long = signed(node, 4, data=b"\0" * (1 << 17), gas=10**7)
    assert refusal(node, long).message.startswith("oversized data: ")


def test_what_is_no_transaction_here(node: Live) -> None:
    assert refusal(node, signed(node, 4, chainId=1)).message.startswith(
        "invalid sender: invalid chain id for signer: have 1 want 31337: "
    )
    unprotected = signed(
        node, 4, type=None, chainId=None, maxFeePerGas=None, maxPriorityFeePerGas=None, gasPrice=10**10
    )
    assert refusal(node, unprotected).message.startswith("only replay-protected (EIP-155) transactions allowed")
    assert refusal(node, "0x").message.startswith("rlp: ")
    assert refusal(node, "0x02c0").message.startswith("rlp: ")
    assert refusal(node, "0x05c0").message.startswith("transaction type not supported: ")
    broken = signed(node, 4)
    assert refusal(node, broken + "00").message.startswith("rlp: ")


def test_a_reason_of_each_kind_has_words() -> None:
    config, raw = Producer().config, bytes.fromhex("02c0")
    for reason in Reason:
        refused = Refused(bytes(32), reason, "in detail")
        assert refusal_words(refused, raw, config)
        assert refusal_words(replace(refused, winner=bytes(32)), raw, config)
    full = Refused(bytes(32), Reason.UNDERPRICED, "the pool is full")
    assert refusal_words(full, raw, config) == "transaction underpriced: the pool is full"


class Broken:
    """A thread whose chain takes nothing."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure

    async def submit_all(self, envelopes: Sequence[bytes]) -> list[Accepted | Refused]:
        raise self.failure

    async def call(self, *_: Any) -> Any:
        raise AssertionError


def test_a_node_that_takes_no_transactions_says_so() -> None:
    with pytest.raises(RpcError, match="ask a coordinator"):
        asyncio.run(send(Broken(Failure("ask a coordinator")), b"\x02"))
    with pytest.raises(StorageFailure):
        asyncio.run(send(Broken(StorageFailure("the disk of this machine")), b"\x02"))


@pytest.mark.parametrize("params", [[], [7], ["12"], ["0x1"], ["0x12", "latest"]])
def test_bad_parameters(node: Live, params: list[Any]) -> None:
    with pytest.raises(RefusedCall) as caught:
        node.call("eth_sendRawTransaction", *params)
    assert caught.value.code == -32602


def test_an_acknowledged_transaction_outlives_the_node(tmp_path: Path) -> None:
    path = tmp_path / "node"
    with Live(path, instantly=False) as node:
        txid = node.call("eth_sendRawTransaction", signed(node))
    with Live(path, instantly=False, is_new=False) as node:
        assert node.call("eth_getTransactionByHash", txid)["hash"] == txid
        node.call("evm_mine")
        assert node.call("eth_getTransactionReceipt", txid)["status"] == "0x1"
