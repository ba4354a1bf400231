"""The coordinator's role: one pure coordinator with its latest index, its pool on disk and its way to a validator.

Nothing that it answers leaves before `flush`. What is kept is on disk then: transactions that are still in the pool,
and only those. One that a sealed block holds by then never comes to disk, and what may be forgotten waits for the next
commit: a leftover is refused when it is restored, for its nonce is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.messages import (
    Accepted,
    Admitted,
    Dropped,
    Fill,
    Forget,
    Keep,
    Message,
    Notice,
    Opened,
    Refused,
    Replied,
    Restore,
    Result,
    Send,
    Submit,
)
from manaflow.moves.marks import ZERO32
from manaflow.node.links import ValidatorLink

BATCH: Final = 4_000
"""Transactions of one batch at most."""
MAX_FORGOTTEN: Final = 10_000
"""Of what need not be on disk any more; then it is deleted."""


Told = Callable[[str, Mapping[str, Any]], None]
"""(kind, item): "admitted", "dropped" or "lost", JSON-ready; see chain.Events.notice."""


class CoordinatorRole:
    """See the module. One thread. After an exception it must not be used again."""

    def __init__(self, core: Coordinator, latest: LatestIndex, link: ValidatorLink, told: Told) -> None:
        """core: new; it is given what the disk holds."""
        self.core, self._latest, self._link, self._told = core, latest, link, told
        self._opened = ZERO32
        """Hash of the open block's header."""
        self._kept: dict[int, bytes] = {}
        self._forgotten: set[int] = set()
        self._tell(Restore(latest.kept()), told=lambda kind, item: None)

    def submit(self, envelopes: Sequence[bytes]) -> list[Accepted | Refused]:
        """Take envelopes into the pool; one answer for each. They may be given after `flush`."""
        results = self.tell(Submit(tuple(envelopes)))
        return [result for result in results if isinstance(result, Accepted | Refused)]

    def tell(self, message: Message) -> list[Result]:
        """Give the core a message, and do what follows from it."""
        return self._tell(message, self._told)

    def pump(self, limit: int) -> None:
        """Fill and send as long as there is something to fill and nothing to wait for."""
        while self.core.has_work:
            self.tell(Fill(limit))

    def flush(self) -> None:
        """Put on disk what must be there before any answer leaves. One commit, or none. Raises StorageFailure."""
        if not self._kept and len(self._forgotten) < MAX_FORGOTTEN:
            return
        self._latest.keep(sorted(self._kept.items()), sorted(self._forgotten))
        self._kept.clear()
        self._forgotten.clear()

    def close(self) -> None:
        """Leave nothing on disk that is over. Raises StorageFailure."""
        if self._forgotten or self._kept:
            self._latest.keep(sorted(self._kept.items()), sorted(self._forgotten))

    def _tell(self, message: Message, told: Told) -> list[Result]:
        if isinstance(message, Opened):
            self._opened = message.header.hash
        results = self.core.handle(message)
        for result in results:
            match result:
                case Keep(arrival, envelope):
                    self._forgotten.discard(arrival)
                    self._kept[arrival] = envelope
                case Forget(arrival):
                    if self._kept.pop(arrival, None) is None:
                        self._forgotten.add(arrival)
                case Admitted() | Dropped() | Notice():
                    for kind, item in as_items(result):
                        told(kind, item)
        for send in [result for result in results if isinstance(result, Send)]:
            reply = self._link.send(send, self._opened)
            if reply is not None:
                results = [*results, *self._tell(Replied(send.id, reply), told)]
        return results


def as_items(result: Admitted | Dropped | Notice) -> list[tuple[str, Mapping[str, Any]]]:
    """What a signer is told, by kind: "admitted" {txid, block}; "dropped" {txid, reason, detail, winner}; "lost" a
    Notice as JSON."""
    match result:
        case Admitted(block, txids):
            return [("admitted", {"txid": _hex(txid), "block": block}) for txid in txids]
        case Dropped(txid, reason, detail, winner):
            item = {"txid": _hex(txid), "reason": reason.value, "detail": detail}
            return [("dropped", {**item, "winner": None if winner is None else _hex(winner)})]
        case Notice():
            return [("lost", result.as_json())]


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
