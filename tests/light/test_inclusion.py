"""Inclusion proofs: complete on real chains and at every edge of a tree; no byte of one can be changed."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow.errors import Verdict
from manaflow.light import inclusion
from manaflow.light.build import prove_inclusion
from manaflow.light.inclusion import (
    INCLUSION_VERSION,
    MAGIC,
    MAX_INCLUSION_BYTES,
    MAX_PATH,
    Inclusion,
    InclusionRejected,
    read_header,
    root_from_path,
    verify_inclusion,
)
from manaflow.moves import trees
from manaflow.moves.block import Block
from manaflow.moves.header import MAX_HEADER_BYTES, Header
from manaflow.moves.leaf import LEAF_BYTES
from manaflow.moves.rlp_reader import list_prefix
from manaflow.rules.config import MAX_CONFIG_BYTES, ChainConfig
from tests.conftest import is_nightly
from tests.light.chains import Chain, chain_of, encoded_leaves, sealed
from tests.moves.wire_blocks import header
from tests.replays import HOLESKY
from tests.replays import chain as replayed

START = len(MAGIC) + 1


def rejection(data: bytes, head: bytes) -> str:
    with pytest.raises(InclusionRejected) as caught:
        verify_inclusion(data, head)
    return str(caught.value)


def proof(chain: Chain, block: int, head: int, transaction: int, move: int | None = None) -> bytes:
    history = chain.history(head)
    return prove_inclusion(chain.blocks[block], transaction, move, chain.config, chain.head(head), history)


@cache
def holesky() -> Chain:
    """Genesis and the four real blocks."""
    real = replayed(*HOLESKY)
    return Chain(real.config.encode(), (real.genesis.block, *real.blocks))


def check(chain: Chain, block: int, head: int, transaction: int, move: int | None) -> Inclusion:
    """Build, verify, and compare everything shown with the block."""
    data = proof(chain, block, head, transaction, move)
    assert len(data) < 3_500
    shown = verify_inclusion(data, chain.blocks[head].hash)
    source, leaf = chain.blocks[block], chain.blocks[block].leaves[transaction]
    assert (shown.block_hash, shown.block_number) == (source.hash, source.header.number)
    assert (shown.head_hash, shown.head_number) == (chain.blocks[head].hash, chain.head(head).number)
    assert (shown.transaction, shown.timestamp) == (transaction, source.header.timestamp)
    assert (shown.txid, shown.status, shown.gas_used) == (leaf.txid, leaf.status, leaf.gas_used)
    assert (shown.logs_hash, shown.first_cell) == (leaf.logs_hash, leaf.first_cell)
    assert (shown.consumes, shown.references) == (leaf.consumes, leaf.references)
    if move is None:
        assert shown.move is None
        return shown
    there = source.moves[int(source.leaves.move_offsets()[transaction]) + move]
    assert shown.move is not None
    fields = astuple(shown.move)
    assert fields[:-1] == (move, there.mask, chr(there.mark), *astuple(there)[2:])
    assert shown.move.makes == (leaf.first_cell + move if move < leaf.consumes else None)
    return shown


def places(block: Block) -> list[tuple[int, int | None]]:
    """Some transactions and moves of a block: first, last and a few between, first and last move of each."""
    count = len(block.leaves)
    chosen = sorted({0, 1, count // 2, count - 2, count - 1} & set(range(count)))
    found: list[tuple[int, int | None]] = []
    for transaction in chosen:
        leaf = block.leaves[transaction]
        moves = leaf.consumes + leaf.references
        found += [(transaction, move) for move in (None, *sorted({0, leaf.consumes, moves - 1} & set(range(moves))))]
    return found


def test_every_block_of_a_real_chain_under_every_head() -> None:
    """Genesis, the block just below the head, and the head itself are among them."""
    chain = holesky()
    config = ChainConfig.decode(chain.config)
    for head in range(len(chain.blocks)):
        for block in range(head + 1):
            for transaction, move in places(chain.blocks[block]):
                shown = check(chain, block, head, transaction, move)
                assert (shown.chain_id, shown.profile) == (config.chain_id, config.profile.name.lower())


def test_every_transaction_and_move_of_a_real_block() -> None:
    chain = holesky()
    block = chain.blocks[1]
    for transaction in range(len(block.leaves)):
        leaf = block.leaves[transaction]
        for move in range(leaf.consumes + leaf.references):
            check(chain, 1, 4, transaction, move)


COUNTS = [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31]


@pytest.mark.parametrize("count", COUNTS)
def test_every_leaf_of_trees_of_odd_and_even_counts(count: int) -> None:
    chain = chain_of([1, count, 1], genesis_number=9)
    for transaction in range(count):
        check(chain, 1, 2, transaction, 0)


@pytest.mark.parametrize("length", COUNTS)
def test_every_block_of_histories_of_odd_and_even_lengths(length: int) -> None:
    """Genesis first; the last one before the head; the head itself."""
    chain = chain_of([1] * (length + 1), genesis_number=2**40)
    for block in range(length + 1):
        check(chain, block, length, 0, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=20), st.integers(0, 2**62), st.data())
def test_any_place_of_any_chain(counts: list[int], genesis_number: int, data: st.DataObject) -> None:
    chain = chain_of(counts, genesis_number, seed=data.draw(st.integers(0, 2**20)))
    head = data.draw(st.integers(0, len(counts) - 1))
    block = data.draw(st.integers(0, head))
    if not counts[block]:
        with pytest.raises(IndexError):
            proof(chain, block, head, 0)
        return
    transaction = data.draw(st.integers(0, counts[block] - 1))
    leaf = chain.blocks[block].leaves[transaction]
    move = data.draw(st.none() | st.integers(0, leaf.consumes + leaf.references - 1))
    check(chain, block, head, transaction, move)
    for other in set(range(len(counts))) - {head}:
        assert "is not the trusted head" in rejection(
            proof(chain, block, head, transaction, move), chain.blocks[other].hash
        )


def test_places_that_a_block_does_not_have() -> None:
    chain = chain_of([1, 3, 1])
    moves = len(chain.blocks[1].moves)
    for transaction, move in ((3, None), (3, 0), (-1, None), (-1, 0), (0, -1), (0, moves)):
        with pytest.raises(IndexError):
            proof(chain, 1, 2, transaction, move)
    with pytest.raises(ValueError, match="is not in list"):
        proof(chain, 2, 1, 0)


@cache
def samples() -> dict[str, tuple[bytes, bytes]]:
    """Files of every shape with their heads."""
    real, made = holesky(), chain_of([1, 1, 5, 1], 70)
    return {
        "real move": (proof(real, 2, 4, 7, 3), real.blocks[4].hash),
        "real transaction": (proof(real, 3, 4, 0), real.blocks[4].hash),
        "real genesis": (proof(real, 0, 4, 0, 17), real.blocks[4].hash),
        "the head": (proof(made, 2, 2, 4, 0), made.blocks[2].hash),
        "one leaf, one before": (proof(made, 0, 1, 0), made.blocks[1].hash),
    }


SAMPLES = ["real move", "real transaction", "real genesis", "the head", "one leaf, one before"]


@pytest.mark.parametrize("name", SAMPLES)
def test_no_bit_can_be_changed(name: str) -> None:
    data, head = samples()[name]
    verify_inclusion(data, head)
    for at in range(len(data)):
        for bit in range(8) if is_nightly() or name == "the head" else (at % 8,):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            assert rejection(bytes(flipped), head)


@pytest.mark.parametrize("name", SAMPLES)
def test_no_byte_can_be_added_or_left_out(name: str) -> None:
    data, head = samples()[name]
    assert rejection(data + b"\0", head)
    for at in range(0, len(data), 3):
        assert rejection(data[:at], head)
        assert rejection(data[:at] + data[at + 1 :], head)
        assert rejection(data[:at] + b"\x80" + data[at:], head)


def thawed(item: Any) -> Any:
    return [thawed(i) for i in item] if isinstance(item, (list, tuple)) else item


def edited(data: bytes, *path: int, value: object) -> bytes:
    """The file with one item of its RLP replaced."""
    tree = at = thawed(rlp.decode(data[START:]))
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return data[:START] + bytes(rlp.encode(tree))


def test_each_part_is_bound() -> None:
    """Parts of honest proofs put together differently, each refused by the check that binds it."""
    chain, other = chain_of([1, 5, 5, 1], 70), chain_of([1, 5, 5, 1], 71)
    data, head = proof(chain, 1, 3, 2, 0), chain.blocks[3].hash
    parts, theirs = rlp.decode(data[START:]), rlp.decode(proof(chain, 2, 3, 2, 0)[START:])
    assert edited(data, 0, value=parts[0]) == data
    assert "config is not the one" in rejection(edited(data, 0, value=chain_of([1], 70).config[:-1] + b"\x41"), head)
    assert "not in the history" in rejection(edited(data, 0, value=other.config), head)
    assert "not the trusted head" in rejection(edited(data, 1, value=[]), head)
    assert "not the trusted head" in rejection(edited(data, 1, 0, value=parts[2]), head)
    assert "not in the history" in rejection(edited(data, 1, 1, value=[]), head)
    assert "not in the history" in rejection(edited(data, 2, value=theirs[2]), head)
    assert "not in the history" in rejection(edited(data, 2, value=chain.head(3).encode()), head)
    for part in (3, 4):
        assert "is not in its tree" in rejection(edited(data, part, value=list(theirs[part])), head)
        assert "is not in its tree" in rejection(edited(data, part, 0, value=b"\x03"), head)
        assert "is not in its tree" in rejection(edited(data, part, 0, value=b"\xff" * 8), head)
        assert "is not in its tree" in rejection(edited(data, part, 2, value=[*parts[part][2], bytes(32)]), head)
        assert "an integer is too long" in rejection(edited(data, part, 0, value=b"\xff" * 9), head)
        assert "another length" in rejection(edited(data, part, 1, value=parts[part][1] + b"\0"), head)
        assert f"more than {MAX_PATH}" in rejection(edited(data, part, 2, value=[bytes(32)] * (MAX_PATH + 1)), head)


def test_blocks_of_another_config_are_no_history() -> None:
    """A dishonest chain may change its config; what the proof says of the chain must hold for both headers."""
    chain = chain_of([1, 2, 1], 70)
    for changed in (1, 2):
        blocks, hashes = [], []
        for i, block in enumerate(chain.blocks):
            config_hash = block.header.config if i != changed else bytes(32)
            blocks.append(sealed(block, hashes, 70 + i, config_hash))
            hashes.append(blocks[-1].hash)
        data = prove_inclusion(blocks[1], 0, None, chain.config, blocks[2].header, hashes[:2])
        assert "config is not the one" in rejection(data, blocks[2].hash)


@pytest.mark.parametrize("path", [(), (1,), (1, 1), (3,), (3, 2), (4,), (4, 2)])
def test_no_list_holds_more(path: tuple[int, ...]) -> None:
    chain = chain_of([1, 5, 1, 1], 70)
    data, head = proof(chain, 1, 3, 2, 0), chain.blocks[3].hash
    tree = part = thawed(rlp.decode(data[START:]))
    for step in path:
        part = part[step]
    part.append(bytes(32))
    assert rejection(data[:START] + bytes(rlp.encode(tree)), head)


def test_rlp_has_one_form() -> None:
    """Each item in every longer form that a lax reader would take."""
    chain = chain_of([1, 5, 1, 1], 70)
    data, head = proof(chain, 1, 3, 2, 0), chain.blocks[3].hash
    parts = [bytes(rlp.encode(item)) for item in rlp.decode(data[START:])]
    config, leaf = parts[0], rlp.decode(parts[3])
    path = bytes(rlp.encode(leaf[2]))

    def sealed_in(items: list[bytes], prefix: bytes | None = None) -> bytes:
        body = b"".join(items)
        return (prefix if prefix is not None else list_prefix(len(body))) + body

    assert data[:START] + sealed_in(parts) == data
    row = bytes(rlp.encode(leaf[1]))
    assert sealed_in([b"\x02", row, path]) == parts[3]
    wide = b"\xfa" + len(b"".join(parts)).to_bytes(3, "big")
    for lax in (
        [*parts[:3], sealed_in([b"\x81\x02", row, path]), parts[4]],
        [*parts[:3], sealed_in([b"\x82\x00\x02", row, path]), parts[4]],
        [*parts[:3], sealed_in([b"\xb8\x01\x02", row, path]), parts[4]],
        [b"\xb9\x00" + config[1:], *parts[1:]],
    ):
        assert "does not decode" in rejection(data[:START] + sealed_in(lax), head)
    assert "shorter form" in rejection(data[:START] + sealed_in(parts, wide), head)


def test_an_inner_node_is_no_leaf() -> None:
    """A leaf's width is fixed, so no node of the tree can stand for one."""
    chain = chain_of([1, 2, 1])
    data, head = proof(chain, 1, 2, 0), chain.blocks[2].hash
    hashes = [trees.leaf_hash(leaf) for leaf in encoded_leaves(chain.blocks[1])]
    node = b"\1" + hashes[0] + hashes[1]
    assert "another length" in rejection(edited(data, 3, value=[b"", node, []]), head)


def test_a_move_of_the_wrong_kind_is_no_move() -> None:
    """A dishonest block may hold it; what it would make must not be shown."""
    chain = chain_of([1, 1])
    block = chain.blocks[1]
    block.moves.mask[0] ^= inclusion.REFERENCE
    block.leaves.moves_root[0] = list(trees.root([move.encode() for move in block.moves.objects()]))
    block = sealed(block, chain.history(1), 1, block.header.config)
    data = prove_inclusion(block, 0, 0, chain.config, block.header, chain.history(1))
    assert "the block is invalid" in rejection(data, block.hash)


def test_versions_and_magic() -> None:
    data, head = samples()["the head"]
    assert "begins with other bytes" in rejection(b"MANAPROOF" + data[9:], head)
    assert "begins with other bytes" in rejection(MAGIC, head)
    later = MAGIC + bytes((INCLUSION_VERSION + 1,)) + data[START:]
    assert f"version {INCLUSION_VERSION + 1} of the format" in rejection(later, head)
    assert "at most" in rejection(data + bytes(MAX_INCLUSION_BYTES), head)


def test_the_bound_holds_the_largest_proof() -> None:
    path = [bytes(32)] * MAX_PATH
    row = [b"\xff" * 8, bytes(LEAF_BYTES), path]
    fields = [bytes(MAX_CONFIG_BYTES), [bytes(MAX_HEADER_BYTES), path], bytes(MAX_HEADER_BYTES), row, row]
    assert START + len(rlp.encode(fields)) <= MAX_INCLUSION_BYTES


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**49), st.integers(0, 2**49), st.integers(0, 50))
def test_paths_are_those_of_the_trees(position: int, count: int, length: int) -> None:
    path = [bytes((i,)) * 32 for i in range(length)]
    assert root_from_path(b"leaf", position, count, path) == trees.root_from_path(
        trees.leaf_hash(b"leaf"), position, count, path
    )
    if position < count:
        fitting = [bytes((i,)) * 32 for i in range(trees.path_length(position, count))]
        found = root_from_path(b"leaf", position, count, fitting)
        assert found is not None
        assert found == trees.root_from_path(trees.leaf_hash(b"leaf"), position, count, fitting)
        assert root_from_path(b"leaf", position, count, fitting[:-1]) is None or not fitting


HEADER = header(number=2**63, extra_data=b"x" * 31, fees=2**255, base_fee=7).encode()


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(HEADER) - 1), st.integers(0, 2), st.binary(max_size=2))
def test_headers_are_read_as_elsewhere(at: int, cut: int, put: bytes) -> None:
    data = HEADER[:at] + put + HEADER[at + cut :]
    try:
        expected = Header.decode(data)
    except Verdict:
        with pytest.raises(InclusionRejected):
            read_header(data)
        return
    assert read_header(data) == {name: getattr(expected, name) for name in Header.__slots__}


def test_headers_of_another_version_or_with_more_extra_data() -> None:
    assert read_header(header(extra_data=bytes(32)).encode())["extra_data"] == bytes(32)
    items = rlp.decode(header().encode())
    for at, value, reason in ((14, bytes(33), "too much extra data"), (0, b"\2", "version 2")):
        with pytest.raises(InclusionRejected, match=reason):
            read_header(bytes(rlp.encode([*items[:at], value, *items[at + 1 :]])))


def test_the_verifier_is_one_file_of_the_standard_library(tmp_path: Path) -> None:
    """Copied alone and run without site packages, environment or the package around it."""
    source = Path(inclusion.__file__)
    tree = ast.parse(source.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
    copy, file = tmp_path / "verify.py", tmp_path / "proof"
    shutil.copyfile(source, copy)
    data, head = samples()["real move"]
    file.write_bytes(data)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", str(copy), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)

    done = run(file, "0x" + head.hex())
    shown = verify_inclusion(data, head)
    found = json.loads(done.stdout)
    assert (done.returncode, found["txid"], found["move"]["slot"]) == (
        0, "0x" + shown.txid.hex(), "0x" + shown.move.slot.hex() if shown.move else "",
    )  # fmt: skip
    assert found["block_number"] == shown.block_number
    wrong = run(file, hashlib.sha256(head).hexdigest())
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("rejected: the head in the file is not the trusted head")
    assert [run(file).returncode, run(file, "0xzz").returncode] == [2, 2]
