"""A method's parameters, from its annotations: positional JSON values in, typed arguments out (-32602 for the rest)."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

import msgspec

from manaflow.node.encoding import PARSERS, from_json
from manaflow.node.errors import invalid_params

Method = Callable[..., Awaitable[Any]]
"""`async def eth_x(...)`: positional parameters declared with JSON types or those of node/encoding.py, optional ones
with defaults; returns what msgspec encodes as JSON (see `quantity`, `data`), no Quantity or Data; raises RpcError."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter."""

    kind: Any
    """The annotation: anything that msgspec decodes, with the types of node/encoding.py."""
    required: bool
    default: Any


class Signature:
    """What a method takes. TypeError when made for one that cannot be called by position, or lacks an annotation."""

    def __init__(self, method: Method) -> None:
        hints = get_type_hints(method)
        self.parameters: list[Parameter] = []
        for name, declared in inspect.signature(method).parameters.items():
            if declared.kind not in (declared.POSITIONAL_ONLY, declared.POSITIONAL_OR_KEYWORD):
                raise TypeError(f"{method}: parameter {name} cannot be given by position")
            if name not in hints:
                raise TypeError(f"{method}: parameter {name} has no annotation")
            msgspec.json.Decoder(hints[name], dec_hook=from_json)  # TypeError for what msgspec cannot decode
            self.parameters.append(Parameter(hints[name], declared.default is declared.empty, declared.default))
        self._parsers = [PARSERS.get(parameter.kind, _never) for parameter in self.parameters]
        self.required = sum(parameter.required for parameter in self.parameters)

    def bind(self, params: Any) -> list[Any]:
        """Arguments from the `params` of a request: a list, or None for none. Null: the default of an optional one.

        Raises RpcError -32602, worded as geth's.
        """
        if isinstance(params, list):
            try:
                return [parse(value) for parse, value in zip(self._parsers, params, strict=True)]
            except ValueError:
                return self._bind_slowly(params)
        return self._bind_slowly([] if params is None else params)

    def _bind_slowly(self, params: Any) -> list[Any]:
        """What is not one good value of node/encoding.py's types, none of which is null, for each parameter."""
        if not isinstance(params, list):
            raise invalid_params("non-array args")
        if len(params) > len(self.parameters):
            raise invalid_params(f"too many arguments, want at most {len(self.parameters)}")
        arguments = [
            _argument(i, self.parameters[i], value) if value is not None else _absent(i, self.parameters[i])
            for i, value in enumerate(params)
        ]
        if len(arguments) < self.required:
            raise invalid_params(f"missing value for required argument {len(arguments)}")
        return arguments


def _never(_: Any) -> Any:
    """The parser of parameters that msgspec reads."""
    raise ValueError


def _argument(place: int, parameter: Parameter, value: Any) -> Any:
    parse = PARSERS.get(parameter.kind)
    try:
        return parse(value) if parse else msgspec.convert(value, parameter.kind, dec_hook=from_json)
    except ValueError as error:  # msgspec.ValidationError is one
        raise invalid_params(f"invalid argument {place}: {error}") from None


def _absent(place: int, parameter: Parameter) -> Any:
    if not parameter.required:
        return parameter.default
    try:
        return msgspec.convert(None, parameter.kind, dec_hook=from_json)
    except ValueError:
        raise invalid_params(f"missing value for required argument {place}") from None
