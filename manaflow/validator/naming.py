"""Which cells a batch's moves mean, and V1 to V4 of those that are sealed (docs/SPEC.md, sections 2 and 8)."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import fields, replace

import numpy as np

from manaflow.errors import Rule
from manaflow.moves.batch import Batch
from manaflow.moves.columns import I64, U8, Moves
from manaflow.moves.marks import Mark
from manaflow.validator.index import Index
from manaflow.validator.overlay import NO_CELL, OPEN, VIRGIN, Rows
from manaflow.validator.recent import Recent
from manaflow.validator.store import Transaction


def locate(batch: Batch, index: Index, txids: Set[bytes], recent: Recent) -> Rows:
    """Rows of a batch, each with the number of its cell as far as it is sealed.

    The batch's number is taken as a hint where it can be one (`check_sealed` finds out those that mislead). Else a cell
    of `txids`, the open block's, is OPEN, another is looked up among recent blocks, and who is found nowhere is OPEN:
    a transaction of this very batch, or nobody.
    """
    named, hashes = batch.intx.any(axis=1), batch.moves.mark == Mark.BLOCKHASH
    hinted = named & (batch.moves.number > 0) & (batch.moves.number < np.uint64(index.next_number))
    numbers = np.where(hinted, batch.moves.number, np.uint64(VIRGIN)).astype(np.int64)
    numbers[hashes] = NO_CELL
    rows = Rows.of(batch.moves, batch.intx, numbers.tolist())
    for row in np.flatnonzero(named & ~hinted & ~hashes).tolist():
        intx = rows.intx(row)
        rows.number[row] = OPEN if intx in txids else recent.made(intx, rows.location(row)) or OPEN
    return rows


def check_sealed(
    txn: Transaction, index: Index, moves: Moves, intx: U8, rows: Rows, txids: Set[bytes], recent: Recent
) -> None:
    """V1 to V4 of the moves whose cells are sealed or virgin, against the last committed state, into rows.broken.

    moves, intx: the batch's, as kernels read them; their numbers are not looked at. A hint that misleads is looked up
    once more: a reorganisation may have numbered the cell anew, or it may be of `txids`, the open block's.
    """
    sealed: I64 = np.flatnonzero(np.array(rows.number, np.int64) >= VIRGIN)
    if not _judge(txn, index, moves, intx, rows, sealed):
        return
    misled = []
    for row in sealed.tolist():
        if not rows.broken[row] or not rows.number[row]:
            continue
        if rows.intx(row) in txids:
            rows.number[row], rows.broken[row] = OPEN, 0
        elif rows.broken[row] == Rule.V1:
            found = recent.made(rows.intx(row), rows.location(row))
            if found is not None and found != rows.number[row]:
                rows.number[row] = found
                misled.append(row)
    _judge(txn, index, moves, intx, rows, np.array(misled, np.int64))


def _judge(txn: Transaction, index: Index, moves: Moves, intx: U8, rows: Rows, at: I64) -> bool:
    """Judge some rows; returns whether one of them breaks a rule."""
    if not len(at):
        return False
    numbers = np.array(rows.number, np.int64)[at].astype(np.uint64)
    if len(at) < len(moves):
        moves, intx = Moves(**{field.name: getattr(moves, field.name)[at] for field in fields(Moves)}), intx[at]
    verdicts = index.check_cells(txn, replace(moves, number=numbers))
    known = np.flatnonzero((numbers != 0) & (verdicts == 0))
    right = index.makers_match(txn, numbers[known], intx[known])
    verdicts[known[~right]] = Rule.V1
    if not verdicts.any() and not any(rows.broken):
        return False
    for row, rule in zip(at.tolist(), verdicts.tolist(), strict=True):
        rows.broken[row] = rule
    return True
