"""eth_subscribe: who wants which items. Synchronous and without sockets; a `Subscriber` is whatever takes bytes."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import msgspec

from manaflow.node.encoding import from_json
from manaflow.node.errors import (
    METHOD_NOT_FOUND,
    RESOURCE_UNAVAILABLE,
    SERVER_ERROR,
    RpcError,
    invalid_params,
    limit_exceeded,
)
from manaflow.node.limits import Limits
from manaflow.node.log_filter import LogQuery, log_filter
from manaflow.node.messages import ENCODER, write_notification
from manaflow.node.parameters import Signature
from manaflow.node.rpc import Bound

NEW_HEADS = "newHeads"
LOGS = "logs"
PENDING = "newPendingTransactions"
VERDICTS = "manaVerdicts"

MAX_HELD = 1000
"""Notifications that wait for one subscription's id to be sent."""

View = Callable[[Any], Any]
"""An item as one subscription gets it; None when it does not want this one."""


class Publisher(Protocol):
    """Where the parts of a node say what happened."""

    def publish(self, kind: str, item: Any) -> None:
        """Tell everyone who asked for `kind`; from the event loop's thread only. Never waits and never fails.

        Items are JSON-ready: `newHeads` a block's header as eth_getBlockByNumber has it, without transactions; `logs`
        one log (taken back: with `removed: true`); `newPendingTransactions` a transaction object with its `hash`
        (subscribers get the hash unless they ask for the whole); `manaVerdicts` Verdict.as_json() and what is known.
        """

    def wants(self, kind: str) -> bool:
        """Whether anyone asks for `kind` now; from any thread."""
        ...


class Publishers:
    """A Publisher that passes everything on to several."""

    def __init__(self, *publishers: Publisher) -> None:
        self._publishers = publishers

    def publish(self, kind: str, item: Any) -> None:
        """Pass it on, in order."""
        for publisher in self._publishers:
            publisher.publish(kind, item)

    def wants(self, kind: str) -> bool:
        """See Publisher."""
        return any(publisher.wants(kind) for publisher in self._publishers)


Send = Callable[[bytes], None]
"""Queues one message to a client; drops the client rather than wait or raise."""


@dataclass(eq=False, slots=True)
class Subscription:
    """One client's wish. Notifications wait in `held` until the client has been sent the id."""

    id: str
    kind: str
    view: View
    send: Send
    held: list[bytes] | None = field(default_factory=list)

    def notify(self, message: bytes) -> None:
        """Send a notification, or hold it back as long as the id is not out (but not without end)."""
        if self.held is not None and len(self.held) < MAX_HELD:
            self.held.append(message)
        else:
            self.release()
            self.send(message)

    def release(self) -> None:
        """The id is on its way: send what was held back, and nothing is from now on."""
        held, self.held = self.held or [], None
        for message in held:
            self.send(message)


def whole(_: Any) -> View:
    """Every item, unchanged; takes no parameter."""
    return lambda item: item


def _logs_view(limits: Limits) -> Callable[[Any], View]:
    def view(parameter: Any) -> View:
        try:
            query = LogQuery() if parameter is None else msgspec.convert(parameter, LogQuery, dec_hook=from_json)
        except ValueError as error:
            raise invalid_params(f"invalid argument 1: {error}") from None
        wanted = log_filter(query, limits)
        return lambda log: log if wanted.matches(log) else None

    return view


def pending_view(full: Any) -> View:
    """The hash of a pending transaction, or with `true` the whole of it."""
    if full is not None and not isinstance(full, bool):
        raise invalid_params("invalid argument 1: expected a boolean")
    return whole(None) if full else lambda transaction: transaction["hash"]


Settled = Callable[[], Awaitable[None]]
"""Returns when what was answered before is sealed, and told to whoever listens."""


async def at_once() -> None:
    """`Settled` where nothing happens after its answer."""


class Hub:
    """All subscriptions of a server, by kind; the Publisher of its WebSocket clients."""

    def __init__(
        self, limits: Limits, kinds: Mapping[str, Callable[[Any], View]] | None = None, settled: Settled = at_once
    ) -> None:
        """kinds: further kinds of subscription by name, each making a View of its JSON parameter or None. settled: is
        awaited before something is subscribed to."""
        self._limits, self.settled = limits, settled
        self._views: dict[str, Callable[[Any], View]] = {
            NEW_HEADS: whole,
            LOGS: _logs_view(limits),
            PENDING: pending_view,
            VERDICTS: whole,
            **(kinds or {}),
        }
        self._by_kind: dict[str, dict[str, Subscription]] = {kind: {} for kind in self._views}

    def publish(self, kind: str, item: Any) -> None:
        """See Publisher. Unknown kinds are a KeyError: the node's own mistake."""
        encoded: dict[int, tuple[Any, msgspec.Raw]] = {}
        for subscription in list(self._by_kind[kind].values()):
            seen = subscription.view(item)
            if seen is None:
                continue
            if id(seen) not in encoded:  # the same object for most; it is kept beside its id, so the id stays its own
                encoded[id(seen)] = seen, msgspec.Raw(ENCODER.encode(seen))
            subscription.notify(write_notification(subscription.id, encoded[id(seen)][1]))

    def wants(self, kind: str) -> bool:
        """See Publisher."""
        return bool(self._by_kind[kind])

    def subscribe(self, kind: str, parameter: Any, send: Send) -> Subscription:
        """A new subscription, held until `release`. RpcError -32602 for an unknown kind or a bad parameter."""
        if kind not in self._views:
            raise invalid_params(f'no "{kind[:100]}" subscription in eth namespace')
        subscription = Subscription(f"0x{secrets.token_hex(16)}", kind, self._views[kind](parameter), send)
        self._by_kind[kind][subscription.id] = subscription
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End it; twice is once."""
        self._by_kind[subscription.kind].pop(subscription.id, None)

    def count(self) -> int:
        """How many there are."""
        return sum(map(len, self._by_kind.values()))


class Subscriber:
    """The subscriptions of one connection, and the two methods that it has for them."""

    def __init__(self, hub: Hub, limits: Limits, send: Send) -> None:
        self._hub, self._limits, self._send = hub, limits, send
        self._own: dict[str, Subscription] = {}
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._own)

    def methods(self, made: list[Subscription]) -> dict[str, Bound]:
        """eth_subscribe and eth_unsubscribe for one message; what it subscribes to is added to `made`.

        Whoever has sent the answer to that message releases `made`: no notification goes out before the id.
        """
        return {
            "eth_subscribe": Bound(partial(self._subscribe, made), SUBSCRIBE),
            "eth_unsubscribe": Bound(self._unsubscribe, UNSUBSCRIBE),
        }

    async def _subscribe(self, made: list[Subscription], kind: str, parameter: Any = None) -> str:
        await self._hub.settled()
        if self._is_closed:
            raise RpcError(RESOURCE_UNAVAILABLE, "the connection is closed")
        if len(self._own) >= self._limits.max_subscriptions:
            raise limit_exceeded(f"{len(self._own)} subscriptions on this connection")
        subscription = self._hub.subscribe(kind, parameter, self._send)
        self._own[subscription.id] = subscription
        made.append(subscription)
        return subscription.id

    async def _unsubscribe(self, subscription_id: str) -> bool:
        subscription = self._own.pop(subscription_id, None)
        if subscription is None:
            raise RpcError(SERVER_ERROR, "subscription not found")
        self._hub.unsubscribe(subscription)
        return True

    def close(self) -> None:
        """The connection is gone."""
        self._is_closed = True
        for subscription in self._own.values():
            self._hub.unsubscribe(subscription)
        self._own.clear()


async def eth_subscribe(kind: str, parameter: Any = None) -> str:
    """What a transport answers that cannot notify."""
    raise RpcError(METHOD_NOT_FOUND, "notifications not supported")


async def eth_unsubscribe(subscription_id: str) -> bool:
    """What a transport answers that cannot notify."""
    raise RpcError(METHOD_NOT_FOUND, "notifications not supported")


SUBSCRIBE, UNSUBSCRIBE = Signature(eth_subscribe), Signature(eth_unsubscribe)
WITHOUT_NOTIFICATIONS = {
    "eth_subscribe": Bound(eth_subscribe, SUBSCRIBE),
    "eth_unsubscribe": Bound(eth_unsubscribe, UNSUBSCRIBE),
}
"""The two methods over HTTP."""
