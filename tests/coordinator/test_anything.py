"""Whatever strangers send: what is admitted and sealed is a valid block anywhere, what is refused would break one."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from rlp.exceptions import SerializationError

from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.following import Follower
from manaflow.coordinator.latest_index import VIRGIN_RECORD, LatestIndex, LatestTable
from manaflow.coordinator.messages import Fill, Learnt, Lost, Opened, Replied, Send, Submit
from manaflow.coordinator.policy import Arrival, PriorityFee
from manaflow.coordinator.producer import Producer
from manaflow.coordinator.seal import seal
from manaflow.errors import Rule, Verdict
from manaflow.evm.native_hashing import NATIVE
from manaflow.evm.pyevm.executor import PyEvmExecutor
from manaflow.moves.batch import EMPTY_BATCH, Batch, Reply, is_full
from manaflow.moves.block import Block
from manaflow.moves.marks import Mark
from manaflow.moves.wire import encode_block
from manaflow.moves.wire_batch import decode_batch, encode_batch
from manaflow.validator.admission import OpenBlock
from manaflow.validator.admitted import part_of
from manaflow.validator.backwards import verify_backwards
from manaflow.validator.candidates import candidates_of
from manaflow.validator.execution import judge_alone, senders_of
from manaflow.validator.validator import Validator
from tests.conftest import is_nightly
from tests.coordinator import anything
from tests.coordinator.anything import Signer, tampered
from tests.manaflow_chain import COINBASE
from tests.validator.test_admission_wrong import _only

EVERYDAY = (0, 1)
SEEDS = range(200) if is_nightly() else EVERYDAY
BLOCKS, STEPS = 3, 30


class Play:
    """One producer, three coordinators, one other validator, and a seed."""

    def __init__(self, path: Path, seed: int) -> None:
        self.rng = Random(seed)
        self.chain = anything.chain()
        self.validator = Validator.create(path / "one", self.chain.genesis, mode="execute", threads=1)
        self.other = Validator.create(path / "other", self.chain.genesis, mode="execute", threads=1)
        self.latest = LatestIndex.open(path / "latest")
        self.follower = Follower(self.validator, self.latest)
        list(self.follower.catch_up())
        self.producer = Producer(self.validator, self.latest, self.chain.filler.key)
        self.coordinators = [self._coordinator(i) for i in range(3)]
        self.signer = Signer(self.chain, self.rng, self.record, self.code, self.follower.block_hashes)
        self.sends: list[tuple[int, Send]] = []
        self.refused: list[tuple[Batch, Verdict]] = []
        self.count = Counter[str]()
        self.burned, self.supply = 0, self._supply()

    def close(self) -> None:
        self.latest.close()
        self.validator.close()
        self.other.close()

    def _coordinator(self, i: int) -> Coordinator:
        policy = PriorityFee() if i == 1 else Arrival()
        return Coordinator(self.chain.config, self.validator.head[0], self.latest, self.code, policy=policy)

    @property
    def block(self) -> OpenBlock:
        assert self.producer.block is not None
        return self.producer.block

    def code(self, code_hash: bytes) -> bytes | None:
        """Sealed, or of the open block."""
        block = self.producer.block
        return (block and block.codes.get(code_hash)) or self.validator.code(code_hash)

    def record(self, key: bytes) -> bytes:
        """What lives at a key, in the open block or sealed."""
        block = self.producer.block
        found = block and block.cell((key[0], key[1:21], key[21:]))
        if found:
            return bytes(8) + found.intx + found.value
        return self.latest.record(key) or VIRGIN_RECORD

    def _supply(self) -> int:
        with self.latest._store.read() as txn:
            rows = [bytes(v) for k, v in txn.items(LatestTable.CELLS) if bytes(k)[0] == Mark.BALANCE]
        return sum(int.from_bytes(row[40:], "big") for row in rows)

    def open(self) -> None:
        others = [*self.chain.addresses[:2], anything.GIVER, anything.PRECOMPILES[2]]
        coinbase = self.rng.choice([COINBASE, COINBASE, *others])
        self.producer.open(timestamp=self.validator.head[0].timestamp + 12, coinbase=coinbase)
        reply = self.producer.admit(EMPTY_BATCH)
        message = Opened(self.block.header, self.follower.block_hashes(self.block.header), reply.sequence, reply.cells)
        for coordinator in self.coordinators:
            coordinator.handle(message)

    def admit(self, batch: Batch, since: int) -> Reply:
        batch = decode_batch(encode_batch(batch)) if self.rng.random() < 0.3 else batch
        reply = self.producer.admit(batch, since)
        for t, verdict in enumerate(reply.verdicts):
            self.count["admitted" if verdict is None else "refused"] += 1
            if verdict is not None and not is_full(verdict) and (not self.refused or self.rng.random() < 0.2):
                self.refused.append((_only(batch, t), verdict))
        return reply

    def step(self) -> None:
        rng, who = self.rng, self.rng.randrange(3)
        mine = self.coordinators[who]
        match rng.randrange(8):
            case 0 | 1:
                make = self.signer.declared if rng.random() < 0.6 else self.signer.ethereum
                envelopes = tuple(make(self.block.header) for _ in range(rng.choice([1, 2, 4])))
                self.count["sent"] += len(envelopes)
                mine.handle(Submit(envelopes))
                if rng.random() < 0.3:
                    self.coordinators[who - 1].handle(Submit(envelopes))
            case 2 | 3 | 4:
                results = mine.handle(Fill(rng.choice([1, 3, 10])))
                for send in (r for r in results if isinstance(r, Send)):
                    if rng.random() < 0.5:
                        self.bad(send)
                    if rng.random() < 0.9:
                        mine.handle(Replied(send.id, self.admit(send.batch, send.since)))
                    else:
                        if rng.random() < 0.5:
                            self.admit(send.batch, send.since)
                        mine.handle(Lost(send.id))
            case _:
                mine.handle(Learnt(self.producer.admit(EMPTY_BATCH, mine.sequence)))

    def bad(self, send: Send) -> None:
        """Somebody else sends the batch, changed."""
        for _ in range(3):
            batch = tampered(send.batch, self.rng)
            with suppress(Verdict):  # B1: it is no batch
                self.admit(batch, 0)
            if self.rng.random() < 0.3:
                self.force()

    def forced(self, batch: Batch) -> Block | None:
        """The block that a producer makes who admits what is refused."""
        clone = OpenBlock.restore(self.validator)
        assert clone is not None
        judged = clone._judge(candidates_of(batch, clone.header, 1))
        clone._overlay.check(judged.rows, 0, judged.candidates.splits[0], judged.candidates.offsets[1])
        far = clone._overlay.next_number + 10**6
        judged.rows.number[:] = [far if n == -1 else n for n in judged.rows.number]
        try:
            clone._take(judged.candidates, judged.rows, 0, judged.needs[0])
        except KeyError:
            return None
        clone._parts.append(part_of(judged, [0], batch.codes, {}))
        return seal(clone.header, self.producer._body(clone), self.chain.filler.key, NATIVE)

    def force(self) -> None:
        for batch, _ in self.refused[-6:]:
            verdict = next(iter(self.producer.admit(batch).verdicts))
            if verdict is None or is_full(verdict):
                continue
            try:
                block = self.forced(batch)
            except (OverflowError, ValueError, SerializationError):
                continue
            if block is None:
                continue
            self.count["forced"] += 1
            try:
                self.other.judge_block(block)
            except Verdict:
                self.count["refused alike"] += 1
            else:  # the number is right, only the name that the batch gives to the cell's maker is not
                assert verdict.rule is Rule.V1, f"admission refuses what is valid: {verdict}"
        self.refused.clear()

    def seal(self) -> None:
        block = self.producer.seal()
        data = encode_block(block, NATIVE)
        self.other.import_block(data)
        if self.rng.random() < 0.3:
            self.other.undo_block()
            self.other.import_block(data)
        assert self.other.head == self.validator.head
        self.burned += block.header.gas_used * block.header.base_fee
        for message in self.follower.catch_up():
            for coordinator in self.coordinators:
                coordinator.handle(message)
        assert self._supply() == self.supply - self.burned, "no ether from nothing, and none lost"

    def alone(self, block: Block, how_many: int) -> None:
        senders, config = senders_of(self.chain.config, block), self.chain.config
        for t in self.rng.sample(range(len(block.leaves)), min(how_many, len(block.leaves))):
            assert judge_alone(PyEvmExecutor(), config, block, t, senders[t].tobytes(), self.other.code) is None, t


def play(path: Path, seed: int) -> Play:
    game = Play(path, seed)
    try:
        for _ in range(BLOCKS):
            game.open()
            for _ in range(STEPS):
                game.step()
            game.force()
            game.seal()
            block = game.other.block(game.other.head[0].number)
            assert block is not None
            game.alone(block, 3)
        game.other.check()
        blocks = [game.other.block(n) for n in range(BLOCKS, -1, -1)]
        list(verify_backwards([b for b in blocks if b is not None], game.chain.config))
        before = game.other.index.content()
        for _ in range(BLOCKS):
            game.other.undo_block()
        for block in reversed(blocks[:-1]):
            assert block is not None
            game.other.import_block(block)
        assert game.other.index.content() == before
    finally:
        game.close()
    return game


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_admitted_is_valid_anywhere(tmp_path: Path, seed: int) -> None:
    game = play(tmp_path, seed)
    assert game.count["admitted"]
    if seed in EVERYDAY:  # in others it may happen that nothing is refused
        assert game.count["admitted"] >= 5
        assert game.count["refused alike"]
