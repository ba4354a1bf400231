"""Small blocks for the index, built from what a model knows, and a state to put them in."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from manaflow.errors import Rule, Verdict
from manaflow.moves.columns import Moves
from manaflow.moves.marks import ZERO32, Location, Mark, Move
from manaflow.validator.index import Applied, Index
from manaflow.validator.shape import Shape
from manaflow.validator.store import Store
from tests.validator.model import Broken, Model

CONSUME, REFERENCE = 0x3F, 0xBF
SMALL = Shape(chunk_cells=24, chunk_pages=2, live_chunks=2, bucket_bits=4, steps=8, pending=64)
"""Chunks of 24 cells, 16 buckets, a turn of eight steps: a few blocks cross every border and pack."""

Transactions = list[list[Move]]


def place(n: int, mark: Mark = Mark.STORAGE) -> Location:
    return mark, bytes([n % 256]) * 20, n.to_bytes(32, "big")


def word(n: int) -> bytes:
    return n.to_bytes(32, "big")


def consume(number: int, location: Location, prev: bytes, after: bytes) -> Move:
    return Move(CONSUME, location[0], number, location[1], location[2], prev, after)


def reference(number: int, location: Location, value: bytes) -> Move:
    return Move(REFERENCE, location[0], number, location[1], location[2], value, value)


def first_touch(location: Location, after: bytes) -> Move:
    return consume(0, location, ZERO32, after)


@dataclass
class State:
    """A store and its index, driven as the validator drives them."""

    path: Path
    shape: Shape = SMALL
    keep_blocks: int = 6
    txids: random.Random = field(default_factory=lambda: random.Random(7))

    def __post_init__(self) -> None:
        self.store = Store.open(self.path)
        self.open()

    def open(self) -> None:
        self.index = Index.open(self.store, shape=self.shape)
        self.index.keep_blocks = self.keep_blocks

    def close(self) -> None:
        self.store.close()

    def apply(self, block: Transactions, txids: list[bytes] | None = None) -> Applied:
        moves = Moves.of(move for moves in block for move in moves)
        offsets = np.cumsum([0, *(len(moves) for moves in block)]).astype(np.int64)
        names = txids or [self.txids.randbytes(32) for _ in block]
        ids = np.frombuffer(b"".join(names), np.uint8).reshape(-1, 32)
        with self.store.write() as txn:
            net = self.index.check(txn, moves, offsets, self.index.next_number, ids)
            pending = self.index.apply(txn, self.index.height + 1, net, ids)
        self.index.accept(pending)
        return pending

    def broken(self, block: Transactions) -> Broken | None:
        """Where and by which rule the block is refused; None if it is taken."""
        try:
            self.apply(block)
        except Verdict as verdict:
            found = verdict
        else:
            return None
        assert found.transaction is not None
        assert found.move is not None
        return Rule(found.rule), found.transaction, found.move

    def undo(self) -> None:
        with self.store.write() as txn:
            pending = self.index.undo(txn, self.index.height)
        self.index.accept(pending)

    @property
    def can_undo(self) -> bool:
        return bool(self.index.memory.recent)

    def agrees(self, model: Model) -> None:
        """The index verifies and says what the model says."""
        self.index.verify()
        content = self.index.content()
        assert content.next_number == model.next_number
        assert content.live == model.live
        assert len(content.touched) == len(model.touched)
        with self.store.read() as txn:
            assert all(self.index.is_touched(txn, *location) for location in model.touched)
            for number, cell in model.cells.items():
                assert self.index.maker_matches(txn, number, cell.txid)
                assert not self.index.maker_matches(txn, number, ZERO32)
                if cell.live:
                    assert self.index.matches(txn, number, *cell.location, cell.value)
                    assert not self.index.matches(txn, number, *cell.location, word(12345))

    def agrees_row_by_row(self, moves: list[Move], txids: list[bytes], model: Model) -> None:
        """check_cells and makers_match say of each row what the model says."""
        columns = Moves.of(moves)
        names = np.frombuffer(b"".join(txids), np.uint8).reshape(-1, 32)
        with self.store.read() as txn:
            verdicts = self.index.check_cells(txn, columns)
            matches = self.index.makers_match(txn, columns.number, names)
        assert verdicts.tolist() == [model.judge_alone(move) or 0 for move in moves]
        made = [model.cells[move.number].txid if move.number in model.cells else None for move in moves]
        expected = [t == (m if move.number else ZERO32) for move, m, t in zip(moves, made, txids, strict=True)]
        assert matches.tolist() == expected
