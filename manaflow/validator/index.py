"""The cell index: is each cell that a block names there, and as claimed (rules V1 to V4)? docs/SPEC.md, section 10.

Seen from outside it is one map with conditional writes, keyed by (intx, mark, addr, slot); a block's writes all
happen or none. Inside, the number names the key: `cells` knows mark, addr, slot and value by fingerprint, `births`
the maker, `live` whether the cell is there, `touched` which locations were ever consumed from virgin.

    with store.write() as txn:
        net = index.check(txn, moves, offsets, first_cell, txids)      # raises Verdict; nothing has changed
        pending = index.apply(txn, height, net, txids)
        ...                                                            # whatever else belongs to the block
    index.accept(pending)                                              # memory follows what is committed

Memory changes only in `accept`. If anything in the `with` raises, the block has left no trace: drop the pending
effect and go on. If the commit itself fails (StorageFailure out of the `with`, and the store refuses further use),
the files alone say whether the block is in: `store.reopen()`, then `Index.open(store)` anew. One block per
transaction; one thread at a time.

A refusal of a valid block by a collision of hashes is possible and rare: a fingerprint never refuses a valid move; a
new location meets one of the N touched ones with probability N / 2^80 (10^-6 over a lifetime of 1.6 billion). The
cure is to build the index again, which draws a new key. A false acceptance needs a fingerprint to be met: 2^-64 a
try, key unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manaflow.errors import Failure, Rule
from manaflow.moves.columns import I64, U8, U32, U64, Moves
from manaflow.validator import checkpoint
from manaflow.validator.cells import Cells
from manaflow.validator.checkpoint import Written
from manaflow.validator.inspection import Content, read_content, verify
from manaflow.validator.journal import Record, load_record
from manaflow.validator.kernels import PARALLEL, hashing, sets
from manaflow.validator.loading import load_memory
from manaflow.validator.memory import Memory
from manaflow.validator.netting import Columns, NetEffect, SignedMakers
from manaflow.validator.shape import Keys, Shape, Tip
from manaflow.validator.store import Store, Table, Transaction, number_key

KEEP_BLOCKS: Final = 64
"""Blocks that can be undone at least."""
_SHAPE, _KEYS, _TIP = b"index shape", b"index keys", b"index tip"


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """A block written in the open transaction; for `accept` after its commit."""

    tip: Tip
    record: Record
    written: Written


@dataclass(frozen=True, slots=True, eq=False)
class Undone:
    """A block taken back in the open transaction; for `accept` after its commit."""

    tip: Tip
    record: Record
    live: U64


class Index:
    """The index of one store. Made with `Index.open`."""

    def __init__(self, store: Store, shape: Shape, keys: Keys, tip: Tip, keep_blocks: int) -> None:
        self.store, self.shape, self.keys, self.tip, self.keep_blocks = store, shape, keys, tip, keep_blocks
        self.memory = Memory(shape)
        self.cells = Cells(store, shape)

    @classmethod
    def open(
        cls, store: Store, *, challenge_blocks: int = 0, shape: Shape | None = None, keys: Keys | None = None
    ) -> Index:
        """The index in `store`, made if there is none; pages are read and `recent` is replayed over them.

        challenge_blocks: undo reaches max(64, challenge_blocks) blocks back. shape and keys count only when it is made.
        Raises StorageFailure if what is stored is damaged.
        """
        with store.read() as txn:
            known = txn.get(Table.META, _TIP) is not None
        if not known:
            cls._create(store, shape or Shape(), keys or Keys.draw())
        with store.read() as txn:
            stored = [txn.get(Table.META, name) or b"" for name in (_SHAPE, _KEYS, _TIP)]
            index = cls(
                store,
                Shape.decode(stored[0]),
                Keys.decode(stored[1]),
                Tip.decode(stored[2]),
                max(KEEP_BLOCKS, challenge_blocks),
            )
            index.memory = load_memory(txn, index.shape, index.tip)
        return index

    @staticmethod
    def _create(store: Store, shape: Shape, keys: Keys) -> None:
        with store.write() as txn:
            Cells(store, shape).check_pages(txn)
            for name, value in ((_SHAPE, shape.encode()), (_KEYS, keys.encode()), (_TIP, Tip().encode())):
                txn.put(Table.META, name, value)

    @property
    def next_number(self) -> int:
        """The first free cell number."""
        return self.tip.next_number

    @property
    def height(self) -> int:
        """Number of the last block applied; -1 before the first."""
        return self.tip.height

    def check(
        self,
        txn: Transaction,
        moves: Moves,
        offsets: I64,
        first_cell: int,
        txids: U8 | None = None,
        makers: SignedMakers | None = None,
    ) -> NetEffect:
        """Judge a block by V1 to V4 against the last committed state. Changes nothing.

        moves: of the whole block; moves of transaction i are rows offsets[i] to offsets[i + 1] (int64[t + 1]).
        first_cell: number of the first cell that the block makes; must be `next_number`.
        txids: uint8[t, 32], to name the winner of a lost race, and for makers: those that signers have fixed (V1).
        Raises Verdict of the lowest (transaction, move) that breaks a rule: V1 before V2, V3 and V4, except that a cell
        spent before this block is V2 or V3 whatever the move claims of it.
        """
        if first_cell != self.next_number:
            raise ValueError(f"the block's first cell is {first_cell}, the index's next number {self.next_number}")
        with PARALLEL:
            block = Columns(moves, offsets, first_cell, self.keys, self.shape.bucket_bits)
            misnamed = self._misnamed(txn, block, txids, makers)
            block.verdict[misnamed] = Rule.V1
            gone = block.check_inside()
            ordered, claim = self._check_outside(txn, block)
            spent = block.spend_outside(ordered, claim)
        virgin = block.check_virgin()
        block.verdict[self._touched_rows(txn, virgin, block.bucket, block.low)] = Rule.V4
        block.verdict[misnamed[block.kind[misnamed] == hashing.VIRGIN]] = Rule.V1
        block.raise_first(txids)
        first = virgin[block.made_at[virgin] >= 0]
        return NetEffect(first_cell, block.made, spent, gone, block.bucket[first], block.low[first], *block.births())

    def _misnamed(self, txn: Transaction, block: Columns, txids: U8 | None, makers: SignedMakers | None) -> I64:
        """Rows whose signer names another maker of the cell than its own (V1). Those of unborn cells are V1 anyway."""
        if makers is None or not len(makers.rows):
            return np.zeros(0, np.int64)
        if txids is None:
            raise ValueError("makers are judged by the txids of the block's own transactions too")
        kind = block.kind[makers.rows]
        right = self.makers_match(txn, block.number[makers.rows], makers.txids)
        inside = np.flatnonzero(kind == hashing.INSIDE)
        own = txids[block.inside_makers(makers.rows[inside])]
        right[inside] = (own == makers.txids[inside]).all(axis=1)
        misnamed: I64 = makers.rows[~right & (kind != hashing.UNBORN)]
        return misnamed

    def _check_outside(self, txn: Transaction, block: Columns) -> tuple[I64, U64]:
        """V1 to V3 of moves on cells from before the block, each by itself; returns them sorted. Hold PARALLEL."""
        ordered, claim = block.sort_outside()
        table = self.cells.table(txn, claim, self.next_number)
        block.check_outside(ordered, claim, table, self.shape.chunk_cells, self.memory.live)
        return ordered, claim

    def check_cells(self, txn: Transaction, moves: Moves) -> U8:
        """Judge moves, each by itself, against the last committed state: for admission, before there is a block.

        moves: of any number of transactions, in any order; number 0 claims a virgin cell. Conflicts among the moves are
        the caller's. Returns uint8[n]: 0, or the number of the rule that the move breaks: V1 (no such cell, which all
        numbers from `next_number` on are; or of another location; or prev is not its value), V2 (a consume of a cell
        that is spent), V3 (a reference to one), V4 (number 0 at a location that was consumed before). As in `check`, a
        spent cell is V2 or V3 whatever the move claims of it. `e` moves (B5) give 0. prev of number 0 is M4's.
        """
        with PARALLEL:
            block = self._alone(moves)
            self._check_outside(txn, block)
        block.verdict[self._touched_rows(txn, block.sort_virgin(), block.bucket, block.low)] = Rule.V4
        return block.verdict

    def _alone(self, moves: Moves) -> Columns:
        """Moves as those of one transaction that would come next. Hold PARALLEL."""
        return Columns(moves, np.array([0, len(moves)], np.int64), self.next_number, self.keys, self.shape.bucket_bits)

    def _touched_rows(self, txn: Transaction, ordered: I64, bucket: U64, low: U64) -> I64:
        """Those of the rows, sorted by bucket, whose location was ever consumed from virgin."""
        memory = self.memory
        hits: I64 = sets.probe(memory.filters, ordered, bucket, low)
        if not len(hits):
            return hits
        buckets = np.unique(bucket[hits]).astype(np.int64)
        pages, starts = checkpoint.read_buckets(txn, buckets)
        found: I64 = sets.in_pages(hits, bucket, low, buckets, pages, starts, memory.adds, memory.counts)
        return found

    def apply(self, txn: Transaction, height: int, net: NetEffect, txids: U8) -> Applied:
        """Write a checked block: cells, births, record, the checkpoint's next slice, tip. Memory waits for `accept`.

        txids: uint8[t, 32], of every transaction of the block.
        """
        tip = self.tip
        if net.first_cell != tip.next_number or (tip.height >= 0 and height != tip.height + 1) or height < 0:
            raise ValueError(f"block {height} from cell {net.first_cell} does not follow {tip}")
        steps = checkpoint.slice_steps(self.shape, tip, len(net.low))
        position = tip.position + steps
        record = Record(
            height, net.first_cell, len(net.fingerprints), net.spent, net.gone, net.bucket, net.low, position
        )
        self.cells.append(txn, net.first_cell, net.fingerprints)
        self._write_births(txn, net, txids)
        txn.put(Table.RECENT, number_key(height), record.encode())
        written = checkpoint.advance(txn, self.memory, self.cells, tip, steps)
        written.dropped = checkpoint.drop_records(txn, self.memory, height, position, self.keep_blocks)
        after = Tip(height, record.stop, position, tip.live + record.grown, tip.touched + len(net.low))
        txn.put(Table.META, _TIP, after.encode())
        return Applied(after, record, written)

    def _write_births(self, txn: Transaction, net: NetEffect, txids: U8) -> None:
        if len(net.births):
            rows = np.stack([net.births, self._hash_txids(txids[net.makers])], axis=1).astype("<u8")
            txn.put(Table.BIRTHS, number_key(net.first_cell), rows.tobytes())

    def _hash_txids(self, txids: U8) -> U64:
        words: U32 = np.ascontiguousarray(txids).reshape(-1).view(np.uint32).reshape(len(txids), 8)
        hashes: U64 = hashing.hash_txids(np.require(words, None, ["C", "A"]), self.keys.txid)
        return hashes

    def undo(self, txn: Transaction, height: int) -> Undone:
        """Take back the last block, `height`. Memory waits for `accept`, as in `apply`.

        Raises Failure if `recent` no longer holds it: deeper undo starts from a copy of the environment.
        """
        tip = self.tip
        if height != tip.height:
            raise ValueError(f"block {height} is not the last one, {tip.height}")
        record = load_record(txn, height)
        if record is None:
            raise Failure(f"block {height} is too old to be undone from the journal; go back to a copy and replay")
        live = self.memory.undone_live(record)
        checkpoint.rewrite(txn, self.shape, record, tip, live)
        self.cells.truncate(txn, record.first_cell, tip.next_number)
        txn.delete(Table.BIRTHS, number_key(record.first_cell))
        txn.delete(Table.RECENT, number_key(height))
        before = replace(
            tip,
            height=height - 1,
            next_number=record.first_cell,
            live=tip.live - record.grown,
            touched=tip.touched - len(record.low),
        )
        txn.put(Table.META, _TIP, before.encode())
        return Undone(before, record, live)

    def accept(self, pending: Applied | Undone) -> None:
        """Let memory follow a transaction that is committed. Cannot fail for lack of anything but memory."""
        self.tip = pending.tip
        if isinstance(pending, Undone):
            self.memory.undo(pending.record, pending.live)
            self.cells.drop_addresses()
            return
        written, memory = pending.written, self.memory
        memory.pages_written(written.buckets, written.hashes, written.starts)
        memory.size_filters(pending.tip.touched)
        for old in written.dropped:
            memory.forget(old)
        memory.apply(pending.record)
        self.cells.drop_addresses(np.array(written.packed, np.uint64))

    def is_live(self, number: int) -> bool:
        """True if the cell of this number is there. Number 0 and numbers not born yet are not."""
        return 0 < number < self.next_number and self.memory.is_live(number)

    def matches(self, txn: Transaction, number: int, mark: int, addr: bytes, slot: bytes, value: bytes) -> bool:
        """True if cell `number` (live or spent, unless packing dropped it) is of this location and has this value."""
        if not 0 < number < self.next_number:
            return False
        block = self._single(number, mark, addr, slot, value)
        stored = self.cells.stored(txn, number)
        return stored is not None and stored == int(block.used[0])

    def is_touched(self, txn: Transaction, mark: int, addr: bytes, slot: bytes) -> bool:
        """True if the location was ever consumed from virgin: a claim of number 0 on it breaks V4."""
        block = self._single(0, mark, addr, slot, bytes(32))
        return len(self._touched_rows(txn, block.virgin, block.bucket, block.low)) > 0

    def _single(self, number: int, mark: int, addr: bytes, slot: bytes, value: bytes) -> Columns:
        moves = Moves(
            np.array([128], np.uint8),
            np.array([mark], np.uint8),
            np.array([number], np.uint64),
            *(np.frombuffer(part, np.uint8).reshape(1, -1) for part in (addr, slot, value, value)),
        )
        with PARALLEL:
            return self._alone(moves)

    def maker_matches(self, txn: Transaction, number: int, txid: bytes) -> bool:
        """makers_match of one cell."""
        row = np.frombuffer(txid, np.uint8).reshape(1, 32)
        return bool(self.makers_match(txn, np.array([number], np.uint64), row)[0])

    def makers_match(self, txn: Transaction, numbers: U64, txids: U8) -> NDArray[np.bool_]:
        """bool[n]: the transaction txids[i] made cell numbers[i], live or spent (V1 where a signature fixes intx).

        numbers: uint64[n]; txids: uint8[n, 32]. Number 0, a virgin cell, goes with 32 zero bytes; no number from
        `next_number` on has a maker yet. Reads one record for each block that made one of the cells.
        """
        matches: NDArray[np.bool_] = (numbers == 0) & ~txids.any(axis=1)
        born = np.flatnonzero((numbers != 0) & (numbers < np.uint64(self.next_number)))
        rows = born[np.argsort(numbers[born], kind="stable")]
        wanted, claimed = numbers[rows], self._hash_txids(txids[rows])
        while len(wanted):
            found = txn.floor(Table.BIRTHS, number_key(int(wanted[-1])))
            if found is None:
                break
            births = np.frombuffer(bytes(found[1]), "<u8").reshape(-1, 2)
            here = int(np.searchsorted(wanted, births[0, 0]))
            makers = np.searchsorted(births[:, 0], wanted[here:], side="right") - 1
            matches[rows[here:]] = births[makers, 1] == claimed[here:]
            rows, wanted, claimed = rows[:here], wanted[:here], claimed[:here]
        return matches

    def verify(self) -> None:
        """Read everything stored and compare: pages and journal with memory, chunks with bits, counts with each other.

        Raises StorageFailure at the first thing that does not fit.
        """
        with self.store.read() as txn:
            verify(txn, self.shape, self.tip, self.memory)

    def content(self) -> Content:
        """What the index says, as plain sets: for tests and small states."""
        with self.store.read() as txn:
            return read_content(txn, self.shape, self.tip, self.memory)
