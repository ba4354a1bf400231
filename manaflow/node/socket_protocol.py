"""uvicorn's WebSocket protocol with the bounds that it lacks: memory, frames, read and write deadlines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Frame, Opcode

from manaflow.node.gate import Deadline, Gated
from manaflow.node.limits import Share, TokenBucket

MAX_FRAGMENTS = 4096
"""Frames of one WebSocket message: each takes forty bytes of memory, however little is in it."""
PIECE = 4096
"""Bytes that are parsed before their frames are counted: a quarter of a megabyte, which may come at once, has forty
thousand."""
TINY = 32
"""Bytes below which a message is hardly a call."""
MAX_UNREAD_PONGS = 1 << 20
"""Bytes that wait for a client which sends pings and reads nothing."""


class SocketProtocol(Gated, WebSocketsSansIOProtocol):
    """One WebSocket."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._is_cut = False
        self._message = Deadline(self.loop, self.cut)
        """For the rest of a message that has begun."""
        self._frames = TokenBucket(self.limits.frame_rate, self.gate.clock)
        self._share = Share(self.gate.sockets_budget)
        self._unfinished = 0
        """Bytes in whole frames of a message that has begun."""
        self._unanswered = 0
        """Bytes of messages that the app has been given, or will be."""
        self.close_timeout = self.limits.close_timeout
        self.on_shutdown: Callable[[], None] | None = None
        """Set by the app: told to finish its work and close by itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything about it."""
        self._writing.stop()
        self._message.stop()
        self._share.close()
        self.gate.leave(self.transport)
        super().connection_lost(exc)

    def cut(self, why: str) -> None:
        """End it at once, whatever waits to be sent."""
        if not self._is_cut and not self.disconnected:
            self.gate.metrics.drop(why)
        self._is_cut = True
        self._share.close()
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse; a peer that closes has until the deadline to take what waits for it."""
        try:
            for at in range(0, len(data), PIECE):
                if not self.transport.is_closing():
                    super().data_received(data[at : at + PIECE])
        except InvalidState:  # uvicorn, on text that is no UTF-8 with a goodbye behind it
            self.cut("malformed")
            return
        if not self.transport.is_closing() and not self._share.hold(self._held()):
            self._refuse()
        if self.transport.is_closing():
            self._linger()

    def handle_events(self) -> None:
        """Frames that are whole. Calls are bounded by how fast they are answered; all else is counted here."""
        if self._frames.take(sum(not _may_be_call(event) for event in self.conn.events)):
            super().handle_events()
        else:
            self.cut("frames")

    def _held(self) -> int:
        """Bytes that the client has sent and that are not done with."""
        return len(self.conn.reader.buffer) + self._unfinished + self._unanswered

    @property
    def held_bytes(self) -> int:
        """What it has of the sockets' common memory for what it has sent."""
        return self._share.taken

    def answered(self, size: int) -> None:
        """A message of so many bytes is done with."""
        self._unanswered -= size
        self._share.hold(self._held())

    def _refuse(self) -> None:
        """There is no memory for what it sends: close it as one whose message is too long."""
        if not self.handshake_complete:
            self.cut("memory")
            return
        self.gate.metrics.drop("memory")
        self._message.stop()
        self._share.close()
        self.frames = []
        self.conn.fail(CloseCode.MESSAGE_TOO_BIG, "too many messages are being read")
        self.handle_parser_exception()

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
        self._unfinished = len(event.data)
        if not event.fin:
            self._message.start(self.limits.body_timeout, "body_timeout")

    def handle_cont(self, event: Frame) -> None:
        """More of a message, within bounds: uvicorn knows only that of all its bytes."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self.cut("fragments")
            return
        if event.fin:
            self._message.stop()
        self._unfinished += len(event.data)
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """A message is whole."""
        super().send_receive_event_to_app()
        if not self.close_sent:  # else it has been dropped
            self._unanswered += self._unfinished
        self._unfinished = 0

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


def _may_be_call(event: object) -> bool:
    """Whether something received is a whole message that is not too small for a call."""
    if not isinstance(event, Frame) or not event.fin:
        return False
    return event.opcode in (Opcode.TEXT, Opcode.BINARY) and len(event.data) >= TINY
