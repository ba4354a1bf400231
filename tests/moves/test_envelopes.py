"""S1: real and built envelopes decode to what was signed; whatever is not their one encoding is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import rlp

from manaflow.errors import Rule, Verdict
from manaflow.moves.envelopes import (
    MAX_ENVELOPE_BYTES,
    created_address,
    decode_envelope,
    recover_authority,
    recover_sender,
)
from manaflow.moves.hashing import keccak256
from manaflow.moves.signatures import CURVE_ORDER
from manaflow.moves.transactions import Authorization, EthereumTransaction
from tests.builders import (
    CHAIN_ID,
    FIELDS,
    KEY,
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


def refused(raw: bytes) -> str:
    """The reason, where S1 refuses; a failed test otherwise."""
    with pytest.raises(Verdict) as caught:
        decode_envelope(raw)
    assert caught.value.rule == Rule.S1
    return str(caught.value)


def broken(kind: int, **changed: Tree) -> bytes:
    """An envelope whose items are changed after it was signed."""
    return encode_items(kind, envelope_items(kind) | changed)


def test_every_real_envelope_has_its_hash_and_sender() -> None:
    for raw, sender, hashed in real_envelopes():
        transaction = decode_envelope(raw)
        assert (transaction.txid, recover_sender(transaction)) == (hashed, sender)


def test_the_example_of_eip_155() -> None:
    raw = bytes.fromhex(
        "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe5"
        "37567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
    )
    transaction = decode_envelope(raw)
    assert transaction.signing_hash.hex() == "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"
    assert (transaction.chain_id, transaction.nonce, transaction.value) == (1, 9, 10**18)
    assert recover_sender(transaction).hex() == "9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f"


@pytest.mark.parametrize("kind", TYPES)
def test_fields_are_those_that_were_signed(kind: int) -> None:
    raw = envelope(kind)
    tx = decode_envelope(raw)
    assert (tx.type, tx.chain_id, tx.nonce, tx.gas_limit, tx.to) == (kind, CHAIN_ID, 9, 21_000, TO)
    assert (tx.value, tx.data, tx.max_fee) == (10**18, b"\x00\xa9\x05", 20 * 10**9)
    assert tx.max_priority_fee == (2 * 10**9 if kind > 1 else tx.max_fee)
    entries = [(entry.address, entry.slots) for entry in tx.access_list]
    assert entries == ([(TO, (b"\x01" * 32, b"\x02" * 32)), (b"\x09" * 20, ())] if kind else [])
    assert tx.blob_hashes == ((b"\x01" * 32, b"\x01" + b"\x02" * 31) if kind == 3 else ())
    assert (tx.max_fee_per_blob_gas, tx.blob_gas) == ((3, 2 * 2**17) if kind == 3 else (0, 0))
    assert tx.authorizations == ((Authorization(*authorization()),) if kind == 4 else ())
    assert tx.txid == keccak256(raw)
    assert recover_sender(tx) == address_of(KEY)


def test_legacy_without_a_chain_id() -> None:
    transaction = decode_envelope(envelope(0, chain_id=None))
    assert transaction.chain_id is None
    assert recover_sender(transaction) == address_of(KEY)


@pytest.mark.parametrize("kind", TYPES)
def test_invalid_truncated_or_extended(kind: int) -> None:
    raw = envelope(kind)
    for length in range(len(raw)):
        refused(raw[:length])
    refused(raw + b"\0")
    refused(raw + raw)


@pytest.mark.parametrize("kind", TYPES)
def test_invalid_missing_or_extra_items(kind: int) -> None:
    items = envelope_items(kind)
    for name in items:
        refused(encode_items(kind, {other: item for other, item in items.items() if other != name}))
    refused(encode_items(kind, items | {"more": b""}))


@pytest.mark.parametrize("kind", TYPES)
def test_invalid_lists_for_bytes_and_bytes_for_lists(kind: int) -> None:
    for name, item in envelope_items(kind).items():
        refused(broken(kind, **{name: b"\x01" if isinstance(item, list) else [item]}))


WIDTHS = {"chain_id": 8, "nonce": 8, "gas_limit": 8, "tip": 32, "fee": 32, "value": 32, "blob_fee": 32}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in TYPES for name in FIELDS[kind] if name in WIDTHS])
def test_both_sides_of_each_width(kind: int, name: str) -> None:
    largest = 2 ** (8 * WIDTHS[name]) - 1
    assert recover_sender(decode_envelope(envelope(kind, **{name: largest}))) == address_of(KEY)
    assert recover_sender(decode_envelope(envelope(kind, **{name: 0}))) == address_of(KEY)
    assert "more than" in refused(envelope(kind, **{name: largest + 1}))
    assert "leading zero" in refused(broken(kind, **{name: b"\x00\x01"}))
    assert "leading zero" in refused(broken(kind, **{name: b"\x00"}))


@pytest.mark.parametrize("kind", TYPES)
def test_recipient(kind: int) -> None:
    for length in (1, 19, 21, 32):
        assert "to: " in refused(envelope(kind, to=bytes(length)))
    if kind < 3:
        assert decode_envelope(envelope(kind, to=b"")).to == b""
    else:
        assert "to: " in refused(envelope(kind, to=b""))


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "access_list",
    [
        [[TO]], [[TO, [], []]], [[TO[:19], []]], [[TO + b"\1", []]], [[TO, [b"\1" * 31]]], [[TO, [b"\1" * 33]]],
        [[TO, b""]], [TO], [[]], [[TO, [[b"\1" * 32]]]],
    ],
)  # fmt: skip
def test_invalid_access_lists(kind: int, access_list: Tree) -> None:
    assert "access entry" in refused(envelope(kind, access_list=access_list))


def test_invalid_blob_hashes() -> None:
    for hashes in ([b"\1" * 31], [b"\1" * 33], [b"\1" * 32, b""], [[b"\1" * 32]]):
        assert "blob hash" in refused(envelope(3, blob_hashes=hashes))
    assert decode_envelope(envelope(3, blob_hashes=[])).blob_gas == 0, "an empty list is X0's to judge"


def test_invalid_network_form_of_a_blob_transaction() -> None:
    items = list(envelope_items(3).values())
    refused(b"\x03" + rlp.encode([items, [b"\0" * 131072], [b"\0" * 48], [b"\0" * 48]]))


def test_invalid_authorizations() -> None:
    good = authorization()
    for at, values in enumerate(
        (
            (2**256, b"\0"), (TO[:19], TO + b"\1", b""), (2**64, b"\0\1"), (256, b"\0"), (2**256, b"\0"), (2**256,),
        )
    ):  # fmt: skip
        for value in values:
            assert "authorization" in refused(envelope(4, authorizations=[[*good[:at], value, *good[at + 1 :]]]))
    for tuples in ([good[:5]], [[*good, b""]], [b""], [good, []]):
        assert "authorization" in refused(envelope(4, authorizations=tuples))
    assert decode_envelope(envelope(4, authorizations=[])).authorizations == (), "an empty list is X0's to judge"
    widest = [2**256 - 1, TO, 2**64 - 1, 255, 2**256 - 1, 2**256 - 1]
    (kept,) = decode_envelope(envelope(4, authorizations=[widest])).authorizations
    assert kept == Authorization(*widest)
    assert recover_authority(kept) is None


@pytest.mark.parametrize("first", [0x00, 0x05, 0x4C, 0x7F, 0x80, 0xBF])
def test_invalid_types(first: int) -> None:
    assert "type" in refused(bytes((first,)) + envelope(2)[1:])


def test_invalid_lengths() -> None:
    assert "length" in refused(b"")
    overhead = len(envelope(2, data=bytes(2**16))) - 2**16
    longest = envelope(2, data=bytes(MAX_ENVELOPE_BYTES - overhead))
    assert len(longest) == MAX_ENVELOPE_BYTES
    assert len(decode_envelope(longest).data) == MAX_ENVELOPE_BYTES - overhead
    assert "length" in refused(envelope(2, data=bytes(MAX_ENVELOPE_BYTES - overhead + 1)))


def test_invalid_nesting_costs_no_stack() -> None:
    payload = b""
    for _ in range(50_000):
        payload = _list_of(payload)
    refused(payload)
    refused(b"\x02" + payload)


def _list_of(payload: bytes) -> bytes:
    size = len(payload)
    if size < 56:
        return bytes((0xC0 + size,)) + payload
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0xF7 + len(digits),)) + digits + payload


def test_invalid_encodings_of_one_value() -> None:
    """The same items in a longer form than the shortest."""
    raw = envelope(2)
    assert raw[1] == 0xF8
    assert raw[3:6] == b"\x82\x42\x68", "the chain id comes first"
    body = raw[3:]

    def typed(payload: bytes, prefix: bytes | None = None) -> bytes:
        return b"\x02" + (prefix or bytes((0xF8, len(payload)))) + payload

    assert decode_envelope(typed(body)).nonce == 9
    assert "single byte" in refused(typed(body[:3] + b"\x81" + body[3:]))
    assert "shorter form" in refused(typed(b"\xb8\x02" + body[1:]))
    assert "shorter form" in refused(typed(body, b"\xf9\x00" + bytes((len(body),))))
    assert "longer than" in refused(typed(body, bytes((0xF8, len(body) + 1))))
    assert "follows" in refused(typed(body, bytes((0xF8, len(body) - 1))))
    assert "longer than" in refused(b"\x02\xff" + b"\xff" * 8 + body)


@pytest.mark.parametrize("kind", TYPES)
def test_invalid_signature_ranges(kind: int) -> None:
    items = envelope_items(kind)
    half = CURVE_ORDER // 2
    for name, bad in (("r", 0), ("r", CURVE_ORDER), ("s", 0), ("s", half + 1), ("s", CURVE_ORDER - items["s"])):
        assert "r and s" in refused(broken(kind, **{name: bad}))
    for name, good in (("r", 1), ("r", CURVE_ORDER - 1), ("s", 1), ("s", half)):
        decode_envelope(broken(kind, **{name: good}))


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_invalid_y_parity(kind: int) -> None:
    assert "y parity" in refused(broken(kind, y_parity=2))
    assert "y parity" in refused(broken(kind, y_parity=27))
    flipped = decode_envelope(broken(kind, y_parity=1 - envelope_items(kind)["y_parity"]))
    assert recover_sender(flipped) != address_of(KEY)


def test_legacy_v() -> None:
    for v in (0, 1, 26, 29, 34, 35 + 2 * 2**64, 2**72 - 1, 2**72):
        assert "v: " in refused(broken(0, v=v))
    for v, chain_id, y_parity in (
        (27, None, 0), (28, None, 1), (35, 0, 0), (36, 0, 1), (37, 1, 0), (38, 1, 1), (34 + 2 * 2**64, 2**64 - 1, 1),
    ):  # fmt: skip
        transaction = decode_envelope(broken(0, v=v))
        assert (transaction.chain_id, transaction.y_parity) == (chain_id, y_parity)
    for chain_id in (0, 1, 127, 128, 2**64 - 1):
        assert recover_sender(decode_envelope(envelope(0, chain_id=chain_id))) == address_of(KEY)


def without_point(transaction: EthereumTransaction) -> EthereumTransaction:
    """The same with an r that is no point's x coordinate (x^3 + 7 is no square)."""
    p = 2**256 - 2**32 - 977
    r = next(x for x in range(2, 100) if pow(x**3 + 7, (p - 1) // 2, p) != 1)
    return replace(transaction, r=r)


def test_invalid_signature_without_a_sender() -> None:
    with pytest.raises(Verdict) as caught:
        recover_sender(without_point(decode_envelope(envelope(2))))
    assert caught.value.rule == Rule.S1


@pytest.mark.parametrize(
    ("nonce", "created"),
    [(0, "5fbdb2315678afecb367f032d93f642f64180aa3"), (2, "9fe46736679d2d9a65f0992f2272de9f3c7fa6e0")],
)
def test_where_a_contract_is_put(nonce: int, created: str) -> None:
    """As hardhat and anvil deploy by their first account."""
    sender = bytes.fromhex("f39fd6e51aad88f6f4ce6ab8827279cfffb92266")
    assert created_address(sender, nonce).hex() == created


def test_authority() -> None:
    tuple_ = Authorization(*authorization())
    assert recover_authority(tuple_) == address_of(OTHER_KEY)
    assert recover_authority(replace(tuple_, nonce=8)) not in (None, address_of(OTHER_KEY))
    high = replace(tuple_, s=CURVE_ORDER - tuple_.s, y_parity=1 - tuple_.y_parity)
    for bad in (
        high,
        replace(tuple_, y_parity=2),
        replace(tuple_, y_parity=2, r=r_beyond_the_order()),
        replace(tuple_, r=0),
        replace(tuple_, s=0),
        replace(tuple_, r=CURVE_ORDER),
    ):
        assert recover_authority(bad) is None


def test_senders_and_authorities_of_the_state_tests() -> None:
    for raw, sender, signers in state_test_transactions():
        transaction = decode_envelope(raw)
        assert recover_sender(transaction) == sender
        assert tuple(recover_authority(a) for a in transaction.authorizations) == signers
