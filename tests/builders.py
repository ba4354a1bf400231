"""Signed envelopes of every type, as nested lists that a test may break in one place before they are encoded."""

from __future__ import annotations

import json
import tarfile
from functools import cache
from typing import Any, Final

import coincurve
import rlp
import zstandard

from manaflow.moves.hashing import keccak256
from tests.conftest import block_files, shared_data

KEY: Final = coincurve.PrivateKey(b"\x46" * 32)
OTHER_KEY: Final = coincurve.PrivateKey(b"\x47" * 32)
TO: Final = bytes.fromhex("35" * 20)
CHAIN_ID: Final = 17000
TYPES: Final = (0, 1, 2, 3, 4)

Tree = Any
"""bytes, an int, or a list of trees: what rlp.encode takes."""

FIELDS: Final = {
    0: ("nonce", "fee", "gas_limit", "to", "value", "data", "v", "r", "s"),
    1: ("chain_id", "nonce", "fee", "gas_limit", "to", "value", "data", "access_list", "y_parity", "r", "s"),
    2: (
        "chain_id", "nonce", "tip", "fee", "gas_limit", "to", "value", "data", "access_list", "y_parity", "r", "s",
    ),
    3: (
        "chain_id", "nonce", "tip", "fee", "gas_limit", "to", "value", "data", "access_list", "blob_fee", "blob_hashes",
        "y_parity", "r", "s",
    ),
    4: (
        "chain_id", "nonce", "tip", "fee", "gas_limit", "to", "value", "data", "access_list", "authorizations",
        "y_parity", "r", "s",
    ),
}  # fmt: skip
"""The names of an envelope's items, by type."""


def address_of(key: coincurve.PrivateKey) -> bytes:
    return keccak256(key.public_key.format(compressed=False)[1:])[12:]


def sign(key: coincurve.PrivateKey, hashed: bytes) -> tuple[int, int, int]:
    """(y parity, r, s) over a hash of 32 bytes, s low."""
    signature = key.sign_recoverable(hashed, hasher=None)
    return signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")


def authorization(
    key: coincurve.PrivateKey = OTHER_KEY, *, chain_id: int = CHAIN_ID, address: bytes = TO, nonce: int = 7
) -> list[Tree]:
    """An EIP-7702 tuple."""
    signed = keccak256(b"\x05" + rlp.encode([chain_id, address, nonce]))
    return [chain_id, address, nonce, *sign(key, signed)]


def envelope_items(
    kind: int, key: coincurve.PrivateKey = KEY, *, chain_id: int | None = CHAIN_ID, **changed: Tree
) -> dict[str, Tree]:
    """A signed transaction's items by name; `changed` are set before signing. Legacy: chain id None is unprotected."""
    items: dict[str, Tree] = {
        "chain_id": chain_id, "nonce": 9, "tip": 2 * 10**9, "fee": 20 * 10**9, "gas_limit": 21_000, "to": TO,
        "value": 10**18, "data": b"\x00\xa9\x05",
        "access_list": [[TO, [b"\x01" * 32, b"\x02" * 32]], [b"\x09" * 20, []]],
        "blob_fee": 3, "blob_hashes": [b"\x01" * 32, b"\x01" + b"\x02" * 31], "authorizations": [authorization()],
        **changed,
    }  # fmt: skip
    signed = [items[name] for name in FIELDS[kind][:-3]]
    if kind == 0:
        rest = [] if chain_id is None else [chain_id, 0, 0]
        y_parity, r, s = sign(key, keccak256(rlp.encode(signed + rest)))
        tail = {"v": y_parity + (27 if chain_id is None else 35 + 2 * chain_id), "r": r, "s": s}
    else:
        y_parity, r, s = sign(key, keccak256(bytes((kind,)) + rlp.encode(signed)))
        tail = {"y_parity": y_parity, "r": r, "s": s}
    return dict(zip(FIELDS[kind], [*signed, *tail.values()], strict=True))


def encode_items(kind: int, items: dict[str, Tree]) -> bytes:
    """The envelope of items."""
    return (bytes((kind,)) if kind else b"") + bytes(rlp.encode(list(items.values())))


def envelope(kind: int, key: coincurve.PrivateKey = KEY, **changed: Tree) -> bytes:
    """A signed envelope."""
    return encode_items(kind, envelope_items(kind, key, **changed))


def r_beyond_the_order() -> int:
    """A small r for which r + n is a point's x coordinate, so that recovery ids 2 and 3 would find a key too."""
    n, p = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141, 2**256 - 2**32 - 977
    return next(r for r in range(1, 100) if pow((r + n) ** 3 + 7, (p - 1) // 2, p) == 1)


@cache
def real_envelopes() -> tuple[tuple[bytes, bytes, bytes], ...]:
    """(envelope, sender, hash) of every transaction of the shared blocks."""
    found = []
    for path in block_files():
        block = json.loads(zstandard.ZstdDecompressor().decompress(path.read_bytes(), max_output_size=2**27))
        for entry in block["transactions"]:
            raw, sender, hashed = (bytes.fromhex(entry[name][2:]) for name in ("raw", "sender", "hash"))
            found.append((raw, sender, hashed))
    assert found, "no real blocks"
    return tuple(found)


@cache
def state_test_transactions() -> tuple[tuple[bytes, bytes, tuple[bytes, ...]], ...]:
    """(envelope, sender, authorities) of every transaction of the shared state tests."""
    found = []
    with tarfile.open(shared_data() / "statetests.tar.gz") as archive:
        for member in archive:
            if not member.name.endswith(".json") or member.name.endswith("MANIFEST.json"):
                continue
            content = archive.extractfile(member)
            assert content is not None
            for test in json.load(content).values():
                transaction = test["transaction"]
                sender = bytes.fromhex(transaction["sender"][2:])
                signers = tuple(bytes.fromhex(a["signer"][2:]) for a in transaction.get("authorizationList", ()))
                for posts in test["post"].values():
                    found += [(bytes.fromhex(post["txbytes"][2:]), sender, signers) for post in posts]
    assert any(signers for _, _, signers in found), "no EIP-7702 transactions"
    return tuple(found)
