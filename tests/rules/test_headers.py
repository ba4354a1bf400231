from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from manaflow.errors import Rule, Unsupported
from manaflow.moves.signatures import CURVE_ORDER
from manaflow.moves.transactions import GAS_PER_BLOB
from manaflow.moves.trees import Frontier, leaf_hash
from manaflow.rules.headers import check_b2, check_b6, check_b7
from tests.chain import PRODUCER, key_of
from tests.rules.build import CONFIG, MANAFLOW, header_pair, refused, word


@pytest.mark.parametrize("timestamp", [1000, 1012, 2000, 2012, 3012, 4012])
def test_b2(timestamp: int) -> None:
    check_b2(*header_pair(CONFIG, timestamp), CONFIG)
    check_b2(*header_pair(MANAFLOW, timestamp), MANAFLOW)


STEP = 30_000_000 // 1024


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp": 3001},
        {"gas_limit": 30_000_000 + STEP - 1},
        {"gas_limit": 30_000_000 - STEP + 1},
        {"gas_used": 30_000_000},
        {"blob_gas_used": 6 * GAS_PER_BLOB},
        {"extra_data": bytes(32)},
        {"parent_beacon_root": word(1)},
        {"withdrawals_root": word(1)},
        {"seen_parent_hash": word(1)},
    ],
)
def test_b2_at_the_bounds(fields: dict[str, Any]) -> None:
    parent, child = header_pair()
    check_b2(parent, replace(child, **fields), CONFIG)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"config": word(1)}, "config"),
        ({"number": 104}, "number"),
        ({"number": 106}, "number"),
        ({"parent_hash": word(1)}, "parent hash"),
        ({"timestamp": 3000}, "timestamp"),
        ({"gas_limit": 30_000_000 + STEP}, "gas limit"),
        ({"gas_limit": 30_000_000 - STEP}, "gas limit"),
        ({"gas_used": 30_000_001}, "gas used"),
        ({"base_fee": 10**9 + 1}, "base fee"),
        ({"first_cell": 56}, "first cell"),
        ({"first_cell": 58}, "first cell"),
        ({"excess_blob_gas": 1}, "excess blob gas"),
        ({"blob_gas_used": 7 * GAS_PER_BLOB}, "blob gas used"),
        ({"blob_gas_used": GAS_PER_BLOB + 1}, "whole blobs"),
        ({"extra_data": bytes(33)}, "extra data"),
        ({"fees": 1}, "fees"),
    ],
)
def test_invalid_b2(fields: dict[str, Any], what: str) -> None:
    parent, child = header_pair()
    verdict = refused(Rule.B2, check_b2, parent, replace(child, **fields), CONFIG, what=what)
    assert verdict.expected is not None
    assert verdict.actual is not None


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"blob_gas_used": GAS_PER_BLOB}, "blob gas used"),
        ({"excess_blob_gas": 1}, "excess blob gas"),
        ({"parent_beacon_root": word(1)}, "parent beacon root"),
        ({"withdrawals_root": word(1)}, "withdrawals root"),
    ],
)
def test_invalid_b2_before_its_fork_and_in_manaflow(fields: dict[str, Any], what: str) -> None:
    refused(Rule.B2, check_b2, *header_pair(CONFIG, 1500, **fields), CONFIG, what=what)
    refused(Rule.B2, check_b2, *header_pair(MANAFLOW, 3012, **fields), MANAFLOW, what=what)


def test_b2_withdrawals_from_shanghai_on() -> None:
    parent, child = header_pair(CONFIG, 2000)
    check_b2(parent, replace(child, withdrawals_root=word(1)), CONFIG)


def test_b2_gas_limit_has_a_floor() -> None:
    parent, child = header_pair()
    parent = replace(parent, gas_limit=5002, gas_used=2501)
    child = replace(child, parent_hash=parent.hash, gas_used=0)
    check_b2(parent, replace(child, gas_limit=5000), CONFIG)
    verdict = refused(Rule.B2, check_b2, parent, replace(child, gas_limit=4999), CONFIG, what="gas limit")
    assert verdict.expected == "5000 to 5005"


def test_invalid_b2_seen_parent_in_manaflow() -> None:
    parent, child = header_pair(MANAFLOW, seen_parent_hash=word(1))
    refused(Rule.B2, check_b2, parent, child, MANAFLOW, what="seen parent hash")
    check_b2(*header_pair(MANAFLOW, fees=1), MANAFLOW)


def test_b2_before_the_first_fork_is_unsupported() -> None:
    parent, child = header_pair(CONFIG, 1500)
    parent = replace(parent, timestamp=500)
    with pytest.raises(Unsupported):
        check_b2(parent, replace(child, parent_hash=parent.hash, timestamp=999), CONFIG)


def frontier(hashes: int = 4) -> Frontier:
    grown = Frontier()
    for i in range(hashes):
        grown.append(leaf_hash(word(i)))
    return grown


def test_b6() -> None:
    parent, child = header_pair()
    before = frontier()
    check_b6(parent, child, CONFIG, before)
    assert before.count == 4


def test_invalid_b6() -> None:
    parent, child = header_pair()
    verdict = refused(Rule.B6, check_b6, parent, replace(child, history_root=word(1)), CONFIG, frontier())
    assert (verdict.expected, verdict.actual) == (child.history_root, word(1))
    for wrong in (frontier(3), frontier(5)):
        with pytest.raises(ValueError, match="not that of the parent"):
            check_b6(parent, child, CONFIG, wrong)
    other = Frontier()
    for i in range(4):
        other.append(leaf_hash(word(i + 1)))
    with pytest.raises(ValueError, match="not that of the parent"):
        check_b6(parent, child, CONFIG, other)
    with pytest.raises(ValueError, match="not that of the parent"):
        check_b6(replace(parent, number=105), child, CONFIG, frontier())


def test_b7() -> None:
    block_hash = word(77)
    assert check_b7(block_hash, PRODUCER.sign_recoverable(block_hash, hasher=None), CONFIG) == CONFIG.producers[0]


def test_invalid_b7() -> None:
    block_hash = word(77)
    good = PRODUCER.sign_recoverable(block_hash, hasher=None)
    stranger = key_of(5).sign_recoverable(block_hash, hasher=None)
    refused(Rule.B7, check_b7, block_hash, stranger, CONFIG, what="no producer of the config")
    refused(Rule.B7, check_b7, word(78), good, CONFIG)
    for short in (b"", good[:64], good + b"\0"):
        refused(Rule.B7, check_b7, block_hash, short, CONFIG, what="length")
    high = (CURVE_ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big")
    refused(Rule.B7, check_b7, block_hash, good[:32] + high + bytes([good[64] ^ 1]), CONFIG, what="form")
    refused(Rule.B7, check_b7, block_hash, good[:64] + b"\2", CONFIG, what="form")
    refused(Rule.B7, check_b7, block_hash, bytes(64) + b"\0", CONFIG, what="form")
