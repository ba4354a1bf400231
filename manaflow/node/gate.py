"""What a server's connections share: how many there are, their bounds, deadlines that move.

uvicorn times only the pause between two requests, and closes by `transport.close()`, which waits for a reader that may
never read. Every path in http_protocol.py and socket_protocol.py ends in an abort when its deadline passes.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Any

import uvicorn

from manaflow.node.limits import Budget, Clock, Limits, TokenBucket
from manaflow.node.metrics import Metrics


class Gate:
    """The open sockets of one server."""

    def __init__(self, limits: Limits, metrics: Metrics, clock: Clock, sockets_budget: Budget) -> None:
        """sockets_budget: for what WebSockets send; sessions take what waits for their clients from the same."""
        self.limits, self.metrics, self.clock, self.sockets_budget = limits, metrics, clock, sockets_budget
        self._open: dict[asyncio.Transport, str] = {}
        """By transport: the client's address."""
        self._of_each: Counter[str] = Counter()

    def enter(self, transport: asyncio.Transport) -> bool:
        """Count a socket in; False when there are too many, of all clients or of its own."""
        address = _address_of(transport)
        if len(self._open) >= self.limits.max_connections or self._of_each[address] >= self.limits.max_connections_each:
            self.metrics.refused.inc()
            return False
        self._open[transport] = address
        self._of_each[address] += 1
        self.metrics.connections.set(len(self._open))
        return True

    def leave(self, transport: asyncio.Transport) -> None:
        """Count it out; twice is once."""
        address = self._open.pop(transport, None)
        if address is None:
            return
        self._of_each[address] -= 1
        if not self._of_each[address]:
            del self._of_each[address]
        self.metrics.connections.set(len(self._open))

    def abort_all(self) -> None:
        """Close what is still open, at once."""
        for transport in list(self._open):
            transport.abort()


def _address_of(transport: asyncio.Transport) -> str:
    """The client's IP address; empty where there is none."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""


class ServerConfig(uvicorn.Config):
    """uvicorn's settings and the gate, as the protocols get them."""

    def __init__(self, app: Any, gate: Gate, http: type[asyncio.Protocol], ws: type[asyncio.Protocol]) -> None:
        limits = gate.limits
        super().__init__(
            app,
            http=http,
            ws=ws,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            log_level="critical",  # hostile input is not worth a line each; our own faults are logged by the app
            access_log=False,
            proxy_headers=False,  # X-Forwarded-For is whatever a client says
            server_header=False,
            date_header=False,
            ws_max_size=limits.max_message_bytes,
            ws_ping_interval=limits.ping_interval,
            ws_ping_timeout=limits.ping_timeout,
            ws_per_message_deflate=False,  # no memory for windows, no messages that grow
            timeout_keep_alive=limits.keep_alive_timeout,
            timeout_graceful_shutdown=limits.shutdown_timeout,
        )
        self.gate = gate


class Deadline:
    """One timer that can be moved: does `act(why)` unless it is stopped before."""

    __slots__ = ("_act", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[str], None]) -> None:
        self._loop, self._act = loop, act
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float, why: str) -> None:
        """Begin anew."""
        self.stop()
        self._handle = self._loop.call_later(seconds, self._act, why)

    def stop(self) -> None:
        """Not any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    @property
    def runs(self) -> bool:
        """Whether it is started and has not been stopped."""
        return self._handle is not None


class Gated(ABC):
    """What every connection has; stands before uvicorn's protocol among the bases, and hands its settings on.

    The app finds the connection in `scope["state"]["connection"]`.
    """

    loop: asyncio.AbstractEventLoop
    """Set by uvicorn's protocol."""

    def __init__(self, **settings: Any) -> None:
        settings["app_state"] = {**settings["app_state"], "connection": self}
        super().__init__(**settings)
        config = settings["config"]
        assert isinstance(config, ServerConfig)
        self.gate, self.limits = config.gate, config.gate.limits
        self.bucket = TokenBucket(self.limits.rate, self.gate.clock)
        self._writing = Deadline(self.loop, self.cut)

    @abstractmethod
    def cut(self, why: str) -> None:
        """End it at once, whatever waits to be sent."""
