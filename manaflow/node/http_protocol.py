"""uvicorn's HTTP protocol with the bounds that it lacks: connections, header sizes, read and write deadlines."""

from __future__ import annotations

import asyncio
import enum
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from manaflow.node.gate import Deadline, Gated

FULL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
HEADERS_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Phase(enum.Enum):
    """What a connection's next bytes belong to."""

    IDLE = 0
    HEADERS = 1
    BODY = 2


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
