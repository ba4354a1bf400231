"""One WebSocket session: reads within bounds, answers concurrently, writes through a bounded queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, Protocol

from manaflow.node.limits import Budget, Limits, TokenBucket
from manaflow.node.metrics import Metrics
from manaflow.node.rpc import Caller, Dispatcher
from manaflow.node.subscriptions import Hub, Subscriber, Subscription

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

GOING_AWAY = 1001
NORMAL = 1000


class Connection(Protocol):
    """What a session needs of the protocol below it."""

    bucket: TokenBucket
    on_shutdown: Callable[[], None] | None

    @property
    def held_bytes(self) -> int:
        """What it has of the sockets' common memory for what it has sent."""

    def answered(self, size: int) -> None:
        """A message of so many bytes is done with."""

    def cut(self, why: str) -> None:
        """End it at once."""


class Sockets:
    """What the sessions of a server share: the dispatcher, and the memory for what they are sent and what waits to be
    read."""

    def __init__(self, dispatcher: Dispatcher, hub: Hub, limits: Limits, metrics: Metrics) -> None:
        self.dispatcher, self.hub, self.limits, self.metrics = dispatcher, hub, limits, metrics
        self.budget = Budget(limits.max_buffered_bytes)
        self.sessions: set[Session] = set()

    def make_room(self, size: int) -> bool:
        """Take `size` bytes of the common memory, cutting off whoever holds the most until they fit."""
        while not self.budget.take(size):
            greediest = max(self.sessions, key=lambda session: session.held_bytes)
            if not greediest.held_bytes:
                return False
            greediest.drop()
        return True


class Session:
    """One client. Its memory is bounded by the queue, `max_in_flight` requests and one message being read; that of all
    clients by the common budget."""

    def __init__(self, sockets: Sockets, connection: Connection, client: str, send: Send) -> None:
        self._sockets, self._limits = sockets, sockets.limits
        self._connection, self._client, self._send = connection, client, send
        self._subscriber = Subscriber(sockets.hub, sockets.limits, self.enqueue)
        self._slots = asyncio.Semaphore(sockets.limits.max_in_flight)
        self._tasks: set[asyncio.Task[None]] = set()
        self._queue: deque[bytes] = deque()
        self.queued_bytes = 0
        self._wake = asyncio.Event()
        self._is_dropped = False
        self._is_finishing = False
        self._close_code: int | None = None

    async def run(self, receive: Receive) -> None:
        """Serve until the client leaves, is idle for too long, is cut off, or the server ends."""
        self._sockets.sessions.add(self)
        self._count()
        reader = asyncio.create_task(self._read(receive))
        writer = asyncio.create_task(self._write())
        self._connection.on_shutdown = lambda: self._end(reader)
        try:
            await asyncio.wait([reader])
            if self._close_code is not None:
                await self._finish(writer)
        finally:
            await self._clean_up(reader, writer)

    @property
    def held_bytes(self) -> int:
        """What it has of the common memory: what it has sent, and what it leaves unread."""
        return self.queued_bytes + self._connection.held_bytes

    def enqueue(self, message: bytes) -> None:
        """Queue a message to the client. A client that leaves too much unread is cut off; never waits, never raises."""
        if self._is_dropped:
            return
        full = len(self._queue) >= self._limits.max_queued_messages
        too_much = self.queued_bytes + len(message) > self._limits.max_queued_bytes
        if full or too_much or not self._sockets.make_room(len(message)):
            self.drop()
            return
        self._keep(message)

    def _keep(self, message: bytes) -> None:
        if self._is_dropped:  # it was this one that had to make room
            self._sockets.budget.give(len(message))
            return
        self._queue.append(message)
        self.queued_bytes += len(message)
        self._wake.set()

    def drop(self) -> None:
        """Cut the client off and forget what waits for it."""
        self._is_dropped = True
        self._sockets.budget.give(self.queued_bytes)
        self.queued_bytes = 0
        self._queue.clear()
        self._subscriber.close()
        self._connection.cut("slow_reader")

    def _end(self, reader: asyncio.Task[None]) -> None:
        self._close_code = GOING_AWAY
        reader.cancel()

    async def _read(self, receive: Receive) -> None:
        while True:
            await self._slots.acquire()  # while all are taken, the client's messages wait in its own socket
            message = await self._next(receive)
            if message is None or message["type"] != "websocket.receive":
                return
            text = message.get("text")
            body = text.encode() if text is not None else message["bytes"]
            task = asyncio.create_task(self._answer(body))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, len(body)))

    async def _next(self, receive: Receive) -> Message | None:
        """The next message; None when the client has been idle for too long."""
        while True:
            try:
                async with asyncio.timeout(self._limits.idle_timeout):
                    return await receive()
            except TimeoutError:
                if not self._tasks and not len(self._subscriber):
                    self._close_code = NORMAL
                    return None

    def _done(self, size: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.release()
        self._connection.answered(size)

    async def _answer(self, body: bytes) -> None:
        made: list[Subscription] = []
        caller = Caller(self._client, self._connection.bucket, self._subscriber.methods(made))
        answer = await self._sockets.dispatcher.answer(body, caller)
        if answer is not None:
            self.enqueue(answer)
        for subscription in made:
            subscription.release()
        self._count()

    async def _write(self) -> None:
        """Send what is queued, in order, until `_is_finishing` and the queue is empty, or the client is gone."""
        with contextlib.suppress(OSError, RuntimeError):  # what uvicorn says of a client that is gone
            while True:
                while self._queue:
                    message = self._queue.popleft()
                    try:
                        await self._send({"type": "websocket.send", "text": message.decode()})
                    finally:
                        self._sent(len(message))
                if self._is_finishing:
                    return
                self._wake.clear()
                await self._wake.wait()

    def _sent(self, size: int) -> None:
        if not self._is_dropped:  # else all has been given back
            self.queued_bytes -= size
            self._sockets.budget.give(size)

    async def _finish(self, writer: asyncio.Task[None]) -> None:
        """Let requests in flight end, send what is queued, say goodbye."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._subscriber.close()
        self._is_finishing = True
        self._wake.set()
        await asyncio.wait([writer])
        with contextlib.suppress(OSError, RuntimeError):
            await self._send({"type": "websocket.close", "code": self._close_code})

    async def _clean_up(self, reader: asyncio.Task[None], writer: asyncio.Task[None]) -> None:
        self._connection.on_shutdown = None
        self._subscriber.close()
        for task in (reader, writer, *self._tasks):
            task.cancel()
        await asyncio.gather(reader, writer, *self._tasks, return_exceptions=True)
        if not self._is_dropped:
            self._is_dropped = True
            self._sockets.budget.give(self.queued_bytes)
            self._queue.clear()
        self._sockets.sessions.discard(self)
        self._count()

    def _count(self) -> None:
        self._sockets.metrics.websockets.set(len(self._sockets.sessions))
        self._sockets.metrics.subscriptions.set(self._sockets.hub.count())
