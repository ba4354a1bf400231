"""A node as a process: what is interrupted, and when."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.errors import Failure
from manaflow.node.chain import Events
from manaflow.node.opening import Producing, open_chain
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.service import Options, Service
from manaflow.validator.validator import Validator
from tests.node.test_http_link import plan


class Slow:
    """Opens a chain when the test lets it."""

    def __init__(self, path: Path) -> None:
        self.path, self.begun, self.may_end = path, threading.Event(), threading.Event()

    def open(self, events: Events) -> OwnedChain:
        self.begun.set()
        assert self.may_end.wait(20)
        return open_chain(plan(self.path, producing=Producing(DEVELOPMENT_KEY, seconds=None)), events)


def test_whoever_interrupts_a_node_that_opens_ends_it(tmp_path: Path) -> None:
    """Its chain's thread is no daemon: if it went on, the process would never end."""
    slow = Slow(tmp_path)

    async def main() -> None:
        service = Service(slow.open, Options(port=0))
        running = asyncio.create_task(service.run(lambda: None, handle_signals=False))
        await asyncio.to_thread(slow.begun.wait, 10)
        running.cancel()
        asyncio.get_running_loop().call_later(0.1, slow.may_end.set)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 20)

    asyncio.run(main())
    names = [thread.name for thread in threading.enumerate()]
    assert "manaflow-chain" not in names
    Validator.open(tmp_path / "validator").close()  # nobody has it open any more


def test_a_node_that_cannot_listen_lets_its_chain_go(tmp_path: Path) -> None:
    slow = Slow(tmp_path)
    slow.may_end.set()

    async def main() -> None:
        with pytest.raises(Failure, match="cannot listen"):
            await Service(slow.open, Options(host="192.0.2.1", port=1)).run(lambda: None, handle_signals=False)

    asyncio.run(main())
    Validator.open(tmp_path / "validator").close()
