"""kill -9 of a node under load: what a client was told before it holds after it."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import is_nightly
from tests.node.processes import ERRORS, Client, NodeProcess, hexed, rich, transfer, txid, until

ROUNDS = 12 if is_nightly() else 2
SENDERS = range(4)
PAID = b"\x98" * 20


@dataclass
class Told:
    """What one client was told."""

    accepted: list[bytes] = field(default_factory=list)
    receipts: dict[str, Any] = field(default_factory=dict)


def send_until_killed(url: str, sender: int, told: Told) -> None:
    """Single transactions with their receipts, and batches in between."""
    client = Client(url)
    account = hexed(rich()[sender].address)
    try:
        while True:
            nonce = int(client.call("eth_getTransactionCount", account, "pending"), 16)
            single, *batch = [transfer(sender, nonce + i, PAID) for i in range(4)]
            client.call("eth_sendRawTransaction", hexed(single))
            told.accepted.append(single)
            receipt = client.call("eth_getTransactionReceipt", txid(single))
            if receipt is not None:
                told.receipts[txid(single)] = receipt
            answers = client.batch([("eth_sendRawTransaction", [hexed(raw)]) for raw in batch])
            told.accepted += [raw for raw, answer in zip(batch, answers, strict=True) if "result" in answer]
    except ERRORS:
        pass
    finally:
        client.close()


def play(folder: Path, rng: random.Random, everything: Told, options: list[str]) -> None:
    """Start, load, kill, start again, compare."""
    arguments = ("node", "--dev", "--state", folder / "state", *options)
    told = [Told() for _ in SENDERS]
    node = NodeProcess(*arguments, log=folder / "log")
    try:
        threads = [
            threading.Thread(target=send_until_killed, args=(node.url, sender, mine))
            for sender, mine in zip(SENDERS, told, strict=True)
        ]
        for thread in threads:
            thread.start()
        until(lambda: all(mine.accepted for mine in told))
        time.sleep(rng.random())
    finally:
        node.kill()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for mine in told:
        everything.accepted += mine.accepted
        everything.receipts |= mine.receipts
    with NodeProcess(*arguments, log=folder / "log") as again:
        for envelope in everything.accepted:
            found = until(lambda envelope=envelope: again.call("eth_getTransactionReceipt", txid(envelope)))
            assert everything.receipts.setdefault(txid(envelope), found) == found
        assert int(again.call("eth_getBalance", hexed(PAID), "latest"), 16) >= len(everything.accepted)


@pytest.mark.parametrize("options", [[], ["--block-time", "0.3"]], ids=["instantly", "at an interval"])
def test_what_a_client_was_told_survives_kill_9(tmp_path: Path, options: list[str]) -> None:
    seed = random.randrange(2**32)
    rng, everything = random.Random(seed), Told()
    for _ in range(ROUNDS):
        play(tmp_path, rng, everything, options)
    assert len(everything.accepted) == len(set(everything.accepted)) > 0


def send_ahead_until_killed(url: str, sender: int, told: Told) -> None:
    """Behind a gap: nothing of it can be filled."""
    client = Client(url)
    try:
        for nonce in range(1, 60):
            envelope = transfer(sender, nonce, PAID)
            client.call("eth_sendRawTransaction", hexed(envelope))
            told.accepted.append(envelope)
    except ERRORS:
        pass
    finally:
        client.close()


def test_what_waits_behind_a_gap_survives_kill_9(tmp_path: Path) -> None:
    arguments = ("node", "--dev", "--state", tmp_path / "state")
    told = [Told() for _ in SENDERS]
    node = NodeProcess(*arguments, log=tmp_path / "log")
    try:
        threads = [threading.Thread(target=send_ahead_until_killed, args=(node.url, s, told[s])) for s in SENDERS]
        for thread in threads:
            thread.start()
        until(lambda: all(len(mine.accepted) > 5 for mine in told))
    finally:
        node.kill()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    accepted = [envelope for mine in told for envelope in mine.accepted]
    with NodeProcess(*arguments, log=tmp_path / "log") as again:
        for envelope in accepted:
            assert again.call("eth_getTransactionByHash", txid(envelope))["blockNumber"] is None
        assert int(again.call("txpool_status")["queued"], 16) >= len(accepted)
        for sender in SENDERS:
            again.call("eth_sendRawTransaction", hexed(transfer(sender, 0, PAID)))
        for envelope in accepted:
            until(lambda envelope=envelope: again.call("eth_getTransactionReceipt", txid(envelope)))
