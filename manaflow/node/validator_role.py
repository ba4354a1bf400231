"""The validator's role: one validator with its producer, when blocks open and when they are sealed.

What is put on disk, and when (a commit waits for the disk, so each one that is not needed is left out):
- a sealed block, in one commit, before anyone sees it: needed, for its signature must never be repeated;
- what an open block admits from another process, before the reply leaves: needed, for the sender is told so;
- what it admits from this process's own coordinator: not needed, for that one keeps its transactions on disk until a
  sealed block holds them. It comes to disk with the next batch of another process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from manaflow.coordinator.following import Follower
from manaflow.coordinator.messages import Opened
from manaflow.coordinator.producer import LatestState, Producer
from manaflow.errors import Failure
from manaflow.moves.batch import Batch, Reply
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.marks import ZERO20
from manaflow.validator.admission import OpenBlock
from manaflow.validator.room import Bounds
from manaflow.validator.validator import Validator


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a producer takes from outside the chain."""

    now: Callable[[], float]
    """Seconds since 1970."""
    randomness: Callable[[], bytes]
    """32 bytes, for prevrandao."""
    coinbase: bytes = ZERO20
    gas_limit: int | None = None
    """None: as the head's."""


class Sealing(Protocol):
    """When the open block is sealed. `now`: seconds, of a clock that never goes back."""

    def wait(self, now: float) -> float | None:
        """Seconds until it wants to seal by itself; None: it never does."""
        ...

    def is_due(self, now: float, admitted: int) -> bool:
        """Whether to seal a block that holds so many transactions, now that no work waits."""
        ...

    def sealed(self, now: float) -> None:
        """A block was sealed."""
        ...


class Instantly:
    """As soon as something is admitted and nothing more waits."""

    def wait(self, now: float) -> float | None:
        """Never by itself."""
        return None

    def is_due(self, now: float, admitted: int) -> bool:
        """If there is anything to seal."""
        return admitted > 0

    def sealed(self, now: float) -> None:
        """Nothing to remember."""


class OnDemand(Instantly):
    """Only when asked to."""

    def is_due(self, now: float, admitted: int) -> bool:
        """Never."""
        return False


class Interval:
    """Every so many seconds, empty blocks too."""

    def __init__(self, seconds: float, now: float) -> None:
        self.seconds, self._next = seconds, now + seconds

    def wait(self, now: float) -> float | None:
        """Until the next one."""
        return max(self._next - now, 0.0)

    def is_due(self, now: float, admitted: int) -> bool:
        """By the clock alone."""
        return now >= self._next

    def sealed(self, now: float) -> None:
        """The next one is an interval after this one was due, or was asked for; missed ones are not made up for."""
        following = min(self._next, now) + self.seconds
        self._next = following if following > now else now + self.seconds


STALE_AFTER: Final = 1
"""Seconds after which an open block that holds nothing is opened anew, so that its timestamp is about now."""


class ValidatorRole:
    """See the module. One thread. After an exception but Verdict and Failure it must not be used again."""

    def __init__(
        self,
        validator: Validator,
        latest: LatestState,
        follower: Follower,
        key: bytes,
        surroundings: Surroundings,
        *,
        bounds: Bounds | None = None,
    ) -> None:
        """latest: at the validator's head, kept there by `follower`. key: the producer's secret, 32 bytes.

        Raises Failure if the key is no producer's of the chain.
        """
        self._validator, self._follower, self._surroundings = validator, follower, surroundings
        self._producer = Producer(validator, latest, key, bounds=bounds)
        self._next_timestamp: int | None = None
        self._ahead = 0

    @property
    def block(self) -> OpenBlock | None:
        """The open block on the head, None if there is none."""
        block = self._producer.block
        return block if block is not None and block.header.parent_hash == self._validator.head[1] else None

    @property
    def admitted(self) -> int:
        """How many transactions the open block holds."""
        block = self.block
        return 0 if block is None else block.sequence

    def envelopes(self) -> Iterator[tuple[bytes, bytes]]:
        """(txid, envelope) of each signed transaction in the open block, in order."""
        block = self.block
        for part in () if block is None else block.admitted():
            for row, envelope in zip(part.txid, part.batch.envelopes, strict=True):
                if envelope:
                    yield row.tobytes(), envelope

    def code(self, code_hash: bytes) -> bytes | None:
        """A code that is sealed, or that the open block has made live, whoever did it."""
        found, block = self._validator.code(code_hash), self.block
        return block.codes.get(code_hash) if found is None and block is not None else found

    @property
    def now(self) -> int:
        """Seconds since 1970, moved by `advance`."""
        return int(self._surroundings.now()) + self._ahead

    def advance(self, seconds: int) -> int:
        """Move the clock of blocks from here on; returns how far it is moved in all. For tests of contracts."""
        self._ahead += seconds
        return self._ahead

    def set_next_timestamp(self, timestamp: int) -> None:
        """The timestamp of the next block, and its clock goes on from there. Raises Failure if it is not later."""
        head, _ = self._validator.head
        if timestamp <= head.timestamp:
            raise Failure(f"timestamp {timestamp} is not later than the head's, {head.timestamp}")
        self._next_timestamp = timestamp

    @property
    def is_barred(self) -> bool:
        """Whether this producer has signed a block on the head, which was taken back (F1): it may sign no other on it.

        Another producer goes on, or nobody does.
        """
        return self.block is None and self._validator.pending.signed(self._validator.head[1]) is not None

    def ensure_open(self) -> bool:
        """Open a block on the head if none is, or if one that holds nothing is stale. True if one was opened.

        Raises Failure if it `is_barred`.
        """
        block, (head, _) = self.block, self._validator.head
        timestamp = max(self.now, head.timestamp + 1) if self._next_timestamp is None else self._next_timestamp
        if block is not None and (block.sequence or self._is_fresh(block.header, timestamp)):
            return False
        around = self._surroundings
        self._producer.open(
            timestamp=timestamp,
            coinbase=around.coinbase,
            prevrandao=around.randomness(),
            gas_limit=_gas_limit(head, around.gas_limit),
            keep=False,
            replace_empty=True,
        )
        return True

    def _is_fresh(self, opened: Header, timestamp: int) -> bool:
        if self._next_timestamp is not None:
            return opened.timestamp == timestamp
        return timestamp - opened.timestamp < STALE_AFTER

    def opened(self) -> Opened:
        """The open block as a coordinator is told of it. Raises Failure if none is open."""
        block = self.block
        if block is None:
            raise Failure("no block is open")
        reply = block.reply(since=0)
        hashes = self._follower.block_hashes(block.header)
        return Opened(block.header, hashes, reply.sequence, reply.cells)

    def admit(self, batch: Batch, since: int) -> Reply:
        """OpenBlock.admit; `keep` before another process is told. Raises Failure if none is open."""
        return self._producer.admit(batch, since, keep=False)

    def restore(self) -> None:
        """Producer.restore."""
        self._producer.restore()

    def keep(self) -> None:
        """Put on disk what another process may be told of."""
        self._producer.keep()

    def seal(self) -> Block:
        """Seal the open block, or an empty one: committed when it is returned."""
        self.ensure_open()
        block = self._producer.seal()
        if self._next_timestamp is not None:
            self._ahead += self._next_timestamp - self.now
            self._next_timestamp = None
        return block


def _gas_limit(head: Header, wanted: int | None) -> int | None:
    """As close to what is wanted as B2 lets one block come."""
    if wanted is None:
        return None
    step = max(head.gas_limit // 1024 - 1, 0)
    return min(max(wanted, head.gas_limit - step), head.gas_limit + step)
