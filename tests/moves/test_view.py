"""The JSON view for people."""

from __future__ import annotations

import json

import pytest

from manaflow.moves.marks import Mark, Mask, Move
from manaflow.moves.view import block_json, mark_letter, mask_names, move_json, transaction_json
from tests.moves.wire_blocks import honest_block, nonsense_block

WORD = (2**70).to_bytes(32, "big")


def test_move_in_words() -> None:
    move = Move(Mask.REFERENCE | Mask.GUARD | Mask.NEXT, Mark.BALANCE, 7, b"\1" * 20, bytes(32), WORD, WORD)
    assert move_json(move) == {
        "kind": "reference",
        "mask": ["next", "guard"],
        "mark": "b",
        "number": 7,
        "addr": "0x" + "01" * 20,
        "slot": "0x" + "00" * 32,
        "prev": str(2**70),
        "next": str(2**70),
    }
    stored = Move(0, Mark.STORAGE, 0, bytes(20), bytes(32), bytes(32), WORD)
    assert (move_json(stored)["kind"], move_json(stored)["next"]) == ("consume", "0x" + WORD.hex())


def test_names_of_unknown_marks_and_all_bits() -> None:
    assert [mark_letter(mark) for mark in (*b"bcens", 0, 255)] == ["b", "c", "e", "n", "s", "0x00", "0xff"]
    assert mask_names(0xFF) == ["intx", "prev", "next", "slot", "addr", "mark", "guard"]
    assert mask_names(0) == []


def test_transaction_shows_both_names_of_a_cell() -> None:
    block = honest_block(3, 20)
    offsets = block.leaves.move_offsets()
    made = {}
    inside = 0
    for i in range(len(block.leaves)):
        shown = transaction_json(block, i)
        assert shown["txid"] == "0x" + block.leaves[i].txid.hex()
        assert len(shown["moves"]) == offsets[i + 1] - offsets[i]
        for entry in shown["moves"]:
            inside += entry["number"] in made
            assert entry["intx"] == made.get(entry["number"])
        for entry in shown["moves"]:
            if "makes" in entry:
                made[entry["makes"]] = shown["txid"]
    assert inside > 5
    assert sorted(made) == list(range(1000, 1000 + int(block.leaves.consumes.sum())))


def test_virgin_cells_are_named_by_zero() -> None:
    block = honest_block(3)
    block.moves.number[0] = 0
    assert transaction_json(block, 0)["moves"][0]["intx"] == "0x" + "00" * 32


@pytest.mark.parametrize("seed", range(20))
def test_any_block_is_json(seed: int) -> None:
    block = nonsense_block(seed, 6, 30)
    text = json.dumps(block_json(block))
    shown = json.loads(text)
    assert shown["hash"] == "0x" + block.hash.hex()
    assert shown["header"]["first_cell"] in (block.header.first_cell, str(block.header.first_cell))
    assert [len(t["moves"]) for t in shown["transactions"]] == [
        int(c) + int(r) for c, r in zip(block.leaves.consumes, block.leaves.references, strict=True)
    ]


def test_invalid_position() -> None:
    with pytest.raises(IndexError):
        transaction_json(honest_block(1, 2), 3)
    with pytest.raises(IndexError):
        transaction_json(honest_block(1, 2), -1)
