"""What a node lets its clients take: the bounds with their defaults, and the meters that keep them.

Clocks are injected.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Clock = Callable[[], float]
"""Seconds that never go back, e.g. time.monotonic."""

MEGABYTE = 1 << 20
SMALL = 64 * 1024
"""Bytes that each connection may always have, however much the others take: of an HTTP body, of its answer, and of what
a WebSocket has sent."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a token bucket is made with."""

    per_second: float
    """Tokens that come back each second."""
    burst: float
    """Tokens that a bucket holds at most, and at first."""


@dataclass(frozen=True, slots=True)
class MethodClass:
    """Expensive methods that share a bucket."""

    methods: frozenset[str]
    """Their full names."""
    everyone: Rate
    """Calls of all clients together."""
    each_client: Rate
    """Calls of one client, told apart by its IP address."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one RpcServer. Sizes are bytes, times are seconds."""

    max_body_bytes: int = 10 * MEGABYTE
    """One HTTP request's body."""
    max_message_bytes: int = 4 * MEGABYTE
    """One WebSocket message from a client."""
    max_header_bytes: int = 32 * 1024
    """An HTTP request's line and headers."""
    max_depth: int = 64
    """Nesting of arrays and objects. Without it one request of brackets ends the process: decoders recurse in C."""
    max_values: int = 200_000
    """JSON values in one body; a value takes up to 100 bytes of memory, in the body only two."""
    max_batch: int = 1000
    """Calls in one batch."""
    max_response_bytes: int = 16 * MEGABYTE
    """The answer to one request, all calls of a batch together."""
    call_timeout: float = 30.0
    """All calls of one request together."""
    max_buffered_bytes: int = 256 * MEGABYTE
    """Bodies being read and answers being written, of all HTTP connections together; as much again for WebSockets (what
    they have sent until it is answered, and what waits for their readers), and for what polled filters keep."""

    max_connections: int = 512
    """Open sockets, HTTP and WebSocket together; the next one is answered 503 and closed."""
    max_connections_each: int = 256
    """Of one IP address (behind a proxy all clients have the proxy's)."""
    rate: Rate = field(default_factory=lambda: Rate(per_second=20_000, burst=40_000))
    """Calls on one connection; each call of a batch counts."""
    frame_rate: Rate = field(default_factory=lambda: Rate(per_second=2_000, burst=10_000))
    """Frames of one WebSocket that are no calls: pings, parts of messages, messages of a few bytes. They cost time
    though nobody answers them; who sends more is cut off."""
    method_classes: tuple[MethodClass, ...] = ()
    """Methods with buckets of their own."""
    max_in_flight: int = 16
    """Requests of one WebSocket that are answered at the same time; further ones wait unread."""

    header_timeout: float = 10.0
    """From the first byte of a request (or from connecting) to the end of its headers."""
    body_timeout: float = 60.0
    """From the end of the headers to the end of the body; from the first to the last part of a WebSocket's message."""
    keep_alive_timeout: int = 60
    """An HTTP connection between two requests."""
    write_timeout: float = 30.0
    """A client that takes nothing of what waits for it is cut off after this."""
    idle_timeout: float = 600.0
    """A WebSocket without a subscription that sends nothing."""
    ping_interval: float = 20.0
    """Between pings of a WebSocket."""
    ping_timeout: float = 20.0
    """For the answer to a ping."""
    close_timeout: float = 3.0
    """For a WebSocket client's goodbye after ours."""
    shutdown_timeout: int = 10
    """For requests in flight when the server is told to end; then they are cancelled."""

    max_queued_messages: int = 10_000
    """Answers and notifications that wait for one WebSocket's reader; one more closes it."""
    max_queued_bytes: int = 32 * MEGABYTE
    """The same in bytes."""
    max_subscriptions: int = 128
    """Of one WebSocket."""

    max_filters: int = 1000
    """Polled filters of all clients together."""
    max_filters_each: int = 500
    """Of one IP address."""
    max_filter_items: int = 10_000
    """What one filter keeps between two polls; it is dropped when there is more, or more than `max_response_bytes`."""
    filter_timeout: float = 300.0
    """A filter that nobody polls is dropped after this."""
    max_filter_addresses: int = 1000
    """Addresses in one log filter."""
    max_filter_topics: int = 1000
    """Alternatives for one topic in one log filter."""

    allowed_hosts: tuple[str, ...] = ()
    """Names that a Host header may carry besides localhost and the address; "*" for any. Kept on a loopback address
    only, where it defeats DNS rebinding."""
    cors_origins: tuple[str, ...] = ()
    """Web origins that browsers may call from, e.g. "https://wallet.example"; "*" for all. None by default."""


class TokenBucket:
    """Takes as many tokens as `rate` gives; never waits."""

    __slots__ = ("_clock", "_rate", "_then", "tokens")

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self.tokens = rate.burst
        self._then = clock()

    def has(self, count: float = 1) -> bool:
        """Whether `count` tokens are there now."""
        now = self._clock()
        self.tokens = min(self._rate.burst, self.tokens + max(0.0, now - self._then) * self._rate.per_second)
        self._then = now
        return self.tokens >= count

    def take(self, count: float = 1) -> bool:
        """Take `count` tokens if they are there; take nothing and say False if not."""
        if not self.has(count):
            return False
        self.tokens -= count
        return True

    def take_of(self, count: int) -> int:
        """Take as many of `count` tokens as are there; how many."""
        self.has()
        taken = min(count, int(self.tokens))
        self.tokens -= taken
        return taken


class MethodRates:
    """Buckets of the expensive methods: one for all clients and one for each, the least recent of which are forgotten.

    A client that is forgotten starts with a full bucket; the common bucket bounds what that can give it.
    """

    MAX_CLIENTS = 10_000

    def __init__(self, classes: tuple[MethodClass, ...], clock: Clock) -> None:
        self._clock = clock
        self._everyone = [TokenBucket(kind.everyone, clock) for kind in classes]
        self._classes = classes
        self._class_of: Mapping[str, int] = {name: i for i, kind in enumerate(classes) for name in kind.methods}
        self._clients: OrderedDict[tuple[int, str], TokenBucket] = OrderedDict()

    def allow(self, method: str, client: str) -> bool:
        """Count one call of `method` by `client` (its IP address); False, and nothing drawn, when a bucket is empty."""
        kind = self._class_of.get(method)
        if kind is None:
            return True
        everyone, own = self._everyone[kind], self._client(kind, client)
        return own.has() and everyone.take() and own.take()

    def allow_of(self, method: str, client: str, count: int) -> int:
        """Count `count` calls, one after another, until one is not allowed; how many are."""
        if method not in self._class_of:
            return count
        return next((done for done in range(count) if not self.allow(method, client)), count)

    def _client(self, kind: int, client: str) -> TokenBucket:
        bucket = self._clients.pop((kind, client), None)
        if bucket is None:
            bucket = TokenBucket(self._classes[kind].each_client, self._clock)
            if len(self._clients) >= self.MAX_CLIENTS:
                self._clients.popitem(last=False)
        self._clients[kind, client] = bucket
        return bucket


class Budget:
    """Bytes that all connections share. What is taken must be given back."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    def take(self, count: int) -> bool:
        """Take `count` bytes if they are left; else nothing."""
        if self.used + count > self.limit:
            return False
        self.used += count
        return True

    def give(self, count: int) -> None:
        """Give `count` bytes back."""
        self.used -= count


def charge(size: int) -> int:
    """What `size` bytes of one connection take of a budget."""
    return max(0, size - SMALL)


class Share:
    """What one connection has taken of a budget for the bytes that it holds."""

    __slots__ = ("_budget", "_is_closed", "taken")

    def __init__(self, budget: Budget) -> None:
        self._budget, self._is_closed = budget, False
        self.taken = 0

    def hold(self, size: int) -> bool:
        """It holds `size` bytes in all from now on; False, and nothing has changed, if there is no room for them."""
        more = 0 if self._is_closed else charge(size) - self.taken
        if more > 0 and not self._budget.take(more):
            return False
        if more < 0:
            self._budget.give(-more)
        self.taken += more
        return True

    def close(self) -> None:
        """Give all back, and take nothing any more."""
        self.hold(0)
        self._is_closed = True
