"""mana_* through the dispatcher, on a chain of its own with its thread."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import coincurve
import pytest

from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.evm.native_hashing import NATIVE
from manaflow.light.inclusion import verify_inclusion
from manaflow.moves.batch import EMPTY_BATCH, Batch
from manaflow.moves.header import Header
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask
from manaflow.moves.transactions import Flag, NamedMove
from manaflow.moves.wire import decode_block, decode_genesis
from manaflow.moves.wire_batch import decode_batch, encode_batch
from manaflow.node import mana_roles
from manaflow.node.chain_thread import NodeThread
from manaflow.node.errors import (
    INVALID_PARAMS,
    METHOD_NOT_SUPPORTED,
    RESOURCE_UNAVAILABLE,
    SERVER_ERROR,
    TRANSACTION_REJECTED,
)
from manaflow.node.eth_methods import eth_methods
from manaflow.node.limits import Limits, MethodRates, TokenBucket
from manaflow.node.mana import mana_methods
from manaflow.node.mana_reads import INCLUSION_CLASS
from manaflow.node.opening import Plan, Producing, open_chain
from manaflow.node.rpc import Caller, Dispatcher
from manaflow.node.service import node_limits
from manaflow.validator.validator import Validator
from tests.declared import declared_envelope, masked
from tests.node.processes import NodeError, hexed, rich, transfer, txid
from tests.node.test_owned_chain import Heard
from tests.node.test_rpc import Notes

CHAIN_ID = 31337
PAID = b"\x96" * 20
REVERTING = bytes.fromhex("60046000526001601ffd")  # initcode that reverts with one byte, 4


class Node:
    """A chain, its thread, and calls as JSON."""

    def __init__(self, plan: Plan) -> None:
        self.heard = Heard()
        self.thread = NodeThread(lambda: open_chain(plan, self.heard), lambda error: None)
        self.thread.start()
        limits = Limits()
        methods, _ = eth_methods(self.thread, limits, time.monotonic)
        rates = MethodRates((), time.monotonic)
        self.dispatcher = Dispatcher({**methods, **mana_methods(self.thread)}, limits, rates, Notes())
        self.caller = Caller("127.0.0.1", TokenBucket(limits.rate, time.monotonic))
        self.runner = asyncio.Runner()

    def call(self, method: str, *params: Any) -> Any:
        """Raises NodeError."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        raw = self.runner.run(self.dispatcher.answer(body, self.caller))
        assert raw is not None
        answer = json.loads(raw)
        if "error" in answer:
            raise NodeError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        self.runner.close()
        self.thread.stop()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(plan(tmp_path))
    yield made
    made.close()


def plan(path: Path, **options: Any) -> Plan:
    from manaflow.node.development import ETHER, development_genesis

    def genesis() -> Any:
        return development_genesis(
            rich(), chain_id=CHAIN_ID, balance=100 * ETHER, gas_limit=30_000_000, base_fee=10**9, timestamp=1
        )

    return Plan(path, genesis, Producing(DEVELOPMENT_KEY, b"\xc0" * 20, seconds=None), threads=1, **options)


def refusal(run: Callable[[], Any], code: int) -> NodeError:
    with pytest.raises(NodeError) as caught:
        run()
    assert caught.value.code == code, caught.value
    return caught.value


def declared(sender: int, moves: tuple[NamedMove, ...], **fields: Any) -> bytes:
    call = {
        "chain_id": CHAIN_ID, "nonce": 0, "max_priority_fee": 2 * 10**9, "max_fee": 2 * 10**9, "gas_limit": 100_000,
        "to": PAID, "value": 5, "data": b"", "access_list": (), "valid_until": 0, "flags": int(Flag.OPEN),
    }  # fmt: skip
    return declared_envelope(moves, coincurve.PrivateKey(rich()[sender].key), **call | fields)


def signed_balance(sender: int, intx: bytes, prev: int) -> NamedMove:
    """The payer's balance: which cell and its value are signed, what becomes of it is not."""
    mask = UNSIGNED & ~(Mask.MARK | Mask.ADDR | Mask.SLOT | Mask.INTX | Mask.PREV)
    return masked(
        NamedMove(int(mask), int(Mark.BALANCE), intx, rich()[sender].address, ZERO32, prev.to_bytes(32), ZERO32)
    )


def test_inclusion_proofs_have_a_bucket_for_each_client() -> None:
    rates, burst = MethodRates(node_limits().method_classes, lambda: 0.0), int(INCLUSION_CLASS.each_client.burst)
    assert [rates.allow("mana_getInclusion", "one") for _ in range(burst + 1)] == [True] * burst + [False]
    assert rates.allow("mana_getInclusion", "another")


def test_a_transaction_from_submission_to_proof(node: Node) -> None:
    sent = transfer(0, 0, PAID, 7)
    assert node.call("mana_submit", hexed(sent)) == txid(sent)
    assert node.call("mana_getMoves", txid(sent)) is None
    assert node.call("mana_getInclusion", txid(sent)) is None
    pending = node.call("mana_getCell", "b", hexed(PAID), None, True)
    assert (pending["number"], pending["intx"], int(pending["value"], 16)) == (0, txid(sent), 7)
    assert node.call("mana_getCell", "b", hexed(PAID)) == {
        "mark": "b", "addr": hexed(PAID), "slot": hexed(ZERO32), "number": 0, "intx": hexed(ZERO32),
        "value": hexed(ZERO32),
    }  # fmt: skip
    sealed = node.call("mana_seal")
    assert node.call("mana_head") == {**sealed, "finalized": "0x0"}
    moves = node.call("mana_getMoves", txid(sent))
    (paid,) = [move for move in moves["moves"] if move["addr"] == hexed(PAID) and move["mark"] == "b"]
    assert (moves["block"], moves["status"], paid["prev"], paid["next"]) == (1, 1, 0, 7)
    assert node.call("mana_getCell", "b", hexed(PAID))["number"] == paid["makes"]
    place = moves["moves"].index(paid)
    proof = bytes.fromhex(node.call("mana_getInclusion", txid(sent), place)[2:])
    shown = verify_inclusion(proof, bytes.fromhex(sealed["hash"][2:]))
    assert shown.move is not None
    assert (hexed(shown.txid), shown.move.addr, shown.move.next) == (txid(sent), PAID, (7).to_bytes(32))
    node.call("mana_seal")
    later = bytes.fromhex(node.call("mana_getInclusion", txid(sent))[2:])
    head = bytes.fromhex(node.call("mana_head")["hash"][2:])
    assert verify_inclusion(later, head).block_number == 1
    refusal(lambda: node.call("mana_getInclusion", txid(sent), 99), INVALID_PARAMS)
    refusal(lambda: node.call("mana_getInclusion", txid(sent), -1), INVALID_PARAMS)
    told = refusal(lambda: node.call("mana_submit", hexed(sent)), TRANSACTION_REJECTED)
    assert told.data["reason"] == "nonce-used"


def test_blocks_and_config_make_a_second_node(node: Node, tmp_path: Path) -> None:
    for nonce in range(3):
        node.call("mana_submit", hexed(transfer(0, nonce, PAID)))
        node.call("mana_seal")
    config = node.call("mana_config")
    genesis = decode_genesis(bytes.fromhex(config["genesis"][2:]), NATIVE)
    with Validator.create(tmp_path / "second", genesis, mode="execute", threads=1) as second:
        assert hexed(second.config.hash) == config["config"]
        assert config["chainId"] == hex(CHAIN_ID)
        alone = node.call("mana_chainConfig")
        assert alone == {"chainId": hex(CHAIN_ID), "hash": config["config"], "config": hexed(genesis.config)}
        for number in (1, 2, 3):
            second.import_block(bytes.fromhex(node.call("mana_getBlock", hex(number))[2:]))
        assert hexed(second.head[1]) == node.call("mana_head")["hash"]
    last = node.call("mana_getBlock", "latest")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("manaflow.validator.archive.decode_block", None)  # it is given as it was stored
        assert node.call("mana_getBlock", "latest") == last
    assert node.call("mana_getBlock", node.call("mana_head")["hash"]) == last
    assert decode_block(bytes.fromhex(last[2:])).header.number == 3
    assert node.call("mana_getBlock", "finalized") == node.call("mana_getBlock", "0x0")
    assert node.call("mana_getBlock", "0x9") is None
    assert node.call("mana_getProof", node.call("mana_head")["hash"]) is None


def test_a_preview_is_what_sealing_then_gives(node: Node) -> None:
    value = (100 * 10**18).to_bytes(32)
    guard = NamedMove(
        int(Mask.GUARD | Mask.REFERENCE | Mask.INTX), int(Mark.BALANCE), ZERO32, rich()[7].address, ZERO32, value, value
    )
    for envelope in (
        transfer(0, 0, PAID, 7),
        declared(1, ()),
        transfer(2, 0, b"", 0, data=REVERTING, gas=100_000),
        declared(3, (guard,)),
    ):
        before = node.call("mana_fill", hexed(envelope))
        assert node.call("mana_getMoves", txid(envelope)) is None, "nothing was submitted"
        node.call("mana_submit", hexed(envelope))
        node.call("mana_seal")
        after = node.call("mana_getMoves", txid(envelope))
        assert before["txid"] == after["txid"]
        assert int(before["outcome"]["status"], 16) == after["status"]
        assert int(before["outcome"]["gasUsed"], 16) == after["gas_used"]
        assert before["outcome"]["logsHash"] == after["logs_hash"]
        assert [(m["kind"], m["mask"], m["mark"], m["addr"], m["slot"], m["number"]) for m in before["moves"]] == [
            (m["kind"], m["mask"], m["mark"], m["addr"], m["slot"], m["number"]) for m in after["moves"]
        ]
        assert before["misfit"] is None


def test_a_call_is_filled_without_a_signature(node: Node) -> None:
    sender = hexed(rich()[3].address)
    filled = node.call("mana_fill", {"from": sender, "to": hexed(PAID), "value": "0x3"}, "latest")
    assert (filled["txid"], filled["sender"], filled["outcome"]["status"]) == (None, sender, "0x1")
    (paid,) = [m for m in filled["moves"] if m["addr"] == hexed(PAID) and m["mark"] == "b"]
    assert (int(paid["prev"], 16), int(paid["next"], 16), paid["kind"]) == (0, 3, "consume")
    failing = node.call("mana_fill", {"from": sender, "data": hexed(REVERTING)})
    assert (failing["outcome"]["status"], failing["output"], failing["halt"]) == ("0x0", "0x04", None)
    refusal(lambda: node.call("mana_fill", {"from": "0x12"}), INVALID_PARAMS)
    refusal(lambda: node.call("mana_fill", "0x02zz"), INVALID_PARAMS)
    assert refusal(lambda: node.call("mana_fill", "0x02ff"), SERVER_ERROR).data["rule"] == "S1"
    assert refusal(lambda: node.call("mana_fill", hexed(transfer(0, 5))), SERVER_ERROR).data["rule"] == "X0"


def test_a_misfit_is_shown_before_it_is_submitted_and_a_conflict_after(node: Node) -> None:
    cell = node.call("mana_getCell", "b", hexed(rich()[1].address))
    fits = declared(1, (signed_balance(1, bytes.fromhex(cell["intx"][2:]), int(cell["value"], 16)),))
    filled = node.call("mana_fill", hexed(fits))
    assert filled["misfit"] is None
    masks = {(m["mark"], m["addr"]): m["mask"] for m in filled["moves"]}
    assert masks["b", hexed(rich()[1].address)] == ["next"], "as it is signed"
    poorer = declared(1, (signed_balance(1, bytes.fromhex(cell["intx"][2:]), 1),))
    misfit = node.call("mana_fill", hexed(poorer))["misfit"]
    assert (misfit["field"], int(misfit["expected"], 16), misfit["actual"]) == ("prev", 1, cell["value"])
    node.call("mana_submit", hexed(poorer))
    told = node.call("mana_explainConflict", txid(poorer))
    assert (told["kind"], told["reason"]) == ("dropped", "lost")
    kinds = [kind for kind, item in node.heard.items if item == txid(poorer)]
    assert kinds == ["lost", "dropped"]
    assert node.call("mana_explainConflict", txid(fits)) is None


def test_a_batch_is_decoded_beside_the_event_loop(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a thousand bytes may unpack to a quarter of a million moves."""
    decoded: list[bytes] = []

    def noted(data: bytes) -> Batch:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        decoded.append(data)
        return decode_batch(data)

    monkeypatch.setattr(mana_roles, "decode_batch", noted)
    empty = encode_batch(EMPTY_BATCH)
    node.call("mana_submitBatch", hexed(empty), "0x0")
    assert decoded == [empty]


def test_what_a_coordinator_of_another_process_asks(node: Node) -> None:
    opened = node.call("mana_openBlock")
    header = Header.decode(bytes.fromhex(opened["header"][2:]))
    assert (header.number, opened["sequence"]) == (1, 0)
    assert opened["blockHashes"] == {"0x0": node.call("mana_head")["hash"]}
    empty = hexed(encode_batch(EMPTY_BATCH))
    reply = node.call("mana_submitBatch", empty, "0x0", hexed(header.hash))
    assert (reply["block"], reply["verdicts"], reply["sequence"]) == (1, [], 0)
    assert reply["cells"] == opened["cells"]
    refusal(lambda: node.call("mana_submitBatch", empty, "0x0", hexed(b"\1" * 32)), RESOURCE_UNAVAILABLE)
    assert refusal(lambda: node.call("mana_submitBatch", "0x1234", "0x0"), SERVER_ERROR).data["rule"] == "B1"
    node.call("mana_seal")
    assert node.call("mana_openBlock")["header"] != opened["header"]


def test_wrong_questions(node: Node) -> None:
    address = hexed(PAID)
    for params in (["x", address], ["b", address, "0x1"], ["e", address], ["b", "0x12"], ["s"]):
        refusal(lambda params=params: node.call("mana_getCell", *params), INVALID_PARAMS)


def test_a_node_without_a_pool_says_so(tmp_path: Path) -> None:
    made = Node(replace(plan(tmp_path), takes_transactions=False))
    try:
        for method in ("mana_submit", "eth_sendRawTransaction"):
            refusal(lambda method=method: made.call(method, hexed(transfer(0, 0))), METHOD_NOT_SUPPORTED)
    finally:
        made.close()
