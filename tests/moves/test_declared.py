"""S2: declared envelopes decode to what was signed; whatever is not their one encoding is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from manaflow.errors import Rule, Verdict
from manaflow.evm.encoding import encode_envelope
from manaflow.moves.declared import MAX_SIGNED_MOVES, domain_separator, signed_form, signing_hash, typed_data
from manaflow.moves.envelopes import MAX_ENVELOPE_BYTES, decode_envelope, recover_sender
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32, Mark, Mask
from manaflow.moves.signatures import CURVE_ORDER
from manaflow.moves.transactions import AccessEntry, Flag, NamedMove
from tests.builders import OTHER_KEY, TO, Tree, address_of
from tests.declared import (
    CHAIN_ID,
    GUARD,
    LIMIT,
    MOVES,
    NAMES,
    SENDER,
    declared,
    declared_envelope,
    declared_items,
    decoded,
    encode_declared_items,
    filled,
    named_move,
    unsigned,
    word,
)

RAW = declared_envelope()


def refused(raw: bytes) -> str:
    """The reason, where S2 refuses; a failed test otherwise."""
    with pytest.raises(Verdict) as caught:
        decode_envelope(raw)
    assert caught.value.rule == Rule.S2
    return str(caught.value)


def broken(**changed: Tree) -> bytes:
    """An envelope whose items are changed after it was signed."""
    return encode_declared_items(declared_items() | changed)


def with_moves(*moves: Tree) -> bytes:
    return broken(moves=list(moves))


def item(**changed: Tree) -> list[Tree]:
    """A storage consume whose intx alone is masked, as the envelope writes it."""
    fields: dict[str, Tree] = {
        "mask": b"\1", "mark": b"s", "intx": b"", "addr": TO, "slot": word(1), "prev": word(2), "next": word(3),
    }  # fmt: skip
    return list((fields | changed).values())


def test_fields_are_those_that_were_signed() -> None:
    tx = decoded(RAW)
    assert (tx.type, tx.chain_id, tx.nonce, tx.gas_limit, tx.to) == (0x4D, CHAIN_ID, 9, 100_000, TO)
    assert (tx.max_priority_fee, tx.max_fee, tx.value, tx.data) == (2 * 10**9, 20 * 10**9, 10**18, b"\x00\xa9\x05")
    assert tx.access_list == (AccessEntry(TO, (word(1), word(2))), AccessEntry(b"\x09" * 20, ()))
    assert (tx.valid_until, tx.flags, tx.is_open, tx.must_succeed) == (0, 1, True, False)
    assert tx.moves == tuple(sorted(MOVES, key=lambda move: move.sort_key))
    assert (tx.guards, tx.blob_hashes, tx.authorizations, tx.max_fee_per_blob_gas) == (1, (), (), 0)
    assert tx.txid == keccak256(RAW)
    assert tx.signing_hash == signing_hash(tx)
    assert recover_sender(tx) == SENDER
    assert encode_envelope(tx) == RAW


FIELDS: dict[str, list[Any]] = {
    "nonce": [0, 2**64 - 1], "max_priority_fee": [0, 2**256 - 1], "max_fee": [0, 2**256 - 1],
    "gas_limit": [0, 2**64 - 1], "to": [b"", bytes(20)], "value": [0, 2**256 - 1], "data": [b"", bytes(300)],
    "access_list": [(), (AccessEntry(TO, ()),)], "valid_until": [1, 2**64 - 1], "flags": [0, 2, 3],
    "moves": [(), MOVES[1:], (*MOVES, MOVES[0])], "chain_id": [0, 1, 2**64 - 1],
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_signed_and_returns(name: str) -> None:
    hashes = {declared().signing_hash}
    for value in FIELDS[name]:
        value = tuple(sorted(value, key=lambda move: move.sort_key)) if name == "moves" else value
        raw = declared_envelope(**{name: value})
        transaction = decoded(raw)
        assert getattr(transaction, name) == value
        assert recover_sender(transaction) == SENDER
        assert encode_envelope(transaction) == raw
        hashes.add(transaction.signing_hash)
    assert len(hashes) == len(FIELDS[name]) + 1


def test_every_field_of_a_move_is_signed() -> None:
    whole = named_move(0, intx=b"\1" * 32, slot=1, prev=2, after=3)
    changed = {
        "mask": int(Mask.REFERENCE), "mark": ord("b"), "intx": ZERO32, "addr": ZERO20, "slot": ZERO32, "prev": ZERO32,
        "next": ZERO32,
    }  # fmt: skip
    assert set(changed) == set(NamedMove.__slots__)
    moves = [whole, *(replace(whole, **{name: value}) for name, value in changed.items())]
    assert len({signing_hash(unsigned((move,))) for move in moves}) == 8


@pytest.mark.parametrize("mask", [mask for mask in range(256) if mask & UNSIGNED != UNSIGNED])
def test_every_mask(mask: int) -> None:
    """Accepted, unless it is a guard that is no reference, or whose mark, address or slot is masked."""
    move = named_move(mask, intx=b"\7" * 32, slot=1, prev=2, after=3)
    raw = declared_envelope((move,))
    if mask & Mask.GUARD and (not mask & Mask.REFERENCE or mask & (Mask.MARK | Mask.ADDR | Mask.SLOT)):
        assert "a guard is a reference" in refused(raw)
        return
    assert decoded(raw).moves == (move,)
    whole = filled(move)
    assert signed_form(whole, move.intx) == move
    for bit, name in LIMIT.items():
        value: Any = 5 if name == "mark" else b"\5" * (20 if name == "addr" else 32)
        changed = whole if name == "intx" else replace(whole, **{name: value})
        form = signed_form(changed, value if name == "intx" else move.intx)
        assert (form == move) == bool(mask & bit), name


def test_invalid_truncated_or_extended() -> None:
    for length in range(1, len(RAW)):
        refused(RAW[:length])
    refused(RAW + b"\0")
    refused(RAW + RAW)


@pytest.mark.parametrize("name", NAMES)
def test_invalid_items(name: str) -> None:
    items = declared_items()
    refused(encode_declared_items({other: value for other, value in items.items() if other != name}))
    refused(broken(**{name: b"\x01" if isinstance(items[name], list) else [items[name]]}))
    refused(encode_declared_items(items | {"more": b""}))


WIDTHS = {
    "chain_id": 8, "nonce": 8, "tip": 32, "fee": 32, "gas_limit": 8, "value": 32, "valid_until": 8, "flags": 1,
    "y_parity": 1, "r": 32, "s": 32,
}  # fmt: skip


@pytest.mark.parametrize("name", WIDTHS)
def test_invalid_integers(name: str) -> None:
    assert "more than" in refused(broken(**{name: 256 ** WIDTHS[name]}))
    for zero in (b"\x00\x01", b"\x00"):
        assert "leading zero" in refused(broken(**{name: zero})) or (name in ("flags", "y_parity") and len(zero) > 1)


def test_invalid_flags() -> None:
    for flags in (4, 5, 8, 128, 255):
        assert "bits that nobody knows" in refused(broken(flags=flags))
    assert [decoded(broken(flags=flags)).flags for flags in range(4)] == [0, Flag.OPEN, Flag.MUST_SUCCEED, 3]


def test_recipient() -> None:
    for length in (1, 19, 21, 32):
        assert "to: " in refused(broken(to=b"\1" * length))


@pytest.mark.parametrize("access_list", [[[TO]], [[TO, [], []]], [[TO[:19], []]], [[TO, [b"\1" * 31]]], [TO], [[]]])
def test_invalid_access_lists(access_list: Tree) -> None:
    assert "access entry" in refused(broken(access_list=access_list))


def test_moves_as_written() -> None:
    assert decoded(with_moves(item())).moves[0].slot == word(1)
    assert decoded(with_moves(item(mask=b"\0", intx=ZERO32))).moves[0].mask == 0


@pytest.mark.parametrize(
    ("move", "why"),
    [
        (item()[:-1], "next of a move: missing"),
        ([*item(), b""], "a move: something follows"),
        ([*item(), []], "a move: something follows"),
        ([], "mask of a move: missing"),
        (b"", "bytes where a list belongs"),
        (item(mask=b""), "0 bytes instead of 1"),
        (item(mask=b"\0\1"), "2 bytes instead of 1"),
        (item(mask=b"\x3f", mark=b"", addr=b"", slot=b"", prev=b"", next=b""), "nothing of it is signed"),
        (item(mask=b"\xbf", mark=b"", addr=b"", slot=b"", prev=b"", next=b""), "nothing of it is signed"),
        (item(intx=ZERO32), "intx of a move: masked and not empty"),
        (item(intx=b"\0"), "intx of a move: masked and not empty"),
        (item(intx=[]), "a list where bytes belong"),
        (item(mask=b"\0"), "intx of a move: 0 bytes instead of 32"),
        (item(mark=b""), "mark of a move: 0 bytes"),
        (item(mark=b"ss"), "mark of a move: 2 bytes"),
        (item(addr=TO[1:]), "addr of a move: 19 bytes"),
        (item(addr=b"\0" + TO), "addr of a move: 21 bytes"),
        *((item(**{name: b"\1"}), f"{name} of a move: 1 bytes") for name in ("slot", "prev", "next")),
        *((item(**{name: b"\1" * 33}), f"{name} of a move: 33 bytes") for name in ("slot", "prev", "next")),
        (item(mask=b"\x41"), "a guard is a reference"),
        (item(mask=b"\xc9", slot=b""), "a guard is a reference"),
    ],
)
def test_invalid_moves(move: Tree, why: str) -> None:
    assert why in refused(with_moves(move))


def test_order_of_moves() -> None:
    """Ascending by all seven fields, equal ones side by side."""
    first = item(mask=b"\0", intx=ZERO32)
    later = [
        item(mask=b"\x80", intx=ZERO32), item(mask=b"\0", mark=b"t", intx=ZERO32), item(mask=b"\0", intx=word(1)),
        item(mask=b"\0", intx=ZERO32, addr=b"\xff" * 20), item(mask=b"\0", intx=ZERO32, slot=word(2)),
        item(mask=b"\0", intx=ZERO32, prev=word(3)), item(mask=b"\0", intx=ZERO32, next=word(4)),
    ]  # fmt: skip
    for second in (first, *later):
        assert len(decoded(with_moves(first, second)).moves) == 2
    for second in later:
        assert "not in ascending order" in refused(with_moves(second, first))


def test_invalid_signature_ranges() -> None:
    items = {name: int.from_bytes(value, "big") for name, value in declared_items().items() if name in ("r", "s")}
    for name, bad in (("r", 0), ("r", CURVE_ORDER), ("s", 0), ("s", CURVE_ORDER - items["s"]), ("s", CURVE_ORDER)):
        assert "r and s" in refused(broken(**{name: bad}))
    for y_parity in (2, 27):
        assert "y parity" in refused(broken(y_parity=y_parity))
    parity = int.from_bytes(declared_items()["y_parity"], "big")
    assert recover_sender(decode_envelope(broken(y_parity=1 - parity))) != SENDER


def test_invalid_signature_without_a_sender() -> None:
    p = 2**256 - 2**32 - 977
    r = next(x for x in range(2, 100) if pow(x**3 + 7, (p - 1) // 2, p) != 1)
    with pytest.raises(Verdict) as caught:
        recover_sender(decode_envelope(broken(r=r)))
    assert caught.value.rule == Rule.S2


def test_invalid_lengths() -> None:
    overhead = len(declared_envelope(data=bytes(2**16))) - 2**16
    longest = declared_envelope(data=bytes(MAX_ENVELOPE_BYTES - overhead))
    assert len(longest) == MAX_ENVELOPE_BYTES
    decode_envelope(longest)
    assert "length" in refused(declared_envelope(data=bytes(MAX_ENVELOPE_BYTES - overhead + 1)))
    refused(b"\x4d")


def test_the_domain_is_of_one_chain() -> None:
    assert domain_separator(1) != domain_separator(2)
    assert len({signing_hash(unsigned(chain_id=chain_id)) for chain_id in (0, 1, 2, 2**64 - 1)}) == 4


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"moves": ()}, {"to": b""}, {"access_list": ()}, {"chain_id": 1}, {"chain_id": 2**64 - 1}, {"data": b""},
        {"nonce": 2**64 - 1, "gas_limit": 2**64 - 1, "max_fee": 2**256 - 1, "value": 2**256 - 1, "flags": 3},
        {"valid_until": 2**53 + 1}, {"moves": (GUARD, GUARD)},
    ],
)  # fmt: skip
def test_eth_account_signs_the_same(fields: dict[str, Any]) -> None:
    """The typed data, through JSON, is what wallets sign: the same hash and the same signature."""
    transaction = declared(key=OTHER_KEY, **fields)
    shown = json.loads(json.dumps(typed_data(transaction)))
    message = encode_typed_data(full_message=shown)
    assert message.header == domain_separator(transaction.chain_id or 0)
    signature = Account.from_key(OTHER_KEY.secret).sign_message(message)
    assert signature.message_hash == transaction.signing_hash
    assert (signature.v - 27, signature.r, signature.s) == (transaction.y_parity, transaction.r, transaction.s)
    recovered = Account.recover_message(message, signature=signature.signature)
    assert recovered.lower() == "0x" + address_of(OTHER_KEY).hex()


def test_the_most_moves() -> None:
    """The smallest have eight bytes: they share what is masked, so that memory grows with the bytes."""
    smallest = named_move(UNSIGNED & ~Mask.MARK, Mark.BALANCE)
    transaction = declared((smallest,) * MAX_SIGNED_MOVES)
    assert len(transaction.moves) == MAX_SIGNED_MOVES == 8192
    assert len({id(move.slot) for move in transaction.moves}) == 1
    assert "moves: more than 8192" in refused(declared_envelope((smallest,) * (MAX_SIGNED_MOVES + 1)))
