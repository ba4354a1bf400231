"""web3.py against a running node: what people's programs do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.contract import Contract
from web3.exceptions import (
    BlockNotFound,
    ContractCustomError,
    ContractLogicError,
    ContractPanicError,
    TransactionNotFound,
    Web3RPCError,
)
from web3.middleware import SignAndSendRawMiddlewareBuilder

from tests.node.live import ACCOUNTS
from tests.node.probe import CONTRACTS, declared
from tests.node.processes import NodeProcess

ETHER = 10**18
NOBODY = Web3.to_checksum_address("0x" + "77" * 20)
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
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with NodeProcess("node", "--dev", log=tmp_path_factory.mktemp("node") / "log") as node:
        yield node


@pytest.fixture(scope="module")
def w3(node: NodeProcess) -> Web3:
    w3 = Web3(Web3.HTTPProvider(node.url))
    w3.eth.default_account = w3.eth.accounts[0]
    return w3


@pytest.fixture(scope="module")
def probe(w3: Web3) -> Contract:
    return deploy(w3, "Probe", 7)


def deploy(w3: Web3, name: str, *arguments: Any) -> Any:
    built = CONTRACTS[name]
    factory = w3.eth.contract(abi=built["abi"], bytecode=built["bytecode"])
    receipt = w3.eth.wait_for_transaction_receipt(factory.constructor(*arguments).transact())
    return w3.eth.contract(address=receipt["contractAddress"], abi=built["abi"])


def test_names(w3: Web3) -> None:
    assert w3.is_connected()
    assert (w3.eth.chain_id, w3.net.version, w3.net.peer_count, w3.net.listening) == (31337, "31337", 0, True)
    assert w3.client_version.startswith("Manaflow/")
    assert w3.eth.syncing is False
    assert w3.eth.get_balance(w3.eth.accounts[9]) == 10_000 * ETHER


def test_a_transfer(w3: Web3) -> None:
    txid = w3.eth.send_transaction({"from": w3.eth.accounts[1], "to": NOBODY, "value": 5})
    receipt = w3.eth.wait_for_transaction_receipt(txid)
    assert (receipt["status"], receipt["gasUsed"], receipt["to"]) == (1, 21_000, NOBODY)
    found = w3.eth.get_transaction(txid)
    assert (found["value"], found["blockNumber"], found["type"]) == (5, receipt["blockNumber"], 2)
    block = w3.eth.get_block(receipt["blockNumber"], full_transactions=True)
    assert block["transactions"][0]["hash"] == txid
    assert block["hash"] == receipt["blockHash"]
    assert w3.eth.get_block_receipts(receipt["blockNumber"])[0]["transactionHash"] == txid
    assert w3.eth.get_block_transaction_count("latest") >= 1
    assert w3.eth.get_raw_transaction(txid)


def test_a_contract(w3: Web3, probe: Contract) -> None:
    assert probe.functions.value().call() == 7
    receipt = w3.eth.wait_for_transaction_receipt(probe.functions.store(9, "nine").transact())
    (event,) = probe.events.Stored().process_receipt(receipt)
    assert (event["args"]["by"], event["args"]["value"], event["args"]["note"]) == (w3.eth.accounts[0], 9, "nine")
    assert probe.functions.value().call() == 9
    assert int.from_bytes(w3.eth.get_storage_at(probe.address, 0)) == 9
    assert w3.eth.get_code(probe.address)
    w3.eth.wait_for_transaction_receipt(probe.functions.pay().transact({"value": 3}))
    assert probe.functions.paid(w3.eth.accounts[0]).call() == w3.eth.get_balance(probe.address) == 3
    assert probe.functions.store(10, "ten").estimate_gas() < 60_000
    assert w3.eth.create_access_list(probe.functions.store(11, "").build_transaction({"gas": 100_000}))["gasUsed"] > 0


def test_failures(w3: Web3, probe: Contract) -> None:
    with pytest.raises(ContractLogicError, match="not today"):
        probe.functions.failWithReason().call()
    with pytest.raises(ContractLogicError, match="not today"):
        probe.functions.failWithReason().transact()
    with pytest.raises(ContractCustomError) as caught:
        probe.functions.failWithError(5).call()
    assert str(caught.value.data).startswith(Web3.keccak(text="Refused(address,uint256)")[:4].to_0x_hex())
    with pytest.raises(ContractPanicError):
        probe.functions.add(2**256 - 1, 1).call()
    txid = probe.functions.failWithReason().transact({"gas": 100_000})
    assert w3.eth.wait_for_transaction_receipt(txid)["status"] == 0
    with pytest.raises(Web3RPCError, match="out of gas"):
        probe.functions.burn().call({"gas": 100_000})
    with pytest.raises(TransactionNotFound):
        w3.eth.get_transaction("0x" + "11" * 32)
    with pytest.raises(BlockNotFound):
        w3.eth.get_block(10**6)


def test_overrides(w3: Web3, probe: Contract) -> None:
    slot = "0x" + "00" * 32
    changed = {probe.address: {"stateDiff": {slot: "0x" + (77).to_bytes(32).hex()}}}
    assert probe.functions.value().call(state_override=changed) == 77


def test_events_and_filters(w3: Web3, probe: Contract) -> None:
    start = w3.eth.block_number
    stored = probe.events.Stored.create_filter(from_block="latest")
    blocks, pending = w3.eth.filter("latest"), w3.eth.filter("pending")
    txid = probe.functions.storeTwice(21).transact()
    w3.eth.wait_for_transaction_receipt(txid)
    assert [event["args"]["note"] for event in stored.get_new_entries()] == ["before", "after"]
    assert stored.get_new_entries() == []
    assert [event["args"]["value"] for event in stored.get_all_entries()][-1] == 21
    assert blocks.get_new_entries() == [w3.eth.get_block("latest")["hash"]]
    assert pending.get_new_entries() == [txid]
    logs = probe.events.Stored.get_logs(from_block=start + 1, argument_filters={"value": 21})
    assert [log["args"]["note"] for log in logs] == ["after"]
    assert w3.eth.uninstall_filter(stored.filter_id)


def test_signed_transactions_of_every_type(w3: Web3, probe: Contract) -> None:
    account, listed = Account.from_key(ACCOUNTS[3].key), [{"address": probe.address, "storageKeys": ["0x" + "00" * 32]}]
    fees: dict[str, Any] = {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9}
    authority = Account.from_key(ACCOUNTS[4].key)
    signed = authority.sign_authorization({"chainId": 31337, "address": probe.address, "nonce": 0})
    kinds: dict[int, dict[str, Any]] = {
        0: {"gasPrice": 10**10},
        1: {"gasPrice": 10**10, "accessList": listed, "type": 1},
        2: {**fees, "type": 2},
        4: {**fees, "authorizationList": [signed], "type": 4},
    }
    for kind, fields in kinds.items():
        nonce = w3.eth.get_transaction_count(account.address)
        call = {"chainId": 31337, "nonce": nonce, "gas": 200_000, "to": NOBODY, "value": 1}
        raw = account.sign_transaction({**call, **fields}).raw_transaction
        receipt = w3.eth.wait_for_transaction_receipt(w3.eth.send_raw_transaction(raw))
        assert (receipt["status"], receipt["type"], receipt["from"]) == (1, kind, account.address)
        assert w3.eth.get_transaction(receipt["transactionHash"])["type"] == kind
    assert w3.eth.get_code(authority.address) == bytes.fromhex("ef0100" + probe.address[2:])
    delegated = w3.eth.contract(address=authority.address, abi=probe.abi)
    w3.eth.wait_for_transaction_receipt(delegated.functions.store(4, "as code").transact())
    assert delegated.functions.value().call() == 4


def test_a_local_key_through_middleware(node: NodeProcess) -> None:
    w3, account = Web3(Web3.HTTPProvider(node.url)), Account.from_key(ACCOUNTS[5].key)
    w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
    txid = w3.eth.send_transaction({"from": account.address, "to": NOBODY, "value": 1})
    assert w3.eth.wait_for_transaction_receipt(txid)["type"] == 2


def test_declared_transactions(node: NodeProcess, w3: Web3) -> None:
    receipt = w3.eth.wait_for_transaction_receipt(w3.eth.send_raw_transaction(declared(node, 6)))
    assert (receipt["type"], receipt["status"]) == (0x4D, 1)
    found = w3.eth.get_block(receipt["blockNumber"], full_transactions=True)["transactions"][0]
    assert (found["type"], found["value"], found["hash"]) == (0x4D, 1, receipt["transactionHash"])
    assert found["moves"][0]["mark"] == "b"


def test_fees(w3: Web3) -> None:
    history = w3.eth.fee_history(4, "latest", [10, 90])
    assert len(history["reward"]) == len(history["gasUsedRatio"]) == len(history["baseFeePerGas"]) - 1
    assert w3.eth.gas_price >= w3.eth.max_priority_fee
    assert w3.eth.blob_base_fee == 1


def test_typed_data(w3: Web3) -> None:
    signature = w3.eth.sign_typed_data(w3.eth.accounts[0], TYPED)
    assert Account.recover_message(encode_typed_data(full_message=TYPED), signature=signature) == w3.eth.accounts[0]


def test_many_calls_in_one(w3: Web3, probe: Contract) -> None:
    multicall = deploy(w3, "Multicall")
    calls = [(probe.address, probe.encode_abi("add", [i, 1])) for i in range(20)]
    number, returned = multicall.functions.aggregate(calls).call()
    assert number == w3.eth.block_number
    assert [int.from_bytes(one) for one in returned] == list(range(1, 21))
    with w3.batch_requests() as batch:
        for i in range(5):
            batch.add(probe.functions.add(i, i))
        batch.add(w3.eth.get_block("latest"))
        *sums, block = batch.execute()
    assert sums == [0, 2, 4, 6, 8]
    assert block["number"] == number


def test_nonce_gaps_and_replacement(tmp_path: Path) -> None:
    with NodeProcess("node", "--dev", "--no-mining", log=tmp_path / "log") as node:
        w3 = Web3(Web3.HTTPProvider(node.url))
        sender = w3.eth.accounts[0]

        def send(nonce: int, gwei: int, value: int = 1) -> Any:
            fees = {"maxFeePerGas": gwei * 10**9, "maxPriorityFeePerGas": 5 * 10**9}
            call = {"from": sender, "to": NOBODY, "value": value, "gas": 21_000, "nonce": nonce}
            return w3.eth.send_transaction({**call, **fees})

        after_gap = send(2, 10)
        first = send(0, 10)
        assert w3.eth.get_transaction_count(sender, "pending") == 1
        node.call("evm_mine")
        assert w3.eth.get_transaction_receipt(first)["status"] == 1
        with pytest.raises(Web3RPCError, match="replacement transaction underpriced"):
            send(2, 11, 2)
        replaced = w3.eth.replace_transaction(after_gap, {"from": sender, "to": NOBODY, "value": 2, "gas": 21_000,
            "maxFeePerGas": 20 * 10**9, "maxPriorityFeePerGas": 10**10})  # fmt: skip
        with pytest.raises(TransactionNotFound):
            w3.eth.get_transaction(after_gap)
        send(1, 10)
        assert w3.eth.get_transaction_count(sender, "pending") == 3
        node.call("evm_mine")
        assert w3.eth.get_transaction_receipt(replaced)["status"] == 1
        with pytest.raises(Web3RPCError, match="nonce too low"):
            send(0, 10)


def test_subscriptions(node: NodeProcess, probe: Contract) -> None:
    async def run() -> dict[str, Any]:
        async with AsyncWeb3(WebSocketProvider(node.ws_url)) as w3:
            heads = await w3.eth.subscribe("newHeads")
            logs = await w3.eth.subscribe("logs", {"address": probe.address})
            pending = await w3.eth.subscribe("newPendingTransactions")
            txid = await asyncio.to_thread(lambda: probe.functions.store(31, "told").transact())
            heard: dict[str, Any] = {}
            async for message in w3.socket.process_subscriptions():
                heard[message["subscription"]] = message["result"]
                if len(heard) == 3:
                    break
            number = await w3.eth.block_number
            assert heard[heads]["number"] == number
            assert heard[logs]["transactionHash"] == heard[pending] == txid
            assert probe.events.Stored().process_log(heard[logs])["args"]["note"] == "told"
            assert await w3.eth.unsubscribe(heads)
            return heard

    assert len(asyncio.run(asyncio.wait_for(run(), 30))) == 3
