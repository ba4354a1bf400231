"""Coordinator and producer together, as in a node: it restarts at any point, and nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.following import Follower
from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.messages import Fill, Opened, Send
from manaflow.coordinator.producer import Producer as BlockProducer
from manaflow.moves.batch import Reply
from manaflow.moves.block import Block
from manaflow.moves.marks import ZERO32
from manaflow.node.coordinator_role import CoordinatorRole
from manaflow.validator.validator import Validator
from tests.coordinator.desk import empty_batch
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
        core = Coordinator(chain.config, self.validator.head[0], self.latest, self.validator.code)
        self.hears = True
        """Whether replies come back."""
        self.coordinator = CoordinatorRole(core, self.latest, self, self.told)
        if self.producer.block is not None:
            self.say_open()

    def send(self, send: Send, opened: bytes) -> Reply | None:
        """The coordinator's link."""
        reply = self.producer.admit(send.batch, send.since)
        return reply if self.hears else None

    def told(self, kind: str, item: Mapping[str, Any]) -> None:
        assert kind == "admitted", item

    def close(self) -> None:
        """As a kill: what is not on disk is gone."""
        self.latest.close()
        self.validator.close()

    def open(self) -> None:
        self.producer.open(timestamp=self.validator.head[0].timestamp + 12, coinbase=COINBASE)
        self.say_open()

    def say_open(self) -> None:
        assert self.producer.block is not None
        header, reply = self.producer.block.header, self.producer.admit(empty_batch())
        hashes = self.follower.block_hashes(header)
        self.coordinator.tell(Opened(header, hashes, reply.sequence, reply.cells))

    def fill(self, limit: int) -> None:
        self.coordinator.tell(Fill(limit))
        self.coordinator.flush()

    def seal(self) -> Block:
        block = self.producer.seal()
        for message in self.follower.catch_up():
            self.coordinator.tell(message)
        self.coordinator.flush()
        return block


@pytest.mark.parametrize("lost_at", ["fill", "admit", "seal", "import"])
def test_a_node_that_dies_goes_on(tmp_path: Path, lost_at: str) -> None:
    """Ten increments of one counter over three blocks; the node is made anew at one point of the second."""
    chain = Producer(alloc={COUNTER: (0, 1, COUNTER_CODE, {ZERO32: word(5)})})
    raws = [chain.sign(i % 5, COUNTER) for i in range(10)]
    node, landed = Node(tmp_path, chain), []
    assert len(node.coordinator.submit(raws)) == len(raws)
    node.coordinator.flush()
    for number in (1, 2, 3):
        node.open()
        node.fill(3)
        if number == 2:
            if lost_at == "admit":
                node.hears = False
                node.fill(2)
            if lost_at == "import":  # sealed, and neither followed nor said
                landed.append(node.producer.seal())
            if lost_at == "seal":
                landed.append(node.seal())
            node.close()
            node = Node(tmp_path, chain)
        if number == 3:
            while node.coordinator.core.has_work:
                node.fill(3)
        if number != 2 or lost_at in ("fill", "admit"):
            landed.append(node.seal())
    assert sorted(raw for block in landed for raw in block.envelopes) == sorted(raws)
    assert node.latest.cell(COUNT).value == word(15)
    node.coordinator.close()
    assert node.latest.kept() == ()
    assert len(node.coordinator.core.pool) == 0
    node.close()
