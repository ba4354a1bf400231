"""Two coordinators, one open block, and every fault: batches and replies are lost, repeated, late and out of order, old
fills come again, somebody fills wrongly on purpose, and coordinators die and begin anew with what their disk holds.

What is admitted is sealed, and every block is valid in a second validator. A seed replays exactly: the same messages
give the same results, byte for byte.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest

from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.messages import (
    Accepted,
    Dropped,
    Fill,
    Learnt,
    Lost,
    Message,
    Notice,
    Reason,
    Refused,
    Replied,
    Restore,
    Result,
    Send,
)
from manaflow.coordinator.messages import Submit as Submitted
from manaflow.errors import Verdict
from manaflow.evm.native import RevmExecutor
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.batch import Batch, Reply
from manaflow.moves.block import Block
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Mark
from manaflow.moves.transactions import Flag
from manaflow.moves.wire import encode_block
from manaflow.validator.execution import judge_alone, senders_of
from manaflow.validator.validator import Validator
from tests.chain import ETHER
from tests.conftest import is_nightly
from tests.coordinator.anything import tampered
from tests.coordinator.desk import Desk, empty_batch, kept_after
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


class Kept:
    """A coordinator beside its disk, which outlives it."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.disk = desk, dict[int, bytes]()
        self.coordinator = self.start()
        desk.coordinators.append(self)  # type: ignore[arg-type]

    def start(self) -> Coordinator:
        desk = self.desk
        return Coordinator(desk.chain.config, desk.validator.head[0], desk.latest, desk.validator.code)

    def handle(self, message: Message) -> list[Result]:
        results = self.coordinator.handle(message)
        self.disk = kept_after(results, self.disk)
        return results

    def begin_anew(self) -> list[Result]:
        """The process is gone, and another one starts: it has what the disk holds, and hears of the open block."""
        self.coordinator = self.start()
        return self.handle(Restore(tuple(sorted(self.disk.items())))) + self.handle(self.desk.opened_message())

    @property
    def has_work(self) -> bool:
        return self.coordinator.has_work

    @property
    def sequence(self) -> int:
        return self.coordinator.sequence


class Network:
    """Everything that may happen, picked by a seed."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk, self.rng = desk, random.Random(seed)
        self.second = Validator.create(desk.path / "second", desk.chain.genesis, mode="execute", threads=1)
        self.coordinators = [Kept(desk), Kept(desk)]
        self.sends: list[tuple[int, Send]] = []
        self.old: list[tuple[int, Send]] = []
        self.replies: list[tuple[int, int, Reply]] = []
        self.trace: list[str] = []
        self.results: list[Result] = []
        self.burned = 0
        self.admitted: set[bytes] = set()
        self.landed: list[bytes] = []
        self.count = Counter[str]()

    def tell(self, who: int, message: Message) -> None:
        self.take(who, self.coordinators[who].handle(message))

    def take(self, who: int, results: list[Result]) -> None:
        self.trace += [f"{who} {digest(result)}" for result in results]
        self.results += results
        self.sends += [(who, result) for result in results if isinstance(result, Send)]

    def admit(self, batch: Batch, since: int) -> Reply:
        assert self.desk.open is not None
        reply = self.desk.open.admit(batch, since)
        self.note(batch, reply)
        return reply

    def note(self, batch: Batch, reply: Reply) -> None:
        for raw, verdict in zip(batch.envelopes, reply.verdicts, strict=True):
            if verdict is None:
                self.admitted.add(keccak256(raw))

    def step(self) -> None:
        rng = self.rng
        match rng.randrange(12):
            case 0 | 1 | 2:
                self.tell(rng.randrange(2), Fill(rng.choice([1, 3, 10])))
            case 3 | 4 if self.sends:
                who, send = self.sends.pop(rng.randrange(len(self.sends)))
                self.old.append((who, send))
                self.replies.append((who, send.id, self.admit(send.batch, send.since)))
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
                self.count["replayed"] += 1
                self.replies.append((who, send.id, self.admit(send.batch, 0)))  # an old fill, of an older block perhaps
            case 9 if self.sends or self.old:
                _, send = rng.choice([*self.sends, *self.old])
                self.fill_wrongly(send.batch)
            case 10 if rng.random() < 0.4:
                self.crash(rng.randrange(2))
            case _:
                who = rng.randrange(2)
                assert self.desk.open is not None
                known = self.coordinators[who].sequence
                self.tell(who, Learnt(self.desk.open.admit(empty_batch(), known)))

    def fill_wrongly(self, batch: Batch) -> None:
        """Somebody has overheard a batch, and sends it with lies in it."""
        with suppress(Verdict):  # B1: it is no batch
            reply = self.admit(tampered(batch, self.rng), 0)
            self.count["refused lies"] += sum(verdict is not None for verdict in reply.verdicts)

    def crash(self, who: int) -> None:
        """With all that it knows; what it has sent may still come, and answers to it find somebody else."""
        told = {result.txid for result in self.results if isinstance(result, Accepted)}
        waiting = [keccak256(raw) for raw in self.coordinators[who].disk.values()]
        self.count["crashed"] += 1
        self.count["crashed between admission and seal"] += any(txid in self.admitted for txid in waiting)
        assert told >= set(waiting)
        self.take(who, self.coordinators[who].begin_anew())

    def settle(self) -> None:
        """Everything that can land lands."""
        pending = [(who, send.id) for who, send in self.sends] + [(who, batch) for who, batch, _ in self.replies]
        for who, batch in pending:
            self.tell(who, Lost(batch))
        self.sends.clear()
        for _ in range(6):
            for coordinator in self.coordinators:
                self.pump(coordinator)

    def pump(self, coordinator: Kept) -> None:
        assert self.desk.open is not None
        self.results += coordinator.handle(Learnt(self.desk.open.admit(empty_batch(), coordinator.sequence)))
        while coordinator.has_work:
            answer = coordinator.handle(Fill())
            self.results += answer
            for send in (result for result in answer if isinstance(result, Send)):
                self.results += coordinator.handle(Replied(send.id, self.admit(send.batch, send.since)))

    def seal(self) -> None:
        block = self.desk.seal()
        self.trace.append(block.hash.hex())
        self.burned += block.header.gas_used * block.header.base_fee
        txids = [keccak256(raw) for raw in block.envelopes]
        assert set(txids) == self.admitted, "what is admitted is sealed, and nothing else"
        self.landed += txids
        self.admitted.clear()
        self.judge(block)

    def judge(self, block: Block) -> None:
        """A second validator takes it, and each of its transactions is executed alone, in any order."""
        self.second.import_block(encode_block(block, NATIVE))
        assert self.second.head == self.desk.validator.head
        config = self.desk.chain.config
        senders, order = senders_of(config, block), list(range(len(block.leaves)))
        self.rng.shuffle(order)
        for t in order:
            assert judge_alone(RevmExecutor(), config, block, t, senders[t].tobytes(), self.second.code) is None
        known = (*self.desk.chain.addresses, COINBASE, PAID, COUNTER)
        cells = [self.desk.latest.cell((Mark.BALANCE, addr, ZERO32)) for addr in known]
        assert sum(int.from_bytes(cell.value, "big") for cell in cells) + self.burned == 5 * 1000 * ETHER


def play(path: Path, seed: int) -> Network:
    desk = Desk(path, Producer(alloc={COUNTER: (0, 1, COUNTER_CODE, {ZERO32: word(5)})}))
    net = Network(desk, seed)
    try:
        _play(desk, net, random.Random(seed))
    finally:
        net.second.close()
        desk.close()
    return net


def _play(desk: Desk, net: Network, rng: random.Random) -> None:
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
    check(desk, net, masked, fixed)


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
            gone = [r for r in net.results if isinstance(r, Dropped | Refused) and r.txid == txid]
            assert txid in told or any(r.reason in (Reason.NONCE_USED, Reason.REPLACED) for r in gone)
    for notice in told.values():
        assert notice.location == COUNT
        assert notice.winner in net.landed
    assert all(not kept.disk and len(kept.coordinator.pool) == 0 for kept in net.coordinators)
    dropped = {r.txid for r in net.results if isinstance(r, Dropped)}
    assert not dropped & {keccak256(raw) for raw in masked}


@pytest.mark.parametrize("seed", SEEDS)
def test_one_chain_comes_of_it_and_a_seed_replays_it(tmp_path: Path, seed: int) -> None:
    first = play(tmp_path / "a", seed)
    for fault in ("replayed", "refused lies", "crashed", "crashed between admission and seal"):
        assert first.count[fault], fault
    assert play(tmp_path / "b", seed).trace == first.trace
