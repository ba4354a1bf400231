"""`manaflow node` as a process: what it shows, how it ends, what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from manaflow.node.development import ETHER, development_accounts
from tests.cli.conftest import Ran, process, refused
from tests.conftest import ROOT
from tests.node.processes import NodeProcess, hexed, rich, transfer, txid

FIRST = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
FIRST_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""As every user of anvil and hardhat knows them."""


def test_the_accounts_are_those_that_everybody_knows() -> None:
    account = rich()[0]
    assert (account.checksum_address, hexed(account.key)) == (FIRST, FIRST_KEY)
    other = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
    (account,) = development_accounts(other, 1)
    assert account.checksum_address == "0x9858EfFD232B4033E47d90003D41EC34EcaEda94", "a published vector of BIP-44"


def test_people_are_greeted_as_by_anvil() -> None:
    command = [sys.executable, "-m", "manaflow.cli", "node", "--dev", "--port", "0", "--accounts", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = []
        for line in child.stdout:
            lines.append(line.rstrip())
            if line.startswith("Listening on "):
                break
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    assert f"(0) {FIRST} (10000 ETH)" in lines
    assert f"(0) {FIRST_KEY}" in lines
    assert lines[-1].startswith("Listening on 127.0.0.1:")


def test_a_chain_in_a_directory_goes_on(tmp_path: Path) -> None:
    state, sent = tmp_path / "state", transfer(0, 0, b"\x94" * 20, 7)
    options = ("node", "--dev", "--state", state, "--balance", "5", "--chain-id", "31337")
    with NodeProcess(*options) as node:
        assert node.greeting["accounts"][0] == {"address": FIRST, "key": FIRST_KEY}
        assert node.call("eth_getBalance", FIRST, "latest") == hex(5 * ETHER)
        node.call("eth_sendRawTransaction", hexed(sent))
        head = node.call("mana_head")
        busy = process("node", "--dev", "--state", state, "--port", "0", "--json")
        assert "in use" in refused(busy, 3)
        taken = process("node", "--dev", "--port", node.port, "--json")
        assert "cannot listen" in refused(taken, 3)
    with NodeProcess(*options) as again:
        assert again.call("mana_head") == head
        assert again.call("eth_getTransactionReceipt", txid(sent))["status"] == "0x1"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("node",), "--state"),
        (("node", "--dev", "--no-mining", "--block-time", "1"), "exclude"),
        (("node", "--dev", "--accounts", "-1"), "--accounts"),
        (("coordinator", "--state", "x", "--validator", "localhost:8546"), "URL"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], says: str, manaflow: Callable[..., Ran]) -> None:
    assert says in refused(manaflow(*arguments), 2)


def test_what_cannot_be_opened(tmp_path: Path, manaflow: Callable[..., Ran]) -> None:
    assert "mnemonic" in refused(manaflow("node", "--dev", "--mnemonic", "no such words", "--port", "0"), 3)
    assert "--genesis" in refused(manaflow("validator", "--state", tmp_path / "none", "--port", "0"), 3)
    lonely = manaflow("coordinator", "--state", tmp_path / "none", "--validator", "http://127.0.0.1:9", "--port", "0")
    assert "127.0.0.1:9" in refused(lonely, 3)
    mainnet = manaflow("node", "--dev", "--chain-id", "1", "--port", "0", "--json")
    assert "chain id 1" in refused(mainnet, 3)
    assert json.loads(mainnet.out)["ok"] is False
