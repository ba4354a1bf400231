"""Verify an inclusion proof (docs/LIGHT.md) with nothing but Python's standard library: this file may be copied alone.

    file   = "MANAINCL" | version:1 | rlp([config, head, header, leaf, move])
    head   = [] if the block is the trusted head, else [the head's header, path of the block's hash to its history root]
    leaf   = [position, 169 bytes, path to the block's transactions root]
    move   = [] if only the transaction is shown, else [position, 126 bytes, path to the leaf's moves root]

config and headers are the RLP whose SHA-256 is their hash; a path is the list of sibling hashes of an RFC 6962 tree,
leaf to root. One statement has one encoding: every byte is bound by a hash that leads to the trusted head, or refused.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MAGIC = b"MANAINCL"
INCLUSION_VERSION = 1
MAX_INCLUSION_BYTES = 2**14
"""More than the largest config, two headers, three paths, a leaf and a move together."""
MAX_EXTRA_DATA = 32
MAX_PATH = 48
"""No tree of the protocol has more than 2^48 leaves."""
CONFIG_VERSION = 1
HEADER_VERSION = 1
PROFILES = ("ethereum", "manaflow")
REFERENCE = 128
"""The bit of a move's mask that says it refers to its cell and does not consume it."""

_HEADER = (
    ("version", 8, False), ("config", 32, True), ("number", 8, False), ("parent_hash", 32, True),
    ("seen_parent_hash", 32, True), ("coinbase", 20, True), ("timestamp", 8, False), ("gas_limit", 8, False),
    ("gas_used", 8, False), ("base_fee", 8, False), ("prevrandao", 32, True), ("blob_gas_used", 8, False),
    ("excess_blob_gas", 8, False), ("parent_beacon_root", 32, True), ("extra_data", -1, True),
    ("transactions_root", 32, True), ("codes_root", 32, True), ("withdrawals_root", 32, True),
    ("history_root", 32, True), ("first_cell", 8, False), ("cells", 8, False), ("transactions", 8, False),
    ("codes", 8, False), ("fees", 32, False),
)  # fmt: skip
"""A header's items in order: name, bytes (of an integer: at most; -1: at most MAX_EXTRA_DATA), is it a byte string."""
_LEAF = (32, 32, 4, 4, 1, 8, 32, 8, 8, 32, 8)
"""Bytes of a leaf's fields: txid, moves root, consumes, references, status, gas used, logs hash, first cell, gas before
it, fees before it, blob gas before it."""
_MOVE = (1, 1, 8, 20, 32, 32, 32)
"""Bytes of a move's fields: mask, mark, number, addr, slot, prev, next."""


class InclusionRejected(ValueError):
    """The file does not show what it claims under the trusted head; the message says why."""


@dataclass(frozen=True)
class ShownMove:
    """A move as its block has it."""

    position: int
    """In the transaction, from 0."""
    mask: int
    mark: str
    """b balance, c code hash, e block hash, n nonce, s storage; whatever byte the block holds."""
    number: int
    """Of the cell that it uses; 0: virgin."""
    addr: bytes
    slot: bytes
    prev: bytes
    next: bytes
    makes: int | None
    """Number of the cell that it makes; None for a reference."""


@dataclass(frozen=True)
class Inclusion:
    """What a verified proof shows: this leaf, and this move of it, stand in this block of the head's chain."""

    chain_id: int
    profile: str
    head_number: int
    head_hash: bytes
    block_number: int
    block_hash: bytes
    timestamp: int
    """Of the block, seconds."""
    transaction: int
    """Position in the block, from 0; system transactions count."""
    txid: bytes
    status: int
    gas_used: int
    logs_hash: bytes
    consumes: int
    references: int
    first_cell: int
    """Number of the first cell that the transaction makes."""
    move: ShownMove | None


def verify_inclusion(data: bytes, trusted_head: bytes) -> Inclusion:
    """Verify a proof's bytes under the hash (32 bytes) of a head that the caller trusts. Raises InclusionRejected."""
    if len(data) > MAX_INCLUSION_BYTES:
        raise InclusionRejected(f"a file of {len(data)} bytes, at most {MAX_INCLUSION_BYTES} are allowed")
    start = len(MAGIC) + 1
    if data[: len(MAGIC)] != MAGIC or len(data) < start:
        raise InclusionRejected("not an inclusion proof: the file begins with other bytes")
    if data[start - 1] != INCLUSION_VERSION:
        raise InclusionRejected(f"version {data[start - 1]} of the format, this program reads {INCLUSION_VERSION}")
    outer = _List.whole(data[start:])
    config, head, header = outer.string(), outer.items(), outer.string()
    leaf, move = outer.items(), outer.items()
    outer.finish()
    chain_id, profile, genesis = _read_config(config)
    top, block = _read_chain(head, header, trusted_head, genesis)
    if not hashlib.sha256(config).digest() == block["config"] == top["config"]:
        raise InclusionRejected("the config is not the one that the headers name")
    position, row = _member(leaf, "leaf", sum(_LEAF), block["transactions"], block["transactions_root"])
    txid, moves_root, consumed, referenced, status, gas_used, logs_hash, first, *_ = _split(row, _LEAF)
    consumes, references, first_cell = _number(consumed), _number(referenced), _number(first)
    shown = _read_move(move, consumes, references, moves_root, first_cell) if move.more else None
    return Inclusion(
        chain_id, profile, top["number"], trusted_head, block["number"], hashlib.sha256(header).digest(),
        block["timestamp"], position, txid, _number(status), _number(gas_used), logs_hash, consumes, references,
        first_cell, shown,
    )  # fmt: skip


def _read_chain(head: _List, header: bytes, trusted: bytes, genesis: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of the trusted head's header and of the block's: the same header, or bound by a history path."""
    above, path = (head.string(), head.path()) if head.more else (header, None)
    head.finish()
    if hashlib.sha256(above).digest() != trusted:
        raise InclusionRejected(f"the head in the file is not the trusted head 0x{trusted.hex()}")
    top, block = read_header(above), read_header(header)
    if path is not None:
        leaf, position, count = hashlib.sha256(header).digest(), block["number"] - genesis, top["number"] - genesis
        if root_from_path(leaf, position, count, path) != top["history_root"]:
            raise InclusionRejected(f"block {block['number']} is not in the history of block {top['number']}")
    return top, block


def _read_move(move: _List, consumes: int, references: int, moves_root: bytes, first_cell: int) -> ShownMove:
    """A move of the transaction whose leaf says these counts and this root."""
    position, row = _member(move, "move", sum(_MOVE), consumes + references, moves_root)
    mask, mark, number, addr, slot, prev, after = _split(row, _MOVE)
    is_reference = bool(mask[0] & REFERENCE)
    if is_reference != (position >= consumes):
        raise InclusionRejected(
            "the move is no consume where the leaf counts one, or the reverse: the block is invalid"
        )
    makes = None if is_reference else first_cell + position
    return ShownMove(
        position, mask[0], mark.decode("latin-1"), _number(number), addr, slot, prev, after, makes
    )  # fmt: skip


def _member(items: _List, what: str, width: int, count: int, root: bytes) -> tuple[int, bytes]:
    """(position, bytes) of [position, bytes, path], a member of the tree with `count` leaves under `root`."""
    position, row, path = items.integer(8), items.string(width), items.path()
    items.finish()
    if root_from_path(row, position, count, path) != root:
        raise InclusionRejected(f"{what} {position} is not in its tree of {count}")
    return position, row


def root_from_path(leaf: bytes, position: int, count: int, siblings: Sequence[bytes]) -> bytes | None:
    """The root of the RFC 6962 tree of `count` leaves that a path leads to; None if its length does not fit."""
    if not 0 <= position < count:
        return None
    node, at, last, rest = hashlib.sha256(b"\0" + leaf).digest(), position, count - 1, iter(siblings)
    while last > 0:
        # A node without a right neighbour is carried up as it is.
        if at & 1 or at < last:
            sibling = next(rest, None)
            if sibling is None:
                return None
            left, right = (sibling, node) if at & 1 else (node, sibling)
            node = hashlib.sha256(b"\1" + left + right).digest()
        at, last = at >> 1, last >> 1
    return node if next(rest, None) is None else None


def read_header(data: bytes) -> dict[str, Any]:
    """A header's fields by name."""
    items = _List.whole(data)
    fields: dict[str, Any] = {}
    for name, width, is_bytes in _HEADER:
        fields[name] = items.string(width) if is_bytes else items.integer(width)
    items.finish()
    if fields["version"] != HEADER_VERSION:
        raise InclusionRejected(f"a header of version {fields['version']}, this program reads {HEADER_VERSION}")
    if len(fields["extra_data"]) > MAX_EXTRA_DATA:
        raise InclusionRejected("a header with too much extra data")
    return fields


def _read_config(data: bytes) -> tuple[int, str, int]:
    """(chain id, profile, genesis number). The config's hash is in the trusted header: nothing else is looked at."""
    items = _List.whole(data)
    version, chain_id, profile = items.integer(8), items.integer(8), items.integer(8)
    if version != CONFIG_VERSION or profile >= len(PROFILES):
        raise InclusionRejected("a config of another version or profile than this program reads")
    for _ in ("forks", "system calls", "producers"):
        items.items()
    return chain_id, PROFILES[profile], items.integer(8)


def _split(row: bytes, widths: Sequence[int]) -> Iterator[bytes]:
    """The fields of a row of fixed widths."""
    at = 0
    for width in widths:
        yield row[at : at + width]
        at += width


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


class _List:
    """Reads the items of one RLP list from front to back, strictly: one encoding, nothing beyond the list."""

    def __init__(self, data: bytes, at: int, stop: int) -> None:
        self.data, self.at, self.stop = data, at, stop

    @staticmethod
    def whole(data: bytes) -> _List:
        """A reader over the list that is all of `data`."""
        outer = _List(data, 0, len(data))
        inner = outer.items()
        outer.finish()
        return inner

    @property
    def more(self) -> bool:
        return self.at < self.stop

    def items(self) -> _List:
        """The next item, which must be a list."""
        is_list, start = self._next()
        if not is_list:
            raise InclusionRejected("the file does not decode: bytes where a list belongs")
        return _List(self.data, start, self.at)

    def string(self, width: int = -1) -> bytes:
        """The next item, which must be a byte string, of `width` bytes unless that is -1."""
        is_list, start = self._next()
        if is_list or width not in (-1, self.at - start):
            raise InclusionRejected("the file does not decode: a byte string is missing or of another length")
        return self.data[start : self.at]

    def integer(self, width: int) -> int:
        """The next item, an integer of at most `width` bytes without leading zeros."""
        value = self.string()
        if len(value) > width or value[:1] == b"\0":
            raise InclusionRejected("the file does not decode: an integer is too long or has a leading zero")
        return _number(value)

    def path(self) -> list[bytes]:
        """The next item, a list of at most MAX_PATH hashes."""
        items = self.items()
        hashes: list[bytes] = []
        while items.more:
            hashes.append(items.string(32))
            if len(hashes) > MAX_PATH:
                raise InclusionRejected(f"the file does not decode: a path of more than {MAX_PATH} hashes")
        return hashes

    def finish(self) -> None:
        """Nothing may be left."""
        if self.more:
            raise InclusionRejected("the file does not decode: something follows a list's last item")

    def _next(self) -> tuple[bool, int]:
        """(is it a list, where its payload starts); moves behind it."""
        if self.at >= self.stop:
            raise InclusionRejected("the file does not decode: an item is missing")
        first, start = self.data[self.at], self.at + 1
        is_list, length = first >= 0xC0, first - (0xC0 if first >= 0xC0 else 0x80)
        if length < 0:
            start, length = self.at, 1
        elif length > 55:
            start += length - 55
            digits = self.data[self.at + 1 : min(start, self.stop)]
            length = _number(digits)
            if digits[:1] == b"\0" or length < 56:
                raise InclusionRejected("the file does not decode: a length that fits a shorter form")
        if length > self.stop - start:
            raise InclusionRejected("the file does not decode: an item is longer than what holds it")
        if first == 0x81 and self.data[start] < 0x80:
            raise InclusionRejected("the file does not decode: a single byte with a prefix")
        self.at = start + length
        return is_list, start


def main(arguments: Sequence[str]) -> int:
    """`python3 inclusion.py FILE HEAD_HASH`: prints what is shown as JSON. Exit codes: 1 rejected, 2 wrong usage."""
    try:
        file, head = arguments[0], bytes.fromhex(arguments[1].removeprefix("0x"))
        with open(file, "rb") as stream:
            data = stream.read(MAX_INCLUSION_BYTES + 1)
    except (IndexError, ValueError, OSError) as error:
        print(f"usage: inclusion.py FILE HEAD_HASH ({error})", file=sys.stderr)
        return 2
    try:
        shown = verify_inclusion(data, head)
    except InclusionRejected as error:
        print(f"rejected: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(shown), default=lambda value: "0x" + value.hex(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
