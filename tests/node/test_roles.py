"""Validator and coordinators as processes of their own: everything lands once, whoever dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.wire import decode_block, decode_genesis, encode_genesis
from manaflow.node.development import ETHER, development_genesis
from manaflow.validator.validator import Validator
from tests.node.processes import NodeError, NodeProcess, hexed, rich, transfer, txid, until

PAID = b"\x99" * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A genesis file and the producer's key."""
    genesis = development_genesis(
        rich(), chain_id=31337, balance=10_000 * ETHER, gas_limit=30_000_000, base_fee=10**9, timestamp=1_700_000_000
    )
    (tmp_path / "genesis.mana").write_bytes(encode_genesis(genesis, NATIVE))
    (tmp_path / "producer.key").write_text(DEVELOPMENT_KEY.hex())
    return tmp_path


def validator_process(folder: Path, *options: object, port: int = 0) -> NodeProcess:
    return NodeProcess(
        "validator", "--state", folder / "validator", "--genesis", folder / "genesis.mana",
        "--producer-key", folder / "producer.key", *options, log=folder / "validator.log", port=port,
    )  # fmt: skip


def coordinator_process(folder: Path, name: str, url: str, port: int = 0) -> NodeProcess:
    state = folder / name
    return NodeProcess("coordinator", "--state", state, "--validator", url, log=folder / f"{name}.log", port=port)


@pytest.fixture
def validator(folder: Path) -> Iterator[NodeProcess]:
    with validator_process(folder, "--block-time", "0.3") as made:
        yield made


def receipt(node: NodeProcess, envelope: bytes) -> Any:
    return node.call("eth_getTransactionReceipt", txid(envelope))


def check_chain(folder: Path, node: NodeProcess, expected: list[bytes]) -> None:
    """Every block imports into a second validator that executes, and holds everything once."""
    genesis = decode_genesis((folder / "genesis.mana").read_bytes())
    landed: list[bytes] = []
    with Validator.create(folder / "second", genesis, mode="execute", threads=1) as second:
        head = int(node.call("mana_head")["number"], 16)
        for number in range(1, head + 1):
            file = bytes.fromhex(node.call("mana_getBlock", hex(number))[2:])
            second.import_block(file)
            landed += decode_block(file).envelopes
        second.check()
    assert sorted(landed) == sorted(expected)


def test_two_coordinators_and_a_validator(folder: Path, validator: NodeProcess) -> None:
    with (
        coordinator_process(folder, "one", validator.url) as one,
        coordinator_process(folder, "two", validator.url) as two,
    ):
        sent: list[bytes] = []
        for nonce in range(5):
            ours = [transfer(sender, nonce, PAID) for sender in range(8)]
            for sender, envelope in enumerate(ours):
                to = one if (sender + nonce) % 2 else two
                to.call("eth_sendRawTransaction", hexed(envelope))
            both = transfer(8, nonce, PAID)  # through both: it lands once
            for node in (one, two):
                node.call("mana_submit", hexed(both))
            sent += [*ours, both]
        for envelope in sent:
            for node in (one, two, validator):
                until(lambda node=node, envelope=envelope: receipt(node, envelope))
        assert one.call("eth_getBalance", hexed(PAID), "latest") == hex(len(sent))
        with pytest.raises(NodeError, match="coordinates nothing"):
            validator.call("mana_submit", hexed(transfer(0, 5)))
        check_chain(folder, validator, sent)


def test_a_coordinator_is_killed_between_admission_and_seal(folder: Path) -> None:
    with validator_process(folder, "--no-mining") as validator:
        sent = [transfer(sender, 0, PAID) for sender in range(10)]
        one = coordinator_process(folder, "one", validator.url)
        try:
            for envelope in sent:
                one.call("eth_sendRawTransaction", hexed(envelope))
            until(lambda: validator.call("mana_openBlock")["sequence"] == len(sent))
        finally:
            one.kill()
        with coordinator_process(folder, "one", validator.url) as again:
            more = transfer(0, 1, PAID)
            again.call("eth_sendRawTransaction", hexed(more))
            until(lambda: validator.call("mana_openBlock")["sequence"] == len(sent) + 1)
            assert validator.call("mana_seal")["number"] == "0x1"
            for envelope in (*sent, more):
                until(lambda envelope=envelope: receipt(again, envelope))
        check_chain(folder, validator, [*sent, more])


def test_a_validator_is_killed_with_an_open_block(folder: Path) -> None:
    validator = validator_process(folder, "--no-mining")
    try:
        with coordinator_process(folder, "one", validator.url) as one:
            sent = [transfer(sender, 0, PAID) for sender in range(10)]
            for envelope in sent[:5]:
                one.call("eth_sendRawTransaction", hexed(envelope))
            until(lambda: validator.call("mana_openBlock")["sequence"] == 5)
            validator.kill()
            for envelope in sent[5:]:
                one.call("eth_sendRawTransaction", hexed(envelope))
            validator = validator_process(folder, "--no-mining", port=validator.port)
            assert validator.call("mana_openBlock")["sequence"] >= 5, "what was acknowledged is there"
            until(lambda: validator.call("mana_openBlock")["sequence"] == 10)
            validator.call("mana_seal")
            for envelope in sent:
                until(lambda envelope=envelope: receipt(one, envelope))
            check_chain(folder, validator, sent)
            assert validator.stop() == 0
    finally:
        validator.kill()


def test_a_coordinator_refuses_another_chains_validator(folder: Path, validator: NodeProcess) -> None:
    with coordinator_process(folder, "one", validator.url):
        pass
    with NodeProcess("node", "--dev", "--chain-id", 777, log=folder / "other.log") as other:
        failing = coordinator_process(folder, "one", other.url)
        assert failing.process.wait(30) == 3
        failing.kill()
    assert "another chain" in (folder / "one.log").read_text()
