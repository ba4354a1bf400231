"""What one batch makes a validator execute for nothing is bounded, however many transactions it lies about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manaflow.errors import Rule
from manaflow.moves.batch import Batch, is_full
from manaflow.moves.columns import Moves
from manaflow.validator import admission
from manaflow.validator.batch_execution import BatchExecution
from tests.validator.admitting import READER, Stage, refused

GAS = 2**24
"""Gas limit of each transaction: the block has 30 million."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "state")
    made.open()
    yield made
    made.close()


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many transactions were executed, call by call."""
    counts: list[int] = []
    run = BatchExecution.run

    def counted(self: BatchExecution, candidates: Any, which: Sequence[int], code_of: Any) -> Any:
        counts.append(len(which))
        return run(self, candidates, which, code_of)

    monkeypatch.setattr(BatchExecution, "run", counted)
    return counts


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches one after another."""
    moves = Moves(*(np.concatenate([getattr(b.moves, f.name) for b in batches]) for f in fields(Moves)))
    names = ("consumes", "references", "status", "gas_used", "logs_hash", "intx")
    columns = {name: np.concatenate([getattr(b, name) for b in batches]) for name in names}
    return Batch(envelopes=tuple(raw for b in batches for raw in b.envelopes), moves=moves, codes=(), **columns)


def rivals(stage: Stage, count: int) -> Batch:
    """Transactions of one sender, all valid and all with one nonce: one of them can be admitted."""
    batches = []
    for i in range(count):
        stage.signers.nonces[0] = 0
        batches.append(stage.sender().fill([stage.call(0, READER, i.to_bytes(32, "big"), gas=GAS)]))
    return joined(batches)


def honest(stage: Stage) -> Batch:
    return stage.sender().fill([stage.transfer(1, b"\x77" * 20)])


def test_rivals_for_one_nonce_are_not_all_executed(stage: Stage, executed: list[int]) -> None:
    batch = joined([rivals(stage, 40), honest(stage)])
    verdicts = refused(stage.producer.admit(batch))
    assert list(verdicts) == list(range(1, 40)), "the first rival and the honest one are in"
    assert {verdict.rule for verdict in verdicts.values()} == {Rule.V2}
    assert sum(executed) * GAS < (admission.SLICE + 1) * stage.block.header.gas_limit


def test_lies_about_outcomes_are_not_all_executed(stage: Stage, executed: list[int]) -> None:
    lies = rivals(stage, 40)
    lies = replace(lies, logs_hash=np.ones_like(lies.logs_hash))
    last = honest(stage)
    verdicts = refused(stage.producer.admit(joined([lies, last])))
    most = admission.SLICE + admission.MOST_WASTED + 1
    assert sum(executed) * GAS < most * stage.block.header.gas_limit
    assert verdicts[0].rule is Rule.X3
    assert is_full(verdicts[40]), "it may come with another batch"
    assert refused(stage.producer.admit(last)) == {}


def test_a_long_honest_batch_is_admitted_whole(stage: Stage, executed: list[int]) -> None:
    """Its gas limits are those of many blocks, what it uses is not; each transaction builds on the one before it."""
    batch = stage.sender().fill([stage.call(0, READER, bytes(32), gas=GAS - 1000 * i) for i in range(20)])
    assert refused(stage.producer.admit(batch)) == {}
    assert sum(executed) == 20
    assert len(executed) > 1
