"""Every real block from Paris on, through the filler, against the executable spec's record of it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from manaflow.coordinator.ethereum import load_block
from manaflow.coordinator.receipts import receipts_root
from manaflow.coordinator.replay import chains_of, replay
from manaflow.errors import Failure, Unsupported
from manaflow.evm.environment import SYSTEM_CONTRACTS
from manaflow.moves.block import Block
from manaflow.moves.leaf import SystemKind, system_txid
from manaflow.moves.marks import Location, Mark, Move
from tests.oracle import Step
from tests.replays import ACROSS_CANCUN, BEFORE_PARIS, HOLESKY, Chain, chain, file_of, supported_names

NAMES = supported_names()


def transactions_of(block: Block) -> list[list[Move]]:
    bounds = block.leaves.move_offsets().tolist()
    moves = block.moves.objects()
    return [moves[start:stop] for start, stop in itertools.pairwise(bounds)]


def writes_of(moves: list[Move]) -> dict[Location, tuple[bytes, bytes]]:
    return {move.location: (move.prev, move.next) for move in moves if not move.is_reference}


def steps_beside_leaves(real: Chain, i: int) -> list[tuple[Step | None, int]]:
    """The oracle's steps beside the leaves of a block; a requests step stands for both request calls."""
    block, steps = real.blocks[i], list(real.expected(i))
    kinds = {system_txid(kind, real.config.chain_id, block.header.number): kind for kind in SystemKind}
    pairs: list[tuple[Step | None, int]] = []
    for leaf in range(len(block.leaves)):
        kind = kinds.get(block.leaves.txid[leaf].tobytes())
        if kind in (SystemKind.WITHDRAWAL_REQUESTS, SystemKind.CONSOLIDATION_REQUESTS):
            pairs.append((None, leaf))
            continue
        step = steps.pop(0)
        if kind in SYSTEM_CONTRACTS:
            assert step.kind == "system"
            assert step.target == SYSTEM_CONTRACTS[kind]
        else:
            assert step.kind == ("withdrawals" if kind == SystemKind.WITHDRAWALS else "tx")
        pairs.append((step, leaf))
    assert [step.kind for step in steps] in ([], ["requests"], ["withdrawals"])
    assert all(not step.writes for step in steps), "what is left wrote nothing"
    return pairs


@pytest.mark.parametrize("name", NAMES)
def test_a_real_block_has_its_original_gas_receipts_and_bloom(name: str) -> None:
    real = chain(name)
    block, ethereum, receipts = real.blocks[0], real.ethereum[0], real.filled[0].receipts
    assert block.header.gas_used == ethereum.gas_used
    assert block.header.blob_gas_used == ethereum.blob_gas_used
    assert receipts_root(receipts) == (ethereum.receipts_root, ethereum.logs_bloom)
    assert len(receipts) == len(ethereum.envelopes)


@pytest.mark.parametrize("name", NAMES)
def test_every_step_writes_what_the_oracle_writes(name: str) -> None:
    real = chain(name)
    moves = transactions_of(real.blocks[0])
    compared = 0
    for step, leaf in steps_beside_leaves(real, 0):
        if step is None:
            continue
        assert writes_of(moves[leaf]) == dict(step.writes), f"leaf {leaf}"
        compared += 1
        if step.kind == "tx":
            assert real.blocks[0].leaves.status[leaf] == step.status
            assert real.blocks[0].leaves.gas_used[leaf] == step.gas_used
    assert compared >= len(real.ethereum[0].envelopes)


@pytest.mark.parametrize("name", NAMES)
def test_every_declared_location_was_read_by_the_oracle(name: str) -> None:
    real = chain(name)
    moves = transactions_of(real.blocks[0])
    for step, leaf in steps_beside_leaves(real, 0):
        if step is None:
            continue
        slots = step.read_slots | {(addr, slot) for mark, addr, slot in step.writes if mark == Mark.STORAGE}
        for move in moves[leaf]:
            if move.mark == Mark.STORAGE:
                assert (move.addr, move.slot) in slots, f"leaf {leaf}: {move}"
            elif move.mark != Mark.BLOCKHASH:
                touched = step.read_accounts | {addr for _, addr, _ in step.writes}
                assert move.addr in touched, f"leaf {leaf}: {move}"


def test_consecutive_blocks_chain() -> None:
    real = chain(*HOLESKY)
    assert [block.header.number for block in real.blocks] == [2971844, 2971845, 2971846, 2971847]
    for parent, block in zip([real.genesis.block, *real.blocks], real.blocks, strict=False):
        assert block.header.parent_hash == parent.hash
        assert block.header.first_cell == parent.header.first_cell + parent.header.cells
    sources = np.concatenate([block.moves.number for block in real.blocks[1:]])
    own = int(real.blocks[0].header.first_cell)
    assert (sources >= own).any(), "later blocks use cells that earlier ones made"


def test_a_block_before_paris_stops_with_a_clear_error() -> None:
    before = load_block(file_of(BEFORE_PARIS))
    with pytest.raises(Unsupported, match="before this chain's first supported fork"):
        list(replay([before]).blocks())


def test_a_chain_across_cancun() -> None:
    real = chain(*ACROSS_CANCUN)
    assert len(chains_of(real.ethereum)) == 1
    assert [block.header.parent_beacon_root == bytes(32) for block in real.blocks] == [True, False]
    assert receipts_root(real.filled[1].receipts)[0] == real.ethereum[1].receipts_root


def test_two_pre_states_that_contradict_each_other_are_refused() -> None:
    first, second = (load_block(file_of(name)) for name in HOLESKY[:2])
    address = next(iter(second.prestate))
    account = replace(second.prestate[address], balance=second.prestate[address].balance + 1)
    wrong = replace(second, prestate={**second.prestate, address: account})
    known = {**first.prestate, address: second.prestate[address]}
    with pytest.raises(Failure, match="its pre-state has"):
        list(replay([replace(first, prestate=known), wrong]).blocks())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("gas_used", 1, "gas used [0-9]+, the Ethereum header has 1"),
        ("receipts_root", bytes(32), "receipts root"),
        ("logs_bloom", b"\1" + bytes(255), "logs bloom"),
    ],
)
def test_a_replay_that_is_not_the_original_is_refused(field: str, value: object, message: str) -> None:
    first = load_block(file_of(HOLESKY[0]))
    with pytest.raises(Failure, match=message):
        list(replay([replace(first, **{field: value})]).blocks())


def test_replays_need_consecutive_blocks() -> None:
    with pytest.raises(Failure, match="consecutive"):
        replay([load_block(file_of(name)) for name in (HOLESKY[0], HOLESKY[2])])
