"""The line against a plain rule: whoever's next nonce it is and pays the base fee goes, by the policy's order."""

from __future__ import annotations

from random import Random

import pytest

from manaflow.coordinator.line import Line
from manaflow.coordinator.policy import POLICIES, Arrival, Policy
from manaflow.coordinator.pool import Added, Entry, Limits, Pool
from manaflow.coordinator.view import View
from manaflow.moves.marks import ZERO32, Mark
from tests.conftest import is_nightly
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


class Plain:
    """What may be filled, by looking at all of it each time."""

    def __init__(self, bench: Bench, policy: Policy) -> None:
        self.bench, self.policy, self.parked, self.base_fee = bench, policy, set[bytes](), 0

    def choose(self, limit: int) -> list[Entry]:
        bench, chosen, nonces = self.bench, list[Entry](), dict[bytes, int]()
        while len(chosen) < limit:
            able = [
                (self.key(one), one.arrival, one)
                for one in bench.pool
                if one.nonce == nonces.get(one.sender, bench.view.nonce(one.sender))
                and not (one.is_held or one.txid in self.parked)
                and one.max_fee >= self.base_fee
            ]
            if not able:
                break
            key, _, first = min(able, key=lambda row: row[:2])
            if key[0] and chosen and chosen[0].txid not in bench.patient:
                break
            chosen.append(first)
            nonces[first.sender] = first.nonce + 1
        return chosen

    def key(self, one: Entry) -> tuple[int, ...]:
        return (int(one.txid in self.bench.patient), *self.policy.key(one, self.base_fee))


class Game:
    """What a coordinator does to a line, at random; its choices are those of the plain rule each time."""

    def __init__(self, policy: Policy, seed: int) -> None:
        self.rng, self.bench = Random(seed), Bench(policy)
        self.plain, self.arrival = Plain(self.bench, policy), 0
        self.bench.next_block(0)

    def nonce(self, sender: bytes) -> int:
        return self.bench.view.nonce(sender)

    def moved(self, sender: bytes, nonce: int) -> None:
        """A nonce is another in the open block, as replies and others' cells say."""
        self.bench.view.take({bytes((Mark.NONCE,)) + sender + ZERO32: bytes(40) + nonce.to_bytes(32, "big")})

    def add(self) -> None:
        rng, bench = self.rng, self.bench
        self.arrival += 1
        sender = rng.randrange(1, 7)
        nonce = max(self.nonce(bytes([sender]) * 20) + rng.choice([0, 0, 0, 1, 2, -1]), 0)
        new = entry(sender, nonce, rng.randrange(30), rng.randrange(5, 60), self.arrival)
        if new.nonce < len(LAST) and rng.random() < 0.1 and LAST[new.nonce] not in bench.pool:
            new.txid = LAST[new.nonce]  # one that was here before comes again
        added = bench.pool.add(new)
        if isinstance(added, Added):
            for gone, _ in added.gone:
                bench.line.unpark(gone.txid)
                self.plain.parked.discard(gone.txid)
            bench.line.place(new)

    def fill(self) -> None:
        """Take some out, and settle each: admitted, refused and filled again, parked, dropped."""
        rng, bench = self.rng, self.bench
        chosen = self.plain.choose(limit := rng.randrange(1, 6))
        assert bench.line.choose(limit) == chosen
        for one in chosen:
            bench.pool.hold(one)
        behind = set[bytes]()
        for one in chosen:
            fate = rng.randrange(6) if one.sender not in behind else 1
            if fate in (1, 2, 3):
                behind.add(one.sender)
                bench.pool.release(one)
            if fate == 0 or fate > 3:
                self.moved(one.sender, one.nonce + 1)
            elif fate == 2:
                bench.line.park(one.txid)
                self.plain.parked.add(one.txid)
                if rng.random() < 0.5:
                    bench.patient.add(one.txid)
            elif fate == 3:
                bench.pool.remove(one.txid)
        for sender in dict.fromkeys(one.sender for one in chosen):
            bench.line.push_next(sender)

    def others(self) -> None:
        """A nonce is moved by somebody else; a parked one may be tried again; one leaves."""
        rng, bench = self.rng, self.bench
        sender = bytes([rng.randrange(1, 7)]) * 20
        match rng.randrange(3):
            case 0:
                self.moved(sender, self.nonce(sender) + 1)
                bench.line.push_next(sender)
            case 1 if self.plain.parked:
                txid = rng.choice(sorted(self.plain.parked))
                self.plain.parked.discard(txid)
                bench.line.unpark(txid)
                if (one := bench.pool.get(txid)) is not None:
                    bench.line.push_next(one.sender)
            case 2 if len(bench.pool):
                one = rng.choice(list(bench.pool))
                bench.pool.remove(one.txid)
                bench.line.unpark(one.txid)
                self.plain.parked.discard(one.txid)

    def next_block(self) -> None:
        """Sealed as it was, or by others, or given up."""
        rng, bench, sealed = self.rng, self.bench, self.bench.nonces.of
        if rng.random() < 0.8:
            for key in bench.view._open:
                sealed[key[1:21]] = self.nonce(key[1:21])
        elif rng.random() < 0.5:
            bench.line.begin_anew()
        bench.line.stir(bench.view.close_block(None))
        bench.line.close()
        self.plain.parked.clear()
        for sender, nonce in sealed.items():
            bench.pool.pass_nonce(sender, nonce)
        bench.line.stir(one.sender for one in bench.pool.release_all())
        for _ in range(rng.randrange(2)):
            self.add()
        self.plain.base_fee = rng.choice([self.plain.base_fee, 0, 10, 20, 40])
        bench.line.open(self.plain.base_fee)


LAST = [bytes([i]) * 32 for i in range(1, 5)]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))
@pytest.mark.parametrize("seed", range(400 if is_nightly() else 25))
def test_it_chooses_what_the_plain_rule_chooses(policy: Policy, seed: int) -> None:
    game = Game(policy, seed)
    for _ in range(200):
        game.rng.choice([game.add, game.add, game.add, game.fill, game.fill, game.others, game.next_block])()
        assert len(game.bench.line._lined) == len(game.bench.line._ready) + len(game.bench.line._cheap)
        assert all(one.is_held for one in game.bench.pool if one.nonce < game.nonce(one.sender)), "it is in the block"
