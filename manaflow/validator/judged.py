"""What an open block has judged already of the block that is sealed from it (docs/SPEC.md, section 8, Producer).

A leaf that is byte for byte what was admitted, under the very environment that it was admitted in, is not executed
again by the same process. What is compared is everything that its judgment rests on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from manaflow.moves.batch import Batch
from manaflow.moves.block import Block
from manaflow.moves.columns import I64, U8, U32, U64, Moves
from manaflow.moves.header import Header

Bools = NDArray[np.bool_]
SET_BY_SEALING: Final = (
    "transactions_root", "codes_root", "withdrawals_root", "cells", "transactions", "codes", "fees", "gas_used",
    "blob_gas_used",
)  # fmt: skip
"""Fields of a header that say what the block holds; all others are the environment that its transactions ran in."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedLeaves:
    """Signed transactions that fulfil S, M and X under the environment of an opened header, in a block's order.

    txid, logs_hash: uint8[t, 32]; consumes, references: uint32[t]; status: uint8[t]; gas_used: uint64[t]; gas and
    blob_gas: uint64[t], what the block has used before each; moves: all of theirs, with the numbers of their cells;
    logs: RLP of each one's logs.
    """

    opened: Header
    first: int
    """Place of the first one's leaf."""
    txid: U8
    consumes: U32
    references: U32
    status: U8
    gas_used: U64
    logs_hash: U8
    gas: U64
    blob_gas: U64
    moves: Moves
    envelopes: tuple[bytes, ...]
    logs: tuple[bytes, ...]
    moves_root: U8 | None = None
    """uint8[t, 32]: what sealing has made of the moves; None before."""

    @staticmethod
    def of(
        opened: Header,
        first: int,
        batches: Sequence[Batch],
        txids: Sequence[U8],
        blob_gas: Sequence[U64],
        logs: Sequence[bytes],
    ) -> JudgedLeaves:
        """What was admitted, batch by batch, in order. blob_gas: what each transaction uses, batch by batch."""
        columns = {
            name: _joined([getattr(batch, name) for batch in batches])
            for name in ("consumes", "references", "status", "gas_used", "logs_hash")
        }
        moves = {
            field.name: _joined([getattr(batch.moves, field.name) for batch in batches]) for field in fields(Moves)
        }
        envelopes = tuple(raw for batch in batches for raw in batch.envelopes)
        columns |= {"gas": _before(columns["gas_used"]), "blob_gas": _before(_joined(blob_gas))}
        return JudgedLeaves(
            opened, first, _joined(txids), moves=Moves(**moves), envelopes=envelopes, logs=tuple(logs), **columns
        )

    def sealed_in(self, block: Block) -> JudgedLeaves:
        """With the moves roots of the block that this process has just sealed from these leaves."""
        return replace(self, moves_root=block.leaves.moves_root[self.first : self.first + len(self.txid)])

    def logs_in(self, block: Block) -> Mapping[int, bytes]:
        """Which leaves of a block are judged already: the RLP of each one's logs, by place."""
        places: list[int] = np.flatnonzero(self.in_block(block)).tolist()
        return {t: self.logs[t - self.first] for t in places}

    def in_block(self, block: Block) -> Bools:
        """bool[t]: which leaves of a block are the judged ones at the same place; none if the environment is another.

        From the first leaf that differs in how many moves it has, none is, for their rows are not side by side.
        """
        found = np.zeros(len(block.leaves), np.bool_)
        sealed = {name: getattr(block.header, name) for name in SET_BY_SEALING}
        if replace(self.opened, **sealed) != block.header:
            return found
        count = self._side_by_side(block)
        at = slice(self.first, self.first + count)
        leaves, same = block.leaves, np.ones(count, np.bool_)
        for name in ("txid", "status", "gas_used", "logs_hash", "gas", "blob_gas"):  # X0: what is left of gas
            same &= _rows_equal(getattr(leaves, name)[at], getattr(self, name)[:count])
        if self.moves_root is not None:
            same &= _rows_equal(leaves.moves_root[at], self.moves_root[:count])
        offsets = leaves.move_offsets()[self.first : self.first + count + 1]
        same &= self._moves_equal(block.moves, offsets)
        if block.envelopes[:count] != self.envelopes[:count]:
            pairs = zip(block.envelopes[:count], self.envelopes[:count], strict=True)
            same &= np.fromiter((mine == theirs for mine, theirs in pairs), np.bool_, count)
        found[at] = same
        return found

    def _side_by_side(self, block: Block) -> int:
        """How many leaves, from the first on, have as many moves as the judged ones, and envelopes."""
        leaves, first = block.leaves, self.first
        count = max(min(len(leaves) - first, len(self.txid), len(block.envelopes)), 0)
        other = leaves.consumes[first : first + count] != self.consumes[:count]
        other |= leaves.references[first : first + count] != self.references[:count]
        return int(np.argmax(other)) if other.any() else count

    def _moves_equal(self, moves: Moves, offsets: I64) -> Bools:
        """bool[count]: of which leaves every move is the judged one. offsets: int64[count + 1], rows of a block."""
        start, stop = int(offsets[0]), int(offsets[-1])
        same = np.ones(stop - start, np.bool_)
        for field in fields(Moves):
            theirs = getattr(self.moves, field.name)[: stop - start]
            same &= _rows_equal(getattr(moves, field.name)[start:stop], theirs)
        wrong = np.zeros(len(same) + 1, np.int64)
        np.cumsum(~same, out=wrong[1:])
        rows = offsets - start
        found: Bools = wrong[rows[1:]] == wrong[rows[:-1]]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """The block that was imported last, while it is the head."""

    names: tuple[bytes, int]
    """Its hash and number."""
    block: Block
    logs: tuple[bytes, ...] | None
    """RLP of the logs of each signed transaction, if they have all been executed here."""

    @staticmethod
    def of(block_hash: bytes, block: Block, signed: slice, logs: Mapping[int, bytes]) -> Imported:
        """signed: places of the signed leaves. logs: RLP by place, as far as it is known."""
        places = range(len(block.leaves))[signed]
        known = tuple(logs[t] for t in places) if all(t in logs for t in places) else None
        return Imported((block_hash, block.header.number), block, known)


def _before(used: U64) -> U64:
    """The sum before each of what transactions use."""
    before: U64 = np.cumsum(used, dtype=np.uint64) - used
    return before


def _joined(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One after the other; one alone is not copied."""
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _rows_equal(one: NDArray[np.generic], other: NDArray[np.generic]) -> Bools:
    """bool[n] over the first axis."""
    if one.tobytes() == other.tobytes():  # as a rule they are, and bytes are compared fastest
        return np.ones(len(one), np.bool_)
    equal = one == other
    found: Bools = equal.all(axis=1) if equal.ndim == 2 else equal
    return found
