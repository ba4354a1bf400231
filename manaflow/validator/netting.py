"""A block's moves against the rules V1 to V4, all at once, and the net effect that is left for the index.

Cells that the block makes and consumes itself never get to live; their numbers and fingerprints exist all the same,
so that a later move that names one is told V2 or V3, not V1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manaflow.errors import Rule, StorageFailure, Verdict
from manaflow.moves.columns import I64, U8, U32, U64, Moves
from manaflow.moves.marks import Mark, Mask
from manaflow.validator.kernels import PARALLEL_ROWS, hashing, order, sources
from manaflow.validator.shape import Keys


@dataclass(frozen=True, slots=True, eq=False)
class NetEffect:
    """What a checked block changes in the index."""

    first_cell: int
    fingerprints: U64
    """uint64[cells]: of every cell that it makes, in order."""
    spent: U64
    """uint64[s], ascending: numbers of cells from before the block that it consumes."""
    gone: U64
    """uint64[g], ascending: cells that it makes and consumes itself, counted from first_cell."""
    bucket: U64
    """uint64[f], ascending: buckets of the locations that it touches first,"""
    low: U64
    """uint64[f]: and the other 64 bits of their hashes."""
    births: U64
    """uint64[k]: the first cell of each transaction that makes cells,"""
    makers: I64
    """int64[k]: and the transaction."""


@dataclass(frozen=True, slots=True, eq=False)
class SignedMakers:
    """Moves of a block whose signers say which transaction made the cell (V1; rules.declared.signed_intx)."""

    rows: I64
    """int64[k], ascending: rows of the block's moves."""
    txids: U8
    """uint8[k, 32]: the maker; zero for a virgin cell."""

    @staticmethod
    def of(makers: Mapping[int, bytes]) -> SignedMakers:
        """From row -> txid."""
        rows = sorted(makers)
        txids = np.frombuffer(b"".join(makers[row] for row in rows), np.uint8).reshape(-1, 32)
        return SignedMakers(np.array(rows, np.int64), txids)


class Columns:
    """A block's moves as the kernels read them, each classified by where its cell comes from."""

    def __init__(self, moves: Moves, offsets: I64, first_cell: int, keys: Keys, bucket_bits: int) -> None:
        n = len(moves)
        if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != n or (np.diff(offsets) < 0).any():
            raise ValueError("offsets must rise from 0 to the number of moves")
        self.moves, self.offsets, self.first_cell, self.bucket_bits = moves, offsets, first_cell, bucket_bits
        self.mark, self.number = _flat(moves.mark, np.uint8), _flat(moves.number, np.uint64)
        self.addr, self.slot = _words(moves.addr), _words(moves.slot)
        self.prev, self.next = _words(moves.prev), _words(moves.next)
        self.kind, self.made_at = np.zeros(n, np.uint8), np.empty(n, np.int64)
        self.verdict = np.zeros(n, np.uint8)
        mask = _flat(moves.mask, np.uint8)
        self.cells = int(sources.classify(mask, self.mark, self.number, offsets, first_cell, self.kind, self.made_at))
        rows = sources.split(self.kind, self.made_at, self.cells, self.verdict)
        self.makers, self.virgin, self.inside, self.outside = rows
        self._hash(keys)

    def _hash(self, keys: Keys) -> None:
        n = len(self.kind)
        self.used, self.made = np.zeros(n, np.uint64), np.zeros(self.cells, np.uint64)
        self.bucket, self.low = np.zeros(n, np.uint64), np.zeros(n, np.uint64)
        run = hashing.hash_block_parallel if n >= PARALLEL_ROWS else hashing.hash_block
        run(
            self.kind, self.made_at, self.number, self.mark, self.addr, self.slot, self.prev, self.next,
            self.first_cell, keys.cell, keys.place, 64 - self.bucket_bits, self.used, self.made, self.bucket, self.low,
        )  # fmt: skip

    def check_inside(self) -> U64:
        """V1 to V3 for cells of the block's own; returns those consumed, ascending, counted from first_cell."""
        many = len(self.kind) >= PARALLEL_ROWS
        run = sources.check_inside_parallel if many else sources.check_inside
        run(
            self.inside, self.number, self.first_cell, self.makers, self.mark, self.addr, self.slot, self.prev,
            self.next, self.verdict,
        )  # fmt: skip
        gone = sources.spend_inside(self.inside, self.number, self.first_cell, self.made_at, self.cells, self.verdict)
        return np.flatnonzero(gone).astype(np.uint64)

    def sort_outside(self) -> tuple[I64, U64]:
        """Rows of outside moves by (number, row), and what they claim: number * 2, plus 1 for a consume."""
        claims = sources.claims(self.number, self.made_at)
        ordered: tuple[I64, U64] = order.radix_order(self.outside, claims, 1, max(self.first_cell - 1, 1).bit_length())
        return ordered

    def check_outside(self, ordered: I64, claim: U64, table: U64, chunk_cells: int, live: U64) -> None:
        """V1 to V3 for cells from before the block, each move by itself."""
        many = len(self.kind) >= PARALLEL_ROWS
        run = sources.check_outside_parallel if many else sources.check_outside
        run(ordered, claim, self.used, table, chunk_cells, live, self.verdict)

    def spend_outside(self, ordered: I64, claim: U64) -> U64:
        """V2 and V3 among moves on cells from before the block; returns the numbers consumed, ascending."""
        spent: U64 = sources.spend_sorted(ordered, claim, self.verdict)
        return spent

    def sort_virgin(self) -> I64:
        """The virgin rows by (bucket, low, row)."""
        by_low, _ = order.radix_order(self.virgin, self.low, 0, 64)
        ordered: I64 = order.radix_order(by_low, self.bucket, 0, self.bucket_bits)[0]
        return ordered

    def check_virgin(self) -> I64:
        """V4 inside the block; returns the virgin rows by (bucket, low, row)."""
        ordered = self.sort_virgin()
        sources.spend_virgin(ordered, self.bucket, self.low, self.made_at, self.verdict)
        if sources.collisions(ordered, self.bucket, self.low, self.mark, self.addr, self.slot):
            raise StorageFailure("two locations have one hash: rebuild the index under a new key")
        return ordered

    def inside_makers(self, rows: I64) -> I64:
        """int64[k]: the transactions that make the cells of the block's own that these rows name."""
        made = self.makers[(self.number[rows] - np.uint64(self.first_cell)).astype(np.int64)]
        return np.searchsorted(self.offsets, made, side="right").astype(np.int64) - 1

    def births(self) -> tuple[U64, I64]:
        """First cells of the transactions that make cells, and the transactions."""
        before = np.searchsorted(self.makers, self.offsets).astype(np.int64)
        makes = np.flatnonzero(np.diff(before) > 0)
        return before[makes].astype(np.uint64) + np.uint64(self.first_cell), makes

    def raise_first(self, txids: U8 | None) -> None:
        """Raise the verdict of the lowest move that breaks a rule, if any does."""
        broken = np.flatnonzero(self.verdict)
        if not len(broken):
            return
        row = int(broken[0])
        transaction = int(np.searchsorted(self.offsets, row, side="right")) - 1
        verdict = self._describe(Rule(int(self.verdict[row])), row, transaction)
        if txids is not None and verdict.rule is not Rule.V1:
            before = self._winner(row)
            verdict.winner = None if before is None else txids[before].tobytes()
        raise verdict.at(transaction, row - int(self.offsets[transaction]))

    def _describe(self, rule: Rule, row: int, transaction: int) -> Verdict:
        number = int(self.number[row])
        if rule is Rule.V1 and self.kind[row] == hashing.UNBORN:
            own = self.first_cell + int(np.searchsorted(self.makers, self.offsets[transaction]))
            return Verdict(rule, "the cell is not born yet", expected=f"a number below {own}", actual=number)
        if rule is Rule.V1 and self.kind[row] == hashing.INSIDE:
            made = self.moves[int(self.makers[number - self.first_cell])]
            claim = self.moves[row]
            if made.location != claim.location:
                expected, actual = _shown(claim.location), _shown(made.location)
                return Verdict(rule, "the cell is of another location", expected=expected, actual=actual)
            if made.next != claim.prev:
                expected, actual = "0x" + claim.prev.hex(), "0x" + made.next.hex()
                return Verdict(rule, "the cell has another value", expected=expected, actual=actual)
        if rule is Rule.V1:
            what = "is of another location, has another value, or is another transaction's than its signer says"
            return Verdict(rule, f"cell {number} {what}")
        if rule is Rule.V2:
            return Verdict(rule, f"cell {number} is consumed already")
        if rule is Rule.V3:
            return Verdict(rule, f"a reference to cell {number} after its consume")
        return Verdict(rule, "a virgin cell is claimed of a location that was consumed before")

    def _winner(self, row: int) -> int | None:
        """The transaction of this block that consumed the contested cell first, if it was one of this block."""
        m = self.moves
        same = (
            (m.number[:row] == m.number[row])
            & ((m.mask[:row] & Mask.REFERENCE) == 0)
            & (m.mark[:row] != Mark.BLOCKHASH)
        )
        if not m.number[row]:
            same &= m.mark[:row] == m.mark[row]
            same &= (m.addr[:row] == m.addr[row]).all(axis=1) & (m.slot[:row] == m.slot[row]).all(axis=1)
        rows = np.flatnonzero(same)
        return int(np.searchsorted(self.offsets, rows[0], side="right")) - 1 if len(rows) else None


def _flat(column: NDArray[Any], dtype: Any) -> NDArray[Any]:
    return np.require(column, dtype, ["C", "A"])


def _words(column: U8) -> U32:
    """uint32[n, width / 4] of uint8[n, width], aligned."""
    n, width = column.shape
    return np.require(np.ascontiguousarray(column).reshape(-1).view(np.uint32).reshape(n, width // 4), None, ["C", "A"])


def _shown(location: tuple[int, bytes, bytes]) -> str:
    return f"{chr(location[0])} 0x{location[1].hex()} slot 0x{location[2].hex()}"
