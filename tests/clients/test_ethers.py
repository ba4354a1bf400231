"""ethers against a running node: ethers.mjs acts, and here stands what must come of it."""

from __future__ import annotations

from pathlib import Path

from tests.clients.running import run_against
from tests.node.live import ACCOUNTS
from tests.node.processes import NodeProcess

SENDER, OTHER = (account.checksum_address for account in ACCOUNTS[1:3])
ZERO = "0x" + "00" * 32


def test_ethers(tmp_path: Path) -> None:
    with NodeProcess("node", "--dev", log=tmp_path / "log") as node:
        said = run_against(node, "ethers", "ethers.mjs")
        code = node.call("eth_getCode", OTHER)
    assert said["network"] == {"chainId": "31337", "type": "eip1559"}
    signer = ACCOUNTS[4].checksum_address
    assert said["declared"] == {"type": 0x4D, "value": "1", "from": signer, "same": True, "receipt": 0x4D}
    assert said["transfer"] == {
        "status": 1, "gasUsed": "21000", "type": 2, "from": SENDER, "balance": str(5 * 10**17 + 1), "sameBlock": True,
    }  # fmt: skip
    assert said["deploy"] == {"value": "7", "sum": "7", "code": True}
    event = {"name": "Stored", "by": True, "value": "9", "note": "nine", "index": 0, "queried": 1}
    assert said["event"] == event
    failures = {
        "reason": ("CALL_EXCEPTION", "not today"),
        "custom error": ("CALL_EXCEPTION", "Refused(address,uint256)"),
        "panic": ("CALL_EXCEPTION", "Panic due to OVERFLOW(17)"),
        "reverted": ("CALL_EXCEPTION", None),
        "estimate of a revert": ("CALL_EXCEPTION", "not today"),
        "funds": ("INSUFFICIENT_FUNDS", None),
        "nonce": ("NONCE_EXPIRED", None),
    }
    assert {step: (said[step]["code"], said[step]["reason"]) for step in failures} == failures
    assert said["custom error"]["revert"]["args"] == [SENDER, "5"]
    assert said["types"] == {"types": [[0, 1, None], [1, 1, 1], [2, 1, 0]]}
    delegation = said["delegation"]
    assert (delegation["type"], delegation["status"]) == (4, 1)
    assert delegation["code"] == code == "0xef0100" + delegation["address"][2:].lower()
    assert said["gap and replacement"] == {
        "waits": True, "cheap": "REPLACEMENT_UNDERPRICED", "status": 1, "replaced": "TRANSACTION_REPLACED", "by": True,
        "nonces": 2, "gone": None,
    }  # fmt: skip
    assert said["polled"] == {"logs": 2}
    assert said["multicall"] == {"isHead": True, "sums": ["2", "4", "6"]}
    assert said["typed data"] == {"signer": True}
    assert said["block"] == {"transactions": [True], "fields": [ZERO, ZERO], "finalized": 0, "receipts": 1}
    assert said["subscriptions"] == {"blocks": 1, "logs": 2, "pending": 1}
    assert said["unsubscribed"] == {"silent": True, "left": 0}
