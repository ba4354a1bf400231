"""The native decoder of declared envelopes is the Python one's twin: the same verdict, the same fields, one sender."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import numpy as np
import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow import _native
from manaflow.errors import Rule
from manaflow.evm.envelopes import decode_envelopes, decode_envelopes_in_python
from manaflow.moves.declared import MAX_SIGNED_MOVES
from manaflow.moves.envelopes import MAX_ENVELOPE_BYTES
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask
from manaflow.moves.transactions import DECLARED_TYPE, AccessEntry
from tests.builders import OTHER_KEY, TO, TYPES, Tree, envelope
from tests.declared import (
    GUARD,
    MOVES,
    NAMES,
    SENDER,
    declared_envelope,
    declared_items,
    encode_declared_items,
    named_move,
    word,
)
from tests.evm.test_native_envelopes import (
    ODD_BYTES,
    ODD_INTEGERS,
    ODD_LISTS,
    ODD_SCALARS,
    SIZE,
    agree,
    assert_equal,
    encoded,
    places,
    replaced,
)

DECLARED = bytes((DECLARED_TYPE,))
ODD_MOVES: list[Tree] = [
    [b"\1", b"s", b"", TO, ZERO32, ZERO32, ZERO32], [b"\0", b"s", ZERO32, TO, ZERO32, ZERO32, ZERO32],
    [b"\x1f", b"b", b"", b"", b"", b"", b""], [b"\xc7", b"n", b"", TO, ZERO32, b"", b""],
    [b"\x3f", *[b""] * 6], [b"\xbf", *[b""] * 6], [b"\x47", b"n", b"", TO, ZERO32, b"", b""],
    [b"\1", b"s", ZERO32, TO, ZERO32, ZERO32, ZERO32], [b"\1", b"s", b"", TO, ZERO32, ZERO32, ZERO32, b""],
    [b"\1", b"s", b"", TO, ZERO32, ZERO32], [],
]  # fmt: skip
ODD: list[Tree] = [*ODD_INTEGERS, *ODD_SCALARS, *ODD_BYTES, *ODD_LISTS, *ODD_MOVES, ODD_MOVES[:2], ODD_MOVES[1::-1]]


def samples() -> list[bytes]:
    """Envelopes of every shape, all signed."""
    by_mask = [named_move(mask, intx=b"\7" * 32, slot=1, prev=2, after=3) for mask in range(256)
               if mask & UNSIGNED != UNSIGNED and not mask & Mask.GUARD]  # fmt: skip
    large = {"chain_id": 2**64 - 1, "nonce": 2**64 - 1, "gas_limit": 2**64 - 1, "max_fee": 2**256 - 1}
    small = {"chain_id": 0, "nonce": 0, "gas_limit": 0, "max_fee": 0, "max_priority_fee": 0, "value": 0, "data": b""}
    return [
        declared_envelope(),
        declared_envelope(()),
        declared_envelope(tuple(by_mask)),
        declared_envelope((GUARD, GUARD)),
        declared_envelope(to=b""),
        declared_envelope(access_list=()),
        declared_envelope(access_list=(AccessEntry(TO, ()),)),
        *(declared_envelope(flags=flags, valid_until=7 << (9 * flags)) for flags in range(4)),
        declared_envelope(data=bytes(999), **large),
        declared_envelope(**small),
        declared_envelope(key=OTHER_KEY),
    ]


def test_made_envelopes() -> None:
    for raw in samples():
        assert agree(raw)


@pytest.mark.parametrize("mask", range(256))
def test_every_mask(mask: int) -> None:
    """As its own signer would encode it, and with each field masked or not against what the mask says."""
    move = [bytes((mask,))]
    for name, bit in (("mark", 32), ("intx", 1), ("addr", 16), ("slot", 8), ("prev", 2), ("next", 4)):
        width = {"mark": 1, "addr": 20}.get(name, 32)
        move.append(b"" if mask & bit else b"\5" * width)
    outcomes = [agree(encode_declared_items(declared_items() | {"moves": [move]}))]
    for at in range(1, 7):
        lie = [*move[:at], b"" if move[at] else b"\5" * {1: 1, 3: 20}.get(at, 32), *move[at + 1 :]]
        outcomes.append(agree(encode_declared_items(declared_items() | {"moves": [lie]})))
    guards = bool(mask & Mask.GUARD) and (not mask & Mask.REFERENCE or bool(mask & 56))
    assert outcomes == [mask & UNSIGNED != UNSIGNED and not guards] + [False] * 6


def test_order_of_moves() -> None:
    rng = random.Random(5)
    outcomes = set()
    for _ in range(200 * SIZE):
        moves = [
            [b"\x80", rng.choice((b"b", b"s")), word(rng.randrange(2)), rng.choice((TO, bytes(20))), ZERO32,
             word(rng.randrange(2)), word(rng.randrange(2))] for _ in range(rng.randint(2, 3))
        ]  # fmt: skip
        outcomes.add(agree(encode_declared_items(declared_items() | {"moves": moves})))
    assert outcomes == {True, False}


def test_damaged_envelopes() -> None:
    rng = random.Random(77)
    outcomes = set()
    for raw, _ in product(samples(), range(60 * SIZE)):
        damaged = bytearray(raw)
        at = rng.randrange(1, len(damaged))
        damaged[at : at + rng.randint(0, 2)] = rng.choice(
            (b"", b"\0", b"\x80", b"\x81", b"\xa0", b"\xc0", b"\xff", rng.randbytes(1), rng.randbytes(2))
        )
        outcomes.add(agree(bytes(damaged)))
        outcomes.add(agree(raw[: rng.randrange(len(raw))]))
        outcomes.add(agree(raw + rng.randbytes(1)))
    assert outcomes == {True, False}


@pytest.mark.parametrize("name", NAMES)
def test_each_item_replaced_by_each_odd_value(name: str) -> None:
    items = declared_items()
    for value in ODD:
        agree(encode_declared_items(items | {name: value}))
    assert [agree(encode_declared_items(items | {"moves": [move]})) for move in ODD_MOVES] == [True] * 4 + [False] * 7
    assert not agree(encode_declared_items({other: value for other, value in items.items() if other != name}))


@pytest.mark.parametrize("form", ["byte", "digits", "zero"])
def test_each_node_in_a_longer_form(form: str) -> None:
    tree: Tree = list(declared_items(declared_envelope(nonce=1)).values())
    canonical = rlp.encode(tree)
    refused = 0
    for place in [(), *places(tree)]:
        raw = encoded(tree, place, form)
        assert agree(DECLARED + raw) == (raw == canonical)
        refused += raw != canonical
    assert refused >= 6


@settings(derandomize=True, deadline=None, max_examples=500 * SIZE)
@given(st.data())
def test_any_nodes_replaced(data: st.DataObject) -> None:
    tree: Tree = list(declared_items().values())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(tree)))
        tree = replaced(tree, place, data.draw(st.one_of(st.sampled_from(ODD), st.binary(max_size=60))))
    agree(DECLARED + rlp.encode(tree))


@settings(derandomize=True, deadline=None, max_examples=500 * SIZE)
@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    agree(DECLARED + raw)


def test_the_longest_envelope() -> None:
    overhead = len(declared_envelope(data=bytes(2**16))) - 2**16
    assert agree(declared_envelope(data=bytes(MAX_ENVELOPE_BYTES - overhead)))
    raw = declared_envelope(data=bytes(MAX_ENVELOPE_BYTES - overhead + 1))
    assert not agree(raw)
    assert decode_envelopes([raw]).code.tolist() == decode_envelopes_in_python([raw]).code.tolist() == [Rule.S2]


def test_the_most_moves() -> None:
    smallest = named_move(UNSIGNED & ~Mask.MARK, Mark.BALANCE)
    assert agree(declared_envelope((smallest,) * MAX_SIGNED_MOVES))
    assert not agree(declared_envelope((smallest,) * (MAX_SIGNED_MOVES + 1)))


def test_columns_are_the_twins() -> None:
    rng = random.Random(3)
    raws = [*samples(), *(envelope(kind) for kind in TYPES), envelope(2)[:-1], b"", DECLARED]
    raws += [raw[:-1] + bytes((raw[-1] ^ rng.randrange(256),)) for raw in samples()]
    raws += [encode_declared_items(declared_items() | {"r": 5}), encode_declared_items(declared_items() | {"flags": 4})]
    expected = decode_envelopes_in_python(raws)
    assert set(expected.code.tolist()) == {0, Rule.S1, Rule.S2}
    for threads in (0, 1, 3):
        assert_equal(decode_envelopes(raws, threads), expected)


def test_columns_say_what_validators_ask() -> None:
    columns = decode_envelopes([declared_envelope(valid_until=2**40, flags=3), envelope(2)])
    said: dict[str, list[Any]] = {
        "code": [0, 0], "type": [DECLARED_TYPE, 2], "valid_until": [2**40, 0], "flags": [3, 0], "guards": [1, 0],
        "signed_moves": [len(MOVES), 0],
    }  # fmt: skip
    assert {name: getattr(columns, name).tolist() for name in said} == said
    assert {name: getattr(columns, name).dtype for name in said} == {
        "code": np.uint8, "type": np.uint8, "valid_until": np.uint64, "flags": np.uint8, "guards": np.uint32,
        "signed_moves": np.uint32,
    }  # fmt: skip
    assert columns.sender[0].tobytes() == SENDER


def test_no_authority_signs_a_declared_envelope() -> None:
    assert _native.recover_authorities(declared_envelope()) == []
