"""What enters an open block together is what would have entered it one by one: verdicts, cells, numbers, totals."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from manaflow.coordinator.messages import Fill, Replied, Send, Submit
from manaflow.moves.batch import Batch, Reply
from manaflow.moves.header import Header
from manaflow.rules.bodies import most_code_bytes
from manaflow.validator.admission import OpenBlock
from manaflow.validator.admitted import Admitted
from manaflow.validator.recent import Recent
from manaflow.validator.room import Bounds, Need, Needs, Room
from tests.conftest import is_nightly
from tests.coordinator.desk import of_kind
from tests.coordinator.test_anything import Play
from tests.manaflow_chain import Producer

EVERYDAY = range(3)
SEEDS = range(100) if is_nightly() else EVERYDAY


class OneByOne(OpenBlock):
    """Takes nothing together."""

    def _takes_all(self, *_: Any) -> bool:
        return False


class Both(Play):
    """Two open blocks that are given the same; little room is left in one way or another."""

    together = 0

    def open(self) -> None:
        super().open()
        rng, block = self.rng, self.block
        most = rng.choice([Bounds(), Bounds(transactions=rng.randrange(4, 20)), Bounds(moves=rng.randrange(30, 200))])
        block.room.bounds = rng.choice([most, Bounds(envelope_bytes=rng.randrange(500, 6000))])
        block.room.gas = block.header.gas_limit - rng.choice([30_000_000, 2_000_000, 700_000])
        block.room.code_bytes = most_code_bytes(block.header) - rng.choice([1, 1000])
        slow = OneByOne(self.validator, block.header, recent=Recent(self.validator), bounds=block.room.bounds)
        slow.room = replace(block.room)
        slow._take_opening(block.admitted()[0].batch)
        self.slow = slow

    def admit(self, batch: Batch, since: int) -> Reply:
        before = len(self.block.admitted())
        one = super().admit(batch, since)
        other = self.slow.admit(batch, since, keep=False)
        assert [str(v) for v in one.verdicts] == [str(v) for v in other.verdicts]
        assert [(v and v.winner) for v in one.verdicts] == [(v and v.winner) for v in other.verdicts]
        same(one.cells, other.cells)
        assert (one.sequence, one.block) == (other.sequence, other.block)
        assert self.block.room == self.slow.room
        assert self.block.codes == self.slow.codes
        assert vars(self.block._overlay) == vars(self.slow._overlay)
        assert self.block._cells_at == self.slow._cells_at
        for mine, theirs in zip(self.block.admitted()[before:], self.slow.admitted()[before:], strict=True):
            same_part(mine, theirs)
        return one

    def many(self) -> None:
        """A batch of several, some of them tampered with."""
        who = self.rng.randrange(3)
        mine = self.coordinators[who]
        mine.handle(Submit(tuple(self.signer.ethereum(self.block.header) for _ in range(8))))
        for send in of_kind(mine.handle(Fill(50)), Send):
            if self.rng.random() < 0.3:
                self.bad(send)
            mine.handle(Replied(send.id, self.admit(send.batch, send.since)))

    def force(self) -> None:
        """Blocks by who admits what is refused: another test's."""


def same(one: Any, other: Any) -> None:
    for column in fields(one):
        assert np.array_equal(getattr(one, column.name), getattr(other, column.name)), column.name


def same_part(one: Admitted, other: Admitted) -> None:
    same(one.batch.moves, other.batch.moves)
    for name in ("consumes", "references", "status", "gas_used", "logs_hash", "intx"):
        assert np.array_equal(getattr(one.batch, name), getattr(other.batch, name)), name
    assert (one.batch.envelopes, one.batch.codes) == (other.batch.envelopes, other.batch.codes)
    assert (one.txid.tobytes(), one.blob_gas.tolist()) == (other.txid.tobytes(), other.blob_gas.tolist())
    assert (one.fees, one.logs) == (other.fees, other.logs)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_batch_enters_together_as_it_would_one_by_one(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, works = Counter[bool](), OpenBlock._takes_all

    def noting(*args: Any) -> bool:
        is_taken = works(*args)
        found[is_taken] += 1
        return is_taken

    monkeypatch.setattr(OpenBlock, "_takes_all", noting)
    play = Both(tmp_path, seed)
    try:
        for _ in range(4):
            play.open()
            for _ in range(8):
                play.many()
                play.step()
            play.producer._block = None
            play.validator.pending.begin(play.slow.header, play.slow.admitted()[0].batch)
            play.seal()
    finally:
        play.close()
    assert seed not in EVERYDAY or (found[True] and found[False]), "among many seeds a few have one of them alone"


def test_room_for_all_is_room_for_each() -> None:
    rng, config = Random(7), Producer(1).config
    opened, found = Producer(1).genesis.block.header, Counter[bool]()
    for _ in range(3000):
        room = random_room(rng, opened, config)
        count = rng.randrange(1, 5)

        def column(most: int, count: int = count) -> list[int]:
            return [rng.randrange(most) for _ in range(count)]

        used = column(300)
        limits = [gas + rng.randrange(200) for gas in used]
        needs = Needs(limits, used, [0] * count, column(10), column(9), column(60))
        one, fits = replace(room), True
        for need in (needs[t] for t in range(count)):
            fits = fits and one.refusal(need) is None
            one.take(need)
        assert room.has_for_all(needs) == fits
        room.take_all(needs)
        assert room == one
        found[fits] += 1
    assert min(found[True], found[False]) > 300
    assert not room.has_for_all(Needs([0], [0], [1], [0], [0], [0]))
    assert needs.take(0, 1)[0] == Need(limits[0], used[0], 0, needs.fees[0], needs.moves[0], needs.envelope_bytes[0], 0)


def random_room(rng: Random, opened: Header, config: Any) -> Room:
    """About as full as a few transactions are large, in one way or more."""
    room = Room(
        replace(opened, gas_limit=rng.randrange(2000)), config, Bounds(9, rng.randrange(60), rng.randrange(400))
    )
    room.transactions, room.moves, room.envelope_bytes = rng.randrange(9), rng.randrange(20), rng.randrange(100)
    room.gas, room.fees = rng.randrange(900), rng.randrange(9)
    return room
