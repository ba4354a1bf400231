"""viem against a running node: viem.mjs acts, and here stands what must come of it."""

from __future__ import annotations

from pathlib import Path

from tests.clients.running import run_against
from tests.node.live import ACCOUNTS
from tests.node.processes import NodeProcess

SENDER, OTHER = (account.checksum_address for account in ACCOUNTS[1:3])
ZERO = "0x" + "00" * 32


def test_viem(tmp_path: Path) -> None:
    with NodeProcess("node", "--dev", log=tmp_path / "log") as node:
        said = run_against(node, "viem", "viem.mjs")
        code = node.call("eth_getCode", OTHER)
    assert said["network"] == {"chainId": 31337, "fees": True}
    signer = "0x" + ACCOUNTS[4].address.hex()
    known = {"type": "0x4d", "value": "1", "from": signer, "moves": 1, "same": True, "receipt": "success"}
    assert said["declared"] == known
    assert said["transfer"] == {
        "status": "success", "gasUsed": "21000", "type": "eip1559", "from": True, "balance": str(5 * 10**17 + 1),
        "sameBlock": True,
    }  # fmt: skip
    assert said["deploy"] == {"value": "7", "sum": "7", "code": True}
    event = {"name": "Stored", "by": True, "value": "9", "note": "nine", "index": 0, "queried": 1}
    assert said["event"] == event
    decoded = {
        "reason": ("Error", "not today", ["not today"]),
        "custom error": ("Refused", None, [SENDER, "5"]),
        "panic": ("Panic", "Arithmetic operation resulted in underflow or overflow.", ["17"]),
        "estimate of a revert": ("Error", "not today", ["not today"]),
    }
    assert {step: (said[step]["error"], said[step]["reason"], said[step]["args"]) for step in decoded} == decoded
    assert said["reverted"] == {"status": "reverted"}
    assert "InsufficientFundsError" in said["funds"]["names"]
    assert "NonceTooLowError" in said["nonce"]["names"]
    assert said["override"] == {"value": "77"}
    assert said["types"] == {"types": [["legacy", "success"], ["eip2930", "success"], ["eip1559", "success"]]}
    delegation = said["delegation"]
    assert (delegation["type"], delegation["status"]) == ("eip7702", "success")
    assert delegation["code"] == code == "0xef0100" + delegation["address"][2:].lower()
    assert said["gap and replacement"] == {
        "waits": True, "cheap": "replacement transaction underpriced", "status": "success", "receipt": True,
        "reason": "replaced", "by": True, "nonces": 2,
    }  # fmt: skip
    assert said["filter"] == {"changes": [["before", "after"], []], "removed": True}
    assert said["multicall"] == {"isHead": True, "sums": ["2", "4", "6"]}
    assert said["typed data"] == {"signer": True}
    assert said["fees"] == {"rewards": 3, "prices": 4}
    assert said["block"] == {"transactions": 1, "stateRoot": ZERO, "finalized": "0"}
    assert said["mining"] == {"mined": "2"}
    assert said["subscriptions"] == {"blocks": 1, "logs": 2, "pending": 1}
    assert said["unsubscribed"] == {"silent": True, "left": 0}
