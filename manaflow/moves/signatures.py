"""ECDSA over secp256k1: who signed a hash, and the one form of a signature that is accepted."""

from __future__ import annotations

from typing import Final

from coincurve import PublicKey

from manaflow.moves.hashing import keccak256

CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""n of secp256k1."""


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
