"""RFC 6962 trees: the published vectors, every path of small trees, and the growing frontier."""

from __future__ import annotations

import hashlib

import pytest

from manaflow.moves import trees

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
"""The test data of RFC 6962's reference implementation (certificate-transparency, merkletree tests)."""
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""ROOTS[n]: over the first n of LEAVES."""
PATHS = {
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
"""(position, count): the path's hashes, of the same implementation."""


def split_root(hashes: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word: split at the largest power of two below n."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return hashlib.sha256(b"\1" + split_root(hashes[:k]) + split_root(hashes[k:])).digest()


def some_hashes(count: int) -> list[bytes]:
    return [trees.leaf_hash(bytes((i,))) for i in range(count)]


@pytest.mark.parametrize("count", range(9))
def test_published_roots(count: int) -> None:
    assert trees.root(LEAVES[:count]).hex() == ROOTS[count]


@pytest.mark.parametrize(("position", "count"), PATHS)
def test_published_paths(position: int, count: int) -> None:
    hashes = [trees.leaf_hash(leaf) for leaf in LEAVES[:count]]
    assert tuple(node.hex() for node in trees.path(hashes, position)) == PATHS[position, count]


@pytest.mark.parametrize("count", range(41))
def test_roots_are_those_of_the_definition(count: int) -> None:
    assert trees.root_of_hashes(some_hashes(count)) == split_root(some_hashes(count))


@pytest.mark.parametrize("count", range(1, 41))
def test_every_path_leads_to_the_root(count: int) -> None:
    hashes = some_hashes(count)
    root = trees.root_of_hashes(hashes)
    for position, hashed in enumerate(hashes):
        siblings = trees.path(hashes, position)
        assert len(siblings) == trees.path_length(position, count)
        assert trees.root_from_path(hashed, position, count, siblings) == root


@pytest.mark.parametrize("count", range(1, 41))
def test_no_path_serves_another_leaf_or_position(count: int) -> None:
    hashes = some_hashes(count)
    root = trees.root_of_hashes(hashes)
    for position, hashed in enumerate(hashes):
        siblings = trees.path(hashes, position)
        for other in set(range(count)) - {position}:
            assert trees.root_from_path(hashed, other, count, siblings) != root
        assert trees.root_from_path(trees.leaf_hash(b"other"), position, count, siblings) != root
        for i in range(len(siblings)):
            wrong = [*siblings[:i], bytes(32), *siblings[i + 1 :]]
            assert trees.root_from_path(hashed, position, count, wrong) != root


@pytest.mark.parametrize("count", range(1, 41))
def test_invalid_lengths_and_positions(count: int) -> None:
    hashes = some_hashes(count)
    for position in range(count):
        siblings = trees.path(hashes, position)
        assert trees.root_from_path(hashes[position], position, count, [*siblings, bytes(32)]) is None
        if siblings:
            assert trees.root_from_path(hashes[position], position, count, siblings[:-1]) is None
    for position in (-1, count, count + 1):
        assert trees.root_from_path(hashes[0], position, count, trees.path(hashes, 0)) is None
        with pytest.raises(IndexError):
            trees.path(hashes, position)
    assert trees.root_from_path(hashes[0], 0, 0, []) is None


def test_a_node_is_no_leaf() -> None:
    """The two prefixes keep an inner node from being shown as a leaf."""
    left, right = some_hashes(2)
    assert trees.leaf_hash(left + right) != trees.node_hash(left, right)
    assert trees.root([left + right]) != trees.root_of_hashes([left, right])


def test_frontier_grows_to_every_root() -> None:
    frontier = trees.Frontier()
    hashes = some_hashes(200)
    for count in range(200):
        assert frontier.root() == trees.root_of_hashes(hashes[:count])
        assert frontier.count == count
        resumed = trees.Frontier(count, frontier.peaks)
        assert resumed.root() == frontier.root()
        frontier.append(hashes[count])
        resumed.append(hashes[count])
        assert resumed.peaks == frontier.peaks


def test_invalid_frontiers() -> None:
    trees.Frontier(2**48 - 1, [bytes(32)] * 48)
    for count, peaks in ((0, 1), (1, 0), (3, 1), (2**48, 1)):
        with pytest.raises(ValueError, match="peaks"):
            trees.Frontier(count, [bytes(32)] * peaks)
