"""The native decoder is the Python one's twin: the same verdict and the same fields for every input."""

from __future__ import annotations

import random
from dataclasses import astuple, fields, replace
from typing import Any

import numpy as np
import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow import _native
from manaflow.errors import Rule, Verdict
from manaflow.evm.envelopes import (
    EnvelopeColumns,
    decode_envelopes,
    decode_envelopes_in_python,
    effective_prices,
)
from manaflow.moves.envelopes import MAX_ENVELOPE_BYTES, decode_envelope, recover_authority
from manaflow.moves.signatures import CURVE_ORDER
from tests.builders import (
    OTHER_KEY,
    TO,
    TYPES,
    Tree,
    address_of,
    authorization,
    encode_items,
    envelope,
    envelope_items,
    r_beyond_the_order,
    real_envelopes,
    state_test_transactions,
)
from tests.conftest import is_nightly

SIZE = 20 if is_nightly() else 1
ODD_INTEGERS = [
    0,
    1,
    27,
    28,
    35,
    127,
    128,
    255,
    256,
    2**64 - 1,
    2**64,
    2**65 + 34,
    2**65 + 35,
    2**128,
    2**256 - 1,
    2**256,
]
ODD_SCALARS = [CURVE_ORDER // 2, CURVE_ORDER // 2 + 1, CURVE_ORDER - 1, CURVE_ORDER]
ODD_BYTES = [
    b"",
    b"\0",
    b"\0\1",
    b"\x7f",
    b"\x80",
    TO,
    TO[:19],
    TO + b"\1",
    bytes(32),
    b"\1" * 31,
    b"\1" * 33,
    b"\1" * 56,
]
ODD_LISTS: list[Tree] = [
    [],
    [[]],
    [b""],
    [TO],
    [[TO, []]],
    [[TO, [bytes(32)]]],
    [[TO, [bytes(31)]]],
    [[1, TO, 2, 0, 3, 4]],
]


def agree(raw: bytes) -> bool:
    """True if both accept, and then every field is equal; False if both refuse."""
    try:
        expected: tuple[Any, ...] | None = astuple(decode_envelope(raw))
    except Verdict:
        expected = None
    assert _native.decode_envelope(raw) == expected, raw.hex()
    return expected is not None


def test_real_envelopes_and_state_tests() -> None:
    for raw, *_ in real_envelopes() + state_test_transactions():
        assert agree(raw)


def test_damaged_real_envelopes() -> None:
    """Bytes changed, removed, doubled or added anywhere, most often near the structure at the start."""
    rng = random.Random(9372)
    outcomes = set()
    for raw, *_ in real_envelopes() + state_test_transactions():
        for _ in range(2 * SIZE):
            damaged = bytearray(raw)
            for _ in range(rng.randint(1, 2)):
                at = rng.randrange(min(len(damaged), rng.choice((12, 140, len(damaged)))) or 1)
                damaged[at : at + rng.randint(0, 2)] = rng.choice(
                    (b"", b"\0", b"\x80", b"\x81", b"\xc0", b"\xff", rng.randbytes(1), rng.randbytes(2))
                )
            outcomes.add(agree(bytes(damaged)))
        outcomes.add(agree(raw[: rng.randrange(len(raw))]))
        outcomes.add(agree(raw + rng.randbytes(1)))
    assert outcomes == {True, False}


@pytest.mark.parametrize("kind", TYPES)
def test_each_item_replaced_by_each_odd_value(kind: int) -> None:
    items = envelope_items(kind)
    outcomes = set()
    for name in items:
        for value in [*ODD_INTEGERS, *ODD_SCALARS, *ODD_BYTES, *ODD_LISTS]:
            outcomes.add(agree(encode_items(kind, items | {name: value})))
    assert outcomes == {True, False}


def places(tree: Tree, here: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """The position of every node below a tree's root."""
    if not isinstance(tree, list):
        return [here]
    return [here] * bool(here) + [place for i, child in enumerate(tree) for place in places(child, (*here, i))]


def replaced(tree: Tree, place: tuple[int, ...], value: Tree) -> Tree:
    if not place:
        return value
    return [replaced(child, place[1:], value) if i == place[0] else child for i, child in enumerate(tree)]


def prefixed(base: int, payload: bytes, form: str) -> bytes:
    """An item, in the shortest form or a longer one ("digits": its length in digits; "zero": with a leading zero)."""
    length = len(payload)
    digits = length.to_bytes(max(1, (length.bit_length() + 7) // 8), "big")
    if form == "shortest" and length < 56:
        return bytes((base + length,)) + payload
    digits = b"\0" + digits if form == "zero" else digits
    return bytes((base + 55 + len(digits),)) + digits + payload


def encoded(tree: Tree, place: tuple[int, ...] | None, form: str) -> bytes:
    """RLP with the node at `place` in another form ("byte": a byte with a prefix); every length around it fits."""
    here = form if place == () else "shortest"
    if isinstance(tree, list):
        below = [place[1:] if place and place[0] == i else None for i in range(len(tree))]
        return prefixed(0xC0, b"".join(encoded(t, p, form) for t, p in zip(tree, below, strict=True)), here)
    item = rlp.sedes.big_endian_int.serialize(tree) if isinstance(tree, int) else tree
    if len(item) == 1 and item[0] < 0x80 and here == "shortest":
        return item
    return prefixed(0x80, item, "shortest" if here == "byte" else here)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("form", ["byte", "digits", "zero"])
def test_each_node_in_a_longer_form(kind: int, form: str) -> None:
    tree: Tree = list(envelope_items(kind, nonce=1).values())
    canonical = rlp.encode(tree)
    assert encoded(tree, None, form) == canonical
    refused = 0
    for place in [(), *places(tree)]:
        raw = encoded(tree, place, form)
        assert agree((bytes((kind,)) if kind else b"") + raw) == (raw == canonical)
        refused += raw != canonical
    assert refused >= (1 if form == "byte" else 8)


@settings(derandomize=True, deadline=None, max_examples=500 * SIZE)
@given(st.sampled_from(TYPES), st.data())
def test_any_nodes_replaced(kind: int, data: st.DataObject) -> None:
    tree: Tree = list(envelope_items(kind).values())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(tree)))
        leaf = st.one_of(st.sampled_from([*ODD_INTEGERS, *ODD_SCALARS, *ODD_BYTES, *ODD_LISTS]), st.binary(max_size=60))
        tree = replaced(tree, place, data.draw(leaf))
    agree((bytes((kind,)) if kind else b"") + rlp.encode(tree))


@settings(derandomize=True, deadline=None, max_examples=1000 * SIZE)
@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    agree(raw)
    agree(b"\x02" + raw)


def test_the_longest_envelope() -> None:
    overhead = len(envelope(2, data=bytes(2**16))) - 2**16
    assert agree(envelope(2, data=bytes(MAX_ENVELOPE_BYTES - overhead)))
    assert not agree(envelope(2, data=bytes(MAX_ENVELOPE_BYTES - overhead + 1)))
    assert not agree(b"")


def test_authorities_are_the_twins() -> None:
    for raw, _, signers in state_test_transactions():
        assert _native.recover_authorities(raw) == list(signers)
    chain_id, address, nonce, y_parity, r, s = authorization()
    tuples = [
        [chain_id, address, nonce, y_parity, r, s],
        [chain_id, address, nonce, 1 - y_parity, r, s],
        [chain_id, address, nonce, 1 - y_parity, r, CURVE_ORDER - s],
        [chain_id, address, nonce, y_parity + 2, r, s],
        [chain_id, address, nonce, y_parity + 27, r, s],
        [chain_id, address, nonce, 2, r_beyond_the_order(), s],
        *([chain_id, address, nonce, y_parity, odd, s] for odd in (0, 1, 5, CURVE_ORDER - 1, CURVE_ORDER)),
        *([chain_id, address, nonce, y_parity, r, odd] for odd in (0, 1, *ODD_SCALARS)),
        *([odd, address, nonce, y_parity, r, s] for odd in (0, 127, 128, 2**256 - 1)),
        *([chain_id, address, odd, y_parity, r, s] for odd in (0, 127, 128, 2**64 - 1)),
    ]
    raw = envelope(4, authorizations=tuples)
    expected = [recover_authority(one) for one in decode_envelope(raw).authorizations]
    assert expected[0] == address_of(OTHER_KEY)
    assert expected[2:7] == [None] * 5
    assert _native.recover_authorities(raw) == expected
    assert _native.recover_authorities(raw[:-1]) is None


def assert_equal(one: EnvelopeColumns, other: EnvelopeColumns) -> None:
    for field in fields(EnvelopeColumns):
        left, right = getattr(one, field.name), getattr(other, field.name)
        assert left.dtype == right.dtype, field.name
        assert left.shape == right.shape, field.name
        assert np.array_equal(left, right), field.name


def test_columns_are_the_twins() -> None:
    rng = random.Random(1)
    raws = [raw for raw, *_ in real_envelopes()[::7] + state_test_transactions()]
    raws += [envelope(kind) for kind in TYPES] + [envelope(0, chain_id=None), envelope(1, to=b"")]
    raws += [raw[:-1] + bytes((raw[-1] ^ rng.randrange(256),)) for raw in raws[::3]]
    raws += [b"", b"\x02", encode_items(2, envelope_items(2) | {"r": 5})]
    expected = decode_envelopes_in_python(raws)
    assert set(expected.code.tolist()) == {0, Rule.S1}
    for threads in (0, 1, 2, 7):
        assert_equal(decode_envelopes(raws, threads), expected)


def test_columns_of_nothing() -> None:
    none = decode_envelopes([])
    assert len(none) == 0
    assert_equal(none, decode_envelopes_in_python([]))


def test_senders_of_real_envelopes() -> None:
    columns = decode_envelopes([raw for raw, _, _ in real_envelopes()])
    assert not columns.code.any()
    assert [row.tobytes() for row in columns.sender] == [sender for _, sender, _ in real_envelopes()]
    assert [row.tobytes() for row in columns.txid] == [hashed for _, _, hashed in real_envelopes()]


@pytest.mark.parametrize("largest", [2**8, 2**56, 2**57, 2**64, 2**256])
def test_effective_prices_are_exact_at_any_size(largest: int) -> None:
    rng, columns = random.Random(largest), decode_envelopes([envelope(2)] * 40)
    fees = [(rng.randrange(largest), rng.randrange(largest)) for _ in range(39)] + [(largest - 1, largest - 1)]
    words = [b"".join(fee.to_bytes(32, "big") for fee in column) for column in zip(*fees, strict=True)]
    caps, tips = (np.frombuffer(data, np.uint8).reshape(-1, 32) for data in words)
    columns = replace(columns, max_fee=caps, max_priority_fee=tips)
    for base_fee in (0, 7, 2**56 - 1, 2**56, 2**64 - 1):
        assert effective_prices(columns, base_fee) == [min(cap, base_fee + tip) for cap, tip in fees]
