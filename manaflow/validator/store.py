"""The one LMDB environment of a node: tables, transactions, the owner's lock, the size of the map, and errors in
clear text.

One write transaction per block holds everything that changes with it, so a crash leaves a whole block or none. Only
this module opens LMDB."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import lmdb

from manaflow.errors import Locked, StorageFailure

FORMAT_VERSION: Final = 1
ENGINE: Final = 0
"""py-lmdb's `lib_version`: the bundled LMDB 0.9, whose files LMDB 1.0 does not read."""
MAP_SIZE: Final = 1 << 30
"""Bytes of address space that a map starts with; the file itself is only as long as what is in it."""
MAP_CEILING: Final = 1 << 44
"""Bytes that a map may grow to."""
ROOM: Final = 1 << 28
"""Free bytes of the map that a write transaction starts with, unless it asks for more."""
RESIZE_WAIT_SECONDS: Final = 10.0
"""How long a change of the map's size waits for the views that other threads have open."""
LOCK_BYTES: Final = 4096
"""Of LMDB's table of readers, which is written through a map, that must be on disk before."""
OVERFLOW_HEADER: Final = 16
"""Bytes of LMDB's header on the first of the pages that a large value fills."""

Value = bytes | bytearray | memoryview


class Table(StrEnum):
    """The named databases. A number as a key is `number_key(n)`, so that keys sort as numbers do."""

    BLOCKS = "blocks"
    """Block hash -> the block's bytes."""
    CANONICAL = "canonical"
    """Block number -> the canonical block's hash, header, and history peaks before it."""
    CODES = "codes"
    """keccak-256 -> code bytes."""
    FIRST_CELLS = "first_cells"
    """A block's first cell -> block number; with `floor`, from a cell to the block that made it."""
    CELLS = "cells"
    """Chunk -> fingerprints (cells.py)."""
    BIRTHS = "births"
    """A block's first cell -> first cell and keyed hash of the txid of each leaf that makes cells (births.py)."""
    LIVE = "live"
    """Page -> bits; lags behind memory (checkpoint.py)."""
    TOUCHED = "touched"
    """Bucket -> sorted hashes; lags behind memory (checkpoint.py)."""
    RECENT = "recent"
    """Block number -> what the block changed (journal.py)."""
    CONVICTED = "convicted"
    """Block hash -> the fraud proof that convicts the block (convictions.py)."""
    EQUIVOCATIONS = "equivocations"
    """Producer and block number -> the proof that the producer signed two blocks of it (convictions.py)."""
    PENDING = "pending"
    """0 -> the open block's header and opening leaves; 1, 2, ... -> what was admitted to it (pending.py)."""
    SIGNED = "signed"
    """Parent hash -> hash of the block that this node's producer signed on it (pending.py)."""
    META = "meta"
    """Names -> small values: the format, the index's keys, its shape and its tip, and the validator's own."""


def number_key(number: int) -> bytes:
    """A number as a key: 8 bytes, big-endian. Raises OverflowError outside 0 <= number < 2^64."""
    return number.to_bytes(8, "big")


def as_failure(error: Exception) -> StorageFailure:
    """LMDB's error, or the operating system's, in words that say what to do."""
    code = getattr(error, "errno", None)
    text = str(error)
    if isinstance(error, lmdb.MapFullError):
        return StorageFailure(f"the database's map is full; raise its ceiling ({text})")
    if code == errno.ENOSPC or os.strerror(errno.ENOSPC) in text:
        return StorageFailure(f"the disk is full ({text})")
    if code == errno.EFBIG or os.strerror(errno.EFBIG) in text:
        return StorageFailure(f"the database has reached the largest size of a file allowed here ({text})")
    if code == errno.EIO or os.strerror(errno.EIO) in text:
        return StorageFailure(f"the disk is full or failed: a write was cut short or refused ({text})")
    return StorageFailure(f"the database failed: {text}")


class Transaction:
    """A view of the store at one moment, or (inside `Store.write`) the one writer. Errors are StorageFailure."""

    __slots__ = ("_dbs", "_txn")

    def __init__(self, txn: Any, dbs: dict[StrEnum, Any]) -> None:
        self._txn, self._dbs = txn, dbs

    def get(self, table: StrEnum, key: bytes) -> bytes | None:
        """The value, copied, or None."""
        try:
            found = self._txn.get(key, db=self._dbs[table])
        except lmdb.Error as error:
            raise as_failure(error) from error
        return None if found is None else bytes(found)

    def view(self, table: StrEnum, key: bytes) -> memoryview | None:
        """The value in place, or None. Valid until this transaction's next write or end: no later."""
        try:
            found: memoryview | None = self._txn.get(key, db=self._dbs[table])
        except lmdb.Error as error:
            raise as_failure(error) from error
        return found

    def put(self, table: StrEnum, key: bytes, value: Value, *, append: bool = False) -> None:
        """Write a value. `append` promises that the key is above every other in the table, which is faster."""
        try:
            self._txn.put(key, value, append=append, db=self._dbs[table])
        except lmdb.Error as error:
            raise as_failure(error) from error

    def put_many(self, table: StrEnum, pairs: Sequence[tuple[bytes, Value]]) -> None:
        """Write values, fastest by ascending keys."""
        try:
            with self._txn.cursor(db=self._dbs[table]) as cursor:
                cursor.putmulti(pairs)
        except lmdb.Error as error:
            raise as_failure(error) from error

    def get_many(self, table: StrEnum, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are there, copied; fastest by ascending keys."""
        try:
            with self._txn.cursor(db=self._dbs[table]) as cursor:
                return {bytes(key): bytes(value) for key, value in cursor.getmulti(keys)}
        except lmdb.Error as error:
            raise as_failure(error) from error

    def delete(self, table: StrEnum, key: bytes) -> bool:
        """Remove a key; False if it was not there."""
        try:
            return bool(self._txn.delete(key, db=self._dbs[table]))
        except lmdb.Error as error:
            raise as_failure(error) from error

    def items(self, table: StrEnum, start: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        """Keys from `start` on, ascending, with their values in place (see `view`)."""
        try:
            with self._txn.cursor(db=self._dbs[table]) as cursor:
                if cursor.set_range(start) if start else cursor.first():
                    for key, value in cursor.iternext():
                        yield bytes(key), value
        except lmdb.Error as error:
            raise as_failure(error) from error

    def floor(self, table: StrEnum, key: bytes) -> tuple[bytes, memoryview] | None:
        """The largest key that is not above `key`, with its value in place (see `view`)."""
        try:
            with self._txn.cursor(db=self._dbs[table]) as cursor:
                above = cursor.set_range(key)
                at = (bytes(cursor.key()) == key or cursor.prev()) if above else cursor.last()
                return (bytes(cursor.key()), cursor.value()) if at else None
        except lmdb.Error as error:
            raise as_failure(error) from error

    def last(self, table: StrEnum) -> tuple[bytes, memoryview] | None:
        """The largest key of a table with its value in place (see `view`)."""
        return self.floor(table, b"\xff" * 64)

    def statistics(self, table: StrEnum) -> dict[str, int]:
        """LMDB's counts for one table: entries, depth, branch_pages, leaf_pages, overflow_pages, psize."""
        return dict(self._txn.stat(self._dbs[table]))


class Store:
    """A state directory and its one owner. Use `Store.open`; close it, or use it as a context manager."""

    def __init__(
        self, path: Path, lock: int, map_size: int, map_ceiling: int, tables: type[StrEnum], is_derived: bool
    ) -> None:
        self.path, self._lock, self._map_size, self._map_ceiling = path, lock, map_size, map_ceiling
        self._tables, self._is_derived = tables, is_derived
        self.generation = 0
        """Grows whenever the map may have moved: whoever keeps addresses into it drops them then."""
        self._broken = False
        self._readers = 0
        self._gate = threading.Condition()
        self._writer = threading.Lock()
        self._env: Any = None
        self._dbs: dict[StrEnum, Any] = {}
        self._open_environment()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        map_size: int = MAP_SIZE,
        map_ceiling: int = MAP_CEILING,
        tables: type[StrEnum] = Table,
        is_derived: bool = False,
    ) -> Store:
        """Open or create the state directory `path`.

        map_size: bytes of address space to begin with; it doubles before it is full, up to map_ceiling. tables: with
        one of the value "meta". is_derived: what is in it can be made anew, so that a commit waits for its pages but
        not for the page that points to them: a loss of power may cost the last commit, and nothing else.
        Raises Locked if this or another process has it open, StorageFailure if it is unreadable or its format newer.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path / "owner.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise as_failure(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise Locked(f"the state directory {path} is in use, by another process or by this one") from error
        try:
            return cls(path, lock, min(map_size, map_ceiling), map_ceiling, tables, is_derived)
        except BaseException:
            os.close(lock)
            raise

    def _open_environment(self) -> None:
        try:
            self._make_lock_file()
            self._env = lmdb.open(
                str(self.path),
                map_size=self._map_size,
                max_dbs=len(self._tables),
                max_readers=512,
                sync=True,
                metasync=not self._is_derived,
                writemap=False,
                readahead=False,
                lib_version=ENGINE,
            )
            self._dbs = {self._tables("meta"): self._env.open_db(b"meta")}
            self._check_format()  # before any other table is made: what is newer stays as it is
            self._dbs |= {table: self._env.open_db(table.value.encode()) for table in self._tables}
        except (lmdb.Error, OSError) as error:
            self._close_environment()
            raise as_failure(error) from error
        except BaseException:
            self._close_environment()
            raise
        self._broken = False

    def _make_lock_file(self) -> None:
        """On a full disk LMDB's own way to make it ends the process (SIGBUS), and nobody hears why."""
        descriptor = os.open(self.path / "lock.mdb", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if 512 * os.fstat(descriptor).st_blocks < LOCK_BYTES:
                os.pwrite(descriptor, bytes(LOCK_BYTES), 0)
        finally:
            os.close(descriptor)

    def _check_format(self) -> None:
        with self._env.begin(write=True, db=self._dbs[self._tables("meta")]) as txn:
            found = txn.get(b"format")
            if found is None:
                txn.put(b"format", FORMAT_VERSION.to_bytes(4, "big"))
            elif (version := int.from_bytes(found, "big")) != FORMAT_VERSION:
                kind = "a newer" if version > FORMAT_VERSION else "an unknown"
                raise StorageFailure(
                    f"{self.path} has {kind} format ({version}); this program reads format {FORMAT_VERSION}"
                )

    def _close_environment(self) -> None:
        if self._env is not None:
            self._env.close()
        self._env, self._dbs = None, {}

    def reopen(self) -> None:
        """Close the environment and open it again; needed after a commit that failed, before anything else.

        Whoever keeps a memory of the contents (the index) is built anew from it: after such a failure only the files
        say whether the block is in.
        """
        with self._writer, self._gate:
            self._await_readers()
            self._close_environment()
            self.generation += 1
            self._open_environment()

    def close(self) -> None:
        """Let go of the directory. Safe to call twice."""
        if self._lock >= 0:
            self._close_environment()
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _usable(self) -> Any:
        if self._env is None:
            raise StorageFailure(f"{self.path} is closed")
        if self._broken:
            raise StorageFailure(f"an earlier commit to {self.path} failed; reopen it first")
        return self._env

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A view of the last committed state. Keep it short: a change of the map's size waits for it."""
        with self._reader() as env:
            try:
                txn = env.begin(buffers=True)
            except lmdb.Error as error:
                raise as_failure(error) from error
            with txn:
                yield Transaction(txn, self._dbs)

    @contextmanager
    def _reader(self) -> Iterator[Any]:
        """The environment, for whom a change of the map's size waits."""
        with self._gate:
            env = self._usable()
            self._readers += 1
        try:
            yield env
        finally:
            with self._gate:
                self._readers -= 1
                self._gate.notify_all()

    @contextmanager
    def write(self, room: int = ROOM) -> Iterator[Transaction]:
        """One write transaction: committed and fsynced at the end of the `with`, or nothing of it.

        room: bytes that it may need; the map is grown first. Raises StorageFailure if the disk or the map is full (the
        store stays usable unless it was the commit that failed: then every call says so until `reopen`).
        """
        with self._writer:
            self._usable()
            self._grow(room)
            try:
                txn = self._env.begin(write=True, buffers=True)
            except lmdb.Error as error:
                raise as_failure(error) from error
            try:
                yield Transaction(txn, self._dbs)
            except BaseException:
                txn.abort()
                raise
            try:
                txn.commit()
            except (lmdb.Error, OSError) as error:
                self._broken = True
                with suppress(lmdb.Error):
                    txn.abort()
                raise as_failure(error) from error

    def _grow(self, room: int) -> None:
        """Double the map until `room` bytes are free or its ceiling is reached (freed pages inside may still do)."""
        info = self._env.info()
        size, used = info["map_size"], (info["last_pgno"] + 1) * self.page_size
        target = size
        while target < self._map_ceiling and target - used < room:
            target = min(2 * target, self._map_ceiling)
        if target == size:
            return
        with self._gate:
            self._await_readers()
            self.generation += 1
            try:
                self._env.set_mapsize(target)
            except lmdb.Error as error:
                raise as_failure(error) from error
            self._map_size = target

    def _await_readers(self) -> None:
        if not self._gate.wait_for(lambda: self._readers == 0, RESIZE_WAIT_SECONDS):
            raise StorageFailure("a view of the store is open too long to change the size of its map")

    @property
    def page_size(self) -> int:
        """Bytes of an LMDB page."""
        return int(self._env.stat()["psize"])

    def copy_to(self, path: Path, *, compact: bool = False) -> None:
        """A consistent copy in the empty directory `path` (mdb_env_copy), from which a deep undo replays.

        compact: without free pages, which takes longer. From any thread; writers go on meanwhile, but one whose map is
        to grow just then waits, and is refused after RESIZE_WAIT_SECONDS. Raises StorageFailure.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            with self._reader() as env:
                env.copy(str(path), compact=compact)
        except (lmdb.Error, OSError) as error:
            raise as_failure(error) from error
