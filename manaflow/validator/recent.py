"""The last few sealed blocks, looked up by txid, cell and location: for naming makers and winners (admission).

A bounded memory beside the index: what it does not hold, nobody is told. Blocks are read when they are first asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from manaflow.moves.block import Block
from manaflow.moves.columns import I64
from manaflow.moves.marks import Mask

if TYPE_CHECKING:
    from manaflow.validator.validator import Validator

RECENT_BLOCKS: Final = 4
LOCATION_BYTES: Final = 53
"""mark | addr | slot."""


class RecentBlock:
    """One sealed block by txid, spent cell and first written location."""

    def __init__(self, block: Block) -> None:
        self.block = block

    @cached_property
    def _consumes(self) -> list[int]:
        """Rows of the block's consumes: the k-th makes cell first_cell + k."""
        rows: list[int] = np.flatnonzero(self.block.moves.mask & Mask.REFERENCE == 0).tolist()
        return rows

    @cached_property
    def _offsets(self) -> I64:
        return self.block.leaves.move_offsets()

    @cached_property
    def _leaves(self) -> dict[bytes, int]:
        return {row.tobytes(): t for t, row in enumerate(self.block.leaves.txid)}

    @cached_property
    def _keys(self) -> bytes:
        moves = self.block.moves
        return np.concatenate([moves.mark.reshape(-1, 1), moves.addr, moves.slot], axis=1).tobytes()

    @cached_property
    def _spent(self) -> dict[int, int]:
        """Number of a consumed cell -> row; virgin ones apart."""
        numbers = self.block.moves.number[self._consumes].tolist()
        return {number: row for number, row in zip(numbers, self._consumes, strict=True) if number}

    @cached_property
    def _written(self) -> dict[bytes, int]:
        """Location consumed from virgin -> row."""
        numbers = self.block.moves.number[self._consumes].tolist()
        return {self._key(row): row for number, row in zip(numbers, self._consumes, strict=True) if not number}

    def _key(self, row: int) -> bytes:
        return self._keys[LOCATION_BYTES * row : LOCATION_BYTES * (row + 1)]

    def _txid_of(self, row: int | None) -> bytes | None:
        if row is None:
            return None
        t = int(np.searchsorted(self._offsets, row, side="right")) - 1
        return bytes(self.block.leaves.txid[t])

    def made(self, txid: bytes, location: bytes) -> int | None:
        """Number of the cell that a transaction of this block made at a location (53 bytes)."""
        t = self._leaves.get(txid)
        if t is None:
            return None
        leaves = self.block.leaves
        first, start, count = int(leaves.first_cell[t]), int(self._offsets[t]), int(leaves.consumes[t])
        k = bisect_left(range(start, start + count), location, key=self._key)  # sorted, by M5
        return first + k if k < count and self._key(start + k) == location else None

    def consumer(self, number: int) -> bytes | None:
        """Txid of the transaction of this block that consumed a cell."""
        return self._txid_of(self._spent.get(number))

    def writer(self, location: bytes) -> bytes | None:
        """Txid of the transaction of this block that first wrote a location."""
        return self._txid_of(self._written.get(location))


class Recent:
    """The last RECENT_BLOCKS blocks of a validator's chain after genesis, as of `follow`."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator
        self._held: dict[bytes, RecentBlock] = {}
        self._hashes: list[bytes] = []
        self.follow()

    def follow(self, sealed: Block | None = None) -> None:
        """The head has moved. sealed: the head block, if the caller has it at hand."""
        header, head = self._validator.head
        if self._hashes[:1] == [head] and sealed is None:
            return
        key, self._hashes = head, []
        while len(self._hashes) < RECENT_BLOCKS and header.number > self._validator.config.genesis_number:
            self._hashes.append(key)
            parent = self._validator.header(header.number - 1)
            assert parent is not None, "the chain reaches down to genesis"
            key, header = header.parent_hash, parent
        self._held = {key: block for key, block in self._held.items() if key in self._hashes}
        if sealed is not None and head in self._hashes and sealed.hash == head:
            self._held[head] = RecentBlock(sealed)

    def _blocks(self) -> list[RecentBlock]:
        """Latest first."""
        for key in self._hashes:
            if key not in self._held:
                block = self._validator.block(key)
                assert block is not None, "canonical blocks are stored"
                self._held[key] = RecentBlock(block)
        return [self._held[key] for key in self._hashes]

    def made(self, txid: bytes, location: bytes) -> int | None:
        """Number of the cell that transaction `txid` made at a location (53 bytes), if a recent block holds it."""
        return next((number for block in self._blocks() if (number := block.made(txid, location))), None)

    def consumer(self, number: int) -> bytes | None:
        """Txid of who consumed a cell, if that was in a recent block."""
        return next((txid for block in self._blocks() if (txid := block.consumer(number))), None)

    def writer(self, location: bytes) -> bytes | None:
        """Txid of who wrote a location (53 bytes) first, if that was in a recent block."""
        return next((txid for block in self._blocks() if (txid := block.writer(location))), None)
