"""JSON-RPC 2.0 on the wire: a body becomes calls, an outcome becomes an answer.

Pure, and bounded before anything is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from manaflow.moves.bounded import json_structure, nests_at_most
from manaflow.node.errors import INVALID_REQUEST, PARSE_ERROR, RpcError, limit_exceeded
from manaflow.node.limits import Limits

ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Call:
    """A valid request."""

    name: str
    """The method."""
    params: Any
    """As decoded; None where absent."""
    id: str | int | float | None
    wants_answer: bool
    """False for a notification: it had no id."""


def read_message(body: bytes, limits: Limits) -> Any:
    """The JSON value of a body, which has been held to its size already.

    Raises RpcError: -32700 for what is no JSON in UTF-8 or nests too deeply, -32005 for too many values or calls,
    -32600 for an empty batch.
    """
    check_structure(body, limits)
    try:
        message = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:  # msgspec.DecodeError is a ValueError
        raise RpcError(PARSE_ERROR, f"parse error: {str(error)[:200]}") from None
    if isinstance(message, list):
        if not message:
            raise RpcError(INVALID_REQUEST, "invalid request: empty batch")
        if len(message) > limits.max_batch:
            raise limit_exceeded(f"{len(message)} calls in a batch, at most {limits.max_batch}")
    return message


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
    if not isinstance(item, dict):
        raise Malformed(None, "a request is an object")
    given = item.get("id")
    if isinstance(given, bool) or not isinstance(given, str | int | float | None):
        raise Malformed(None, "id must be a string, a number or null")
    if item.get("jsonrpc") != "2.0":
        raise Malformed(given, 'jsonrpc must be "2.0"')
    name = item.get("method")
    if not isinstance(name, str):
        raise Malformed(given, "method must be a string")
    return Call(name, item.get("params"), given, "id" in item)


class Malformed(Exception):
    """A member of a message that is no request (-32600)."""

    def __init__(self, given: str | int | float | None, what: str) -> None:
        self.id, self.what = given, what
        super().__init__(what)


def write_result(given: str | int | float | None, result: Any) -> bytes:
    """An answer with a result. TypeError, ValueError, OverflowError, RecursionError: it is not JSON-ready."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (ENCODER.encode(given), ENCODER.encode(result))


def write_error(given: str | int | float | None, error: RpcError) -> bytes:
    """An answer with an error. Raises as write_result does, for its `data`."""
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (ENCODER.encode(given), ENCODER.encode(error.as_json()))


def write_notification(subscription: str, item: Any) -> bytes:
    """What a subscriber gets: `item` is JSON-ready, or msgspec.Raw where it is encoded already."""
    return b'{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"%b","result":%b}}' % (
        subscription.encode(),
        ENCODER.encode(item),
    )
