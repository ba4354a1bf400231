"""Buckets and budgets, on a clock that the tests turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from manaflow.node.limits import SMALL, Budget, MethodClass, MethodRates, Rate, Share, TokenBucket


class Hands:
    """A clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = Hands()
    bucket = TokenBucket(Rate(per_second=2, burst=3), clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock.now += 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock.now += 100
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_what_is_refused_takes_nothing() -> None:
    bucket = TokenBucket(Rate(0, 3), Hands())
    assert not bucket.take(4)
    assert bucket.take(3)


def test_as_many_are_taken_as_are_there() -> None:
    clock = Hands()
    bucket = TokenBucket(Rate(per_second=1, burst=3.5), clock)
    assert [bucket.take_of(2) for _ in range(3)] == [2, 1, 0]
    clock.now += 2
    assert bucket.take_of(5) == 2
    assert bucket.tokens == 0.5


def test_a_clock_that_goes_back_gives_nothing() -> None:
    clock = Hands()
    bucket = TokenBucket(Rate(1, 1), clock)
    assert bucket.take()
    clock.now -= 100
    assert not bucket.take()
    assert not bucket.take()


@given(st.lists(st.floats(0, 10), max_size=50))
def test_no_sequence_takes_more_than_burst_and_rate(waits: list[float]) -> None:
    clock = Hands()
    bucket = TokenBucket(Rate(per_second=1.5, burst=4), clock)
    taken = 0
    for wait in waits:
        clock.now += wait
        taken += bucket.take() + bucket.take()
    assert taken <= 4 + 1.5 * sum(waits) + 1e-6


def rates(clock: Hands) -> MethodRates:
    kind = MethodClass(frozenset({"mana_submitProof", "mana_other"}), everyone=Rate(1, 3), each_client=Rate(0.1, 2))
    return MethodRates((kind,), clock)


def test_methods_of_a_class_share_buckets() -> None:
    allowed = rates(Hands())
    assert [allowed.allow(m, "a") for m in ("mana_submitProof", "mana_other", "mana_submitProof")] == [
        True,
        True,
        False,
    ]
    assert all(allowed.allow("eth_chainId", "a") for _ in range(100))


def test_one_client_cannot_use_up_what_all_share() -> None:
    clock = Hands()
    allowed = rates(clock)
    assert sum(allowed.allow("mana_submitProof", "greedy") for _ in range(100)) == 2
    assert allowed.allow("mana_submitProof", "other")
    assert not allowed.allow("mana_submitProof", "third")  # all have used three together
    clock.now += 1
    assert allowed.allow("mana_submitProof", "third")


def test_clients_are_forgotten_not_collected() -> None:
    allowed = rates(Hands())
    for number in range(MethodRates.MAX_CLIENTS + 100):
        allowed.allow("mana_submitProof", str(number))
    assert len(allowed._clients) == MethodRates.MAX_CLIENTS


def test_a_budget() -> None:
    budget = Budget(10)
    assert budget.take(10)
    assert not budget.take(1)
    budget.give(4)
    assert budget.take(4)
    assert not budget.take(1)


def test_a_share_holds_all_but_what_is_free() -> None:
    budget = Budget(10)
    mine, other = Share(budget), Share(budget)
    assert mine.hold(SMALL)
    assert budget.used == 0
    assert mine.hold(SMALL + 7)
    assert not other.hold(SMALL + 4)
    assert (mine.taken, other.taken, budget.used) == (7, 0, 7)
    assert mine.hold(SMALL + 2)
    assert other.hold(SMALL + 8)
    mine.close()
    assert mine.hold(SMALL + 100)  # what is over takes nothing
    assert (mine.taken, budget.used) == (0, 8)


def test_many_calls_of_a_method_are_allowed_until_one_is_not() -> None:
    clock = Hands()
    limits = rates(clock)
    assert limits.allow_of("eth_call", "a", 1000) == 1000
    assert [limits.allow_of("mana_submitProof", client, 2) for client in "aab"] == [2, 0, 1]
