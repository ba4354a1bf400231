"""Hex in JSON, strictly, in geth's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manaflow.node.encoding import (
    PARSERS,
    Address,
    Addresses,
    BlockTag,
    Data,
    Hash,
    Quantity,
    Quantity64,
    StorageKey,
    Topics,
    data,
    from_json,
    quantity,
)

H = "0x" + "ab" * 32


@given(st.integers(0, 2**256 - 1))
def test_quantities_round_trip(value: int) -> None:
    assert Quantity.parse(quantity(value)) == value


@given(st.binary(max_size=100))
def test_data_round_trips(value: bytes) -> None:
    assert Data.parse(data(value)) == value


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Quantity, "0x0", 0),
        (Quantity, "0xAb", 0xAB),
        (Quantity, "0X1", 1),
        (Quantity, "0x" + "f" * 64, 2**256 - 1),
        (Quantity64, "0x" + "f" * 16, 2**64 - 1),
        (Data, "0x", b""),
        (Data, "0x0041", b"\x00A"),
        (Address, "0x" + "Ab" * 20, b"\xab" * 20),
        (Hash, H, b"\xab" * 32),
        (StorageKey, "0x0", bytes(32)),
        (StorageKey, "0x100", (256).to_bytes(32)),
        (StorageKey, H, b"\xab" * 32),
        (Addresses, "0x" + "11" * 20, (b"\x11" * 20,)),
        (Addresses, [], ()),
        (Topics, [H, None, [H], [], [H, None]], (((b"\xab" * 32),), None, (b"\xab" * 32,), None, None)),
    ],
)
def test_valid(kind: type, text: Any, value: Any) -> None:
    read = from_json(kind, text)
    assert read == value
    assert type(read) is kind


@pytest.mark.parametrize(
    ("kind", "text", "complaint"),
    [
        (Quantity, "", "empty hex string"),
        (Quantity, "0x", 'hex string "0x"'),
        (Quantity, "10", "hex string without 0x prefix"),
        (Quantity, "0x01", "hex number with leading zero digits"),
        (Quantity, "0x00", "hex number with leading zero digits"),
        (Quantity, "0xg", "invalid hex string"),
        (Quantity, "0x-1", "invalid hex string"),
        (Quantity, "0x1 ", "invalid hex string"),
        (Quantity, "0x1_0", "invalid hex string"),
        (Quantity, "0x" + "1" * 65, "hex number > 256 bits"),
        (Quantity64, "0x" + "1" * 17, "hex number > 64 bits"),
        (Quantity, 5, "expected a hex string"),
        (Quantity, None, "expected a hex string"),
        (Quantity, ["0x1"], "expected a hex string"),
        (Data, "0x1", "hex string of odd length"),
        (Data, "0x 1", "invalid hex string"),
        (Data, "0x11 1", "invalid hex string"),
        (Data, "0x  11", "invalid hex string"),
        (Data, "0x11é1", "invalid hex string"),
        (Data, "0x１１", "invalid hex string"),
        (Address, "0x" + "11" * 19, "hex string has length 38, want 40"),
        (Address, "0x" + "11" * 21, "hex string has length 42, want 40"),
        (Hash, "0x", "hex string has length 0, want 64"),
        (StorageKey, "0x" + "0" * 65, "hex string too long, want at most 32 bytes, have 33 bytes"),
        (StorageKey, "0xzz", "invalid hex string"),
        (BlockTag, "lastest", "hex string without 0x prefix"),
        (BlockTag, "0x" + "1" * 17, "hex number > 64 bits"),
        (BlockTag, 1, "expected a hex string"),
        (BlockTag, {}, "expected a hex string"),
        (BlockTag, {"blockHash": H, "blockNumber": "0x1"}, "cannot specify both BlockHash and BlockNumber"),
        (BlockTag, {"blockHash": H, "requireCanonical": 1}, "requireCanonical must be a boolean"),
        (Topics, H, "topics must be an array"),
        (Topics, [[[H]]], "expected a hex string"),
        (Topics, ["0x11"], "hex string has length 2, want 64"),
    ],
)
def test_invalid(kind: type, text: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace("(", r"\(")):
        from_json(kind, text)


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("latest", BlockTag(name="latest")),
        ("earliest", BlockTag(name="earliest")),
        ("pending", BlockTag(name="pending")),
        ("safe", BlockTag(name="safe")),
        ("finalized", BlockTag(name="finalized")),
        ("0x10", BlockTag(number=16)),
        (H, BlockTag(block_hash=b"\xab" * 32)),
        ({"blockNumber": "0x10"}, BlockTag(number=16)),
        ({"blockNumber": "safe"}, BlockTag(name="safe")),
        ({"blockHash": H, "requireCanonical": True}, BlockTag(block_hash=b"\xab" * 32, require_canonical=True)),
        ({"blockHash": H, "other": 1}, BlockTag(block_hash=b"\xab" * 32)),
    ],
)
def test_block_tags(value: Any, tag: BlockTag) -> None:
    assert BlockTag.parse(value) == tag


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.from_regex(r"0[xX][0-9a-fA-F]{0,70}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["blockHash", "blockNumber"]), inner),
)


@given(st.sampled_from(sorted(PARSERS, key=str)), JSON)
def test_anything_is_read_or_refused(kind: type, value: Any) -> None:
    """Never another error than ValueError, which becomes -32602."""
    try:
        read = from_json(kind, value)
    except ValueError:
        return
    assert type(read) is kind
