"""What happens on a chain, told to whoever asked; and nothing made for nobody."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

from manaflow.node.chain import SealedBlock
from manaflow.node.eth_events import ITEMS_AT_ONCE, TURN_SECONDS, EthEvents
from tests.manaflow_chain import Producer


class Listener:
    """A Publisher that asks for some kinds."""

    def __init__(self, *kinds: str) -> None:
        self.kinds, self.heard = kinds, list[tuple[str, Any]]()

    def wants(self, kind: str) -> bool:
        return kind in self.kinds

    def publish(self, kind: str, item: Any) -> None:
        self.heard.append((kind, item))


def told(listener: Listener, envelope: bytes = b"\x02") -> list[tuple[str, Any]]:
    """What it hears of a block with one transfer, and of everything else that can happen."""
    producer = Producer()
    filled = producer.seal([producer.sign(0, b"\x77" * 20, value=1)])
    block = SealedBlock(filled.block, filled.receipts, 1)

    async def run() -> None:
        events = EthEvents(listener, asyncio.get_running_loop())
        events.accepted(bytes(32), envelope)
        events.sealed(block)
        events.undone(block)
        events.notice("lost", {"txid": "0x12"})
        await asyncio.sleep(0)

    asyncio.run(run())
    return listener.heard


def test_nothing_is_made_that_nobody_wants() -> None:
    assert told(Listener(), b"no envelope: whoever reads it fails") == []


def test_each_kind_by_itself() -> None:
    ((kind, head),) = told(Listener("newHeads"))
    assert (kind, head["number"], "transactions" in head) == ("newHeads", "0x1", False)
    assert told(Listener("logs")) == []  # a transfer has none
    assert told(Listener("manaVerdicts")) == [("manaVerdicts", {"kind": "lost", "txid": "0x12"})]
    envelope = Producer().sign(0, b"\x77" * 20)
    ((kind, pending),) = told(Listener("newPendingTransactions"), envelope)
    assert (kind, pending["to"], pending["blockHash"]) == ("newPendingTransactions", "0x" + "77" * 20, None)


def turns(listener: Listener, count: int) -> list[int]:
    """How much it has heard after each turn of the event loop, of so many items of one block."""

    async def run() -> list[int]:
        events = EthEvents(listener, asyncio.get_running_loop())
        events._put("manaVerdicts", [{"txid": hex(i)} for i in range(count)])
        heard = [len(listener.heard)]
        while heard[-1] < count:
            await asyncio.sleep(0)
            heard.append(len(listener.heard))
        return heard

    found = asyncio.run(run())
    assert [item["txid"] for _, item in listener.heard] == [hex(i) for i in range(count)]
    return found


def test_others_get_their_turn_while_much_is_published() -> None:
    heard = turns(Listener("manaVerdicts"), 1000)
    assert max(after - before for before, after in pairwise(heard)) <= ITEMS_AT_ONCE

    class Slow(Listener):
        def publish(self, kind: str, item: Any) -> None:
            time.sleep(2 * TURN_SECONDS)
            super().publish(kind, item)

    heard = turns(Slow("manaVerdicts"), 5)
    assert max(after - before for before, after in pairwise(heard)) == 1
