"""Old bodies go; everything that does not need them goes on, and what needs them says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manaflow.coordinator.following import Follower
from manaflow.coordinator.latest_index import LatestIndex
from manaflow.errors import Failure, Pruned, Rule, StorageFailure, Verdict
from manaflow.moves.marks import Mark
from manaflow.validator import pruning
from manaflow.validator.archive import PRUNED_MAGIC
from manaflow.validator.pruning import count_pruned, prune, prune_below
from manaflow.validator.store import Table
from manaflow.validator.validator import Validator
from tests.catalogue.dishonest import Draft, resigned, sealed
from tests.manaflow_chain import Producer

BLOCKS = 12


@pytest.fixture(scope="module")
def producer() -> Producer:
    producer = Producer()
    for i in range(BLOCKS + 1):
        producer.seal([producer.sign(i % 2, bytes([i + 1]) * 20, value=1)])
    return producer


@pytest.fixture
def validator(producer: Producer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Validator]:
    """Twelve blocks of a chain whose blocks are final after four, and of which three bodies are always kept."""
    monkeypatch.setattr(pruning, "KEPT_ALWAYS", 3)
    monkeypatch.setattr(pruning, "_AT_ONCE", 3)
    with Validator.create(tmp_path / "state", producer.genesis) as validator:
        for block in producer.blocks[:BLOCKS]:
            validator.import_block(block)
        yield validator


@pytest.mark.parametrize(("keep", "below"), [(0, 8), (3, 5), (6, 2), (7, 1), (100, 1)])
def test_what_is_not_final_and_what_is_to_be_kept_stays(validator: Validator, keep: int, below: int) -> None:
    assert prune_below(validator, keep) == below
    report = prune(validator, keep)
    assert (report.below, report.bodies) == (below, below - 1)
    assert (report.freed > 0) == (below > 1)
    assert count_pruned(validator) == below - 1
    for number in range(BLOCKS + 1):
        if 0 < number < below:
            with pytest.raises(Pruned, match=f"the body of block {number} .* was pruned here"):
                validator.block(number)
        else:
            assert validator.block(number) is not None


def test_the_last_blocks_are_kept_whatever_is_final(validator: Validator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "KEPT_ALWAYS", 9)
    assert prune_below(validator, 0) == BLOCKS - 9 + 1
    with pytest.raises(Failure, match="negative"):
        prune_below(validator, -1)


def test_a_pruned_node_goes_on(validator: Validator, producer: Producer) -> None:
    prune(validator, 0)
    assert prune(validator, 0).bodies == 0
    report = validator.check()
    assert report.blocks == BLOCKS + 1
    validator.import_block(producer.blocks[BLOCKS])
    assert validator.undo_block() == BLOCKS + 1
    for number in range(BLOCKS, 7, -1):
        assert validator.undo_block() == number
    for block in producer.blocks[7:BLOCKS]:
        validator.import_block(block)
    path = validator.store.path
    validator.close()
    with Validator.open(path) as again:
        assert again.check() == report
        header = again.header(1)
        assert header is not None
        assert header.hash == producer.blocks[0].hash


def test_an_undone_body_goes_too(validator: Validator, producer: Producer) -> None:
    for _ in range(BLOCKS - 1):
        validator.undo_block()
    undone = resigned(producer.blocks[1], extra_data=b"another")
    validator.import_block(undone)
    validator.undo_block()
    for block in producer.blocks[1:BLOCKS]:
        validator.import_block(block)
    assert prune(validator, 0).bodies == 7 + 1
    with pytest.raises(Pruned, match="block 2 "):
        validator.block(undone.hash)
    with pytest.raises(Pruned, match="block 2 "):
        validator.import_block(resigned(producer.blocks[2], parent_hash=undone.hash))


def test_a_verdict_that_the_bodies_would_word_stays_a_verdict(validator: Validator, producer: Producer) -> None:
    """A move that names a cell which a pruned block made and consumed: refused by V2, without the winner's name."""
    draft = Draft.of(producer.blocks[BLOCKS])
    t = draft.signed[0]
    i = next(i for i, move in enumerate(draft[t].moves) if move.mark == Mark.NONCE)
    spent = producer.blocks[2].moves.objects()
    first = next(move for move in spent if move.mark == Mark.NONCE and move.addr == producer.addresses[0])
    draft[t].change(i, number=first.number)
    lie = sealed(draft)
    with pytest.raises(Verdict) as full:
        validator.judge_block(lie)
    prune(validator, 0)
    with pytest.raises(Verdict) as bare:
        validator.judge_block(lie)
    assert full.value.rule == bare.value.rule == Rule.V2
    assert full.value.transaction == bare.value.transaction
    assert full.value.winner is not None
    assert bare.value.winner is None


def test_a_final_block_is_not_convicted_away(validator: Validator, producer: Producer) -> None:
    """F1 of a block that the journal no longer holds is refused, pruned or not: never half done."""
    prune(validator, 0)
    with validator.store.write() as txn:
        txn.delete(Table.RECENT, (1).to_bytes(8, "big"))
    with pytest.raises(Failure, match="too old"):
        validator.convict(producer.blocks[0].hash, b"proof")
    assert validator.conviction(producer.blocks[0].hash) is None


def test_a_latest_index_follows_on_but_is_not_built_anew(
    validator: Validator, producer: Producer, tmp_path: Path
) -> None:
    with LatestIndex.open(tmp_path / "latest") as latest:
        list(Follower(validator, latest).catch_up())
        prune(validator, 0)
        validator.import_block(producer.blocks[BLOCKS])
        assert len(list(Follower(validator, latest).catch_up())) == 1
    with LatestIndex.open(tmp_path / "anew") as latest, pytest.raises(Pruned, match="block 1 "):
        list(Follower(validator, latest).catch_up())


def test_check_finds_a_header_that_was_changed(validator: Validator, producer: Producer) -> None:
    prune(validator, 0)
    with validator.store.write() as txn:
        txn.put(Table.BLOCKS, producer.blocks[2].hash, PRUNED_MAGIC + producer.blocks[3].header.encode())
    with pytest.raises(StorageFailure, match="pruned block 3 is another"):
        validator.check()
