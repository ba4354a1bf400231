"""What coordinators, producers and their operators call: the open block, batches, sealing, declared envelopes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

from manaflow.coordinator.messages import Accepted, Refused
from manaflow.errors import Failure
from manaflow.moves.reply_json import cells_as_json, reply_as_json
from manaflow.moves.wire_batch import decode_batch
from manaflow.node.chain_thread import NodeThread
from manaflow.node.encoding import Data, Hash, Quantity64, data, quantity
from manaflow.node.errors import INTERNAL_ERROR, RESOURCE_UNAVAILABLE, TRANSACTION_REJECTED, RpcError
from manaflow.node.limits import MethodClass, Rate
from manaflow.node.mending import BegunAnew
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.parameters import Method
from manaflow.node.rpc import together

T = TypeVar("T")

COORDINATION_CLASS: Final = MethodClass(
    frozenset({"mana_openBlock", "mana_submitBatch"}),
    everyone=Rate(per_second=200, burst=800),
    each_client=Rate(per_second=50, burst=200),
)
"""How many batches a validator judges; a coordinator that is told to wait fills more into the next one."""


class RoleMethods:
    """See the module."""

    def __init__(self, thread: NodeThread) -> None:
        self._thread = thread

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            "mana_submit": self.submit,
            "mana_openBlock": self.open_block,
            "mana_submitBatch": self.submit_batch,
            "mana_seal": self.seal,
        }

    @together
    async def submit(self, envelope: Data) -> str:
        """mana_submit: take a signed envelope, Ethereum's or declared; its txid, once it is on disk.

        -32003 with {reason, detail, txid} if it is refused.
        """
        match await self._thread.submit(bytes(envelope)):
            case Accepted(txid):
                return data(txid)
            case Refused(txid, reason, detail):
                told = {"reason": reason.value, "detail": detail, "txid": data(txid)}
                raise RpcError(TRANSACTION_REJECTED, f"refused ({reason.value}): {detail}", told)

    async def open_block(self) -> dict[str, Any]:
        """mana_openBlock: what a coordinator needs to fill for the open block; one is opened if none is.

        {header: its RLP (roots and totals are zero), blockHashes: {number: hash} for BLOCKHASH, sequence, cells: as in
        a reply}. -32002 from a node that is no validator.
        """

        def read(chain: OwnedChain) -> dict[str, Any]:
            opened = chain.open_block()
            hashes = {quantity(number): data(found) for number, found in opened.block_hashes.items()}
            return {
                "header": data(opened.header.encode()),
                "blockHashes": hashes,
                "sequence": opened.sequence,
                "cells": cells_as_json(opened.cells),
            }

        return await self._ask(read)

    async def submit_batch(self, batch: Data, since: Quantity64, opened: Hash | None = None) -> dict[str, Any]:
        """mana_submitBatch(batch file of wire_batch.py, sequence that is known, hash of the open block's header).

        The reply as reply_json.py writes it; what it says is admitted is on disk. An empty batch asks what others have
        done. -32002 if another block is open, or from a node that is no validator; -32000 with the verdict (B1) for a
        file that is no batch; -32603 if this node fails at it: nothing of it is admitted.
        """
        decoded = await asyncio.to_thread(decode_batch, bytes(batch))  # a small file may take long

        def admit(chain: OwnedChain) -> dict[str, Any]:
            return reply_as_json(chain.admit(decoded, int(since), None if opened is None else bytes(opened)))

        return await self._ask(admit)

    async def seal(self) -> dict[str, str]:
        """mana_seal: seal the open block now, empty or not: {number, hash}."""

        def run(chain: OwnedChain) -> dict[str, str]:
            block = chain.seal()
            return {"number": quantity(block.header.number), "hash": data(block.hash)}

        return await self._ask(run)

    async def _ask(self, run: Callable[[OwnedChain], T]) -> T:
        try:
            return await self._thread.call(run)
        except BegunAnew as error:
            raise RpcError(INTERNAL_ERROR, str(error)) from None
        except Failure as error:
            raise RpcError(RESOURCE_UNAVAILABLE, str(error)) from None
