"""A node's first transaction finds everything compiled."""

from __future__ import annotations

import asyncio
import multiprocessing
import pkgutil
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from unittest import mock

import pytest
from numba.core.dispatcher import Dispatcher
from structlog.testing import capture_logs

from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.node import rehearsal
from manaflow.node.chain import Events
from manaflow.node.opening import Plan, Producing, open_chain
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.service import Options, Service
from manaflow.validator import kernels
from tests.node.processes import rich, transfer
from tests.node.test_http_link import plan


def compiled() -> set[tuple[str, str]]:
    """Every kernel that this process has, with the types it has it for."""
    found = set()
    for module in pkgutil.iter_modules(kernels.__path__, kernels.__name__ + "."):
        for name, kernel in vars(import_module(module.name)).items():
            if isinstance(kernel, Dispatcher):
                found |= {(f"{module.name}.{name}", str(types)) for types in kernel.signatures}
    return found


def compiled_by_a_first_transaction(path: Path) -> set[tuple[str, str]]:
    """In a process that has compiled nothing."""
    rich()

    def make(events: Events) -> OwnedChain:
        return open_chain(plan(path, producing=Producing(DEVELOPMENT_KEY)), events)

    async def main() -> set[tuple[str, str]]:
        service = Service(make, Options(port=0))
        ready = asyncio.Event()
        running = asyncio.create_task(service.run(ready.set, handle_signals=False))
        await asyncio.wait_for(ready.wait(), 300)
        before = compiled()
        assert before
        await service.thread.submit(transfer(0, 0))
        assert await service.thread.call(lambda chain: chain.head[0].number) == 1
        service.shutdown()
        await running
        return compiled() - before

    return asyncio.run(main())


def test_nothing_is_left_to_compile_when_the_port_is_open(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(compiled_by_a_first_transaction, tmp_path).result() == set()


def test_a_rehearsal_leaves_nothing_behind(tmp_path: Path) -> None:
    with mock.patch.object(rehearsal, "MEMORY", str(tmp_path)), capture_logs() as logs:
        rehearsal.rehearse()
    assert logs == []
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_cannot_rehearse_starts_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(plan: Plan, events: Events) -> OwnedChain:
        raise OSError("no room")

    monkeypatch.setattr(rehearsal, "open_chain", fails)
    with capture_logs() as logs:
        rehearsal.rehearse()
    assert [(log["event"], log["why"]) for log in logs] == [("not_rehearsed", "no room")]
