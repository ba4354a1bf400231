"""One port that speaks JSON-RPC over HTTP and WebSocket; in a process of its own or inside a test."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping

import uvicorn

from manaflow.errors import Failure
from manaflow.node.gate import Gate, ServerConfig
from manaflow.node.http import App
from manaflow.node.http_protocol import HttpProtocol
from manaflow.node.limits import Clock, Limits, MethodRates
from manaflow.node.metrics import Metrics
from manaflow.node.origins import OriginPolicy, is_loopback
from manaflow.node.parameters import Method
from manaflow.node.rpc import Dispatcher
from manaflow.node.socket_protocol import SocketProtocol
from manaflow.node.subscriptions import Hub
from manaflow.node.websocket import Sockets

BACKLOG = 512
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class RpcServer:
    """Serves `methods` and `subscriptions`. Made anywhere; `serve` runs it in the current event loop.

    server = RpcServer(methods, Hub(limits), limits, port=0)
    task = asyncio.create_task(server.serve())
    await server.started.wait()      # server.port is the real one now
    server.shutdown()
    await task                       # requests in flight are answered, WebSockets closed with 1001
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        subscriptions: Hub,
        limits: Limits | None = None,
        host: str = "127.0.0.1",
        port: int = 8545,
        *,
        ready: Callable[[], bool] = lambda: True,
        metrics: Metrics | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """`ready`: what GET /ready says. `port` 0: any free one. TypeError for methods that are not declared well."""
        self.limits = limits or Limits()
        self.metrics = metrics or Metrics()
        self.host, self.port = host, port
        self.started = asyncio.Event()
        """Set when the port is open."""
        rates = MethodRates(self.limits.method_classes, clock)
        dispatcher = Dispatcher(methods, self.limits, rates, self.metrics)
        sockets = Sockets(dispatcher, subscriptions, self.limits, self.metrics)
        checks_host = is_loopback(host) or bool(self.limits.allowed_hosts)
        hosts, origins = frozenset(self.limits.allowed_hosts), frozenset(self.limits.cors_origins)
        self._gate = Gate(self.limits, self.metrics, clock, sockets.budget)
        app = App(dispatcher, sockets, OriginPolicy(checks_host, hosts, origins), ready)
        config = ServerConfig(app, self._gate, HttpProtocol, SocketProtocol)
        self._server = _Server(config, self.started)

    async def serve(self, *, handle_signals: bool = False) -> None:
        """Listen until `shutdown`, or with `handle_signals` until Ctrl-C or SIGTERM (a second one does not wait).

        Raises Failure when the address cannot be had.
        """
        with self._listen() as listener, self._signals(handle_signals):
            self.port = listener.getsockname()[1]
            try:
                await self._server.serve(sockets=[listener])
            finally:
                self._gate.abort_all()

    def shutdown(self) -> None:
        """Stop accepting, finish what is in flight within `limits.shutdown_timeout`, close. From the loop's thread."""
        if self._server.should_exit:
            self._server.force_exit = True
        self._server.should_exit = True

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family, backlog=BACKLOG)
        except (OSError, OverflowError) as error:
            raise Failure(f"cannot listen on {self.host} port {self.port}: {error}") from error

    @contextlib.contextmanager
    def _signals(self, handled: bool) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in SIGNALS if handled else ():
            loop.add_signal_handler(number, self.shutdown)
        try:
            yield
        finally:
            for number in SIGNALS if handled else ():
                loop.remove_signal_handler(number)


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it has started and leaves signals alone."""

    def __init__(self, config: ServerConfig, started: asyncio.Event) -> None:
        super().__init__(config)
        self._has_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._has_started.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
