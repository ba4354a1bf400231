"""A block's moves and leaves as numpy columns: the form that every hot path works on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manaflow.moves.leaf import LEAF_BYTES, Leaf
from manaflow.moves.marks import Move

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


def rows_of(column: U8) -> list[bytes]:
    """The rows of uint8[n, w] as bytes."""
    data, width = column.tobytes(), column.shape[1]
    return [data[at : at + width] for at in range(0, len(data), width)]


def _bytes_column(values: Sequence[bytes], width: int) -> U8:
    return np.frombuffer(b"".join(values), np.uint8).reshape(len(values), width).copy()


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """The moves of a block, transaction by transaction, in the order of rule M5. All arrays are C-contiguous.

    mask, mark: uint8[n]; number: uint64[n]; addr: uint8[n, 20]; slot, prev, next: uint8[n, 32], big-endian words.
    """

    mask: U8
    mark: U8
    number: U64
    addr: U8
    slot: U8
    prev: U8
    next: U8

    def __len__(self) -> int:
        return len(self.mask)

    def __getitem__(self, i: int) -> Move:
        """Move i of the block as an object (a view for people, rules and tests)."""
        return Move(
            int(self.mask[i]),
            int(self.mark[i]),
            int(self.number[i]),
            self.addr[i].tobytes(),
            self.slot[i].tobytes(),
            self.prev[i].tobytes(),
            self.next[i].tobytes(),
        )

    def take(self, start: int, stop: int) -> Moves:
        """Rows start to stop, as views."""
        return Moves(*(getattr(self, f.name)[start:stop] for f in fields(self)))

    def objects(self) -> list[Move]:
        """Every row as a Move."""
        return [self[i] for i in range(len(self))]

    @staticmethod
    def of(moves: Iterable[Move]) -> Moves:
        """Columns of Move objects, in the order given."""
        rows = list(moves)
        return Moves(
            np.array([m.mask for m in rows], np.uint8),
            np.array([m.mark for m in rows], np.uint8),
            np.array([m.number for m in rows], np.uint64),
            _bytes_column([m.addr for m in rows], 20),
            _bytes_column([m.slot for m in rows], 32),
            _bytes_column([m.prev for m in rows], 32),
            _bytes_column([m.next for m in rows], 32),
        )

    @staticmethod
    def empty(n: int = 0) -> Moves:
        """n zeroed rows."""
        return Moves(
            np.zeros(n, np.uint8),
            np.zeros(n, np.uint8),
            np.zeros(n, np.uint64),
            *(np.zeros((n, width), np.uint8) for width in (20, 32, 32, 32)),
        )

    def equals(self, other: Moves) -> bool:
        """True if every column is equal."""
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))


@dataclass(frozen=True, slots=True, eq=False)
class Leaves:
    """The leaves of a block, one row per transaction (system transactions included), in order.

    txid, moves_root, logs_hash: uint8[t, 32]; consumes, references: uint32[t]; status: uint8[t];
    gas_used, first_cell, gas, blob_gas: uint64[t]; fees: uint8[t, 32], big-endian. The last four are totals before
    the row.
    """

    txid: U8
    moves_root: U8
    consumes: U32
    references: U32
    status: U8
    gas_used: U64
    logs_hash: U8
    first_cell: U64
    gas: U64
    fees: U8
    blob_gas: U64

    def __len__(self) -> int:
        return len(self.status)

    def __getitem__(self, i: int) -> Leaf:
        """Leaf i as an object."""
        return Leaf(
            self.txid[i].tobytes(),
            self.moves_root[i].tobytes(),
            int(self.consumes[i]),
            int(self.references[i]),
            int(self.status[i]),
            int(self.gas_used[i]),
            self.logs_hash[i].tobytes(),
            int(self.first_cell[i]),
            int(self.gas[i]),
            int.from_bytes(self.fees[i].tobytes(), "big"),
            int(self.blob_gas[i]),
        )

    def objects(self) -> list[Leaf]:
        """Every row as a Leaf."""
        return [self[i] for i in range(len(self))]

    def encoded(self) -> U8:
        """uint8[t, LEAF_BYTES]: the fixed-width bytes of every leaf, whose RFC 6962 tree is the transactions root."""
        t = len(self)
        if not t:
            return np.zeros((0, LEAF_BYTES), np.uint8)
        big = {
            "consumes": ">u4",
            "references": ">u4",
            "gas_used": ">u8",
            "first_cell": ">u8",
            "gas": ">u8",
            "blob_gas": ">u8",
        }
        parts: list[U8] = []
        for f in fields(self):
            column: NDArray[Any] = getattr(self, f.name)
            if f.name in big:
                column = column.astype(big[f.name]).view(np.uint8).reshape(t, -1)
            parts.append(column.reshape(t, -1))
        return np.concatenate(parts, axis=1)

    def move_offsets(self) -> I64:
        """int64[t + 1]: moves of transaction i are rows offsets[i] to offsets[i + 1] of the block's moves."""
        offsets = np.zeros(len(self) + 1, np.int64)
        np.cumsum(self.consumes.astype(np.int64) + self.references.astype(np.int64), out=offsets[1:])
        return offsets

    @staticmethod
    def of(leaves: Iterable[Leaf]) -> Leaves:
        """Columns of Leaf objects, in the order given."""
        rows = list(leaves)
        return Leaves(
            _bytes_column([r.txid for r in rows], 32),
            _bytes_column([r.moves_root for r in rows], 32),
            np.array([r.consumes for r in rows], np.uint32),
            np.array([r.references for r in rows], np.uint32),
            np.array([r.status for r in rows], np.uint8),
            np.array([r.gas_used for r in rows], np.uint64),
            _bytes_column([r.logs_hash for r in rows], 32),
            np.array([r.first_cell for r in rows], np.uint64),
            np.array([r.gas for r in rows], np.uint64),
            _bytes_column([r.fees.to_bytes(32, "big") for r in rows], 32),
            np.array([r.blob_gas for r in rows], np.uint64),
        )

    def equals(self, other: Leaves) -> bool:
        """True if every column is equal."""
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
