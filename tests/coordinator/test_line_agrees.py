"""A line that stays from block to block gives what one gives that looks at everybody whenever a block opens."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.latest_index import VIRGIN_RECORD
from manaflow.coordinator.line import Line
from manaflow.coordinator.messages import (
    Dropped,
    Fill,
    Learnt,
    Lost,
    Message,
    Replied,
    Result,
    Send,
    Submit,
)
from manaflow.coordinator.policy import POLICIES
from manaflow.coordinator.pool import Limits
from manaflow.errors import Rule, Verdict
from manaflow.moves.batch import Reply, full
from tests.conftest import is_nightly
from tests.coordinator import anything
from tests.coordinator.anything import Signer
from tests.coordinator.desk import Desk, empty_batch, of_kind
from tests.manaflow_chain import BASE_FEE

SEEDS = range(120) if is_nightly() else (0, 1, 2, 3, 7)
BLOCKS, STEPS = 10, 14
LIMITS = Limits(transactions=10, per_sender=6, blocks=6)


class Everybody(Line):
    """The line as it was: nothing stays from one block to the next."""

    def open(self, base_fee: int) -> None:
        self.begin_anew()
        super().open(base_fee)


def shown(results: list[Result]) -> list[Any]:
    """Results that can be compared."""
    return [(r.id, r.batch.envelopes, r.since) if isinstance(r, Send) else r for r in results]


class Twins:
    """Two coordinators that are told the same and say the same, but for how their lines are kept."""

    def __init__(self, desk: Desk, policy: str) -> None:
        def made() -> Coordinator:
            header, code = desk.validator.head[0], desk.validator.code
            return Coordinator(desk.chain.config, header, desk.latest, code, policy=POLICIES[policy], limits=LIMITS)

        self.one, self.other, self.count = made(), made(), Counter[str]()
        filling = self.other.filling
        filling._line = Everybody(filling.pool, filling.view, POLICIES[policy], filling._told)

    def handle(self, message: Message) -> list[Result]:
        results = self.one.handle(message)
        assert shown(results) == shown(self.other.handle(message)), message
        for result in results:
            self.count[f"dropped {result.reason.value}" if isinstance(result, Dropped) else type(result).__name__] += 1
        return results

    @property
    def has_work(self) -> bool:
        return self.one.has_work or self.other.has_work

    @property
    def sequence(self) -> int:
        return self.one.sequence


class Play:
    """Strangers, two coordinators' worth of them, blocks that are sealed, given up and taken back, by a seed."""

    def __init__(self, path: Path, seed: int, policy: str) -> None:
        self.rng = Random(seed)
        self.desk = Desk(path, anything.chain())
        self.desk.open_block()
        self.twins, self.rival = Twins(self.desk, policy), self.desk.coordinator()
        self.desk.coordinators.append(cast(Coordinator, self.twins))
        self.twins.handle(self.desk.opened_message())
        desk = self.desk
        self.signer = Signer(desk.chain, self.rng, self.record, self.code, desk.follower.block_hashes)

    def record(self, key: bytes) -> bytes:
        found = self.desk.open and self.desk.open.cell((key[0], key[1:21], key[21:]))
        return bytes(8) + found.intx + found.value if found else self.desk.latest.record(key) or VIRGIN_RECORD

    def code(self, code_hash: bytes) -> bytes | None:
        return (self.desk.open and self.desk.open.codes.get(code_hash)) or self.desk.validator.code(code_hash)

    def envelope(self) -> bytes:
        """Of any kind; many pay about the base fee, or fill half a block, or leave a gap, or replace another."""
        rng, chain = self.rng, self.desk.chain
        assert self.desk.open is not None
        header = self.desk.open.header
        match rng.randrange(8):
            case 0:
                return self.signer.ethereum(header)
            case 1:
                return self.signer.declared(header)
        sender = rng.randrange(len(chain.keys))
        if rng.random() < 0.3:
            chain.nonces[sender] = self.signer._nonce(sender) + rng.choice([0, 0, 0, 1, 2])
        cap = header.base_fee * rng.choice([7, 8, 9, 10, 10, 11, 12, 14]) // 10
        pays: dict[str, Any] = {"max_fee": max(cap, 1), "tip": rng.randrange(1, 9) * BASE_FEE // 20}
        pays["tip"] = min(pays["tip"], pays["max_fee"])
        if rng.random() < 0.3:  # burns all of its gas
            return chain.sign(sender, b"", data=b"\xfe", gas=rng.choice([100_000, 9_000_000, 14_000_000]), **pays)
        return chain.sign(sender, rng.choice(chain.addresses), value=rng.choice([0, 1, 10**15]), gas=21_000, **pays)

    def submit(self, coordinator: Coordinator | Twins) -> None:
        coordinator.handle(Submit(tuple(self.envelope() for _ in range(self.rng.choice([1, 2, 3])))))

    def fill(self, coordinator: Coordinator | Twins, limit: int) -> bool:
        """One batch, and whatever comes of it. False if there was none."""
        sends: list[Send] = of_kind(coordinator.handle(Fill(limit)), Send)
        for send in sends:
            rng = self.rng
            if coordinator is self.twins and rng.random() < 0.15:
                self.strange(send)
                continue
            if rng.random() < 0.1:  # others come first
                self.fill(self.rival if coordinator is self.twins else self.twins, 2)
            coordinator.handle(Replied(send.id, self.desk.admit(send)))
        return bool(sends)

    def strange(self, send: Send) -> None:
        """The reply is lost, or comes late, or says what is not so."""
        rng = self.rng
        if rng.random() < 0.3:
            self.twins.handle(Learnt(self.lies()))
        match rng.randrange(5):
            case 0:
                self.twins.handle(Lost(send.id))
            case 1:
                self.desk.admit(send)
                self.twins.handle(Lost(send.id))
            case 2:
                honest = self.desk.admit(send)
                no_room = full(Rule.X0, "gas limit", "none", 1)
                verdict = rng.choice([no_room, Verdict(Rule.V2, "lost", winner=rng.randbytes(32)), None])
                verdicts = tuple(v if rng.random() < 0.5 else verdict for v in honest.verdicts)
                self.twins.handle(Replied(send.id, replace(honest, verdicts=verdicts)))
            case 3:  # nothing of it is so
                assert self.desk.open is not None
                verdicts, known = (None,) * len(send.batch), self.desk.open.admit(empty_batch(), 0)
                self.twins.handle(
                    Replied(send.id, replace(known, verdicts=verdicts, sequence=send.since + len(verdicts)))
                )
            case 4:
                lies = replace(self.lies(), verdicts=(None,) * len(send.batch))
                self.twins.handle(Replied(send.id, replace(lies, sequence=send.since + rng.randrange(4))))

    def lies(self) -> Reply:
        """The open block's cells with other values."""
        assert self.desk.open is not None
        reply = self.desk.open.admit(empty_batch(), 0)
        values = reply.cells.value.copy()
        values[:, self.rng.randrange(25, 32)] ^= self.rng.randrange(256)  # no world takes a nonce of more bytes
        return replace(reply, cells=replace(reply.cells, value=values), sequence=reply.sequence + self.rng.randrange(3))

    def heals(self) -> None:
        """Whatever was told of a block that is over, what is believed now is what is sealed."""
        for coordinator in (self.twins.one, self.twins.other):
            view = coordinator.view
            for key in view.known.keys() - view._open:
                sealed = self.desk.latest.record(key) or VIRGIN_RECORD
                assert view.known[key] == sealed
                assert view.world.get(key[0], key[1:21], key[21:]) == sealed[40:]
            assert not any(entry.is_held for entry in coordinator.pool)

    def step(self) -> None:
        rng = self.rng
        match rng.randrange(8):
            case 0 | 1 | 2:
                self.submit(self.twins)
            case 3:
                self.submit(self.rival)
            case 4 | 5:
                self.fill(self.twins, rng.choice([1, 2, 5, 50]))
            case 6:
                self.fill(self.rival, rng.choice([1, 5]))
            case 7:
                assert self.desk.open is not None
                self.twins.handle(Learnt(self.desk.open.admit(empty_batch(), self.twins.sequence)))

    def block(self) -> None:
        """A block comes to its end in one of many ways."""
        rng, desk = self.rng, self.desk
        for _ in range(rng.randrange(STEPS)):
            self.step()
        end = rng.random()
        if end < 0.15:
            desk.open_block()  # what was open is given up
            return
        desk.seal()
        while rng.random() < 0.15 and desk.validator.head[0].number > desk.chain.config.genesis_number + 1:
            desk.undo()
        self.heals()
        for _ in range(rng.randrange(3)):  # while none is open
            self.twins.handle(Submit((self.between(),)))
        desk.open_block()

    def between(self) -> bytes:
        sender = self.rng.randrange(len(self.desk.chain.keys))
        return self.desk.chain.sign(sender, self.desk.chain.addresses[0], gas=21_000, max_fee=10 * BASE_FEE)

    def rest(self) -> None:
        """In the end nothing is forgotten that could be filled."""
        for _ in range(6):
            for _ in range(20):
                assert self.desk.open is not None
                self.twins.handle(Learnt(self.desk.open.admit(empty_batch(), self.twins.sequence)))
                sends: list[Send] = of_kind(self.twins.handle(Fill(100)), Send)
                for send in sends:
                    self.twins.handle(Replied(send.id, self.desk.admit(send)))
                if not sends and not self.twins.has_work:
                    break
            self.desk.seal()
            self.heals()
            self.desk.open_block()


@pytest.mark.parametrize("policy", list(POLICIES))
@pytest.mark.parametrize("seed", SEEDS)
def test_a_line_that_stays_forgets_nobody(tmp_path: Path, seed: int, policy: str) -> None:
    play = Play(tmp_path, seed, policy)
    try:
        for _ in range(BLOCKS):
            play.block()
        play.rest()
    finally:
        play.desk.close()
    assert play.twins.count["Send"]
