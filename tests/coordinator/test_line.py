"""The line against a plain rule: whoever's next nonce it is and pays the base fee goes, by the policy's order."""

from __future__ import annotations

import pytest

from manaflow.coordinator.line import Line
from manaflow.coordinator.policy import POLICIES, Arrival, Policy
from manaflow.coordinator.pool import Entry, Limits, Pool
from manaflow.coordinator.view import View
from manaflow.moves.marks import ZERO32, Mark
from tests.coordinator.test_pool import entry


class Nonces:
    """Sealed nonces, 0 unless said otherwise; counts who asks."""

    def __init__(self) -> None:
        self.of: dict[bytes, int] = {}
        self.asked = 0

    def record(self, key: bytes) -> bytes | None:
        self.asked += 1
        return bytes(8) + ZERO32 + self.of.get(key[1:21], 0).to_bytes(32, "big") if key[0] == Mark.NONCE else None


class Bench:
    """A line over a pool, with nothing held and nobody patient."""

    def __init__(self, policy: Policy) -> None:
        self.nonces, self.pool = Nonces(), Pool(Limits())
        self.view, self.patient = View(self.nonces, lambda code_hash: None), set[bytes]()
        self.line = Line(self.pool, self.view, policy, self.patient)

    def add(self, *args: int) -> Entry:
        new = entry(*args)
        self.pool.add(new)
        self.line.place(new)
        return new

    def next_block(self, base_fee: int) -> None:
        self.line.close()
        self.view.close_block(None)
        self.line.open(base_fee)

    def chosen(self) -> list[int]:
        """Arrivals of what is chosen; all of it goes back into the line for the next block."""
        found = self.line.choose(100)
        self.line.stir(one.sender for one in found)
        return [one.arrival for one in found]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))
def test_the_base_fee_rises_and_falls(policy: Policy) -> None:
    """sender, nonce, tip, cap, arrival."""
    bench = Bench(policy)
    rows = [(1, 0, 2, 50, 1), (2, 0, 9, 11, 2), (3, 0, 5, 30, 3), (1, 1, 1, 9, 4)]
    for row in rows:
        bench.add(*row)
    for base_fee in (10, 40, 8, 30, 60, 10, 10):
        bench.next_block(base_fee)
        able = [row for row in rows if row[3] >= base_fee and (row[1] == 0 or base_fee <= 9)]
        by_arrival = [row[4] for row in able]
        found = bench.chosen()
        assert sorted(found) == by_arrival
        if policy.name == "arrival":
            assert found == by_arrival
        else:
            first = [row for row in able if row[1] == 0]
            best = sorted(first, key=lambda row: (-min(row[2], row[3] - base_fee), row[4]))
            assert [arrival for arrival in found if arrival != 4] == [row[4] for row in best]


def test_a_block_does_not_walk_over_those_that_wait() -> None:
    bench = Bench(Arrival())
    for i in range(1, 40):
        bench.add(i, 5, 1, 100, i)  # behind a gap
    bench.next_block(10)
    asked = bench.nonces.asked
    bench.add(50, 0, 1, 100, 99)
    assert bench.chosen() == [99]
    for _ in range(5):
        bench.next_block(10)
        assert bench.chosen() == [99]
    assert bench.nonces.asked - asked <= 2 * 6  # the one that moves


def test_what_was_parked_or_moved_is_looked_at_again() -> None:
    bench = Bench(Arrival())
    parked, waiting = bench.add(1, 0, 1, 100, 1), bench.add(2, 3, 1, 100, 2)
    bench.next_block(10)
    assert bench.chosen() == [1]
    bench.line.park(parked.txid)
    bench.line.push_next(parked.sender)
    assert not bench.line
    bench.next_block(10)
    assert bench.chosen() == [1]
    bench.nonces.of[waiting.sender] = 3
    bench.line.stir((waiting.sender,))
    bench.next_block(10)
    assert bench.chosen() == [1, 2]
    bench.line.close()
    assert not bench.line


def test_begin_anew_looks_at_everybody() -> None:
    bench = Bench(Arrival())
    waiting = bench.add(2, 3, 1, 100, 2)
    bench.next_block(10)
    assert bench.chosen() == []
    bench.nonces.of[waiting.sender] = 3
    bench.next_block(10)
    assert bench.chosen() == []  # nobody has said that anything moved
    bench.line.begin_anew()
    bench.next_block(10)
    assert bench.chosen() == [2]
