"""The native twin of manaflow.moves.hashing.PYTHON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from manaflow import _native
from manaflow.moves.columns import I64, U8, Moves


class NativeHashing:
    """Hashing by manaflow._native: the processor's SHA-256 instructions, several threads, the GIL released.

    The arrays must not be written to meanwhile. `threads`: how many at most, 0 for all.
    """

    def __init__(self, threads: int = 0) -> None:
        self.threads = threads

    def moves_roots(self, moves: Moves, offsets: I64) -> U8:
        """See Hashing."""
        roots = _native.moves_roots(
            moves.mask,
            moves.mark,
            moves.number,
            moves.addr,
            moves.slot,
            moves.prev,
            moves.next,
            offsets,
            self.threads,
        )
        return np.frombuffer(roots, np.uint8).reshape(-1, 32)

    def tree_root(self, leaves: U8) -> bytes:
        """See Hashing."""
        return _native.tree_root(leaves, leaves.shape[1])

    def keccak_many(self, items: Sequence[bytes]) -> U8:
        """See Hashing."""
        return np.frombuffer(_native.keccak256_many(list(items)), np.uint8).reshape(-1, 32)


NATIVE: Final = NativeHashing()
