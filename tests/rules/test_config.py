"""The chain config: one encoding, no contradictions, forks by time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import rlp

from manaflow.errors import Failure, Unsupported
from manaflow.moves.leaf import SystemKind
from manaflow.moves.trees import EMPTY_ROOT
from manaflow.rules.config import (
    CALL_ORDER,
    CANCUN_BLOBS,
    MAX_CONFIG_BYTES,
    NETWORK_FORKS,
    BlobParameters,
    ChainConfig,
    Fork,
    ForkEntry,
    Profile,
)

CONFIG = ChainConfig(
    chain_id=1,
    profile=Profile.ETHEREUM,
    forks=NETWORK_FORKS[1],
    system_calls=CALL_ORDER,
    producers=(b"\1" * 20, b"\2" * 20),
    genesis_number=19_426_585,
    ancestors_root=EMPTY_ROOT,
    ancestors=0,
    challenge_blocks=64,
)
PARIS, CANCUN = ForkEntry(Fork.PARIS, 0, None), ForkEntry(Fork.CANCUN, 5, CANCUN_BLOBS)


def test_round_trip() -> None:
    assert ChainConfig.decode(CONFIG.encode()) == CONFIG
    assert ChainConfig.decode(CONFIG.encode()).hash == CONFIG.hash


def test_every_flipped_bit_is_refused_or_another_config() -> None:
    data = CONFIG.encode()
    for i in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[i // 8] ^= 1 << i % 8
        try:
            read = ChainConfig.decode(bytes(flipped))
        except Failure:
            continue
        assert read != CONFIG
        assert read.hash != CONFIG.hash


@pytest.mark.parametrize(
    "changes",
    [
        {"forks": ()},
        {"forks": (CANCUN, PARIS)},
        {"forks": (PARIS, replace(CANCUN, timestamp=0))},
        {"forks": (replace(CANCUN, blobs=None),)},
        {"forks": (replace(PARIS, blobs=CANCUN_BLOBS),)},
        {"forks": (replace(CANCUN, blobs=BlobParameters(3, 6, 0)),)},
        {"forks": (replace(CANCUN, blobs=BlobParameters(7, 6, 1)),)},
        {"forks": (replace(CANCUN, blobs=BlobParameters(0, 6, 1)),)},
        {"forks": (replace(CANCUN, blobs=BlobParameters(1, 2**16, 1)),)},
        {"producers": ()},
        {"producers": (bytes(19),)},
        {"system_calls": (SystemKind.HISTORY, SystemKind.BEACON_ROOTS)},
        {"system_calls": (SystemKind.WITHDRAWALS,)},
        {"ancestors_root": bytes(31)},
        {"ancestors": 257},
        {"chain_id": 2**63},
        {"genesis_number": 2**63},
        {"challenge_blocks": 2**63},
    ],
)
def test_invalid_configs_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Failure):
        ChainConfig.decode(replace(CONFIG, **changes).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc0", CONFIG.encode() + b"\0", CONFIG.encode()[:-1], rlp.encode([2, *rlp.decode(CONFIG.encode())[1:]]),
     b"\xb9" + bytes(MAX_CONFIG_BYTES), rlp.encode([[]] * 10)],
)  # fmt: skip
def test_invalid_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Failure, match="chain config"):
        ChainConfig.decode(data)


def test_forks_by_time() -> None:
    cancun = 1_710_338_135
    assert CONFIG.entry_at(cancun).fork == Fork.CANCUN
    assert CONFIG.entry_at(cancun - 1).fork == Fork.SHANGHAI
    assert CONFIG.blobs_at(cancun) == CANCUN_BLOBS
    assert CONFIG.blobs_at(cancun - 1) is None
    with pytest.raises(Unsupported, match="the rules start at Paris"):
        CONFIG.entry_at(CONFIG.forks[0].timestamp - 1)
