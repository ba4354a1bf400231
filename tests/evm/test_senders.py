"""A sender is recovered once and remembered by txid; what is remembered is never another envelope's."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow import _native
from manaflow.errors import Rule
from manaflow.evm.envelopes import decode_envelopes, decode_envelopes_in_python
from manaflow.moves.signatures import CURVE_ORDER
from tests.builders import KEY, OTHER_KEY, TYPES, address_of, encode_items, envelope, envelope_items

NONCES = count(10**6)
"""Of envelopes that no test has decoded before."""


def recovered_by(*envelopes: bytes) -> int:
    """How many senders it takes to decode these."""
    before = _native.senders_recovered()
    decode_envelopes(envelopes)
    return _native.senders_recovered() - before


def test_what_is_refused_stands_between_what_is_remembered() -> None:
    raws = [envelope(2, nonce=next(NONCES)) for _ in range(2)]
    known = decode_envelopes(raws)
    mixed = [raws[0], b"\2\xc0", raws[1], b""]
    assert recovered_by(*mixed) == 0
    found = decode_envelopes(mixed)
    assert found.code.tolist() == [0, Rule.S1, 0, Rule.S1]
    for name in ("sender", "txid", "nonce", "max_fee", "chain_id"):
        assert getattr(found, name)[[0, 2]].tolist() == getattr(known, name).tolist()
        assert not getattr(found, name)[[1, 3]].any()


def senders(*envelopes: bytes) -> list[bytes]:
    return [row.tobytes() for row in decode_envelopes(envelopes).sender]


def test_a_sender_is_recovered_once() -> None:
    raws = [envelope(kind, nonce=next(NONCES)) for kind in TYPES]
    assert recovered_by(*raws) == len(raws)
    assert recovered_by(*raws) == 0
    assert recovered_by(*reversed(raws), envelope(2, nonce=next(NONCES))) == 1
    assert senders(*raws) == [address_of(KEY)] * len(raws)


@pytest.mark.parametrize("kind", TYPES)
def test_who_signs_the_same_fields_is_another_sender(kind: int) -> None:
    nonce = next(NONCES)
    one, other = envelope(kind, nonce=nonce), envelope(kind, OTHER_KEY, nonce=nonce)
    assert senders(one) == [address_of(KEY)]
    assert senders(other, one, other) == [address_of(key) for key in (OTHER_KEY, KEY, OTHER_KEY)]


def changed_signature(**changed: Any) -> tuple[bytes, bytes]:
    """An envelope of type 2, and the same with another signature."""
    items = envelope_items(2, KEY, nonce=next(NONCES))
    return encode_items(2, items), encode_items(2, items | {n: change(items[n]) for n, change in changed.items()})


def test_another_signature_is_another_envelope() -> None:
    raw, flipped = changed_signature(y_parity=lambda parity: 1 - parity)
    assert senders(raw) == [address_of(KEY)]
    assert senders(flipped) == [decode_envelopes_in_python([flipped]).sender[0].tobytes()] != [address_of(KEY)]


def test_what_the_rules_refuse_is_refused_beside_what_is_remembered() -> None:
    """The other form of a signature recovers the same sender, and is none (EIP-2)."""
    raw, high = changed_signature(y_parity=lambda parity: 1 - parity, s=lambda s: CURVE_ORDER - s)
    assert senders(raw) == [address_of(KEY)]
    assert decode_envelopes([raw, high, raw + b"\0", raw[:-1]]).code.tolist() == [0, Rule.S1, Rule.S1, Rule.S1]


def test_who_cannot_be_recovered_is_not_remembered() -> None:
    p = 2**256 - 2**32 - 977
    no_point = next(x for x in range(1, 100) if pow(x**3 + 7, (p - 1) // 2, p) != 1)
    _, nobody = changed_signature(r=lambda r: no_point)
    for _ in range(2):
        assert recovered_by(nobody) == 1
        assert decode_envelopes([nobody]).code.tolist() == [Rule.S1]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TYPES), st.integers(0, 1 << 16), st.integers(1, 255))
def test_a_changed_byte_never_finds_the_sender_of_the_original(kind: int, at: int, flip: int) -> None:
    raw = envelope(kind, nonce=7)
    decode_envelopes([raw])
    changed = bytearray(raw)
    changed[at % len(raw)] ^= flip
    native, plain = (decode(2 * [bytes(changed)]) for decode in (decode_envelopes, decode_envelopes_in_python))
    assert np.array_equal(native.code, plain.code)
    assert np.array_equal(native.sender, plain.sender)
    assert np.array_equal(native.txid, plain.txid)


def test_nothing_outside_can_put_a_sender_there() -> None:
    """The library offers the count, and nothing that writes."""
    assert [name for name in dir(_native) if "sender" in name] == ["senders_recovered"]


def test_an_envelope_that_does_not_decode_recovers_nobody() -> None:
    assert recovered_by(b"", b"\2" + rlp.encode([1, 2, 3]), envelope(2)[:-1]) == 0
