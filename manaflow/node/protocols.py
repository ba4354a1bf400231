"""uvicorn's two protocols with the bounds that they lack: connections, header sizes, read and write deadlines.

uvicorn times only the pause between two requests, and closes by `transport.close()`, which waits for a reader that may
never read. Every path here ends in an abort when its deadline passes.
"""

from __future__ import annotations

import asyncio
import enum
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame

from manaflow.node.limits import Clock, Limits, TokenBucket
from manaflow.node.metrics import Metrics

FULL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
HEADERS_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
MAX_FRAGMENTS = 4096
"""Frames of one WebSocket message: each takes forty bytes of memory, however little is in it."""
MAX_UNREAD_PONGS = 1 << 20
"""Bytes that wait for a client which sends pings and reads nothing."""


class Gate:
    """The open sockets of one server."""

    def __init__(self, limits: Limits, metrics: Metrics, clock: Clock) -> None:
        self.limits, self.metrics, self.clock = limits, metrics, clock
        self._open: set[asyncio.Transport] = set()

    def enter(self, transport: asyncio.Transport) -> bool:
        """Count a socket in; False when there are too many."""
        if len(self._open) >= self.limits.max_connections:
            self.metrics.refused.inc()
            return False
        self._open.add(transport)
        self.metrics.connections.set(len(self._open))
        return True

    def leave(self, transport: asyncio.Transport) -> None:
        """Count it out; twice is once."""
        self._open.discard(transport)
        self.metrics.connections.set(len(self._open))

    def abort_all(self) -> None:
        """Close what is still open, at once."""
        for transport in list(self._open):
            transport.abort()


class ServerConfig(uvicorn.Config):
    """uvicorn's settings and the gate, as the protocols get them."""

    def __init__(self, app: Any, gate: Gate) -> None:
        limits = gate.limits
        super().__init__(
            app,
            http=HttpProtocol,
            ws=SocketProtocol,
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


class Phase(enum.Enum):
    """What a connection's next bytes belong to."""

    IDLE = 0
    HEADERS = 1
    BODY = 2


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


class HttpProtocol(Gated, HttpToolsProtocol):
    """One HTTP connection."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._reading = Deadline(self.loop, self.cut)
        self._phase, self._timed = Phase.HEADERS, Phase.IDLE
        self._wire_bytes = 0
        self._is_over = False  # refused, upgraded or lost: nothing more is read here

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Let it in, or say 503."""
        self.transport = transport
        if not self.gate.enter(transport):
            self._is_over = True
            transport.write(FULL)
            transport.close()
            self._writing.start(self.limits.write_timeout, "write_timeout")
            return
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything about it."""
        self._is_over = True
        self._reading.stop()
        self._writing.stop()
        self.gate.leave(self.transport)
        if self.flow is not None:
            super().connection_lost(exc)

    def cut(self, why: str) -> None:
        """End it at once, whatever waits to be sent."""
        if not self._is_over:
            self.gate.metrics.drop(why)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse, and keep an eye on how much and how long."""
        if self._is_over or self.transport.is_closing():
            return
        self._wire_bytes += len(data)
        super().data_received(data)
        if not self._is_over:
            self._watch()

    def _watch(self) -> None:
        """Start or stop the reading deadline for what is incomplete now, and bound its size."""
        if self.transport.is_closing():
            self._reading.stop()
            self._writing.start(self.limits.write_timeout, "write_timeout")
            return
        waits_for_headers = self._phase is not Phase.BODY and (
            self._phase is Phase.HEADERS or (self.timeout_keep_alive_task is None and self._is_quiet())
        )
        if waits_for_headers:
            self._await(Phase.HEADERS, self.limits.header_timeout, "header_timeout")
            if self._wire_bytes > self.limits.max_header_bytes:
                self.transport.write(HEADERS_TOO_LARGE)
                self.transport.close()
                self._writing.start(self.limits.write_timeout, "headers")
        elif self._phase is Phase.BODY:
            self._await(Phase.BODY, self.limits.body_timeout, "body_timeout")
            # Chunked bodies may spend some bytes on framing, and on trailers that uvicorn keeps.
            if self._wire_bytes > 2 * self.limits.max_body_bytes + self.limits.max_header_bytes:
                self.cut("body")
        else:
            self._reading.stop()
            self._timed = Phase.IDLE

    def _await(self, phase: Phase, seconds: float, why: str) -> None:
        if self._timed is not phase or not self._reading.runs:
            self._reading.start(seconds, why)
            self._timed = phase

    def _is_quiet(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def on_message_begin(self) -> None:
        """A request begins."""
        self._phase, self._wire_bytes = Phase.HEADERS, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its body begins."""
        self._phase = Phase.BODY
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It has been read."""
        self._phase = Phase.IDLE
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It has been answered: what is closing gets a deadline."""
        super().on_response_complete()
        if self.transport.is_closing() and not self._is_over:
            self._reading.stop()
            self._writing.start(self.limits.write_timeout, "write_timeout")

    def handle_websocket_upgrade(self) -> None:
        """Hand the socket over."""
        self._is_over = True
        self._reading.stop()
        super().handle_websocket_upgrade()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing was sent for long; what still waits for the client to read is lost."""
        if self.transport.get_write_buffer_size():
            self.cut("write_timeout")
        else:
            super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        """The client does not read: it has until the deadline."""
        self._writing.start(self.limits.write_timeout, "write_timeout")
        if self.flow is not None:
            super().pause_writing()

    def resume_writing(self) -> None:
        """It reads."""
        if not self.transport.is_closing():
            self._writing.stop()
        if self.flow is not None:
            super().resume_writing()


class SocketProtocol(Gated, WebSocketsSansIOProtocol):
    """One WebSocket."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._is_cut = False
        self._message = Deadline(self.loop, self.cut)
        """For the rest of a message that has begun."""
        self.close_timeout = self.limits.close_timeout
        self.on_shutdown: Callable[[], None] | None = None
        """Set by the app: told to finish its work and close by itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything about it."""
        self._writing.stop()
        self._message.stop()
        self.gate.leave(self.transport)
        super().connection_lost(exc)

    def cut(self, why: str) -> None:
        """End it at once, whatever waits to be sent."""
        if not self._is_cut and not self.disconnected:
            self.gate.metrics.drop(why)
        self._is_cut = True
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse; a peer that closes has until the deadline to take what waits for it."""
        try:
            super().data_received(data)
        except InvalidState:  # uvicorn, on text that is no UTF-8 with a goodbye behind it
            self.cut("malformed")
            return
        if self.transport.is_closing():
            self._linger()

    async def run_asgi(self) -> None:
        """Run the app; when it has ended, so does the socket."""
        await super().run_asgi()
        if not self.disconnected:
            self._linger()

    def _linger(self) -> None:
        self._writing.start(self.limits.write_timeout, "write_timeout")

    def handle_text(self, event: Frame) -> None:
        """A message, or its beginning."""
        self._begin(event)
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        """A message, or its beginning."""
        self._begin(event)
        super().handle_bytes(event)

    def _begin(self, event: Frame) -> None:
        if not event.fin:
            self._message.start(self.limits.body_timeout, "body_timeout")

    def handle_cont(self, event: Frame) -> None:
        """More of a message, within bounds: uvicorn knows only that of all its bytes."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self.cut("fragments")
            return
        if event.fin:
            self._message.stop()
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer, unless the answers pile up."""
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() > MAX_UNREAD_PONGS:
            self.cut("slow_reader")
        else:
            super().handle_ping()

    def keepalive_timeout(self) -> None:
        """No answer to a ping: uvicorn closes, and this makes it end."""
        super().keepalive_timeout()
        self._linger()

    def pause_writing(self) -> None:
        """The client does not read: it has until the deadline."""
        self._linger()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It reads."""
        if not self.transport.is_closing():
            self._writing.stop()
        super().resume_writing()

    def shutdown(self) -> None:
        """The server ends: the session finishes what it is at and closes with 1001."""
        if self.on_shutdown is not None and self.handshake_complete and not self.close_sent:
            self.on_shutdown()
        else:
            super().shutdown()
