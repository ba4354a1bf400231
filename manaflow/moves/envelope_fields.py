"""Fields that several kinds of envelope share, read strictly."""

from __future__ import annotations

from manaflow.moves.rlp_reader import RlpError, RlpReader
from manaflow.moves.signatures import is_low_signature
from manaflow.moves.transactions import AccessEntry


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
