"""Any parameters to any method: an answer, never a fault of the node, and the chain goes on."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from tests.node.live import Live
from tests.node.probe import NOBODY, SENDERS, Probe

SEED = 20261121
RANDOM_CALLS = 20_000 if os.environ.get("MANAFLOW_NIGHTLY") else 1_000
BATCH = 50
WORD, NUMBER, LAST = "0x" + "11" * 32, "0x" + "f" * 64, "0xffffffffffffffff"
CALLS: list[Any] = [
    {"to": NOBODY},
    {"from": SENDERS[0]},
    {"from": SENDERS[0], "to": NOBODY, "value": NUMBER},
    {"gas": LAST},
    {"gasPrice": NUMBER},
    {"maxFeePerGas": "0x" + "f" * 32, "gas": LAST},
    {"from": SENDERS[0], "gas": "0x0", "nonce": LAST},
    {"from": SENDERS[0], "to": NOBODY, "accessList": [{"address": NOBODY}], "gasPrice": "0x0"},
    {"from": SENDERS[0], "to": NOBODY, "type": "0x3", "blobVersionedHashes": [WORD]},
    {
        "from": SENDERS[0], "to": NOBODY, "authorizationList": [
            {"chainId": NUMBER, "address": NOBODY, "nonce": LAST, "yParity": "0xff", "r": NUMBER, "s": "0x0"},
        ],
    },
]  # fmt: skip
OVERRIDES: list[Any] = [
    {NOBODY: {"balance": NUMBER, "nonce": LAST, "code": "0x5b5f56"}},
    {"number": LAST, "time": LAST, "gasLimit": "0x0", "baseFeePerGas": LAST, "blobBaseFee": LAST},
]
QUERIES: list[Any] = [{"blockHash": WORD}, {"fromBlock": "0x0", "toBlock": LAST}, {"topics": [None]}]
TYPED: list[Any] = [
    {"types": {}},
    {"types": {"A": [{"name": "a", "type": "A"}], "EIP712Domain": []}, "primaryType": "A", "domain": {},
     "message": {"a": {}}},
    {"types": {"EIP712Domain": [], "A": [{"name": "a", "type": "uint256[999999999]"}]}, "primaryType": "A",
     "domain": {}, "message": {"a": 1}},
]  # fmt: skip
PLAIN: list[Any] = [
    "0x", "0x0", "0x1", "latest", "pending", "earliest", "finalized", "safe", None, True, False, 0, 1, -1, 1.5, 2**70,
    "", "x", [], {}, [None], [50], [0, 100.0], [1e308], NOBODY, SENDERS[0], WORD, "0x" + "ff" * 40, LAST,
    "0x7fffffffffffffff", {"blocks": "0x1"}, {"timestamp": LAST},
]  # fmt: skip
VALUES = [*PLAIN, *CALLS, *OVERRIDES, *QUERIES, *TYPED]


Calls = list[tuple[str, list[Any]]]


def junk(methods: list[str]) -> Calls:
    """Each method with each value for its only parameter; then several at random."""
    rng = random.Random(SEED)
    drawn = [
        (rng.choice(methods), [rng.choice(VALUES) for _ in range(rng.choice((2, 2, 3, 4)))])
        for _ in range(RANDOM_CALLS)
    ]
    return [(method, [value]) for method in methods for value in VALUES] + drawn


def test_junk(tmp_path: Path) -> None:
    with Live(tmp_path) as node:
        Probe.deploy(node)
        calls = junk(sorted(node.methods))
        for start in range(0, len(calls), BATCH):
            batch = calls[start : start + BATCH]
            for call, answer in zip(batch, node.batch(batch), strict=True):
                assert answer.get("error", {}).get("code") not in (-32603, -32002), (call, answer)
        assert node.on_chain(lambda chain: chain.broken) is None
        assert int(node.call("eth_blockNumber"), 16) > 1
