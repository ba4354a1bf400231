"""Hashing in batches: an interface with this pure Python implementation and a native twin (evm/native_hashing.py)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from eth_hash.backends import pysha3
from eth_hash.main import Keccak256

from manaflow.moves import trees
from manaflow.moves.columns import I64, U8, Moves

# The backend by name: eth_hash.auto would choose pycryptodome where it is installed, 5 times slower.
_KECCAK: Final = Keccak256(pysha3.backend)


def keccak256(data: bytes) -> bytes:
    """keccak-256, 32 bytes: txids, code hashes, logs, and whatever else Ethereum defines."""
    return bytes(_KECCAK(data))


class Hashing(Protocol):
    """The hashes that a block needs by the thousand. Implementations: PYTHON here, NATIVE in evm/native_hashing.py."""

    def moves_roots(self, moves: Moves, offsets: I64) -> U8:
        """uint8[t, 32]: the moves root of each transaction, whose moves are rows offsets[i] to offsets[i + 1].

        offsets: int64[t + 1], ascending, within the moves. Raises ValueError if they are not.
        """
        ...

    def tree_root(self, leaves: U8) -> bytes:
        """RFC 6962 root over the rows of uint8[n, width]."""
        ...

    def keccak_many(self, items: Sequence[bytes]) -> U8:
        """uint8[n, 32]: keccak-256 of each item."""
        ...


def check_offsets(offsets: I64, rows: int) -> None:
    """Raises ValueError unless offsets are int64[t + 1], ascending and within `rows`."""
    steps = (
        offsets.dtype == np.int64
        and offsets.ndim == 1
        and len(offsets) > 0
        and bool(np.all(offsets[1:] >= offsets[:-1]))
    )
    if not steps or offsets[0] < 0 or offsets[-1] > rows:
        raise ValueError("offsets do not fit the moves")


def rows_of_hashes(hashes: Sequence[bytes]) -> U8:
    """uint8[n, 32] of n hashes."""
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), 32).copy()


class PythonHashing:
    """The reference: hashlib and pysha3, one hash at a time."""

    def moves_roots(self, moves: Moves, offsets: I64) -> U8:
        """See Hashing."""
        check_offsets(offsets, len(moves))
        bounds = offsets.tolist()
        return rows_of_hashes(
            [trees.root([moves[i].encode() for i in range(start, stop)]) for start, stop in itertools.pairwise(bounds)]
        )

    def tree_root(self, leaves: U8) -> bytes:
        """See Hashing."""
        return trees.root([row.tobytes() for row in leaves])

    def keccak_many(self, items: Sequence[bytes]) -> U8:
        """See Hashing."""
        return rows_of_hashes([keccak256(item) for item in items])


PYTHON: Final = PythonHashing()
