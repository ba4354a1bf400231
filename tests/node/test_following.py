"""A chain that follows: honest sources, liars, forks, convictions; what it takes, what it keeps, whom it blames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from manaflow.errors import Convicted, Rule, Verdict
from manaflow.evm.pyevm.executor import PyEvmExecutor
from manaflow.fraudproof.challenge import Accusation
from manaflow.fraudproof.consequences import Judged, apply_proof, judge_proof
from manaflow.fraudproof.equivocation import is_equivocation
from manaflow.moves.block import Block
from manaflow.moves.wire import encode_block
from manaflow.node.following import (
    BlockFollower,
    Equivocated,
    Event,
    Head,
    Imported,
    Refused,
    SourceFault,
    Undid,
    Voided,
    wait_after,
)
from manaflow.validator.validator import Mode, Validator
from manaflow.validator.witness import Witness
from tests.catalogue.dishonest import Draft, resigned, sealed
from tests.manaflow_chain import Producer


@dataclass
class Given:
    """A source that has these blocks, by number."""

    blocks: dict[int, bytes]
    announced: Head | None = None
    convictions: dict[bytes, bytes] = field(default_factory=dict)
    name: str = "given"

    @staticmethod
    def of(producer: Producer, *blocks: Block) -> Given:
        chain = [producer.genesis.block, *blocks]
        last = chain[-1]
        files = {block.header.number: encode_block(block) for block in chain}
        return Given(files, Head(last.header.number, last.hash))

    def head(self) -> Head:
        assert self.announced is not None
        return self.announced

    def block(self, number: int) -> bytes | None:
        return self.blocks.get(number)

    def conviction(self, block_hash: bytes) -> bytes | None:
        return self.convictions.get(block_hash)


@pytest.fixture(scope="module")
def producer() -> Producer:
    """Six blocks; a block is final after four."""
    producer = Producer()
    for i in range(6):
        producer.seal([producer.sign(i % 2, bytes([i + 1]) * 20, value=1)])
    return producer


@pytest.fixture(scope="module")
def other(producer: Producer) -> list[Block]:
    """Another chain by the same producer: the first two blocks, and five more."""
    other = Producer()
    for i in range(2):
        other.seal([other.sign(i % 2, bytes([i + 1]) * 20, value=1)])
    assert other.blocks[1].hash == producer.blocks[1].hash
    for i in range(5):
        other.seal([other.sign(2, bytes([0xA0 + i]) * 20, value=1)])
    return other.blocks


@pytest.fixture
def validator(producer: Producer, tmp_path: Path) -> Iterator[Validator]:
    with Validator.create(tmp_path / "state", producer.genesis) as validator:
        yield validator


def follow(validator: Validator, source: Given) -> list[Event]:
    def judge(data: bytes) -> Judged:
        return judge_proof(validator.config, data, PyEvmExecutor())

    return list(BlockFollower(validator, judge).follow(source))


def kinds(events: list[Event]) -> list[tuple[str, int]]:
    return [(type(event).__name__, event.number) for event in events]


def lying(block: Block) -> Block:
    """It says of a payment that it failed: mode moves takes it."""
    draft = Draft.of(block)
    draft[draft.signed[-1]].say(status=0)
    return sealed(draft)


def conviction_of(validator: Validator, number: int) -> bytes:
    block = validator.block(number)
    assert block is not None
    accusation = Accusation(Witness(validator), block)
    verdict = accusation.verdict()
    assert verdict is not None
    return accusation.proof(verdict).encode()


def test_it_catches_up_and_then_asks_for_nothing(validator: Validator, producer: Producer) -> None:
    source = Given.of(producer, *producer.blocks)
    assert kinds(follow(validator, source)) == [("Imported", n) for n in range(1, 7)]
    assert validator.head[1] == producer.blocks[5].hash
    source.blocks.clear()
    assert follow(validator, source) == []


def test_a_source_that_lags_is_no_reason_to_go_back(validator: Validator, producer: Producer) -> None:
    follow(validator, Given.of(producer, *producer.blocks))
    for behind in range(7):
        assert follow(validator, Given.of(producer, *producer.blocks[:behind])) == []
    assert validator.head[1] == producer.blocks[5].hash


def test_a_longer_branch_is_followed_and_the_equivocation_kept(
    validator: Validator, producer: Producer, other: list[Block]
) -> None:
    follow(validator, Given.of(producer, *producer.blocks[:5]))
    events = follow(validator, Given.of(producer, *other))
    assert kinds(events) == [
        ("Equivocated", 3),
        ("Undid", 5), ("Undid", 4), ("Undid", 3),
        *(("Imported", n) for n in range(3, 8)),
    ]  # fmt: skip
    assert validator.head[1] == other[6].hash
    found = events[0]
    assert isinstance(found, Equivocated)
    assert is_equivocation(found.proof)
    assert validator.equivocation(found.producer, 3) is not None
    validator.check()


@pytest.mark.parametrize("length", [3, 4, 5])
def test_a_branch_that_is_not_longer_is_not(
    length: int, validator: Validator, producer: Producer, other: list[Block]
) -> None:
    follow(validator, Given.of(producer, *producer.blocks[:5]))
    assert follow(validator, Given.of(producer, *other[:length])) == []
    assert validator.head[1] == producer.blocks[4].hash


def test_what_is_final_is_not_taken_back(validator: Validator, producer: Producer, other: list[Block]) -> None:
    """Six blocks, four of which may still fall: the fork is at the second, which is just within."""
    seventh = Producer()
    for i in range(6):
        seventh.seal([seventh.sign(i % 2, bytes([i + 1]) * 20, value=1)])
    follow(validator, Given.of(producer, *producer.blocks, seventh.seal([]).block))
    with pytest.raises(SourceFault, match="differs at block 3, which is final here"):
        follow(validator, Given.of(producer, *other, other[6]))
    assert validator.head[0].number == 7


def test_a_source_of_another_chain(validator: Validator, producer: Producer) -> None:
    stranger = Producer(accounts=3)
    stranger.seal([])
    with pytest.raises(SourceFault, match="differs at block 0, which is genesis"):
        follow(validator, Given.of(stranger, *stranger.blocks))
    assert validator.head[0].number == 0


def test_a_branch_whose_end_is_a_lie_leaves_everything_as_it_was(
    validator: Validator, producer: Producer, other: list[Block]
) -> None:
    follow(validator, Given.of(producer, *producer.blocks[:5]))
    draft = Draft.of(other[5])
    draft[draft.signed[0]].moves[0] = replace(draft[draft.signed[0]].moves[0], number=1)
    lie = sealed(draft)
    events = follow(validator, Given.of(producer, *other[:5], lie))
    assert kinds(events)[-1] == ("Refused", 6)
    refused = events[-1]
    assert isinstance(refused, Refused)
    assert isinstance(refused.why, Verdict)
    assert refused.hash == lie.hash
    assert validator.head[1] == producer.blocks[4].hash
    validator.check()


def test_who_stops_in_the_middle_of_a_branch_is_back_where_he_was(
    validator: Validator, producer: Producer, other: list[Block]
) -> None:
    follow(validator, Given.of(producer, *producer.blocks[:5]))

    def judge(data: bytes) -> Judged:
        return judge_proof(validator.config, data, PyEvmExecutor())

    events = BlockFollower(validator, judge).follow(Given.of(producer, *other))
    for event in events:
        if isinstance(event, Imported):
            break
    events.close()
    assert validator.head[1] == producer.blocks[4].hash


def test_a_refused_block_is_told_with_its_parent_as_the_head(producer: Producer, tmp_path: Path) -> None:
    """So that whoever handles the event proves it: mode execute finds the lie that mode moves takes."""
    lie = lying(producer.blocks[3])
    with Validator.create(tmp_path / "executing", producer.genesis, mode=Mode.EXECUTE) as validator:
        events = follow(validator, Given.of(producer, *producer.blocks[:3], lie))
        assert kinds(events) == [("Imported", 1), ("Imported", 2), ("Imported", 3), ("Refused", 4)]
        refused = events[-1]
        assert isinstance(refused, Refused)
        assert (refused.hash, refused.data) == (lie.hash, encode_block(lie))
        proof = Accusation(Witness(validator), lie).proof(refused.why).encode()
        apply_proof(validator, proof, PyEvmExecutor())
        assert isinstance(follow(validator, Given.of(producer, *producer.blocks[:3], lie))[0], Refused)
        again = follow(validator, Given.of(producer, *producer.blocks[:3], lie))[0]
        assert isinstance(again, Refused)
        assert isinstance(again.why, Convicted)
        assert kinds(follow(validator, Given.of(producer, *producer.blocks[:4]))) == [("Imported", 4)]


@pytest.fixture
def misled(validator: Validator, producer: Producer) -> tuple[Validator, bytes]:
    """Its head is a lie, block 4; and the proof."""
    for block in (*producer.blocks[:3], lying(producer.blocks[3])):
        validator.import_block(block)
    return validator, conviction_of(validator, 4)


def test_a_source_that_has_voided_a_block_takes_its_followers_back(
    misled: tuple[Validator, bytes], producer: Producer
) -> None:
    validator, proof = misled
    void = validator.head[1]
    source = Given.of(producer, *producer.blocks[:3])
    assert follow(validator, source) == []
    source.convictions[void] = proof
    assert follow(validator, source) == [Voided("given", 4, void, (4,))]
    assert validator.head[1] == producer.blocks[2].hash
    assert validator.conviction(void) is not None
    assert kinds(follow(validator, Given.of(producer, *producer.blocks))) == [("Imported", n) for n in (4, 5, 6)]


def test_a_false_conviction_takes_nobody_back(misled: tuple[Validator, bytes], producer: Producer) -> None:
    validator, proof = misled
    void = validator.head[1]
    source = Given.of(producer, *producer.blocks[:3])
    for wrong in (proof[:-1], b"", b"MANAPROOF\x01" + bytes(100)):
        source.convictions[void] = wrong
        with pytest.raises(SourceFault, match="does not verify"):
            follow(validator, source)
        assert validator.head[1] == void
    validator.undo_block()
    validator.import_block(producer.blocks[3])
    source.convictions[validator.head[1]] = proof
    with pytest.raises(SourceFault, match="proof of something else"):
        follow(validator, source)
    assert validator.head[1] == producer.blocks[3].hash


def test_a_branch_on_a_void_block_is_not_looked_at(misled: tuple[Validator, bytes], producer: Producer) -> None:
    validator, proof = misled
    lie = validator.block(4)
    assert lie is not None
    apply_proof(validator, proof, PyEvmExecutor())
    for block in producer.blocks[3:5]:
        validator.import_block(block)
    branch = [lie]
    for block in producer.blocks[4:6]:
        branch.append(resigned(block, parent_hash=branch[-1].hash, seen_parent_hash=branch[-1].hash))
    with pytest.raises(SourceFault, match=r"block 4 .* is void \(F1\)"):
        follow(validator, Given.of(producer, *producer.blocks[:3], *branch))
    assert validator.head[1] == producer.blocks[4].hash


def broken(source: Given, at: int, data: bytes | None) -> Given:
    blocks = {**source.blocks, at: data} if data is not None else {k: v for k, v in source.blocks.items() if k != at}
    return replace(source, blocks=blocks)


def test_liars_are_named_and_change_nothing(validator: Validator, producer: Producer) -> None:
    honest = Given.of(producer, *producer.blocks)
    file = honest.blocks[3]
    unsigned = encode_block(replace(producer.blocks[2], signature=bytes(65)))
    body = file[: len(file) // 2] + bytes(64) + file[len(file) // 2 + 64 : -32]
    for data, what in (
        (None, "has no block 3"),
        (b"", "is none"),
        (file[:-1], "is none"),
        (honest.blocks[4], "another number's"),
        (unsigned, "nobody may have signed"),
    ):
        with pytest.raises(SourceFault, match=what):
            follow(validator, broken(honest, 3, data))
        assert validator.head[0].number == 2
    refused = follow(validator, broken(honest, 3, body + hashlib.sha256(body).digest()))
    assert isinstance(refused[-1], Refused)
    assert isinstance(refused[-1].why, Verdict)
    assert refused[-1].why.rule in (Rule.B1, Rule.B3)
    assert kinds(follow(validator, honest)) == [("Imported", n) for n in (3, 4, 5, 6)]


def test_an_invented_head_is_a_fault(validator: Validator, producer: Producer) -> None:
    invented = replace(Given.of(producer, *producer.blocks), announced=Head(2**63, bytes(32)))
    with pytest.raises(SourceFault, match="has no block 7"):
        follow(validator, invented)
    assert validator.head[0].number == 6
    with pytest.raises(SourceFault, match="has no block 7"):
        follow(validator, invented)
    below = replace(invented, announced=Head(3, bytes(32)))
    assert follow(validator, below) == []


def test_events_name_what_happened(validator: Validator, producer: Producer, other: list[Block]) -> None:
    follow(validator, Given.of(producer, *producer.blocks[:3]))
    events = follow(validator, replace(Given.of(producer, *other[:4]), name="two"))
    assert events[1:] == [
        Undid("two", 3, producer.blocks[2].hash),
        Imported("two", 3, other[2].hash),
        Imported("two", 4, other[3].hash),
    ]


def test_a_failing_source_is_left_alone_longer_and_longer() -> None:
    assert [wait_after(n) for n in range(5)] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert wait_after(10**6) == 300.0
