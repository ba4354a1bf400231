"""RFC 6962 Merkle trees over SHA-256: roots, paths and their verification."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 | data)."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 | left | right)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of_hashes(hashes: Sequence[bytes]) -> bytes:
    """Root over leaf hashes. Pairing level by level, the odd one carried up, is RFC 6962's split at a power of two."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def root(leaves: Sequence[bytes]) -> bytes:
    """Root over leaves given as bytes."""
    return root_of_hashes([leaf_hash(leaf) for leaf in leaves])


def split(count: int) -> int:
    """How many leaves the left subtree of a tree of `count` > 1 leaves has: the largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def path(hashes: Sequence[bytes], position: int) -> list[bytes]:
    """Sibling hashes from leaf `position` up to the root over `hashes` (RFC 6962, 2.1.1)."""
    if not 0 <= position < len(hashes):
        raise IndexError(position)
    siblings: list[bytes] = []
    level, at = list(hashes), position
    while len(level) > 1:
        if at ^ 1 < len(level):
            siblings.append(level[at ^ 1])
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
        at //= 2
    return siblings


def path_length(position: int, count: int) -> int:
    """How many siblings the path of leaf `position` has in a tree of `count` leaves."""
    length, last = 0, count - 1
    while last > 0:
        length += position ^ 1 <= last
        position, last = position // 2, last // 2
    return length


def root_from_path(hashed_leaf: bytes, position: int, count: int, siblings: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to, or None if its length does not fit (position, count)."""
    if not 0 <= position < count or len(siblings) != path_length(position, count):
        return None
    node, at, last, rest = hashed_leaf, position, count - 1, iter(siblings)
    while last > 0:
        if at & 1:
            node = node_hash(next(rest), node)
        elif at < last:
            node = node_hash(node, next(rest))
        at, last = at // 2, last // 2
    return node


class Frontier:
    """The right edge of a growing tree: at most 48 hashes, enough to append and to give the root."""

    def __init__(self, count: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """`peaks`: roots of the perfect subtrees that `count` splits into, largest first."""
        if len(peaks) != count.bit_count() or count >= 2**48:
            raise ValueError("peaks do not fit the count")
        self.count, self.peaks = count, list(peaks)

    def append(self, hashed_leaf: bytes) -> None:
        """Add one leaf hash."""
        node, count = hashed_leaf, self.count
        while count & 1:
            node, count = node_hash(self.peaks.pop(), node), count >> 1
        self.peaks.append(node)
        self.count += 1

    def root(self) -> bytes:
        """Root over all leaves appended."""
        if not self.peaks:
            return EMPTY_ROOT
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = node_hash(peak, node)
        return node
