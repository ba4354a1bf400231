"""The state rules V1 to V4 as a plain dictionary, one move after the other: what the index must agree with."""

from __future__ import annotations

from dataclasses import dataclass, field

from manaflow.errors import Rule
from manaflow.moves.marks import ZERO32, Location, Mark, Move

Broken = tuple[Rule, int, int]
"""(rule, transaction, move)."""


@dataclass
class Cell:
    location: Location
    value: bytes
    txid: bytes
    live: bool = True


@dataclass
class Model:
    cells: dict[int, Cell] = field(default_factory=dict)
    touched: set[Location] = field(default_factory=set)
    next_number: int = 1
    height: int = -1

    def copy(self) -> Model:
        cells = {n: Cell(c.location, c.value, c.txid, c.live) for n, c in self.cells.items()}
        return Model(cells, set(self.touched), self.next_number, self.height)

    @property
    def live(self) -> set[int]:
        return {n for n, cell in self.cells.items() if cell.live}

    def judge(self, block: list[list[Move]], txids: list[bytes]) -> Broken | Model:
        """The state after the block, or the first move that breaks a rule."""
        after = self.copy()
        for t, moves in enumerate(block):
            own = after.next_number
            for k, move in enumerate(moves):
                rule = after._play(move, own, txids[t], self)
                if rule is not None:
                    return rule, t, k
        after.height += 1
        return after

    def judge_alone(self, move: Move) -> Rule | None:
        """The rule that one move breaks on this state."""
        return self.copy()._play(move, self.next_number, ZERO32, self)

    def _play(self, move: Move, own: int, txid: bytes, before: Model) -> Rule | None:
        if move.mark == Mark.BLOCKHASH:
            return None
        rule = self._virgin(move) if move.number == 0 else self._born(move, own, before)
        if rule is None and not move.is_reference:
            if move.number:
                self.cells[move.number].live = False
            self.touched.add(move.location)
            self.cells[self.next_number] = Cell(move.location, move.next, txid)
            self.next_number += 1
        return rule

    def _virgin(self, move: Move) -> Rule | None:
        return Rule.V4 if move.location in self.touched else None

    def _born(self, move: Move, own: int, before: Model) -> Rule | None:
        gone = Rule.V3 if move.is_reference else Rule.V2
        if move.number >= own:
            return Rule.V1
        old = before.cells.get(move.number)
        if old is not None and not old.live:
            return gone
        cell = self.cells[move.number]
        if (cell.location, cell.value) != (move.location, move.prev):
            return Rule.V1
        return None if cell.live else gone
