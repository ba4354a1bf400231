"""A block's moves on the wire: a table of locations in the order of first use, and what each use adds to a prediction.

Within one block, the uses of a location form a chain: an honest move names the cell that the use before it left, with
the value that it left. So number, prev and next are sent as differences from what the chain predicts, and an honest
block sends a location, a number and a prev only where it first uses a location. Nothing is assumed: a dishonest block's
differences are just not zero.

| column | sent as | width |
|---|---|---|
| index | 0 if the location is new, else 1 + its place in the table | 4 |
| mask | exclusive or with consume (0x3F) or reference (0xBF) as the leaf's counts say | 1 |
| number | less what the chain predicts; for a new location the distance back from the block's first cell | 8 |
| prev | less the value that the chain predicts (a new location: 0), modulo 2^256 | 32 |
| next | less prev, modulo 2^256, as zigzag | 32 |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from manaflow.moves.columns import I64, U8, U64, Leaves, Moves
from manaflow.moves.marks import UNSIGNED, Mask
from manaflow.moves.words import (
    Bools,
    Reader,
    encode_words,
    limbs_of,
    running_sums,
    running_sums_of_limbs,
    subtract,
    unzigzag,
    words_of,
    words_of_limbs,
    zigzag,
)

_REFERENCE: Final = np.uint8(Mask.REFERENCE)


@dataclass(frozen=True, slots=True)
class Locations:
    """The distinct locations of a block in the order of first use.

    mark: uint8[l]; addr: uint8[l, 20]; slot: uint8[l, 32].
    """

    mark: U8
    addr: U8
    slot: U8

    def __len__(self) -> int:
        return len(self.mark)

    def keys(self) -> U8:
        """uint8[l, 53]: mark | addr | slot."""
        return np.concatenate([self.mark[:, None], self.addr, self.slot], axis=1)


def first_seen(rows: U8) -> tuple[I64, I64]:
    """(index, places): each row's place in the list of distinct rows by first appearance, and where those stand."""
    n, width = rows.shape
    data = rows.tobytes()
    seen: dict[bytes, int] = {}
    index = [seen.setdefault(data[i * width : (i + 1) * width], len(seen)) for i in range(n)]
    column = np.array(index, np.int64)
    new = np.ones(n, np.bool_)
    new[1:] = column[1:] > np.maximum.accumulate(column)[:-1]
    return column, np.flatnonzero(new)


def encode_index(index: I64, new: I64) -> bytes:
    """Places in a table of first appearances; `new` are the rows that appear first."""
    codes = index + 1
    codes[new] = 0
    return encode_words(words_of(codes.astype(np.uint32)))


def decode_index(reader: Reader, n: int, size: int, what: str) -> I64:
    """The inverse of encode_index for a table of `size` rows, all of which must appear, in order."""
    codes = reader.numbers(n, 4, what).astype(np.int64)
    new = codes == 0
    known = np.cumsum(new)
    if (known[-1] if n else 0) != size or (codes > known).any():
        raise reader.refusal(what, "does not fit its table")
    index: I64 = np.where(new, known - 1, codes - 1)
    return index


def _require_distinct(reader: Reader, rows: U8, what: str) -> None:
    """One encoding: a table that holds a row twice could be indexed in two ways."""
    width, data = rows.shape[1], rows.tobytes()
    if len({data[i : i + width] for i in range(0, len(data), width)}) != len(rows):
        raise reader.refusal(what, "holds a row twice")


def encode_locations(moves: Moves) -> tuple[bytes, I64, tuple[int, int]]:
    """(frame, index, (locations, addresses)): the tables, and each move's place in the table of locations."""
    index, rows = first_seen(Locations(moves.mark, moves.addr, moves.slot).keys())
    addr_index, addr_rows = first_seen(moves.addr[rows])
    frame = (
        encode_words(moves.addr[rows][addr_rows])
        + encode_index(addr_index, addr_rows)
        + encode_words(moves.mark[rows][:, None])
        + encode_words(moves.slot[rows])
    )
    return frame, index, (len(rows), len(addr_rows))


def decode_locations(reader: Reader, size: int, addresses: int) -> Locations:
    """The inverse of encode_locations' frame. Raises Verdict(B1)."""
    addr = reader.words(addresses, 20, "addresses")
    _require_distinct(reader, addr, "addresses")
    index = decode_index(reader, size, addresses, "index of addresses")
    mark = reader.words(size, 1, "marks")[:, 0].copy()
    locations = Locations(mark, addr[index], reader.words(size, 32, "slots"))
    _require_distinct(reader, locations.keys(), "locations")
    reader.finish()
    return locations


@dataclass(frozen=True, slots=True)
class Chains:
    """The uses of each location, one chain after the other.

    order: int64[n], rows of the block by location, then by place; first: bool[n], order[k] is its location's first use.
    """

    order: I64
    first: Bools

    @staticmethod
    def of(index: I64) -> Chains:
        """The chains of int64[n] locations."""
        order = np.argsort(index, kind="stable")
        first = np.ones(len(index), np.bool_)
        first[1:] = index[order][1:] != index[order][:-1]
        return Chains(order, first)


def _predicted_masks(leaves: Leaves) -> U8:
    """uint8[n]: unsigned consumes, then unsigned references, as each leaf counts them."""
    counts = np.stack([leaves.consumes, leaves.references], axis=1).reshape(-1)
    return np.repeat(np.tile(np.array([UNSIGNED, UNSIGNED | Mask.REFERENCE], np.uint8), len(leaves)), counts)


def _cells_made(mask: U8, first_cell: int) -> tuple[Bools, U64]:
    """(consumes, numbers): which moves make a cell, and its number by the count of consumes before it (M5)."""
    consumes = (mask & _REFERENCE) == 0
    return consumes, np.cumsum(consumes, dtype=np.uint64) - consumes + np.uint64(first_cell)


def _distance(numbers: U64, first_cell: int) -> U64:
    """first cell - number modulo 2^64, with the images of 0 and of the first cell swapped, so that virgin (0) is 0.

    Its own inverse.
    """
    base = np.uint64(first_cell)
    away = base - numbers
    return np.where(numbers == 0, np.uint64(0), np.where(numbers == base, base, away))


def encode_numbers(moves: Moves, chains: Chains, first_cell: int) -> bytes:
    """Cell numbers as differences from what their chains predict."""
    consumes, made = _cells_made(moves.mask, first_cell)
    number = moves.number[chains.order]
    left = np.where(consumes, made, moves.number)[chains.order]
    sent = number.copy()
    sent[1:] -= left[:-1]
    sent[chains.first] = _distance(number[chains.first], first_cell)
    return encode_words(words_of(_unordered(sent, chains)))


def decode_numbers(reader: Reader, mask: U8, chains: Chains, first_cell: int) -> U64:
    """The inverse of encode_numbers. uint64[n]."""
    consumes, made = _cells_made(mask, first_cell)
    terms = reader.numbers(len(mask), 8, "numbers")[chains.order]
    after_consume = np.zeros(len(mask), np.bool_)
    after_consume[1:] = consumes[chains.order][:-1] & ~chains.first[1:]
    previous = np.flatnonzero(after_consume) - 1
    terms[after_consume] += made[chains.order[previous]]
    terms[chains.first] = _distance(terms[chains.first], first_cell)
    return _unordered(running_sums(terms, chains.first | after_consume), chains)


def encode_values(moves: Moves, chains: Chains) -> bytes:
    """prev as differences from what the chains predict, next as differences from prev."""
    prev, after = limbs_of(moves.prev[chains.order]), limbs_of(moves.next[chains.order])
    predicted = np.zeros_like(prev)
    predicted[1:] = after[:-1]
    predicted[chains.first] = 0
    sent_prev, sent_next = subtract(prev, predicted), zigzag(subtract(after, prev))
    return b"".join(encode_words(words_of_limbs(_unordered(sent, chains))) for sent in (sent_prev, sent_next))


def decode_values(reader: Reader, chains: Chains) -> tuple[U8, U8]:
    """(prev, next), the inverse of encode_values: one running sum over each chain prev, next, prev, next ..."""
    n = len(chains.order)
    sent_prev = limbs_of(reader.words(n, 32, "prev"))[chains.order]
    sent_next = unzigzag(limbs_of(reader.words(n, 32, "next")))[chains.order]
    terms = np.stack([sent_prev, sent_next], axis=1).reshape(2 * n, 8)
    starts = np.zeros(2 * n, np.bool_)
    starts[::2] = chains.first
    sums = running_sums_of_limbs(terms, starts)
    return words_of_limbs(_unordered(sums[::2], chains)), words_of_limbs(_unordered(sums[1::2], chains))


def _unordered(rows: U64, chains: Chains) -> U64:
    """Rows in the order of the chains, put back in the order of the block."""
    result = np.empty_like(rows)
    result[chains.order] = rows
    return result


def encode_uses(moves: Moves, leaves: Leaves, index: I64, chains: Chains, first_cell: int) -> bytes:
    """The frame of index, mask and number."""
    masks = (moves.mask ^ _predicted_masks(leaves))[:, None]
    new = np.sort(chains.order[chains.first])
    return encode_index(index, new) + encode_words(masks) + encode_numbers(moves, chains, first_cell)


@dataclass(frozen=True, slots=True)
class MoveFrames:
    """The three frames of a block's moves."""

    locations: bytes
    uses: bytes
    values: bytes
    location_count: int
    """Distinct locations,"""
    address_count: int
    """and distinct addresses in them."""


EncodeMoves = Callable[[Moves, Leaves, int], MoveFrames]
"""encode_moves below, or its native twin (evm/native_wire.py)."""


def encode_moves(moves: Moves, leaves: Leaves, first_cell: int) -> MoveFrames:
    """The frames of a block's moves. The counts of the leaves must sum to the number of moves."""
    locations, index, counts = encode_locations(moves)
    chains = Chains.of(index)
    uses = encode_uses(moves, leaves, index, chains, first_cell)
    return MoveFrames(locations, uses, encode_values(moves, chains), *counts)


def decode_moves(uses: Reader, values: Reader, locations: Locations, leaves: Leaves, first_cell: int) -> Moves:
    """All columns of moves from their frames. Raises Verdict(B1)."""
    predicted = _predicted_masks(leaves)
    index = decode_index(uses, len(predicted), len(locations), "index of locations")
    chains = Chains.of(index)
    mask = uses.words(len(predicted), 1, "masks")[:, 0] ^ predicted
    number = decode_numbers(uses, mask, chains, first_cell)
    uses.finish()
    prev, after = decode_values(values, chains)
    values.finish()
    return Moves(mask, locations.mark[index], number, locations.addr[index], locations.slot[index], prev, after)
