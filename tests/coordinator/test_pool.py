"""The pool against a plain model: the same transactions in it, the same ones pushed out, whatever is done to it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from manaflow.coordinator.messages import Reason
from manaflow.coordinator.policy import POLICIES
from manaflow.coordinator.pool import Added, Entry, Limits, Pool, Refusal

LIMITS = Limits(transactions=6, total_bytes=120, per_sender=3, blocks=50)


def entry(sender: int = 1, nonce: int = 0, tip: int = 10, cap: int = 100, arrival: int = 1, **changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "txid": arrival.to_bytes(32, "big"), "envelope": b"x" * 10, "sender": bytes([sender]) * 20, "nonce": nonce,
        "priority_fee": tip, "max_fee": cap, "gas_limit": 21_000, "cost": 0, "declared": None, "valid_until": 0,
        "arrival": arrival, "expires": 50,
    }  # fmt: skip
    return Entry(**(fields | changes))


class Model:
    """The pool as a list, every answer by looking at all of it."""

    def __init__(self) -> None:
        self.rows: list[Entry] = []
        self.held: set[bytes] = set()

    def add(self, new: Entry) -> list[bytes] | Reason:
        if any(row.txid == new.txid for row in self.rows):
            return Reason.KNOWN
        old = next((r for r in self.rows if (r.sender, r.nonce) == (new.sender, new.nonce)), None)
        if old is not None:
            enough = all(
                n >= max(o + 1, -(-o * 110 // 100))
                for n, o in ((new.max_fee, old.max_fee), (new.priority_fee, old.priority_fee))
            )
            if old.txid in self.held or not enough:
                return Reason.UNDERPRICED
        elif sum(row.sender == new.sender for row in self.rows) >= LIMITS.per_sender:
            return Reason.SENDER_FULL
        rows, gone = [row for row in self.rows if row is not old], [] if old is None else [old.txid]

        def fits() -> bool:
            size = sum(len(row.envelope) for row in rows) + len(new.envelope)
            return len(rows) < LIMITS.transactions and size <= LIMITS.total_bytes

        while not fits():
            free = [row for row in rows if row.txid not in self.held]
            victim = min(free, key=lambda r: (min(r.priority_fee, r.max_fee), -r.arrival), default=None)
            if victim is None or min(victim.priority_fee, victim.max_fee) >= min(new.priority_fee, new.max_fee):
                victim = self.last_of_most(new, free)
            if victim is None:
                return Reason.UNDERPRICED
            rows.remove(victim)
            gone.append(victim.txid)
        self.rows = [*rows, new]
        return gone

    def last_of_most(self, new: Entry, free: list[Entry]) -> Entry | None:
        count = Counter(row.sender for row in free)
        most = min(count, key=lambda sender: (-count[sender], sender), default=b"")
        if count[most] <= max(sum(row.sender == new.sender for row in self.rows) + 1, 1):
            return None
        return max((row for row in free if row.sender == most), key=lambda row: row.nonce)


class PoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pool, self.model, self.arrival = Pool(LIMITS), Model(), 0

    @rule(
        sender=st.integers(1, 4), nonce=st.integers(0, 4), tip=st.integers(0, 30), cap=st.integers(0, 60),
        size=st.integers(1, 60), expires=st.integers(1, 9),
    )  # fmt: skip
    def add(self, sender: int, nonce: int, tip: int, cap: int, size: int, expires: int) -> None:
        self.arrival += 1
        new = entry(sender, nonce, tip, cap, self.arrival, envelope=b"x" * size, expires=expires)
        found, expected = self.pool.add(new), self.model.add(new)
        if isinstance(found, Refusal):
            assert found.reason == expected
        else:
            assert isinstance(found, Added)
            assert [gone.txid for gone, _ in found.gone] == expected

    @rule(pick=st.integers(0, 9))
    def hold(self, pick: int) -> None:
        if self.model.rows:
            row = self.model.rows[pick % len(self.model.rows)]
            self.pool.hold(row)
            self.model.held.add(row.txid)

    @rule(pick=st.integers(0, 9))
    def release(self, pick: int) -> None:
        if self.model.rows:
            row = self.model.rows[pick % len(self.model.rows)]
            self.pool.release(row)
            self.model.held.discard(row.txid)

    @rule(pick=st.integers(0, 9))
    def remove(self, pick: int) -> None:
        if self.model.rows:
            row = self.model.rows.pop(pick % len(self.model.rows))
            assert self.pool.remove(row.txid) is row

    @rule(sender=st.integers(1, 4), nonce=st.integers(0, 5))
    def pass_nonce(self, sender: int, nonce: int) -> None:
        who = bytes([sender]) * 20
        passed = sorted((r for r in self.model.rows if r.sender == who and r.nonce < nonce), key=lambda r: r.nonce)
        assert self.pool.pass_nonce(who, nonce) == passed
        self.model.rows = [row for row in self.model.rows if row not in passed]

    @rule(number=st.integers(0, 9))
    def expire(self, number: int) -> None:
        gone = sorted((r for r in self.model.rows if r.expires <= number), key=lambda r: (r.expires, r.arrival))
        assert self.pool.expire(number) == gone
        self.model.rows = [row for row in self.model.rows if row not in gone]

    @invariant()
    def same(self) -> None:
        assert sorted(r.txid for r in self.pool) == sorted(r.txid for r in self.model.rows)
        assert self.pool.total_bytes == sum(len(row.envelope) for row in self.model.rows)
        for row in self.model.rows:
            assert self.pool.at(row.sender, row.nonce) is row
            assert row.is_held == (row.txid in self.model.held)
        assert set(self.pool.senders()) == {row.sender for row in self.model.rows}


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize(("tip", "cap", "is_taken"), [(11, 110, True), (10, 110, False), (11, 109, False)])
def test_a_replacement_pays_a_tenth_more_of_both(tip: int, cap: int, is_taken: bool) -> None:
    pool = Pool(LIMITS)
    pool.add(entry())
    found = pool.add(entry(tip=tip, cap=cap, arrival=2))
    assert isinstance(found, Added) == is_taken
    assert len(pool) == 1


def test_room_is_made_by_the_cheapest_and_of_these_the_newest() -> None:
    pool = Pool(LIMITS)
    for i in range(6):
        pool.add(entry(sender=i, tip=5, arrival=i + 1))
    refused = pool.add(entry(sender=9, tip=5, arrival=9))
    assert isinstance(refused, Refusal)
    found = pool.add(entry(sender=9, tip=6, arrival=9))
    assert isinstance(found, Added)
    assert [gone.arrival for gone, _ in found.gone] == [6]


def test_what_is_held_stays_until_it_is_released() -> None:
    pool = Pool(LIMITS)
    rows = [entry(sender=i, tip=i, arrival=i + 1) for i in range(6)]
    for row in rows:
        pool.add(row)
    pool.hold(rows[0])
    for arrival, expected in ((7, rows[1]), (8, rows[2])):
        found = pool.add(entry(sender=arrival, tip=50, arrival=arrival))
        assert isinstance(found, Added)
        assert [gone for gone, _ in found.gone] == [expected]
    pool.release(rows[0])
    found = pool.add(entry(sender=9, tip=50, arrival=9))
    assert isinstance(found, Added)
    assert [gone for gone, _ in found.gone] == [rows[0]]


def test_memory_stays_bounded_where_room_was_needed() -> None:
    """From then on the cheapest are kept in order, until most of them have left."""
    pool = Pool(LIMITS)
    for i in range(2000):
        pool.add(entry(sender=1 + i % 200, tip=i, cap=10_000, arrival=i + 1))
        assert len(pool) <= LIMITS.transactions
        assert len(pool._cheapest) < 100
        if i == 50:
            assert len(pool._cheapest) >= LIMITS.transactions
    assert sorted(one.arrival for one in pool) == list(range(2000 - LIMITS.transactions + 1, 2001))
    for one in list(pool):
        pool.remove(one.txid)
    for i in range(3000, 5000):
        pool.add(entry(arrival=i))
        pool.remove(i.to_bytes(32, "big"))
        assert len(pool._cheapest) < 100


def test_memory_stays_bounded_by_what_is_in_the_pool() -> None:
    pool = Pool(LIMITS)
    for i in range(2000):
        pool.add(entry(arrival=i + 1))
        pool.remove((i + 1).to_bytes(32, "big"))
    assert len(pool._cheapest) < 100
    assert len(pool._expiring) < 100


def test_policies_order() -> None:
    early, late = entry(arrival=1, tip=1, cap=100), entry(arrival=2, tip=9, cap=100)
    capped = entry(arrival=3, tip=50, cap=92)
    order = {name: sorted([late, capped, early], key=lambda e: policy.key(e, 90)) for name, policy in POLICIES.items()}
    assert order["arrival"] == [early, late, capped]
    assert order["priority-fee"] == [late, capped, early]


def test_tips_that_are_never_paid_do_not_keep_others_out() -> None:
    """Transactions behind a gap cost nothing, whatever they promise: who has few gets the place of who has many."""
    pool = Pool(LIMITS)
    for i in range(LIMITS.transactions):
        pool.add(entry(sender=1 + i // 3, nonce=1 + i % 3, tip=10**9, cap=10**9, arrival=1 + i, envelope=b"x"))
    found = pool.add(entry(sender=7, tip=1, arrival=50, envelope=b"x"))
    assert isinstance(found, Added)
    assert [(one.sender[0], one.nonce, why.reason) for one, why in found.gone] == [(1, 3, Reason.EVICTED)]
    found = pool.add(entry(sender=8, tip=1, arrival=51, envelope=b"x"))
    assert isinstance(found, Added)
    assert [(one.sender[0], one.nonce) for one, _ in found.gone] == [(2, 3)]
    assert isinstance(pool.add(entry(sender=7, nonce=1, tip=1, arrival=52, envelope=b"x")), Refusal), "two each"


def test_what_is_held_is_no_crowd() -> None:
    pool = Pool(LIMITS)
    rows = [entry(sender=1 + i // 3, nonce=i % 3, tip=9, arrival=1 + i, envelope=b"x") for i in range(6)]
    for row in rows:
        pool.add(row)
        pool.hold(row)
    assert isinstance(pool.add(entry(sender=7, tip=1, arrival=50, envelope=b"x")), Refusal)
    for row in rows[3:]:
        pool.release(row)
    found = pool.add(entry(sender=7, tip=1, arrival=50, envelope=b"x"))
    assert isinstance(found, Added)
    assert [one.txid for one, _ in found.gone] == [rows[5].txid]


def test_one_that_was_held_and_released_makes_room_once() -> None:
    pool = Pool(LIMITS)
    cheap = entry(sender=1, tip=0, cap=0, arrival=1, envelope=b"x")
    pool.add(cheap)
    pool.hold(cheap)
    pool.release(cheap)
    pool.add(entry(sender=2, tip=1, arrival=2, envelope=b"x" * 56))
    pool.add(entry(sender=3, tip=1, arrival=3, envelope=b"x" * 20))
    assert isinstance(pool.add(entry(sender=4, tip=1, arrival=4, envelope=b"x" * 45)), Refusal)
    assert pool.total_bytes <= LIMITS.total_bytes
