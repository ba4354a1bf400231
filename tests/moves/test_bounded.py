"""Bounds hold exactly, and cost no memory; what a stranger's JSON costs grows with its length alone."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from manaflow.coordinator import ethereum
from manaflow.moves.bounded import CHUNK, Stream, is_shallow, json_structure, parse_json, read_at_most
from manaflow.wallet import strict_json


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


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


texts = st.text(st.sampled_from('[]{}",\\a'), max_size=5)
values = st.recursive(st.integers() | texts, lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=3))


@given(values)
def test_depth_of_json_is_exact(value: Any) -> None:
    text = json.dumps(value).encode()
    assert is_shallow(text, 3) == (depth_of(value) <= 3)
    if depth_of(value) <= 3:
        assert parse_json(text, 3) == value


@given(st.lists(st.sampled_from([b'"', b"[", b"}", b",", b"ab", b" ", b"\\"]), max_size=30).map(b"".join))
def test_structure_is_what_stands_outside_of_strings(text: bytes) -> None:
    outside, is_inside, at = b"", False, 0
    while at < len(text):
        if text[at : at + 1] == b'"':
            is_inside = not is_inside
        elif is_inside and text[at : at + 1] == b"\\":
            at += 1
        elif not is_inside:
            outside += text[at : at + 1]
        at += 1
    found = json_structure(text)
    assert found == bytes(byte for byte in outside.replace(b"{", b"[").replace(b"}", b"]") if byte in b"[],")
    assert json_structure(text + b'""' * 40_000) == found or is_inside  # by the way for many strings


CALLERS: dict[str, tuple[Callable[[bytes], Any], int]] = {
    "wallet": (strict_json.parse, strict_json.MAX_DEPTH),
    "coordinator": (ethereum.parse_json, ethereum.MAX_JSON_DEPTH),
}


@pytest.mark.parametrize("caller", CALLERS)
def test_every_reader_bounds_depth_and_insists_on_utf_8(caller: str) -> None:
    """node.messages, which decodes with msgspec, has its own tests of the same."""
    read, depth = CALLERS[caller]
    assert read(b"[" * depth + b"]" * depth)
    for bad in (
        b"[" * (depth + 1) + b"]" * (depth + 1), b'{"a":1}'.decode().encode("utf-16"), b"\xef\xbb\xbf{}", b'"\xff"',
        '{"a":1}'.encode("utf-32"), b"[" * 500_000, b"[}" * (depth + 1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            read(bad)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("unit", [b'\\"', b'"', b"\\", b'"\\', b"[", b"[]", b'["]', b'{"a":', b"[" * 20 + b"]" * 20])
def test_the_time_of_json_is_linear(caller: str, unit: bytes) -> None:
    """Four million bytes in a moment; with anything quadratic this would take hours."""
    read, depth = CALLERS[caller]
    with pytest.raises(ValueError, match=r"."):
        read(b"[" * (depth + 1) + b'"' + unit * (4_000_000 // len(unit)))
