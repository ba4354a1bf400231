"""Wallets sign the vectors of declared transactions as we do, byte for byte: ethers' typed data (S2)."""

from __future__ import annotations

import json
import shutil
import subprocess

from manaflow.moves.declared import ACCESS_TYPE, MOVE_TYPE, TRANSACTION_TYPE
from tests.conftest import ROOT

CLIENTS = ROOT / "tests" / "clients"
VECTORS = ROOT / "tests" / "vectors" / "declared"
SECONDS = 120


def run_node(script: str, *arguments: str) -> list[str]:
    """The lines that a script of this folder prints. A missing node or package fails the test, it does not skip it."""
    node = shutil.which("node")
    assert node is not None, "node 20 or newer must be on the path: https://nodejs.org"
    assert (CLIENTS / "node_modules" / "ethers").is_dir(), "the clients are not installed: run `make clients`"
    done = subprocess.run(
        [node, str(CLIENTS / script), *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_ethers_signs_the_same() -> None:
    expected = json.loads((VECTORS / "valid.json").read_text())
    signed = [json.loads(line) for line in run_node("declared.mjs", str(VECTORS))]
    assert len(signed) == len(expected) > 0
    for one, theirs in zip(expected, signed, strict=True):
        signature = one["signature"]
        v = 27 + signature["y_parity"]
        assert theirs == {
            "name": one["name"],
            "domain": one["domain_separator"],
            "hash": one["signing_hash"],
            "signature": signature["r"] + signature["s"][2:] + f"{v:02x}",
            "sender": one["sender"],
            "encodedType": (TRANSACTION_TYPE + ACCESS_TYPE + MOVE_TYPE).decode(),
        }
