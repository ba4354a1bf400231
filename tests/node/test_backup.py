"""mana_backup: who waits for which copy, and what becomes of one that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest

from manaflow.node import backup
from manaflow.node.backup import Admin
from manaflow.node.chain_thread import NodeThread
from manaflow.node.errors import RpcError


class Copied:
    """A running node whose copies end when the test lets them."""

    def __init__(self, path: Path) -> None:
        self.path, self.may_end, self.started = path, threading.Event(), 0
        self._admin = Admin(path)
        self._backup = cast(Any, self._admin.methods(cast(NodeThread, self))["mana_backup"])

    async def call(self, run: Callable[[Any], Any]) -> Any:
        """As NodeThread's."""
        await asyncio.sleep(0)
        return run(SimpleNamespace(validator=SimpleNamespace(store=self), latest=self))

    def copy_to(self, folder: Path, *, compact: bool = True) -> None:
        if folder.name == "latest":
            self.started += 1
        assert self.may_end.wait(10)
        (folder / "data.mdb").write_bytes(b"12345")

    async def ask(self, name: str) -> Any:
        return await self._backup(self._admin._token, str(self.path / name))


def run(path: Path, test: Callable[[Copied], Awaitable[None]]) -> None:
    async def main() -> None:
        copied = Copied(path)
        try:
            await test(copied)
        finally:
            copied.may_end.set()

    with mock.patch.object(backup, "WAIT_SECONDS", 0.05), mock.patch.object(backup, "KEPT_SECONDS", 0.2):
        asyncio.run(main())


DONE = {"done": True, "bytes": 10}


def test_whoever_asks_for_one_copy_at_the_same_time_gets_it(tmp_path: Path) -> None:
    async def test(node: Copied) -> None:
        asked = [asyncio.create_task(node.ask("copy")) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(RpcError, match="another backup"):
            await node.ask("other")
        assert [await one for one in asked] == [{"done": False, "bytes": 0}] * 3
        asked = [asyncio.create_task(node.ask("copy")) for _ in range(3)]
        node.may_end.set()
        assert [await one for one in asked] == [DONE] * 3
        assert node.started == 1
        with pytest.raises(RpcError, match="never overwrites"):
            await node.ask("copy")
        assert await node.ask("other") == DONE

    run(tmp_path, test)


def test_a_copy_whose_client_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    async def test(node: Copied) -> None:
        for name in ("copy", "second"):
            node.may_end.clear()
            assert not (await node.ask(name))["done"]
            node.may_end.set()
            await asyncio.sleep(0.1)  # the copy is there, and nobody comes for it
        assert await node.ask("third") == DONE
        (tmp_path / "second").rename(tmp_path / "moved")
        assert await node.ask("second") == DONE
        assert (tmp_path / "second").is_dir()
        assert node.started == 4

    run(tmp_path, test)


def test_a_result_is_not_told_to_who_comes_long_after(tmp_path: Path) -> None:
    async def test(node: Copied) -> None:
        assert not (await node.ask("copy"))["done"]
        node.may_end.set()
        await asyncio.sleep(0.4)
        (tmp_path / "copy").rename(tmp_path / "moved")
        assert await node.ask("copy") == DONE
        assert (tmp_path / "copy").is_dir()

    run(tmp_path, test)
