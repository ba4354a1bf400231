"""The strict reader against pyrlp: the same bytes are accepted, with the same meaning."""

from __future__ import annotations

from typing import Any

import pytest
import rlp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from manaflow.moves.rlp_reader import RlpError, RlpReader, encode_integer, encode_string, list_prefix

TREES = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=6), max_leaves=12)
LISTS = st.lists(TREES, max_size=6)


def read_all(reader: RlpReader) -> list[Any]:
    """Every item of a list, lists within it included."""
    found: list[Any] = []
    while reader.more:
        found.append(read_all(reader.items("item")) if reader.at_list else reader.string("item"))
    assert not reader.at_list
    return found


def agree(data: bytes) -> None:
    try:
        expected = rlp.decode(data, strict=True)
    except rlp.exceptions.RLPException:
        expected = None
    if isinstance(expected, list):
        assert read_all(RlpReader.whole(data)) == expected
    else:
        with pytest.raises(RlpError):
            read_all(RlpReader.whole(data))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(LISTS)
def test_reads_what_pyrlp_writes(tree: list[Any]) -> None:
    agree(rlp.encode(tree))


@settings(derandomize=True, deadline=None, max_examples=600)
@given(LISTS, st.data())
def test_agrees_with_pyrlp_on_damaged_encodings(tree: list[Any], data: st.DataObject) -> None:
    encoded = bytearray(rlp.encode(tree))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(encoded)))
        stop = data.draw(st.integers(at, min(at + 2, len(encoded))))
        encoded[at:stop] = data.draw(st.binary(max_size=3))
    agree(bytes(encoded))


@settings(derandomize=True, deadline=None, max_examples=600)
@given(st.binary(max_size=80))
@example(b"\xf8")
@example(b"\xc1\xb8")
@example(b"\xc1\x81")
@example(b"\xc2\x81\x7f")
@example(b"\xc2\x81\x80")
@example(b"\xff" * 9)
@example(b"\xf8\x37" + b"\x01" * 55)
@example(b"\xf8\x38" + b"\x01" * 56)
@example(b"\xf9\x00\x38" + b"\x01" * 56)
def test_agrees_with_pyrlp_on_any_bytes(data: bytes) -> None:
    agree(data)


def test_integers_are_canonical_and_bounded() -> None:
    reader = RlpReader.whole(rlp.encode([0, 255, 256, 2**64 - 1]))
    assert [reader.integer("n", width) for width in (0, 1, 2, 8)] == [0, 255, 256, 2**64 - 1]
    for item, width in ((b"\x00", 8), (b"\x00\x01", 8), (b"\x01\x00", 1), ([], 8)):
        with pytest.raises(RlpError, match=r"^n: "):
            RlpReader.whole(rlp.encode([item])).integer("n", width)


def test_fixed_consumed_and_finish() -> None:
    reader = RlpReader.whole(rlp.encode([b"ab", [b"c"], b"d"]))
    assert reader.consumed == b""
    assert reader.fixed("two", 2) == b"ab"
    assert reader.items("inner").string("c") == b"c"
    assert reader.consumed == rlp.encode(b"ab") + rlp.encode([b"c"])
    with pytest.raises(RlpError, match="follows"):
        reader.finish("outer")
    with pytest.raises(RlpError, match="1 bytes instead of 2"):
        reader.fixed("two", 2)
    reader.finish("outer")
    with pytest.raises(RlpError, match="missing"):
        reader.string("more")


@pytest.mark.parametrize("size", [0, 1, 55, 56, 255, 256, 65535, 65536])
def test_list_prefix(size: int) -> None:
    payload = b"\x01" * size
    assert list_prefix(size) + payload == rlp.encode([b"\x01"] * size)


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\x7f", b"\x80", b"\1\2", bytes(55), bytes(56), bytes(255), bytes(70_000)]
)
def test_strings_are_written_as_by_pyrlp(data: bytes) -> None:
    assert encode_string(data) == rlp.encode(data)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255, 256, 2**64 - 1, 2**256 - 1])
def test_integers_are_written_as_by_pyrlp(value: int) -> None:
    assert encode_integer(value) == rlp.encode(value)
