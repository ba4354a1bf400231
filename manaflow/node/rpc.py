"""The dispatcher: a body in, an answer out, whatever the body is.

It knows no transport; the servers bring the callers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import groupby, repeat
from time import perf_counter
from typing import Any, Final, Protocol, TypeVar

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
TOO_MANY = "too many calls on this connection"
Request = Call | Malformed
CLIENT: Final[ContextVar[str]] = ContextVar("client", default="")
"""The IP address of whoever's call runs, for methods that count by client."""
UNREADABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""What encoding a result that is not JSON-ready raises."""


class Observer(Protocol):
    """What the dispatcher tells of its work."""

    def answered(self, method: str, seconds: float, code: int | None, count: int = 1) -> None:
        """So many calls ended: `method` as registered ("unknown" for others), time of each, error code or None."""

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


@dataclass(frozen=True, slots=True)
class Way:
    """How a call of a batch runs: together with others, as one with others of its method, or by itself."""

    is_together: bool
    many: Many | None


BY_ITSELF = Way(is_together=False, many=None)


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
        CLIENT.set(caller.client)
        deadline = asyncio.get_running_loop().time() + self._limits.call_timeout
        try:
            message = read_message(body, self._limits)
        except RpcError as error:
            self._observer.answered("unknown", 0.0, error.code)
            return write_error(None, error)
        if isinstance(message, list):
            return await self._batch([_read(item) for item in message], caller, deadline)
        call = _read(message)
        answer = await self._one(call, caller, deadline)
        if answer is not None and len(answer) > self._limits.max_response_bytes:
            return write_error(call.id, TOO_LARGE)
        return answer

    async def _batch(self, calls: list[Request], caller: Caller, deadline: float) -> bytes | None:
        answers: list[bytes] = []
        room = self._limits.max_response_bytes
        for way, group in self._groups(calls, caller):
            await asyncio.sleep(0)
            for call, answer in zip(group, await self._group(way, group, caller, deadline, room), strict=True):
                if answer is None:
                    continue
                room -= len(answer)
                answers.append(answer if room > 0 else write_error(call.id, TOO_LARGE))
        return b"[%b]" % b",".join(answers) if answers else None

    def _groups(self, calls: list[Request], caller: Caller) -> Iterator[tuple[Way, list[Request]]]:
        """A batch in parts: calls that run together or as one, or at most CALLS_BETWEEN_PAUSES that do not."""
        ways = {name: self._way(name, caller) for name in {_name(call) for call in calls}}
        for way, run in groupby(calls, lambda call: ways[_name(call)]):
            group = list(run)
            step = len(group) if way.is_together else CALLS_BETWEEN_PAUSES if way.many is None else CALLS_AS_ONE
            yield from ((way, group[at : at + step]) for at in range(0, len(group), step))

    async def _group(
        self, way: Way, group: list[Request], caller: Caller, deadline: float, room: int
    ) -> list[bytes | None]:
        """The answers of one part; no more are made than there is room for."""
        if way.many is not None and room > 0:
            return await self._as_one(
                way.many, [call for call in group if isinstance(call, Call)], caller, deadline, room
            )
        if room > 0 and way.is_together:
            return await asyncio.gather(*(self._one(call, caller, deadline) for call in group))
        answers: list[bytes | None] = []
        for call in group:
            answer = await self._one(call, caller, deadline) if room > 0 else _too_large(call)
            room -= len(answer or b"")
            answers.append(answer)
        return answers

    async def _as_one(
        self, many: Many, calls: list[Call], caller: Caller, deadline: float, room: int
    ) -> list[bytes | None]:
        """The answers to calls of one method, which gives them at once."""
        started, name = perf_counter(), calls[0].name
        given = self._arguments_of_all(calls, caller)
        asked = [arguments for arguments in given if isinstance(arguments, list)]
        try:
            results = iter(await within(deadline, lambda: many(asked, room)) if asked else ())
        except Exception as error:
            results = repeat(self._error(name, error))
        outcomes = [next(results) if isinstance(arguments, list) else arguments for arguments in given]
        seconds = (perf_counter() - started) / len(calls)
        answers = [self._encoded(name, call, outcome) for call, outcome in zip(calls, outcomes, strict=True)]
        for code, count in Counter(code for _, code in answers).items():
            self._observer.answered(name, seconds, code, count)
        return [answer if call.wants_answer else None for call, (answer, _) in zip(calls, answers, strict=True)]

    def _arguments_of_all(self, calls: list[Call], caller: Caller) -> list[list[Any] | RpcError]:
        """Of calls of one method: for each its arguments, or why it may not run."""
        bound, name = self._bound(calls[0].name, caller), calls[0].name
        assert bound is not None
        may_run = caller.bucket.take_of(len(calls))
        given: list[list[Any] | RpcError] = []
        for call in calls[:may_run]:
            try:
                given.append(bound.signature.bind(call.params))
            except RpcError as error:
                given.append(error)
        good = [i for i, arguments in enumerate(given) if isinstance(arguments, list)]
        for i in good[self._rates.allow_of(name, caller.client, len(good)) :]:
            given[i] = limit_exceeded(f"too many calls of {name}")
        return given + [limit_exceeded(TOO_MANY)] * (len(calls) - may_run)

    def _written(self, call: Request, outcome: Any, caller: Caller, seconds: float) -> bytes | None:
        """The answer to a call that has its outcome: a result or an RpcError."""
        label = call.name if isinstance(call, Call) and self._bound(call.name, caller) else "unknown"
        answer, code = self._encoded(label, call, outcome)
        self._observer.answered(label, seconds, code)
        return answer if isinstance(call, Malformed) or call.wants_answer else None

    def _encoded(self, label: str, call: Request, outcome: Any) -> tuple[bytes, int | None]:
        """An answer, and the code of its error."""
        try:
            if isinstance(outcome, RpcError):
                return write_error(call.id, outcome), outcome.code
            return write_result(call.id, outcome), None
        except UNREADABLE as error:
            return write_error(call.id, self._internal(label, error)), INTERNAL_ERROR

    def _way(self, name: str | None, caller: Caller) -> Way:
        """How a call of a batch runs."""
        bound = None if name is None else self._bound(name, caller)
        return BY_ITSELF if bound is None else Way(bound.is_together, bound.many)

    def _bound(self, name: str, caller: Caller) -> Bound | None:
        return caller.methods.get(name) or self._methods.get(name)

    async def _one(self, call: Request, caller: Caller, deadline: float) -> bytes | None:
        if isinstance(call, Malformed):
            return self._written(call, RpcError(INVALID_REQUEST, f"invalid request: {call.what}"), caller, 0.0)
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
            raise limit_exceeded(TOO_MANY)
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


def _read(item: Any) -> Request:
    try:
        return read_call(item)
    except Malformed as broken:
        return broken


def _name(call: Request) -> str | None:
    return call.name if isinstance(call, Call) else None


def _too_large(call: Request) -> bytes | None:
    """The answer to a call of a batch that has no room left: it is not run."""
    return write_error(call.id, TOO_LARGE) if call.wants_answer else None
