"""Receipts made by columns are, byte for byte, those that stand in the rules of Ethereum's JSON-RPC."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import rlp
from eth_bloom.bloom import BloomFilter
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.rlp_reader import RlpError
from manaflow.node import eth_blocks
from manaflow.node.chain import SealedBlock
from manaflow.node.errors import RpcError
from manaflow.node.eth_blocks import places_of, texts_of
from manaflow.node.eth_receipts import logs_of, receipts_of, weight_of
from tests.node.live import Live
from tests.node.probe import CONTRACTS, NOBODY, SENDERS, Probe

ZERO = "0x" + "00" * 32
LOGS = st.lists(
    st.tuples(
        st.binary(min_size=20, max_size=20),
        st.lists(st.binary(min_size=32, max_size=32), max_size=4),
        st.binary(max_size=2) | st.integers(50, 300).map(bytes),
    ),
    max_size=4,
)


@given(LOGS)
def test_logs_are_what_rlp_decodes(logs: list[tuple[bytes, list[bytes], bytes]]) -> None:
    assert logs_of(rlp.encode(logs)) == logs


@given(LOGS, st.data())
def test_what_is_read_of_broken_logs_is_all_of_them(
    logs: list[tuple[bytes, list[bytes], bytes]], at: st.DataObject
) -> None:
    raw = bytearray(rlp.encode(logs))
    for _ in range(at.draw(st.integers(1, 3))):
        place = at.draw(st.integers(0, len(raw)))
        raw[place : place + at.draw(st.integers(0, 2))] = at.draw(st.binary(max_size=2))
    try:
        found = logs_of(bytes(raw))
    except RlpError:
        return
    assert rlp.encode(found) == bytes(raw)


@pytest.mark.parametrize(
    "raw", [b"", b"\x80", b"\xc1", b"\xc0\x00", b"\xc1\xc0", b"\xf8\x00", b"\xff" + b"\xff" * 8, b"\xc2\xc1\x94"]
)
def test_what_is_no_list_of_logs(raw: bytes) -> None:
    with pytest.raises(RlpError):
        logs_of(raw)


@pytest.mark.parametrize(
    ("at", "byte"), [(0, 0xDA), (0, 0xDC), (1, 0xD9), (2, 0x93), (23, 0xC1), (24, 0x82), (24, 0xC3)]
)
def test_a_log_with_a_wrong_length(at: int, byte: int) -> None:
    raw = bytearray(rlp.encode([[b"\x94" * 20, [], b"\xc0\x81\x80"]]))
    assert len(raw) == 28
    raw[at] = byte
    with pytest.raises(RlpError):
        logs_of(bytes(raw))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A block that creates a contract, and one with logs, a failure, a transfer, and a creation."""
    with Live(tmp_path_factory.mktemp("receipts"), instantly=False) as live:
        code = str(CONTRACTS["Probe"]["bytecode"]) + "00" * 32
        live.call("eth_sendTransaction", {"from": SENDERS[0], "data": code})
        live.call("evm_mine")
        probe = Probe(live, live.call("eth_getBlockReceipts", "latest")[0]["contractAddress"], "")
        for request in [
            probe.request("storeTwice(uint256)", 1),
            probe.request("failWithReason()", gas="0x186a0"),
            {"from": SENDERS[1], "to": NOBODY, "value": "0x1"},
            probe.request("store(uint256,string)", 2, "x" * 100, gasPrice="0x77359400"),
            {"from": SENDERS[2], "data": code},
        ]:
            live.call("eth_sendTransaction", request)
        live.call("evm_mine")
        yield live


def plain_receipts(sealed: SealedBlock) -> list[dict[str, Any]]:
    """Written down once more, one by one, with other people's RLP and bloom filter."""
    header, forms, count = sealed.block.header, [], 0
    place = {"blockHash": "0x" + sealed.block.hash.hex(), "blockNumber": hex(header.number)}
    for i, (receipt, raw) in enumerate(zip(sealed.receipts, sealed.block.envelopes, strict=True)):
        transaction = decode_envelope(raw)
        sender, leaf = recover_sender(transaction), sealed.first_signed + i
        own = {"transactionHash": "0x" + transaction.txid.hex(), "transactionIndex": hex(i)}
        made = "0x" + keccak(rlp.encode([sender, transaction.nonce]))[12:].hex()
        logs, items = [], []
        for address, topics, payload in rlp.decode(receipt.logs_rlp):
            items += [address, *topics]
            named = {"address": "0x" + address.hex(), "topics": ["0x" + one.hex() for one in topics]}
            block = {**place, "blockTimestamp": hex(header.timestamp), **own}
            logs.append({**named, "data": "0x" + payload.hex(), **block, "logIndex": hex(count), "removed": False})
            count += 1
        forms.append(
            {
                "type": hex(receipt.type), "status": hex(receipt.status), **own, **place,
                "from": "0x" + sender.hex(),
                "to": "0x" + transaction.to.hex() if transaction.to else None,
                "contractAddress": None if transaction.to else made,
                "cumulativeGasUsed": hex(receipt.cumulative_gas),
                "gasUsed": hex(int(sealed.block.leaves.gas_used[leaf])),
                "effectiveGasPrice": hex(min(transaction.max_fee, header.base_fee + transaction.max_priority_fee)),
                "logs": logs,
                "logsBloom": f"0x{int(BloomFilter.from_iterable(items)):0512x}",
            }
        )  # fmt: skip
    return forms


def sealed_block(node: Live, number: int) -> SealedBlock:
    sealed: SealedBlock = node.on_chain(lambda chain: chain.sealed(number))
    return sealed


@pytest.mark.parametrize("number", [1, 2])
def test_answers_are_the_plain_ones_byte_for_byte(node: Live, number: int) -> None:
    plain = [msgspec.json.encode(form) for form in plain_receipts(sealed_block(node, number))]
    assert len(plain) == {1: 1, 2: 5}[number]
    txids = node.call("eth_getBlockByNumber", hex(number))["transactions"]

    def posted(method: str, params: list[list[str]]) -> bytes:
        calls = [{"jsonrpc": "2.0", "id": i, "method": method, "params": one} for i, one in enumerate(params)]
        return node._client.post("/", json=calls if len(params) > 1 else calls[0]).content

    def answer(i: int, result: bytes) -> bytes:
        return b'{"jsonrpc":"2.0","id":%d,"result":%b}' % (i, result)

    asked = [[txid] for txid in [*txids, ZERO]]
    expected = [answer(i, result) for i, result in enumerate([*plain, b"null"])]
    assert posted("eth_getTransactionReceipt", asked) == b"[%b]" % b",".join(expected)
    for txid, result in zip(txids, plain, strict=True):
        assert posted("eth_getTransactionReceipt", [[txid]]) == answer(0, result)
    assert posted("eth_getBlockReceipts", [[hex(number)]]) == answer(0, b"[%b]" % b",".join(plain))


def test_logs_are_alike_in_receipts_and_alone(node: Live) -> None:
    receipts = node.call("eth_getBlockReceipts", "0x2")
    logs = [log for receipt in receipts for log in receipt["logs"]]
    assert node.call("eth_getLogs", {"fromBlock": "0x2", "toBlock": "0x2"}) == logs
    blooms = [int(receipt["logsBloom"], 16) for receipt in receipts]
    assert int(node.call("eth_getBlockByNumber", "0x2")["logsBloom"], 16) == blooms[0] | blooms[3] != 0


def test_blocks_with_many_logs_are_read_on_a_thread_of_their_own(node: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    light = node.call("eth_getBlockReceipts", "0x2")

    def noted(sealed: SealedBlock) -> Any:
        threads.append(threading.current_thread().name)
        return receipts_of(sealed)

    monkeypatch.setattr(eth_blocks, "receipts_of", noted)
    assert node.call("eth_getBlockReceipts", "0x2") == light
    monkeypatch.setattr(eth_blocks, "LIGHT", 0)
    assert node.call("eth_getBlockReceipts", "0x2") == light
    assert node.call("eth_getTransactionReceipt", light[0]["transactionHash"]) == light[0]
    assert len(threads) == 3
    assert threads[0] not in threads[1:]


def test_few_blocks_are_asked_for_at_once(node: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [node.call("eth_getBlockReceipts", hex(number)) for number in (1, 2)]
    asked = [blocks[0][0], blocks[1][0], {"transactionHash": ZERO}, blocks[0][0], blocks[1][1]]
    txids = [bytes.fromhex(one["transactionHash"][2:]) for one in asked]
    monkeypatch.setattr(eth_blocks, "BLOCKS_AT_ONCE", 1)
    assert len(node.on_chain(lambda chain: places_of(chain, txids))) == 1
    assert len(node.on_chain(lambda chain: places_of(chain, txids[1:]))) == 2
    answers = node.batch([("eth_getTransactionReceipt", [one["transactionHash"]]) for one in asked])
    assert [answer["result"] for answer in answers] == [*asked[:2], None, *asked[3:]]


def test_receipts_are_made_while_there_is_room(node: Live) -> None:
    sealed = sealed_block(node, 2)
    plain = [msgspec.json.encode(form) for form in plain_receipts(sealed)]
    error = RpcError(4444, "gone")
    found, left = texts_of([(sealed, 0), None, error, (sealed, 3), (sealed, 3), None], len(plain[0]) + 1)
    assert [bytes(one) for one in (found[0], found[3]) if isinstance(one, msgspec.Raw)] == [plain[0], plain[3]]
    assert left == 1 - len(plain[3])
    assert found[1:3] == [None, error]
    assert [isinstance(one, RpcError) and one.code for one in found[4:]] == [-32005, -32005]


def test_a_block_weighs_as_much_as_there_is_to_do(node: Live) -> None:
    sealed = sealed_block(node, 2)
    logs = sum(len(receipt.logs_rlp) for receipt in sealed.receipts)
    assert logs < weight_of(sealed) < eth_blocks.LIGHT
    many = SealedBlock(sealed.block, sealed.receipts * 100, sealed.first_signed)
    assert weight_of(many) == 100 * weight_of(sealed) > eth_blocks.LIGHT
