"""Admission: filled transactions enter an open block, each judged by itself (docs/SPEC.md, section 8, Validator).

    block = OpenBlock.begin(validator, opened, opening)      or OpenBlock.restore(validator) after a restart
    reply = block.admit(batch, since)                        what it admits is on disk when it returns
    admitted = block.admitted()                              in the block's order, numbered, for sealing

The order of admission is the order in the sealed block, so a transaction has its place, its cells' numbers and its
running totals at once. A refused one takes nothing, and refuses only those that build on its cells (V1). A pure state
machine over the validator: no sockets, clocks or threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, islice
from operator import sub
from typing import Any, Final

import numpy as np

from manaflow.errors import Failure, Rule, Verdict
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.batch import Batch, Reply, full
from manaflow.moves.header import Header
from manaflow.moves.marks import Location
from manaflow.rules.system import expected_system_leaves
from manaflow.validator.admitted import Admitted, Judged, part_of
from manaflow.validator.batch_execution import BatchExecution
from manaflow.validator.candidates import Candidates, candidates_of, code_hashes_made, judge_apart
from manaflow.validator.judged import JudgedLeaves
from manaflow.validator.naming import check_sealed, locate
from manaflow.validator.overlay import Broken, LiveCell, Overlay, Rows
from manaflow.validator.recent import Recent
from manaflow.validator.room import LEAST_GAS, Bounds, Need, Room
from manaflow.validator.store import Table
from manaflow.validator.validator import Validator

_BOUNDS: Final = Bounds()
_NOT_EXECUTED: Final = Verdict(Rule.X0, "not executed")
SLICE: Final = 2
"""Blocks' gas (by gas limits) that are executed at once, before anything of them is admitted."""
MOST_WASTED: Final = 4
"""Blocks' gas (by gas limits) that one batch may have executed and not admitted; SLICE more at most."""


class OpenBlock:
    """The block that a producer is filling. One thread; after a StorageFailure or an interrupt: `restore` anew."""

    def __init__(
        self, validator: Validator, opened: Header, *, recent: Recent | None = None, bounds: Bounds = _BOUNDS
    ) -> None:
        """Use `begin` or `restore`. recent: a memory of sealed blocks to share from block to block."""
        if validator.head[1] != opened.parent_hash:
            raise Failure(f"block {opened.number} does not build on the head")
        self.header = opened
        """The environment, fixed; roots and totals are zero."""
        self.room = Room(opened, validator.config, bounds)
        """Running totals: gas, fees, transactions, ..."""
        self.codes: dict[bytes, bytes] = {}
        """The code bytes that the block will hold, by keccak-256 (B4)."""
        self._validator, self._config = validator, validator.config
        self._recent = recent or Recent(validator)
        self._overlay = Overlay(opened.first_cell)
        self._execution = BatchExecution(validator.config, opened, validator.threads)
        self._parts: list[Admitted] = []
        self._cells_at: list[int] = [0]
        """How many cells were made when so many transactions were admitted."""
        self._is_cut_short = False
        self._is_on_disk = True
        self._unkept: list[Batch] = []
        """What was admitted and is not on disk yet."""

    @classmethod
    def begin(
        cls, validator: Validator, opened: Header, opening: Batch, *, keep: bool = True, **options: Any
    ) -> OpenBlock:
        """Begin a block on the validator's head, in place of any that was open, and put it on disk (unless not `keep`).

        opened: the header's environment (Filler.open). opening: its opening system leaves (B8) as filled: envelopes
        empty, `number` naming cells that are sealed. Raises Failure if the head is another, or if the leaves are not
        those of B8 or do not fit the state: then the index they were filled from is not at the head.
        """
        block = cls(validator, opened, **options)
        block._check_opening(opening)
        if keep:
            validator.open_block(opened, opening)
        block._take_opening(opening)
        block._is_on_disk = keep
        return block

    @classmethod
    def restore(cls, validator: Validator, **options: Any) -> OpenBlock | None:
        """The open block as it was acknowledged, None if there is none on the validator's head."""
        known = validator.pending.load()
        if known is None or known.opened.parent_hash != validator.head[1]:
            return None
        block = cls(validator, known.opened, **options)
        block._take_opening(known.opening)
        for batch in known.batches:
            block._take_again(batch)
        return block

    def admit(self, batch: Batch, since: int = 0, *, keep: bool = True) -> Reply:
        """Judge each transaction of a batch; admit those that fulfil S, M, B, V and X, in order.

        since: the sequence up to which the sender knows the open block's cells; anything that it cannot be counts as 0.
        What is admitted, or was before, is on disk when this returns. Not `keep`: it need not be, because whoever sent
        it keeps it until a sealed block holds it, and the reply stays in this process. Verdicts: by the first rule
        broken, in the order S M B V X; `transaction` is the place in the batch; V2 to V4 name the winner where it is in
        this block or a recent one; batch.is_full tells a refusal that only says that the block has no room left. Raises
        Verdict(B1) if the columns do not fit each other, Failure if the head has moved, StorageFailure: then nothing is
        acknowledged.
        """
        self._check_usable()
        if self.room.is_full:
            if keep:
                self.keep()
            return self.reply(since, self._refuse_all(batch))
        judged = self._judge(candidates_of(batch, self.header, self._validator.threads))
        known_codes, self._is_cut_short = len(self.codes), True
        verdicts = self._admit_in_order(judged)
        taken = [t for t, verdict in enumerate(verdicts) if verdict is None]
        if taken:
            part = part_of(judged, taken, tuple(self.codes.values())[known_codes:], self._execution.logs)
            self._parts.append(part)
            self._unkept.append(part.batch)
        if keep:
            self.keep()
        self._is_cut_short = False
        return self.reply(since, verdicts)

    def keep(self) -> None:
        """Put on disk what is not yet there: one commit. Raises StorageFailure; then `restore` anew."""
        if not self._unkept:
            return
        self._is_cut_short, was_cut_short = True, self._is_cut_short
        if self._is_on_disk:
            self._validator.acknowledge(self._unkept)
        else:
            self._validator.open_block(self.header, self._parts[0].batch, self._unkept)
        self._is_on_disk, self._unkept, self._is_cut_short = True, [], was_cut_short

    @property
    def sequence(self) -> int:
        """How many transactions are admitted."""
        return self.room.transactions

    def __contains__(self, txid: bytes) -> bool:
        """Whether it holds a transaction, 32 bytes."""
        return txid in self._overlay.txids

    def cell(self, location: Location) -> LiveCell | None:
        """The live cell that the open block made at a location; None if it made none."""
        mark, addr, slot = location
        return self._overlay.cell(bytes((mark,)) + addr + slot)

    def admitted(self) -> tuple[Admitted, ...]:
        """Opening leaves and every transaction, in order."""
        return tuple(self._parts)

    def judged(self) -> JudgedLeaves | None:
        """What need not be executed again once it is sealed; None if a restart took some of it in from disk."""
        opening, *parts = self._parts
        if not parts or any(part.logs is None for part in parts):
            return None
        logs = [encoded for part in parts for encoded in part.logs or ()]
        batches, txids = [part.batch for part in parts], [part.txid for part in parts]
        blob_gas = [part.blob_gas for part in parts]
        return JudgedLeaves.of(self.header, len(opening.txid), batches, txids, blob_gas, logs)

    def _check_usable(self) -> None:
        if self._is_cut_short:
            raise Failure("an earlier batch was cut short: restore the open block from disk")
        if self._validator.head[1] != self.header.parent_hash:
            raise Failure(f"block {self.header.number} does not build on the head any more")

    def _refuse_all(self, batch: Batch) -> list[Verdict | None]:
        """Nothing fits any more: nothing is judged but whether it is here already."""
        need = Need(LEAST_GAS, 0, 0, 0, 0, 0, 0)
        txids = [row.tobytes() for row in NATIVE.keccak_many(batch.envelopes)]
        verdicts = [self._known(txid) or self.room.refusal(need) for txid in txids]
        return [verdict and verdict.at(t) for t, verdict in enumerate(verdicts)]

    def _judge(self, candidates: Candidates) -> Judged:
        """S, M, B, and V of sealed cells."""
        validator = self._validator
        self._execution.logs.clear()
        judge_apart(candidates, self._config, self.codes, validator.hash_seen)
        batch, index = candidates.batch, validator.index
        moves, txids = candidates.block.moves, self._overlay.txids
        rows = locate(batch, index, txids, self._recent)
        with validator.store.read() as txn:
            check_sealed(txn, index, moves, batch.intx, rows, txids, self._recent)
        broken = set[int]()
        if any(rows.broken):
            broken.update(candidates.transactions_of(np.flatnonzero(np.array(rows.broken, np.uint8))))
        sound = [t for t, verdict in enumerate(candidates.verdicts) if verdict is None and t not in broken]
        return Judged(candidates, rows, candidates.needs(self._config), sound, {})

    def _admit_in_order(self, judged: Judged) -> list[Verdict | None]:
        """V of the open block, X and the block's room, one transaction after another; takes in those that pass.

        Slice by slice, so that what is executed for nothing is bounded: beyond MOST_WASTED blocks' gas of a batch,
        whatever else would have to be executed is refused.
        """
        verdicts, wasted, start = list(judged.candidates.verdicts), 0, 0
        most = MOST_WASTED * self.header.gas_limit
        for slice_ in self._slices(judged):
            stop = slice_[-1] + 1
            todo = [t for t in slice_ if start == 0 or not self._is_hopeless(judged, t)]
            if wasted > most:
                refusal = full(Rule.X0, "gas that a batch may waste", f"at most {most}", wasted)
                judged.executed.update(dict.fromkeys(todo, refusal))
            else:
                self._execute(judged, todo)
                wasted += sum(self._gas_at_most(judged, t) for t in todo)
            admitted = self._admit_slice(judged, verdicts, start, stop)
            wasted -= sum(self._gas_at_most(judged, t) for t in admitted)
            start = stop
        self._admit_slice(judged, verdicts, start, len(verdicts))
        return verdicts

    def _admit_slice(self, judged: Judged, verdicts: list[Verdict | None], start: int, stop: int) -> list[int]:
        """Transactions start to stop, of which every sound one is executed. Returns those that are admitted."""
        if self._takes_all(judged, verdicts, start, stop):
            return list(range(start, stop))
        admitted = []
        for t in range(start, stop):
            verdict = verdicts[t] or self._refusal(judged, t)
            if verdict is not None:
                verdicts[t] = verdict.at(t)
            else:
                self._take(judged.candidates, judged.rows, t, judged.needs[t])
                admitted.append(t)
        return admitted

    def _takes_all(self, judged: Judged, verdicts: Sequence[Verdict | None], start: int, stop: int) -> bool:
        """Take in transactions start to stop together, if each may enter the block. False: nothing has changed."""
        candidates, executed = judged.candidates, judged.executed
        if start == stop or candidates.makes_code or any(verdicts[start:stop]):
            return False
        if any(executed.get(t, _NOT_EXECUTED) is not None for t in range(start, stop)):
            return False
        needs, offsets, splits = judged.needs.take(start, stop), candidates.offsets, candidates.splits
        before = self._overlay.cells
        if not self.room.has_for_all(needs) or not self._overlay.take_all(
            candidates.txids[start:stop], judged.rows, offsets[start : stop + 1], splits[start:stop]
        ):
            return False
        self.room.take_all(needs)
        consumes = map(sub, splits[start:stop], offsets[start:stop])
        self._cells_at += islice(accumulate(consumes, initial=before), 1, None)
        return True

    def _slices(self, judged: Judged) -> Iterator[list[int]]:
        """The transactions to execute, in slices of about SLICE blocks' gas."""
        part, gas = list[int](), 0
        for t in judged.sound:
            part.append(t)
            gas += self._gas_at_most(judged, t)
            if gas >= SLICE * self.header.gas_limit:
                yield part
                part, gas = [], 0
        if part:
            yield part

    def _gas_at_most(self, judged: Judged, t: int) -> int:
        """What executing a transaction may cost; one with a higher limit than the block's is refused without."""
        return min(judged.needs.gas_limit[t], self.header.gas_limit)

    def _is_hopeless(self, judged: Judged, t: int) -> bool:
        """True if a transaction has lost a race to one that is in the block: it need not be executed."""
        candidates = judged.candidates
        start, stop = candidates.offsets[t], candidates.offsets[t + 1]
        broken = self._overlay.check(judged.rows, start, candidates.splits[t], stop)
        return candidates.txids[t] in self._overlay.txids or (broken is not None and broken.rule is not Rule.V1)

    def _execute(self, judged: Judged, which: Sequence[int]) -> None:
        """X of some transactions."""
        codes = judged.candidates.codes
        with self._validator.store.read() as txn:

            def code_of(code_hash: bytes) -> bytes | None:
                code = self.codes.get(code_hash, codes.get(code_hash))
                return txn.get(Table.CODES, code_hash) if code is None else code

            judged.executed.update(self._execution.run(judged.candidates, which, code_of))

    def _refusal(self, judged: Judged, t: int) -> Verdict | None:
        """V, X and the block's room for one transaction that fulfils S, M and B."""
        candidates, rows = judged.candidates, judged.rows
        start, stop = candidates.offsets[t], candidates.offsets[t + 1]
        known = self._known(candidates.txids[t])
        if known is not None:
            return known
        broken = self._overlay.check(rows, start, candidates.splits[t], stop)
        if broken is not None:
            return self._worded(broken, rows, start)
        if t not in judged.executed:
            raise Failure("internal error: a code of a live cell is missing")
        if (verdict := judged.executed[t]) is not None:
            return verdict
        codes = self._new_codes(candidates, t)
        return self.room.refusal(_with_codes(judged.needs[t], codes))

    def _known(self, txid: bytes) -> Verdict | None:
        if txid in self._overlay.txids:
            return Verdict(Rule.V2, "the transaction is admitted already", winner=txid)
        return None

    def _worded(self, broken: Broken, rows: Rows, start: int) -> Verdict:
        row, winner = broken.row, broken.winner
        if winner is None and broken.rule is Rule.V4:
            winner = self._recent.writer(rows.location(row))
        elif winner is None and broken.rule is not Rule.V1:
            winner = self._recent.consumer(rows.number[row])
        actual = None if broken.expected is None else rows.value_before(row)
        return Verdict(
            broken.rule, broken.what, move=row - start, expected=broken.expected, actual=actual, winner=winner
        )

    def _take(self, candidates: Candidates, rows: Rows, t: int, need: Need) -> None:
        """One transaction is in the block from here on. Cannot fail."""
        codes = self._new_codes(candidates, t)
        self._overlay.take(candidates.txids[t], rows, candidates.offsets[t], candidates.splits[t])
        self.room.take(_with_codes(need, codes))
        self.codes.update(codes)
        self._cells_at.append(self._overlay.cells)

    def _new_codes(self, candidates: Candidates, t: int) -> dict[bytes, bytes]:
        """Codes that a transaction makes live and the block does not hold yet."""
        if t not in candidates.makes_code:
            return {}
        made = code_hashes_made(candidates.block.moves.take(candidates.offsets[t], candidates.splits[t]))
        return {code_hash: candidates.codes[code_hash] for code_hash in sorted(made - self.codes.keys())}

    def reply(self, since: int, verdicts: Sequence[Verdict | None] = ()) -> Reply:
        """What a sender is told who knows the cells of so many transactions. verdicts: on its batch."""
        known = since if 0 < since <= self.sequence else 0
        cells = self._overlay.cells_since(self._cells_at[known])
        return Reply(self.header.number, tuple(verdicts), self.sequence, cells)

    def _check_opening(self, opening: Batch) -> None:
        leaves, _ = expected_system_leaves(self._config, self.header, ())
        if len(opening) != len(leaves):
            raise Failure(f"{len(opening)} opening leaves; block {self.header.number} has {len(leaves)}")
        index = self._validator.index
        with self._validator.store.read() as txn:
            wrong = np.flatnonzero(index.check_cells(txn, opening.moves))
        if len(wrong):
            raise Failure(f"move {int(wrong[0])} of the opening leaves does not fit the head's state")

    def _take_opening(self, opening: Batch) -> None:
        leaves, _ = expected_system_leaves(self._config, self.header, ())
        rows, t = Rows.of(opening.moves, opening.intx, opening.moves.number.tolist()), len(opening)
        names, offsets, consumes = [txid for _, txid in leaves], opening.offsets().tolist(), opening.consumes.tolist()
        for i, txid in enumerate(names):
            self._overlay.take(txid, rows, offsets[i], offsets[i] + consumes[i])
        column = np.frombuffer(b"".join(names), np.uint8).reshape(t, 32)
        self._parts.append(Admitted(opening, column, np.zeros(t, np.uint64), (0,) * t))

    def _take_again(self, batch: Batch) -> None:
        """A batch that was admitted before a restart: it is taken in as it was, and not judged again."""
        candidates = candidates_of(batch, self.header, self._validator.threads)
        rows, needs = Rows.of(batch.moves, batch.intx, batch.moves.number.tolist()), candidates.needs(self._config)
        for t in range(len(batch)):
            self._take(candidates, rows, t, needs[t])
        self._parts.append(part_of(Judged(candidates, rows, needs, [], {}), range(len(batch)), batch.codes, {}))


def _with_codes(need: Need, codes: Mapping[bytes, bytes]) -> Need:
    return replace(need, code_bytes=sum(map(len, codes.values()))) if codes else need
