"""A chain of profile `manaflow` through everything: filled, imported, executed alone, undone, read backwards."""

from __future__ import annotations

import functools
import random
from pathlib import Path

import numpy as np
import pytest

from manaflow.conformance.states import held_cells
from manaflow.errors import Rule, Verdict
from manaflow.evm.envelopes import decode_envelopes
from manaflow.evm.isolated import execute_alone
from manaflow.evm.native import RevmExecutor
from manaflow.evm.native_hashing import NATIVE
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.moves.block import Block
from manaflow.moves.leaf import SystemKind, system_txid
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.moves.transactions import EthereumTransaction
from manaflow.moves.wire import decode_block, encode_block
from manaflow.validator.backwards import verify_backwards
from manaflow.validator.execution import senders_of
from manaflow.validator.validator import Mode, Validator
from tests.chain import ETHER
from tests.manaflow_chain import BASE_FEE, CHAIN_ID, COINBASE, Producer, created, deploying
from tests.parts import parts_of

SEED = 20261121
KEEPER = bytes.fromhex("600143034060005500")
"""Stores the hash of the block before this one in slot 0."""
FAILING = b"\xfe"


@functools.cache
def made() -> Producer:
    """Eight blocks: every kind of transaction, some that fail, some that pay no tip, an empty one."""
    producer = Producer()
    a = producer.addresses
    keeper, failing = created(a[0], 0), created(a[0], 1)
    producer.seal([producer.sign(0, data=deploying(KEEPER)), producer.sign(0, data=deploying(FAILING), tip=0)])
    producer.seal(
        [producer.sign(1, a[2], value=ETHER), producer.sign(2, keeper, kind=1), producer.sign(3, keeper, kind=0)]
    )
    producer.seal()
    producer.seal([producer.sign(i, a[(i + 1) % 5], value=i, tip=0) for i in range(5)])
    producer.seal([
        producer.sign(1, a[4], kind=4, value=5, authorizations=[(4, keeper, producer.nonces[4])]),
        producer.sign(2, failing, value=3, tip=7),
        producer.sign(3, b"\x77" * 20, value=3, gas=21_000, tip=9),
        producer.sign(0, COINBASE, value=11),
    ])  # fmt: skip
    producer.nonces[4] += 1
    producer.seal([producer.sign(4, a[4]), producer.sign(0, data=b"\xfe"), producer.sign(3, a[3], value=1)])
    producer.seal([producer.sign(1, b"\x04".rjust(20, b"\0"), data=b"abc")], coinbase=a[0])
    producer.seal(
        [producer.sign(0, keeper), producer.sign(2, a[4], kind=4, authorizations=[(4, bytes(20), producer.nonces[4])])]
    )
    return producer


def blocks() -> list[Block]:
    return made().blocks


def imported(path: Path, mode: Mode, until: int | None = None) -> Validator:
    validator = Validator.create(path, made().genesis, mode=mode)
    for block in blocks()[:until]:
        validator.import_block(encode_block(block, NATIVE))
    return validator


def ether_of(cells: dict[Location, bytes]) -> int:
    return sum(int.from_bytes(value, "big") for (mark, _, _), value in cells.items() if mark == Mark.BALANCE)


@pytest.mark.parametrize("mode", list(Mode))
def test_another_validator_imports_every_block_and_holds_the_fillers_state(tmp_path: Path, mode: Mode) -> None:
    with imported(tmp_path / "state", mode) as validator:
        held = held_cells(validator)
        assert {location: made().filler.value(location) for location in held} == held
        validator.check()
        assert validator.head[0] == made().filler.head
    with Validator.open(tmp_path / "state", mode=mode) as again:
        assert held_cells(again) == held


def test_statuses_and_kinds_are_those_that_were_meant() -> None:
    types, failed = set(), 0
    for block in blocks():
        types |= set(decode_envelopes(block.envelopes).type.tolist())
        failed += int((block.leaves.status == 0).sum())
    assert types == {0, 1, 2, 4}
    assert failed == 2


def test_a_block_has_its_opening_call_and_a_closing_credit_only_if_there_are_fees() -> None:
    with_fees = 0
    for block in blocks():
        number = block.header.number
        first, last = block.leaves.txid[0].tobytes(), block.leaves.txid[-1].tobytes()
        assert first == system_txid(SystemKind.HISTORY, CHAIN_ID, number)
        assert (last == system_txid(SystemKind.FEES, CHAIN_ID, number)) == (block.header.fees > 0)
        assert len(block.leaves) == 1 + len(block.envelopes) + (block.header.fees > 0)
        with_fees += block.header.fees > 0
    assert with_fees == 6


def test_every_transaction_executes_alone_in_any_order_by_both_engines() -> None:
    rng, revm, pyevm = random.Random(SEED), RevmExecutor(), PyEvmExecutor()
    parts = [part for block in blocks() for part in parts_of(block, made().config)]
    rng.shuffle(parts)
    sampled = set(rng.sample(range(len(parts)), 12))
    for i, part in enumerate(parts):
        ran = execute_alone(revm, part.job(made().codes), part.moves, part.leaf.outcome)
        if i in sampled:
            assert execute_alone(pyevm, part.job(made().codes), part.moves, part.leaf.outcome) == ran


def test_no_transaction_uses_the_coinbase_unless_it_names_it() -> None:
    for block in blocks()[:4]:
        offsets, coinbase = block.leaves.move_offsets(), np.frombuffer(block.header.coinbase, np.uint8)
        rows = np.flatnonzero((block.moves.addr == coinbase).all(axis=1))
        assert (np.searchsorted(offsets, rows, side="right") - 1 == len(block.leaves) - 1).all()


def test_ether_is_conserved_to_the_wei_and_the_coinbase_gets_exactly_the_fees(tmp_path: Path) -> None:
    with Validator.create(tmp_path / "state", made().genesis, mode=Mode.EXECUTE) as validator:
        genesis, burned, coinbase = ether_of(held_cells(validator)), 0, 0
        for block in blocks():
            header = block.header
            validator.import_block(block)
            burned += header.gas_used * header.base_fee
            assert ether_of(held_cells(validator)) + burned == genesis
            assert header.fees == sum(expected_fees(block))
            coinbase += header.fees if header.coinbase == COINBASE else 0
        assert coinbase + 11 == made().balance(COINBASE)


def expected_fees(block: Block) -> list[int]:
    """gas used x (effective price - base fee) of each signed transaction, from the decoded envelopes."""
    fees = []
    for part in parts_of(block, made().config):
        if isinstance(part.call, EthereumTransaction):
            price = min(part.call.max_fee, block.header.base_fee + part.call.max_priority_fee)
            fees.append(part.leaf.gas_used * (price - block.header.base_fee))
    return fees


def test_undo_goes_back_through_the_same_states(tmp_path: Path) -> None:
    with imported(tmp_path / "state", Mode.EXECUTE, 4) as validator:
        before = held_cells(validator)
        for block in blocks()[4:]:
            validator.import_block(block)
        after = held_cells(validator)
        for _ in blocks()[4:]:
            validator.undo_block()
        assert held_cells(validator) == before
        validator.check()
        for block in blocks()[4:]:
            validator.import_block(block)
        assert held_cells(validator) == after


def test_the_chain_backwards_ends_in_genesis() -> None:
    seen = list(verify_backwards([*reversed(blocks()), made().genesis.block], made().config))
    assert seen[-1].number == 0
    assert seen[-1].demanded == 0


def test_blockhash_shows_the_hashes_of_this_chain() -> None:
    keeper = created(made().addresses[0], 0)
    assert made().filler.value((Mark.STORAGE, keeper, ZERO32)) == blocks()[6].hash


def test_blocks_survive_their_files() -> None:
    for block in blocks():
        assert decode_block(encode_block(block, NATIVE), NATIVE).hash == block.hash
        assert senders_of(made().config, block).shape == (len(block.leaves), 20)


def test_the_base_fee_begins_as_genesis_says() -> None:
    assert blocks()[0].header.base_fee == BASE_FEE
    assert blocks()[1].header.base_fee < BASE_FEE


def test_a_transaction_of_another_chain_or_without_one_is_refused() -> None:
    producer = Producer()
    with pytest.raises(Verdict) as caught:
        producer.seal([producer.sign(0, b"\1" * 20), producer.sign(1, b"\1" * 20, chain_id=1)])
    assert (caught.value.rule, caught.value.transaction) == (Rule.S1, 1)
