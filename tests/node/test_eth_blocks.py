"""Blocks, transactions and receipts of a live node, in geth's forms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils.crypto import keccak

from manaflow.errors import Pruned
from tests.node.live import ACCOUNTS, COINBASE, Live, RefusedCall
from tests.node.probe import CONTRACTS, NOBODY, PAID, SENDERS, STORED, Probe, declared, topic

ZERO = "0x" + "00" * 32
BLOCK_FIELDS = {
    "number",
    "hash",
    "parentHash",
    "nonce",
    "mixHash",
    "sha3Uncles",
    "logsBloom",
    "transactionsRoot",
    "stateRoot",
    "receiptsRoot",
    "withdrawalsRoot",
    "parentBeaconBlockRoot",
    "miner",
    "difficulty",
    "extraData",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "baseFeePerGas",
    "blobGasUsed",
    "excessBlobGas",
    "size",
    "transactions",
    "uncles",
    "withdrawals",
}
TRANSACTION_FIELDS = {
    "blockHash",
    "blockNumber",
    "transactionIndex",
    "hash",
    "type",
    "from",
    "to",
    "nonce",
    "gas",
    "gasPrice",
    "value",
    "input",
    "v",
    "r",
    "s",
    "chainId",
}
RECEIPT_FIELDS = {
    "type",
    "status",
    "transactionHash",
    "transactionIndex",
    "blockHash",
    "blockNumber",
    "from",
    "to",
    "contractAddress",
    "cumulativeGasUsed",
    "gasUsed",
    "effectiveGasPrice",
    "logs",
    "logsBloom",
}


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    with Live(tmp_path_factory.mktemp("node")) as node:
        yield Probe.deploy(node)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Probe, list[str]]]:
    """A block of four transactions, the third of which fails; its transactions' hashes."""
    with Live(tmp_path_factory.mktemp("crowded"), instantly=False) as node:
        request = {"from": SENDERS[0], "data": "0x"}
        node.call("eth_sendTransaction", {**request, "data": _creation()})
        node.call("evm_mine")
        address = node.call("eth_getBlockReceipts", "latest")[0]["contractAddress"]
        probe = Probe(node, address, "")
        sent = [
            node.call("eth_sendTransaction", probe.request("storeTwice(uint256)", 1)),
            node.call("eth_sendTransaction", probe.request("pay()", value="0x5")),
            node.call("eth_sendTransaction", probe.request("failWithReason()", gas="0x186a0")),
            node.call("eth_sendTransaction", probe.request("store(uint256,string)", 2, "x", gasPrice="0x77359400")),
        ]
        node.call("evm_mine")
        yield probe, sent


def _creation() -> str:
    return str(CONTRACTS["Probe"]["bytecode"]) + "00" * 32


def test_a_block(crowded: tuple[Probe, list[str]]) -> None:
    node, sent = crowded[0].node, crowded[1]
    block = node.call("eth_getBlockByNumber", "0x2", False)
    assert set(block) == BLOCK_FIELDS
    assert block["transactions"] == sent
    assert block["miner"] == "0x" + COINBASE.hex()
    assert block["stateRoot"] == block["receiptsRoot"] == block["parentBeaconBlockRoot"] == ZERO
    assert (block["uncles"], block["withdrawals"], block["difficulty"]) == ([], [], "0x0")
    assert block["parentHash"] == node.call("eth_getBlockByNumber", "0x1")["hash"]
    header = node.on_chain(lambda chain: chain.header(2))
    assert block["hash"] == "0x" + header.hash.hex()
    assert int(block["baseFeePerGas"], 16) == header.base_fee
    assert int(block["size"], 16) > sum(len(node.call("eth_getRawTransactionByHash", one)) // 2 for one in sent)
    whole = node.call("eth_getBlockByHash", block["hash"], True)
    assert whole["transactions"] == [node.call("eth_getTransactionByHash", one) for one in sent]
    assert {**whole, "transactions": sent} == block
    assert node.call("eth_getBlockByNumber", "latest") == block


def test_genesis_and_named_blocks(crowded: tuple[Probe, list[str]]) -> None:
    node = crowded[0].node
    genesis = node.call("eth_getBlockByNumber", "earliest", True)
    assert (genesis["number"], genesis["parentHash"], genesis["transactions"]) == ("0x0", ZERO, [])
    assert node.call("eth_getBlockByNumber", "finalized") == node.call("eth_getBlockByNumber", "0x0")
    assert node.call("eth_getBlockByNumber", "safe")["number"] == "0x2"
    pending = node.call("eth_getBlockByNumber", "pending", True)
    assert set(pending) == BLOCK_FIELDS
    assert (pending["number"], pending["hash"], pending["nonce"], pending["miner"]) == ("0x3", None, None, None)
    assert node.call("eth_getBlockReceipts", "earliest") == []


def test_receipts(crowded: tuple[Probe, list[str]]) -> None:
    (probe, sent), node = crowded, crowded[0].node
    receipts = [node.call("eth_getTransactionReceipt", one) for one in sent]
    assert receipts == node.call("eth_getBlockReceipts", "latest") == node.call("eth_getBlockReceipts", "0x2")
    assert all(set(receipt) == RECEIPT_FIELDS for receipt in receipts)
    assert [receipt["status"] for receipt in receipts] == ["0x1", "0x1", "0x0", "0x1"]
    assert [receipt["type"] for receipt in receipts] == ["0x2", "0x2", "0x2", "0x0"]
    assert [receipt["transactionIndex"] for receipt in receipts] == ["0x0", "0x1", "0x2", "0x3"]
    total = 0
    for receipt in receipts:
        total += int(receipt["gasUsed"], 16)
        assert int(receipt["cumulativeGasUsed"], 16) == total
    block = node.call("eth_getBlockByNumber", "latest")
    assert int(block["gasUsed"], 16) == total
    assert receipts[3]["effectiveGasPrice"] == "0x77359400"
    assert int(receipts[0]["effectiveGasPrice"], 16) == int(block["baseFeePerGas"], 16) + 10**9
    logs = [log for receipt in receipts for log in receipt["logs"]]
    assert [(log["transactionIndex"], log["logIndex"]) for log in logs] == [
        ("0x0", "0x0"), ("0x0", "0x1"), ("0x1", "0x2"), ("0x3", "0x3"),
    ]  # fmt: skip
    assert [log["topics"][0] for log in logs] == [STORED, STORED, PAID, STORED]
    assert all(log["blockHash"] == block["hash"] and log["address"] == probe.address for log in logs)
    assert all(log["transactionHash"] == sent[int(log["transactionIndex"], 16)] for log in logs)
    assert logs[0]["topics"][1] == topic(SENDERS[0])
    blooms = [int(receipt["logsBloom"], 16) for receipt in receipts]
    assert blooms[2] == 0
    assert int(block["logsBloom"], 16) == blooms[0] | blooms[1] | blooms[3] != 0


def test_what_a_deployment_creates(crowded: tuple[Probe, list[str]]) -> None:
    probe, _ = crowded
    (receipt,) = probe.node.call("eth_getBlockReceipts", "0x1")
    assert (receipt["to"], receipt["contractAddress"]) == (None, probe.address)
    assert probe.node.call("eth_getCode", probe.address) != "0x"


def test_transactions_by_place(crowded: tuple[Probe, list[str]]) -> None:
    sent, node = crowded[1], crowded[0].node
    block_hash = node.call("eth_getBlockByNumber", "0x2")["hash"]
    for index, txid in enumerate(sent):
        found = node.call("eth_getTransactionByHash", txid)
        assert set(found) >= TRANSACTION_FIELDS
        assert (found["hash"], found["blockHash"], found["transactionIndex"]) == (txid, block_hash, hex(index))
        assert node.call("eth_getTransactionByBlockNumberAndIndex", "0x2", hex(index)) == found
        assert node.call("eth_getTransactionByBlockHashAndIndex", block_hash, hex(index)) == found
        raw = node.call("eth_getRawTransactionByHash", txid)
        assert "0x" + keccak(hexstr=raw).hex() == txid
        assert Account.recover_transaction(raw).lower() == found["from"] == SENDERS[0]
    assert node.call("eth_getTransactionByBlockNumberAndIndex", "0x2", "0x4") is None
    assert node.call("eth_getTransactionByBlockHashAndIndex", block_hash, "0x4") is None


def test_every_type_keeps_its_fields(probe: Probe) -> None:
    node, key = probe.node, ACCOUNTS[1].key

    def sent(**fields: Any) -> dict[str, Any]:
        nonce = node.call("eth_getTransactionCount", SENDERS[1], "pending")
        call = {"chainId": 31337, "nonce": nonce, "gas": 100_000, "to": NOBODY, "value": 1}
        raw = Account.sign_transaction({**call, **fields}, key).raw_transaction
        found: dict[str, Any] = node.call(
            "eth_getTransactionByHash", node.call("eth_sendRawTransaction", raw.to_0x_hex())
        )
        return found

    listed = [{"address": probe.address, "storageKeys": [topic(0)]}]
    legacy = sent(gasPrice=3 * 10**9)
    assert (legacy["type"], legacy["gasPrice"], legacy["chainId"]) == ("0x0", hex(3 * 10**9), "0x7a69")
    assert int(legacy["v"], 16) in (31337 * 2 + 35, 31337 * 2 + 36)
    assert "accessList" not in legacy
    access = sent(gasPrice=3 * 10**9, accessList=listed, type=1)
    assert (access["type"], access["accessList"], access["yParity"]) == ("0x1", listed, access["v"])
    assert "maxFeePerGas" not in access
    dynamic = sent(maxFeePerGas=4 * 10**9, maxPriorityFeePerGas=7, type=2)
    assert (dynamic["maxFeePerGas"], dynamic["maxPriorityFeePerGas"]) == (hex(4 * 10**9), "0x7")
    base_fee = int(node.call("eth_getBlockByNumber", "latest")["baseFeePerGas"], 16)
    assert int(dynamic["gasPrice"], 16) == base_fee + 7
    authority = ACCOUNTS[2]
    signed = Account.sign_authorization({"chainId": 31337, "address": probe.address, "nonce": 0}, authority.key)
    delegating = sent(maxFeePerGas=4 * 10**9, maxPriorityFeePerGas=7, authorizationList=[signed], type=4)
    (tuple_,) = delegating["authorizationList"]
    assert (delegating["type"], tuple_["address"], tuple_["chainId"]) == ("0x4", probe.address, "0x7a69")
    code = node.call("eth_getCode", "0x" + authority.address.hex())
    assert code == "0xef0100" + probe.address[2:]


def test_what_is_unknown_is_null(probe: Probe) -> None:
    node = probe.node
    for method, params in [
        ("eth_getBlockByNumber", ["0xffff"]), ("eth_getBlockByHash", [ZERO]), ("eth_getBlockReceipts", ["0xffff"]),
        ("eth_getTransactionByHash", [ZERO]), ("eth_getTransactionReceipt", [ZERO]),
        ("eth_getBlockTransactionCountByNumber", ["0xffff"]), ("eth_getBlockTransactionCountByHash", [ZERO]),
        ("eth_getTransactionByBlockHashAndIndex", [ZERO, "0x0"]), ("eth_getUncleCountByBlockHash", [ZERO]),
        ("eth_getTransactionByBlockNumberAndIndex", ["0xffff", "0x0"]),
    ]:  # fmt: skip
        assert node.call(method, *params) is None, method
    assert node.call("eth_getRawTransactionByHash", ZERO) == "0x"


def test_system_transactions_are_no_transactions(probe: Probe) -> None:
    txids = probe.node.on_chain(lambda chain: [row.tobytes() for row in chain.sealed(1).block.leaves.txid])
    assert len(txids) == 3  # the history's, the deployment, the fees'
    found = [probe.node.call("eth_getTransactionByHash", "0x" + txid.hex()) for txid in txids]
    assert [one is None for one in found] == [True, False, True]
    assert probe.node.call("eth_getTransactionReceipt", "0x" + txids[0].hex()) is None


def test_counts(probe: Probe) -> None:
    block_hash = probe.node.call("eth_getBlockByNumber", "0x1")["hash"]
    assert probe.node.call("eth_getBlockTransactionCountByNumber", "0x1") == "0x1"
    assert probe.node.call("eth_getBlockTransactionCountByHash", block_hash) == "0x1"
    assert probe.node.call("eth_getUncleCountByBlockNumber", "0x1") == "0x0"
    assert probe.node.call("eth_getUncleCountByBlockHash", block_hash) == "0x0"
    assert probe.node.call("eth_getUncleByBlockNumberAndIndex", "0x1", "0x0") is None
    assert probe.node.call("eth_getUncleByBlockHashAndIndex", block_hash, "0x0") is None


def test_a_transaction_that_waits(crowded: tuple[Probe, list[str]]) -> None:
    node = crowded[0].node
    txid = node.call("eth_sendTransaction", {"from": SENDERS[3], "to": NOBODY, "value": "0x1", "nonce": "0x5"})
    waiting = node.call("eth_getTransactionByHash", txid)
    assert set(waiting) >= TRANSACTION_FIELDS
    assert waiting["blockHash"] is waiting["blockNumber"] is waiting["transactionIndex"] is None
    assert waiting["gasPrice"] == waiting["maxFeePerGas"]
    assert node.call("eth_getTransactionReceipt", txid) is None
    assert "0x" + keccak(hexstr=node.call("eth_getRawTransactionByHash", txid)).hex() == txid


def test_the_open_block(tmp_path: Path) -> None:
    with Live(tmp_path, instantly=False) as node:
        assert node.call("eth_getBlockTransactionCountByNumber", "pending") == "0x0"
        sent = [
            node.call("eth_sendTransaction", {"from": SENDERS[sender], "to": NOBODY, "value": "0x1"})
            for sender in (0, 1, 0)
        ]
        assert node.call("eth_getBlockByNumber", "pending")["transactions"] == sent
        whole = node.call("eth_getBlockByNumber", "pending", True)["transactions"]
        assert whole == [node.call("eth_getTransactionByHash", one) for one in sent]
        assert node.call("eth_getBlockTransactionCountByNumber", "pending") == "0x3"
        node.call("evm_mine")
        assert node.call("eth_getBlockByNumber", "0x1")["transactions"] == sent
        assert node.call("eth_getBlockByNumber", "pending")["transactions"] == []


def test_hashes_of_the_open_block_take_no_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Live(tmp_path, instantly=False) as node:
        sent = node.call("eth_sendTransaction", {"from": SENDERS[0], "to": NOBODY, "value": "0x1"})
        assert node.call("eth_getBlockByNumber", "pending", True)["transactions"][0]["from"] == SENDERS[0]
        monkeypatch.delattr("manaflow.node.eth_blocks.recover_sender")
        assert node.call("eth_getBlockByNumber", "pending")["transactions"] == [sent]


def test_a_declared_transaction(probe: Probe) -> None:
    node = probe.node
    raw = declared(node, 4)
    found = node.call("eth_getTransactionByHash", node.call("eth_sendRawTransaction", "0x" + raw.hex()))
    assert (found["type"], found["flags"], found["validUntil"]) == ("0x4d", "0x1", "0x64")
    assert found["from"] == SENDERS[4]
    (move,) = found["moves"]
    assert move == {
        "mask": "0x7", "mark": "b", "address": NOBODY, "slot": ZERO, "intx": None, "prev": None, "next": None,
    }  # fmt: skip
    receipt = node.call("eth_getTransactionReceipt", found["hash"])
    assert (receipt["type"], receipt["status"]) == ("0x4d", "0x1")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_getBlockByNumber", []),
        ("eth_getBlockByNumber", ["latest", "yes"]),
        ("eth_getBlockByNumber", ["0x01"]),
        ("eth_getBlockByHash", ["0x12"]),
        ("eth_getTransactionByHash", [7]),
        ("eth_getTransactionReceipt", []),
        ("eth_getTransactionByBlockNumberAndIndex", ["latest", "-0x1"]),
        ("eth_getTransactionByBlockHashAndIndex", [ZERO]),
        ("eth_getBlockReceipts", ["never"]),
    ],
)
def test_bad_parameters(probe: Probe, method: str, params: list[object]) -> None:
    with pytest.raises(RefusedCall) as caught:
        probe.node.call(method, *params)
    assert caught.value.code == -32602


def test_a_body_that_the_node_has_let_go(probe: Probe) -> None:
    def pruned(key: int | bytes) -> None:
        raise Pruned(1, bytes(32))

    probe.node.on_chain(lambda chain: setattr(chain, "sealed", pruned))
    try:
        for method, params in [("eth_getBlockByNumber", ["0x1"]), ("eth_getTransactionReceipt", [probe.deployed])]:
            with pytest.raises(RefusedCall, match="4444: pruned history unavailable: the body of block 1"):
                probe.node.call(method, *params)
    finally:
        probe.node.on_chain(lambda chain: delattr(chain, "sealed"))
