"""Genesis makes rule B2's formulas yield whatever first block is asked for, as far as they can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.coordinator.filler import Filler, begin_chain
from manaflow.coordinator.genesis import HISTORY_CODE, Allocation, chain_config, manaflow_config, new_chain
from manaflow.coordinator.inputs import BlockInputs, next_inputs
from manaflow.coordinator.replay import DEVELOPMENT_KEY, address_of
from manaflow.errors import Failure, Unsupported
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import ZERO20, ZERO32, Mark
from manaflow.moves.wire import GenesisFile
from manaflow.rules.config import CANCUN_BLOBS, PRAGUE_BLOBS, BlobParameters, Fork, ForkEntry, Profile
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


def founded(alloc: dict[bytes, Allocation], chain_id: int = 7_778, **changes: int) -> GenesisFile:
    config = manaflow_config(chain_id, [address_of(DEVELOPMENT_KEY)])
    settings = {"timestamp": 1000, "gas_limit": 30_000_000, "base_fee": 10**9}
    return new_chain(config, alloc, NATIVE, **(settings | changes))


def test_a_new_chain_holds_what_its_founder_gives_and_the_contract_of_hashes() -> None:
    slot, value = bytes(31) + b"\1", bytes(31) + b"\2"
    contract: Allocation = (0, 1, b"\xfe", {slot: value, ZERO32: ZERO32})
    alloc: dict[bytes, Allocation] = {b"\1" * 20: (5, 0, b"", {}), b"\2" * 20: contract}
    block = founded(alloc).block
    history = bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935")
    one = bytes(31) + b"\1"
    assert {move.location: move.next for move in block.moves.objects()} == {
        (Mark.BALANCE, b"\1" * 20, ZERO32): bytes(31) + b"\5",
        (Mark.NONCE, b"\2" * 20, ZERO32): one,
        (Mark.CODE, b"\2" * 20, ZERO32): keccak256(b"\xfe"),
        (Mark.STORAGE, b"\2" * 20, slot): value,
        (Mark.NONCE, history, ZERO32): one,
        (Mark.CODE, history, ZERO32): keccak256(HISTORY_CODE),
    }
    assert keccak256(HISTORY_CODE).hex() == "6e49e66782037c0555897870e29fa5e552daf4719552131a0abce779daec0a5d"
    config = manaflow_config(7_778, [address_of(DEVELOPMENT_KEY)])
    assert (config.profile, config.system_calls, config.entry_at(0).fork) == (
        Profile.MANAFLOW, (SystemKind.HISTORY,), Fork.PRAGUE,
    )  # fmt: skip


@pytest.mark.parametrize("gas_limit", [5_000, 5_001, 30_000_000])
def test_the_first_blocks_base_fee_is_that_of_a_new_chain(gas_limit: int) -> None:
    genesis = founded({}, gas_limit=gas_limit, base_fee=12_345)
    filler = Filler.at_genesis(genesis, DEVELOPMENT_KEY, NATIVE)
    inputs = next_inputs(filler.config, filler.head, filler.block_hashes, coinbase=ZERO20, timestamp=1001)
    assert inputs.base_fee == 12_345
    check_b2(genesis.block.header, filler.fill(inputs).block.header, filler.config)


@pytest.mark.parametrize("chain_id", [0, 1, 17000, 11155111])
def test_a_new_chain_takes_no_ethereum_networks_chain_id(chain_id: int) -> None:
    with pytest.raises(Failure, match="one of its own"):
        founded({}, chain_id)


@pytest.mark.parametrize(
    "account", [(-1, 0, b"", {}), (2**256, 0, b"", {}), (0, 2**64, b"", {}), (0, 1, b"", {b"\1": ZERO32})]
)
def test_a_new_chain_gives_only_what_cells_can_hold(account: Allocation) -> None:
    with pytest.raises(Failure, match="0x0101"):
        founded({b"\1" * 20: account})
