"""Running this folder's scripts with node."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

from tests.conftest import ROOT
from tests.node.live import ACCOUNTS
from tests.node.probe import declared
from tests.node.processes import NodeProcess

CLIENTS = ROOT / "tests" / "clients"
SECONDS = 120


def run_node(package: str, script: str, *arguments: str) -> list[str]:
    """The lines that a script of this folder prints. A missing node or package fails the test, it does not skip it."""
    node = shutil.which("node")
    assert node is not None, "node 20 or newer must be on the path: https://nodejs.org"
    assert (CLIENTS / "node_modules" / package).is_dir(), "the clients are not installed: run `make clients`"
    done = subprocess.run(
        [node, str(CLIENTS / script), *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def run_against(node: NodeProcess, package: str, script: str) -> dict[str, dict[str, Any]]:
    """What a script says of each of its steps, taken with two accounts of a running node that has no blocks yet.

    Block 1 holds a declared transaction then, which clients know nothing of.
    """
    node.call("eth_sendRawTransaction", "0x" + declared(node, 4).hex())
    keys = ["0x" + account.key.hex() for account in ACCOUNTS[1:3]]
    contracts = CLIENTS / "contracts" / "contracts.json"
    lines = map(json.loads, run_node(package, script, node.url, node.ws_url, str(contracts), *keys))
    return {line.pop("step"): line for line in lines}
