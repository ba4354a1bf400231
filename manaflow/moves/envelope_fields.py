"""Fields that several kinds of envelope share, read strictly."""

from __future__ import annotations

from typing import TypeAlias

from manaflow.moves.rlp_reader import RlpError, RlpReader
from manaflow.moves.signatures import is_low_signature
from manaflow.moves.transactions import AccessEntry

Call: TypeAlias = tuple[int, int, int, int, int, bytes, int, bytes, tuple[AccessEntry, ...]]
"""The fields of EthereumTransaction from chain_id to access_list."""


def decode_call(fields: RlpReader, kind: int) -> Call:
    """What every type but legacy begins with, `kind` its EIP-2718 type."""
    chain_id = fields.integer("chain id", 8)
    nonce = fields.integer("nonce", 8)
    priority_fee = fields.integer("max priority fee" if kind > 1 else "gas price", 32)
    max_fee = fields.integer("max fee", 32) if kind > 1 else priority_fee
    gas_limit = fields.integer("gas limit", 8)
    to = decode_to(fields, may_create=kind not in (3, 4))
    value = fields.integer("value", 32)
    data = fields.string("data")
    access_list = decode_access_list(fields.items("access list"))
    return chain_id, nonce, priority_fee, max_fee, gas_limit, to, value, data, access_list


def decode_signature(fields: RlpReader) -> tuple[int, int, int]:
    """(y parity, r, s): what every type but legacy ends with, and nothing behind it."""
    y_parity = fields.integer("y parity", 1)
    if y_parity > 1:
        raise RlpError("y parity: neither 0 nor 1")
    r, s = decode_r_s(fields)
    fields.finish("the transaction")
    return y_parity, r, s


def decode_to(fields: RlpReader, *, may_create: bool = True) -> bytes:
    """20 bytes, or none for a create, which types 3 and 4 cannot be."""
    to = fields.string("to")
    if len(to) != 20 and (to or not may_create):
        raise RlpError(f"to: {len(to)} bytes")
    return to


def decode_r_s(fields: RlpReader) -> tuple[int, int]:
    """r and s in range, s low (EIP-2)."""
    r, s = fields.integer("r", 32), fields.integer("s", 32)
    if not is_low_signature(r, s):
        raise RlpError("r and s: out of range, or s not low (EIP-2)")
    return r, s


def decode_hashes(items: RlpReader, field: str) -> tuple[bytes, ...]:
    """Every item, 32 bytes each."""
    hashes: list[bytes] = []
    while items.more:
        hashes.append(items.fixed(field, 32))
    return tuple(hashes)


def decode_access_list(items: RlpReader) -> tuple[AccessEntry, ...]:
    """[[address, [slot, ...]], ...] (EIP-2930)."""
    entries: list[AccessEntry] = []
    while items.more:
        entry = items.items("access entry")
        address = entry.fixed("access entry's address", 20)
        slots = decode_hashes(entry.items("access entry's slots"), "access entry's slot")
        entry.finish("access entry")
        entries.append(AccessEntry(address, slots))
    return tuple(entries)
