from __future__ import annotations

from typing import Any

import pytest

from manaflow.errors import Unsupported
from manaflow.evm.environment import SYSTEM_CONTRACTS, environment_of, system_call
from manaflow.moves.header import HEADER_VERSION, Header
from manaflow.moves.leaf import SystemKind
from manaflow.rules.config import CANCUN_BLOBS, NETWORK_FORKS, PRAGUE_BLOBS, ChainConfig, Fork, Profile


def header(**changes: Any) -> Header:
    fields: dict[str, Any] = {
        "version": HEADER_VERSION, "config": bytes(32), "number": 12, "parent_hash": b"\1" * 32,
        "seen_parent_hash": b"\2" * 32, "coinbase": b"\3" * 20, "timestamp": 1746612311, "gas_limit": 30_000_000,
        "gas_used": 0, "base_fee": 9, "prevrandao": b"\4" * 32, "blob_gas_used": 0, "excess_blob_gas": 10_000_000,
        "parent_beacon_root": b"\5" * 32, "extra_data": b"", "transactions_root": bytes(32), "codes_root": bytes(32),
        "withdrawals_root": bytes(32), "history_root": bytes(32), "first_cell": 1, "cells": 0, "transactions": 0,
        "codes": 0, "fees": 0,
    }  # fmt: skip
    return Header(**(fields | changes))


def config(profile: Profile = Profile.ETHEREUM) -> ChainConfig:
    return ChainConfig(1, profile, NETWORK_FORKS[1], (), (bytes(20),), 0, bytes(32), 0, 1)


def test_environment_takes_the_fork_of_the_timestamp() -> None:
    seen = environment_of(header(), config())
    assert (seen.fork, seen.blobs, seen.blob_base_fee) == (Fork.PRAGUE, PRAGUE_BLOBS, 7)
    seen = environment_of(header(timestamp=1746612310), config())
    assert (seen.fork, seen.blobs, seen.blob_base_fee) == (Fork.CANCUN, CANCUN_BLOBS, 19)
    seen = environment_of(header(timestamp=1710338134), config())
    assert (seen.fork, seen.blobs, seen.blob_base_fee) == (Fork.SHANGHAI, None, 0)


def test_environment_takes_the_headers_fields() -> None:
    seen = environment_of(header(), config())
    assert (seen.chain_id, seen.number, seen.timestamp, seen.gas_limit) == (1, 12, 1746612311, 30_000_000)
    assert (seen.base_fee, seen.excess_blob_gas) == (9, 10_000_000)
    assert (seen.coinbase, seen.prevrandao) == (b"\3" * 20, b"\4" * 32)


def test_only_profile_ethereum_credits_the_coinbase() -> None:
    assert environment_of(header(), config()).credits_coinbase
    assert not environment_of(header(), config(Profile.MANAFLOW)).credits_coinbase


def test_environment_before_the_first_fork() -> None:
    with pytest.raises(Unsupported, match="Paris"):
        environment_of(header(timestamp=1663224161), config())


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (SystemKind.BEACON_ROOTS, b"\5" * 32),
        (SystemKind.HISTORY, b"\2" * 32),
        (SystemKind.WITHDRAWAL_REQUESTS, b""),
        (SystemKind.CONSOLIDATION_REQUESTS, b""),
    ],
)
def test_system_calls(kind: SystemKind, data: bytes) -> None:
    call = system_call(kind, header())
    assert (call.kind, call.to, call.data) == (kind, SYSTEM_CONTRACTS[kind], data)


@pytest.mark.parametrize("kind", [SystemKind.GENESIS, SystemKind.WITHDRAWALS, SystemKind.FEES])
def test_what_is_no_system_call(kind: SystemKind) -> None:
    with pytest.raises(ValueError, match="not a system call"):
        system_call(kind, header())
