"""The native engine on real blocks: every leaf alone, in any order, and refused as soon as anything is changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from manaflow import _native
from manaflow._native import NOT_EXECUTED, Codes, World
from manaflow.errors import Failure, Rule, Undeclared, Verdict
from manaflow.evm.encoding import encode_envelope
from manaflow.evm.environment import SYSTEM_ADDRESS
from manaflow.evm.executor import SystemCall
from manaflow.evm.isolated import execute_alone, job_of
from manaflow.evm.native import RevmExecutor, fill_steps, native_environment
from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import UNSIGNED, ZERO32, Location, Mark, Mask, Move
from tests.conftest import is_nightly
from tests.evm.sealed import Sealed, sealed
from tests.replays import supported_names

NAMES = supported_names()
SMALL = "1-22615247"
"""Prague, 26 transactions of every type but one."""


# ---- every leaf alone ----


@pytest.mark.parametrize("name", NAMES)
def test_leaves_are_valid_alone_in_any_order(name: str) -> None:
    block = sealed(name)
    count = len(block.calls)
    assert block.judge() == [0] * count
    assert block.judge(order=list(range(count))[::-1], threads=2) == [0] * count
    assert block.judge(order=random.Random(name).sample(range(count), count), threads=2) == [0] * count


@pytest.mark.parametrize("name", ["17000-2971844", SMALL])
def test_the_executor_agrees_with_the_sealed_block(name: str) -> None:
    block = sealed(name)
    executor = RevmExecutor()
    offsets = block.block.leaves.move_offsets().tolist()
    for leaf in block.executed:
        call, outcome = block.calls[leaf], block.block.leaves[leaf].outcome
        decoded = decode_envelope(call) if isinstance(call, bytes) else SystemCall(SystemKind.HISTORY, *call)
        sender = block.senders[leaf].tobytes() if isinstance(call, bytes) else SYSTEM_ADDRESS
        moves = block.block.moves.take(offsets[leaf], offsets[leaf + 1]).objects()
        job = job_of(block.environment, decoded, sender, block.block.leaves[leaf], moves, block.chain.codes)
        execution = execute_alone(executor, job, moves, outcome)
        assert [use.location for use in execution.uses] == sorted(move.location for move in moves)


def test_a_leaf_that_is_not_asked_for_is_not_judged() -> None:
    block = sealed(SMALL)
    expected = [0 if leaf == 3 else NOT_EXECUTED for leaf in range(len(block.calls))]
    assert block.judge(order=[3]) == expected


# ---- a location that is not declared ----


def sampled_moves(block: Sealed, count: int) -> list[tuple[int, int]]:
    """(leaf, row) of moves of leaves that execute something; all of them in the nightly run."""
    offsets = block.block.leaves.move_offsets().tolist()
    rows = [(leaf, row) for leaf in block.executed for row in range(offsets[leaf], offsets[leaf + 1])]
    return rows if is_nightly() else random.Random(len(rows)).sample(rows, min(count, len(rows)))


def without(block: Sealed, leaf: int, row: int) -> _native.Execution:
    """Execute a leaf without one of its moves."""
    leaves, moves = block.block.leaves, block.block.moves
    offsets = leaves.move_offsets().tolist()
    rows = [r for r in range(offsets[leaf], offsets[leaf + 1]) if r != row]
    call = block.calls[leaf]
    assert call is not None
    return _native.execute(
        native_environment(block.environment),
        call,
        block.senders[leaf].tobytes(),
        int(leaves.gas[leaf]),
        int(leaves.blob_gas[leaf]),
        moves.mark[rows],
        moves.addr[rows],
        moves.slot[rows],
        moves.prev[rows],
        block.codes,
    )


@pytest.mark.parametrize("name", NAMES)
def test_each_missing_move_is_named(name: str) -> None:
    block = sealed(name)
    for leaf, row in sampled_moves(block, 60):
        mark, addr, slot = block.block.moves[row].location
        with pytest.raises(Undeclared) as caught:
            without(block, leaf, row)
        assert (caught.value.mark[0], caught.value.addr, caught.value.slot) == (mark, addr, slot)


def test_a_missing_move_breaks_x1() -> None:
    block = sealed(SMALL)
    for leaf, row in sampled_moves(block, 20):
        keep = np.arange(len(block.block.moves)) != row
        is_reference = block.block.moves[row].is_reference
        counts = block.block.leaves.references if is_reference else block.block.leaves.consumes
        fewer = counts.copy()
        fewer[leaf] -= 1
        leaves = replace(block.block.leaves, **{"references" if is_reference else "consumes": fewer})
        moves = Moves(*(getattr(block.block.moves, name)[keep] for name in Moves.__dataclass_fields__))
        assert block.judge(moves, leaves, order=[leaf])[leaf] == Rule.X1


# ---- anything else changed ----


def changed(block: Sealed, column: str, row: int) -> Moves:
    values = getattr(block.block.moves, column).copy()
    values[row, -1] ^= 1
    return replace(block.block.moves, **{column: values})


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_next_breaks_x2(name: str) -> None:
    block = sealed(name)
    for leaf, row in sampled_moves(block, 20):
        if block.block.moves.mark[row] != Mark.BLOCKHASH:
            assert block.judge(changed(block, "next", row), order=[leaf])[leaf] == Rule.X2


def other_outcomes(leaves: Leaves, leaf: int) -> Iterator[Leaves]:
    for column in ("status", "gas_used", "logs_hash"):
        values = getattr(leaves, column).copy()
        values[leaf] ^= 1
        yield replace(leaves, **{column: values})


@pytest.mark.parametrize("name", [SMALL, "1-15537394"])
def test_a_changed_outcome_breaks_x3(name: str) -> None:
    block = sealed(name)
    for leaf in block.executed:
        for leaves in other_outcomes(block.block.leaves, leaf):
            assert block.judge(leaves=leaves, order=[leaf])[leaf] == Rule.X3


def with_reference(block: Sealed, leaf: int, location: Location, mask: int) -> tuple[Moves, Leaves]:
    """The block with one more reference, of value 0, as the last move of a leaf."""
    stop = int(block.block.leaves.move_offsets()[leaf + 1])
    extra = Moves.of([Move(mask, *location[:1], 0, *location[1:], ZERO32, ZERO32)])
    parts = (block.block.moves.take(0, stop), extra, block.block.moves.take(stop, len(block.block.moves)))
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in Moves.__dataclass_fields__)
    references = block.block.leaves.references.copy()
    references[leaf] += 1
    return Moves(*columns), replace(block.block.leaves, references=references)


@pytest.mark.parametrize("mark", [Mark.BALANCE, Mark.CODE, Mark.NONCE, Mark.STORAGE, Mark.BLOCKHASH])
def test_a_reference_that_is_not_used_breaks_x4_unless_it_is_a_guard(mark: Mark) -> None:
    block = sealed(SMALL)
    location = (mark, bytes(20) if mark == Mark.BLOCKHASH else b"\x77" * 20, ZERO32)
    for leaf in block.executed:
        plain = with_reference(block, leaf, location, UNSIGNED | Mask.REFERENCE)
        assert block.judge(*plain, order=[leaf])[leaf] == Rule.X4
        guard = with_reference(block, leaf, location, UNSIGNED | Mask.REFERENCE | Mask.GUARD)
        assert block.judge(*guard, order=[leaf])[leaf] == 0


def test_the_first_rule_broken_is_named() -> None:
    block = sealed(SMALL)
    leaf = block.executed[-3]
    row = int(block.block.leaves.move_offsets()[leaf])
    extra, leaves = with_reference(block, leaf, (Mark.BALANCE, b"\x77" * 20, ZERO32), UNSIGNED | Mask.REFERENCE)
    other = next(other_outcomes(leaves, leaf))
    values = extra.next.copy()
    values[row, 0] ^= 1
    assert block.judge(replace(extra, next=values), other, order=[leaf])[leaf] == Rule.X2
    assert block.judge(extra, other, order=[leaf])[leaf] == Rule.X3


# ---- what is no valid transaction, or no input at all ----


def test_a_block_without_room_breaks_x0() -> None:
    block = sealed(SMALL)
    leaves = block.block.leaves
    full = replace(leaves, gas=np.full_like(leaves.gas, block.environment.gas_limit))
    verdicts = block.judge(leaves=full)
    for leaf, call in enumerate(block.calls):
        assert verdicts[leaf] == (Rule.X0 if isinstance(call, bytes) else 0)


def test_blobs_beyond_the_block_break_x0() -> None:
    block = sealed(SMALL)
    leaves = block.block.leaves
    assert block.environment.blobs is not None
    full = replace(leaves, blob_gas=np.full_like(leaves.blob_gas, block.environment.blobs.maximum * 2**17))
    blobs = [leaf for leaf, call in enumerate(block.calls) if isinstance(call, bytes) and call[0] == 3]
    assert blobs
    assert [leaf for leaf, verdict in enumerate(block.judge(leaves=full)) if verdict] == blobs


def test_another_sender_breaks_x1() -> None:
    block = sealed(SMALL)
    verdicts = block.judge(senders=np.full_like(block.senders, 7))
    assert all(verdicts[leaf] == Rule.X1 for leaf, call in enumerate(block.calls) if isinstance(call, bytes))


def test_a_missing_code_is_a_failure_and_no_verdict() -> None:
    block = sealed(SMALL)
    with pytest.raises(Failure, match=r"transaction 0: the code 0x[0-9a-f]{64} is not at hand"):
        block.judge(codes=Codes())


def test_a_location_declared_twice_breaks_m1() -> None:
    block = sealed(SMALL)
    leaf = block.executed[-1]
    row = int(block.block.leaves.move_offsets()[leaf])
    again = block.block.moves[row].location
    moves, leaves = with_reference(block, leaf, again, UNSIGNED | Mask.REFERENCE)
    assert block.judge(moves, leaves, order=[leaf])[leaf] == Rule.M1


@pytest.mark.parametrize(
    "location",
    [
        (ord("x"), b"\x77" * 20, ZERO32),
        (Mark.BALANCE, b"\x77" * 20, b"\1" * 32),
        (Mark.BLOCKHASH, b"\x77" * 20, ZERO32),
        (Mark.BLOCKHASH, bytes(20), b"\1" * 32),
    ],
)
def test_a_location_that_cannot_be_breaks_m4(location: Location) -> None:
    block = sealed(SMALL)
    leaf = block.executed[-1]
    moves, leaves = with_reference(block, leaf, location, UNSIGNED | Mask.REFERENCE)
    assert block.judge(moves, leaves, order=[leaf])[leaf] == Rule.M4


# ---- filling ----


def fresh_world(block: Sealed) -> World:
    """The latest values just before the block's first transaction, from its own moves."""
    world, before = World(), {}
    first = next(leaf for leaf, call in enumerate(block.calls) if isinstance(call, bytes))
    start = int(block.block.leaves.move_offsets()[first])
    for move in reversed(block.block.moves.take(start, len(block.block.moves)).objects()):
        if move.mark != Mark.BLOCKHASH:
            before[move.location] = move.prev
    world.load(
        bytes(mark for mark, _, _ in before),
        b"".join(addr for _, addr, _ in before),
        b"".join(slot for _, _, slot in before),
        b"".join(before.values()),
    )
    return world


def senders_of(block: Sealed) -> list[bytes]:
    return [block.senders[i].tobytes() for i, call in enumerate(block.calls) if isinstance(call, bytes)]


def test_a_fill_with_an_invalid_step_changes_nothing() -> None:
    block = sealed(SMALL)
    world, hashes = fresh_world(block), block.chain.ethereum[0].block_hashes
    steps, senders = list(block.block.envelopes), senders_of(block)
    locations = {move.location for move in block.block.moves.objects() if move.mark != Mark.BLOCKHASH}
    before = {location: world.get(*location) for location in locations}
    with pytest.raises(Verdict) as caught:
        fill_steps(world, block.environment, [*steps[:9], steps[3]], [*senders[:9], senders[3]], hashes, block.codes)
    assert (caught.value.rule, caught.value.transaction) == (Rule.X0, 9)
    assert {location: world.get(*location) for location in locations} == before
    filled = fill_steps(world, block.environment, steps, senders, hashes, block.codes)
    assert np.frombuffer(filled.consumes, np.uint32).sum() > 100
    assert {location: world.get(*location) for location in locations} != before


def test_steps_fill_the_same_one_by_one_and_together() -> None:
    block = sealed(SMALL)
    together, single = fresh_world(block), fresh_world(block)
    hashes, senders = block.chain.ethereum[0].block_hashes, senders_of(block)
    all_at_once = fill_steps(together, block.environment, block.block.envelopes, senders, hashes, block.codes)
    gas, blob_gas, nexts, logs = 0, 0, b"", []
    for envelope, sender in zip(block.block.envelopes, senders, strict=True):
        one = fill_steps(single, block.environment, [envelope], [sender], hashes, block.codes, gas, blob_gas)
        gas += int.from_bytes(one.gas_used, "little")
        blob_gas += decode_envelope(envelope).blob_gas
        nexts += one.nexts
        logs += one.logs
    assert (nexts, logs) == (all_at_once.nexts, all_at_once.logs)
    assert gas == block.block.header.gas_used
    assert blob_gas == block.block.header.blob_gas_used


def test_a_step_that_the_block_has_no_room_for_is_invalid() -> None:
    block = sealed(SMALL)
    world, hashes = fresh_world(block), block.chain.ethereum[0].block_hashes
    limit = block.environment.gas_limit
    with pytest.raises(Verdict, match="gas limit"):
        fill_steps(world, block.environment, block.block.envelopes, senders_of(block), hashes, block.codes, limit)


# ---- encoding ----


def test_encoding_inverts_decoding() -> None:
    kinds = set()
    for name in NAMES:
        for envelope in sealed(name).block.envelopes[:50]:
            transaction = decode_envelope(envelope)
            assert encode_envelope(transaction) == envelope
            kinds.add((transaction.type, transaction.chain_id is None))
    assert {kind for kind, _ in kinds} >= {0, 1, 2, 3}
