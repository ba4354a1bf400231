"""What one stranger can do to the others: nothing stops a coordinator, and what waits comes in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manaflow.coordinator.messages import Admitted, Dropped
from manaflow.moves.hashing import keccak256
from tests.coordinator.desk import Desk, of_kind
from tests.manaflow_chain import Producer, created, deploying


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, Producer())
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
