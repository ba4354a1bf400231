"""JSON of strangers: decoded only if it nests so little that no decoder runs out of stack."""

from __future__ import annotations

import json
import re
from typing import Any, Final

MAX_DEPTH: Final = 64
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_OTHER: Final = re.compile(rb"[^][{}]+")
_PAIR: Final = re.compile(rb"\[\]|\{\}")


def parse(data: bytes) -> Any:
    """The value. Raises ValueError for what is no JSON in UTF-8, or nests deeper than MAX_DEPTH.

    The decoder recurses in C, bounded by Python's recursion limit alone, which py-evm lifts beyond what the stack
    holds: then a hundred kilobytes of brackets would end the process.
    """
    if not _is_shallow(data):
        raise ValueError(f"brackets do not match, or nest more than {MAX_DEPTH} deep")
    return json.loads(data.decode("utf-8"))


def _is_shallow(data: bytes) -> bool:
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return True
    brackets = _OTHER.sub(b"", _STRING.sub(b"", data))
    for _ in range(MAX_DEPTH):  # each round takes the innermost pairs away
        brackets = _PAIR.sub(b"", brackets)
    return not brackets
