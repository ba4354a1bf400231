"""The line of transactions that may be filled next: by the policy, and by nonce within a sender.

It stays from block to block. When one opens, only those senders are looked at for whom something may have changed: an
open block with a few transactions must not cost a walk over a pool of many that wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable

from manaflow.coordinator.policy import Policy
from manaflow.coordinator.pool import Entry, Pool
from manaflow.coordinator.view import View


class Line:
    """See the module. What no longer may be filled stays in its heaps until it is met."""

    def __init__(self, pool: Pool, view: View, policy: Policy, patient: Collection[bytes]) -> None:
        """patient: txids of what waits for its value to come back; it goes after all others, because it is executed for
        nothing as often as not."""
        self._pool, self._view, self._policy, self._patient = pool, view, policy, patient
        self._is_open = False
        self._base_fee = 0
        """Of the block that is open, or was."""
        self._ready: list[tuple[tuple[int, ...], int, bytes]] = []
        """(key, arrival, txid); key: the policy's, behind 1 for what is patient."""
        self._cheap: list[tuple[int, int, bytes]] = []
        """(-fee cap, arrival, txid) of what would be ready but for the base fee."""
        self._lined: set[int] = set()
        """Arrivals of what is in one of the two: nothing is in line twice."""
        self._parked: set[bytes] = set()
        """Txids that are not tried again in this block."""
        self._stirred: set[bytes] = set()
        """Senders to look at when the next block opens: what they have waiting may be in neither heap."""
        self._is_new = True
        """Every sender is to be looked at then."""

    def __bool__(self) -> bool:
        """True if a block is open and `choose` may find something."""
        return self._is_open and bool(self._ready)

    def open(self, base_fee: int) -> None:
        """A block is open; none was since `close`."""
        before, self._base_fee, self._is_open = self._base_fee, base_fee, True
        is_long = len(self._ready) + len(self._cheap) > 4 * len(self._pool) + 64
        if self._is_new or is_long or (self._policy.is_of_fees and base_fee != before):
            self._is_new = False
            self._ready.clear()
            self._cheap.clear()
            self._lined.clear()
            self._stirred.update(self._pool.senders())
        while self._cheap and -self._cheap[0][0] >= base_fee:
            _, arrival, txid = heapq.heappop(self._cheap)
            self._lined.discard(arrival)
            entry = self._pool.get(txid)
            if entry is not None:
                self._stirred.add(entry.sender)
        stirred, self._stirred = self._stirred, set()
        for sender in stirred:
            self.push_next(sender)

    def close(self) -> None:
        """No block is open: what was parked waits again."""
        self._is_open = False
        parked, self._parked = self._parked, set()
        self.stir(entry.sender for txid in parked if (entry := self._pool.get(txid)) is not None)

    def stir(self, senders: Iterable[bytes]) -> None:
        """Look at these when the next block opens: their nonces or balances may be others, or they were held."""
        self._stirred.update(senders)

    def begin_anew(self) -> None:
        """Look at everybody when the next block opens."""
        self._is_new = True

    def park(self, txid: bytes) -> None:
        """Not again in this block."""
        self._parked.add(txid)

    def unpark(self, txid: bytes) -> None:
        """It may be pushed again, or is gone."""
        self._parked.discard(txid)

    def place(self, entry: Entry, nonce: int | None = None) -> None:
        """A transaction has come into the pool. nonce: its sender's in the open block, if the caller knows it."""
        if not self._is_open:
            self._stirred.add(entry.sender)
            return
        if nonce is None:
            nonce = self._view.nonce(entry.sender)
        if entry.nonce == nonce:
            self._push(entry)
        elif entry.nonce < nonce:
            self._pool.hold(entry)

    def push_next(self, sender: bytes) -> None:
        """A sender's next transaction may be filled; those that its nonce has passed are in the block."""
        mine = self._pool.of(sender)
        if not mine or (len(mine) == 1 and mine[0].is_held):
            return
        nonce = self._view.nonce(sender)
        for entry in mine:
            if entry.nonce < nonce:
                self._pool.hold(entry)
            elif entry.nonce == nonce:
                self._push(entry)
            else:
                break

    def _push(self, entry: Entry) -> None:
        """Make a transaction one that may be filled next, if this block can hold it."""
        if not self._is_open or entry.is_held or entry.txid in self._parked or entry.arrival in self._lined:
            return
        self._lined.add(entry.arrival)
        if entry.max_fee >= self._base_fee:
            key = (int(entry.txid in self._patient), *self._policy.key(entry, self._base_fee))
            heapq.heappush(self._ready, (key, entry.arrival, entry.txid))
        else:
            heapq.heappush(self._cheap, (-entry.max_fee, entry.arrival, entry.txid))

    def choose(self, limit: int) -> list[Entry]:
        """Take out what to fill next; what is patient goes apart from all others."""
        ready, pool, patient = self._ready, self._pool, self._patient
        chosen: list[Entry] = []
        nonces: dict[bytes, int] = {}
        while ready and len(chosen) < limit:
            key, arrival, txid = heapq.heappop(ready)
            if key[0] and chosen and chosen[0].txid not in patient:
                heapq.heappush(ready, (key, arrival, txid))
                break
            self._lined.discard(arrival)
            entry = pool.get(txid)
            if entry is None or entry.arrival != arrival or not self._is_next(entry, nonces):
                continue
            chosen.append(entry)
            nonces[entry.sender] = entry.nonce + 1
            following = pool.at(entry.sender, entry.nonce + 1)
            if following is not None:
                self._push(following)
        return chosen

    def _is_next(self, entry: Entry, nonces: dict[bytes, int]) -> bool:
        """Whether a transaction may follow those that are chosen. nonces: those that they leave."""
        if entry.is_held or entry.txid in self._parked:
            return False
        if entry.max_fee < self._base_fee:
            self._push(entry)
            return False
        nonce = nonces.get(entry.sender)
        if nonce is None:
            nonce = self._view.nonce(entry.sender)
        if entry.nonce != nonce:
            self._stirred.add(entry.sender)
            return False
        return True
