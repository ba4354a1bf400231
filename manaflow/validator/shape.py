"""Sizes of the index's parts, its secret keys, and its tip."""

from __future__ import annotations

import secrets
import struct
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np

from manaflow.errors import StorageFailure
from manaflow.moves.columns import U64
from manaflow.validator.kernels.hashing import CELL_WORDS, PLACE_WORDS, TXID_WORDS
from manaflow.validator.store import OVERFLOW_HEADER

_SHAPE: Final = struct.Struct(">6Q")
_TIP: Final = struct.Struct(">q4Q")


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes that the stored form depends on; fixed when the index is made. The defaults fit LMDB's pages of 4 KiB."""

    chunk_cells: int = 2040
    """Fingerprints in a chunk of `cells`; a multiple of 8. A block rewrites at most one chunk that it does not fill."""
    chunk_pages: int = 4
    """LMDB pages that a chunk fills."""
    live_chunks: int = 16
    """Chunks whose bits make a page of `live`: 4080 bytes, which fill one LMDB page."""
    bucket_bits: int = 16
    """Leading bits of a location's hash that choose its bucket."""
    steps: int = 4096
    """Steps of a full turn of the checkpoint; a power of two, at most the number of buckets."""
    pending: int = 4_000_000
    """First touches in a full turn, roughly: what waits in memory for its page."""

    def __post_init__(self) -> None:
        if self.chunk_cells % 8 or not 0 < self.chunk_cells * 8 <= self.chunk_pages * 4096 - OVERFLOW_HEADER:
            raise ValueError("a chunk's cells must be a multiple of 8 and fit its pages")
        if self.steps & (self.steps - 1) or not 0 < self.steps <= self.buckets:
            raise ValueError("the steps must be a power of two, at most the number of buckets")

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk's value: what its pages hold beside LMDB's header."""
        return self.chunk_pages * 4096 - OVERFLOW_HEADER

    @property
    def buckets(self) -> int:
        """How many buckets `touched` has."""
        return 1 << self.bucket_bits

    @property
    def buckets_a_step(self) -> int:
        """Buckets that one step of the checkpoint passes."""
        return self.buckets // self.steps

    @property
    def live_page_bytes(self) -> int:
        """Bytes of a page of `live`."""
        return self.chunk_cells // 8 * self.live_chunks

    @property
    def live_page_cells(self) -> int:
        """Bits of a page of `live`."""
        return self.chunk_cells * self.live_chunks

    def live_pages(self, next_number: int) -> int:
        """Pages of `live` that numbers below next_number need."""
        return -(-next_number // self.live_page_cells)

    def encode(self) -> bytes:
        """The shape as it is stored."""
        return _SHAPE.pack(*astuple(self))

    @staticmethod
    def decode(data: bytes) -> Shape:
        """Read a stored shape; StorageFailure if it is none."""
        try:
            return Shape(*_SHAPE.unpack(data))
        except (struct.error, ValueError) as error:
            raise StorageFailure(f"the index's shape is damaged: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class Keys:
    """The node's secret hash keys. Who knows them can make cells with one fingerprint: they never leave the disk."""

    cell: U64
    """uint64[2, 25]: fingerprints of cells."""
    place: U64
    """uint64[3, 15]: hashes of locations."""
    txid: U64
    """uint64[2, 9]: hashes of txids in `births`."""

    BYTES = 8 * (2 * (CELL_WORDS + 1) + 3 * (PLACE_WORDS + 1) + 2 * (TXID_WORDS + 1))

    @staticmethod
    def draw() -> Keys:
        """New keys from the operating system."""
        return Keys.decode(secrets.token_bytes(Keys.BYTES))

    @staticmethod
    def decode(data: bytes) -> Keys:
        """Keys from BYTES bytes; StorageFailure if there are more or fewer."""
        if len(data) != Keys.BYTES:
            raise StorageFailure("the index's keys are damaged")
        words, parts, at = np.frombuffer(data, "<u8").astype(np.uint64), [], 0
        for rows, width in ((2, CELL_WORDS + 1), (3, PLACE_WORDS + 1), (2, TXID_WORDS + 1)):
            parts.append(np.ascontiguousarray(words[at : at + rows * width].reshape(rows, width)))
            at += rows * width
        return Keys(*parts)

    def encode(self) -> bytes:
        """The keys as they are stored."""
        return b"".join(part.astype("<u8").tobytes() for part in (self.cell, self.place, self.txid))


@dataclass(frozen=True, slots=True)
class Tip:
    """Where the index stands; one value in `meta`, written with each block."""

    height: int = -1
    """Number of the last block applied; -1 before the first."""
    next_number: int = 1
    """The first free cell number."""
    position: int = 0
    """Steps that the checkpoint has made, over all turns. It never goes back."""
    live: int = 0
    """How many cells live."""
    touched: int = 0
    """How many locations were ever consumed from virgin; equal to `live`: each of them has exactly one live cell."""

    def encode(self) -> bytes:
        """The tip as it is stored."""
        return _TIP.pack(*astuple(self))

    @staticmethod
    def decode(data: bytes) -> Tip:
        """Read a stored tip; StorageFailure if it is none."""
        try:
            return Tip(*_TIP.unpack(data))
        except struct.error as error:
            raise StorageFailure(f"the index's tip is damaged: {error}") from error
