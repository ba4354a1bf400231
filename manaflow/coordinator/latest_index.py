"""The latest index on disk: the cell that lives at each location, transactions by id, receipts, the kept pool.

It is a second environment beside the validator's and never part of a validation. Each block's changes and the index's
own tip are one transaction, so that it may lag behind the validator and always knows by how much; `following.catch_up`
brings it back in step. A commit waits for its pages alone (`Store.open(is_derived=True)`): kill -9 loses nothing, and a
loss of power at most the last commit, which the blocks bring back. A few blocks may even wait in memory for a common
commit (`open(waiting=...)`): many of them write the same pages, and their blocks are on the validator's disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import rlp
from numpy.typing import NDArray

from manaflow.coordinator.receipts import Receipt
from manaflow.errors import Failure, StorageFailure
from manaflow.moves.block import Block
from manaflow.moves.columns import U8
from manaflow.moves.marks import Location, Mask
from manaflow.moves.rlp_reader import encode_integer, encode_string, list_prefix
from manaflow.moves.words import words_of
from manaflow.validator.store import ROOM, Store, Transaction, number_key

KEY_BYTES: Final = 1 + 20 + 32
"""mark | addr | slot."""
RECORD_BYTES: Final = 8 + 32 + 32
"""number:8 | intx | value."""
VIRGIN_RECORD: Final = bytes(RECORD_BYTES)
KEEP_UNDO: Final = 64
"""Blocks that can be taken back, at least."""
MAX_RECENT: Final = 1 << 16
"""Cells, and transactions, of the last blocks that are in memory too (some 250 bytes each)."""
MAX_WAITING_CELLS: Final = 1 << 13
"""Cells of blocks that wait for the disk: as many take some 10 ms to write."""
MAX_WAITING_BYTES: Final = 1 << 24
"""Of their receipts."""
_TIP: Final = b"tip"
_SMALL: Final = [encode_integer(value) for value in range(256)]
"""RLP of integers that fit a byte."""


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


@dataclass(frozen=True, slots=True)
class _Change:
    """What one block changes."""

    tip: LatestTip
    cells: dict[bytes, bytes]
    """Key -> record of every location's last consume, by ascending keys."""
    before: bytes | None
    """The undo journal; None for genesis, which is never taken back."""
    places: dict[bytes, bytes]
    """Txid -> where it stands, of each leaf, by ascending txids."""
    receipts: bytes


class LatestIndex:
    """One owner, one thread."""

    def __init__(self, store: Store, keep_undo: int, waiting: int) -> None:
        """Use `open`."""
        self._store, self._keep_undo, self._may_wait = store, keep_undo, waiting
        self._waiting: list[_Change] = []
        """Blocks that are applied and not on disk yet; their cells and places are all in memory."""
        self._views = ExitStack()
        self._view: Transaction | None = None
        self.tip = _read_tip(self._read())
        """None before genesis is applied."""
        self._cells: dict[bytes, bytes] = {}
        """Records that the last blocks have made: what was written is asked for soon."""
        self._places: dict[bytes, bytes] = {}
        """Where the transactions of the last blocks stand, likewise."""

    @classmethod
    def open(cls, path: Path, *, keep_undo: int = KEEP_UNDO, waiting: int = 0) -> LatestIndex:
        """Open or create the directory `path`. keep_undo: blocks that can be taken back.

        waiting: blocks that may be in memory alone, until `close` at the latest; kill -9 leaves the index behind by as
        many. Raises Locked, StorageFailure.
        """
        store = Store.open(path, tables=LatestTable, is_derived=True)
        try:
            return cls(store, max(keep_undo, KEEP_UNDO), waiting)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Let go of the directory. Safe to call twice, and after a failure: what cannot be written any more is lost."""
        with suppress(StorageFailure):
            self._write_waiting()
        self._drop_view()
        self._store.close()

    def flush(self) -> None:
        """Put on disk what waits. Raises StorageFailure."""
        self._write_waiting()

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
        """A consistent copy, without what waits, in the empty directory `path`, from any thread.

        Raises StorageFailure.
        """
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
        found = next((change.receipts for change in self._waiting if change.tip.number == number), None)
        if found is None and 0 <= number < 2**64:
            found = self._read().get(LatestTable.RECEIPTS, number_key(number))
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
        change = self._change(block, receipts)
        self._waiting.append(change)
        if not self._may_all_wait():
            try:
                self._write_waiting()
            except BaseException:
                self._waiting.pop()
                raise
        self.tip = change.tip
        _remember(self._cells, change.cells)
        _remember(self._places, change.places)

    def _may_all_wait(self) -> bool:
        """Whether the blocks that wait are few, and memory has room for the last one's cells and places."""
        waiting, last = self._waiting, self._waiting[-1]
        room = MAX_RECENT - max(len(self._cells) + len(last.cells), len(self._places) + len(last.places))
        if len(waiting) > self._may_wait or room < 0:
            return False
        is_small = sum(len(change.receipts) for change in waiting) <= MAX_WAITING_BYTES
        return is_small and sum(len(change.cells) for change in waiting) <= MAX_WAITING_CELLS

    def _change(self, block: Block, receipts: Sequence[Receipt]) -> _Change:
        cells, recent, before = _cells_made(block), self._cells, None
        if self.tip is not None:
            old = list(map(recent.get, cells))
            asked = [key for key, record in zip(cells, old, strict=True) if record is None]
            known = self._read().get_many(LatestTable.CELLS, asked)
            pairs = zip(cells, old, strict=True)
            before = b"".join([key + (record or known.get(key, VIRGIN_RECORD)) for key, record in pairs])
        tip = LatestTip(block.header.number, block.hash)
        return _Change(tip, cells, before, _places(block), _encode_receipts(receipts))

    def _write_waiting(self, rest: Callable[[Transaction], None] | None = None, size: int = 0) -> None:
        """Put what waits on disk, and the rest, of so many bytes, in one commit.

        Nothing has changed if it raises StorageFailure.
        """
        if not self._waiting and rest is None:
            return
        self._drop_view()
        size += sum(len(change.receipts) for change in self._waiting)
        with self._store.write(ROOM + 2 * size) as txn:
            self._write_changes(txn)
            if rest is not None:
                rest(txn)
        self._waiting.clear()

    def _write_changes(self, txn: Transaction) -> None:
        for change in self._waiting:
            number, height = change.tip.number, number_key(change.tip.number)
            if change.before is not None:
                txn.put(LatestTable.UNDO, height, change.before)
            if number >= self._keep_undo:
                txn.delete(LatestTable.UNDO, number_key(number - self._keep_undo))
            txn.put(LatestTable.RECEIPTS, height, change.receipts)
            txn.put_many(LatestTable.TRANSACTIONS, list(change.places.items()))
            txn.put_many(LatestTable.CELLS, list(change.cells.items()))
        if self._waiting:
            _write_tip(txn, self._waiting[-1].tip)

    def undo(self, block: Block) -> None:
        """Take back the tip, which is this block: cells as before it, its receipts and transactions gone.

        Raises Failure if it is not the tip, or too old.
        """
        header, tip = block.header, self.tip
        if tip is None or block.hash != tip.hash:
            raise Failure(f"block {header.number} (0x{block.hash.hex()}) is not the tip of the latest index")
        height, before = number_key(header.number), LatestTip(header.number - 1, header.parent_hash)
        self._write_waiting()
        self._drop_view()
        self._cells.clear()
        self._places.clear()
        with self._store.write() as txn:
            journal = txn.get(LatestTable.UNDO, height)
            if journal is None:
                raise Failure(f"block {header.number} is too old to be taken back from the latest index; build it anew")
            _restore_cells(txn, journal)
            for txid in _places(block):
                txn.delete(LatestTable.TRANSACTIONS, txid)
            txn.delete(LatestTable.UNDO, height)
            txn.delete(LatestTable.RECEIPTS, height)
            _write_tip(txn, before)
        self.tip = before

    def keep(self, kept: Iterable[tuple[int, bytes]], forgotten: Iterable[int] = ()) -> None:
        """Remember acknowledged transactions, (arrival, envelope), and forget others by arrival; one commit."""
        rows = list(kept)

        def change_pool(txn: Transaction) -> None:
            for arrival in forgotten:
                txn.delete(LatestTable.POOL, number_key(arrival))
            for arrival, envelope in rows:
                txn.put(LatestTable.POOL, number_key(arrival), envelope)

        self._write_waiting(change_pool, sum(len(envelope) for _, envelope in rows))

    def kept(self) -> tuple[tuple[int, bytes], ...]:
        """(arrival, envelope) of every transaction that is kept, by ascending arrival."""
        rows = self._read().items(LatestTable.POOL)
        return tuple((int.from_bytes(key, "big"), bytes(envelope)) for key, envelope in rows)


def _remember(recent: dict[bytes, bytes], new: dict[bytes, bytes]) -> None:
    """Put what a block has made with what the last ones have; nothing of theirs is kept when it is too much."""
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
    """The record of every location's last consume in a block, by ascending key."""
    moves, leaves = block.moves, block.leaves
    rows = np.flatnonzero((moves.mask & Mask.REFERENCE) == 0)
    numbers = np.arange(len(rows), dtype=np.uint64) + np.uint64(block.header.first_cell)
    records = np.concatenate(
        [words_of(numbers), np.repeat(leaves.txid, leaves.consumes, axis=0), moves.next[rows]], axis=1
    )
    keys = np.concatenate([moves.mark[rows].reshape(-1, 1), moves.addr[rows], moves.slot[rows]], axis=1)
    return _by_ascending_keys(keys, records)


def _places(block: Block) -> dict[bytes, bytes]:
    """Txid -> where it stands, of each leaf, by ascending txid."""
    places = np.empty((len(block.leaves), 12), np.uint8)
    places[:, :8] = np.frombuffer(number_key(block.header.number), np.uint8)
    places[:, 8:] = words_of(np.arange(len(places), dtype=np.uint32))
    return _by_ascending_keys(block.leaves.txid, places)


def _by_ascending_keys(keys: U8, values: U8) -> dict[bytes, bytes]:
    """Row of keys -> row of values, the last one of equal keys. Sorting columns is faster than sorting objects."""
    order = _items(keys).argsort(kind="stable")
    return dict(zip(_items(keys[order]).tolist(), _items(values[order]).tolist(), strict=True))


def _items(column: U8) -> NDArray[np.void]:
    """The rows of uint8[n, width] as items of so many bytes."""
    return np.ascontiguousarray(column).view(f"V{column.shape[1]}").ravel()


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
    rows: list[bytes] = []
    for r in receipts:
        row = _SMALL[r.type] + _SMALL[r.status] + encode_integer(r.cumulative_gas) + encode_string(r.logs_rlp)
        rows += (list_prefix(len(row)), row)
    data = b"".join(rows)
    return list_prefix(len(data)) + data


def _decode_receipts(data: bytes) -> tuple[Receipt, ...]:
    number = int.from_bytes
    rows = rlp.decode(data)
    return tuple(
        Receipt(number(t, "big"), number(s, "big"), number(gas, "big"), bytes(logs)) for t, s, gas, logs in rows
    )
