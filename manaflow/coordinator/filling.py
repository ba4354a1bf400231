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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from manaflow._native import Filled
from manaflow.coordinator.declare import Misfit
from manaflow.coordinator.line import Line
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
    made: dict[bytes, bytes]
    """Records of the live cells that it makes, by key."""


class Filling:
    """See the module."""

    def __init__(self, pool: Pool, view: View, policy: Policy) -> None:
        self.pool, self.view = pool, view
        self.block: Target | None = None
        """None between a sealed block and the next opened one."""
        self._flight: Flight | None = None
        self._thirsty: dict[bytes, bytes] = {}
        """Key of a balance that is too low -> its owner, whose transactions wait."""
        self._after: dict[bytes, set[bytes]] = {}
        """Txid of a signed maker in the pool -> txids that wait for it."""
        self._told: dict[bytes, Misfit] = {}
        """What the signer of a waiting transaction has been told."""
        self._tries: dict[bytes, int] = {}
        """Txid -> fills in which a transaction was a misfit only because of others before it in the same fill."""
        self._line = Line(pool, view, policy, self._told)
        self._next_batch = 1
        self._pace = MAX_PACE

    @property
    def has_work(self) -> bool:
        """True if `fill` may make a batch."""
        return self._flight is None and bool(self._line)

    def open(self, block: Target, cells: Cells) -> None:
        """A block is open, with these cells in it; none was since `close`."""
        self.block = block
        self._line.stir(key[1:21] for key in self.view.learn(cells) if key[0] == Mark.NONCE)
        self._line.open(block.environment.base_fee)

    def close(self, block: Block | None) -> None:
        """No block is open: every transaction waits again. block: what the latest index has applied, if anything."""
        self.leave(block)
        self.release()

    def leave(self, block: Block | None) -> None:
        """`close`, but for the transactions that are held: until `release`, some of them may be taken out."""
        self._land()
        if block is None and self.block is not None:
            self._line.begin_anew()
        self._line.stir(self.view.close_block(block))
        self._line.stir(self._thirsty.values())
        self._line.close()
        self.block = None
        self._thirsty.clear()
        self._after.clear()

    def release(self) -> None:
        """Nothing is on its way any more."""
        self._line.stir(entry.sender for entry in self.pool.release_all())

    def reset(self) -> None:
        """The sealed state is another than it was; no block is open."""
        self.view.reset()
        self._line.begin_anew()

    def place(self, entry: Entry, nonce: int | None = None) -> None:
        """A transaction has come into the pool. nonce: its sender's in the open block, if the caller knows it."""
        self._line.place(entry, nonce)

    def fill(self, limit: int) -> list[Result]:
        """Execute what may go, at most `limit` transactions, and send those that fit."""
        block = self.block
        if block is None or self._flight is not None:
            return []
        entries = self._line.choose(min(limit, self._pace))
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
            self._line.push_next(steps[step].sender)
        return [*results, *self._send([steps[step] for step in named.kept], batch, named.made)]

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
                self._line.park(entries[place].txid)
                behind, entries = entries[place + 1 :], entries[:place]
                for sender in dict.fromkeys(entry.sender for entry in behind):
                    self._line.push_next(sender)
                self._pace = max(place // 4, MIN_PACE)
            else:
                return filled, entries

    def _send(self, entries: list[Entry], batch: Batch, made: dict[bytes, bytes]) -> list[Result]:
        if not entries or self.block is None:
            return []
        since = self.block.sequence
        self._flight = Flight(self._next_batch, entries, batch, since, made)
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
                self._line.park(entry.txid)
            elif self._now(Mark.BALANCE, entry.sender) < entry.cost:
                self._thirsty[balance] = entry.sender
            elif touched(balance) or touched(nonce) or touched(code):
                self._line.push_next(entry.sender)
            elif self._now(Mark.NONCE, entry.sender) == entry.nonce:
                results += self.dropped(entry, Reason.INVALID, why)
            else:
                self._line.stir((entry.sender,))
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
        self._line.park(entry.txid)
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
        if _is_as_filled(flight, block, reply):
            return self._all_admitted(flight, block, reply)
        learnt = self._learn(block, reply)
        refused = [
            (entry, verdict)
            for entry, verdict in zip(flight.entries, verdicts, strict=True)
            if verdict is not None and verdict.winner != entry.txid  # its own winner: admitted, and the reply was lost
        ]
        self.view.restore(_consumed(flight, range(len(flight.entries))))  # what it calls admitted, its cells may lack
        gone = {entry.txid for entry, _ in refused}
        admitted = tuple(entry.txid for entry in flight.entries if entry.txid not in gone)
        used = flight.batch.gas_used.tolist()
        block.gas += sum(used[i] for i, entry in enumerate(flight.entries) if entry.txid not in gone)
        results: list[Result] = [Admitted(block.environment.number, admitted)] if admitted else []
        for entry, verdict in refused:
            results += self._refused_by_validator(entry, verdict, reply.sequence != flight.since)
        self._wake(learnt, admitted)
        for sender in dict.fromkeys(entry.sender for entry, _ in refused):
            self._line.push_next(sender)
        return results

    def _all_admitted(self, flight: Flight, block: Target, reply: Reply) -> list[Result]:
        """The whole batch is in the block, and nothing of others: the world has it already."""
        block.sequence = reply.sequence
        self.view.take(flight.made)
        block.gas += int(flight.batch.gas_used.sum())
        admitted = tuple(entry.txid for entry in flight.entries)
        self._wake(flight.made, admitted)
        return [Admitted(block.environment.number, admitted)]

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
            self._line.park(entry.txid)
        elif verdict.rule in RACE_RULES:
            entry.winner = verdict.winner or entry.winner
        else:
            return self.dropped(entry, Reason.INVALID, str(verdict), verdict.winner)
        return []

    def _wake(self, learnt: Iterable[bytes], admitted: Iterable[bytes]) -> None:
        """Transactions that waited for what is now there. Nonces may have moved for others than senders (EIP-7702)."""
        thirsty = self._thirsty
        for key in learnt:
            if key[0] == Mark.NONCE:
                self._line.push_next(key[1:21])
            elif thirsty and key in thirsty:
                self._line.push_next(thirsty.pop(key))
        for txid in admitted if self._after else ():
            for waiting in sorted(self._after.pop(txid, ())):
                self._line.unpark(waiting)
                entry = self.pool.get(waiting)
                if entry is not None:
                    self._line.push_next(entry.sender)

    def lost(self, batch: int) -> list[Result]:
        """Nobody knows what became of the batch: its transactions are filled again, and the reply to that will tell."""
        flight = self._flight
        if flight is None or flight.id != batch:
            return []
        self._land()
        for entry in flight.entries:
            self.pool.release(entry)
        for sender in dict.fromkeys(entry.sender for entry in flight.entries):
            self._line.push_next(sender)
        return []

    def _land(self) -> None:
        """Take back what the world has of the batch on its way. Its transactions are held until they are released."""
        flight, self._flight = self._flight, None
        if flight is not None:
            self.view.restore(_consumed(flight, range(len(flight.entries))))

    def dropped(self, entry: Entry, reason: Reason, detail: str, winner: bytes | None = None) -> list[Result]:
        """A transaction leaves the pool; its sender's later ones stay, behind a gap."""
        self.pool.remove(entry.txid)
        return [self.forgotten(entry), Dropped(entry.txid, reason, detail, winner)]

    def forgotten(self, entry: Entry) -> Forget:
        """The disk need not keep a transaction that has left the pool."""
        for waiting in (self._told, self._tries):
            if waiting:
                waiting.pop(entry.txid, None)
        self._line.unpark(entry.txid)
        return Forget(entry.arrival)


def _is_as_filled(flight: Flight, block: Target, reply: Reply) -> bool:
    """True if the open block has taken all of a batch, and nothing else since it was filled."""
    count = len(flight.entries)
    is_alone = block.sequence == flight.since and reply.sequence == flight.since + count
    return is_alone and reply.verdicts.count(None) == count and len(reply.cells) >= len(flight.made)


def _consumed(flight: Flight, which: Sequence[int]) -> set[bytes]:
    """The keys that these transactions of a batch consume."""
    if not which:
        return set()
    moves = flight.batch.moves
    keys = key_rows(moves.mark, moves.addr, moves.slot)
    offsets, consumes = flight.batch.offsets().tolist(), flight.batch.consumes.tolist()
    return {key for i in which for key in keys[offsets[i] : offsets[i] + consumes[i]]}
