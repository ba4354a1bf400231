"""Reading files and streams up to a bound, at the cost of what is there and not of the bound."""

from __future__ import annotations

from typing import Final, Protocol

CHUNK: Final = 2**20


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
