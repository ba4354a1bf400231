"""Blocks by hash, the canonical chain by number, and from a cell's number to the moves that made and consumed it.

An undone block stays by its hash, so that it can come back; its canonical record and its cells go. Of a pruned block
(pruning.py) only the header stays by its hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from manaflow.errors import Failure, Pruned, StorageFailure, Verdict
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.marks import Location, Mask
from manaflow.moves.trees import Frontier, leaf_hash
from manaflow.moves.wire import decode_block, decode_header
from manaflow.validator.store import Table, Transaction, number_key

HASH_BYTES: Final = 32
MAX_PEAKS: Final = 48
"""A history tree's frontier has at most this many hashes."""
PRUNED_MAGIC: Final = b"PRUN"
"""Stands before the header of a block whose body is gone, in place of its file (which begins with MANA)."""


class Place(NamedTuple):
    """One move of a stored block."""

    block: Block
    transaction: int
    move: int
    """Position within the transaction."""

    @property
    def row(self) -> int:
        """The move's row in the block."""
        return int(self.block.leaves.move_offsets()[self.transaction]) + self.move

    @property
    def txid(self) -> bytes:
        """Id of the transaction, 32 bytes."""
        return bytes(self.block.leaves.txid[self.transaction])


@dataclass(frozen=True, slots=True)
class Canonical:
    """What is kept by number of each block of the canonical chain."""

    hash: bytes
    header: Header
    peaks: tuple[bytes, ...]
    """The frontier of the tree over the hashes of all blocks before this one: its root is the header's (B6)."""

    def frontier(self, genesis_number: int) -> Frontier:
        """The history tree up to the block before this one."""
        return Frontier(self.header.number - genesis_number, self.peaks)

    def followed_by(self, header: Header, genesis_number: int) -> Canonical:
        """The record of the next block."""
        frontier = self.frontier(genesis_number)
        frontier.append(leaf_hash(self.hash))
        return Canonical(header.hash, header, tuple(frontier.peaks))

    def encode(self) -> bytes:
        """hash:32 | peaks:1 | each 32 | the header's RLP."""
        return self.hash + bytes((len(self.peaks),)) + b"".join(self.peaks) + self.header.encode()

    @staticmethod
    def decode(data: bytes) -> Canonical:
        """Raises StorageFailure if the record is damaged."""
        try:
            count = data[HASH_BYTES]
            end = HASH_BYTES + 1 + HASH_BYTES * count
            peaks = tuple(data[i : i + HASH_BYTES] for i in range(HASH_BYTES + 1, end, HASH_BYTES))
            record = Canonical(data[:HASH_BYTES], Header.decode(data[end:]), peaks)
        except (IndexError, Verdict) as error:
            raise StorageFailure(f"a canonical record is damaged: {error}") from error
        if count > MAX_PEAKS or record.header.hash != record.hash:
            raise StorageFailure(f"the canonical record of block {record.header.number} is damaged")
        return record


class Archive:
    """Reads and writes blocks inside one transaction of the store."""

    def __init__(self, txn: Transaction) -> None:
        self._txn = txn

    def put(self, record: Canonical, data: bytes) -> None:
        """Store a block's bytes and make it the canonical one of its number."""
        header = record.header
        self._txn.put(Table.BLOCKS, record.hash, data)
        self._txn.put(Table.CANONICAL, number_key(header.number), record.encode())
        if header.cells:
            self._txn.put(Table.FIRST_CELLS, number_key(header.first_cell), number_key(header.number))

    def uncanonical(self, header: Header) -> None:
        """Take a block off the canonical chain; its bytes stay."""
        self._txn.delete(Table.CANONICAL, number_key(header.number))
        if header.cells:
            self._txn.delete(Table.FIRST_CELLS, number_key(header.first_cell))

    def canonical(self, number: int) -> Canonical | None:
        """The canonical record of a number, or None beyond the head or before genesis."""
        if not 0 <= number < 2**64:
            return None
        data = self._txn.get(Table.CANONICAL, number_key(number))
        return None if data is None else Canonical.decode(data)

    def head(self) -> Canonical | None:
        """The record of the last block, None in an empty store."""
        last = self._txn.last(Table.CANONICAL)
        return None if last is None else Canonical.decode(bytes(last[1]))

    def data(self, block_hash: bytes) -> bytes | None:
        """A block's bytes, canonical or undone. Raises Pruned if only its header is left."""
        data = self._stored(block_hash)
        if data is not None and is_pruned(data):
            raise Pruned(header_in(data).number, block_hash)
        return data

    def header_of(self, block_hash: bytes) -> Header | None:
        """A block's header, canonical or undone, pruned or not."""
        data = self._stored(block_hash)
        return None if data is None else header_in(data)

    def _stored(self, block_hash: bytes) -> bytes | None:
        return self._txn.get(Table.BLOCKS, block_hash) if len(block_hash) == HASH_BYTES else None

    def block(self, key: int | bytes) -> Block | None:
        """A block by number (canonical) or hash (an undone one, too). Raises StorageFailure if damaged, Pruned."""
        if isinstance(key, int):
            record = self.canonical(key)
            if record is None:
                return None
            key = record.hash
        data = self.data(key)
        if data is None:
            return None
        try:
            block = decode_block(data, NATIVE)
        except Verdict as error:
            raise StorageFailure(f"block 0x{key.hex()} is damaged: {error}") from error
        if block.hash != key:
            raise StorageFailure(f"the bytes stored for block 0x{key.hex()} are another block's")
        return block

    def maker(self, number: int) -> Place | None:
        """The move that made cell `number`, or None if no canonical block did."""
        found = self._txn.floor(Table.FIRST_CELLS, number_key(number)) if 0 < number < 2**64 else None
        block = None if found is None else self.block(int.from_bytes(found[1], "big"))
        return None if block is None else maker_in(block, number)

    def consumer(self, number: int) -> Place | None:
        """The move that consumed cell `number`, None if none did: reads from its maker's block to the head."""
        made = self.maker(number)
        if made is None:
            return None
        for block in self.blocks_from(made.block.header.number):
            rows = np.flatnonzero((block.moves.number == np.uint64(number)) & (block.moves.mask & Mask.REFERENCE == 0))
            if len(rows):
                return place_of(block, int(rows[0]))
        return None

    def first_writer(self, location: Location) -> Place | None:
        """The move that consumed the virgin cell of a location, None if none did: reads from genesis to the head."""
        genesis = self._first_number()
        for block in () if genesis is None else self.blocks_from(genesis):
            row = first_consume_at(block, location)
            if row is not None:
                return place_of(block, row)
        return None

    def blocks_from(self, number: int) -> Iterator[Block]:
        """Canonical blocks from `number` to the head, ascending."""
        while (block := self.block(number)) is not None:
            yield block
            number += 1

    def _first_number(self) -> int | None:
        for key, _ in self._txn.items(Table.CANONICAL):
            return int.from_bytes(key, "big")
        return None


def misplaced(header: Header, head: Canonical, archive: Archive) -> Failure:
    """Why a block is not the one after the head, although no rule is broken: its parent is another block."""
    named, parent = f"block {header.number} (0x{header.hash.hex()})", f"0x{header.parent_hash.hex()}"
    own, is_known = archive.canonical(header.number), archive.data(header.parent_hash) is not None
    if own is not None and own.hash == header.hash:
        return Failure(f"{named} is in the chain already")
    if not is_known:
        return Failure(f"the parent of {named} is unknown: {parent}")
    at = f"block {head.header.number}, 0x{head.hash.hex()}"
    return Failure(f"{named} builds on {parent}, which is not the head ({at}): undo to it first")


def is_pruned(stored: bytes | memoryview) -> bool:
    """True if what is stored by a block's hash is its header alone."""
    return bytes(stored[: len(PRUNED_MAGIC)]) == PRUNED_MAGIC


def header_in(stored: bytes) -> Header:
    """The header of what is stored by a block's hash. Raises StorageFailure if it is damaged."""
    try:
        return Header.decode(stored[len(PRUNED_MAGIC) :]) if is_pruned(stored) else decode_header(stored)[0]
    except Verdict as error:
        raise StorageFailure(f"a stored block is damaged: {error}") from error


def maker_in(block: Block, number: int) -> Place | None:
    """The move of a block that makes cell `number`, or None if the block does not make it."""
    if not block.header.first_cell <= number < block.header.first_cell + block.header.cells:
        return None
    first_cells = block.leaves.first_cell
    transaction = int(np.searchsorted(first_cells, np.uint64(number), side="right")) - 1
    return Place(block, transaction, number - int(first_cells[transaction]))


def place_of(block: Block, row: int) -> Place:
    """Row `row` of a block's moves as transaction and position."""
    offsets = block.leaves.move_offsets()
    transaction = int(np.searchsorted(offsets, row, side="right")) - 1
    return Place(block, transaction, row - int(offsets[transaction]))


def first_consume_at(block: Block, location: Location) -> int | None:
    """Row of the block's first consume at `location`, or None."""
    mark, addr, slot = location
    moves = block.moves
    hit = (moves.mark == mark) & (moves.mask & Mask.REFERENCE == 0)
    hit &= (moves.addr == np.frombuffer(addr, np.uint8)).all(axis=1)
    hit &= (moves.slot == np.frombuffer(slot, np.uint8)).all(axis=1)
    rows = np.flatnonzero(hit)
    return int(rows[0]) if len(rows) else None
