"""The store: one owner, whole transactions, a growing map, and storage faults in clear text."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import threading
from enum import StrEnum
from pathlib import Path
from typing import Any

import lmdb
import pytest

from manaflow.errors import Locked, StorageFailure
from manaflow.validator import store as module
from manaflow.validator.store import Store, Table, number_key
from tests.conftest import ROOT
from tests.validator.blocks import State, first_touch, place, word


def test_what_is_committed_is_there_after_reopening(tmp_path: Path) -> None:
    with Store.open(tmp_path / "new" / "state") as store:
        with store.write() as txn:
            txn.put(Table.BLOCKS, b"hash", b"block")
            assert txn.get(Table.BLOCKS, b"hash") == b"block"
            assert txn.get(Table.CODES, b"hash") is None
        with store.read() as txn:
            assert txn.get(Table.BLOCKS, b"hash") == b"block"
    with Store.open(tmp_path / "new" / "state") as store, store.read() as txn:
        assert txn.get(Table.BLOCKS, b"hash") == b"block"


def test_all_or_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        with pytest.raises(RuntimeError), store.write() as txn:  # noqa: PT012
            txn.put(Table.BLOCKS, b"a", b"1")
            raise RuntimeError
        with store.write() as txn:
            assert txn.get(Table.BLOCKS, b"a") is None


def test_order_floor_and_last(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store, store.write() as txn:
        assert txn.last(Table.CANONICAL) is None
        assert txn.floor(Table.CANONICAL, number_key(5)) is None
        for number in (3, 256, 70_000):
            txn.put(Table.CANONICAL, number_key(number), b"%d" % number, append=True)
        found = {n: txn.floor(Table.CANONICAL, number_key(n)) for n in (2, 3, 255, 256, 2**63)}
        assert {n: f and bytes(f[1]) for n, f in found.items()} == {
            2: None, 3: b"3", 255: b"3", 256: b"256", 2**63: b"70000",
        }  # fmt: skip
        last = txn.last(Table.CANONICAL)
        assert last is not None
        assert bytes(last[1]) == b"70000"
        assert [bytes(v) for _, v in txn.items(Table.CANONICAL, number_key(4))] == [b"256", b"70000"]
        assert txn.delete(Table.CANONICAL, number_key(256))
        assert not txn.delete(Table.CANONICAL, number_key(256))
        assert [bytes(v) for _, v in txn.items(Table.CANONICAL)] == [b"3", b"70000"]


def test_one_owner(tmp_path: Path) -> None:
    with Store.open(tmp_path):
        with pytest.raises(Locked, match="in use"):
            Store.open(tmp_path)
        code = "import sys, pathlib, manaflow.validator.store as s; s.Store.open(pathlib.Path(sys.argv[1]))"
        run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
        assert "Locked" in run.stderr
        assert "in use" in run.stderr
    Store.open(tmp_path).close()


def test_a_newer_format_is_refused_and_the_lock_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(module, "FORMAT_VERSION", 2)
        Store.open(tmp_path).close()
    for _ in range(2):
        with pytest.raises(StorageFailure, match="newer format"):
            Store.open(tmp_path)


class Newer(StrEnum):
    """Tables of a later format."""

    META = "meta"
    LATER = "later"


def test_a_newer_format_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(module, "FORMAT_VERSION", 2)
        Store.open(tmp_path, tables=Newer).close()
    before = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(StorageFailure, match="newer format"):
        Store.open(tmp_path)
    assert (tmp_path / "data.mdb").read_bytes() == before


def test_files_that_are_no_database(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageFailure):
        Store.open(tmp_path)
    with pytest.raises(StorageFailure):
        Store.open(tmp_path / "data.mdb" / "below a file")


def test_the_lock_file_is_on_disk_before_it_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a full disk ends the process by SIGBUS, when the first byte of a sparse file is written through a map."""
    found: list[int] = []
    opened = lmdb.open

    def noted(path: str, **options: Any) -> Any:
        found.append(512 * (Path(path) / "lock.mdb").stat().st_blocks)
        return opened(path, **options)

    monkeypatch.setattr(lmdb, "open", noted)
    for _ in range(2):
        Store.open(tmp_path).close()
    (tmp_path / "lock.mdb").write_bytes(b"")
    os.truncate(tmp_path / "lock.mdb", 1 << 16)  # as a process leaves it that ended so
    Store.open(tmp_path).close()
    assert min(found) >= module.LOCK_BYTES

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StorageFailure, match="the disk is full"):
        Store.open(tmp_path / "new")


def test_the_map_grows_before_it_is_full(tmp_path: Path) -> None:
    with Store.open(tmp_path, map_size=1 << 20) as store:
        before = store.generation
        for n in range(30):
            with store.write(room=1 << 20) as txn:
                txn.put(Table.BLOCKS, number_key(n), bytes([n]) * 500_000)
        assert store.generation > before
        with store.read() as txn:
            assert all(txn.get(Table.BLOCKS, number_key(n)) == bytes([n]) * 500_000 for n in range(30))


def test_a_full_map_fails_clearly_and_leaves_the_store_usable(tmp_path: Path) -> None:
    with Store.open(tmp_path, map_size=1 << 20, map_ceiling=2 << 20) as store:
        with store.write() as txn:
            txn.put(Table.BLOCKS, b"small", b"1")
        with pytest.raises(StorageFailure, match="map is full"), store.write() as txn:
            txn.put(Table.BLOCKS, b"large", bytes(3 << 20))
        with store.write() as txn:
            assert txn.get(Table.BLOCKS, b"small") == b"1"
            txn.put(Table.BLOCKS, b"other", b"2")
    with Store.open(tmp_path) as store, store.read() as txn:
        assert txn.get(Table.BLOCKS, b"other") == b"2"


def test_growing_waits_for_views_of_other_threads(tmp_path: Path) -> None:
    with Store.open(tmp_path, map_size=1 << 20) as store:
        opened, release, seen = threading.Event(), threading.Event(), []

        def look() -> None:
            with store.read() as txn:
                opened.set()
                release.wait(10)
                seen.append(txn.get(Table.BLOCKS, b"a"))

        thread = threading.Thread(target=look)
        thread.start()
        opened.wait(10)
        threading.Timer(0.2, release.set).start()
        with store.write(room=8 << 20) as txn:
            assert seen == [None]
            txn.put(Table.BLOCKS, b"a", b"1")
        thread.join()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StorageFailure, match="closed"), store.read():
        pass


def test_a_copy_opens(tmp_path: Path) -> None:
    with Store.open(tmp_path / "one") as store:
        with store.write() as txn:
            txn.put(Table.BLOCKS, b"a", b"1")
        store.copy_to(tmp_path / "two")
        with Store.open(tmp_path / "two") as other, other.read() as txn:
            assert txn.get(Table.BLOCKS, b"a") == b"1"


FULL_DISK = """
    import resource, sys
    from pathlib import Path
    from manaflow.errors import StorageFailure
    from tests.validator.blocks import State, first_touch, place, word
    state = State(Path(sys.argv[1]))
    for n in range(5):
        state.apply([[first_touch(place(n), word(1))]])
    size = (state.path / "data.mdb").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40_000, size + 40_000))
    try:
        for n in range(5, 3000):
            height = state.index.height
            before = state.index.content()
            state.apply([[first_touch(place(100 * n + k), word(1)) for k in range(100)]])
    except StorageFailure as failure:
        print("failure:", failure)
    else:
        raise SystemExit("the disk never filled")
    state.store.reopen()
    state.open()
    assert state.index.height == height and state.index.content() == before
    state.index.verify()
    print("height:", height)
"""


def test_a_full_disk_fails_clearly_and_the_state_opens_at_the_last_block(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    assert "the disk is full or failed" in run.stdout
    height = int(run.stdout.split("height: ")[1])
    state = State(tmp_path)
    assert state.index.height == height
    state.index.verify()
    state.apply([[first_touch(place(7_000_000), word(1))]])
    state.index.verify()
    state.close()


def test_an_index_in_a_full_map_stays_at_the_last_block(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.close()
    state.store = Store.open(tmp_path, map_size=1 << 18, map_ceiling=1 << 19)
    state.open()
    height, before = -1, state.index.content()
    with pytest.raises(StorageFailure, match="map is full"):  # noqa: PT012
        for n in range(1000):
            state.apply([[first_touch(place(100 * n + k), word(1)) for k in range(100)]])
            height, before = n, state.index.content()
    assert (state.index.height, state.index.content()) == (height, before)
    state.index.verify()
    state.close()
    state.store = Store.open(tmp_path)
    state.open()
    assert state.index.content() == before
    state.apply([[first_touch(place(7_000_000), word(1))]])
    state.index.verify()
    state.close()


def test_a_failed_commit_closes_the_store_until_it_is_reopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path) as store:
        env = store._env

        class Failing:
            """An environment whose write transactions cannot be committed."""

            def __getattr__(self, name: str) -> object:
                return getattr(env, name)

            def begin(self, **how: object) -> object:
                txn = env.begin(**how)
                return FailingTransaction(txn) if how.get("write") else txn

        class FailingTransaction:
            def __init__(self, txn: object) -> None:
                self.txn = txn

            def __getattr__(self, name: str) -> object:
                return getattr(self.txn, name)

            def commit(self) -> None:
                raise OSError(5, "Input/output error")

        monkeypatch.setattr(store, "_env", Failing())
        with pytest.raises(StorageFailure, match="full or failed"), store.write() as txn:
            txn.put(Table.BLOCKS, b"a", b"1")
        for use in (store.read, store.write):
            with pytest.raises(StorageFailure, match="reopen"), use():
                pass
        monkeypatch.setattr(store, "_env", env)
        before = store.generation
        store.reopen()
        assert store.generation > before
        with store.read() as txn:
            assert txn.get(Table.BLOCKS, b"a") is None
