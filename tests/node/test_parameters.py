"""Parameters from annotations: counts, types, defaults."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from manaflow.node.encoding import LATEST, Address, BlockTag, Data, Quantity
from manaflow.node.errors import RpcError
from manaflow.node.parameters import Method, Signature

A = "0x" + "11" * 20


class Transaction(msgspec.Struct, rename="camel"):
    to: Address | None = None
    gas_price: Quantity | None = None
    data: Data = Data(b"")


async def none() -> None: ...
async def get(address: Address, tag: BlockTag = LATEST) -> None: ...
async def call(transaction: Transaction, full: bool, percentiles: list[float] | None = None) -> None: ...
async def free(anything: Any) -> None: ...
async def nullable(tag: BlockTag | None) -> None: ...


@pytest.mark.parametrize(
    ("method", "params", "arguments"),
    [
        (none, None, []),
        (none, [], []),
        (get, [A], [b"\x11" * 20]),
        (get, [A, None], [b"\x11" * 20, LATEST]),
        (get, [A, "0x1"], [b"\x11" * 20, BlockTag(number=1)]),
        (call, [{}, True], [Transaction(), True]),
        (call, [{"to": A, "gasPrice": "0x5", "unknown": 1}, False, [1, 2.5]],
         [Transaction(Address(b"\x11" * 20), Quantity(5)), False, [1.0, 2.5]]),
        (free, [{"a": [None]}], [{"a": [None]}]),
        (nullable, [None], [None]),
    ],
)  # fmt: skip
def test_valid(method: Method, params: Any, arguments: list[Any]) -> None:
    assert Signature(method).bind(params) == arguments


@pytest.mark.parametrize(
    ("method", "params", "complaint"),
    [
        (none, {}, "non-array args"),
        (none, {"a": 1}, "non-array args"),
        (none, "x", "non-array args"),
        (get, {A: 1, "latest": 2}, "non-array args"),
        (none, False, "non-array args"),
        (none, [1], "too many arguments, want at most 0"),
        (get, [], "missing value for required argument 0"),
        (get, [None], "missing value for required argument 0"),
        (get, [A, "0x1", 3], "too many arguments, want at most 2"),
        (get, ["0x11"], "invalid argument 0: hex string has length 2, want 40"),
        (get, [A, "newest"], "invalid argument 1: hex string without 0x prefix"),
        (call, [{}], "missing value for required argument 1"),
        (call, [[], True], "invalid argument 0: Expected `object`, got `array`"),
        (call, [{"to": "0x1"}, True], "invalid argument 0: hex string of odd length"),
        (call, [{"gasPrice": 5}, True], "invalid argument 0: expected a hex string"),
        (call, [{}, 1], "invalid argument 1: Expected `bool`, got `int`"),
        (call, [{}, "true"], "invalid argument 1: Expected `bool`, got `str`"),
        (call, [{}, True, ["x"]], "invalid argument 2: Expected `float`, got `str`"),
    ],
)
def test_invalid(method: Method, params: Any, complaint: str) -> None:
    with pytest.raises(RpcError) as refused:
        Signature(method).bind(params)
    assert refused.value.code == -32602
    assert refused.value.message.startswith(complaint)


async def unannotated(x) -> None: ...  # type: ignore[no-untyped-def]
async def keyword(*, x: int) -> None: ...
async def variadic(*x: int) -> None: ...
async def undecodable(x: Address | list[Address]) -> None: ...


@pytest.mark.parametrize("method", [unannotated, keyword, variadic, undecodable])
def test_a_method_that_is_not_declared_well_is_refused_at_once(method: Method) -> None:
    with pytest.raises(TypeError):
        Signature(method)
