"""Bounds hold exactly, and cost no memory."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from manaflow.moves.bounded import CHUNK, Stream, read_at_most


class Trickle(io.BytesIO):
    """Gives three bytes at most, as a pipe may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(3, size or 0))


@pytest.mark.parametrize("length", [0, 1, 9, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_both_sides_of_the_bound(length: int) -> None:
    data = bytes(range(256)) * (length // 256) + bytes(length % 256)
    for kind in (io.BytesIO, *((Trickle,) if length < 10 else ())):
        assert read_at_most(kind(data), length) == data
        assert read_at_most(kind(data), length + 1) == data
        if length:
            assert read_at_most(kind(data), length - 1) is None


def peak(stream: Stream, limit: int) -> int:
    tracemalloc.start()
    try:
        read_at_most(stream, limit)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_follows_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "small"
    file.write_bytes(b"small")
    with file.open("rb") as opened:
        assert peak(opened, 2**28) < 3 * CHUNK
    with zstandard.ZstdDecompressor().stream_reader(zstandard.compress(b"small")) as reader:
        assert peak(reader, 2**28) < 3 * CHUNK
