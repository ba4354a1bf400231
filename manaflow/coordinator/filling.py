"""Filling: which transactions go next, what executing them gives, and what becomes of the batch.

One batch is on its way at a time; while it is, the world holds what the batch has made of it, and its reply settles
that.

What becomes of a transaction that cannot be filled now:
- a gap before its nonce, a fee cap below the base fee, too little gas left in the block: it waits;
- it needs a code that another coordinator's transaction has made in the open block: it waits for the next;
- its sender cannot pay: it waits until the sender's balance changes;
- a lost race: filled again on the new state, at once, for ever;
- its signature does not allow that, and what contradicts it is admitted (`Notice`): a signed maker that is in the pool
  itself is waited for; otherwise it waits for a value to come back if it is signed with a `valid until`, tried once a
  block; without one it is dropped;
- whatever else X0 or a validator refuses: dropped.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from manaflow._native import Filled
from manaflow.coordinator.declare import Misfit
from manaflow.coordinator.messages import Admitted, Dropped, Forget, Notice, Reason, Result, Send
from manaflow.coordinator.naming import Hashes, Named, Rows, batch_of, name_cells
from manaflow.coordinator.policy import Policy
from manaflow.coordinator.pool import Entry, Pool
from manaflow.coordinator.view import View, key_rows
from manaflow.errors import Failure, Rule, Verdict
from manaflow.evm.executor import Environment
from manaflow.evm.native import fill_steps, is_block_full, place_of_missing
from manaflow.moves.batch import Batch, Cells, Reply, is_full
from manaflow.moves.block import Block
from manaflow.moves.marks import ZERO32, Mark

RACE_RULES: Final = (Rule.V1, Rule.V2, Rule.V3, Rule.V4)
"""What a validator refuses because of other transactions: a new fill may pass."""
MIN_PACE: Final = 16
MAX_PACE: Final = 1 << 16
"""Transactions of one fill. A misfit makes the next fills smaller: each one may send all behind it back to be executed
again, and costs its sender nothing."""
MAX_TRIES: Final = 4
"""Fills in which a transaction may be a misfit because of those before it. Then it is one: each costs an execution."""
_SENDERS: Final = (Mark.BALANCE, Mark.NONCE, Mark.CODE)
"""What X0 asks of a sender."""


@dataclass(slots=True)
class Target:
    """The block that is being filled, as far as this coordinator knows."""

    environment: Environment
    hashes: Hashes
    sequence: int
    gas: int = 0
    """Gas of this coordinator's own transactions in it."""


@dataclass(slots=True)
class Flight:
    """A batch on its way."""

    id: int
    entries: list[Entry]
    batch: Batch
    since: int
    """What was known of the open block when it was filled."""
    keys: list[bytes]
    """The key of each move."""


class Filling:
    """See the module."""

    def __init__(self, pool: Pool, view: View, policy: Policy) -> None:
        self.pool, self.view, self.policy = pool, view, policy
        self.block: Target | None = None
        """None between a sealed block and the next opened one."""
        self._flight: Flight | None = None
        self._ready: list[tuple[tuple[int, ...], int, bytes]] = []
        """(key, arrival, txid) of what may be filled next; what no longer may stays until it is met. key: the policy's,
        behind 1 for what waits for its value to come back, which is executed for nothing as often as not."""
        self._parked: set[bytes] = set()
        """Txids that are not tried again in this block."""
        self._thirsty: dict[bytes, bytes] = {}
        """Key of a balance that is too low -> its owner, whose transactions wait."""
        self._after: dict[bytes, set[bytes]] = {}
        """Txid of a signed maker in the pool -> txids that wait for it."""
        self._told: dict[bytes, Misfit] = {}
        """What the signer of a waiting transaction has been told."""
        self._tries: dict[bytes, int] = {}
        """Txid -> fills in which a transaction was a misfit only because of others before it in the same fill."""
        self._next_batch = 1
        self._pace = MAX_PACE

    @property
    def has_work(self) -> bool:
        """True if `fill` may make a batch."""
        return self.block is not None and self._flight is None and bool(self._ready)

    def open(self, block: Target, cells: Cells) -> None:
        """A block is open, with these cells in it; none was since `close`."""
        self.block = block
        self.view.learn(cells)
        for sender in list(self.pool.senders()):
            self.push_next(sender)

    def close(self, block: Block | None) -> None:
        """No block is open: every transaction waits again. block: what the latest index has applied, if anything."""
        self._land()
        self.view.close_block(block)
        self.block = None
        for entry in self.pool:
            self.pool.release(entry)
        self._ready.clear()
        self._parked.clear()
        self._thirsty.clear()
        self._after.clear()

    def _push(self, entry: Entry) -> None:
        """Make a transaction one that may be filled next, if this block can hold it."""
        block = self.block
        if block is None or entry.is_held or entry.txid in self._parked:
            return
        base_fee = block.environment.base_fee
        if entry.max_fee >= base_fee:
            key = (int(entry.txid in self._told), *self.policy.key(entry, base_fee))
            heapq.heappush(self._ready, (key, entry.arrival, entry.txid))

    def place(self, entry: Entry) -> None:
        """A transaction has come into the pool."""
        nonce = self.view.number_at(Mark.NONCE, entry.sender)
        if entry.nonce == nonce:
            self._push(entry)
        elif entry.nonce < nonce:
            self.pool.hold(entry)

    def push_next(self, sender: bytes) -> None:
        """A sender's next transaction may be filled; those that its nonce has passed are in the block."""
        nonce = self.view.number_at(Mark.NONCE, sender)
        for entry in self.pool.of(sender):
            if entry.nonce < nonce:
                self.pool.hold(entry)
            elif entry.nonce == nonce:
                self._push(entry)
            else:
                break

    def _choose(self, limit: int) -> list[Entry]:
        """What to fill, by the policy, and by nonce within a sender; what waits for its value goes after all others."""
        chosen: list[Entry] = []
        nonces: dict[bytes, int] = {}
        while self._ready and len(chosen) < limit:
            key, arrival, txid = heapq.heappop(self._ready)
            if key[0] and chosen and chosen[0].txid not in self._told:
                heapq.heappush(self._ready, (key, arrival, txid))
                break
            entry = self.pool.get(txid)
            if entry is None or entry.arrival != arrival or entry.is_held or txid in self._parked:
                continue
            nonce = nonces.get(entry.sender)
            if entry.nonce != (self.view.number_at(Mark.NONCE, entry.sender) if nonce is None else nonce):
                continue
            chosen.append(entry)
            nonces[entry.sender] = entry.nonce + 1
            following = self.pool.at(entry.sender, entry.nonce + 1)
            if following is not None:
                self._push(following)
        return chosen

    def fill(self, limit: int) -> list[Result]:
        """Execute what may go, at most `limit` transactions, and send those that fit."""
        block = self.block
        if block is None or self._flight is not None:
            return []
        entries = self._choose(min(limit, self._pace))
        if not entries:
            return []
        filled, entries = self._execute(block, entries)
        rows = Rows.of(filled)
        steps = [entries[place] for place in rows.place.tolist()]
        named = name_cells(rows, steps, filled.statuses, self.view, block.hashes)
        batch = batch_of(rows, filled, steps, named, self.view)
        self.view.restore(named.spoiled, named.made)
        is_slow = named.misfits or named.unsettled
        self._pace = max(len(entries) // 4, MIN_PACE) if is_slow else min(2 * self._pace, MAX_PACE)
        refused = [(entries[place], why) for place, _, why in filled.refused]
        results = self._refused(refused, lambda key: key in named.made or key in named.spoiled)
        results += self._settle_misfits(steps, named)
        for step in (*named.pushed, *named.unsettled, *named.misfits):
            self.push_next(steps[step].sender)
        return [*results, *self._send([steps[step] for step in named.kept], batch)]

    def _execute(self, block: Target, entries: list[Entry]) -> tuple[Filled, list[Entry]]:
        """Execute one after another as many as can be, and say which.

        One that needs a code which is not at hand waits for the next block, as a lost race without news does: somebody
        else's transaction has made it live in the open block, and codes come with sealed ones.
        """
        while True:
            try:
                filled = fill_steps(
                    self.view.world,
                    block.environment,
                    [entry.envelope for entry in entries],
                    [entry.sender for entry in entries],
                    block.hashes.block_hashes,
                    self.view.codes,
                    gas_before=block.gas,
                    skip_refused=True,
                )
            except Failure as failure:
                place = place_of_missing(failure)
                if place is None:
                    raise
                self._parked.add(entries[place].txid)
                behind, entries = entries[place + 1 :], entries[:place]
                for sender in dict.fromkeys(entry.sender for entry in behind):
                    self.push_next(sender)
                self._pace = max(place // 4, MIN_PACE)
            else:
                return filled, entries

    def _send(self, entries: list[Entry], batch: Batch) -> list[Result]:
        if not entries or self.block is None:
            return []
        moves = batch.moves
        keys, since = key_rows(moves.mark, moves.addr, moves.slot), self.block.sequence
        self._flight = Flight(self._next_batch, entries, batch, since, keys)
        self._next_batch += 1
        for entry in entries:
            self.pool.hold(entry)
        return [Send(self._flight.id, batch, since)]

    def _refused(self, refused: Iterable[tuple[Entry, str]], touched: Callable[[bytes], bool]) -> list[Result]:
        """What the executor refused, in order. A sender's later ones only follow its first one.

        touched: whether the fill has changed a key, so that another try may go otherwise.
        """
        results: list[Result] = []
        senders: set[bytes] = set()
        for entry, why in refused:
            if entry.sender in senders:
                continue
            senders.add(entry.sender)
            balance, nonce, code = (bytes((mark,)) + entry.sender + ZERO32 for mark in _SENDERS)
            if is_block_full(why):
                self._parked.add(entry.txid)
            elif self._now(Mark.BALANCE, entry.sender) < entry.cost:
                self._thirsty[balance] = entry.sender
            elif touched(balance) or touched(nonce) or touched(code):
                self.push_next(entry.sender)
            elif self._now(Mark.NONCE, entry.sender) == entry.nonce:
                results += self.dropped(entry, Reason.INVALID, why)
        return results

    def _now(self, mark: Mark, sender: bytes) -> int:
        """A balance or a nonce as the fill has left it."""
        return int.from_bytes(self.view.world.get(mark, sender, ZERO32), "big")

    def _settle_misfits(self, steps: list[Entry], named: Named) -> list[Result]:
        results: list[Result] = []
        for step, misfit in named.misfits.items():
            results += self._misfit(steps[step], misfit)
        for step, misfit in named.unsettled.items():
            entry = steps[step]
            self._tries[entry.txid] = self._tries.get(entry.txid, 0) + 1
            if self._tries[entry.txid] > MAX_TRIES:
                results += self._misfit(entry, misfit)
        return results

    def _misfit(self, entry: Entry, misfit: Misfit) -> list[Result]:
        """The state is not what the signature allows: wait for it, or let go; the signer is told once of each case."""
        self._parked.add(entry.txid)
        waited = misfit.expected if misfit.field == "intx" else None
        if waited is not None and waited in self.pool:
            self._after.setdefault(waited, set()).add(entry.txid)
            return []
        waits = bool(entry.valid_until)
        winner = misfit.maker or entry.winner
        notice = Notice(
            entry.txid, winner, misfit.location, misfit.field, misfit.expected, misfit.actual, misfit.may_change,
            misfit.detail, waits,
        )  # fmt: skip
        results: list[Result] = [] if self._told.get(entry.txid) == misfit else [notice]
        if waits:
            self._told[entry.txid] = misfit
            return results
        return [*results, *self.dropped(entry, Reason.LOST, misfit.detail, winner)]

    def replied(self, batch: int, reply: Reply) -> list[Result]:
        """The answer to a batch."""
        flight, block, verdicts = self._flight, self.block, reply.verdicts
        if flight is None or block is None or flight.id != batch:
            return []  # late, or again: the next reply tells whatever it told
        if reply.block != block.environment.number or len(verdicts) != len(flight.entries):
            return self.lost(batch)
        self._flight = None
        learnt = self._learn(block, reply)
        refused = [
            (i, entry, verdict)
            for i, (entry, verdict) in enumerate(zip(flight.entries, verdicts, strict=True))
            if verdict is not None and verdict.winner != entry.txid  # its own winner: admitted, and the reply was lost
        ]
        self.view.restore(_consumed(flight, [i for i, _, _ in refused]))
        gone = {entry.txid for _, entry, _ in refused}
        admitted = tuple(entry.txid for entry in flight.entries if entry.txid not in gone)
        used = flight.batch.gas_used.tolist()
        block.gas += sum(used[i] for i, entry in enumerate(flight.entries) if entry.txid not in gone)
        results: list[Result] = [Admitted(block.environment.number, admitted)] if admitted else []
        for _, entry, verdict in refused:
            results += self._refused_by_validator(entry, verdict, reply.sequence != flight.since)
        self._wake(learnt, admitted)
        for sender in dict.fromkeys(entry.sender for _, entry, _ in refused):
            self.push_next(sender)
        return results

    def learnt(self, reply: Reply) -> list[Result]:
        """What others have done to the open block. A batch on its way is settled by its own reply."""
        if self.block is not None and reply.block == self.block.environment.number:
            self._wake(self._learn(self.block, reply), ())
        return []

    def _learn(self, block: Target, reply: Reply) -> list[bytes]:
        """Take over a reply's cells, unless what is known is newer; returns their keys."""
        if reply.sequence < block.sequence:
            return []
        block.sequence = reply.sequence
        return self.view.learn(reply.cells)

    def _refused_by_validator(self, entry: Entry, verdict: Verdict, is_news: bool) -> list[Result]:
        """is_news: others have changed the block since the fill. If not, another fill would be the same."""
        self.pool.release(entry)
        if is_full(verdict) or (verdict.rule in RACE_RULES and not is_news):
            self._parked.add(entry.txid)
        elif verdict.rule in RACE_RULES:
            entry.winner = verdict.winner or entry.winner
        else:
            return self.dropped(entry, Reason.INVALID, str(verdict), verdict.winner)
        return []

    def _wake(self, learnt: Iterable[bytes], admitted: Iterable[bytes]) -> None:
        """Transactions that waited for what is now there. Nonces may have moved for others than senders (EIP-7702)."""
        for key in learnt:
            if key[0] == Mark.NONCE:
                self.push_next(key[1:21])
            elif key in self._thirsty:
                self.push_next(self._thirsty.pop(key))
        for txid in admitted:
            for waiting in sorted(self._after.pop(txid, ())):
                self._parked.discard(waiting)
                entry = self.pool.get(waiting)
                if entry is not None:
                    self.push_next(entry.sender)

    def lost(self, batch: int) -> list[Result]:
        """Nobody knows what became of the batch: its transactions are filled again, and the reply to that will tell."""
        flight = self._flight
        if flight is None or flight.id != batch:
            return []
        self._land()
        for sender in dict.fromkeys(entry.sender for entry in flight.entries):
            self.push_next(sender)
        return []

    def _land(self) -> None:
        """Take back what the world has of the batch on its way."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        self.view.restore(_consumed(flight, range(len(flight.entries))))
        for entry in flight.entries:
            self.pool.release(entry)

    def dropped(self, entry: Entry, reason: Reason, detail: str, winner: bytes | None = None) -> list[Result]:
        """A transaction leaves the pool; its sender's later ones stay, behind a gap."""
        self.pool.remove(entry.txid)
        return [self.forgotten(entry), Dropped(entry.txid, reason, detail, winner)]

    def forgotten(self, entry: Entry) -> Forget:
        """The disk need not keep a transaction that has left the pool."""
        self._told.pop(entry.txid, None)
        self._tries.pop(entry.txid, None)
        self._parked.discard(entry.txid)
        return Forget(entry.arrival)


def _consumed(flight: Flight, which: Iterable[int]) -> set[bytes]:
    """The keys that these transactions of a batch consume."""
    offsets, consumes = flight.batch.offsets().tolist(), flight.batch.consumes.tolist()
    return {key for i in which for key in flight.keys[offsets[i] : offsets[i] + consumes[i]]}
