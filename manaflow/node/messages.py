"""JSON-RPC 2.0 on the wire: a body becomes calls, an outcome becomes an answer.

Pure, and bounded before anything is decoded.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from manaflow.moves.bounded import json_structure, nests_at_most
from manaflow.node.errors import INVALID_REQUEST, PARSE_ERROR, RpcError, limit_exceeded
from manaflow.node.limits import Limits

ENCODER = msgspec.json.Encoder()
Id = str | int | float | None


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"name": "method", "given": "id"}):
    """A valid request. Bodies of requests without further members are decoded as such, and need no second look."""

    jsonrpc: Literal["2.0"]
    name: str
    """The method."""
    params: Any = None
    """As decoded; None where absent."""
    given: Id | UnsetType = UNSET
    """The id as it was given."""

    @property
    def id(self) -> Id:
        """The id, None where absent."""
        return None if isinstance(self.given, UnsetType) else self.given

    @property
    def wants_answer(self) -> bool:
        """False for a notification: it had no id."""
        return not isinstance(self.given, UnsetType)


REQUESTS = msgspec.json.Decoder(Call | list[Call])


class Answer(msgspec.Struct):
    """A result on the wire."""

    jsonrpc: str
    id: Id
    result: Any


def read_message(body: bytes, limits: Limits) -> Any:
    """What a body holds, which has been held to its size already: a Call, a list of Calls, or any other JSON value.

    Raises RpcError: -32700 for what is no JSON in UTF-8 or nests too deeply, -32005 for too many values or calls,
    -32600 for an empty batch.
    """
    check_structure(body, limits)
    message = _decode(body)
    if isinstance(message, list):
        if not message:
            raise RpcError(INVALID_REQUEST, "invalid request: empty batch")
        if len(message) > limits.max_batch:
            raise limit_exceeded(f"{len(message)} calls in a batch, at most {limits.max_batch}")
    return message


def _decode(body: bytes) -> Any:
    try:
        return REQUESTS.decode(body)
    except (ValueError, RecursionError):  # not requests alone, or no JSON: msgspec.DecodeError is a ValueError
        pass
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, f"parse error: {str(error)[:200]}") from None


def check_structure(body: bytes, limits: Limits) -> None:
    """Bound nesting and the number of values without decoding: RpcError -32700 or -32005.

    Decoders recurse in C, and py-evm lifts Python's recursion limit so far that a body of brackets would end the
    process; and "{}," takes thirty times its size in memory.
    """
    if body.count(b"[") + body.count(b"{") <= limits.max_depth and body.count(b",") < limits.max_values:
        return
    if body.count(b'"') > 4 * limits.max_values:  # a key and a value have two each; the rest is for escaped ones
        raise limit_exceeded(f"more than {limits.max_values} values in one request")
    structure = json_structure(body)
    if len(structure) > limits.max_values:
        raise limit_exceeded(f"more than {limits.max_values} values in one request")
    if not nests_at_most(structure, limits.max_depth):
        raise RpcError(PARSE_ERROR, f"parse error: brackets do not match, or nest more than {limits.max_depth} deep")


def read_call(item: Any) -> Call:
    """One member of a message as a call. Raises Malformed, which knows the id where there is a usable one."""
    if isinstance(item, Call):
        return item
    if not isinstance(item, dict):
        raise Malformed(None, "a request is an object")
    given = item.get("id", UNSET)
    if isinstance(given, bool) or not isinstance(given, str | int | float | None | UnsetType):
        raise Malformed(None, "id must be a string, a number or null")
    if item.get("jsonrpc") != "2.0":
        raise Malformed(given, 'jsonrpc must be "2.0"')
    name = item.get("method")
    if not isinstance(name, str):
        raise Malformed(given, "method must be a string")
    return Call("2.0", name, item.get("params"), given)


class Malformed(Exception):
    """A member of a message that is no request (-32600)."""

    def __init__(self, given: Id | UnsetType, what: str) -> None:
        self.id: Id = None if isinstance(given, UnsetType) else given
        self.wants_answer = not isinstance(given, UnsetType)
        """False for an object without id."""
        self.what = what
        super().__init__(what)


def write_result(given: Id, result: Any) -> bytes:
    """An answer with a result. TypeError, ValueError, OverflowError, RecursionError: it is not JSON-ready."""
    return ENCODER.encode(Answer("2.0", given, result))


def write_error(given: Id, error: RpcError) -> bytes:
    """An answer with an error. Raises as write_result does, for its `data`."""
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (ENCODER.encode(given), ENCODER.encode(error.as_json()))


def write_notification(subscription: str, item: Any) -> bytes:
    """What a subscriber gets: `item` is JSON-ready, or msgspec.Raw where it is encoded already."""
    return b'{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"%b","result":%b}}' % (
        subscription.encode(),
        ENCODER.encode(item),
    )
