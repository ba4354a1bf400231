"""The native encoder of a block's moves writes what the reference writes, whatever the moves hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from manaflow.evm.native_wire import encode_moves
from manaflow.moves import wire_moves
from manaflow.moves.block import Block
from manaflow.moves.columns import Moves
from manaflow.moves.wire import encode_block
from tests.moves.wire_blocks import honest_block, nonsense_block


def agrees(block: Block) -> None:
    first_cell = block.header.first_cell
    assert encode_moves(block.moves, block.leaves, first_cell) == wire_moves.encode_moves(
        block.moves, block.leaves, first_cell
    )
    assert encode_block(block, encode=encode_moves, level=1) == encode_block(block, level=1)


@pytest.mark.parametrize("seed", range(20))
def test_honest_blocks(seed: int) -> None:
    agrees(honest_block(seed, 1 + 2 * seed))


@pytest.mark.parametrize("seed", range(20))
def test_blocks_that_hold_anything(seed: int) -> None:
    block = nonsense_block(seed, seed, 3 * seed)
    agrees(block)
    if len(block.moves):
        agrees(replace(block, header=replace(block.header, first_cell=int(block.moves.number[-1]))))
        same = replace(block.moves, mark=block.moves.mark[:1].repeat(len(block.moves)))
        agrees(replace(block, moves=replace(same, addr=same.addr * 0, slot=same.slot * 0)))


def test_a_block_without_moves() -> None:
    agrees(nonsense_block(1, 0, 0))
    agrees(nonsense_block(1, 3, 0))


def test_what_does_not_fit_is_refused() -> None:
    block = honest_block(1)
    counts = block.leaves.consumes.copy()
    counts[0] += 1
    with pytest.raises(ValueError, match="count the moves"):
        encode_moves(block.moves, replace(block.leaves, consumes=counts), 1)
    with pytest.raises(ValueError, match="count the moves"):
        encode_moves(block.moves, replace(block.leaves, consumes=counts[1:]), 1)
    with pytest.raises(ValueError, match="different lengths"):
        encode_moves(replace(block.moves, slot=block.moves.slot[1:]), block.leaves, 1)
    with pytest.raises(ValueError, match="contiguous"):
        encode_moves(replace(block.moves, mark=np.repeat(block.moves.mark, 2)[::2]), block.leaves, 1)
    assert encode_moves(Moves.empty(), replace(block.leaves, consumes=counts * 0, references=counts * 0), 1)
