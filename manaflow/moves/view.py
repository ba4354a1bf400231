"""Blocks, transactions and moves as JSON for people: hex, letters and names instead of bytes, numbers as numbers.

One way only: nothing reads this form back. Integers from 2^53 on (wei) are decimal strings, so that every JSON reader
keeps them.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

import numpy as np

from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.header import Header
from manaflow.moves.leaf import Leaf
from manaflow.moves.marks import ZERO32, Mark, Mask, Move

_SAFE: Final = 2**53
_WORD_MARKS: Final = (Mark.BALANCE, Mark.NONCE)
"""Marks whose values are quantities; those of the others are shown as hex."""


def hexed(data: bytes) -> str:
    """0x-prefixed hex."""
    return "0x" + data.hex()


def block_json(block: Block) -> dict[str, Any]:
    """The whole block."""
    return {
        "hash": hexed(block.hash),
        "header": header_json(block.header),
        "signature": hexed(block.signature),
        "transactions": [transaction_json(block, i) for i in range(len(block.leaves))],
        "envelopes": [hexed(envelope) for envelope in block.envelopes],
        "codes": [hexed(code) for code in block.codes],
        "withdrawals": [withdrawal_json(withdrawal) for withdrawal in block.withdrawals],
    }


def header_json(header: Header) -> dict[str, Any]:
    """The header's fields by name."""
    return {f.name: _shown(getattr(header, f.name)) for f in fields(header)}


def withdrawal_json(withdrawal: Withdrawal) -> dict[str, Any]:
    """A withdrawal; amount in gwei."""
    return {f.name: _shown(getattr(withdrawal, f.name)) for f in fields(withdrawal)}


def transaction_json(block: Block, i: int) -> dict[str, Any]:
    """Leaf i and its moves, with both names of a cell wherever this block knows them. Raises IndexError."""
    offsets = block.leaves.move_offsets()
    if not 0 <= i < len(block.leaves):
        raise IndexError(i)
    leaf = block.leaves[i]
    moves = block.moves.take(int(offsets[i]), int(offsets[i + 1])).objects()
    shown = [{**move_json(move), "intx": _shown_or_none(_maker(block, move))} for move in moves]
    consumes = [entry for entry in shown if entry["kind"] == "consume"]
    for k, entry in enumerate(consumes):
        entry["makes"] = _shown(leaf.first_cell + k)
    return {"index": i, **leaf_json(leaf), "moves": shown}


def leaf_json(leaf: Leaf) -> dict[str, Any]:
    """The leaf's fields by name; first_cell, gas, fees and blob_gas are the totals before it."""
    return {f.name: _shown(getattr(leaf, f.name)) for f in fields(leaf)}


def move_json(move: Move) -> dict[str, Any]:
    """A move. `number` is its cell's number in the sealed order, 0 for virgin."""
    return {
        "kind": "reference" if move.is_reference else "consume",
        "mask": mask_names(move.mask),
        "mark": mark_letter(move.mark),
        "number": _shown(move.number),
        "addr": hexed(move.addr),
        "slot": hexed(move.slot),
        "prev": _value(move.mark, move.prev),
        "next": _value(move.mark, move.next),
    }


def mark_letter(mark: int) -> str:
    """The letter of a known mark, hex of any other byte."""
    return chr(mark) if mark in tuple(Mark) else f"0x{mark:02x}"


def mask_names(mask: int) -> list[str]:
    """Lower-case names of the bits that are set, except REFERENCE, which is the move's kind."""
    return [str(bit.name).lower() for bit in Mask if mask & bit and bit is not Mask.REFERENCE]


def _maker(block: Block, move: Move) -> bytes | None:
    """The txid that made a move's cell: zero for virgin, None if the cell is older than this block."""
    if move.number == 0:
        return ZERO32
    first, number = block.leaves.first_cell, np.uint64(move.number)
    # Only a leaf without consumes makes nothing of what begins at its total; sums that wrap are a dishonest block's.
    makers = np.flatnonzero((first <= number) & (number - first < block.leaves.consumes))
    return block.leaves.txid[makers[0]].tobytes() if len(makers) else None


def _value(mark: int, word: bytes) -> Any:
    return _shown(int.from_bytes(word, "big")) if mark in _WORD_MARKS else hexed(word)


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return hexed(value)
    return str(value) if value >= _SAFE else value


def _shown_or_none(value: bytes | None) -> str | None:
    return None if value is None else hexed(value)
