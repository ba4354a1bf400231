"""What one stranger can do to the others: nothing stops a coordinator, and what waits comes in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from manaflow.coordinator import filling
from manaflow.coordinator.messages import Admitted, Dropped, Fill, Notice, Replied, Send
from manaflow.evm.native import fill_steps
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32
from tests.coordinator.desk import Desk, of_kind
from tests.coordinator.test_core import COUNTER, COUNTER_CODE, everything, word
from tests.manaflow_chain import Producer, created, deploying


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, Producer(alloc={COUNTER: (0, 1, COUNTER_CODE, {ZERO32: word(5)})}))
    yield made
    made.close()


def test_a_code_that_only_another_coordinator_has_is_waited_for(desk: Desk) -> None:
    """One deploys a contract in the open block; a call of it through the other waits for the block, and only that."""
    desk.open_block()
    one, two = desk.coordinator(), desk.coordinator()
    desk.submit(one, desk.chain.sign(0, data=deploying(bytes.fromhex("600143034060005500"))))
    desk.pump(one)
    contract = created(desk.chain.addresses[0], 0)
    calls = [desk.chain.sign(1, contract), desk.chain.sign(1, contract)]
    payments = [desk.chain.sign(i, desk.chain.addresses[1], value=1) for i in (2, 2, 3)]
    desk.submit(two, payments[0], *calls, *payments[1:])
    results = desk.pump(two)
    landed = [txid for admitted in of_kind(results, Admitted) for txid in admitted.txids]
    assert landed == [keccak256(raw) for raw in payments]
    assert of_kind(results, Dropped) == []
    desk.seal()
    desk.open_block()
    desk.pump(two)
    assert desk.seal().envelopes == tuple(calls)
    assert len(two.pool) == 0


def test_what_waits_for_its_value_is_tried_after_all_others(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is executed in each block for nothing, and pays nothing: nobody's batch waits for that."""
    coordinator = desk.coordinator()
    lost = [desk.declare(i, COUNTER, everything, valid_until=9) for i in (1, 2)]
    desk.open_block()
    desk.submit(coordinator, desk.chain.sign(0, COUNTER), *lost)
    assert len(of_kind(desk.pump(coordinator), Notice)) == 2
    desk.seal()
    desk.open_block()
    payments = [desk.chain.sign(i, desk.chain.addresses[1], value=1) for i in (3, 3)]
    desk.submit(coordinator, *payments)
    batches = []

    def seen(world: Any, environment: Any, steps: list[bytes], *rest: Any, **options: Any) -> Any:
        batches.append(list(steps))
        return fill_steps(world, environment, steps, *rest, **options)

    monkeypatch.setattr(filling, "fill_steps", seen)
    (send,) = of_kind(coordinator.handle(Fill(100)), Send)
    assert batches == [payments]
    coordinator.handle(Replied(send.id, desk.admit(send)))
    desk.pump(coordinator)
    assert batches[1] == lost, "and no payment with them"
