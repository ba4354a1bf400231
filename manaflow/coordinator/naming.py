"""From what a fill did to a batch: cells named by their makers, signed moves given their masks.

Columns go in and columns come out; one pass over the keys between them names the cells, at about a microsecond a move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from manaflow._native import Codes, Filled
from manaflow.coordinator.declare import Fit, Misfit, fit, is_masked_whole, unsigned_mask
from manaflow.coordinator.latest_index import RECORD_BYTES, key_of
from manaflow.coordinator.pool import Entry
from manaflow.coordinator.view import View, key_rows, names_of
from manaflow.errors import Failure
from manaflow.moves.batch import Batch
from manaflow.moves.columns import I64, U8, U32, Moves
from manaflow.moves.marks import UNSIGNED, ZERO32, Location, Mark, Mask
from manaflow.moves.transactions import DeclaredTransaction, NamedMove

Bools = NDArray[np.bool_]
_NO_NUMBER = bytes(8)
_CONSUME, _REFERENCE = np.uint8(UNSIGNED), np.uint8(UNSIGNED | Mask.REFERENCE)
"""Masks of moves that nobody signed."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A native fill as columns: t executed steps and their n moves, in M5's order.

    place, consumes, references: [t]; offsets: int64[t + 1]; mark: uint8[n]; addr: uint8[n, 20]; slot, prev, next:
    uint8[n, 32].
    """

    place: I64
    consumes: U32
    references: U32
    offsets: I64
    mark: U8
    addr: U8
    slot: U8
    prev: U8
    next: U8

    @staticmethod
    def of(filled: Filled) -> Rows:
        """Views of a fill's bytes."""

        def words(data: bytes, width: int) -> U8:
            return np.frombuffer(data, np.uint8).reshape(-1, width)

        consumes, references = np.frombuffer(filled.consumes, np.uint32), np.frombuffer(filled.references, np.uint32)
        offsets = np.zeros(len(consumes) + 1, np.int64)
        np.cumsum(consumes.astype(np.int64) + references, out=offsets[1:])
        place = np.frombuffer(filled.places, np.uint32).astype(np.int64)
        addr, slot = words(filled.addrs, 20), words(filled.slots, 32)
        mark = np.frombuffer(filled.marks, np.uint8)
        return Rows(
            place, consumes, references, offsets, mark, addr, slot, words(filled.prevs, 32), words(filled.nexts, 32)
        )


@dataclass(slots=True)
class Named:
    """Which steps of a fill may go, and what their cells are called."""

    kept: list[int] = field(default_factory=list)
    """Steps, ascending, of which all moves are named."""
    records: list[bytes] = field(default_factory=list)
    """Records of the cells that the kept steps use, move by move."""
    fits: dict[int, Fit] = field(default_factory=dict)
    """Of kept steps whose signer signed moves."""
    misfits: dict[int, Misfit] = field(default_factory=dict)
    """Steps that do not bear out what is signed, whatever becomes of the steps before them."""
    unsettled: dict[int, Misfit] = field(default_factory=dict)
    """Steps that do not bear out what is signed only because of kept steps, which may yet lose: to be filled again."""
    pushed: list[int] = field(default_factory=list)
    """Steps that build on one that is not kept: to be filled again."""
    made: dict[bytes, bytes] = field(default_factory=dict)
    """Records of the cells that kept steps made, by key."""
    spoiled: set[bytes] = field(default_factory=set)
    """Keys at which the world has what a step that is not kept left there."""


@dataclass(frozen=True, slots=True)
class Hashes:
    """What guards may ask of a block: its number, hashes by number, addresses of precompiles."""

    number: int
    block_hashes: Mapping[int, bytes]
    precompiles: AbstractSet[bytes]


def name_cells(rows: Rows, entries: Sequence[Entry], statuses: bytes, view: View, hashes: Hashes) -> Named:
    """Name the cells of executed steps, in order, each on what the kept ones before it made.

    entries: one per step.
    """
    if all(entry.declared is None for entry in entries):
        return _name_unsigned(rows, entries, view)
    return _name_one_by_one(rows, entries, statuses, view, hashes)


def _name_one_by_one(rows: Rows, entries: Sequence[Entry], statuses: bytes, view: View, hashes: Hashes) -> Named:
    named, known = Named(), view.known
    made: dict[bytes, bytes] = {}
    keys, nexts = key_rows(rows.mark, rows.addr, rows.slot), rows.next.tobytes()
    bounds, consumes = rows.offsets.tolist(), rows.consumes.tolist()
    for step, entry in enumerate(entries):
        start, stop = bounds[step], bounds[step + 1]
        consumed = keys[start : start + consumes[step]]
        used = keys[start:stop]
        if named.spoiled and not named.spoiled.isdisjoint(used):
            named.pushed.append(step)
            named.spoiled.update(consumed)
            continue
        records = [made.get(key) or known.get(key) or view.record(key) for key in used]
        if entry.declared is not None and not _always_fits(entry.declared, statuses[step]):
            found = _fit(
                rows, start, records, entry.declared, statuses[step], _Live(view, made, hashes), consumes[step]
            )
            if isinstance(found, Misfit):
                settled = _settled(found, used, made, view)
                if settled is None:
                    named.unsettled[step] = found
                else:
                    named.misfits[step] = settled
                named.spoiled.update(consumed)
                continue
            named.fits[step] = found
        named.kept.append(step)
        named.records += records
        head = _NO_NUMBER + entry.txid
        for row, key in enumerate(consumed, start):
            made[key] = head + nexts[32 * row : 32 * row + 32]
    named.made = made
    return named


def _name_unsigned(rows: Rows, entries: Sequence[Entry], view: View) -> Named:
    """`_name_one_by_one` of steps that nobody has signed any move of: all of them are kept."""
    keys, is_reference = key_rows(rows.mark, rows.addr, rows.slot), _is_reference(rows)
    consumes: list[int] = np.flatnonzero(~is_reference).tolist()
    consumed, new = [keys[row] for row in consumes], _records_made(rows, entries, ~is_reference)
    made, known, record = dict(zip(consumed, new, strict=True)), view.known, view.record
    records = list(map(known.get, keys))
    if len(made) == len(consumed) and made.keys().isdisjoint(
        [keys[row] for row in np.flatnonzero(is_reference).tolist()]
    ):
        found = [old or record(key) for old, key in zip(records, keys, strict=True)]
    else:  # some build on others
        found, before, born = [], dict[bytes, bytes](), dict(zip(consumes, new, strict=True))
        for row, (old, key) in enumerate(zip(records, keys, strict=True)):
            found.append(before.get(key) or old or record(key))
            if row in born:
                before[key] = born[row]
    return Named(kept=list(range(len(entries))), records=found, made=made)


def _is_reference(rows: Rows) -> Bools:
    """bool[n]: which moves are references."""
    firsts = rows.offsets[:-1] + rows.consumes
    found: Bools = np.arange(len(rows.mark)) >= np.repeat(firsts, np.diff(rows.offsets))
    return found


def _records_made(rows: Rows, entries: Sequence[Entry], consumed: Bools) -> list[bytes]:
    """The record of the cell that each consume makes. consumed: bool[n], which moves are consumes."""
    txids = np.frombuffer(b"".join([entry.txid for entry in entries]), np.uint8).reshape(-1, 32)
    columns = np.zeros((int(rows.consumes.sum()), RECORD_BYTES), np.uint8)
    columns[:, 8:40], columns[:, 40:] = np.repeat(txids, rows.consumes, axis=0), rows.next[consumed]
    data = columns.tobytes()
    return [data[at : at + RECORD_BYTES] for at in range(0, len(data), RECORD_BYTES)]


def _always_fits(transaction: DeclaredTransaction, status: int) -> bool:
    return is_masked_whole(transaction) and (status == 1 or not transaction.must_succeed)


def _settled(misfit: Misfit, used: Sequence[bytes], made: Mapping[bytes, bytes], view: View) -> Misfit | None:
    """The misfit as the admitted state has it; None if only this fill's own steps contradict it."""
    key = None if misfit.location is None else key_of(misfit.location)
    if made.keys().isdisjoint(used) and key not in made:
        return misfit
    if key is None or misfit.field not in ("prev", "intx"):
        return None
    record = view.record(key)
    maker, actual = record[8:40], record[8:40] if misfit.field == "intx" else record[40:]
    if actual == misfit.expected:
        return None
    return replace(misfit, actual=actual, maker=None if maker == ZERO32 else maker)


class _Live:
    """What lives at a location between two steps of a fill, for guards."""

    def __init__(self, view: View, made: Mapping[bytes, bytes], hashes: Hashes) -> None:
        self.view, self.made, self.hashes = view, made, hashes

    def __call__(self, location: Location) -> tuple[bytes, bytes] | None:
        mark, addr, slot = location
        if mark == Mark.BLOCKHASH:
            number = int.from_bytes(slot, "big")
            in_window = max(self.hashes.number - 256, 0) <= number < self.hashes.number
            found = self.hashes.block_hashes.get(number) if in_window else None
            return None if found is None else (ZERO32, found)
        if mark in (Mark.CODE, Mark.NONCE) and addr in self.hashes.precompiles:
            return None
        key = bytes((mark,)) + addr + slot
        record = self.made.get(key) or self.view.record(key)
        return record[8:40], record[40:]


def _fit(
    rows: Rows,
    start: int,
    records: Sequence[bytes],
    transaction: DeclaredTransaction,
    status: int,
    live: _Live,
    consumes: int,
) -> Fit | Misfit:
    moves = [
        NamedMove(
            unsigned_mask(i >= consumes),
            int(rows.mark[row]),
            records[i][8:40],
            rows.addr[row].tobytes(),
            rows.slot[row].tobytes(),
            rows.prev[row].tobytes(),
            rows.next[row].tobytes(),
        )
        for i, row in enumerate(range(start, start + len(records)))
    ]
    return fit(transaction, moves, status, live)


def batch_of(rows: Rows, filled: Filled, entries: Sequence[Entry], named: Named, view: View) -> Batch:
    """The kept steps as a batch. entries: one per step. Raises Failure if the bytes of a code that was made are gone.

    view: the one that named the cells, with nothing learnt since.
    """
    number, intx = names_of(named.records)
    chosen, masks = _chosen(rows, named.kept)
    moves = Moves(masks, chosen.mark, number, chosen.addr, chosen.slot, chosen.prev, chosen.next)
    references, steps = chosen.references, np.array(named.kept, np.int64)
    if named.fits:
        counts = np.diff(chosen.offsets)
        moves, intx, references = _with_fits(rows, named, moves, intx, references, counts, view)
    return Batch(
        envelopes=tuple([entries[step].envelope for step in named.kept]),
        consumes=chosen.consumes,
        references=references,
        status=np.frombuffer(filled.statuses, np.uint8)[steps],
        gas_used=np.frombuffer(filled.gas_used, np.uint64)[steps],
        logs_hash=np.frombuffer(filled.logs_hashes, np.uint8).reshape(-1, 32)[steps],
        moves=moves,
        intx=intx,
        codes=_codes_of(moves, view.codes),
    )


def _chosen(rows: Rows, kept: Sequence[int]) -> tuple[Rows, U8]:
    """The rows of some steps, and the masks of their moves, which nobody signed."""
    counts = np.diff(rows.offsets)
    masks = np.where(_is_reference(rows), _REFERENCE, _CONSUME)
    if len(kept) == len(counts):
        return rows, masks
    steps, is_kept = np.array(kept, np.int64), np.zeros(len(counts), np.bool_)
    is_kept[steps] = True
    at = np.flatnonzero(np.repeat(is_kept, counts))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[steps])])
    columns = (rows.mark[at], rows.addr[at], rows.slot[at], rows.prev[at], rows.next[at])
    return Rows(rows.place[steps], rows.consumes[steps], rows.references[steps], offsets, *columns), masks[at]


def _with_fits(
    rows: Rows, named: Named, moves: Moves, intx: U8, references: U32, counts: I64, view: View
) -> tuple[Moves, U8, U32]:
    """Signed masks in place, and the guards that executions do not use, where M5 puts them."""
    starts, references = np.cumsum(counts) - counts, references.copy()
    places: list[int] = []
    guards: list[NamedMove] = []
    for k, step in enumerate(named.kept):
        found = named.fits.get(step)
        if found is None:
            continue
        start, first, stop = int(starts[k]), int(starts[k] + rows.consumes[step]), int(starts[k] + counts[k])
        moves.mask[start:stop] = np.frombuffer(found.masks, np.uint8)
        references[k] += len(found.guards)
        for guard in found.guards:
            guards.append(guard)
            places.append(_place_of(guard, moves, first, stop))
    if guards:
        moves, intx = _inserted(moves, intx, places, guards, [_number_of(guard, view) for guard in guards])
    return moves, intx, references


def _number_of(guard: NamedMove, view: View) -> int:
    """The number of a guard's cell if it is sealed, else 0."""
    record = view.record(key_of(guard.location))
    return int.from_bytes(record[:8], "big") if record[8:40] == guard.intx else 0


def _place_of(guard: NamedMove, moves: Moves, first: int, stop: int) -> int:
    """The row before which a reference stands among rows first to stop, which are references in order."""
    while first < stop:
        middle = (first + stop) // 2
        location = int(moves.mark[middle]), moves.addr[middle].tobytes(), moves.slot[middle].tobytes()
        first, stop = (middle + 1, stop) if location < guard.location else (first, middle)
    return first


def _inserted(
    moves: Moves, intx: U8, places: Sequence[int], guards: Sequence[NamedMove], numbers: Sequence[int]
) -> tuple[Moves, U8]:
    def column(name: str, width: int) -> U8:
        return np.frombuffer(b"".join(getattr(guard, name) for guard in guards), np.uint8).reshape(-1, width)

    return (
        Moves(
            np.insert(moves.mask, places, [guard.mask for guard in guards]),
            np.insert(moves.mark, places, [guard.mark for guard in guards]),
            np.insert(moves.number, places, np.array(numbers, np.uint64)),
            np.insert(moves.addr, places, column("addr", 20), axis=0),
            np.insert(moves.slot, places, column("slot", 32), axis=0),
            np.insert(moves.prev, places, column("prev", 32), axis=0),
            np.insert(moves.next, places, column("next", 32), axis=0),
        ),
        np.insert(intx, places, column("intx", 32), axis=0),
    )


def _codes_of(moves: Moves, codes: Codes) -> tuple[bytes, ...]:
    """The bytes of every code that moves make live, by ascending hash."""
    rows = (moves.mark == Mark.CODE) & ((moves.mask & Mask.REFERENCE) == 0)
    found = []
    for code_hash in sorted({row.tobytes() for row in moves.next[rows]} - {ZERO32}):
        code = codes.get(code_hash)
        if code is None:
            raise Failure(f"the code 0x{code_hash.hex()} was made and not kept")
        found.append(code)
    return tuple(found)
