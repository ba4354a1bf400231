"""Wallets sign the vectors of declared transactions as we do, byte for byte: ethers' typed data (S2)."""

from __future__ import annotations

import json

from manaflow.moves.declared import ACCESS_TYPE, MOVE_TYPE, TRANSACTION_TYPE
from tests.clients.running import run_node
from tests.conftest import ROOT

VECTORS = ROOT / "tests" / "vectors" / "declared"


def test_ethers_signs_the_same() -> None:
    expected = json.loads((VECTORS / "valid.json").read_text())
    signed = [json.loads(line) for line in run_node("ethers", "declared.mjs", str(VECTORS))]
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
