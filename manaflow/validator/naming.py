"""Which cells a batch's moves mean, and V1 to V4 of those that are sealed (docs/SPEC.md, sections 2 and 8)."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import fields

import numpy as np

from manaflow.errors import Rule
from manaflow.moves.batch import Batch
from manaflow.moves.columns import I64, Moves
from manaflow.moves.marks import Mark
from manaflow.validator.index import Index
from manaflow.validator.overlay import NO_CELL, OPEN, VIRGIN, Rows
from manaflow.validator.recent import Recent
from manaflow.validator.store import Transaction


def locate(batch: Batch, index: Index, txids: Set[bytes], recent: Recent) -> Rows:
    """Rows of a batch, each with the number of its cell as far as it is sealed.

    A cell of `txids`, the open block's, is OPEN. Else the batch's number is taken as a hint where it can be one, and
    else looked up among recent blocks; who is found nowhere is OPEN: a transaction of this very batch, or nobody.
    """
    numbers = batch.moves.number.tolist()
    rows = Rows.of(batch.moves, batch.intx, numbers)
    named, hashes = batch.intx.any(axis=1), batch.moves.mark == Mark.BLOCKHASH
    for row in np.flatnonzero(~named).tolist():
        numbers[row] = VIRGIN
    for row in np.flatnonzero(named).tolist():
        intx = rows.intx(row)
        if intx in txids:
            numbers[row] = OPEN
        elif not 0 < numbers[row] < index.next_number:
            numbers[row] = recent.made(intx, rows.location(row)) or OPEN
    for row in np.flatnonzero(hashes).tolist():
        numbers[row] = NO_CELL
    return rows


def check_sealed(txn: Transaction, index: Index, batch: Batch, rows: Rows, recent: Recent) -> None:
    """V1 to V4 of the moves whose cells are sealed or virgin, against the last committed state, into rows.broken.

    A hint that misleads (a reorganisation may have numbered the cell anew) is looked up once more.
    """
    sealed = np.flatnonzero(np.array(rows.number, np.int64) >= VIRGIN)
    _judge(txn, index, batch, rows, sealed)
    misled = []
    for row in sealed.tolist():
        if rows.broken[row] == Rule.V1 and rows.number[row]:
            found = recent.made(rows.intx(row), rows.location(row))
            if found is not None and found != rows.number[row]:
                rows.number[row] = found
                misled.append(row)
    _judge(txn, index, batch, rows, np.array(misled, np.int64))


def _judge(txn: Transaction, index: Index, batch: Batch, rows: Rows, at: I64) -> None:
    if not len(at):
        return
    numbers = np.array(rows.number, np.int64)[at].astype(np.uint64)
    columns = {field.name: getattr(batch.moves, field.name)[at] for field in fields(Moves)}
    columns["number"] = numbers
    verdicts = index.check_cells(txn, Moves(**columns))
    known = np.flatnonzero((numbers != 0) & (verdicts == 0))
    right = index.makers_match(txn, numbers[known], batch.intx[at[known]])
    verdicts[known[~right]] = Rule.V1
    for row, rule in zip(at.tolist(), verdicts.tolist(), strict=True):
        rows.broken[row] = rule
