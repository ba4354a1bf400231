"""A fraud proof comes to a node by mana_submitProof: the block is void, and everything that hung on it follows.

The node is a real process that has taken a lie; its key is another producer's than the liar's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.coordinator.seal import sign
from manaflow.errors import Rule
from manaflow.evm.native import RevmExecutor
from manaflow.fraudproof.build import prove_parent
from manaflow.fraudproof.equivocation import SignedHeader, prove_equivocation
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.format import MAX_PROOF_BYTES, Proof
from manaflow.moves.header import Header
from manaflow.node.judging import judge_twice
from manaflow.node.proofs import MAX_WAITING, read_proof
from tests.fraudproof.test_consequences import Contrary
from tests.node.processes import NodeError, NodeProcess, hexed, until
from tests.node.voiding import HONEST_BLOCKS, HONEST_KEY, scene, txid


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return scene().proof(tmp_path_factory.mktemp("challenger") / "state")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    scene().misled(tmp_path / "node" / "validator")
    (tmp_path / "key").write_text(HONEST_KEY.hex())
    return tmp_path / "node"


def serving(state: Path) -> NodeProcess:
    key = state.parent / "key"
    return NodeProcess(
        "node", "--state", state, "--producer-key", key, "--no-mining", log=state.parent / "node.log"
    )  # fmt: skip


@pytest.fixture
def node(state: Path) -> Iterator[NodeProcess]:
    with serving(state) as node:
        yield node


def notified(socket: ClientConnection, seconds: float = 10) -> Any:
    return json.loads(socket.recv(timeout=seconds))["params"]["result"]


def tag(node: NodeProcess, name: str) -> int:
    return int(node.call("eth_getBlockByNumber", name, False)["number"], 16)


def test_the_block_is_void_and_everything_follows(node: NodeProcess, proof: bytes, state: Path) -> None:
    payment, logging = txid(scene().payment), txid(scene().logging)
    assert node.call("eth_getTransactionReceipt", payment)["blockNumber"] == "0x4"
    assert len(node.call("eth_getTransactionReceipt", logging)["logs"]) == 1
    assert (tag(node, "finalized"), tag(node, "latest")) == (0, 4)
    with connect("ws" + node.url.removeprefix("http")) as socket:
        for params in (["logs"], ["manaHeads"]):
            socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": params}))
            assert "result" in json.loads(socket.recv(timeout=10))
        answer = node.call("mana_submitProof", hexed(proof))
        told = [notified(socket), notified(socket)]
    assert (answer["block"], answer["undone"], answer["known"]) == (hexed(scene().lie.hash), ["0x4"], False)
    assert answer["rule"] == answer["verdict"]["rule"] == "X3"
    log = next(item for item in told if "topics" in item)
    assert (log["removed"], log["transactionHash"]) == (True, logging)
    assert next(item for item in told if "parentHash" in item)["removed"] is True

    assert "manaflow_head_block 3.0" in exposition(node)
    assert "manaflow_blocks_undone_total 1.0" in exposition(node)
    assert node.call("mana_head")["hash"] == hexed(scene().blocks[-1].hash)
    assert node.call("mana_getProof", hexed(scene().lie.hash)) is not None
    for gone in (payment, logging):
        assert node.call("eth_getTransactionReceipt", gone) is None
        waiting = node.call("eth_getTransactionByHash", gone)
        assert waiting is not None
        assert waiting["blockNumber"] is None
    assert (tag(node, "finalized"), tag(node, "safe"), tag(node, "latest")) == (0, 3, 3)
    assert node.call("mana_getBlock", "safe") == node.call("mana_getBlock", "0x3")

    assert node.call("mana_seal")["number"] == "0x4"
    assert node.call("eth_getTransactionReceipt", payment)["status"] == "0x1"
    assert len(node.call("eth_getTransactionReceipt", logging)["logs"]) == 1
    again = node.call("mana_submitProof", hexed(proof))
    assert (again["known"], again["undone"]) == (True, [])
    for number in range(5, 9):
        node.call("mana_seal")
        assert (tag(node, "finalized"), tag(node, "latest")) == (number - 4, number)


def test_a_conviction_outlives_kill_9(state: Path, proof: bytes) -> None:
    node = serving(state)
    try:
        node.call("mana_submitProof", hexed(proof))
    finally:
        node.kill()
    with serving(state) as node:
        assert node.call("mana_head")["hash"] == hexed(scene().blocks[-1].hash)
        assert node.call("eth_getTransactionReceipt", txid(scene().payment)) is None
        node.call("mana_seal")
        assert node.call("eth_getTransactionReceipt", txid(scene().payment))["status"] == "0x1"


def test_a_producer_whose_own_block_is_void_signs_no_other(tmp_path: Path, proof: bytes) -> None:
    """Two signatures on one parent would convict it: it serves on, and another producer must go on."""
    scene().misled(tmp_path / "node" / "validator", own=True)
    (tmp_path / "key").write_text(DEVELOPMENT_KEY.hex())
    with serving(tmp_path / "node") as node:
        assert node.call("mana_submitProof", hexed(proof))["undone"] == ["0x4"]
        with pytest.raises(NodeError, match="another one must go on"):
            node.call("mana_seal")
        assert node.call("mana_head")["number"] == "0x3"
        assert node.call("eth_getTransactionReceipt", txid(scene().payment)) is None


def hollow(count: int) -> list[bytes]:
    """Proofs that pass every cheap check, and show nothing: honest blocks beside their parents."""
    config, chain = scene().producer.config, [scene().producer.genesis.block, *scene().blocks]
    return [prove_parent(Rule.B2, chain[i + 1], config, chain[i].header).encode() for i in range(count)]


def junk(proof: bytes) -> list[bytes]:
    """Proofs that cheap checks refuse."""
    good, config = Proof.decode(proof), scene().producer.config
    stranger = replace(good, config=replace(config, chain_id=5).encode())
    unsigned = replace(good, signature=bytes(65))
    header = replace(Header.decode(good.header), parent_hash=b"\x01" * 32)
    unknown = replace(good, header=header.encode(), signature=sign(header.hash, DEVELOPMENT_KEY))
    return [
        b"", b"\x00", proof[:-1], proof + b"\x00", b"MANAPROOF\x02" + proof[10:], bytes(MAX_PROOF_BYTES + 1),
        stranger.encode(), unsigned.encode(), unknown.encode(),
    ]  # fmt: skip


def test_junk_costs_little_and_harms_nobody(node: NodeProcess, proof: bytes) -> None:
    head = node.call("mana_head")
    for file in junk(proof):
        with pytest.raises(NodeError, match="rejected"):
            node.call("mana_submitProof", hexed(file))
    dear = hollow(HONEST_BLOCKS)
    with ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(refusal, node.url, file) for file in dear * 4]
        slowest = 0.0
        while not all(future.done() for future in futures):
            started = time.monotonic()
            assert node.call("mana_head") == head
            slowest = max(slowest, time.monotonic() - started)
    said = [future.result() for future in futures]
    assert all("rejected" in what or "limit exceeded" in what for what in said), said
    assert any("rejected" in what for what in said)
    assert node.call("mana_submitProof", hexed(proof))["undone"] == ["0x4"]
    assert 'manaflow_proofs_total{outcome="convicted"} 1.0' in exposition(node)


def exposition(node: NodeProcess) -> str:
    import httpx

    return httpx.get(f"{node.url}/metrics").text


def refusal(url: str, file: bytes) -> str:
    from tests.node.processes import Client

    client = Client(url)
    try:
        client.call("mana_submitProof", hexed(file))
    except NodeError as error:
        return str(error)
    finally:
        client.close()
    return "taken"


def test_who_submits_too_many_is_told_so(node: NodeProcess, proof: bytes) -> None:
    said = [refusal(node.url, b"MANAPROOF") for _ in range(60)]
    assert "limit exceeded: too many calls of mana_submitProof" in said
    assert node.call("mana_head")["number"] == "0x4"
    until(lambda: refusal(node.url, proof) == "taken")


def test_an_equivocation_is_kept_and_undoes_nothing(node: NodeProcess) -> None:
    one, other = scene().honest, scene().lie
    evidence = prove_equivocation(
        scene().producer.config,
        SignedHeader(one.header.encode(), one.signature),
        SignedHeader(other.header.encode(), other.signature),
    ).encode()
    answer = node.call("mana_submitProof", hexed(evidence))
    assert (answer["equivocation"], answer["number"], answer["known"]) == (True, "0x4", False)
    assert node.call("mana_submitProof", hexed(evidence))["known"] is True
    assert node.call("mana_head")["hash"] == hexed(other.hash)


def test_cheap_checks_need_no_engine(proof: bytes) -> None:
    config = scene().producer.config
    for file in junk(proof)[:-1]:
        with pytest.raises(ProofRejected):
            read_proof(config, file)
    filed = read_proof(config, proof)
    assert filed.accused == scene().lie.hash
    assert filed.parents == (scene().lie.hash, scene().blocks[-1].hash)
    assert MAX_WAITING * MAX_PROOF_BYTES < 1 << 26


def test_engines_that_disagree_convict_nobody(proof: bytes) -> None:
    config = scene().producer.config
    for engines in ((RevmExecutor(), Contrary()), (Contrary(), RevmExecutor())):
        with pytest.raises(ProofRejected):
            judge_twice(config, proof, *engines)
    assert judge_twice(config, proof, RevmExecutor(), RevmExecutor()).rule == Rule.X3
