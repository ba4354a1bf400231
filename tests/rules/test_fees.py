"""The fee formulas against py-evm's, EELS' recorded headers and their bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth._utils.calculations import fake_exponential
from eth.vm.forks.london.headers import calculate_expected_base_fee_per_gas
from hypothesis import given
from hypothesis import strategies as st

from manaflow.moves.transactions import GAS_PER_BLOB
from manaflow.rules.config import CANCUN_BLOBS, NETWORK_FORKS, PRAGUE_BLOBS, ChainConfig, Fork, ForkEntry, Profile
from manaflow.rules.fees import MAX_BLOB_BASE_FEE, blob_base_fee, next_base_fee, next_excess_blob_gas
from tests.evm.test_environment import config, header

PRAGUE = 1746612311


class _Parent:
    """What py-evm's formula asks of a header."""

    def __init__(self, gas_limit: int, gas_used: int, base_fee: int) -> None:
        self.gas_limit, self.gas_used, self.base_fee_per_gas = gas_limit, gas_used, base_fee


@given(st.integers(2, 2**40), st.data(), st.integers(0, 2**70))
def test_next_base_fee_is_eip_1559s(gas_limit: int, data: st.DataObject, base_fee: int) -> None:
    gas_used = data.draw(st.integers(0, gas_limit))
    expected = calculate_expected_base_fee_per_gas(_Parent(gas_limit, gas_used, base_fee))
    assert next_base_fee(header(gas_limit=gas_limit, gas_used=gas_used, base_fee=base_fee)) == expected


def test_next_base_fee_at_the_target_and_beside_it() -> None:
    for gas_used, expected in (
        (15_000_000, 1_000),
        (30_000_000, 1_125),
        (0, 875),
        (15_000_001, 1_001),
        (14_999_999, 1_000),
    ):
        assert next_base_fee(header(gas_limit=30_000_000, gas_used=gas_used, base_fee=1_000)) == expected


@given(st.integers(0, 88), st.integers(0, 10**6), st.sampled_from([3338477, 5007716, 8346193]))
def test_blob_base_fee_is_eip_4844s(whole: int, rest: int, fraction: int) -> None:
    excess = whole * fraction + rest
    assert blob_base_fee(excess, fraction) == fake_exponential(1, excess, fraction)


def test_blob_base_fee_of_a_hostile_excess_is_cut() -> None:
    assert blob_base_fee(2**64 - 1, 3338477) == MAX_BLOB_BASE_FEE
    assert blob_base_fee(89 * 3338477, 3338477) == MAX_BLOB_BASE_FEE
    assert blob_base_fee(88 * 3338477, 3338477) < MAX_BLOB_BASE_FEE


@pytest.mark.parametrize(("timestamp", "target"), [(PRAGUE, PRAGUE_BLOBS.target), (PRAGUE - 1, CANCUN_BLOBS.target)])
def test_excess_follows_the_target_in_force_at_the_child(timestamp: int, target: int) -> None:
    parent = header(excess_blob_gas=GAS_PER_BLOB, blob_gas_used=(target - 1) * GAS_PER_BLOB)
    assert next_excess_blob_gas(parent, config(), timestamp) == 0
    parent = replace(parent, excess_blob_gas=GAS_PER_BLOB + 1)
    assert next_excess_blob_gas(parent, config(), timestamp) == 1
    parent = replace(parent, excess_blob_gas=GAS_PER_BLOB - 1)
    assert next_excess_blob_gas(parent, config(), timestamp) == 0


def test_no_excess_before_cancun() -> None:
    assert next_excess_blob_gas(header(excess_blob_gas=10**9), config(), NETWORK_FORKS[1][2].timestamp - 1) == 0


def test_osaka_keeps_cheap_blobs_dear() -> None:
    forks = (ForkEntry(Fork.OSAKA, 0, PRAGUE_BLOBS),)
    osaka = ChainConfig(1, Profile.ETHEREUM, forks, (), (bytes(20),), 0, bytes(32), 0, 1)
    parent = header(excess_blob_gas=0, blob_gas_used=9 * GAS_PER_BLOB, base_fee=16)
    assert next_excess_blob_gas(parent, osaka, 1) == 3 * GAS_PER_BLOB  # 2^13 x 16 = 2^17: not above the blob's price
    assert next_excess_blob_gas(replace(parent, base_fee=17), osaka, 1) == 3 * GAS_PER_BLOB
    full = replace(parent, blob_gas_used=6 * GAS_PER_BLOB)
    assert next_excess_blob_gas(full, osaka, 1) == 0
    assert next_excess_blob_gas(replace(full, base_fee=17), osaka, 1) == 2 * GAS_PER_BLOB
