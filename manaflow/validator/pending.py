"""What a validator has acknowledged and no sealed block holds yet, on disk (docs/SPEC.md, sections 8 and 10).

The table PENDING holds one open block: under key 0 its header and opening leaves, under 1, 2, ... what was admitted,
batch by batch, cells named by the numbers that they had then. Importing a block empties it in the same transaction.
SIGNED names the block that this node's producer signed on a parent: never another one on it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from manaflow.errors import StorageFailure, Verdict
from manaflow.moves.batch import Batch
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.wire_batch import BatchLimits, decode_batch, encode_batch
from manaflow.validator.store import ROOM, Store, Table, Transaction, number_key

_OWN: Final = BatchLimits(file_bytes=2**31, raw_bytes=2**31, transactions=2**24, moves=2**24, codes=2**24)
"""One's own batches were bounded when they came."""
_LEVEL: Final = 1
_HEADER_LENGTH: Final = struct.Struct(">H")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An open block as it is on disk."""

    opened: Header
    opening: Batch
    """The opening system leaves, without envelopes' bytes."""
    batches: tuple[Batch, ...]


class Pending:
    """The two tables of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._signed: dict[bytes, bytes | None] = {}
        """The answer that `signed` gave last, by parent: it is asked for at every turn of a node."""

    def begin(self, opened: Header, opening: Batch, admitted: Sequence[Batch] = ()) -> None:
        """Forget the open block that was there, and begin one. admitted: what it has taken before it comes to disk."""
        header = opened.encode()
        record = _HEADER_LENGTH.pack(len(header)) + header + encode_batch(opening, _LEVEL)
        records = [record, *(encode_batch(batch, _LEVEL) for batch in admitted)]
        with self._store.write(ROOM + sum(map(len, records))) as txn:
            forget_open_block(txn)
            for place, data in enumerate(records):
                txn.put(Table.PENDING, number_key(place), data, append=True)

    def acknowledge(self, batches: Sequence[Batch]) -> None:
        """Put what was admitted, batch by batch, behind what is there: it is on disk when this returns."""
        records = [encode_batch(batch, _LEVEL) for batch in batches]
        with self._store.write(ROOM + sum(map(len, records))) as txn:
            last = txn.last(Table.PENDING)
            if last is None:
                raise StorageFailure("the open block's record is missing")
            for place, data in enumerate(records, int.from_bytes(last[0], "big") + 1):
                txn.put(Table.PENDING, number_key(place), data, append=True)

    def load(self) -> Acknowledged | None:
        """The open block on disk, None if there is none. Raises StorageFailure if it is damaged."""
        with self._store.read() as txn:
            records = [bytes(value) for _, value in txn.items(Table.PENDING)]
        if not records:
            return None
        head, length = records[0], int.from_bytes(records[0][: _HEADER_LENGTH.size], "big")
        split = _HEADER_LENGTH.size + length
        try:
            opened = Header.decode(head[_HEADER_LENGTH.size : split])
            opening, *batches = (decode_batch(data, _OWN) for data in (head[split:], *records[1:]))
        except Verdict as error:
            raise StorageFailure(f"an acknowledged batch is damaged: {error}") from error
        return Acknowledged(opened, opening, tuple(batches))

    def signed(self, parent_hash: bytes) -> bytes | None:
        """Hash of the block that this node's producer signed on a parent, if it did."""
        if parent_hash not in self._signed:
            with self._store.read() as txn:
                self._signed = {parent_hash: txn.get(Table.SIGNED, parent_hash)}
        return self._signed[parent_hash]

    def ask_anew(self) -> None:
        """Before a transaction that may change SIGNED: what it said is forgotten."""
        self._signed = {}


def forget_open_block(txn: Transaction) -> None:
    """Empty PENDING: its transactions are in a block, or their block will never be."""
    for key in [key for key, _ in txn.items(Table.PENDING)]:
        txn.delete(Table.PENDING, key)


def settle(txn: Transaction, block: Block, *, own: bool) -> None:
    """In the transaction that commits a block: the open block is over. own: this node's producer has signed it."""
    forget_open_block(txn)
    if own:
        txn.put(Table.SIGNED, block.header.parent_hash, block.hash)
