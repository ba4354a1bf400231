"""The producer: what it seals is valid anywhere, what was acknowledged survives kill -9, nothing is signed twice."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from manaflow.coordinator.producer import Producer
from manaflow.errors import Failure, StorageFailure, Unsupported
from manaflow.evm.environment import SYSTEM_CONTRACTS
from manaflow.evm.pyevm.executor import PyEvmExecutor
from manaflow.moves.batch import EMPTY_BATCH
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import ZERO32, Mark
from manaflow.moves.wire import GenesisFile
from manaflow.rules.config import PRAGUE_BLOBS, Fork
from manaflow.validator.execution import judge_alone, senders_of
from manaflow.validator.validator import Validator
from tests.chain import ETHER, Chain, chain_config
from tests.chain import PRODUCER as OTHER_PRODUCER
from tests.manaflow_chain import COINBASE
from tests.validator.admitting import VIRGIN, Latest, Sender, Stage, holding, refused, snapshot

STRANGER = b"\x77" * 20
HISTORY = SYSTEM_CONTRACTS[SystemKind.HISTORY]
PATIENCE_SECONDS = 120.0
"""For a process's next word: on a busy machine, with everything to compile, it comes late."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "state")
    made.open()
    yield made
    made.close()


def busy(stage: Stage, sender: Sender) -> None:
    """Three batches, in which cells are made, consumed again and refused."""
    assert refused(sender.send(sender.fill([stage.transfer(i, STRANGER, i + 1) for i in range(3)]))) == {}
    stale = stage.sender().fill([stage.transfer(3, STRANGER)])
    assert list(refused(stage.producer.admit(stale))) == [0]
    stage.signers.nonces[3] = 0
    assert refused(sender.send(sender.fill([stage.transfer(0, stage.addresses[4]), stage.transfer(4, STRANGER)]))) == {}


def test_a_sealed_block_is_valid_in_another_validator_and_alone(stage: Stage, tmp_path: Path) -> None:
    busy(stage, stage.sender())
    block = stage.seal()
    with Validator.create(tmp_path / "other", stage.signers.genesis, mode="execute") as other:
        other.import_block(block)
        other.check()
        assert other.head == stage.validator.head
        senders = senders_of(stage.config, block)
        for t in range(len(block.leaves)):
            sender = senders[t].tobytes()
            assert judge_alone(PyEvmExecutor(), stage.config, block, t, sender, other.code) is None, t


def test_fees_are_credited_once_and_balances_add_up(stage: Stage) -> None:
    busy(stage, stage.sender())
    block = stage.seal()
    balance = stage.latest.cell((Mark.BALANCE, COINBASE, ZERO32)).value
    assert block.header.fees > 0
    assert int.from_bytes(balance, "big") == block.header.fees
    stage.open()
    sender = stage.sender()
    sender.send(sender.fill([stage.signers.sign(0, COINBASE, value=ETHER)]))  # the open block makes the coinbase's cell
    second = stage.seal()
    balance = stage.latest.cell((Mark.BALANCE, COINBASE, ZERO32)).value
    assert int.from_bytes(balance, "big") == block.header.fees + ETHER + second.header.fees


def test_empty_blocks_are_sealed(stage: Stage) -> None:
    assert [len(stage.seal().leaves)] == [1], "the history call alone"
    stage.open()
    assert stage.seal().header.number == 2


def test_the_same_admissions_make_the_same_block(tmp_path: Path) -> None:
    hashes = set()
    for name in "ab":
        stage = Stage(tmp_path / name)
        stage.open()
        busy(stage, stage.sender())
        if name == "b":
            stage.reopen()
        hashes.add(stage.seal().hash)
        stage.close()
    assert len(hashes) == 1


def test_a_restart_restores_the_open_block_exactly(stage: Stage) -> None:
    sender = stage.sender()
    busy(stage, sender)
    before = snapshot(stage)
    stage.reopen()
    assert snapshot(stage) == before
    assert refused(sender.send(sender.fill([stage.transfer(5, STRANGER)]))) == {}, "and it goes on"
    assert stage.latest.cell(holding(STRANGER)).value == ZERO32
    stage.seal()
    assert int.from_bytes(stage.latest.cell(holding(STRANGER)).value, "big") == 1 + 2 + 3 + 1 + 1


def _admit_until_killed(path: Path, reports: Connection) -> None:
    """Acknowledge one transaction after another, and say so each time."""
    stage = Stage(path)
    stage.open()
    sender = stage.sender()
    while True:
        reply = sender.send(sender.fill([stage.transfer(i, STRANGER) for i in range(3)]))
        assert refused(reply) == {}
        reports.send(reply.sequence)


def _heard(reports: Connection) -> int:
    """The child's next word. Raises EOFError if it has ended."""
    assert reports.poll(PATIENCE_SECONDS), "the child says nothing"
    told: int = reports.recv()
    return told


def test_nothing_acknowledged_is_lost_to_kill_9(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_admit_until_killed, args=(tmp_path / "state", theirs)
    )
    process.start()
    theirs.close()  # or nobody hears of it when the child ends
    try:
        acknowledged = [_heard(ours) for _ in range(5)][-1]
    finally:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    with contextlib.suppress(EOFError):
        while True:
            acknowledged = ours.recv()
    stage = _found(tmp_path / "state")
    assert stage.block.sequence >= acknowledged >= 15
    assert len(stage.seal().envelopes) >= acknowledged
    stage.close()


def _found(path: Path) -> Stage:
    """A stage over a directory that is there already."""
    made = Stage(path.parent / "unused")
    made.path = path
    made.reopen()
    return made


def test_a_crash_before_the_commit_leaves_the_block_open_and_unsigned(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = stage.sender()
    busy(stage, sender)
    before = snapshot(stage)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("manaflow.validator.validator.settle", crash)
    with pytest.raises(KeyboardInterrupt):
        stage.producer.seal()
    monkeypatch.undo()
    stage.reopen()
    assert snapshot(stage) == before
    assert stage.validator.pending.signed(stage.validator.head[1]) is None
    stage.seal()


def test_a_crash_between_commit_and_publishing_signs_no_other_block(stage: Stage) -> None:
    busy(stage, stage.sender())
    parent = stage.validator.head[1]
    block = stage.seal()  # and here the process dies
    stage.reopen()
    assert stage.producer.block is None
    assert stage.validator.head[1] == block.hash
    stored = stage.validator.block(block.hash)
    assert stored is not None
    assert (stored.hash, stored.signature) == (block.hash, block.signature), "to be published from here"
    assert stage.validator.pending.signed(parent) == block.hash
    assert stage.open().header.number == 2


def test_after_an_undo_the_parent_is_not_signed_on_again(stage: Stage) -> None:
    block = stage.seal()
    stage.validator.undo_block()
    for _ in range(2):
        with pytest.raises(Failure, match="signed already"):
            stage.open()
        stage.reopen()
    stage.validator.import_block(block)
    assert stage.open().header.number == 2


def test_another_block_on_the_parent_ends_the_open_one(stage: Stage, tmp_path: Path) -> None:
    other = Stage(tmp_path / "other")
    other.open(timestamp=2000)
    foreign = other.seal()
    other.close()
    batch = stage.sender().fill([stage.transfer(0, STRANGER)])
    stage.producer.admit(batch)
    stage.validator.import_block(foreign)
    assert stage.validator.pending.load() is None
    for act in (lambda: stage.producer.admit(batch), stage.producer.seal):
        with pytest.raises(Failure):
            act()
    stage.latest.apply(foreign)
    assert stage.open().header.parent_hash == foreign.hash


def test_an_open_block_whose_parent_is_undone_is_given_up(stage: Stage, tmp_path: Path) -> None:
    other = Stage(tmp_path / "other")
    other.open(timestamp=2000)
    foreign = other.seal()
    other.close()
    stage.validator.import_block(foreign)
    stage.latest.apply(foreign)
    stage.open()
    busy(stage, stage.sender())
    stage.validator.undo_block()
    stage.latest = Latest()
    stage.latest.apply(stage.signers.genesis.block)
    stage.reopen()
    assert stage.producer.block is None
    assert stage.open().sequence == 0


def test_one_block_is_open_at_a_time(stage: Stage) -> None:
    with pytest.raises(Failure, match="open already"):
        stage.open()
    stage.reopen()
    with pytest.raises(Failure, match="open already"):
        stage.open()


def test_what_the_disk_did_not_take_is_not_acknowledged(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = stage.sender()
    busy(stage, sender)
    before = snapshot(stage)

    def full(*_: object) -> None:
        raise StorageFailure("the disk is full")

    batch = sender.fill([stage.transfer(5, STRANGER)])
    monkeypatch.setattr("manaflow.validator.pending.Pending.acknowledge", full)
    with pytest.raises(StorageFailure):
        stage.producer.admit(batch)
    monkeypatch.undo()
    assert refused(stage.producer.admit(EMPTY_BATCH)) == {}
    assert snapshot(stage) == before
    assert refused(sender.send(batch)) == {}


def test_a_latest_index_behind_the_head_is_noticed(stage: Stage) -> None:
    stage.seal()
    stage.latest.cells[Mark.CODE, HISTORY, ZERO32] = VIRGIN
    with pytest.raises(Failure, match="does not fit the head"):
        stage.open()


def test_keys_and_chains_that_do_not_fit_are_refused(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no producer"):
        Producer(stage.validator, stage.latest, b"\x01" * 32)
    config = chain_config(fork=Fork.PRAGUE, blobs=PRAGUE_BLOBS, system_calls=(SystemKind.WITHDRAWAL_REQUESTS,))
    chain = Chain(config=config)
    genesis = GenesisFile(config.encode(), (), chain.blocks[0])
    with Validator.create(tmp_path / "requests", genesis) as validator:
        producer = Producer(validator, Latest(), OTHER_PRODUCER.secret)
        with pytest.raises(Unsupported, match="requests"):
            producer.open(timestamp=2000, coinbase=COINBASE)


def test_a_chain_of_profile_ethereum_is_produced_too(tmp_path: Path) -> None:
    chain = Chain()
    latest = Latest()
    latest.apply(chain.blocks[0])
    genesis = GenesisFile(chain.config.encode(), (), chain.blocks[0])
    with Validator.create(tmp_path / "ethereum", genesis, mode="execute") as validator:
        producer = Producer(validator, latest, OTHER_PRODUCER.secret)
        for number in (1, 2):
            producer.open(timestamp=2000 + number, coinbase=COINBASE)
            block = producer.seal()
            assert (block.header.number, len(block.leaves)) == (number, 0)


def test_what_need_not_be_kept_comes_to_disk_with_the_next_that_must(stage: Stage) -> None:
    sender = stage.sender()
    own = sender.fill([stage.transfer(0, STRANGER)])
    stage.producer.admit(own, keep=False)
    stage.reopen()
    assert stage.producer.block is not None
    assert stage.producer.block.sequence == 0, "nobody was told"
    stage.producer.admit(own, keep=False)
    stage.producer.keep()
    before = snapshot(stage)
    stage.reopen()
    assert snapshot(stage) == before
    assert stage.block.sequence == 1


def test_an_open_block_that_was_never_on_disk_comes_whole(stage: Stage) -> None:
    head, _ = stage.validator.head
    opened = stage.producer.open(timestamp=head.timestamp + 99, coinbase=COINBASE, keep=False, replace_empty=True)
    assert stage.block.header == opened
    sender = stage.sender()
    stage.producer.admit(sender.fill([stage.transfer(0, STRANGER)]), keep=False)
    stage.producer.admit(EMPTY_BATCH)
    before = snapshot(stage)
    stage.reopen()
    assert snapshot(stage) == before
    with pytest.raises(Failure, match="open already"):
        stage.producer.open(timestamp=head.timestamp + 100, coinbase=COINBASE, replace_empty=True)
    assert stage.seal().header.timestamp == head.timestamp + 99
