"""Filled transactions on their way to an open block: cells are named by their makers' txids (docs/SPEC.md, section 8).

A coordinator sends batches; a validator admits each transaction or says why not, and tells what others have changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from manaflow.errors import Rule, Verdict
from manaflow.moves.columns import I64, U8, U32, U64, Moves

FULL: Final = "the open block is full"
"""How the verdict begins on a transaction that may fit the next block."""


def full(rule: Rule, what: str, expected: Any, actual: Any) -> Verdict:
    """The verdict on a transaction for which the open block has no room left. what: which bound."""
    return Verdict(rule, f"{FULL}: {what}", expected=expected, actual=actual)


def is_full(verdict: Verdict) -> bool:
    """True if a transaction was refused only for what others have left of the open block: send it for the next one."""
    return verdict.what.startswith(FULL)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """t filled transactions, in the order in which they are to enter the open block. Nothing here is checked yet.

    consumes, references: uint32[t]; status: uint8[t]; gas_used: uint64[t]; logs_hash: uint8[t, 32]; intx: uint8[n, 32].
    """

    envelopes: tuple[bytes, ...]
    """Signed envelopes, Ethereum's or declared."""
    consumes: U32
    references: U32
    status: U8
    gas_used: U64
    logs_hash: U8
    moves: Moves
    """Transaction by transaction in rule M5's order, masks as filled. `number` is a hint: of the cell where the sender
    knows it sealed, else 0 (virgin, or made by an unsealed transaction); `intx` decides."""
    intx: U8
    """Which transaction made each move's cell; zero for a virgin one and for `e` moves."""
    codes: tuple[bytes, ...]
    """The code bytes that these transactions make live."""

    def __len__(self) -> int:
        return len(self.envelopes)

    def offsets(self) -> I64:
        """int64[t + 1]: rows of each transaction's moves."""
        counts = self.consumes.astype(np.int64) + self.references.astype(np.int64)
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


EMPTY_BATCH: Final = Batch(
    envelopes=(),
    consumes=np.zeros(0, np.uint32),
    references=np.zeros(0, np.uint32),
    status=np.zeros(0, np.uint8),
    gas_used=np.zeros(0, np.uint64),
    logs_hash=np.zeros((0, 32), np.uint8),
    moves=Moves.empty(),
    intx=np.zeros((0, 32), np.uint8),
    codes=(),
)
"""No transactions: whoever sends it learns the open block's cells."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Live cells of an open block, by location: mark uint8[n]; addr uint8[n, 20]; slot, intx, value uint8[n, 32]."""

    mark: U8
    addr: U8
    slot: U8
    intx: U8
    value: U8

    def __len__(self) -> int:
        return len(self.mark)


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """What a validator answers to a batch."""

    block: int
    """Number of the open block."""
    verdicts: tuple[Verdict | None, ...]
    """One per transaction of the batch: None if it is admitted (and on disk), else why not; `winner` of a lost race."""
    sequence: int
    """How many transactions the open block has admitted: what the sender knows once it has taken `cells` over."""
    cells: Cells
    """Every cell that the open block has made since the sequence that the sender named, latest at each location."""
