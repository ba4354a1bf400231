"""Two coordinators, one open block, a bad network: batches and replies are lost, repeated, late and out of order.

A seed replays exactly: the same messages give the same results, byte for byte.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import fields
from pathlib import Path

import pytest

from manaflow.coordinator.messages import Dropped, Fill, Learnt, Lost, Message, Notice, Reason, Replied, Result, Send
from manaflow.coordinator.messages import Submit as Submitted
from manaflow.moves.batch import Batch, Reply
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Mark
from manaflow.moves.transactions import Flag
from tests.chain import ETHER
from tests.conftest import is_nightly
from tests.coordinator.desk import Desk, empty_batch
from tests.coordinator.test_core import COUNT, COUNTER, COUNTER_CODE, everything, unsaid, value_open, word
from tests.manaflow_chain import COINBASE, Producer

SEEDS = range(40) if is_nightly() else range(3)
PAID = b"\x77" * 20


def digest(result: Result) -> str:
    """All of a result in a few bytes."""
    if not isinstance(result, Send):
        return repr(result)
    batch = result.batch
    columns = [getattr(batch, f.name) for f in fields(Batch) if f.name not in ("moves", "envelopes", "codes")]
    columns += [getattr(batch.moves, f.name) for f in fields(type(batch.moves))]
    data = b"".join(column.tobytes() for column in columns) + b"".join(batch.envelopes) + b"".join(batch.codes)
    return f"{result.id} {result.since} {hashlib.sha256(data).hexdigest()}"


class Network:
    """Everything that may happen, picked by a seed."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk, self.rng = desk, random.Random(seed)
        self.coordinators = [desk.coordinator(), desk.coordinator()]
        self.sends: list[tuple[int, Send]] = []
        self.old: list[tuple[int, Send]] = []
        self.replies: list[tuple[int, int, Reply]] = []
        self.trace: list[str] = []
        self.results: list[Result] = []
        self.burned = 0
        self.landed: list[bytes] = []

    def tell(self, who: int, message: Message) -> None:
        results = self.coordinators[who].handle(message)
        self.trace += [f"{who} {digest(result)}" for result in results]
        self.results += results
        self.sends += [(who, result) for result in results if isinstance(result, Send)]

    def step(self) -> None:
        rng = self.rng
        match rng.randrange(9):
            case 0 | 1 | 2:
                self.tell(rng.randrange(2), Fill(rng.choice([1, 3, 10])))
            case 3 | 4 if self.sends:
                who, send = self.sends.pop(rng.randrange(len(self.sends)))
                self.old.append((who, send))
                self.replies.append((who, send.id, self.desk.admit(send)))
            case 5 | 6 if self.replies:
                who, batch, reply = self.replies[rng.randrange(len(self.replies))]
                if rng.random() < 0.7:  # else it will come again
                    self.replies.remove((who, batch, reply))
                self.tell(who, Replied(batch, reply))
            case 7 if self.sends or self.replies:
                pending = [(who, send.id) for who, send in self.sends] + [
                    (who, batch) for who, batch, _ in self.replies
                ]
                who, batch = pending[rng.randrange(len(pending))]
                if rng.random() < 0.5:  # lost on the way there; else on the way back, or only late
                    self.sends = [(w, send) for w, send in self.sends if (w, send.id) != (who, batch)]
                self.tell(who, Lost(batch))
            case 8 if self.old:
                who, send = self.old[rng.randrange(len(self.old))]
                self.replies.append((who, send.id, self.desk.admit(send)))  # an old fill, replayed
            case _:
                who = rng.randrange(2)
                assert self.desk.open is not None
                known = self.coordinators[who].sequence
                self.tell(who, Learnt(self.desk.open.admit(empty_batch(), known)))

    def settle(self) -> None:
        """Everything that can land lands."""
        pending = [(who, send.id) for who, send in self.sends] + [(who, batch) for who, batch, _ in self.replies]
        for who, batch in pending:
            self.tell(who, Lost(batch))
        self.sends.clear()
        for _ in range(6):
            for coordinator in self.coordinators:
                self.results += self.desk.pump(coordinator)

    def seal(self) -> None:
        block = self.desk.seal()
        self.trace.append(block.hash.hex())
        self.burned += block.header.gas_used * block.header.base_fee
        self.landed += [keccak256(raw) for raw in block.envelopes]
        self.old.clear()


def play(path: Path, seed: int) -> Network:
    desk = Desk(path, Producer(alloc={COUNTER: (0, 1, COUNTER_CODE, {ZERO32: word(5)})}))
    try:
        return _play(desk, seed)
    finally:
        desk.close()


def _play(desk: Desk, seed: int) -> Network:
    rng, net = random.Random(seed), Network(desk, seed)
    masked: list[bytes] = []
    fixed: list[bytes] = []
    for _ in range(3):
        for i in range(12):
            sender = i % 4
            if rng.random() < 0.5:
                to = rng.choice([COUNTER, PAID])
                masked.append(desk.chain.sign(sender, to, value=3 * ETHER if to == PAID else 0))
            else:
                masked.append(desk.declare(sender, COUNTER, rng.choice([value_open, unsaid]), flags=Flag.OPEN))
        fixed.append(desk.declare(4, COUNTER, everything, nonce=0))
        desk.open_block()
        for raw in (*masked[-12:], fixed[-1]):
            for who in (0, 1) if raw == fixed[-1] else rng.choice([(0,), (1,), (0, 1)]):
                net.tell(who, Submitted((raw,)))
        for _ in range(60):
            net.step()
        net.settle()
        net.seal()
    wei = sum(
        int.from_bytes(desk.latest.cell((Mark.BALANCE, a, ZERO32)).value, "big")
        for a in (*desk.chain.addresses, COINBASE, PAID, COUNTER)
    )
    assert wei + net.burned == 5 * 1000 * ETHER
    check(desk, net, masked, fixed)
    return net


def check(desk: Desk, net: Network, masked: list[bytes], fixed: list[bytes]) -> None:
    """One chain, everything masked in it once, everything fixed in it or told why not."""
    assert len(net.landed) == len(set(net.landed))
    assert {keccak256(raw) for raw in masked} <= set(net.landed)
    counted = sum(raw in desk.validator.block(n).envelopes for n in (1, 2, 3) for raw in fixed)  # type: ignore[union-attr]
    assert counted <= 1
    told = {result.txid: result for result in net.results if isinstance(result, Notice)}
    for raw in fixed:
        txid = keccak256(raw)
        if txid not in net.landed:
            gone = [r for r in net.results if isinstance(r, Dropped) and r.txid == txid]
            assert txid in told or any(r.reason in (Reason.NONCE_USED, Reason.REPLACED) for r in gone)
    for notice in told.values():
        assert notice.location == COUNT
        assert notice.winner in net.landed
    assert all(len(coordinator.pool) == 0 for coordinator in net.coordinators)
    dropped = {r.txid for r in net.results if isinstance(r, Dropped)}
    assert not dropped & {keccak256(raw) for raw in masked}


@pytest.mark.parametrize("seed", SEEDS)
def test_one_chain_comes_of_it_and_a_seed_replays_it(tmp_path: Path, seed: int) -> None:
    first = play(tmp_path / "a", seed)
    assert play(tmp_path / "b", seed).trace == first.trace
