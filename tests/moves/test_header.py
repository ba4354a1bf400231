"""Headers have one encoding; every byte of it is bound by the block hash."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow.errors import Rule, Verdict
from manaflow.moves.header import HEADER_VERSION, MAX_EXTRA_DATA, MAX_HEADER_BYTES, Header

HASHES = {
    "config", "parent_hash", "seen_parent_hash", "prevrandao", "parent_beacon_root", "transactions_root", "codes_root",
    "withdrawals_root", "history_root",
}  # fmt: skip
WORDS = {"fees"}
NAMES = [field.name for field in fields(Header)]
NUMBERS = [name for name in NAMES if name not in HASHES | {"version", "coinbase", "extra_data"}]


def value_of(name: str, position: int) -> int | bytes:
    """A value that differs from field to field."""
    if name == "version":
        return HEADER_VERSION
    if name == "coinbase":
        return bytes((position,)) * 20
    if name == "extra_data":
        return b"extra"
    return bytes((position,)) * 32 if name in HASHES else 1000 + position


HEADER = Header(**{name: value_of(name, i) for i, name in enumerate(NAMES)})  # type: ignore[arg-type]


def refused(data: bytes) -> None:
    with pytest.raises(Verdict) as caught:
        Header.decode(data)
    assert caught.value.rule == Rule.B1


def items() -> list[object]:
    return [getattr(HEADER, name) for name in NAMES]


def with_item(name: str, value: object) -> bytes:
    return bytes(rlp.encode([value if other == name else item for other, item in zip(NAMES, items(), strict=True)]))


def test_encoding_is_the_fields_in_order() -> None:
    assert HEADER.encode() == rlp.encode(items())
    assert HEADER.hash == hashlib.sha256(HEADER.encode()).digest()
    assert Header.decode(HEADER.encode()) == HEADER


def test_largest_header_fits() -> None:
    largest = {name: 2 ** (256 if name in WORDS else 64) - 1 for name in NUMBERS}
    header = replace(HEADER, extra_data=b"x" * MAX_EXTRA_DATA, **largest)  # type: ignore[arg-type]
    assert len(header.encode()) <= MAX_HEADER_BYTES
    assert Header.decode(header.encode()) == header


def test_every_flipped_bit_is_refused_or_another_header() -> None:
    encoded = HEADER.encode()
    seen = {HEADER.hash}
    for at in range(len(encoded)):
        for bit in range(8):
            changed = encoded[:at] + bytes((encoded[at] ^ 1 << bit,)) + encoded[at + 1 :]
            try:
                header = Header.decode(changed)
            except Verdict:
                continue
            assert header != HEADER
            assert header.encode() == changed
            assert header.hash not in seen
            seen.add(header.hash)


def test_invalid_truncated_or_extended() -> None:
    encoded = HEADER.encode()
    for length in range(len(encoded)):
        refused(encoded[:length])
    refused(encoded + b"\0")
    refused(rlp.encode([*items(), 0]))
    refused(rlp.encode(items()[:-1]))
    refused(encoded + bytes(MAX_HEADER_BYTES))


@pytest.mark.parametrize("name", NUMBERS)
def test_both_sides_of_each_number(name: str) -> None:
    largest = 2 ** (256 if name in WORDS else 64) - 1
    for value in (0, 127, 128, largest):
        assert getattr(Header.decode(with_item(name, value)), name) == value
    refused(with_item(name, largest + 1))
    for non_canonical in (b"\0", b"\0\1", [], [1]):
        refused(with_item(name, non_canonical))


@pytest.mark.parametrize("name", [*sorted(HASHES), "coinbase"])
def test_invalid_widths(name: str) -> None:
    width = len(getattr(HEADER, name))
    for value in (b"", b"x" * (width - 1), b"x" * (width + 1), [b"x" * width]):
        refused(with_item(name, value))


def test_invalid_version_and_extra_data() -> None:
    refused(with_item("version", HEADER_VERSION + 1))
    refused(with_item("version", 0))
    refused(with_item("extra_data", b"x" * (MAX_EXTRA_DATA + 1)))
    refused(with_item("extra_data", []))
    assert Header.decode(with_item("extra_data", b"")).extra_data == b""


def test_invalid_encodings_of_the_same_fields() -> None:
    encoded = HEADER.encode()
    assert encoded[0] == 0xF9
    payload = encoded[3:]
    refused(b"\xfa\x00" + encoded[1:3] + payload)
    refused(encoded[:1] + (len(payload) + 1).to_bytes(2, "big") + b"\x81" + payload)
    refused(encoded[:1] + (len(payload) + 1).to_bytes(2, "big") + b"\xb8\x01" + payload[1:])


def test_invalid_nesting() -> None:
    """As deep as the length allows, and read from deep within a program: no stack overflow."""
    data = b""
    while len(data) < MAX_HEADER_BYTES - 4:
        data = bytes(rlp.codec.length_prefix(len(data), 0xC0)) + data

    def deeper(levels: int) -> None:
        if levels:
            deeper(levels - 1)
        else:
            refused(data)

    deeper(500)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_invalid_any_bytes(data: bytes) -> None:
    refused(data)
