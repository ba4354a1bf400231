"""Signed envelopes: Ethereum's types 0 to 4 decoded strictly (rule S1), and the door to declared ones (S2).

`native/src/envelope.rs` is the twin for hot paths: it accepts and refuses the same bytes. What depends on the fork, the
chain or the state (chain id, fee order, EIP-2681, an empty list of blobs or authorizations) is X0's to judge.
"""

from __future__ import annotations

from typing import Final

import rlp

from manaflow.errors import Rule, Verdict
from manaflow.moves.declared import decode_declared
from manaflow.moves.envelope_fields import decode_call, decode_hashes, decode_r_s, decode_signature, decode_to
from manaflow.moves.hashing import keccak256
from manaflow.moves.rlp_reader import RlpError, RlpReader, list_prefix
from manaflow.moves.signatures import is_low_signature, recover_address
from manaflow.moves.transactions import DECLARED_TYPE, Authorization, DeclaredTransaction, EthereumTransaction

MAX_ENVELOPE_BYTES: Final = 2**20
"""Bytes of one envelope; keeps a fraud proof's parts small (F2)."""
AUTHORIZATION_MAGIC: Final = b"\x05"
"""EIP-7702: what stands before the RLP that an authority signs."""


def decode_envelope(raw: bytes) -> EthereumTransaction:
    """Read a signed envelope strictly: one encoding, bounded fields, low s (EIP-2), nothing behind it.

    Source: EIP-155, 2718, 2930, 1559, 4844 (without the network form's blobs), 7702. Raises Verdict(S1).
    A declared envelope comes as a DeclaredTransaction, or raises Verdict(S2).
    """
    rule = Rule.S2 if raw[:1] == bytes((DECLARED_TYPE,)) else Rule.S1
    if not 0 < len(raw) <= MAX_ENVELOPE_BYTES:
        raise Verdict(rule, "length of the envelope", expected=f"1 to {MAX_ENVELOPE_BYTES}", actual=len(raw))
    kind = raw[0]
    if kind == DECLARED_TYPE:
        return decode_declared(raw)
    if kind < 0xC0 and kind not in (1, 2, 3, 4):
        raise Verdict(Rule.S1, "type of the envelope", expected="legacy, 1 to 4 or declared", actual=kind)
    try:
        return _decode_legacy(raw) if kind >= 0xC0 else _decode_typed(raw, kind)
    except RlpError as error:
        raise Verdict(Rule.S1, f"the envelope does not decode: {error}") from error


def recover_sender(transaction: EthereumTransaction) -> bytes:
    """The address whose key signed the envelope, 20 bytes. Raises Verdict(S1), of a declared one S2, without one."""
    sender = recover_address(transaction.signing_hash, transaction.y_parity, transaction.r, transaction.s)
    if sender is None:
        rule = Rule.S2 if isinstance(transaction, DeclaredTransaction) else Rule.S1
        raise Verdict(rule, "the signature recovers no sender")
    return sender


def created_address(sender: bytes, nonce: int) -> bytes:
    """Where a creating transaction puts its contract (Yellow Paper 7), 20 bytes."""
    return keccak256(bytes(rlp.encode([sender, nonce])))[12:]


def recover_authority(authorization: Authorization) -> bytes | None:
    """The address that signed an EIP-7702 tuple, 20 bytes, or None if the tuple's signature does not verify."""
    if authorization.y_parity > 1 or not is_low_signature(authorization.r, authorization.s):
        return None
    signed = rlp.encode([authorization.chain_id, authorization.address, authorization.nonce])
    hashed = keccak256(AUTHORIZATION_MAGIC + signed)
    return recover_address(hashed, authorization.y_parity, authorization.r, authorization.s)


def _decode_legacy(raw: bytes) -> EthereumTransaction:
    """rlp([nonce, gas price, gas limit, to, value, data, v, r, s]), v 27 or 28, or by EIP-155."""
    fields = RlpReader.whole(raw)
    nonce = fields.integer("nonce", 8)
    price = fields.integer("gas price", 32)
    gas_limit = fields.integer("gas limit", 8)
    to = decode_to(fields)
    value = fields.integer("value", 32)
    data = fields.string("data")
    signed = fields.consumed
    chain_id, y_parity = _split_v(fields.integer("v", 9))
    r, s = decode_r_s(fields)
    fields.finish("the transaction")
    if chain_id is not None:
        signed += bytes(rlp.encode(chain_id)) + b"\x80\x80"
    signing_hash = keccak256(list_prefix(len(signed)) + signed)
    return EthereumTransaction(
        0, chain_id, nonce, price, price, gas_limit, to, value, data, (), 0, (), (),
        y_parity, r, s, signing_hash, keccak256(raw),
    )  # fmt: skip


def _decode_typed(raw: bytes, kind: int) -> EthereumTransaction:
    """kind | rlp([the call's fields, the type's own, y parity, r, s])."""
    fields = RlpReader.whole(raw, 1)
    call = decode_call(fields, kind)
    blob_fee = fields.integer("max fee per blob gas", 32) if kind == 3 else 0
    blob_hashes = decode_hashes(fields.items("blob hashes"), "blob hash") if kind == 3 else ()
    authorizations = _decode_authorizations(fields.items("authorization list")) if kind == 4 else ()
    signed = fields.consumed
    y_parity, r, s = decode_signature(fields)
    signing_hash = keccak256(raw[:1] + list_prefix(len(signed)) + signed)
    return EthereumTransaction(
        kind, *call, blob_fee, blob_hashes, authorizations, y_parity, r, s, signing_hash, keccak256(raw)
    )


def _split_v(v: int) -> tuple[int | None, int]:
    """(chain id, y parity) of a legacy v; the chain id is None without EIP-155."""
    if v in (27, 28):
        return None, v - 27
    chain_id, y_parity = divmod(v - 35, 2)
    if not 0 <= chain_id < 2**64:
        raise RlpError("v: neither 27, 28 nor by EIP-155")
    return chain_id, y_parity


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
