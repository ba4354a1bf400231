"""The pending pool: transactions that wait to be filled, bounded in bytes, number and per sender.

It knows neither the state nor a clock: whoever calls tells it of nonces and block numbers. Every operation costs
O(log n); what leaves, and in which order, depends on the calls alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from manaflow.coordinator.messages import Reason
from manaflow.moves.transactions import DeclaredTransaction

BUMP_PERCENT: Final = 10
"""What a replacement must pay more, on both fees."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a pool takes."""

    transactions: int = 50_000
    total_bytes: int = 1 << 28
    envelope_bytes: int = 1 << 17
    """Bytes of one envelope; a block takes more, a stranger's transaction should not."""
    per_sender: int = 64
    """Transactions of one sender, and how far ahead of its sender's a nonce may be."""
    blocks: int = 10_000
    """Blocks that a transaction may wait."""


@dataclass(slots=True)
class Entry:
    """A transaction in the pool. Fees and cost in wei."""

    txid: bytes
    envelope: bytes
    sender: bytes
    nonce: int
    priority_fee: int
    max_fee: int
    gas_limit: int
    cost: int
    """The most that its sender may have to pay, value included."""
    declared: DeclaredTransaction | None
    """Decoded, if it is a declared one."""
    valid_until: int
    """Last block number that may hold it; 0 for no limit."""
    arrival: int
    """Unique; earlier is smaller."""
    expires: int
    """The first block number for which it is no longer kept."""
    is_held: bool = False
    """On its way to a validator, or admitted: neither evicted nor filled until that is settled."""
    winner: bytes | None = None
    """Who won the last race that it lost, as the validator said."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the pool does not take a transaction, or lets one go."""

    reason: Reason
    detail: str
    winner: bytes | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What adding a transaction pushed out: at most a replaced one and an evicted one for each it makes room for."""

    gone: tuple[tuple[Entry, Refusal], ...]


NOBODY: Final = Added(())


class Pool:
    """See the module."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.total_bytes = 0
        self._by_txid: dict[bytes, Entry] = {}
        self._by_sender: dict[bytes, dict[int, Entry]] = {}
        self._cheapest: list[tuple[int, int, bytes]] = []
        """(tip, -arrival, txid): who goes first when room is needed; entries that have left stay until met. Empty until
        room is needed, and again once it is mostly of entries that have left."""
        self._has_order = False
        """Whether `_cheapest` is kept."""
        self._expiring: list[tuple[int, int, bytes]] = []
        """(expires, arrival, txid), likewise."""
        self._crowds: list[tuple[int, bytes]] = []
        """(-count, sender): for each sender of two or more that are not held, at least as many as there are."""
        self._held: dict[bytes, Entry] = {}
        """By txid."""

    def __len__(self) -> int:
        return len(self._by_txid)

    def __contains__(self, txid: bytes) -> bool:
        return txid in self._by_txid

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._by_txid.values())

    def get(self, txid: bytes) -> Entry | None:
        """The transaction, None if it is not here."""
        return self._by_txid.get(txid)

    def at(self, sender: bytes, nonce: int) -> Entry | None:
        """The transaction of this sender with this nonce."""
        mine = self._by_sender.get(sender)
        return None if mine is None else mine.get(nonce)

    def of(self, sender: bytes) -> list[Entry]:
        """A sender's transactions by ascending nonce."""
        mine = self._by_sender.get(sender)
        if mine is None:
            return []
        return [mine[nonce] for nonce in sorted(mine)] if len(mine) > 1 else list(mine.values())

    def senders(self) -> Iterator[bytes]:
        """Who has transactions here, in the order of their first ones."""
        return iter(self._by_sender)

    def add(self, entry: Entry) -> Added | Refusal:
        """Take a transaction, if it has a place: that of one it outbids, or a free one, a cheaper one's, a crowd's."""
        if entry.txid in self._by_txid:
            return Refusal(Reason.KNOWN, "the transaction is in the pool already")
        mine, old = self._by_sender.get(entry.sender), None
        if mine is not None:
            old = mine.get(entry.nonce)
            if old is not None:
                refusal = _outbids(entry, old)
                if refusal is not None:
                    return refusal
            elif len(mine) >= self.limits.per_sender:
                return Refusal(Reason.SENDER_FULL, f"the sender has {len(mine)} transactions waiting, and no more may")
        if old is None and self._has_room(entry):
            self._insert(entry)
            return NOBODY
        gone = self._make_room(entry, old)
        if isinstance(gone, Refusal):
            return gone
        for leaving, _ in gone:
            self.remove(leaving.txid)
        self._insert(entry)
        return Added(tuple(gone))

    def _has_room(self, entry: Entry) -> bool:
        """True if nobody must leave for it."""
        limits = self.limits
        is_small = self.total_bytes + len(entry.envelope) <= limits.total_bytes
        return is_small and len(self._by_txid) < limits.transactions

    def _make_room(self, entry: Entry, old: Entry | None) -> list[tuple[Entry, Refusal]] | Refusal:
        """Who must leave so that `entry` fits: the one it replaces, the cheapest, a crowd's. Nothing changes yet."""
        gone: list[tuple[Entry, Refusal]] = []
        count, size = len(self) + 1, self.total_bytes + len(entry.envelope)
        if old is not None:
            gone.append((old, Refusal(Reason.REPLACED, "the sender has sent one that pays more", entry.txid)))
            count, size = count - 1, size - len(old.envelope)
        kept: list[tuple[int, int, bytes]] = []
        crowds: set[bytes] = set()
        full = False
        while count > self.limits.transactions or size > self.limits.total_bytes:
            victim, why = self._next_victim(kept, old), "the pool is full and others pay more"
            if victim is None or _price(victim) >= _price(entry):
                victim, why = self._last_of_most(entry, gone), "the pool is full and its sender has most there"
            if victim is None:
                full = True
                break
            gone.append((victim, Refusal(Reason.EVICTED, why)))
            crowds.add(victim.sender)
            count, size = count - 1, size - len(victim.envelope)
        for item in kept:
            heapq.heappush(self._by_price(), item)
        for sender in sorted(crowds):  # in case nothing comes of it
            self._count_anew(sender)
        return Refusal(Reason.UNDERPRICED, "the pool is full and every other pays as much or more") if full else gone

    def _by_price(self) -> list[tuple[int, int, bytes]]:
        if not self._has_order:
            self._has_order = True
            self._cheapest = [(_price(e), -e.arrival, e.txid) for e in self if not e.is_held]
            heapq.heapify(self._cheapest)
        return self._cheapest

    def _next_victim(self, kept: list[tuple[int, int, bytes]], old: Entry | None) -> Entry | None:
        """The cheapest, of these the newest, that is neither held nor `old`; what was popped to find it goes to `kept`.

        Held ones are not kept: `release` brings them back.
        """
        cheapest = self._by_price()
        while cheapest:
            item = heapq.heappop(cheapest)
            entry = self._by_txid.get(item[2])
            if entry is None or entry.arrival != -item[1] or entry.is_held or (kept and kept[-1] == item):
                continue  # the last: one that was held and released is here twice
            kept.append(item)
            if entry is not old:
                return entry
        return None

    def _last_of_most(self, entry: Entry, gone: list[tuple[Entry, Refusal]]) -> Entry | None:
        """The last transaction of the sender who has most, if he keeps as many as the newcomer's sender then has.

        A tip that is never paid costs nothing (behind a gap, say), so it alone must not hold a place.
        """
        leaving, share = {old.txid for old, _ in gone}, len(self._by_sender.get(entry.sender, {})) + 1
        while self._crowds:
            count, sender = self._crowds[0]
            left = [one for one in self.of(sender) if not one.is_held and one.txid not in leaving]
            if len(left) == -count:
                return left[-1] if len(left) > share else None
            heapq.heappop(self._crowds)
            if len(left) > 1:
                heapq.heappush(self._crowds, (-len(left), sender))
        return None

    def _count_anew(self, sender: bytes) -> None:
        """A sender may have more that are not held than `_crowds` says."""
        mine = self._by_sender.get(sender, {})
        if len(mine) < 2:
            return
        count = sum(not one.is_held for one in mine.values())
        if count > 1:
            heapq.heappush(self._crowds, (-count, sender))
        if len(self._crowds) > 2 * len(self) + 64:
            self._crowds = []
            for each in self._by_sender:
                self._count_anew(each)

    def hold(self, entry: Entry) -> None:
        """Neither evict nor replace it until it is released: it is on its way into a block."""
        entry.is_held = True
        self._held[entry.txid] = entry

    def release(self, entry: Entry) -> None:
        """It is one of those that wait again."""
        if entry.is_held:
            entry.is_held = False
            if self._held.get(entry.txid) is entry:
                del self._held[entry.txid]
            if self._has_order:
                heapq.heappush(self._cheapest, (_price(entry), -entry.arrival, entry.txid))
            self._count_anew(entry.sender)

    def release_all(self) -> list[Entry]:
        """Nothing is on its way any more: who was, in the order in which they were held."""
        released = list(self._held.values())
        for entry in released:
            self.release(entry)
        return released

    def _insert(self, entry: Entry) -> None:
        self._by_txid[entry.txid] = entry
        mine = self._by_sender.get(entry.sender)
        if mine is None:
            self._by_sender[entry.sender] = {entry.nonce: entry}
        else:
            mine[entry.nonce] = entry
            self._count_anew(entry.sender)
        self.total_bytes += len(entry.envelope)
        if self._has_order:
            heapq.heappush(self._cheapest, (_price(entry), -entry.arrival, entry.txid))
        heapq.heappush(self._expiring, (entry.expires, entry.arrival, entry.txid))
        if len(self._cheapest) > 2 * len(self) + 64:
            self._cheapest, self._has_order = [], False
        if len(self._expiring) > 2 * len(self) + 64:
            self._expiring = [(e.expires, e.arrival, e.txid) for e in self]
            heapq.heapify(self._expiring)

    def remove(self, txid: bytes) -> Entry | None:
        """Take a transaction out."""
        entry = self._by_txid.pop(txid, None)
        if entry is None:
            return None
        self._held.pop(txid, None)
        mine = self._by_sender[entry.sender]
        del mine[entry.nonce]
        if not mine:
            del self._by_sender[entry.sender]
        self.total_bytes -= len(entry.envelope)
        return entry

    def pass_nonce(self, sender: bytes, nonce: int) -> list[Entry]:
        """Take out what a sender's nonce has passed, ascending: those below `nonce`."""
        mine = self._by_sender.get(sender)
        if mine is None:
            return []
        passed = [mine[n] for n in sorted(mine) if n < nonce]
        for entry in passed:
            self.remove(entry.txid)
        return passed

    def expire(self, number: int) -> list[Entry]:
        """Take out what block `number` may no longer hold or the pool no longer keeps, the earliest to expire first."""
        gone = []
        while self._expiring and self._expiring[0][0] <= number:
            _, arrival, txid = heapq.heappop(self._expiring)
            entry = self._by_txid.get(txid)
            if entry is not None and entry.arrival == arrival:
                self.remove(txid)
                gone.append(entry)
        return gone


def _price(entry: Entry) -> int:
    """What a transaction offers for each gas beyond the base fee, at best."""
    return min(entry.priority_fee, entry.max_fee)


def _raised(fee: int) -> int:
    return max(fee + 1, -(-fee * (100 + BUMP_PERCENT) // 100))


def _outbids(entry: Entry, old: Entry) -> Refusal | None:
    if old.is_held:
        return Refusal(Reason.UNDERPRICED, "the one with this nonce is on its way into a block", old.txid)
    for what, fee, least in (
        ("fee cap", entry.max_fee, _raised(old.max_fee)),
        ("priority fee", entry.priority_fee, _raised(old.priority_fee)),
    ):
        if fee < least:
            text = f"to replace the one with this nonce, its {what} must be at least {least}, and is {fee}"
            return Refusal(Reason.UNDERPRICED, text, old.txid)
    return None
