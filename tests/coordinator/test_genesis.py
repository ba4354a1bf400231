"""Genesis makes rule B2's formulas yield whatever first block is asked for, as far as they can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.coordinator.filler import begin_chain
from manaflow.coordinator.genesis import chain_config
from manaflow.coordinator.inputs import BlockInputs
from manaflow.coordinator.replay import DEVELOPMENT_KEY, address_of
from manaflow.errors import Unsupported
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.marks import ZERO20, ZERO32
from manaflow.rules.config import CANCUN_BLOBS, PRAGUE_BLOBS, BlobParameters, Fork, ForkEntry
from manaflow.rules.headers import check_b2
from manaflow.validator.checks import check_genesis_block

FIRST = BlockInputs(
    number=1,
    seen_parent_hash=ZERO32,
    coinbase=ZERO20,
    timestamp=1000,
    gas_limit=30_000_000,
    base_fee=7,
    prevrandao=ZERO32,
    excess_blob_gas=0,
    parent_beacon_root=ZERO32,
    extra_data=b"",
    envelopes=(),
    withdrawals=(),
    block_hashes={0: ZERO32},
)
TARGET = PRAGUE_BLOBS.target * 2**17
FULL = BlobParameters(6, 6, 5007716)


def check_first(first: BlockInputs, forks: tuple[ForkEntry, ...]) -> None:
    """Genesis fulfils its own rules, and the first block B2 beside it."""
    config = chain_config(1, forks, (), [first], address_of(DEVELOPMENT_KEY))
    genesis, filler = begin_chain(config, [first], {}, {}, DEVELOPMENT_KEY, NATIVE)
    check_genesis_block(config, genesis.block)
    check_b2(genesis.block.header, filler.fill(first).block.header, config)


@pytest.mark.parametrize("excess", [0, 1, 2**17, TARGET - 1, TARGET, TARGET + 1, 2**40])
@pytest.mark.parametrize("base_fee", [7, 16, 17, 1000, 10**9])
@pytest.mark.parametrize("fork", [Fork.CANCUN, Fork.PRAGUE])
def test_any_excess_before_osaka(fork: Fork, base_fee: int, excess: int) -> None:
    blobs = CANCUN_BLOBS if fork == Fork.CANCUN else PRAGUE_BLOBS
    check_first(replace(FIRST, base_fee=base_fee, excess_blob_gas=excess), (ForkEntry(fork, 0, blobs),))


@pytest.mark.parametrize("excess", [0, TARGET // 3, TARGET - 1, TARGET, TARGET + 1, 10 * TARGET, 2**40])
@pytest.mark.parametrize("base_fee", [7, 16, 17, 1000, 10**9])
def test_what_an_excess_can_be_in_osaka(base_fee: int, excess: int) -> None:
    """EIP-7918: above a base fee of 16 wei the excess only grows while blobs are cheap."""
    check_first(replace(FIRST, base_fee=base_fee, excess_blob_gas=excess), (ForkEntry(Fork.OSAKA, 0, PRAGUE_BLOBS),))


@pytest.mark.parametrize("excess", [1, TARGET // 3 - 1])
def test_an_excess_that_no_parent_yields_is_unsupported(excess: int) -> None:
    first = replace(FIRST, base_fee=1000, excess_blob_gas=excess)
    with pytest.raises(Unsupported, match=f"no parent of its base fee yields {excess} excess blob gas"):
        check_first(first, (ForkEntry(Fork.OSAKA, 0, PRAGUE_BLOBS),))


@pytest.mark.parametrize("excess", [0, 1, TARGET, 2**40])
def test_a_target_that_is_the_maximum(excess: int) -> None:
    """Then EIP-7918 never lets the excess grow."""
    check_first(replace(FIRST, base_fee=1000, excess_blob_gas=excess), (ForkEntry(Fork.OSAKA, 0, FULL),))


@pytest.mark.parametrize("gas_limit", [5000, 5001, 30_000_000, 2**63 - 1])
@pytest.mark.parametrize("base_fee", [0, 1, 7, 2**63])
def test_any_gas_limit_and_base_fee(gas_limit: int, base_fee: int) -> None:
    first = replace(FIRST, gas_limit=gas_limit, base_fee=base_fee)
    check_first(first, (ForkEntry(Fork.PARIS, 0, None),))


def test_a_first_block_on_the_edge_of_a_fork() -> None:
    """Genesis is before the fork, the first block in it: its target counts, not genesis's."""
    for forks in (
        (ForkEntry(Fork.SHANGHAI, 0, None), ForkEntry(Fork.CANCUN, 1000, CANCUN_BLOBS)),
        (ForkEntry(Fork.CANCUN, 0, CANCUN_BLOBS), ForkEntry(Fork.PRAGUE, 1000, PRAGUE_BLOBS)),
    ):
        check_first(FIRST, forks)
        check_first(replace(FIRST, excess_blob_gas=5 * TARGET), forks)
