"""The coordinator: a state machine that orders, executes and fills pending transactions for an open block.

    results = coordinator.handle(message)        see messages.py

It has no socket, clock or randomness: the same messages over the same latest index give the same results. Here is what
it does with submissions and blocks; filling.py has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from manaflow.coordinator.door import Door, Terms
from manaflow.coordinator.filling import Filling, Target
from manaflow.coordinator.messages import (
    Accepted,
    Dropped,
    Fill,
    Forget,
    Included,
    Keep,
    Learnt,
    Lost,
    Message,
    Opened,
    Reason,
    Refused,
    Replied,
    Restore,
    Result,
    Sealed,
    Submit,
    Undone,
)
from manaflow.coordinator.naming import Hashes
from manaflow.coordinator.policy import Arrival, Policy
from manaflow.coordinator.pool import Entry, Limits, Pool, Refusal
from manaflow.coordinator.view import Records, View
from manaflow.evm.environment import environment_of
from manaflow.moves.block import Block
from manaflow.moves.columns import rows_of
from manaflow.moves.header import Header
from manaflow.moves.marks import ZERO32, Mark, Mask
from manaflow.rules.config import ChainConfig
from manaflow.rules.forks import precompiles


class Coordinator:
    """See the module. One thread. After an exception that is no Verdict it must not be used again."""

    def __init__(
        self,
        config: ChainConfig,
        head: Header,
        latest: Records,
        code_of: Callable[[bytes], bytes | None],
        *,
        policy: Policy | None = None,
        limits: Limits | None = None,
    ) -> None:
        """head: the header of the latest index's tip. code_of: the bytes of a sealed code by keccak-256."""
        self.config = config
        self.pool = Pool(limits or Limits())
        self.view = View(latest, code_of)
        self.filling = Filling(self.pool, self.view, policy or Arrival())
        self._door = Door(config, self.pool.limits)
        self._terms = _terms_after(head, config)
        self._next_arrival = 1

    @property
    def has_work(self) -> bool:
        """True if `Fill` may make a batch."""
        return self.filling.has_work

    @property
    def sequence(self) -> int:
        """How many transactions of the open block this coordinator knows of; 0 if none is open."""
        return 0 if self.filling.block is None else self.filling.block.sequence

    def handle(self, message: Message) -> list[Result]:
        """Take a message; what follows from it, in order."""
        match message:
            case Submit(envelopes):
                return self._submit(envelopes)
            case Restore(kept):
                return self._restore(kept)
            case Opened():
                return self._opened(message)
            case Fill(limit):
                return self.filling.fill(limit)
            case Replied(batch, reply):
                return self.filling.replied(batch, reply)
            case Learnt(reply):
                return self.filling.learnt(reply)
            case Lost(batch):
                return self.filling.lost(batch)
            case Sealed(block):
                return self._sealed(block)
            case Undone(block):
                return self._undone(block)

    # Submissions

    def _submit(self, envelopes: tuple[bytes, ...]) -> list[Result]:
        results: list[Result] = []
        for read in self._door.read(envelopes, self._terms):
            found = self._take(read) if isinstance(read, Entry) else read
            if isinstance(found, list):
                assert isinstance(read, Entry)
                results += [Keep(read.arrival, read.envelope), Accepted(read.txid), *found]
            else:
                txid, refusal = found
                results.append(Refused(txid, refusal.reason, refusal.detail, refusal.winner))
        return results

    def _take(self, entry: Entry) -> list[Result] | tuple[bytes, Refusal]:
        """A stranger's transaction, held against the state of the open block."""
        nonce, balance = self.view.nonce(entry.sender), self.view.balance(entry.sender)
        refusal = self._refusal(entry, nonce)
        if refusal is None and balance < entry.cost:
            refusal = Refusal(Reason.BALANCE, f"it may cost {entry.cost} wei, the sender has {balance}")
        return self._add(entry, refusal, None, nonce)

    def _take_again(self, entry: Entry, arrival: int | None) -> list[Result] | tuple[bytes, Refusal]:
        """One that was taken before: in a chain of payments it may not be able to pay yet, and it may be admitted."""
        return self._add(entry, self._refusal(entry, self.view.sealed_nonce(entry.sender)), arrival)

    def _add(
        self, entry: Entry, refusal: Refusal | None, arrival: int | None, nonce: int | None = None
    ) -> list[Result] | tuple[bytes, Refusal]:
        """Put a transaction into the pool: what else follows, or why not. nonce: as for `Filling.place`."""
        if refusal is not None:
            return entry.txid, refusal
        entry.arrival = self._next_arrival if arrival is None else arrival
        added = self.pool.add(entry)
        if isinstance(added, Refusal):
            return entry.txid, added
        self._next_arrival = max(self._next_arrival, entry.arrival + 1)
        results: list[Result] = []
        for gone, why in added.gone:
            results += self.filling.dropped(gone, why.reason, why.detail, why.winner)
        self.filling.place(entry, nonce)
        return results

    def _refusal(self, entry: Entry, nonce: int) -> Refusal | None:
        """What the state has against a transaction."""
        if entry.txid in self.pool:
            return Refusal(Reason.KNOWN, "the transaction is in the pool already")
        if entry.nonce < nonce:
            winner = self.view.maker((Mark.NONCE, entry.sender, ZERO32)) if entry.nonce == nonce - 1 else None
            return Refusal(Reason.NONCE_USED, f"nonce {entry.nonce}, the sender's is {nonce}", winner)
        if entry.nonce >= nonce + self.pool.limits.per_sender:
            return Refusal(Reason.NONCE_FAR, f"nonce {entry.nonce}, the sender's is {nonce}")
        return None

    def _restore(self, kept: Iterable[tuple[int, bytes]]) -> list[Result]:
        rows = list(kept)
        results: list[Result] = []
        for (arrival, _), read in zip(rows, self._door.read([raw for _, raw in rows], self._terms), strict=True):
            found = self._take_again(read, arrival) if isinstance(read, Entry) else read
            if isinstance(found, list):
                results += found
            else:
                txid, refusal = found
                results += [Forget(arrival), Dropped(txid, refusal.reason, refusal.detail, refusal.winner)]
        return results

    # Blocks

    def _opened(self, message: Opened) -> list[Result]:
        header = message.header
        self.filling.close(None)
        environment = environment_of(header, self.config)
        self._terms = Terms(header.number, environment.fork, header.gas_limit)
        hashes = Hashes(header.number, dict(message.block_hashes), precompiles(environment.fork))
        results: list[Result] = []
        for entry in self.pool.expire(header.number):
            results += self.filling.dropped(entry, Reason.EXPIRED, f"block {header.number} may not hold it any more")
        self.filling.open(Target(environment, hashes, message.sequence), message.cells)
        return results

    def _sealed(self, block: Block) -> list[Result]:
        self.filling.leave(block)
        self._terms = _terms_after(block.header, self.config)
        included: list[Entry] = []
        results: list[Result] = []
        txids = rows_of(block.leaves.txid)
        sealed = set(txids)
        uses = _nonce_uses(block)
        users: dict[tuple[bytes, int], bytes] = {}
        for sender, nonce in {sender: after for sender, _, after, _ in uses}.items():
            for entry in self.pool.pass_nonce(sender, nonce):
                if entry.txid in sealed:
                    included.append(entry)
                    continue
                users = users or {(user, used): txids[leaf] for user, used, _, leaf in uses}
                winner = users.get((sender, entry.nonce))
                results += self.filling.dropped(entry, Reason.NONCE_USED, f"the sender's nonce is {nonce}", winner)
        self.filling.release()
        forgotten = [self.filling.forgotten(entry) for entry in included]
        return [*forgotten, Included(block.header.number, tuple(e.txid for e in included)), *results]

    def _undone(self, block: Block) -> list[Result]:
        """Its transactions wait again, as the newest."""
        self.filling.close(None)
        self.filling.reset()
        self._terms = replace(self._terms, number=block.header.number)
        results: list[Result] = []
        for read in self._door.read(block.envelopes, self._terms):
            found = self._take_again(read, None) if isinstance(read, Entry) else read
            if isinstance(found, list):
                assert isinstance(read, Entry)
                results += [Keep(read.arrival, read.envelope), *found]
            else:
                txid, refusal = found
                results.append(Dropped(txid, refusal.reason, refusal.detail, refusal.winner))
        return results


def _nonce_uses(block: Block) -> list[tuple[bytes, int, int, int]]:
    """(account, nonce before, after, place of the leaf) of every consume of a nonce, in the block's order."""
    moves = block.moves
    rows = np.flatnonzero((moves.mark == Mark.NONCE) & ((moves.mask & Mask.REFERENCE) == 0))
    leaves = np.searchsorted(block.leaves.move_offsets(), rows, side="right") - 1
    before, after = (words[rows, 24:].copy().view(">u8")[:, 0].tolist() for words in (moves.prev, moves.next))
    return list(zip(rows_of(moves.addr[rows]), before, after, leaves.tolist(), strict=True))


def _terms_after(head: Header, config: ChainConfig) -> Terms:
    """What is known of the next block before it opens: the number, and about the rest what holds for the last."""
    return Terms(head.number + 1, config.entry_at(head.timestamp).fork, head.gas_limit)
