"""Copies of a node's directory, whole or not at all; and `mana_backup`, by which a running node makes one of itself.

One process owns an LMDB environment, so nobody else copies it while it is open. Who may ask is who may read the node's
directory: a running node leaves its address and a token there (admin.json, mode 0600), and the call must show it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from manaflow.coordinator.latest_index import LatestTable
from manaflow.errors import Failure
from manaflow.node.chain_thread import NodeThread
from manaflow.node.errors import INVALID_REQUEST, RESOURCE_UNAVAILABLE, RpcError
from manaflow.node.opening import LATEST, VALIDATOR
from manaflow.node.parameters import Method
from manaflow.validator.store import Store, Table

ADMIN_NAME: Final = "admin.json"
DATA_NAME: Final = "data.mdb"
WAIT_SECONDS: Final = 15.0
"""How long one call waits for a copy; then it says that the copy goes on, and is called again."""
KEPT_SECONDS: Final = 60.0
"""How long the result of a copy waits for whoever asked for it."""

Copy = Callable[[Path], None]
"""Makes one environment's copy in an empty folder."""


def copy_whole(target: Path, copies: Mapping[str, Copy]) -> int:
    """Make every copy, in order, in its folder of `target` ("" is `target` itself); returns their bytes.

    The name appears when all are on disk. Raises Failure if `target` exists; whatever a copy raises.
    """
    if target.exists():
        raise Failure(f"{target} exists already: a backup never overwrites")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name, copy in copies.items():
            folder = partial / name if name else partial
            folder.mkdir(parents=True, exist_ok=True)
            copy(folder)
            sync(folder / DATA_NAME)
            sync(folder)
        partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise Failure(f"no backup was made: {error}") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync(target.parent)
    return sum((target / name / DATA_NAME).stat().st_size for name in copies)


def sync(path: Path) -> None:
    """Put a file or a folder's entries on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def environments(directory: Path) -> dict[str, Path]:
    """Folders with an environment, by name; "" for a directory that is a validator's alone.

    The latest index comes first: a copy of it may lag behind the validator's, and never be ahead. Raises Failure.
    """
    if (directory / DATA_NAME).is_file():
        return {"": directory}
    found = {name: directory / name for name in (LATEST, VALIDATOR) if (directory / name / DATA_NAME).is_file()}
    if VALIDATOR not in found:
        raise Failure(f"there is no state directory at {directory}")
    return found


def copies_of(directory: Path) -> dict[str, Copy]:
    """How to copy a directory that no process has open; a copy raises Locked if one has, StorageFailure."""

    def copier(path: Path, is_latest: bool) -> Copy:
        def copy(folder: Path) -> None:
            tables = LatestTable if is_latest else Table
            with Store.open(path, tables=tables, is_derived=is_latest) as store:
                store.copy_to(folder, compact=True)

        return copy

    return {name: copier(path, name == LATEST) for name, path in environments(directory).items()}


@dataclass(frozen=True, slots=True)
class _Running:
    """A copy that is being made, or whose result nobody has come for yet."""

    target: Path
    task: asyncio.Task[int]


class Admin:
    """The token of one running node, and what it is good for."""

    def __init__(self, directory: Path) -> None:
        self._path, self._token = directory / ADMIN_NAME, secrets.token_hex(32)
        self._running: _Running | None = None
        self._is_announced = False

    def announce(self, host: str, port: int) -> None:
        """Leave address and token in the directory, for its owner alone. Raises OSError."""
        near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        url = f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"
        self._is_announced = True
        self._path.unlink(missing_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"url": url, "token": self._token}, file)

    def withdraw(self) -> None:
        """The node ends; what another one has announced stays."""
        if self._is_announced:
            self._path.unlink(missing_ok=True)

    def methods(self, thread: NodeThread) -> dict[str, Method]:
        """mana_backup(token, absolute path): {done, bytes}; call it again until it is done."""

        async def backup(token: str, target: str) -> dict[str, Any]:
            if not hmac.compare_digest(token.encode(), self._token.encode()):
                raise RpcError(INVALID_REQUEST, f"mana_backup needs the token of {ADMIN_NAME} in the node's directory")
            path = Path(target)
            if not path.is_absolute():
                raise RpcError(INVALID_REQUEST, "the path of a backup is absolute")
            return await self._backup(thread, path)

        return {"mana_backup": backup}

    async def _backup(self, thread: NodeThread, target: Path) -> dict[str, Any]:
        """One copy at a time; several may wait for the same one."""
        running = self._running
        if running is not None and running.target != target and not running.task.done():
            raise RpcError(RESOURCE_UNAVAILABLE, "another backup is being made")
        if running is None or running.target != target:
            running = self._running = _Running(target, asyncio.create_task(_copy(thread, target)))
            running.task.add_done_callback(self._forget_later)
        await asyncio.wait({running.task}, timeout=WAIT_SECONDS)
        if not running.task.done():
            return {"done": False, "bytes": 0}
        self._forget(running.task)
        try:
            return {"done": True, "bytes": running.task.result()}
        except Failure as failure:
            raise RpcError(RESOURCE_UNAVAILABLE, str(failure)) from None

    def _forget_later(self, task: asyncio.Task[int]) -> None:
        """Whoever asked comes again for the result; if he is gone, the next one to ask for this path wants a copy."""
        if not task.cancelled():
            task.exception()  # told to whoever asks; if nobody does, it is no fault of the loop
        asyncio.get_running_loop().call_later(KEPT_SECONDS, self._forget, task)

    def _forget(self, task: asyncio.Task[int]) -> None:
        if self._running is not None and self._running.task is task:
            self._running = None


async def _copy(thread: NodeThread, target: Path) -> int:
    """Copy a running node's environments, not on its chain's thread; their bytes."""
    validator, latest = await thread.call(lambda chain: (chain.validator, chain.latest))
    copies: dict[str, Copy] = {
        LATEST: latest.copy_to,
        VALIDATOR: lambda folder: validator.store.copy_to(folder, compact=True),
    }
    return await asyncio.to_thread(copy_whole, target, copies)
