"""Wrong fills: each refused by its rule, at its transaction and move, and without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manaflow.errors import Rule
from manaflow.moves.batch import Batch
from manaflow.moves.columns import Moves
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask
from manaflow.rules.leaves import MAX_MOVES
from manaflow.rules.signing import MAX_SIGNED_BYTES
from tests.catalogue.case import virgin
from tests.chain import word
from tests.manaflow_chain import BASE_FEE
from tests.validator.admitting import (
    TOKEN,
    WRITER,
    WRITER_CODE,
    Sender,
    Stage,
    changed,
    holding,
    one,
    refused,
    row_of,
    snapshot,
)

STRANGER = b"\x77" * 20
WRONG = 1
"""The transaction of the batch that is made wrong: there is an independent one before it and one behind it."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "state")
    made.open()
    yield made
    made.close()


@dataclass
class Made:
    """A valid batch of three independent token transfers, and who made it."""

    stage: Stage
    sender: Sender
    batch: Batch

    def row(self, mark: Mark, addr: bytes, slot: bytes = ZERO32) -> int:
        return row_of(self.batch, WRONG, (mark, addr, slot))

    @property
    def me(self) -> bytes:
        return self.stage.addresses[1]

    def token(self) -> int:
        """Row of the sender's own token balance, from genesis."""
        return row_of(self.batch, WRONG, holding(self.me))

    def change(self, row: int | None = None, **values: Any) -> Batch:
        return changed(self.batch, row=row, t=WRONG, **values)

    def envelope(self, raw: bytes) -> Batch:
        envelopes = list(self.batch.envelopes)
        envelopes[WRONG] = raw
        return replace(self.batch, envelopes=tuple(envelopes))

    def swapped(self) -> Batch:
        """The first two consumes in the other order."""
        start = one(self.batch, WRONG)[0]
        order = list(range(len(self.batch.moves)))
        order[start], order[start + 1] = order[start + 1], order[start]
        columns = [getattr(self.batch.moves, name)[order] for name in MOVES]
        return replace(self.batch, moves=type(self.batch.moves)(*columns), intx=self.batch.intx[order])

    def without(self, row: int) -> Batch:
        """The batch without one reference."""
        keep = [i for i in range(len(self.batch.moves)) if i != row]
        references = self.batch.references.copy()
        references[WRONG] -= 1
        columns = [getattr(self.batch.moves, name)[keep] for name in MOVES]
        return replace(
            self.batch, references=references, moves=type(self.batch.moves)(*columns), intx=self.batch.intx[keep]
        )

    def crowded(self) -> Batch:
        """One move more than a transaction may have, all of them references; and an envelope that is none."""
        count, stop = one(self.batch, WRONG)[1] - one(self.batch, WRONG)[0], one(self.batch, WRONG)[1]
        extra = MAX_MOVES + 1 - count
        moves = [virgin(Mark.STORAGE, b"\x79" * 20, word(i)) for i in range(extra)]
        made, references = Moves.of(moves), self.batch.references.copy()
        references[WRONG] += extra
        columns = [np.insert(getattr(self.batch.moves, n), stop, getattr(made, n), axis=0) for n in MOVES]
        intx = np.insert(self.batch.intx, stop, np.zeros((extra, 32), np.uint8), axis=0)
        grown = replace(self.batch, references=references, moves=type(self.batch.moves)(*columns), intx=intx)
        return replace(grown, envelopes=(grown.envelopes[0], b"\x02", *grown.envelopes[2:]))

    def signed(self, **changes: Any) -> Batch:
        """Another transaction of the same sender in its place, with the moves as they are."""
        self.stage.signers.nonces[1] = 0
        return self.envelope(self.stage.transfer(1, b"\x78" * 20, **changes))


MOVES = ("mask", "mark", "number", "addr", "slot", "prev", "next")
Case = tuple[str, Rule, Callable[[Made], Batch]]


def lower(batch: Batch, row: int) -> bytes:
    return word(int.from_bytes(batch.moves.next[row].tobytes(), "big") - 1)


CASES: tuple[Case, ...] = (
    ("garbage", Rule.S1, lambda m: m.envelope(b"\x02garbage")),
    ("empty", Rule.S1, lambda m: m.envelope(b"")),
    ("another chain", Rule.S1, lambda m: m.signed(chain_id=99)),
    ("a mask that claims a signature", Rule.S1, lambda m: m.change(m.token(), mask=0x3E)),
    ("a guard that nobody signed", Rule.S1, lambda m: m.change(
        m.row(Mark.CODE, TOKEN), mask=UNSIGNED | Mask.REFERENCE | Mask.GUARD)),
    ("declared garbage", Rule.S2, lambda m: m.envelope(b"\x4dgarbage")),
    ("one location twice", Rule.M1, lambda m: m.change(
        m.token(), slot=holding(b"\x78" * 20)[2])),
    ("a reference that changes", Rule.M2, lambda m: m.change(m.row(Mark.CODE, TOKEN), next=b"\x01" * 32)),
    ("a consume that does not", Rule.M2, lambda m: m.change(
        m.token(), next=m.batch.moves.prev[m.token()].tobytes())),
    ("nonce too high", Rule.M3, lambda m: m.change(
        m.row(Mark.NONCE, m.me), intx=b"\x09" * 32, prev=word(1), next=word(2))),
    ("an unknown mark", Rule.M4, lambda m: m.change(m.token(), mark=ord("x"))),
    ("a slot at a balance", Rule.M4, lambda m: m.change(m.row(Mark.BALANCE, m.me), slot=word(1))),
    ("a virgin cell with a value", Rule.M4, lambda m: m.change(m.token(), intx=ZERO32, number=0)),
    ("consumes out of order", Rule.M5, lambda m: m.swapped()),
    ("a count too many", Rule.M5, lambda m: changed(
        changed(m.batch, t=WRONG, consumes=m.batch.consumes[WRONG] + 1), t=WRONG,
        references=m.batch.references[WRONG] - 1)),
    ("ether from nothing", Rule.M6, lambda m: m.change(
        m.row(Mark.BALANCE, m.me), next=m.batch.moves.prev[m.row(Mark.BALANCE, m.me)].tobytes()[:31] + b"\x01")),
    ("an envelope that is too long", Rule.S1, lambda m: m.envelope(
        m.stage.call(1, TOKEN, bytes(MAX_SIGNED_BYTES)))),
    ("more moves than one may have", Rule.B3, lambda m: m.crowded()),
    ("another maker", Rule.V1, lambda m: m.change(m.token(), intx=b"\x09" * 32)),
    ("another value", Rule.V1, lambda m: m.change(m.token(), prev=word(7))),
    ("no code that anybody knows", Rule.V1, lambda m: m.change(
        m.row(Mark.CODE, TOKEN), prev=b"\x09" * 32, next=b"\x09" * 32)),
    ("the code of another contract", Rule.V1, lambda m: m.change(
        m.row(Mark.CODE, TOKEN), **dict.fromkeys(("prev", "next"), keccak256(WRITER_CODE)))),
    ("a cell claimed virgin that is not", Rule.V4, lambda m: m.change(
        m.token(), intx=ZERO32, number=0, prev=ZERO32)),
    ("a fee cap below the base fee", Rule.X0, lambda m: m.signed(max_fee=BASE_FEE // 2, tip=0)),
    ("a gas limit below the intrinsic gas", Rule.X0, lambda m: m.signed(gas=21_000)),
    ("a location left out", Rule.X1, lambda m: m.without(m.row(Mark.CODE, TOKEN))),
    ("a wrong next", Rule.X2, lambda m: m.change(m.token(), next=lower(m.batch, m.token()))),
    ("too little change", Rule.X2, lambda m: m.change(
        m.row(Mark.BALANCE, m.me), next=lower(m.batch, m.row(Mark.BALANCE, m.me)))),
    ("another status", Rule.X3, lambda m: m.change(status=0)),
    ("a status that is none", Rule.X3, lambda m: m.change(status=7)),
    ("another logs hash", Rule.X3, lambda m: m.change(logs_hash=b"\x01" * 32)),
    ("less gas used", Rule.X3, lambda m: m.change(gas_used=int(m.batch.gas_used[WRONG]) - 1)),
    ("more gas than a transaction may have", Rule.X5, lambda m: m.signed(gas=2**24 + 1)),
)  # fmt: skip


@pytest.mark.parametrize(("rule", "break_it"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_wrong_fill_is_refused_by_its_rule(stage: Stage, rule: Rule, break_it: Callable[[Made], Batch]) -> None:
    sender = stage.sender()
    batch = sender.fill([stage.transfer(i, b"\x78" * 20 if i == WRONG else stage.addresses[i + 2]) for i in range(3)])
    made = Made(stage, sender, batch)
    wrong = break_it(made)
    alone, first = _only(wrong, WRONG), snapshot(stage)
    verdict = refused(stage.producer.admit(alone))[0]
    assert (verdict.rule, verdict.transaction) == (rule, 0), verdict
    assert snapshot(stage) == first, "it left a trace"
    verdicts = refused(stage.producer.admit(wrong))
    assert {t: v.rule for t, v in verdicts.items()} == {WRONG: rule}
    place, differing = verdicts[WRONG].move, _rows_that_differ(wrong, batch)
    if place is not None and differing:
        row = one(wrong, WRONG)[0] + place
        assert row in differing or row - 1 in differing, "a rule over two rows names the second"
    assert refused(stage.producer.admit(batch)).keys() == {0, 2}, "as it should be, it is taken"
    stage.seal()


def _only(batch: Batch, t: int) -> Batch:
    """One transaction of a batch as a batch."""
    start, stop = one(batch, t)
    return Batch(
        (batch.envelopes[t],), *(getattr(batch, name)[t : t + 1] for name in ("consumes", "references")),
        batch.status[t : t + 1], batch.gas_used[t : t + 1], batch.logs_hash[t : t + 1], batch.moves.take(start, stop),
        batch.intx[start:stop], batch.codes,
    )  # fmt: skip


def _rows_that_differ(wrong: Batch, right: Batch) -> set[int]:
    n = min(len(wrong.moves), len(right.moves))
    differ = (wrong.intx[:n] != right.intx[:n]).any(axis=1)
    return {row for row in range(n) if differ[row] or wrong.moves[row] != right.moves[row]}


def test_an_unused_reference_is_refused(stage: Stage) -> None:
    """X4: a valid reference that the execution does not need."""
    sender = stage.sender()
    batch = sender.fill([stage.transfer(0, STRANGER)])
    donor = sender.fill([stage.call(1, WRITER, word(5) + ZERO32)])
    row, at = row_of(donor, 0, (Mark.STORAGE, WRITER, word(5))), len(batch.moves)
    columns = {}
    for name in MOVES:
        ours, theirs = getattr(batch.moves, name), getattr(donor.moves, name)
        columns[name] = np.concatenate([ours, theirs[row : row + 1]])
    padded = replace(
        batch, references=batch.references + 1, moves=type(batch.moves)(**columns),
        intx=np.concatenate([batch.intx, donor.intx[row : row + 1]]),
    )  # fmt: skip
    verdict = refused(stage.producer.admit(padded))[0]
    assert (verdict.rule, verdict.move) == (Rule.X4, at)
