"""The wire form on every real block: exact, and nothing changed on the way gets through."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from manaflow.errors import Rule, Verdict
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.block import Block
from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.wire import decode_block, decode_genesis, encode_block, encode_genesis
from manaflow.validator.validator import Validator
from tests.replays import HOLESKY, chain, supported_names

NAMES = supported_names()
SMALLEST = "17000-2971844"


def encoded(name: str) -> bytes:
    return encode_block(chain(name).blocks[0], NATIVE)


@pytest.mark.parametrize("name", NAMES)
def test_a_real_block_comes_back_exactly(name: str) -> None:
    block = chain(name).blocks[0]
    data = encode_block(block, NATIVE)
    back = decode_block(data, NATIVE)
    assert (back.header, back.signature, back.hash) == (block.header, block.signature, block.hash)
    assert back.moves.equals(block.moves)
    assert back.leaves.equals(block.leaves)
    assert (back.envelopes, back.codes, back.withdrawals) == (block.envelopes, block.codes, block.withdrawals)
    assert encode_block(back, NATIVE) == data


@pytest.mark.parametrize("name", NAMES)
def test_a_real_genesis_comes_back_exactly(name: str) -> None:
    genesis = chain(name).genesis
    back = decode_genesis(encode_genesis(genesis, NATIVE), NATIVE)
    assert (back.config, back.ancestors) == (genesis.config, genesis.ancestors)
    assert back.block.hash == genesis.block.hash
    assert back.block.moves.equals(genesis.block.moves)


def assert_flip_is_refused(data: bytes, bit: int) -> None:
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Verdict) as refused:
        decode_block(bytes(flipped), NATIVE)
    assert refused.value.rule == Rule.B1


def test_every_flipped_bit_of_the_smallest_file_is_refused() -> None:
    sizes = {name: len(encoded(name)) for name in NAMES}
    assert min(sizes, key=sizes.__getitem__) == SMALLEST
    data = encoded(SMALLEST)
    for bit in range(len(data) * 8):
        assert_flip_is_refused(data, bit)


@pytest.mark.parametrize("name", [name for name in NAMES if name != SMALLEST])
def test_500_flipped_bits_of_every_other_file_are_refused(name: str) -> None:
    data = encoded(name)
    for bit in random.Random(f"flip {name}").sample(range(len(data) * 8), 500):
        assert_flip_is_refused(data, bit)


def changed_blocks(block: Block, rng: random.Random) -> Iterator[tuple[str, Block]]:
    """The block with one value of one column changed, for every column of leaves and moves, and every list."""
    for kind, columns in (("leaves", block.leaves), ("moves", block.moves)):
        for field in fields(columns):
            column = getattr(columns, field.name).copy()
            row = rng.randrange(len(column))
            column[row] ^= np.asarray(1, column.dtype)
            yield f"{kind}.{field.name}", replace(block, **{kind: replace(columns, **{field.name: column})})
    envelope = rng.randrange(len(block.envelopes))
    raw = block.envelopes[envelope]
    flipped = raw[:-1] + bytes([raw[-1] ^ 1])
    yield (
        "envelopes",
        replace(block, envelopes=(*block.envelopes[:envelope], flipped, *block.envelopes[envelope + 1 :])),
    )
    yield "withdrawals", replace(block, withdrawals=block.withdrawals[:-1])
    yield "codes", replace(block, codes=(*block.codes, b"\0"))


def test_with_the_checksum_made_anew_a_change_in_any_column_is_refused(tmp_path: Path) -> None:
    """A body is bound by the roots in its header: the header, whose hash names the block, did not change."""
    real = chain(*HOLESKY)
    with Validator.create(tmp_path / "state", real.genesis) as validator:
        for block in real.blocks:
            tried = 0
            for what, wrong in changed_blocks(block, random.Random(block.header.number)):
                assert is_refused(validator, wrong), what
                tried += 1
            assert tried == len(fields(Leaves)) + len(fields(Moves)) + 3
            validator.import_block(encode_block(block, NATIVE))


def is_refused(validator: Validator, block: Block) -> bool:
    try:
        validator.import_block(encode_block(block, NATIVE))
    except Verdict:
        return True
    return False


def stored_files(validator: Validator, blocks: list[Block]) -> list[bytes | None]:
    with validator.archive() as archive:
        return [archive.data(block.hash) for block in blocks]


def test_import_undo_import_gives_the_same_bytes_and_the_same_index(tmp_path: Path) -> None:
    real = chain(*HOLESKY)
    files = [encode_block(block, NATIVE) for block in real.blocks]
    with Validator.create(tmp_path / "state", real.genesis, mode="execute") as validator:
        contents = [validator.index.content()]
        for data in files:
            validator.import_block(data)
            contents.append(validator.index.content())
        assert stored_files(validator, real.blocks) == files
        for expected in reversed(contents[:-1]):
            validator.undo_block()
            assert validator.index.content() == expected
        for data, expected in zip(files, contents[1:], strict=True):
            validator.import_block(data)
            assert validator.index.content() == expected
        assert stored_files(validator, real.blocks) == files
        assert validator.head == (real.blocks[-1].header, real.blocks[-1].hash)
        validator.check()
