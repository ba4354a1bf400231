"""The validator: imports sealed blocks, takes them back, answers what it holds (docs/SPEC.md, sections 6, 8 and 10).

Everything of one block is one write transaction of the store; a block is acknowledged after the commit, and memory
follows only then. A refused block changes nothing. One process owns a state directory, one thread uses a validator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from manaflow.errors import Failure, ManaflowError, StorageFailure, Verdict
from manaflow.evm.native_hashing import NativeHashing
from manaflow.evm.native_wire import encode_moves
from manaflow.moves.batch import Batch
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.trees import Frontier, leaf_hash
from manaflow.moves.wire import GenesisFile, check_form, decode_block, decode_header, encode_block
from manaflow.rules.bodies import is_header_source
from manaflow.validator.archive import Archive, misplaced
from manaflow.validator.beginning import OWN_LEVEL, ROOM_A_MOVE, begin_chain, put_block
from manaflow.validator.checks import Checked, check_block, check_header
from manaflow.validator.conflicts import explain
from manaflow.validator.convictions import (
    canonical_number,
    check_f1,
    conviction,
    equivocation,
    lowest_convicted,
    remember,
    remember_producer,
)
from manaflow.validator.execution import BlockExecution, senders_of
from manaflow.validator.identity import load_chain
from manaflow.validator.index import Index
from manaflow.validator.integrity import check_chain
from manaflow.validator.judged import Imported, JudgedLeaves
from manaflow.validator.netting import NetEffect
from manaflow.validator.pending import Pending, settle
from manaflow.validator.reports import CheckReport, ImportReport
from manaflow.validator.shape import Shape
from manaflow.validator.store import ROOM, Store, Table, Transaction, number_key
from manaflow.validator.transactions import Ancestry


class Mode(StrEnum):
    """How far a validator judges sealed blocks."""

    MOVES = "moves"
    """Signatures, moves and state; execution is left to challengers."""
    EXECUTE = "execute"
    """Also X0 to X5 of every transaction, in parallel, before the commit."""


class Validator:
    """One state directory, opened. Use `create` once, then `open`; close it, or use it as a context manager."""

    def __init__(self, store: Store, mode: Mode, threads: int) -> None:
        """Use `create` or `open`. `store` is for the validator's own room: others read through methods."""
        self.mode, self.threads = mode, threads
        self._hashing = NativeHashing(threads)
        self.store, self.pending = store, Pending(store)
        with store.read() as txn:
            self.config, self._ancestors = load_chain(txn)
        self._execution = BlockExecution(self.config, threads)
        self._load()
        self._finish_conviction()

    @classmethod
    def open(cls, path: Path | str, *, mode: Mode | str = Mode.MOVES, threads: int = 0) -> Validator:
        """Open a state directory. threads: how many at most, 0 for all.

        Raises Failure if there is none at `path`, Locked if another process owns it, StorageFailure if its files are
        damaged or of a newer format.
        """
        if not (Path(path) / "data.mdb").is_file():
            raise Failure(f"there is no state directory at {path}; create one from a genesis file")
        return cls._with(Store.open(Path(path)), Mode(mode), threads)

    @classmethod
    def create(
        cls,
        path: Path | str,
        genesis: GenesisFile,
        *,
        mode: Mode | str = Mode.MOVES,
        threads: int = 0,
        shape: Shape | None = None,
    ) -> Validator:
        """Make a state directory from a genesis file, and open it. shape: sizes of the index, fixed from here on.

        Raises Verdict if genesis breaks a rule, Failure if its config or ancestors do not fit, if a chain of profile
        `manaflow` has the chain id of an Ethereum network (S1), or if `path` holds a chain.
        """
        store = begin_chain(Path(path), genesis, NativeHashing(threads), shape)
        return cls._with(store, Mode(mode), threads)

    @classmethod
    def _with(cls, store: Store, mode: Mode, threads: int) -> Validator:
        try:
            return cls(store, mode, threads)
        except BaseException:
            store.close()
            raise

    def _load(self) -> None:
        """Memory from the files: the head and the index."""
        with self.store.read() as txn:
            head = Archive(txn).head()
        if head is None:
            raise StorageFailure("the state directory has a chain config and no blocks")
        self._index = Index.open(self.store, challenge_blocks=self.config.challenge_blocks)
        if self._index.height != head.header.number:
            raise StorageFailure(f"the head is block {head.header.number}, the index is at block {self._index.height}")
        self._head = head
        self._imported: Imported | None = None

    def close(self) -> None:
        """Let go of the directory. Safe to call twice."""
        self.store.close()

    def __enter__(self) -> Validator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def head(self) -> tuple[Header, bytes]:
        """Header and hash of the last block."""
        return self._head.header, self._head.hash

    @property
    def history(self) -> Frontier:
        """The tree over the hashes of all blocks up to the head: the next header has its root (B6)."""
        frontier = self._head.frontier(self.config.genesis_number)
        frontier.append(leaf_hash(self._head.hash))
        return frontier

    @property
    def ancestors(self) -> tuple[tuple[int, bytes], ...]:
        """(number, hash) of the blocks before genesis that the config commits to, ascending (B5)."""
        return tuple(self._ancestors.items())

    @property
    def index(self) -> Index:
        """The index of the head's state; read it, do not write to it."""
        return self._index

    def block(self, key: int | bytes) -> Block | None:
        """A stored block, by number (canonical) or by hash (also an undone one)."""
        if self._imported is not None and key in self._imported.names:
            return self._imported.block
        with self.store.read() as txn:
            return Archive(txn).block(key)

    def logs(self, block_hash: bytes) -> tuple[bytes, ...] | None:
        """RLP of the logs of each signed transaction of the head, if importing it has executed them all."""
        return self._imported.logs if self._imported is not None and block_hash in self._imported.names else None

    def header(self, number: int) -> Header | None:
        """The header of a canonical block."""
        with self.store.read() as txn:
            record = Archive(txn).canonical(number)
        return None if record is None else record.header

    def code(self, code_hash: bytes) -> bytes | None:
        """The bytes of a code that some stored block brought, by keccak-256."""
        with self.store.read() as txn:
            return txn.get(Table.CODES, code_hash) if len(code_hash) == 32 else None

    @contextmanager
    def archive(self) -> Iterator[Archive]:
        """The stored blocks, as of now. Keep it short: a growing map waits for it."""
        with self.store.read() as txn:
            yield Archive(txn)

    def import_block(
        self, data: bytes | Block, *, own: bool = False, judged: JudgedLeaves | None = None
    ) -> ImportReport:
        """Judge the next block by every rule of the mode; commit it if it fulfils them, and forget the open block.

        data: the block's file, or the block. own: this node's producer has sealed it, and signs no other on its parent.
        judged: what this process has judged already; leaves that are those are not judged again by S, M and X. Raises
        Verdict if it breaks a rule, Failure if it does not follow the head, StorageFailure if it could not be written;
        then nothing has changed.
        """
        if isinstance(data, Block):
            check_form(data)
            block = data
        else:
            block = self._decode(data)
        self._check_follows(block.header)
        logs = {} if judged is None else judged.logs_in(block)
        rooted = logs.keys() if judged is not None and judged.moves_root is not None else frozenset()
        checked = check_block(block, self._ancestry(), self._hashing, self.threads, logs.keys(), rooted)
        if isinstance(data, Block):
            data = encode_block(block, self._hashing, OWN_LEVEL, derived=checked.derived, encode=encode_moves)
        record = self._head.followed_by(block.header, self.config.genesis_number)
        with self._all_or_nothing():
            self.pending.ask_anew()
            with self.store.write(ROOM + 4 * len(data) + ROOM_A_MOVE * len(block.moves)) as txn:
                net = self._check_state(txn, checked)
                logs = self._check_execution(txn, checked, logs)
                put_block(txn, record, data, dict(zip(checked.code_hashes, block.codes, strict=True)))
                pending = self._index.apply(txn, block.header.number, net, block.leaves.txid)
                settle(txn, block, own=own)
            self._index.accept(pending)
            self._head = record
            self._imported = Imported.of(record.hash, block, checked.transactions.signed, logs)
        return ImportReport(block.header.number, record.hash, len(block.leaves), len(block.moves), block.header.cells)

    def open_block(self, opened: Header, opening: Batch, admitted: Sequence[Batch] = ()) -> None:
        """Keep an open block on disk, in place of any other. Raises StorageFailure: then only the disk knows."""
        with self._all_or_nothing():
            self.pending.begin(opened, opening, admitted)

    def acknowledge(self, batches: Sequence[Batch]) -> None:
        """Keep what was admitted to the open block on disk. Raises StorageFailure: then only the disk knows."""
        with self._all_or_nothing():
            self.pending.acknowledge(batches)

    def judge_block(self, block: Block) -> None:
        """Judge the next block as import_block does, and change nothing. Raises Verdict, or Failure as import_block."""
        self._check_follows(block.header)
        checked = check_block(block, self._ancestry(), self._hashing, self.threads)
        with self.store.read() as txn:
            self._check_state(txn, checked)
            self._check_execution(txn, checked, {})

    def judge_execution(self, block: Block) -> None:
        """X0 to X5 of a block that fulfils every other rule, in any mode. Raises Verdict, or Failure."""
        self._execution.check(block, senders_of(self.config, block), self.code)

    def _decode(self, data: bytes) -> Block:
        """B1; a header that does not follow, or that no producer signed, is refused before its body is unpacked."""
        header, signature = decode_header(data)
        self._check_follows(header)
        check_header(header, signature, self._ancestry())
        return decode_block(data, self._hashing)

    def _ancestry(self) -> Ancestry:
        """What the next block is judged beside."""
        frontier = self._head.frontier(self.config.genesis_number)
        return Ancestry(self.config, self._head.header, frontier, self.hash_seen)

    def _check_follows(self, header: Header) -> None:
        """The block is for the head, and not void (F1). Another parent says nothing of the block."""
        with self.store.read() as txn:
            check_f1(txn, header)
            if header.parent_hash != self._head.hash:
                raise misplaced(header, self._head, Archive(txn))

    def hash_seen(self, number: int) -> bytes | None:
        """The hash that BLOCKHASH shows the next block for a block before the head (B5); None if the chain has none."""
        if not is_header_source(number, self.config):
            return self._ancestors.get(number)
        header = self.header(number + 1)
        return None if header is None else header.seen_parent_hash

    def _check_state(self, txn: Transaction, checked: Checked) -> NetEffect:
        """V1 to V4."""
        block, offsets, txids = checked.block, checked.transactions.offsets, checked.block.leaves.txid
        try:
            return self._index.check(txn, block.moves, offsets, block.header.first_cell, txids, checked.makers)
        except Verdict as verdict:
            raise explain(verdict, block, Archive(txn)) from None

    def _check_execution(self, txn: Transaction, checked: Checked, known: Mapping[int, bytes]) -> Mapping[int, bytes]:
        """X0 to X5, in mode `execute`, of what is not judged yet. Returns the RLP of logs of leaves that are judged.

        known: of those that were judged before.
        """
        if self.mode != Mode.EXECUTE:
            return known
        senders = checked.transactions.spread(checked.transactions.envelopes.sender)
        return self._execution.check(checked.block, senders, lambda code_hash: txn.get(Table.CODES, code_hash), known)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Whatever stops a change half way, memory is what the files are.

        A verdict or a plain failure comes before the commit. After a commit that failed, or an interrupt between commit
        and memory, only the files say whether the change is in.
        """
        try:
            yield
        except StorageFailure:
            self._reload()
            raise
        except ManaflowError:
            raise
        except BaseException:
            self._reload()
            raise

    def _reload(self) -> None:
        self.store.reopen()
        self._load()

    def undo_block(self) -> int:
        """Take the head back; returns its number. The block stays stored by its hash and may be imported again.

        Raises Failure for genesis, and for a block that the index's journal no longer holds.
        """
        return self._undo(None)

    def convict(self, block_hash: bytes, proof: bytes) -> list[int]:
        """F1: void a block for good, keep the proof, and take the chain back to the block's parent.

        `manaflow.fraudproof.consequences.apply_proof` verifies the proof first. The conviction is in the transaction
        that takes the first block back; an undo that is cut short after it goes on when the directory is next opened.
        Returns the numbers of the blocks taken back, last first. Raises Failure for genesis, and for a block that the
        index's journal no longer holds; then nothing has changed.
        """
        with self.store.read() as txn:
            number = canonical_number(txn, block_hash)
            if number == self.config.genesis_number:
                raise Failure("genesis cannot be undone")
            if number is not None and txn.view(Table.RECENT, number_key(number)) is None:
                raise Failure(f"block {number} is too old to be undone from the journal; go back to a copy and replay")
        if number is None:
            with self.store.write() as txn:
                remember(txn, block_hash, proof)
            return []
        undone = [self._undo((block_hash, proof))]
        return undone + self._undo_to(number)

    def conviction(self, block_hash: bytes) -> bytes | None:
        """The proof that convicts a block, as `convict` kept it."""
        with self.store.read() as txn:
            return conviction(txn, block_hash)

    def convict_producer(self, producer: bytes, number: int, proof: bytes) -> None:
        """Keep the proof that a producer (20 bytes) signed two blocks of one number. No block changes."""
        with self.store.write() as txn:
            remember_producer(txn, producer, number, proof)

    def equivocation(self, producer: bytes, number: int) -> bytes | None:
        """The proof that a producer signed two blocks of a number, as `convict_producer` kept it."""
        with self.store.read() as txn:
            return equivocation(txn, producer, number)

    def _finish_conviction(self) -> None:
        """Take back what an undo that was cut short has left of a convicted block's descendants."""
        with self.store.read() as txn:
            number = lowest_convicted(txn)
        if number is not None:
            self._undo_to(number)

    def _undo_to(self, number: int) -> list[int]:
        """Take blocks back until `number` is gone."""
        undone = []
        while self._head.header.number >= number:
            undone.append(self._undo(None))
        return undone

    def _undo(self, convicted: tuple[bytes, bytes] | None) -> int:
        """Take the head back; in the same transaction remember a conviction (block hash, proof)."""
        head = self._head
        if head.header.number == self.config.genesis_number:
            raise Failure("genesis cannot be undone")
        with self._all_or_nothing():
            with self.store.write() as txn:
                if convicted is not None:
                    remember(txn, *convicted)
                archive = Archive(txn)
                before = archive.canonical(head.header.number - 1)
                if before is None:
                    raise StorageFailure(f"the canonical record of block {head.header.number - 1} is missing")
                pending = self._index.undo(txn, head.header.number)
                archive.uncanonical(head.header)
            self._index.accept(pending)
            self._head, self._imported = before, None
        return head.header.number

    def check(self) -> CheckReport:
        """Read everything and compare: the index with itself, headers, blocks and codes with each other.

        Raises StorageFailure at the first thing that does not fit.
        """
        self._index.verify()
        with self.store.read() as txn:
            blocks, codes = check_chain(txn, self.config, self._head)
        return CheckReport(blocks, self._index.tip.live, self._index.next_number - 1, codes)
