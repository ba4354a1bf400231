"""A node's chain with its open block and its pool, as the one thread that owns them sees it: `chain.Chain`.

Whatever changes it is followed by `promise` or `settle` before any answer leaves. `promise`: what waits is filled and
admitted, and the disk gets what answers to `take` promise. `settle`: the open block is sealed, too, if that is due, and
the disk gets what all others are told. Then those who listen hear of it.

A failure that is not the disk's ends nothing the first time: what was begun is given up, its caller gets `BegunAnew`,
and the open block and the coordinator are made anew from disk. If that fails too, the chain is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.following import MAX_HELD, Follower
from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.messages import Accepted, Learnt, Opened, Refused, Replied, Sealed, Undone
from manaflow.coordinator.policy import Policy
from manaflow.coordinator.pool import Limits
from manaflow.errors import Failure, Verdict
from manaflow.moves.batch import EMPTY_BATCH, Batch, Reply
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.marks import Mark
from manaflow.node.chain import Events, SealedBlock
from manaflow.node.conflicts import Conflicts
from manaflow.node.coordinator_role import BATCH, CoordinatorRole
from manaflow.node.errors import METHOD_NOT_SUPPORTED, RpcError
from manaflow.node.links import LocalLink, ValidatorLink
from manaflow.node.mending import Mending
from manaflow.node.sealed_blocks import SealedBlocks
from manaflow.node.validator_role import Sealing, ValidatorRole
from manaflow.node.views import HeadView, PendingView
from manaflow.rules.config import ChainConfig
from manaflow.validator.validator import Validator

T = TypeVar("T")
Clock = Callable[[], float]
"""Seconds that never go back."""


class OwnedChain:
    """See the module. One thread. Once it is `broken` it answers nothing any more: open the directory again."""

    def __init__(
        self,
        validator: Validator,
        latest: LatestIndex,
        events: Events,
        link: ValidatorLink | None,
        *,
        producer: Callable[[Follower], ValidatorRole] | None = None,
        sealing: Sealing | None = None,
        clock: Clock,
        takes_transactions: bool = True,
        policy: Policy | None = None,
        limits: Limits | None = None,
    ) -> None:
        """link: where batches go; None: to this chain's own producer. sealing: of the producer's blocks."""
        self.validator, self.latest, self._events, self._clock = validator, latest, events, clock
        self._takes_transactions = takes_transactions
        self._mending = Mending()
        self._outbox: list[partial[None]] = []
        self._blocks = SealedBlocks(validator, latest)
        self.conflicts = Conflicts()
        """What signers were told last."""
        self._follower = Follower(validator, latest)
        undone = [step for step in self._follower.catch_up() if isinstance(step, Undone)]
        self.producer = producer(self._follower) if producer else None
        self._sealing = sealing
        link = link if self.producer is None else LocalLink(self.producer)
        if link is None:
            raise ValueError("batches go nowhere: neither a producer nor a link")
        self._link, self._policy, self._limits = link, policy, limits
        self.coordinator = self._new_coordinator()
        for step in undone:  # by a process that died before it had their transactions in the pool
            self.coordinator.tell(step)
        self.batch = BATCH
        """Transactions of one batch at most."""
        self._opened: Opened | None = None
        """The open block that the coordinator has been told of."""
        self._is_behind = False
        """Others have changed the open block."""
        self._owes_keep = False
        """Another process is about to be told what the open block has admitted."""
        self._has_changed = True
        if self.producer is not None and self.producer.block is not None:
            self._tell_opened(self.producer.opened())

    def close(self) -> None:
        """Leave the files as whoever opens them next wants them. Safe after a failure."""
        try:
            if self.broken is None:
                self.coordinator.close()
        finally:
            self.latest.close()
            self.validator.close()

    # chain.Chain

    @property
    def config(self) -> ChainConfig:
        """See chain.Chain, here and below."""
        return self.validator.config

    @property
    def head(self) -> tuple[Header, bytes]:
        """Header and hash."""
        return self.validator.head

    @property
    def broken(self) -> BaseException | None:
        """What has ended it."""
        return self._mending.broken

    @property
    def is_open(self) -> bool:
        """Whether the coordinator knows of an open block."""
        return self._opened is not None

    @property
    def finalized(self) -> int:
        """`challenge blocks` behind the head."""
        config = self.config
        return max(config.genesis_number, self.head[0].number - config.challenge_blocks)

    def header(self, number: int) -> Header | None:
        """Canonical."""
        return self._blocks.header(number)

    def sealed(self, key: int | bytes) -> SealedBlock | None:
        """Canonical, decoded."""
        return self._blocks.get(key)

    def place(self, txid: bytes) -> tuple[int, int] | None:
        """By the latest index."""
        return self.latest.transaction(txid)

    def view(self, *, pending: bool = False) -> HeadView | PendingView:
        """Pending: of the open block, which is opened if none is; a coordinator whose validator has none sees the
        head's."""
        if pending:
            if self.producer is not None and not self.producer.is_barred:
                self._ensure_open()
            if self._opened is not None:
                opened = self._opened
                core = self.coordinator.core
                return PendingView(self.config, opened.header, opened.block_hashes, core, self._code)
        if len(self._follower.world) > MAX_HELD:
            self._follower.world.clear()
        return HeadView(self.config, self.head[0], self.latest, self._follower, self.validator.code)

    def pending(self, txid: bytes) -> bytes | None:
        """From the pool, or from others in the open block."""
        entry = self.coordinator.core.pool.get(txid)
        if entry is not None:
            return entry.envelope
        if self.producer is None or self.producer.block is None or txid not in self.producer.block:
            return None
        return next((envelope for found, envelope in self.producer.envelopes() if found == txid), None)

    def admitted(self) -> tuple[bytes, ...]:
        """Those of others, too."""
        return () if self.producer is None else tuple(envelope for _, envelope in self.producer.envelopes())

    def next_nonce(self, sender: bytes) -> int:
        """After the open block and the pool."""
        core = self.coordinator.core
        nonce = core.view.number_at(Mark.NONCE, sender)
        while core.pool.at(sender, nonce) is not None:
            nonce += 1
        return nonce

    def submit(self, envelopes: Sequence[bytes]) -> list[Accepted | Refused]:
        """`take` and `settle`."""
        results = self.take(envelopes)
        self.settle()
        return results

    # What changes it

    def take(self, envelopes: Sequence[bytes]) -> list[Accepted | Refused]:
        """Take envelopes into the pool; the answers hold after `promise`. Raises RpcError if this node takes none."""
        if not self._takes_transactions:
            raise RpcError(METHOD_NOT_SUPPORTED, "this node coordinates nothing: send transactions to a coordinator")
        if self.producer is not None and not self.producer.is_barred:
            self._ensure_open()  # first, so that each envelope is put in line once
        with self._whole():
            results = self.coordinator.submit(envelopes)
        for result, envelope in zip(results, envelopes, strict=True):
            if isinstance(result, Accepted):
                self._outbox.append(partial(self._events.accepted, result.txid, envelope))
        return results

    def open_block(self) -> Opened:
        """The open block for another process's coordinator. Raises Failure if this node is no validator."""
        producer = self._check_may_produce()
        with self._whole():
            self._ensure_open()
            self._learn()
            opened, block = self._opened, producer.block
            assert opened is not None
            assert block is not None
            self._owes_keep = self._has_changed = True
            reply = block.admit(EMPTY_BATCH, 0, keep=False)
        return Opened(opened.header, opened.block_hashes, reply.sequence, reply.cells)

    def admit(self, batch: Batch, since: int, opened: bytes | None = None) -> Reply:
        """Another process's batch for the open block; the reply holds after `settle`.

        opened: hash of the open block's header that it was filled for. Raises Verdict(B1) for a batch that is none,
        Failure if another block is open, or if this node is no validator; BegunAnew if the batch could not be judged.
        """
        producer = self._check_may_produce()
        if producer.block is None:
            self._ensure_open()
        block = producer.block
        if block is not None and opened is not None and block.header.hash != opened:
            raise Failure(f"another block is open: 0x{block.header.hash.hex()}")
        with self._whole(Verdict, mend=self._reopen):
            reply = producer.admit(batch, since)
        self._is_behind = self._owes_keep = self._has_changed = True
        return reply

    def seal(self) -> Block:
        """Seal the open block now, whatever it holds. Raises Failure if this node is no validator."""
        self._check_may_produce()
        with self._whole():
            self._fill()
            return self._seal()

    def change(self, run: Callable[[], T]) -> T:
        """Let `run` import blocks into the validator or take them back; everything else comes along."""
        self.latest.flush()  # it must know on disk what may be taken back
        before = self.validator.head[1]
        try:
            return run()
        finally:
            if self.validator.head[1] != before:
                with self._whole():
                    self._follow()

    def tell(self, message: Opened | Replied | Learnt) -> None:
        """What another process's validator says of its open block."""
        with self._whole():
            if isinstance(message, Opened):
                self._tell_opened(message)
            else:
                self.coordinator.tell(message)
        self._has_changed = True

    # Settling

    def wait(self) -> float | None:
        """Seconds until `settle` has something to do by itself; None: never."""
        if self._has_changed:
            return 0.0
        return None if self._sealing is None else self._sealing.wait(self._clock())

    def promise(self) -> None:
        """See the module. `settle` has still to come. Raises BegunAnew, or what has broken the chain."""
        with self._whole():
            self._prepare()
            self.coordinator.flush()
        self._tell()

    def settle(self) -> None:
        """See the module. Raises BegunAnew, or what has broken the chain."""
        with self._whole():
            self._work_and_keep()
        self._tell()

    def _tell(self) -> None:
        outbox, self._outbox = self._outbox, []
        for tell in outbox:
            tell()

    def _work_and_keep(self) -> None:
        self._prepare()
        if self.producer is not None and self._sealing is not None:
            if self.producer.is_barred:
                self._sealing.sealed(self._clock())
            elif self._sealing.is_due(self._clock(), self.producer.admitted):
                self._seal()
        if self._owes_keep and self.producer is not None:
            self.producer.keep()
            self._owes_keep = False
        self.coordinator.flush()

    def _prepare(self) -> None:
        was_changed, self._has_changed = self._has_changed, False
        if self.producer is None or self._sealing is None:
            self.coordinator.pump(self.batch)
        elif not self.producer.is_barred and (was_changed or len(self.coordinator.core.pool)):
            self._fill()

    def _fill(self) -> None:
        """Everything that can go into the open block goes."""
        if len(self.coordinator.core.pool):
            self._ensure_open()
            self._learn()
            self.coordinator.pump(self.batch)

    def _seal(self) -> Block:
        assert self._sealing is not None
        block = self._own_producer().seal()
        self._sealing.sealed(self._clock())
        self._follow()
        self._has_changed = True
        return block

    def _follow(self) -> None:
        """The validator's head has moved: the latest index and the coordinator come along."""
        for message in self._followed():
            self.coordinator.tell(message)
            self._has_changed = True

    def _followed(self) -> Iterator[Sealed | Undone]:
        steps, self._opened = self._follower.catch_up(), None
        while True:
            undone = self._blocks.receipts_about_to_go()
            match next(steps, None):
                case Sealed(block) as message:
                    sealed = self._blocks.put(block, self._follower.receipts)
                    self._outbox.append(partial(self._events.sealed, sealed))
                case Undone(block) as message:
                    self._blocks.drop(block.header.number)
                    gone = self._blocks.of(block, undone)
                    self._outbox.append(partial(self._events.undone, gone))
                case None:
                    return
            yield message

    def _ensure_open(self) -> None:
        producer = self._own_producer()
        with self._whole():
            if producer.ensure_open() or self._opened is None:
                self._tell_opened(producer.opened())

    def _tell_opened(self, opened: Opened) -> None:
        self._opened, self._is_behind = opened, False
        self.coordinator.tell(opened)

    def _learn(self) -> None:
        """What others have admitted."""
        block = None if self.producer is None else self.producer.block
        if self._is_behind and block is not None:
            self._is_behind = False
            self.coordinator.tell(Learnt(block.admit(EMPTY_BATCH, self.coordinator.core.sequence, keep=False)))

    # Small things

    def _told(self, kind: str, item: Mapping[str, Any]) -> None:
        self.conflicts.remember(kind, item)
        self._outbox.append(partial(self._events.notice, kind, item))

    def _own_producer(self) -> ValidatorRole:
        if self.producer is None:
            raise Failure("this node has no open block: ask a validator")
        return self.producer

    def _check_may_produce(self) -> ValidatorRole:
        producer = self._own_producer()
        if producer.is_barred:
            raise Failure("this producer has signed a block on the head that was taken back: another one must go on")
        return producer

    def _whole(self, *allowed: type[Exception], mend: Callable[[], None] | None = None) -> AbstractContextManager[None]:
        return self._mending.whole(mend or self._begin_anew, *allowed)

    def _begin_anew(self) -> None:
        """Everything as the disk has it; what was taken and not answered is gone, so that it cannot fail again."""
        sealed = (self._events.sealed, self._events.undone)
        self._outbox = [tell for tell in self._outbox if tell.func in sealed]
        for _ in self._followed():
            pass
        self.coordinator = self._new_coordinator()
        self._reopen()
        self._work_and_keep()
        self._has_changed = True

    def _reopen(self) -> None:
        """The open block as the disk has it; one of another process must be asked for."""
        self._opened, self._has_changed = None, True
        if self.producer is not None:
            self.producer.restore()
            if not self.producer.is_barred:
                self._ensure_open()

    def _new_coordinator(self) -> CoordinatorRole:
        validator = self.validator
        self._code = validator.code if self.producer is None else self.producer.code
        core = Coordinator(
            validator.config, validator.head[0], self.latest, self._code, policy=self._policy, limits=self._limits
        )
        return CoordinatorRole(core, self.latest, self._link, self._told)
