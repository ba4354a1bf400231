"""The latest index on disk: the cell that lives at each location, transactions by id, receipts, the kept pool.

It is a second environment beside the validator's and never part of a validation. Each block's changes and the index's
own tip are one transaction, so that it may lag behind the validator and always knows by how much; `following.catch_up`
brings it back in step. A commit waits for its pages alone (`Store.open(is_derived=True)`): kill -9 loses nothing, and a
loss of power at most the last commit, which the blocks bring back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import rlp

from manaflow.coordinator.receipts import Receipt
from manaflow.errors import Failure, StorageFailure
from manaflow.moves.block import Block
from manaflow.moves.columns import Moves
from manaflow.moves.marks import Location, Mask
from manaflow.moves.rlp_reader import encode_integer, encode_string, list_prefix
from manaflow.moves.words import words_of
from manaflow.validator.store import Store, Transaction, number_key

KEY_BYTES: Final = 1 + 20 + 32
"""mark | addr | slot."""
RECORD_BYTES: Final = 8 + 32 + 32
"""number:8 | intx | value."""
VIRGIN_RECORD: Final = bytes(RECORD_BYTES)
KEEP_UNDO: Final = 64
"""Blocks that can be taken back, at least."""
MAX_RECENT: Final = 1 << 16
"""Cells, and transactions, of the last blocks that are in memory too (some 250 bytes each)."""
_TIP: Final = b"tip"


class LatestTable(StrEnum):
    """The tables of the latest index's environment."""

    CELLS = "cells"
    """Key of KEY_BYTES -> record of RECORD_BYTES."""
    TRANSACTIONS = "transactions"
    """Txid -> block number:8 | place of its leaf:4; system transactions too."""
    RECEIPTS = "receipts"
    """Block number -> RLP of [type, status, cumulative gas, RLP of the logs] of each signed transaction."""
    UNDO = "undo"
    """Block number -> key | record before it, of every location that the block consumed."""
    POOL = "pool"
    """Arrival -> envelope of an acknowledged transaction that is not sealed yet."""
    META = "meta"
    """The format and the tip."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A live cell."""

    number: int
    """0 for a virgin one."""
    intx: bytes
    """Txid of its maker, 32 bytes; zero for a virgin one."""
    value: bytes
    """32 bytes."""

    @staticmethod
    def of(record: bytes) -> Cell:
        """From its RECORD_BYTES."""
        return Cell(int.from_bytes(record[:8], "big"), record[8:40], record[40:])


@dataclass(frozen=True, slots=True)
class LatestTip:
    """The block whose state the index holds."""

    number: int
    hash: bytes


def key_of(location: Location) -> bytes:
    """A location's key, KEY_BYTES."""
    mark, addr, slot = location
    return bytes((mark,)) + addr + slot


def keys_of(moves: Moves) -> list[bytes]:
    """The key of each move."""
    n = len(moves)
    data = np.concatenate([moves.mark.reshape(n, 1), moves.addr, moves.slot], axis=1).tobytes()
    return [data[at : at + KEY_BYTES] for at in range(0, n * KEY_BYTES, KEY_BYTES)]


class LatestIndex:
    """One owner, one thread."""

    def __init__(self, store: Store, keep_undo: int) -> None:
        """Use `open`."""
        self._store, self._keep_undo = store, keep_undo
        self._views = ExitStack()
        self._view: Transaction | None = None
        self.tip = _read_tip(self._read())
        self._cells: dict[bytes, bytes] = {}
        """Records that the last blocks have made, as the disk has them: what was written is asked for soon."""
        self._places: dict[bytes, bytes] = {}
        """Where the transactions of the last blocks stand, likewise."""
        """None before genesis is applied."""

    @classmethod
    def open(cls, path: Path, *, keep_undo: int = KEEP_UNDO) -> LatestIndex:
        """Open or create the directory `path`. keep_undo: blocks that can be taken back.

        Raises Locked, StorageFailure.
        """
        store = Store.open(path, tables=LatestTable, is_derived=True)
        try:
            return cls(store, max(keep_undo, KEEP_UNDO))
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Let go of the directory. Safe to call twice."""
        self._drop_view()
        self._store.close()

    def __enter__(self) -> LatestIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> Transaction:
        """The view that this owner's reads share until its next write: opening one costs more than a read."""
        if self._view is None:
            self._view = self._views.enter_context(self._store.read())
        return self._view

    def _drop_view(self) -> None:
        self._views.close()
        self._view = None

    def copy_to(self, path: Path) -> None:
        """A consistent copy in the empty directory `path`, from any thread. Raises StorageFailure."""
        self._store.copy_to(path, compact=True)

    def record(self, key: bytes) -> bytes | None:
        """The record of a location's live cell by its key, None for a virgin one."""
        found = self._cells.get(key)
        return self._read().get(LatestTable.CELLS, key) if found is None else found

    def source(self, key: bytes) -> bytes | None:
        """The value of a location by its key: what a native World asks."""
        record = self.record(key)
        return None if record is None else record[40:]

    def cell(self, location: Location) -> Cell:
        """The live cell at a location."""
        return Cell.of(self.record(key_of(location)) or VIRGIN_RECORD)

    def transaction(self, txid: bytes) -> tuple[int, int] | None:
        """(block number, place of the leaf) of a sealed transaction."""
        found = self._places.get(txid)
        if found is None and len(txid) == 32:
            found = self._read().get(LatestTable.TRANSACTIONS, txid)
        return None if found is None else (int.from_bytes(found[:8], "big"), int.from_bytes(found[8:], "big"))

    def receipts(self, number: int) -> tuple[Receipt, ...] | None:
        """The receipts of a block's signed transactions, in order; None for a block that the index does not hold."""
        found = self._read().get(LatestTable.RECEIPTS, number_key(number)) if 0 <= number < 2**64 else None
        return None if found is None else _decode_receipts(found)

    def apply(self, block: Block, receipts: Sequence[Receipt]) -> None:
        """Follow the chain by one valid block, or begin with its genesis. receipts: of its signed transactions.

        Raises Failure if it does not follow the tip; then, and after a StorageFailure, nothing has changed.
        """
        header, tip = block.header, self.tip
        if tip is not None and (header.number, header.parent_hash) != (tip.number + 1, tip.hash):
            raise Failure(f"block {header.number} does not follow block {tip.number} of the latest index")
        if len(receipts) != len(block.envelopes):
            raise ValueError(f"{len(receipts)} receipts for {len(block.envelopes)} transactions")
        cells, after = _cells_made(block), LatestTip(header.number, block.hash)
        keys, height, places = sorted(cells), number_key(header.number), _places(block)
        self._drop_view()
        with self._store.write() as txn:
            if tip is not None:  # genesis is never taken back
                recent = self._cells
                before = {key: recent[key] for key in keys if key in recent}
                before |= txn.get_many(LatestTable.CELLS, [key for key in keys if key not in recent])
                txn.put(LatestTable.UNDO, height, b"".join(key + before.get(key, VIRGIN_RECORD) for key in keys))
            if header.number >= self._keep_undo:
                txn.delete(LatestTable.UNDO, number_key(header.number - self._keep_undo))
            txn.put_many(LatestTable.CELLS, [(key, cells[key]) for key in keys])
            txn.put_many(LatestTable.TRANSACTIONS, places)
            txn.put(LatestTable.RECEIPTS, height, _encode_receipts(receipts))
            _write_tip(txn, after)
        self.tip = after
        _remember(self._cells, cells)
        _remember(self._places, dict(places))

    def undo(self, block: Block) -> None:
        """Take back the tip, which is this block: cells as before it, its receipts and transactions gone.

        Raises Failure if it is not the tip, or too old.
        """
        header, tip = block.header, self.tip
        if tip is None or block.hash != tip.hash:
            raise Failure(f"block {header.number} (0x{block.hash.hex()}) is not the tip of the latest index")
        height, before = number_key(header.number), LatestTip(header.number - 1, header.parent_hash)
        self._drop_view()
        self._cells.clear()
        self._places.clear()
        with self._store.write() as txn:
            journal = txn.get(LatestTable.UNDO, height)
            if journal is None:
                raise Failure(f"block {header.number} is too old to be taken back from the latest index; build it anew")
            _restore_cells(txn, journal)
            for txid, _ in _places(block):
                txn.delete(LatestTable.TRANSACTIONS, txid)
            txn.delete(LatestTable.UNDO, height)
            txn.delete(LatestTable.RECEIPTS, height)
            _write_tip(txn, before)
        self.tip = before

    def keep(self, kept: Iterable[tuple[int, bytes]], forgotten: Iterable[int] = ()) -> None:
        """Remember acknowledged transactions, (arrival, envelope), and forget others by arrival; one commit."""
        self._drop_view()
        with self._store.write() as txn:
            for arrival in forgotten:
                txn.delete(LatestTable.POOL, number_key(arrival))
            for arrival, envelope in kept:
                txn.put(LatestTable.POOL, number_key(arrival), envelope)

    def kept(self) -> tuple[tuple[int, bytes], ...]:
        """(arrival, envelope) of every transaction that is kept, by ascending arrival."""
        rows = self._read().items(LatestTable.POOL)
        return tuple((int.from_bytes(key, "big"), bytes(envelope)) for key, envelope in rows)


def _remember(recent: dict[bytes, bytes], new: dict[bytes, bytes]) -> None:
    """Put what is committed with what was committed lately; nothing of that is kept when it is too much."""
    if len(recent) + len(new) > MAX_RECENT:
        recent.clear()
    if len(new) <= MAX_RECENT:
        recent.update(new)


def _read_tip(txn: Transaction) -> LatestTip | None:
    found = txn.get(LatestTable.META, _TIP)
    if found is None:
        return None
    if len(found) != 40:
        raise StorageFailure("the latest index's tip is damaged")
    return LatestTip(int.from_bytes(found[:8], "big"), found[8:])


def _write_tip(txn: Transaction, tip: LatestTip) -> None:
    txn.put(LatestTable.META, _TIP, number_key(tip.number) + tip.hash)


def _cells_made(block: Block) -> dict[bytes, bytes]:
    """The record of every location's last consume in a block, by key."""
    moves, leaves = block.moves, block.leaves
    rows = np.flatnonzero((moves.mask & Mask.REFERENCE) == 0)
    numbers = np.arange(len(rows), dtype=np.uint64) + np.uint64(block.header.first_cell)
    makers = leaves.txid[np.repeat(np.arange(len(leaves)), leaves.consumes)]
    records = np.concatenate([words_of(numbers), makers, moves.next[rows]], axis=1).tobytes()
    keys = np.concatenate([moves.mark[rows].reshape(-1, 1), moves.addr[rows], moves.slot[rows]], axis=1).tobytes()
    return {
        keys[i * KEY_BYTES : (i + 1) * KEY_BYTES]: records[i * RECORD_BYTES : (i + 1) * RECORD_BYTES]
        for i in range(len(rows))
    }


def _places(block: Block) -> list[tuple[bytes, bytes]]:
    """(txid, where it stands) of each leaf, ascending."""
    height, txids = number_key(block.header.number), block.leaves.txid.tobytes()
    return sorted((txids[32 * i : 32 * i + 32], height + i.to_bytes(4, "big")) for i in range(len(block.leaves)))


def _restore_cells(txn: Transaction, journal: bytes) -> None:
    """Write back what an undo journal holds; a location that was virgin has no record."""
    width, pairs = KEY_BYTES + RECORD_BYTES, []
    for at in range(0, len(journal), width):
        key, record = journal[at : at + KEY_BYTES], journal[at + KEY_BYTES : at + width]
        if record == VIRGIN_RECORD:
            txn.delete(LatestTable.CELLS, key)
        else:
            pairs.append((key, record))
    txn.put_many(LatestTable.CELLS, pairs)


def _encode_receipts(receipts: Sequence[Receipt]) -> bytes:
    rows = []
    for r in receipts:
        row = b"".join(map(encode_integer, (r.type, r.status, r.cumulative_gas))) + encode_string(r.logs_rlp)
        rows.append(list_prefix(len(row)) + row)
    return list_prefix(sum(map(len, rows))) + b"".join(rows)


def _decode_receipts(data: bytes) -> tuple[Receipt, ...]:
    number = int.from_bytes
    rows = rlp.decode(data)
    return tuple(
        Receipt(number(t, "big"), number(s, "big"), number(gas, "big"), bytes(logs)) for t, s, gas, logs in rows
    )
