"""Ethereum's signed envelopes, types 0 to 4, decoded strictly (rule S1).

`native/src/envelope.rs` is the twin for hot paths: it accepts and refuses the same bytes. What depends on the fork, the
chain or the state (chain id, fee order, EIP-2681, an empty list of blobs or authorizations) is X0's to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import rlp
from coincurve import PublicKey

from manaflow.errors import Rule, Verdict
from manaflow.moves.hashing import keccak256
from manaflow.moves.rlp_reader import RlpError, RlpReader, list_prefix

GAS_PER_BLOB = 2**17
"""EIP-4844."""
MAX_ENVELOPE_BYTES: Final = 2**20
"""Bytes of one envelope; keeps a fraud proof's parts small (F2)."""
CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""n of secp256k1."""
AUTHORIZATION_MAGIC: Final = b"\x05"
"""EIP-7702: what stands before the RLP that an authority signs."""


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """One entry of an EIP-2930 access list."""

    address: bytes
    slots: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Authorization:
    """One EIP-7702 tuple. A tuple that does not verify is skipped by the execution, not refused."""

    chain_id: int
    address: bytes
    nonce: int
    y_parity: int
    r: int
    s: int


@dataclass(frozen=True, slots=True)
class EthereumTransaction:
    """A decoded envelope. Integers are non-negative; fees in wei."""

    type: int
    """EIP-2718 type; 0 for legacy."""
    chain_id: int | None
    """None for a legacy transaction without EIP-155 protection."""
    nonce: int
    max_priority_fee: int
    """Equal to max_fee in types 0 and 1."""
    max_fee: int
    """The gas price in types 0 and 1."""
    gas_limit: int
    to: bytes
    """20 bytes, or none for a create."""
    value: int
    data: bytes
    access_list: tuple[AccessEntry, ...]
    max_fee_per_blob_gas: int
    blob_hashes: tuple[bytes, ...]
    authorizations: tuple[Authorization, ...]
    y_parity: int
    r: int
    s: int
    signing_hash: bytes
    """What the sender signed, 32 bytes."""
    txid: bytes
    """keccak-256 of the envelope: the transaction's ordinary Ethereum hash."""

    @property
    def blob_gas(self) -> int:
        """Blob gas that the transaction uses."""
        return GAS_PER_BLOB * len(self.blob_hashes)

    def effective_gas_price(self, base_fee: int) -> int:
        """Wei per gas (EIP-1559); meaningful only if max_fee >= base_fee."""
        return min(self.max_fee, base_fee + self.max_priority_fee)


def decode_envelope(raw: bytes) -> EthereumTransaction:
    """Read a signed envelope strictly: one encoding, bounded fields, low s (EIP-2), nothing behind it.

    Source: EIP-155, 2718, 2930, 1559, 4844 (without the network form's blobs), 7702. Raises Verdict(S1).
    """
    if not 0 < len(raw) <= MAX_ENVELOPE_BYTES:
        raise Verdict(Rule.S1, "length of the envelope", expected=f"1 to {MAX_ENVELOPE_BYTES}", actual=len(raw))
    kind = raw[0]
    if kind < 0xC0 and kind not in (1, 2, 3, 4):
        raise Verdict(Rule.S1, "type of the envelope", expected="legacy or 1 to 4", actual=kind)
    try:
        return _decode_legacy(raw) if kind >= 0xC0 else _decode_typed(raw, kind)
    except RlpError as error:
        raise Verdict(Rule.S1, f"the envelope does not decode: {error}") from error


def recover_sender(transaction: EthereumTransaction) -> bytes:
    """The address whose key signed the envelope, 20 bytes. Raises Verdict(S1) if there is none."""
    sender = recover_address(transaction.signing_hash, transaction.y_parity, transaction.r, transaction.s)
    if sender is None:
        raise Verdict(Rule.S1, "the signature recovers no sender")
    return sender


def recover_authority(authorization: Authorization) -> bytes | None:
    """The address that signed an EIP-7702 tuple, 20 bytes, or None if the tuple's signature does not verify."""
    if authorization.y_parity > 1 or not is_low_signature(authorization.r, authorization.s):
        return None
    signed = rlp.encode([authorization.chain_id, authorization.address, authorization.nonce])
    hashed = keccak256(AUTHORIZATION_MAGIC + signed)
    return recover_address(hashed, authorization.y_parity, authorization.r, authorization.s)


def recover_address(signed_hash: bytes, y_parity: int, r: int, s: int) -> bytes | None:
    """The address whose key signed `signed_hash` (32 bytes), or None. y_parity is 0 or 1; r and s fit 32 bytes."""
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((y_parity,))
    try:
        key = PublicKey.from_signature_and_message(signature, signed_hash, hasher=None)
    except ValueError:
        return None
    return keccak256(key.format(compressed=False)[1:])[12:]


def is_low_signature(r: int, s: int) -> bool:
    """True if r and s are in range and s is the lower of its two forms (EIP-2)."""
    return 0 < r < CURVE_ORDER and 0 < s <= CURVE_ORDER // 2


def _decode_legacy(raw: bytes) -> EthereumTransaction:
    """rlp([nonce, gas price, gas limit, to, value, data, v, r, s]), v 27 or 28, or by EIP-155."""
    fields = RlpReader.whole(raw)
    nonce = fields.integer("nonce", 8)
    price = fields.integer("gas price", 32)
    gas_limit = fields.integer("gas limit", 8)
    to = _decode_to(fields, 0)
    value = fields.integer("value", 32)
    data = fields.string("data")
    signed = fields.consumed
    chain_id, y_parity = _split_v(fields.integer("v", 9))
    r, s = _decode_r_s(fields)
    fields.finish("the transaction")
    if chain_id is not None:
        signed += bytes(rlp.encode(chain_id)) + b"\x80\x80"
    signing_hash = keccak256(list_prefix(len(signed)) + signed)
    return EthereumTransaction(
        0, chain_id, nonce, price, price, gas_limit, to, value, data, (), 0, (), (),
        y_parity, r, s, signing_hash, keccak256(raw),
    )  # fmt: skip


def _decode_typed(raw: bytes, kind: int) -> EthereumTransaction:
    """kind | rlp([chain id, nonce, fees, gas limit, to, value, data, access list, the type's own, y parity, r, s])."""
    fields = RlpReader.whole(raw, 1)
    chain_id = fields.integer("chain id", 8)
    nonce = fields.integer("nonce", 8)
    priority_fee = fields.integer("max priority fee" if kind > 1 else "gas price", 32)
    max_fee = fields.integer("max fee", 32) if kind > 1 else priority_fee
    gas_limit = fields.integer("gas limit", 8)
    to = _decode_to(fields, kind)
    value = fields.integer("value", 32)
    data = fields.string("data")
    access_list = _decode_access_list(fields.items("access list"))
    blob_fee = fields.integer("max fee per blob gas", 32) if kind == 3 else 0
    blob_hashes = _decode_hashes(fields.items("blob hashes"), "blob hash") if kind == 3 else ()
    authorizations = _decode_authorizations(fields.items("authorization list")) if kind == 4 else ()
    signed = fields.consumed
    y_parity = fields.integer("y parity", 1)
    if y_parity > 1:
        raise RlpError("y parity: neither 0 nor 1")
    r, s = _decode_r_s(fields)
    fields.finish("the transaction")
    signing_hash = keccak256(raw[:1] + list_prefix(len(signed)) + signed)
    return EthereumTransaction(
        kind, chain_id, nonce, priority_fee, max_fee, gas_limit, to, value, data, access_list, blob_fee, blob_hashes,
        authorizations, y_parity, r, s, signing_hash, keccak256(raw),
    )  # fmt: skip


def _split_v(v: int) -> tuple[int | None, int]:
    """(chain id, y parity) of a legacy v; the chain id is None without EIP-155."""
    if v in (27, 28):
        return None, v - 27
    chain_id, y_parity = divmod(v - 35, 2)
    if not 0 <= chain_id < 2**64:
        raise RlpError("v: neither 27, 28 nor by EIP-155")
    return chain_id, y_parity


def _decode_to(fields: RlpReader, kind: int) -> bytes:
    """20 bytes, or none for a create, which types 3 and 4 cannot be."""
    to = fields.string("to")
    if len(to) != 20 and (to or kind >= 3):
        raise RlpError(f"to: {len(to)} bytes")
    return to


def _decode_r_s(fields: RlpReader) -> tuple[int, int]:
    r, s = fields.integer("r", 32), fields.integer("s", 32)
    if not is_low_signature(r, s):
        raise RlpError("r and s: out of range, or s not low (EIP-2)")
    return r, s


def _decode_hashes(items: RlpReader, field: str) -> tuple[bytes, ...]:
    hashes: list[bytes] = []
    while items.more:
        hashes.append(items.fixed(field, 32))
    return tuple(hashes)


def _decode_access_list(items: RlpReader) -> tuple[AccessEntry, ...]:
    """[[address, [slot, ...]], ...] (EIP-2930)."""
    entries: list[AccessEntry] = []
    while items.more:
        entry = items.items("access entry")
        address = entry.fixed("access entry's address", 20)
        slots = _decode_hashes(entry.items("access entry's slots"), "access entry's slot")
        entry.finish("access entry")
        entries.append(AccessEntry(address, slots))
    return tuple(entries)


def _decode_authorizations(items: RlpReader) -> tuple[Authorization, ...]:
    """[[chain id, address, nonce, y parity, r, s], ...] (EIP-7702); only the widths are judged."""
    tuples: list[Authorization] = []
    while items.more:
        one = items.items("authorization")
        tuples.append(
            Authorization(
                one.integer("authorization's chain id", 32),
                one.fixed("authorization's address", 20),
                one.integer("authorization's nonce", 8),
                one.integer("authorization's y parity", 1),
                one.integer("authorization's r", 32),
                one.integer("authorization's s", 32),
            )
        )
        one.finish("authorization")
    return tuple(tuples)
