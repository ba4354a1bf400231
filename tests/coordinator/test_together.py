"""Coordinator and producer together, as in a node: it restarts at any point, and nothing is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.durable import DurableCoordinator
from manaflow.coordinator.following import Follower
from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.messages import Dropped, Fill, Notice, Opened, Replied, Send, Submit
from manaflow.coordinator.producer import Producer as BlockProducer
from manaflow.moves.block import Block
from manaflow.moves.marks import ZERO32
from manaflow.validator.validator import Validator
from tests.coordinator.desk import empty_batch, of_kind
from tests.coordinator.test_core import COUNT, COUNTER, COUNTER_CODE, word
from tests.manaflow_chain import COINBASE, Producer


class Node:
    """One process: what is in memory goes with it, what is on disk stays."""

    def __init__(self, path: Path, chain: Producer) -> None:
        is_new = not (path / "validator").exists()
        directory = path / "validator"
        make = Validator.create(directory, chain.genesis, mode="execute") if is_new else None
        self.validator = make or Validator.open(directory, mode="execute")
        self.latest = LatestIndex.open(path / "latest")
        self.follower = Follower(self.validator, self.latest)
        list(self.follower.catch_up())
        self.producer = BlockProducer(self.validator, self.latest, chain.filler.key)
        coordinator = Coordinator(chain.config, self.validator.head[0], self.latest, self.validator.code)
        self.coordinator = DurableCoordinator(coordinator, self.latest)
        if self.producer.block is not None:
            self.say_open()

    def close(self) -> None:
        self.latest.close()
        self.validator.close()

    def open(self) -> None:
        self.producer.open(timestamp=self.validator.head[0].timestamp + 12, coinbase=COINBASE)
        self.say_open()

    def say_open(self) -> None:
        assert self.producer.block is not None
        header, reply = self.producer.block.header, self.producer.admit(empty_batch())
        hashes = self.follower.block_hashes(header)
        self.coordinator.handle(Opened(header, hashes, reply.sequence, reply.cells))

    def fill(self, limit: int) -> None:
        results = self.coordinator.handle(Fill(limit))
        for send in of_kind(results, Send):
            results += self.coordinator.handle(Replied(send.id, self.producer.admit(send.batch, send.since)))
        assert not of_kind(results, Dropped) + of_kind(results, Notice)

    def seal(self) -> Block:
        block = self.producer.seal()
        for message in self.follower.catch_up():
            self.coordinator.handle(message)
        return block


@pytest.mark.parametrize("lost_at", ["fill", "admit", "seal", "import"])
def test_a_node_that_dies_goes_on(tmp_path: Path, lost_at: str) -> None:
    """Ten increments of one counter over three blocks; the node is made anew at one point of the second."""
    chain = Producer(alloc={COUNTER: (0, 1, COUNTER_CODE, {ZERO32: word(5)})})
    raws = [chain.sign(i % 5, COUNTER) for i in range(10)]
    node, landed = Node(tmp_path, chain), []
    node.coordinator.handle(Submit(tuple(raws)))
    assert node.coordinator.restored == []
    for number in (1, 2, 3):
        node.open()
        node.fill(3)
        if number == 2:
            if lost_at == "admit":
                (send,) = of_kind(node.coordinator.handle(Fill(2)), Send)
                node.producer.admit(send.batch, send.since)
            if lost_at == "import":  # sealed, and neither followed nor said
                landed.append(node.producer.seal())
            if lost_at == "seal":
                landed.append(node.seal())
            node.close()
            node = Node(tmp_path, chain)
            assert node.coordinator.restored == []  # what is sealed was not dropped
        if number == 3:
            while node.coordinator.coordinator.has_work:
                node.fill(3)
        if number != 2 or lost_at in ("fill", "admit"):
            landed.append(node.seal())
    assert sorted(raw for block in landed for raw in block.envelopes) == sorted(raws)
    assert node.latest.cell(COUNT).value == word(15)
    assert node.latest.kept() == ()
    assert len(node.coordinator.coordinator.pool) == 0
    node.close()
