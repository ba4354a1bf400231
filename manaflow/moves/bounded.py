"""Reading files and streams up to a bound, at the cost of what is there and not of the bound; JSON up to a depth."""

from __future__ import annotations

import json
import re
from typing import Any, Final, Protocol

CHUNK: Final = 2**20
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""JSON strings, closed or cut off. Possessive, and the closing quote optional: linear on any input."""
_FEW: Final = 1 << 16
"""Quotes of a text that may be split at them: some fifty bytes each, for a fifth of the other way's time."""
_NOT_STRUCTURE: Final = bytes(set(range(256)) - set(b"[]{},"))
_ALIKE: Final = bytes.maketrans(b"{}", b"[]")
"""Depth does not tell brackets from braces; whether they match is the decoder's business."""


class Stream(Protocol):
    """What open() and decompressors give."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


def read_at_most(stream: Stream, limit: int) -> bytes | None:
    """All that a stream holds, or None if that is more than `limit` bytes.

    `read(limit)` would take the whole bound's memory before the first byte: both CPython and zstandard allocate what is
    asked for.
    """
    chunks, left = [], limit + 1
    while left and (chunk := stream.read(min(left, CHUNK))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks) if left else None


def parse_json(text: bytes, depth: int) -> Any:
    """The value of JSON in UTF-8 that nests at most `depth` deep. Raises ValueError.

    `json` recurses in C as deep as sys.getrecursionlimit() lets it, and py-evm raises that beyond what the stack holds:
    then a hundred kilobytes of brackets would end the process. Given bytes it would also guess their encoding.
    """
    if not is_shallow(text, depth):
        raise ValueError(f"brackets do not match, or are nested more than {depth} deep")
    return json.loads(text.decode("utf-8"))


def is_shallow(text: bytes, depth: int) -> bool:
    """True if JSON nests at most `depth` deep; what is no JSON may pass, for as many brackets as a decoder follows."""
    return text.count(b"[") + text.count(b"{") <= depth or nests_at_most(json_structure(text), depth)


def json_structure(text: bytes) -> bytes:
    """The commas and brackets of JSON outside its strings, in their order, braces as brackets."""
    is_plain = b"\\" not in text and text.count(b'"') <= _FEW  # then every quote begins or ends a string
    outside = b"".join(text.split(b'"')[::2]) if is_plain else _STRING.sub(b"", text)
    return outside.translate(_ALIKE, _NOT_STRUCTURE)


def nests_at_most(structure: bytes, depth: int) -> bool:
    """True if the brackets of what json_structure gives match, and nest at most `depth` deep. Linear."""
    brackets = structure.translate(None, b",")
    for _ in range(depth):  # each round takes the innermost pairs away
        if not brackets:
            break
        brackets = brackets.replace(b"[]", b"")
    return not brackets
