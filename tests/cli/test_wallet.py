"""The wallet's commands on a real node, which is a process of its own and seals only when it is told to."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from manaflow.moves.hashing import keccak256
from manaflow.wallet.client import Client, Landed, LostRace, again
from manaflow.wallet.declare import Declaration, Wish
from manaflow.wallet.intents import Intent, Policy
from manaflow.wallet.keys import Secret, address_of, derive, sign
from manaflow.wallet.rpc import Rpc
from manaflow.wallet.rpc_source import read_config
from tests.cli.conftest import Ran, process, refused
from tests.conftest import ROOT

MNEMONIC = "test test test test test test test test test test test junk"
ONE, TWO = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
NOBODY = "0x" + "77" * 20
Manaflow = Callable[..., Ran]


class NodeProcess:
    """`manaflow node --dev --no-mining`."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        self.url = json.loads(child.stdout.readline())["url"]

    def call(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = httpx.post(self.url, json=body, timeout=30).json()
        assert "error" not in answer, answer
        return answer["result"]

    def seal(self) -> None:
        self.call("mana_seal")


@pytest.fixture(scope="module")
def running() -> Iterator[NodeProcess]:
    command = [sys.executable, "-m", "manaflow.cli", "node", "--dev", "--no-mining", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield NodeProcess(child)
        finally:
            child.kill()


@pytest.fixture
def node(running: NodeProcess, monkeypatch: pytest.MonkeyPatch) -> NodeProcess:
    monkeypatch.setenv("MANAFLOW_NODE", running.url)
    monkeypatch.setenv("MANAFLOW_MNEMONIC", MNEMONIC)
    monkeypatch.setenv("MANAFLOW_PASSWORD", "of the test")
    running.seal()
    return running


def sent(ran: Ran) -> str:
    """The id of what was submitted and not waited for."""
    assert (ran.code, ran.json["ending"]) == (0, "Waiting"), ran
    txid: str = ran.json["txid"]
    assert ran.err == f"sent {txid}\n"
    return txid


@pytest.fixture
def counter(node: NodeProcess, manaflow: Manaflow) -> str:
    """A counter that nobody else uses."""
    deployed = manaflow("wallet", "deploy", ROOT / "examples/counter.hex", "--yes", "--json", "--wait", 0, "--index", 9)
    txid = sent(deployed)
    node.seal()
    address: str = node.call("eth_getTransactionReceipt", txid)["contractAddress"]
    return address


def count(node: NodeProcess, counter: str) -> int:
    return int(node.call("eth_getStorageAt", counter, "0x0", "latest"), 16)


SEND = ("--yes", "--json", "--wait", 0)


@pytest.mark.parametrize("intent", ["exact", "contested", "open"])
def test_each_intent_lands(node: NodeProcess, manaflow: Manaflow, counter: str, intent: str) -> None:
    before = count(node, counter)
    txid = sent(manaflow("wallet", "call", counter, "--intent", intent, *SEND))
    node.seal()
    assert node.call("eth_getTransactionReceipt", txid)["status"] == "0x1"
    assert count(node, counter) == before + 1


def test_a_lost_race_names_its_winner_and_again_lands(node: NodeProcess, manaflow: Manaflow, counter: str) -> None:
    """`exact` on a counter that somebody else has just changed; then the same, declared anew."""
    draft, signed = "draft.json", "signed.hex"
    made = manaflow(
        "wallet", "declare", "--sender", ONE, "--to", counter, "--intent", "exact", "--out", draft, "--json"
    )
    assert made.code == 0, made
    winner = sent(manaflow("wallet", "call", counter, "--index", 1, *SEND))
    node.seal()
    assert manaflow("wallet", "sign", draft, "--out", signed, "--yes", "--json").code == 0
    ran = manaflow("wallet", "submit", signed, "--wait", 5)
    assert ran.code == 1, ran
    assert f"the race went to {winner}" in ran.out
    assert "it waits in the pool" in ran.out
    lost = manaflow("wallet", "submit", signed, "--wait", 5, "--json")  # it is there already
    assert lost.code == 3
    assert "known" in lost.err
    txid = "0x" + keccak256(bytes.fromhex(Path(signed).read_text().strip()[2:])).hex()
    again = manaflow("wallet", "send", "--speed-up", txid, *SEND)
    assert sent(again) != txid
    assert again.json["replaced"][0].startswith("Either of the two lands, never both")
    before = count(node, counter)
    node.seal()
    assert count(node, counter) == before + 1


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_contested_lands_on_what_others_have_left(node: NodeProcess, manaflow: Manaflow, counter: str) -> None:
    assert manaflow("wallet", "declare", "--sender", ONE, "--to", counter, "--out", "draft.json", "--json").code == 0
    sent(manaflow("wallet", "call", counter, "--index", 1, *SEND))
    node.seal()
    before = count(node, counter)
    assert manaflow("wallet", "sign", "draft.json", "--out", "signed.hex", "--yes", "--json").code == 0
    sent(manaflow("wallet", "submit", "signed.hex", "--wait", 0, "--json"))
    node.seal()
    assert count(node, counter) == before + 1


def test_a_guard_stops_it(node: NodeProcess, manaflow: Manaflow, counter: str) -> None:
    guarded = ("--guard", f"b:{NOBODY}", "--valid-until", 0)
    declared = ("wallet", "declare", "--sender", ONE, "--to", counter, "--out", "draft.json", "--json")
    assert manaflow(*declared, *guarded).code == 0
    winner = sent(manaflow("wallet", "send", NOBODY, "1wei", "--index", 1, *SEND))
    node.seal()
    assert manaflow("wallet", "sign", "draft.json", "--out", "signed.hex", "--yes", "--json").code == 0
    lost = manaflow("wallet", "submit", "signed.hex", "--wait", 5, "--json")
    assert (lost.code, lost.json["ending"], lost.json["winner"]) == (1, "LostRace", winner)


def test_a_key_is_not_overwritten_by_what_is_signed(node: NodeProcess, manaflow: Manaflow) -> None:
    """A slip of --out would have replaced the only copy of a key by an envelope."""
    declare = ("wallet", "declare", "--sender", ONE, "--to", NOBODY, "--value", "1wei", "--json", "--out")
    for _ in range(2):  # over another draft it may go
        assert manaflow(*declare, "draft.json").code == 0
    key = Path("key.json")
    for content in ('{"version": 3, "crypto": {}}', "46" * 32, ""):
        key.write_text(content)
        assert manaflow(*declare, key).code == 2
        told = manaflow("wallet", "sign", "draft.json", "--out", key, "--yes")
        assert "not overwritten" in refused(told, 2)
        assert key.read_text() == content
    for _ in range(2):
        assert manaflow("wallet", "sign", "draft.json", "--out", "signed.hex", "--yes").code == 0


def waiting(node: NodeProcess, index: int) -> str:
    """The id of an Ethereum transaction whose fee cap is below the base fee, as another wallet made it."""
    account = derive(Secret(MNEMONIC), index)
    nonce = int(node.call("eth_getTransactionCount", account.address, "latest"), 16)
    call = {"type": 2, "chainId": 31337, "nonce": nonce, "gas": 21_000, "to": NOBODY, "value": 3, "data": b""}
    raw = account.sign_transaction({**call, "maxFeePerGas": 9, "maxPriorityFeePerGas": 1}).raw_transaction
    txid: str = node.call("mana_submit", "0x" + bytes(raw).hex())
    return txid


def balance_of_nobody(node: NodeProcess) -> int:
    return int(node.call("eth_getBalance", NOBODY, "latest"), 16)


@pytest.mark.parametrize("option", ["--cancel", "--speed-up"])
def test_replacing_what_waits(node: NodeProcess, manaflow: Manaflow, option: str) -> None:
    old, before = waiting(node, 4), balance_of_nobody(node)
    node.seal()
    assert node.call("eth_getTransactionReceipt", old) is None
    assert "transaction of" in refused(manaflow("wallet", "send", option, old, "--index", 5, "--yes"), 3)
    ran = manaflow("wallet", "send", option, old, "--index", 4, *SEND)
    new = sent(ran)
    assert any("at most 189003 wei leaves your balance" in line for line in ran.json["replaced"])
    node.seal()
    assert node.call("eth_getTransactionReceipt", new)["status"] == "0x1"
    assert node.call("eth_getTransactionReceipt", old) is None
    assert balance_of_nobody(node) == before + (0 if option == "--cancel" else 3)


def test_a_new_one_is_not_declared_over_what_waits(node: NodeProcess, manaflow: Manaflow) -> None:
    old = waiting(node, 6)
    assert "1 earlier transaction(s)" in refused(manaflow("wallet", "send", NOBODY, "1wei", "--index", 6, "--yes"), 3)
    sent(manaflow("wallet", "send", "--cancel", old, "--index", 6, *SEND))
    refusal = refused(manaflow("wallet", "send", "--cancel", "0x" + "01" * 32, *SEND), 3)
    assert "knows no transaction" in refusal


@pytest.mark.parametrize("valid_until", [None, 0])
def test_declared_anew_it_lands(node: NodeProcess, manaflow: Manaflow, counter: str, valid_until: int | None) -> None:
    """What --again does: whether the lost one still waits (it has a limit) or was dropped."""
    rpc = Rpc(node.url)
    client, account = Client(rpc, read_config(rpc, 31337)), derive(Secret(MNEMONIC), 7)
    wish = Wish(bytes.fromhex(counter[2:]), valid_until=valid_until)
    declared = client.declare(address_of(account), wish, Policy(Intent.EXACT))
    winner = sent(manaflow("wallet", "call", counter, "--index", 8, *SEND))
    lost = client.wait(client.submit(sign(declared.transaction, account)), 5)
    assert isinstance(lost, LostRace)
    assert (lost.winner, lost.waits) == (bytes.fromhex(winner[2:]), valid_until is None)
    anew = client.declare(address_of(account), again(wish, lost, declared, Policy(Intent.EXACT)), Policy(Intent.EXACT))
    txid = client.submit(sign(anew.transaction, account))
    node.seal()
    landed = client.wait(txid, 5)
    assert isinstance(landed, Landed)
    assert (landed.status, count(node, counter)) == (1, 2)


def test_again_signs_the_same_nonce_for_no_more_than_was_named(
    node: NodeProcess, manaflow: Manaflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the node is one that says "lost" of everything; nothing reaches it."""
    signed: list[Declaration] = []

    def lose(account: Any, client: Client, declared: Declaration, wait: float) -> LostRace:
        signed.append(declared)
        return LostRace(b"\x77" * 32, "gone", None, (), len(signed) % 2 == 0)

    monkeypatch.setattr("manaflow.cli.wallet._sent", lose)
    ran = manaflow("wallet", "send", NOBODY, "1wei", "--index", 2, "--again", 2, "--yes")
    assert ran.code == 1
    assert ran.err.count("is not in a block: gone") == 2
    assert len({one.transaction.nonce for one in signed}) == 1
    fees = [one.transaction.max_fee for one in signed]
    assert fees[0] == fees[1] < fees[2]
    named = ("--max-fee", "3gwei", "--again", 2, "--yes")
    ran = manaflow("wallet", "send", NOBODY, "1wei", "--index", 2, *named)
    assert (ran.code, len(signed)) == (3, 4)
    assert "replacing it takes a max fee of 3.3 gwei" in ran.err
    assert "may still be filled until it expires" in ran.err


def test_two_in_a_row_are_declared_on_each_other(node: NodeProcess, manaflow: Manaflow) -> None:
    """Two in a row, while nothing seals: the second is declared on what the first has left in the open block."""
    first = sent(manaflow("wallet", "send", NOBODY, "1wei", "--index", 2, *SEND))
    second = sent(manaflow("wallet", "send", NOBODY, "1wei", "--index", 2, *SEND))
    node.seal()
    for txid in (first, second):
        assert node.call("eth_getTransactionReceipt", txid)["status"] == "0x1"


def test_a_call_that_fails_is_not_signed(node: NodeProcess, manaflow: Manaflow, counter: str) -> None:
    assert "reverts" in refused(manaflow("wallet", "call", counter, "--data", "0x01", "--yes"), 3)
    told = refused(manaflow("wallet", "call", counter, "inc(uint256)", "5", "--yes"), 3)
    assert "reverts" in told
    assert "1 arguments" in refused(manaflow("wallet", "call", counter, "inc()", "5", "--yes"), 2)
    ran = manaflow("wallet", "call", counter, "--data", "0x01", "--may-fail", "--intent", "open", *SEND)
    txid = sent(ran)
    node.seal()
    after = manaflow("wallet", "explain", txid)
    assert "It may stand in a block although its call fails" in after.out
    assert node.call("eth_getTransactionReceipt", txid)["status"] == "0x0"


def test_balance_with_its_proof(node: NodeProcess, manaflow: Manaflow) -> None:
    head = node.call("mana_head")["hash"]
    shown = manaflow("wallet", "balance", ONE, "--head", head)
    assert shown.code == 0, shown
    assert "proved: the balance of" in shown.out
    assert "no path can show that a cell still lives" in shown.out
    assert "by the node's word" not in shown.out
    asked = manaflow("wallet", "balance", f"b:{TWO}", "--prove", "--json")
    (cell,) = asked.json["cells"]
    assert cell["shown"].endswith(" ether")
    assert any("by the node's word" in note for note in cell["notes"])
    assert "trusted head" in refused(manaflow("wallet", "balance", ONE, "--head", "0x" + "01" * 32), 1)


def test_a_new_key_is_encrypted_and_spends(
    node: NodeProcess, manaflow: Manaflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = manaflow("wallet", "new", "--out", "key.json", "--mnemonic-out", "words.txt", "--json")
    assert made.code == 0, made
    words = Path("words.txt").read_text().strip()
    assert len(words.split()) == 12
    assert words not in made.out + made.err
    assert {stat.S_IMODE(os.stat(name).st_mode) for name in ("key.json", "words.txt")} == {0o600}
    sent(manaflow("wallet", "send", made.json["address"], "1ether", "--index", 3, *SEND))
    node.seal()
    txid = sent(manaflow("wallet", "send", NOBODY, "0.5ether", "--key", "key.json", "--intent", "exact", *SEND))
    node.seal()
    assert node.call("eth_getTransactionReceipt", txid)["from"] == made.json["address"]
    monkeypatch.setenv("MANAFLOW_MNEMONIC", words)
    restored = manaflow("wallet", "new", "--restore", "--out", "again.json", "--json")
    assert restored.json["address"] == made.json["address"]
    assert "never overwritten" in refused(manaflow("wallet", "new", "--out", "key.json"), 2)
    monkeypatch.setenv("MANAFLOW_PASSWORD", "another")
    told = refused(manaflow("wallet", "send", NOBODY, "1wei", "--key", "key.json", "--yes"), 3)
    assert "password is wrong" in told


def test_no_secret_is_an_argument(manaflow: Manaflow) -> None:
    for command in ("new", "send", "call", "deploy", "sign"):
        shown = manaflow("wallet", command, "--help").out
        for name in ("--mnemonic ", "--private-key", "--password "):
            assert name not in shown


USAGE: dict[str, tuple[Any, ...]] = {
    "no key": ("send", NOBODY, "1wei", "--yes"),
    "checksum": ("send", TWO.replace("C8", "c8"), "1wei", "--yes"),
    "no amount": ("send", NOBODY, "--yes"),
    "cell": ("call", NOBODY, "--guard", "x:0x00", "--yes"),
    "slot": ("call", NOBODY, "--guard", f"s:{NOBODY}:many", "--yes"),
    "slot of a balance": ("call", NOBODY, "--pin", f"b:{NOBODY}:1", "--yes"),
    "any cells": ("call", NOBODY, "--intent", "open", "--any-cells", "--yes"),
    "both": ("call", NOBODY, "f()", "--data", "0x00", "--yes"),
    "nobody to ask": ("send", NOBODY, "1wei", "--json"),
    "replace and send": ("send", NOBODY, "1wei", "--cancel", "0x" + "01" * 32, "--yes"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage(node: NodeProcess, manaflow: Manaflow, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if case == "no key":
        monkeypatch.delenv("MANAFLOW_MNEMONIC")
    refused(manaflow("wallet", *USAGE[case]), 2)


def test_asked_and_not_answered_yes_is_not_signed(node: NodeProcess) -> None:
    command = [sys.executable, "-m", "manaflow.cli", "wallet", "send", NOBODY, "1wei"]
    done = subprocess.run(command, input="n\n", capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
    assert done.returncode != 0
    assert "Fixed by your signature" in done.stdout
    assert "Sign this?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_node_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = process("wallet", "balance", ONE, MANAFLOW_NODE="http://127.0.0.1:9")
    assert "no answer" in refused(ran, 3)
