"""The block header, its RLP and its hash (docs/SPEC.md, section 5)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final

from manaflow.errors import Rule, Verdict
from manaflow.moves.rlp_reader import RlpError, RlpReader, encode_integer, encode_string, list_prefix

HEADER_VERSION: Final = 1
MAX_HEADER_BYTES: Final = 1024
MAX_EXTRA_DATA: Final = 32
"""Bytes of extra data, as in Ethereum."""


@dataclass(frozen=True, slots=True)
class Header:
    """Everything that a block's hash covers. Block hash = SHA-256(rlp(header)), the fields in this order."""

    version: int
    config: bytes
    """Hash of the chain config, 32 bytes."""
    number: int
    parent_hash: bytes
    seen_parent_hash: bytes
    """What BLOCKHASH and EIP-2935 show for number - 1: in `ethereum` Ethereum's hash, an input."""
    coinbase: bytes
    timestamp: int
    """Seconds."""
    gas_limit: int
    gas_used: int
    base_fee: int
    """Wei."""
    prevrandao: bytes
    blob_gas_used: int
    excess_blob_gas: int
    parent_beacon_root: bytes
    """Zero before Cancun and in profile `manaflow`."""
    extra_data: bytes
    transactions_root: bytes
    codes_root: bytes
    withdrawals_root: bytes
    history_root: bytes
    """Over the hashes of all earlier blocks of this chain, genesis first."""
    first_cell: int
    """Number of the first cell that this block makes."""
    cells: int
    """How many cells it makes."""
    transactions: int
    """How many leaves it has."""
    codes: int
    """How many codes stand in its body."""
    fees: int
    """Wei of fees of the whole block (profile `manaflow`)."""

    def encode(self) -> bytes:
        """The header's RLP."""
        return _encoded(self)

    @property
    def hash(self) -> bytes:
        """SHA-256 of the RLP, 32 bytes."""
        return _hash_of(self)

    @staticmethod
    def decode(data: bytes) -> Header:
        """Read a header strictly (B1): one encoding, no trailing bytes, at most MAX_HEADER_BYTES."""
        if len(data) > MAX_HEADER_BYTES:
            raise Verdict(Rule.B1, "length of the header", expected=f"at most {MAX_HEADER_BYTES}", actual=len(data))
        return _decoded(bytes(data))


@lru_cache(maxsize=256)
def _decoded(data: bytes) -> Header:
    """A node reads the headers around its head again and again."""
    try:
        items = RlpReader.whole(data)
        header = Header(*(_read(items, f.name) for f in fields(Header)))
        items.finish("the header")
    except RlpError as error:
        raise Verdict(Rule.B1, f"the header does not decode: {error}") from error
    if header.version != HEADER_VERSION:
        raise Verdict(Rule.B1, "version of the header", expected=HEADER_VERSION, actual=header.version)
    return header


@lru_cache(maxsize=256)
def _encoded(header: Header) -> bytes:
    """A sealed header is written into its hash, its file and its canonical record."""
    body = b"".join([_written(name, getattr(header, name)) for name in _NAMES])
    return list_prefix(len(body)) + body


@lru_cache(maxsize=256)
def _hash_of(header: Header) -> bytes:
    """The hash of a header is asked for some thirty times while its block is made and followed."""
    return hashlib.sha256(header.encode()).digest()


_HASHES: Final = (
    "config", "parent_hash", "seen_parent_hash", "prevrandao", "parent_beacon_root", "transactions_root", "codes_root",
    "withdrawals_root", "history_root",
)  # fmt: skip
_FIXED: Final = {"coinbase": 20} | dict.fromkeys(_HASHES, 32)
"""Bytes of the fields of fixed width."""
_WORDS: Final = ("fees",)
"""Integers of at most 256 bits; all others have at most 64: a base fee beyond that is more than 18 ether a gas."""


def _read(items: RlpReader, name: str) -> Any:
    """The next item, which is the field `name`."""
    if name in _FIXED:
        return items.fixed(name, _FIXED[name])
    if name != "extra_data":
        return items.integer(name, 32 if name in _WORDS else 8)
    value = items.string(name)
    if len(value) > MAX_EXTRA_DATA:
        raise RlpError(f"extra data: {len(value)} bytes, at most {MAX_EXTRA_DATA} allowed")
    return value


def _written(name: str, value: Any) -> bytes:
    """The field `name` in RLP. Raises RlpError for one that has no form: of another width, or negative."""
    if name in _FIXED:
        if len(value) != _FIXED[name]:
            raise RlpError(f"{name}: {len(value)} bytes, {_FIXED[name]} are due")
        return encode_string(value)
    if name != "extra_data":
        if value < 0:
            raise RlpError(f"{name}: {value} is negative")
        return encode_integer(value)
    if len(value) > MAX_EXTRA_DATA:
        raise RlpError(f"extra data: {len(value)} bytes, at most {MAX_EXTRA_DATA} allowed")
    return encode_string(value)


_NAMES: Final = tuple(f.name for f in fields(Header))
