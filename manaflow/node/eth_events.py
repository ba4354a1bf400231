"""What happened on the chain, told to subscriptions and filters as Ethereum's clients expect it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from manaflow.node.chain import SealedBlock
from manaflow.node.eth_blocks import pending_form
from manaflow.node.eth_sealed import Reading
from manaflow.node.subscriptions import LOGS, NEW_HEADS, PENDING, VERDICTS, Publisher

ITEMS_AT_ONCE: Final = 64
"""Published before others get their turn in the event loop, those among them who send what was published. A block may
have a hundred thousand logs, and each is shown to every subscription and filter."""
TURN_SECONDS: Final = 0.005
"""After which it is others' turn in any case."""


class EthEvents:
    """chain.Events: called on the chain's thread, publishes on the event loop's. Nothing is made that nobody wants."""

    def __init__(self, publisher: Publisher, loop: asyncio.AbstractEventLoop) -> None:
        self._publisher, self._loop = publisher, loop
        self._waiting: deque[tuple[str, Iterator[Any]]] = deque()
        """What is to be published, in order; the event loop's."""

    def sealed(self, block: SealedBlock) -> None:
        """newHeads, and the block's logs."""
        reading = Reading(block)
        self._tell(NEW_HEADS, lambda: [reading.head()])
        self._tell(LOGS, reading.log_forms)

    def undone(self, block: SealedBlock) -> None:
        """The block's logs with `removed: true`, the last one first."""
        reading = Reading(block)
        self._tell(LOGS, lambda: [{**log, "removed": True} for log in reversed(reading.log_forms())])

    def accepted(self, txid: bytes, envelope: bytes) -> None:
        """newPendingTransactions."""
        self._tell(PENDING, lambda: [pending_form(envelope)])

    def notice(self, kind: str, item: Mapping[str, Any]) -> None:
        """manaVerdicts."""
        self._tell(VERDICTS, lambda: [{"kind": kind, **item}])

    def _tell(self, kind: str, make: Callable[[], list[Any]]) -> None:
        if not self._publisher.wants(kind):
            return
        items = make()
        if items:
            self._loop.call_soon_threadsafe(self._put, kind, items)

    def _put(self, kind: str, items: list[Any]) -> None:
        self._waiting.append((kind, iter(items)))
        if len(self._waiting) == 1:
            self._publish_some()

    def _publish_some(self) -> None:
        """Some of what waits, and the rest when others have had their turn."""
        end = self._loop.time() + TURN_SECONDS
        for _ in range(ITEMS_AT_ONCE):
            kind, items = self._waiting[0]
            try:
                self._publisher.publish(kind, next(items))
            except StopIteration:
                self._waiting.popleft()
                if not self._waiting:
                    return
            if self._loop.time() >= end:
                break
        self._loop.call_soon(self._publish_some)
