"""The dispatcher: a body in, an answer out, whatever the body is.

It knows no transport; the servers bring the callers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, repeat
from time import perf_counter
from typing import Any, Protocol, TypeVar

from manaflow.errors import Pruned, Verdict
from manaflow.node.errors import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    RESOURCE_UNAVAILABLE,
    SERVER_ERROR,
    RpcError,
    limit_exceeded,
)
from manaflow.node.limits import Limits, MethodRates, TokenBucket
from manaflow.node.messages import Call, Malformed, read_call, read_message, write_error, write_result
from manaflow.node.parameters import Method, Signature

AnyMethod = TypeVar("AnyMethod", bound=Method)
CALLS_BETWEEN_PAUSES = 50
"""Of one batch, before other connections get their turn."""
CALLS_AS_ONE = 200
"""Of one batch, that a method answers as one (see `as_one`)."""
TOO_LARGE = limit_exceeded("the response is too large")
UNREADABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""What encoding a result that is not JSON-ready raises."""


class Observer(Protocol):
    """What the dispatcher tells of its work."""

    def answered(self, method: str, seconds: float, code: int | None) -> None:
        """A call ended: `method` as registered ("unknown" for others), error code or None."""

    def fault(self, method: str, error: BaseException) -> str:
        """A method broke; returns the id under which it was logged, which is all that the client is told."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A method with its signature."""

    method: Method
    signature: Signature
    is_together: bool = False
    """See `together`."""
    many: Many | None = None
    """See `as_one`."""


Many = Callable[[list[list[Any]], int], Awaitable[Sequence[Any]]]
"""(arguments of each call, bytes that their answers may take) -> for each call its result, or the RpcError."""


def as_one(many: str) -> Callable[[AnyMethod], AnyMethod]:
    """Marks a method of an object: consecutive calls of it in one batch are answered at once, by its method `many`."""

    def mark(method: AnyMethod) -> AnyMethod:
        vars(method)["many"] = many
        return method

    return mark


def together(method: AnyMethod) -> AnyMethod:
    """Marks a method: consecutive calls of such methods in one batch run at the same time, in no order."""
    vars(method)["is_together"] = True
    return method


def bind_methods(methods: Mapping[str, Method]) -> dict[str, Bound]:
    """Methods with their signatures; TypeError for one whose parameters are not declared (see Signature)."""
    return {
        name: Bound(method, Signature(method), getattr(method, "is_together", False), _many_of(method))
        for name, method in methods.items()
    }


def _many_of(method: Method) -> Many | None:
    name = getattr(method, "many", None)
    many: Many | None = None if name is None else getattr(getattr(method, "__self__", None), name)
    return many


@dataclass(slots=True)
class Caller:
    """Who sent a body."""

    client: str
    """The IP address."""
    bucket: TokenBucket
    """Of the connection; each call takes one token."""
    methods: Mapping[str, Bound] = field(default_factory=dict)
    """Methods that only this connection has (subscriptions); looked up first."""


class Dispatcher:
    """Answers bodies with the given methods. One for a server."""

    def __init__(self, methods: Mapping[str, Method], limits: Limits, rates: MethodRates, observer: Observer) -> None:
        self._methods = bind_methods(methods)
        self._limits, self._rates, self._observer = limits, rates, observer

    async def answer(self, body: bytes, caller: Caller) -> bytes | None:
        """The answer to a body that is within its size: always one, but for notifications (None).

        Raises nothing but CancelledError. Calls of a batch run one after another, in order, but for those of methods
        that are marked (`together`).
        """
        deadline = asyncio.get_running_loop().time() + self._limits.call_timeout
        try:
            message = read_message(body, self._limits)
        except RpcError as error:
            self._observer.answered("unknown", 0.0, error.code)
            return write_error(None, error)
        if isinstance(message, list):
            return await self._batch(message, caller, deadline)
        answer = await self._one(message, caller, deadline)
        if answer is not None and len(answer) > self._limits.max_response_bytes:
            return write_error(_known_id(message), TOO_LARGE)
        return answer

    async def _batch(self, items: list[Any], caller: Caller, deadline: float) -> bytes | None:
        answers: list[bytes] = []
        room = self._limits.max_response_bytes
        for group in self._groups(items, caller):
            await asyncio.sleep(0)
            for item, answer in zip(group, await self._group(group, caller, deadline, room), strict=True):
                if answer is None:
                    continue
                room -= len(answer)
                answers.append(answer if room > 0 else write_error(_known_id(item), TOO_LARGE))
        return b"[%b]" % b",".join(answers) if answers else None

    def _groups(self, items: list[Any], caller: Caller) -> Iterator[list[Any]]:
        """A batch in parts: calls that run together or as one, or at most CALLS_BETWEEN_PAUSES that do not."""
        for (is_together, many), run in groupby(items, lambda item: self._way(item, caller)):
            group = list(run)
            step = len(group) if is_together else CALLS_BETWEEN_PAUSES if many is None else CALLS_AS_ONE
            yield from (group[at : at + step] for at in range(0, len(group), step))

    async def _group(self, group: list[Any], caller: Caller, deadline: float, room: int) -> list[bytes | None]:
        """The answers of one part; no more are made than there is room for."""
        is_together, many = self._way(group[0], caller)
        if many is not None and room > 0:
            return await self._as_one(group, caller, deadline, room)
        if room > 0 and is_together:
            return await asyncio.gather(*(self._one(item, caller, deadline) for item in group))
        answers: list[bytes | None] = []
        for item in group:
            answer = await self._one(item, caller, deadline) if room > 0 else _too_large(item)
            room -= len(answer or b"")
            answers.append(answer)
        return answers

    async def _as_one(self, group: list[Any], caller: Caller, deadline: float, room: int) -> list[bytes | None]:
        """The answers to calls of one method, which gives them at once."""
        started, bound = perf_counter(), self._bound(group[0]["method"], caller)
        many = None if bound is None else bound.many
        assert bound is not None
        assert many is not None
        calls = [self._read(item, bound, caller) for item in group]
        asked = [given for _, given in calls if isinstance(given, list)]
        try:
            results = iter(await within(deadline, lambda: many(asked, room)) if asked else ())
        except Exception as error:
            results = repeat(self._error(group[0]["method"], error))
        outcomes = [next(results) if isinstance(given, list) else given for _, given in calls]
        seconds = (perf_counter() - started) / len(group)
        return [
            self._written(call, outcome, caller, seconds) for (call, _), outcome in zip(calls, outcomes, strict=True)
        ]

    def _read(self, item: Any, bound: Bound, caller: Caller) -> tuple[Call | Malformed, list[Any] | RpcError]:
        """A call with its arguments, or with what is wrong."""
        try:
            call = read_call(item)
        except Malformed as broken:
            return broken, RpcError(INVALID_REQUEST, f"invalid request: {broken.what}")
        try:
            return call, self._arguments(call, bound, caller)
        except RpcError as error:
            return call, error

    def _written(self, call: Call | Malformed, outcome: Any, caller: Caller, seconds: float) -> bytes | None:
        """The answer to a call that has its outcome: a result or an RpcError."""
        label = "unknown"
        if isinstance(call, Call) and self._bound(call.name, caller):
            label = call.name
        code: int | None = None
        try:
            if isinstance(outcome, RpcError):
                code, answer = outcome.code, write_error(call.id, outcome)
            else:
                answer = write_result(call.id, outcome)
        except UNREADABLE as error:
            code, answer = INTERNAL_ERROR, write_error(call.id, self._internal(label, error))
        self._observer.answered(label, seconds, code)
        return answer if isinstance(call, Malformed) or call.wants_answer else None

    def _way(self, item: Any, caller: Caller) -> tuple[bool, Many | None]:
        """How a call of a batch runs: together with others, as one with others of its method, or by itself."""
        name = item.get("method") if isinstance(item, dict) else None
        bound = self._bound(name, caller) if isinstance(name, str) else None
        return (False, None) if bound is None else (bound.is_together, bound.many)

    def _bound(self, name: str, caller: Caller) -> Bound | None:
        return caller.methods.get(name) or self._methods.get(name)

    async def _one(self, item: Any, caller: Caller, deadline: float) -> bytes | None:
        try:
            call = read_call(item)
        except Malformed as broken:
            return self._written(broken, RpcError(INVALID_REQUEST, f"invalid request: {broken.what}"), caller, 0.0)
        started = perf_counter()
        bound = self._bound(call.name, caller)
        outcome: Any
        try:
            arguments = self._arguments(call, bound, caller)
            assert bound is not None
            outcome = await within(deadline, lambda: bound.method(*arguments))
        except Exception as error:
            outcome = self._error(call.name if bound else "unknown", error)
        return self._written(call, outcome, caller, perf_counter() - started)

    def _arguments(self, call: Call, bound: Bound | None, caller: Caller) -> list[Any]:
        """Of a call that may run. Raises RpcError."""
        if not caller.bucket.take():
            raise limit_exceeded("too many calls on this connection")
        if bound is None:
            raise RpcError(METHOD_NOT_FOUND, f"the method {call.name[:100]} does not exist/is not available")
        arguments = bound.signature.bind(call.params)
        if not self._rates.allow(call.name, caller.client):
            raise limit_exceeded(f"too many calls of {call.name}")
        return arguments

    def _error(self, name: str, error: Exception) -> RpcError:
        """What a caller is told of whatever went wrong."""
        if isinstance(error, RpcError):
            return error
        if isinstance(error, Verdict):
            return RpcError(SERVER_ERROR, str(error), error.as_json())
        if isinstance(error, Pruned):
            return RpcError(RESOURCE_UNAVAILABLE, str(error))
        return self._internal(name, error)

    def _internal(self, label: str, error: Exception) -> RpcError:
        return RpcError(INTERNAL_ERROR, f"internal error, logged as {self._observer.fault(label, error)}")


async def within(deadline: float, run: Callable[[], Any]) -> Any:
    """What `run()` gives when awaited; RpcError -32002 when it is not there at `deadline`, by the loop's clock."""
    late = RpcError(RESOURCE_UNAVAILABLE, "request timed out")
    if asyncio.get_running_loop().time() >= deadline:
        raise late
    timeout = asyncio.timeout_at(deadline)
    try:
        async with timeout:
            return await run()
    except TimeoutError:
        if timeout.expired():
            raise late from None
        raise


def _known_id(item: Any) -> str | int | float | None:
    try:
        return read_call(item).id
    except Malformed as broken:
        return broken.id


def _too_large(item: Any) -> bytes | None:
    """The answer to a call of a batch that has no room left: it is not run."""
    if isinstance(item, dict) and "id" not in item:
        return None
    return write_error(_known_id(item), TOO_LARGE)
