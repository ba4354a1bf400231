"""What becomes of a batch: judged as far as its transactions are apart, and what of it stands in the open block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from manaflow.errors import Verdict
from manaflow.moves.batch import Batch
from manaflow.moves.columns import I64, U8, U64, Moves
from manaflow.validator.candidates import Candidates
from manaflow.validator.overlay import Rows
from manaflow.validator.room import Needs


@dataclass(frozen=True, slots=True, eq=False)
class Admitted:
    """Transactions as they stand in the open block.

    batch: moves with the numbers of their cells, as the sealed block will have them; system leaves have empty
    envelopes. txid: uint8[t, 32]; blob_gas: uint64[t]; fees: wei that each adds to the block's.
    """

    batch: Batch
    txid: U8
    blob_gas: U64
    fees: tuple[int, ...]
    logs: tuple[bytes, ...] | None = None
    """RLP of each one's logs, if this process has executed them."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A batch, judged as far as its transactions can be apart from each other."""

    candidates: Candidates
    rows: Rows
    needs: Needs
    sound: list[int]
    """Those that fulfil S, M, B, and V of sealed cells."""
    executed: dict[int, Verdict | None]
    """Verdicts of X, of those that were executed so far."""


def part_of(judged: Judged, taken: Sequence[int], codes: tuple[bytes, ...], logs: Mapping[bytes, bytes]) -> Admitted:
    """Some of a batch's transactions with the numbers that their cells have got. codes: those that they bring.

    logs: RLP by its hash.
    """
    candidates, needs = judged.candidates, judged.needs
    batch, leaves, txid = candidates.batch, candidates.block.leaves, candidates.envelopes.txid
    numbers = np.maximum(np.array(judged.rows.number, np.int64), 0).astype(np.uint64)
    part = Batch(
        envelopes=batch.envelopes,
        consumes=leaves.consumes,
        references=leaves.references,
        status=leaves.status,
        gas_used=leaves.gas_used,
        logs_hash=leaves.logs_hash,
        moves=replace(candidates.block.moves, number=numbers),
        intx=np.ascontiguousarray(batch.intx),
        codes=codes,
    )
    blob_gas, fees = np.array(needs.blob_gas, np.uint64), needs.fees
    if len(taken) < len(batch):
        at = np.array(taken, np.int64)
        part, txid, blob_gas = _some_of(part, at), txid[at], blob_gas[at]
        fees = [fees[t] for t in taken]
    hashes = part.logs_hash.tobytes()
    known = [logs.get(hashes[at : at + 32]) for at in range(0, len(hashes), 32)]
    found = tuple(encoded for encoded in known if encoded is not None)
    return Admitted(part, txid, blob_gas, tuple(fees), found if len(found) == len(known) else None)


def _some_of(batch: Batch, at: I64) -> Batch:
    """Some transactions of a batch, ascending, with all of its codes."""
    chosen = np.zeros(len(batch), np.bool_)
    chosen[at] = True
    rows: I64 = np.flatnonzero(np.repeat(chosen, np.diff(batch.offsets())))
    return Batch(
        envelopes=tuple(batch.envelopes[t] for t in at.tolist()),
        consumes=batch.consumes[at],
        references=batch.references[at],
        status=batch.status[at],
        gas_used=batch.gas_used[at],
        logs_hash=batch.logs_hash[at],
        moves=Moves(**{field.name: getattr(batch.moves, field.name)[rows] for field in fields(Moves)}),
        intx=batch.intx[rows],
        codes=batch.codes,
    )
