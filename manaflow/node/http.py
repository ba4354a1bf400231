"""The ASGI app: JSON-RPC by POST at /, WebSockets at /, and /health, /ready, /metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response

from manaflow.node.limits import SMALL, Budget, Limits, charge
from manaflow.node.metrics import Metrics
from manaflow.node.origins import OriginPolicy
from manaflow.node.rpc import Caller, Dispatcher
from manaflow.node.subscriptions import WITHOUT_NOTIFICATIONS
from manaflow.node.websocket import Message, Receive, Send, Session, Sockets

JSON_TYPES = frozenset({"application/json", "application/json-rpc", "application/jsonrequest"})
"""What a request may call itself, as in geth. A web page cannot send these without asking first (CORS)."""


class Refused(Exception):
    """A request that gets no JSON-RPC answer: an HTTP status and a line of text."""

    def __init__(self, status: int, text: str) -> None:
        self.status, self.text = status, text
        super().__init__(status, text)


class Gone(Exception):
    """The client left before its request was whole."""


class App:
    """Everything that one port answers. An ASGI application."""

    def __init__(
        self, dispatcher: Dispatcher, sockets: Sockets, policy: OriginPolicy, ready: Callable[[], bool]
    ) -> None:
        self._dispatcher, self._sockets, self._policy, self._ready = dispatcher, sockets, policy, ready
        self._limits: Limits = sockets.limits
        self._metrics: Metrics = sockets.metrics
        self._budget = Budget(self._limits.max_buffered_bytes)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """One request or one WebSocket."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            await self._http(scope, headers, receive, send)
        except Refused as refused:
            await self._respond(send, refused.status, refused.text.encode(), "text/plain", headers, ends=True)
        except Gone:
            return
        except Exception as error:
            text = f"internal error, logged as {self._metrics.fault('http', error)}"
            await self._respond(send, 500, text.encode(), "text/plain", headers, ends=True)

    async def _websocket(self, scope: Any, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if scope["path"] != "/" or self._policy.refusal(Headers(scope=scope)) is not None:
            await send({"type": "websocket.close"})  # before the handshake this is a 403
            return
        await send({"type": "websocket.accept"})
        await Session(self._sockets, scope["state"]["connection"], client_of(scope), send).run(receive)

    async def _http(self, scope: Any, headers: Headers, receive: Receive, send: Send) -> None:
        refusal = self._policy.refusal(headers)
        if refusal is not None:
            raise Refused(403, refusal)
        path, method = scope["path"], scope["method"]
        if path == "/" and method == "POST":
            await self._post(scope, headers, receive, send)
        elif path == "/" and method == "OPTIONS":
            await self._preflight(headers, send)
        else:
            await self._page(path, method, scope, receive, send)

    async def _post(self, scope: Any, headers: Headers, receive: Receive, send: Send) -> None:
        """JSON-RPC: 200 with the answer, 204 where nothing is to be said."""
        check_headers(headers, self._limits)
        body = await self._read_body(receive)
        try:
            caller = Caller(client_of(scope), scope["state"]["connection"].bucket, WITHOUT_NOTIFICATIONS)
            answer = await self._dispatcher.answer(body, caller)
        finally:
            self._budget.give(charge(len(body)))
        if answer is None:
            await self._respond(send, 204, b"", None, headers)
            return
        if not self._budget.take(charge(len(answer))):
            raise Refused(503, "too many answers wait for their readers")
        try:
            await self._respond(send, 200, answer, "application/json", headers)
        finally:
            self._budget.give(charge(len(answer)))

    async def _read_body(self, receive: Receive) -> bytes:
        """The body; its charge is taken from the budget, for the caller to give back (none after Refused or Gone)."""
        parts: list[bytes] = []
        size = 0
        more = True
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                part, more = message.get("body", b""), message.get("more_body", False)
                if size + len(part) > self._limits.max_body_bytes:
                    raise Refused(413, f"content length too large, at most {self._limits.max_body_bytes}")
                if not self._budget.take(charge(size + len(part)) - charge(size)):
                    raise Refused(503, "too many requests are being read")
                size += len(part)
                parts.append(part)
        except BaseException:
            self._budget.give(charge(size))
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _preflight(self, headers: Headers, send: Send) -> None:
        """A browser asks whether its page may POST JSON."""
        cors = self._policy.cors_headers(headers.get("origin"))
        if not cors:
            raise Refused(403, "origin not allowed")
        more = [
            (b"access-control-allow-methods", b"POST"),
            (b"access-control-allow-headers", b"content-type"),
            (b"access-control-max-age", b"600"),
        ]
        await self._respond(send, 204, b"", None, headers, more)

    async def _page(self, path: str, method: str, scope: Any, receive: Receive, send: Send) -> None:
        """What monitors ask for."""
        pages: dict[str, Callable[[], Response]] = {"/health": self._health, "/ready": self._readiness}
        pages["/metrics"] = self._exposition
        if path not in pages and path != "/":
            raise Refused(404, "not found")
        if path == "/" or method not in ("GET", "HEAD"):
            raise Refused(405, "method not allowed")
        page = pages[path]()
        self._metrics.http.labels(str(page.status_code)).inc()
        await page(scope, receive, send)

    def _health(self) -> Response:
        return PlainTextResponse("ok")

    def _readiness(self) -> Response:
        return PlainTextResponse("ready") if self._ready() else PlainTextResponse("not ready", 503)

    def _exposition(self) -> Response:
        return Response(self._metrics.exposition(), media_type="text/plain; version=0.0.4")

    async def _respond(
        self,
        send: Send,
        status: int,
        body: bytes,
        media_type: str | None,
        headers: Headers,
        more: list[tuple[bytes, bytes]] | None = None,
        *,
        ends: bool = False,
    ) -> None:
        """Send a response; when it is over, little of it waits in the socket. `ends`: and the connection closes."""
        self._metrics.http.labels(str(status)).inc()
        out = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
        if media_type:
            out.append((b"content-type", media_type.encode()))
        if ends:
            out.append((b"connection", b"close"))
        out += self._policy.cors_headers(headers.get("origin")) + (more or [])
        start: Message = {"type": "http.response.start", "status": status, "headers": out}
        await send(start)
        is_large = len(body) > SMALL
        await send({"type": "http.response.body", "body": body, "more_body": is_large})
        if is_large:  # uvicorn waits here until the client has read most of it
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def client_of(scope: Any) -> str:
    """The client's IP address."""
    client = scope.get("client")
    return client[0] if client else ""


def check_headers(headers: Headers, limits: Limits) -> None:
    """Refuse by its headers what need not be read; chunked bodies are bounded as they come."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in JSON_TYPES:
        raise Refused(415, "invalid content type, only application/json is supported")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "compressed requests are not supported")
    length = headers.get("content-length", "")
    if length.isdecimal() and len(length) < 20 and int(length) > limits.max_body_bytes:
        raise Refused(413, f"content length too large ({length}>{limits.max_body_bytes})")
