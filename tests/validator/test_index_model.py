"""Random blocks, undo and reopening against a plain dictionary, verdict for verdict and place for place."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from manaflow.moves.marks import ZERO20, ZERO32, Location, Mark, Move
from manaflow.validator import netting
from tests.conftest import is_nightly
from tests.validator.blocks import REFERENCE, State, Transactions, consume, first_touch, place, reference, word
from tests.validator.model import Model

MARKS = (Mark.BALANCE, Mark.CODE, Mark.NONCE, Mark.STORAGE)
PLACES = [place(n, MARKS[n % 4]) for n in range(90)]


def some_move(rng: random.Random, model: Model, own: int, used: set[Location], flaw: float) -> Move | None:
    """A move that fits the model's state, or with probability `flaw` one that probably does not."""
    bad = rng.random() < flaw
    look = rng.random() < 0.3
    if rng.random() < 0.25:
        location = rng.choice(PLACES)
        if location in used or (location in model.touched and not bad):
            return None
        return reference(0, location, ZERO32) if look else first_touch(location, rng.randbytes(32))
    live = [n for n in model.cells if n < own and model.cells[n].live]
    number = rng.randrange(1, own + 4) if bad else rng.choice(live) if live else 0
    cell = model.cells.get(number)
    if cell is None and not bad:
        return None
    location = cell.location if cell and rng.random() > flaw else rng.choice(PLACES)
    value = cell.value if cell and rng.random() > flaw else rng.randbytes(32)
    if location in used:
        return None
    return reference(number, location, value) if look else consume(number, location, value, rng.randbytes(32))


def some_block(rng: random.Random, model: Model, flaw: float) -> Transactions:
    """Transactions that build on each other within the block."""
    block, state = [], model.copy()
    for _ in range(rng.randrange(6)):
        used: set[Location] = set()
        moves: list[Move] = []
        for _ in range(rng.randrange(8)):
            move = some_move(rng, state, state.next_number, used, flaw)
            if move is not None:
                used.add(move.location)
                moves.append(move)
        moves.sort(key=lambda move: (move.is_reference, move.location))
        after = state.judge([moves], [ZERO32])
        state = after if isinstance(after, Model) else state
        block.append(moves)
    return block


def some_rows(rng: random.Random, model: Model, count: int) -> tuple[list[Move], list[bytes]]:
    """Moves that have nothing to do with each other, and who their signers say made the cells: half of all wrong."""
    moves = [some_move(rng, model, model.next_number, set(), flaw=0.5) for _ in range(count)]
    moves.append(Move(REFERENCE, Mark.BLOCKHASH, 0, ZERO20, ZERO32, word(1), word(1)))
    rows = [move for move in moves if move is not None]
    made = [model.cells[move.number].txid if move.number in model.cells else ZERO32 for move in rows]
    return rows, [txid if rng.random() < 0.5 else rng.randbytes(32) for txid in made]


class IndexMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="manaflow-index-"))
        self.state, self.model = State(self.folder), Model()
        self.past: list[Model] = []

    @rule(seed=st.integers(0, 2**32), flaw=st.sampled_from((0.0, 0.0, 0.02)), count=st.integers(1, 6))
    def blocks(self, seed: int, flaw: float, count: int) -> None:
        rng = random.Random(seed)
        for _ in range(count):
            block = some_block(rng, self.model, flaw)
            txids = [rng.randbytes(32) for _ in block]
            self.state.txids = random.Random(0)
            expected = self.model.judge(block, txids)
            if isinstance(expected, Model):
                self.state.apply(block, txids)
                self.past, self.model = [*self.past, self.model][-70:], expected
            else:
                assert self.state.broken(block) == expected

    @rule(count=st.integers(1, 5))
    def undo(self, count: int) -> None:
        for _ in range(count):
            if self.state.can_undo and self.past:
                self.state.undo()
                self.model = self.past.pop()

    @rule(seed=st.integers(0, 2**32), count=st.integers(0, 20))
    def rows(self, seed: int, count: int) -> None:
        self.state.agrees_row_by_row(*some_rows(random.Random(seed), self.model, count), self.model)

    @rule()
    def reopen(self) -> None:
        self.state.open()

    @rule()
    def reopen_the_store(self) -> None:
        self.state.close()
        self.state.store = self.state.store.open(self.folder)
        self.state.open()

    @invariant()
    def equal(self) -> None:
        self.state.agrees(self.model)

    def teardown(self) -> None:
        self.state.close()
        shutil.rmtree(self.folder)


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(
    max_examples=400 if is_nightly() else 12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_parallel_kernels_judge_as_the_serial_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netting, "PARALLEL_ROWS", 1)
    rng = random.Random(5)
    state, model = State(tmp_path), Model()
    for _ in range(60):
        block = some_block(rng, model, 0.015)
        txids = [rng.randbytes(32) for _ in block]
        expected = model.judge(block, txids)
        if isinstance(expected, Model):
            state.apply(block, txids)
            model = expected
        else:
            assert state.broken(block) == expected
    state.agrees(model)
    state.close()


@pytest.mark.parametrize("seed", range(2))
def test_a_long_life_crosses_turns_and_packs(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    state, model = State(tmp_path), Model()
    past: list[Model] = []
    packed = dropped = undone = 0
    verdicts: set[str] = set()
    for _ in range(300):
        if rng.random() < 0.1 and state.can_undo:
            state.undo()
            model, undone = past.pop(), undone + 1
        elif rng.random() < 0.05:
            state.open()
        block = some_block(rng, model, 0.015)
        txids = [rng.randbytes(32) for _ in block]
        expected = model.judge(block, txids)
        if isinstance(expected, Model):
            pending = state.apply(block, txids)
            packed, dropped = packed + len(pending.written.packed), dropped + len(pending.written.dropped)
            past, model = [*past, model][-70:], expected
        else:
            assert state.broken(block) == expected
            verdicts.add(expected[0].name)
        if rng.random() < 0.1:
            state.agrees_row_by_row(*some_rows(rng, model, 60), model)
    state.agrees(model)
    assert packed > 10
    assert dropped > 100
    assert undone > 10
    assert verdicts == {"V1", "V2", "V3", "V4"}
    state.close()
