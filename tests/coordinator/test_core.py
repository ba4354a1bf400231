"""The coordinator with a real validator: what becomes of transactions that wait, win and lose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manaflow.coordinator.messages import Accepted, Admitted, Included, Keep
from manaflow.moves.hashing import keccak256
from tests.coordinator.desk import Desk, of_kind
from tests.manaflow_chain import Producer


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, Producer())
    yield made
    made.close()


def test_a_transfer_goes_all_the_way(desk: Desk) -> None:
    coordinator = desk.coordinator()
    desk.open_block()
    raw = desk.chain.sign(0, desk.chain.addresses[1], value=5)
    results = desk.submit(coordinator, raw)
    assert of_kind(results, Keep) == [Keep(1, raw)]
    assert of_kind(results, Accepted) == [Accepted(keccak256(raw))]
    (admitted,) = of_kind(desk.pump(coordinator), Admitted)
    assert admitted == Admitted(1, (keccak256(raw),))
    block = desk.seal()
    assert block.envelopes == (raw,)
    assert len(coordinator.pool) == 0
    receipts = desk.latest.receipts(1)
    assert receipts is not None
    assert [r.status for r in receipts] == [1]
    assert desk.latest.transaction(keccak256(raw)) == (1, 1)


def test_both_of_two_coordinators_land_on_one_cell(desk: Desk) -> None:
    """Everybody pays the same account: every transaction loses races and lands."""
    one, two = desk.coordinator(), desk.coordinator()
    desk.open_block()
    to = b"\x77" * 20
    mine = [desk.chain.sign(i % 5, to, value=1) for i in range(20)]
    for coordinator, part in ((one, mine[0::5] + mine[1::5]), (two, mine[2::5] + mine[3::5] + mine[4::5])):
        desk.submit(coordinator, *part)
    for _ in range(20):
        desk.pump(one, 3)
        desk.pump(two, 3)
    block = desk.seal()
    assert sorted(block.envelopes) == sorted(mine)
    assert len(one.pool) == len(two.pool) == 0
    assert isinstance(Included(1, ()), Included)
