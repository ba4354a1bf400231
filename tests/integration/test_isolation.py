"""Every transaction of every real block alone, from its moves: any order, both engines, nothing missing or changed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

from manaflow.errors import Failure, Rule, Undeclared, Verdict
from manaflow.evm.executor import Execution, Executor, Job, SystemCall
from manaflow.evm.isolated import execute_alone
from manaflow.evm.native import RevmExecutor, execute_block
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.marks import Mark, Mask, Move
from manaflow.rules.state import check_v1
from tests.conftest import is_nightly
from tests.parts import Part, native_codes, parts_of
from tests.replays import Chain, chain, supported_names

NAMES = supported_names()
SEED = 20261121
REVM, PYEVM = RevmExecutor(), PyEvmExecutor()


def changed(word: bytes) -> bytes:
    return bytes(31) + b"\1" if not any(word) else word[:-1] + bytes([word[-1] ^ 1])


class Batch:
    """A block of a chain ready for native execution, with any columns replaced."""

    def __init__(self, real: Chain, i: int = 0) -> None:
        self.block, self.parts = real.blocks[i], parts_of(real.blocks[i], real.config)
        leaves = len(self.block.leaves)
        self.calls: list[bytes | tuple[bytes, bytes] | None] = [None] * leaves
        self.senders = np.zeros((leaves, 20), np.uint8)
        for part in self.parts:
            is_call = isinstance(part.call, SystemCall)
            self.calls[part.place] = (part.call.to, part.call.data) if is_call else part.raw
            self.senders[part.place] = np.frombuffer(part.sender, np.uint8)
        self.codes = native_codes(real.codes)
        self.places = np.array([part.place for part in self.parts], np.int64)

    def run(
        self, moves: Moves | None = None, leaves: Leaves | None = None, order: np.ndarray | None = None
    ) -> np.ndarray:
        environment = self.parts[0].environment
        found = execute_block(
            environment,
            moves or self.block.moves,
            leaves or self.block.leaves,
            self.calls,
            self.senders,
            self.codes,
            self.places if order is None else order,
        )
        return found[self.places]


def with_columns(moves: Moves) -> Moves:
    """A copy whose columns may be written."""
    return Moves(*(getattr(moves, f.name).copy() for f in fields(moves)))


@pytest.mark.parametrize("name", NAMES)
def test_every_transaction_executes_alone_in_any_order(name: str) -> None:
    batch = Batch(chain(name))
    shuffled = np.random.default_rng(SEED).permutation(batch.places)
    for order in (shuffled, batch.places[::-1].copy(), batch.places):
        assert not batch.run(order=order).any()


@pytest.mark.parametrize("name", NAMES)
def test_pyevm_executes_every_transaction_alone_as_revm_does(name: str) -> None:
    real = chain(name)
    parts = parts_of(real.blocks[0], real.config)
    random.Random(SEED).shuffle(parts)
    for part in parts:
        job = part.job(real.codes)
        in_revm = execute_alone(REVM, job, part.moves, part.leaf.outcome)
        in_pyevm = execute_alone(PYEVM, job, part.moves, part.leaf.outcome)
        assert in_pyevm == in_revm, f"leaf {part.place}"


def assert_every_missing_cell_is_named(executor: Executor, part: Part, real: Chain) -> int:
    for i, move in enumerate(part.moves):
        with pytest.raises(Undeclared) as caught:
            executor.execute(part.job(real.codes, part.moves[:i] + part.moves[i + 1 :]))
        missing = caught.value
        assert (missing.mark[0], missing.addr, missing.slot) == move.location, f"leaf {part.place}, move {i}"
    return len(part.moves)


@pytest.mark.parametrize("name", NAMES)
def test_any_missing_cell_makes_revm_fail_naming_it(name: str) -> None:
    real = chain(name)
    parts = parts_of(real.blocks[0], real.config)
    assert sum(assert_every_missing_cell_is_named(REVM, part, real) for part in parts) > 0


@pytest.mark.parametrize("name", NAMES)
def test_any_missing_cell_makes_pyevm_fail_naming_it(name: str) -> None:
    real = chain(name)
    parts = parts_of(real.blocks[0], real.config)
    if not is_nightly():
        parts = random.Random(f"{SEED}{name}").sample(parts, min(3, len(parts)))
    assert sum(assert_every_missing_cell_is_named(PYEVM, part, real) for part in parts) > 0


@pytest.mark.parametrize("name", NAMES)
def test_any_changed_next_is_refused_by_revm(name: str) -> None:
    """Round r changes the r-th move of every transaction that has one: a consume's next, a reference into a consume."""
    batch = Batch(chain(name))
    offsets = batch.block.leaves.move_offsets()
    counts = np.diff(offsets)[batch.places]
    tried = 0
    for r in range(int(counts.max())):
        moves, hit = with_columns(batch.block.moves), counts > r
        rows = offsets[batch.places[hit]] + r
        moves.next[rows, 31] ^= 1
        found = batch.run(moves)
        assert np.isin(found[hit], (Rule.X2, Rule.X4)).all()
        assert not found[~hit].any()
        tried += int(hit.sum())
    assert tried == counts.sum()


@pytest.mark.parametrize("field", ["status", "gas_used", "logs_hash"])
@pytest.mark.parametrize("name", NAMES)
def test_any_changed_outcome_is_refused_by_revm(name: str, field: str) -> None:
    batch = Batch(chain(name))
    is_transaction = np.array([not isinstance(part.call, SystemCall) for part in batch.parts])
    column = getattr(batch.block.leaves, field) ^ np.asarray(1, getattr(batch.block.leaves, field).dtype)
    found = batch.run(leaves=replace(batch.block.leaves, **{field: column}))
    assert (found[is_transaction] == Rule.X3).all()


@dataclass(frozen=True)
class Once:
    """An executor that has executed its one job already."""

    execution: Execution
    name: str = "once"

    def execute(self, job: Job) -> Execution:
        return self.execution


@pytest.mark.parametrize("name", NAMES)
def test_any_changed_next_or_outcome_is_refused_by_pyevm(name: str) -> None:
    """An execution sees neither next nor outcome, so that one execution of a job is judged against every change."""
    real = chain(name)
    parts = parts_of(real.blocks[0], real.config)
    sample = parts if is_nightly() else random.Random(f"{SEED}{name}").sample(parts, min(3, len(parts)))
    for part in sample:
        job, outcome = part.job(real.codes), part.leaf.outcome
        executor = Once(PYEVM.execute(job))
        for i, move in enumerate(part.moves):
            moves = [*part.moves[:i], replace(move, next=changed(move.next)), *part.moves[i + 1 :]]
            with pytest.raises(Verdict) as refused:
                execute_alone(executor, job, moves, outcome)
            assert (refused.value.rule, refused.value.move) == (Rule.X2, i)
        if isinstance(part.call, SystemCall):
            continue
        for wrong in (
            replace(outcome, status=outcome.status ^ 1),
            replace(outcome, gas_used=outcome.gas_used + 1),
            replace(outcome, logs_hash=changed(outcome.logs_hash)),
        ):
            with pytest.raises(Verdict) as refused:
                execute_alone(executor, job, part.moves, wrong)
            assert refused.value.rule == Rule.X3


def makers_of(real: Chain) -> dict[int, Move]:
    """The consume that made each cell of a chain, by number."""
    makers: dict[int, Move] = {}
    for block in [real.genesis.block, *real.blocks]:
        consumes = (move for move in block.moves.objects() if not move.is_reference)
        makers |= dict(enumerate(consumes, block.header.first_cell))
    return makers


@pytest.mark.parametrize("name", NAMES)
def test_any_changed_prev_is_refused_by_execution_or_by_v1(name: str) -> None:
    """A reference keeps next == prev (M2), and a virgin cell is 0 (M4), so that only X and V1 are left to refuse it."""
    real = chain(name)
    batch, makers = Batch(real), makers_of(real)
    refused_by = changed_codes_are_refused(real, batch, makers)
    offsets = batch.block.leaves.move_offsets()
    counts = np.diff(offsets)[batch.places]
    for r in range(int(counts.max())):
        moves, places = with_columns(batch.block.moves), batch.places[counts > r]
        rows = offsets[places] + r
        keep = moves.mark[rows] != Mark.CODE
        rows, places = rows[keep], places[keep]
        is_reference = (moves.mask[rows] & Mask.REFERENCE) != 0
        moves.prev[rows, 31] ^= 1
        moves.next[rows[is_reference], 31] ^= 1
        found = dict(zip(batch.places.tolist(), batch.run(moves).tolist(), strict=True))
        assert not any(rule for place, rule in found.items() if place not in set(places.tolist()))
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            if found[place]:
                refused_by["execution"] += 1
            else:
                first_cell = int(batch.block.leaves.first_cell[place])
                refused_by[refused_without_execution(moves[row], first_cell, makers)] += 1
    assert refused_by.total() == counts.sum()
    assert refused_by["execution"] > refused_by["V1"], dict(refused_by)
    print(name, dict(refused_by))


def changed_codes_are_refused(real: Chain, batch: Batch, makers: dict[int, Move]) -> Counter[str]:
    """A changed `c` names a code that nobody has, so that execution stops at it; one that never runs is left to V1."""
    refused_by: Counter[str] = Counter()
    for part in batch.parts:
        for i, move in enumerate(part.moves):
            if move.mark != Mark.CODE:
                continue
            prev = changed(move.prev)
            wrong = replace(move, prev=prev, next=prev if move.is_reference else move.next)
            moves = [*part.moves[:i], wrong, *part.moves[i + 1 :]]
            try:
                execute_alone(REVM, part.job(real.codes, moves), moves, part.leaf.outcome)
            except (Failure, Verdict):
                refused_by["execution"] += 1
            else:
                refused_by[refused_without_execution(wrong, part.leaf.first_cell, makers)] += 1
    return refused_by


def refused_without_execution(wrong: Move, first_cell: int, makers: dict[int, Move]) -> str:
    """What refuses a wrong prev that the execution did not notice."""
    if wrong.number == 0:
        assert any(wrong.prev)
        return "M4 or B5"
    with pytest.raises(Verdict) as caught:
        check_v1(wrong, first_cell, makers[wrong.number])
    assert caught.value.rule == Rule.V1
    return "V1"


def test_marks_of_real_blocks() -> None:
    """The shared blocks exercise every mark."""
    seen = {mark for name in NAMES for mark in np.unique(chain(name).blocks[0].moves.mark).tolist()}
    assert seen == set(Mark)
