"""Small valid evidence for the rules' tests: each test breaks one field of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from manaflow.errors import Rule, Verdict
from manaflow.moves import trees
from manaflow.moves.header import HEADER_VERSION, Header
from manaflow.moves.leaf import Leaf, SystemKind
from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32, Mark, Mask, Move
from manaflow.moves.transactions import GAS_PER_BLOB
from manaflow.rules.config import CANCUN_BLOBS, PRAGUE_BLOBS, ChainConfig, Fork, ForkEntry, Profile
from manaflow.rules.system import EMPTY_LOGS_HASH
from tests.chain import PRODUCER, address_of

A, B, C = b"\xaa" * 20, b"\xbb" * 20, b"\xcc" * 20


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def consume(mark: Mark | int, addr: bytes = A, slot: int = 0, prev: int = 0, after: int = 1, number: int = 0) -> Move:
    return Move(UNSIGNED, int(mark), number, addr, word(slot), word(prev), word(after))


def reference(mark: Mark | int, addr: bytes = A, slot: int = 0, prev: int = 0, number: int = 0) -> Move:
    return Move(UNSIGNED | Mask.REFERENCE, int(mark), number, addr, word(slot), word(prev), word(prev))


def refused(rule: Rule, call: Callable[..., Any], *arguments: Any, what: str = "", **named: Any) -> Verdict:
    """Call, and expect exactly this rule with `what` in its message."""
    with pytest.raises(Verdict) as caught:
        call(*arguments, **named)
    assert caught.value.rule == rule
    assert what in str(caught.value)
    return caught.value


CONFIG = ChainConfig(
    chain_id=7777,
    profile=Profile.ETHEREUM,
    forks=(
        ForkEntry(Fork.PARIS, 1000, None),
        ForkEntry(Fork.SHANGHAI, 2000, None),
        ForkEntry(Fork.CANCUN, 3000, CANCUN_BLOBS),
        ForkEntry(Fork.PRAGUE, 4000, PRAGUE_BLOBS),
    ),
    system_calls=(
        SystemKind.BEACON_ROOTS,
        SystemKind.HISTORY,
        SystemKind.WITHDRAWAL_REQUESTS,
        SystemKind.CONSOLIDATION_REQUESTS,
    ),
    producers=(address_of(PRODUCER),),
    genesis_number=100,
    ancestors_root=trees.EMPTY_ROOT,
    ancestors=0,
    challenge_blocks=4,
)
MANAFLOW = replace(CONFIG, profile=Profile.MANAFLOW)


def header_pair(config: ChainConfig = CONFIG, timestamp: int = 3012, **fields: Any) -> tuple[Header, Header]:
    """A parent and a valid child at `timestamp`, with `fields` of the child overwritten."""
    blobs = config.blobs_at(timestamp) if config.profile == Profile.ETHEREUM else None
    parent = Header(
        version=HEADER_VERSION, config=config.hash, number=104, parent_hash=b"\1" * 32, seen_parent_hash=b"\2" * 32,
        coinbase=C, timestamp=timestamp - 12, gas_limit=30_000_000, gas_used=15_000_000, base_fee=10**9,
        prevrandao=ZERO32, blob_gas_used=blobs.target * GAS_PER_BLOB if blobs else 0, excess_blob_gas=0,
        parent_beacon_root=ZERO32, extra_data=b"", transactions_root=ZERO32, codes_root=ZERO32,
        withdrawals_root=trees.EMPTY_ROOT, history_root=trees.root([word(i) for i in range(4)]), first_cell=50, cells=7,
        transactions=3, codes=0, fees=0,
    )  # fmt: skip
    child = replace(
        parent, number=105, parent_hash=parent.hash, timestamp=timestamp, first_cell=57, blob_gas_used=0,
        history_root=trees.root([*(word(i) for i in range(4)), parent.hash]),
    )  # fmt: skip
    if config.profile == Profile.MANAFLOW:
        child = replace(child, seen_parent_hash=parent.hash)
    return parent, replace(child, **fields)


def leaf(**fields: Any) -> Leaf:
    """A system-like leaf of 2 consumes and 1 reference, with `fields` overwritten."""
    plain = Leaf(ZERO32, ZERO32, 2, 1, 1, 0, EMPTY_LOGS_HASH, 57, 0, 0, 0)
    return replace(plain, **fields)


__all__ = [
    "CONFIG",
    "MANAFLOW",
    "ZERO20",
    "ZERO32",
    "A",
    "B",
    "C",
    "consume",
    "header_pair",
    "leaf",
    "reference",
    "refused",
    "word",
]
