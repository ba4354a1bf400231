"""The `mana_*` methods and subscriptions, together (docs/RPC.md, section mana)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from manaflow.node.chain import SealedBlock
from manaflow.node.chain_thread import NodeThread
from manaflow.node.encoding import Hash, data, quantity
from manaflow.node.errors import invalid_params
from manaflow.node.mana_fill import FillMethods
from manaflow.node.mana_reads import ReadMethods
from manaflow.node.mana_roles import RoleMethods
from manaflow.node.parameters import Method
from manaflow.node.subscriptions import VERDICTS, Publisher, View, whole

HEADS: Final = "manaHeads"


def mana_methods(thread: NodeThread, *, may_seal: bool = True) -> dict[str, Method]:
    """All of them, by name. may_seal: whether any client may have the open block sealed."""
    methods = {**ReadMethods(thread).methods(), **FillMethods(thread).methods(), **RoleMethods(thread).methods()}
    if not may_seal:
        del methods["mana_seal"]
    return methods


def _verdicts_view(parameter: Any) -> View:
    """All verdicts, or those of one transaction."""
    if parameter is None:
        return lambda item: item
    try:
        wanted = data(Hash.parse(parameter))
    except ValueError as error:
        raise invalid_params(f"invalid argument 1: {error}") from None
    return lambda item: item if item["txid"] == wanted else None


MANA_SUBSCRIPTIONS: Final[Mapping[str, Callable[[Any], View]]] = {HEADS: whole, VERDICTS: _verdicts_view}
"""eth_subscribe's further kinds. "manaHeads": {number, hash, parentHash, removed} of each new or undone head.
"manaVerdicts", with a txid or nothing: {kind, txid, ...} of each transaction: "admitted" {block}; "dropped" {reason,
detail, winner}; "lost", what its signer may do (messages.Notice.as_json)."""


class ManaEvents:
    """`chain.Events` for "manaHeads": called on the chain's thread, publishes on the event loop's."""

    def __init__(self, publisher: Publisher, loop: asyncio.AbstractEventLoop) -> None:
        self._publisher, self._loop = publisher, loop

    def sealed(self, block: SealedBlock) -> None:
        """See chain.Events."""
        self._tell(block, removed=False)

    def undone(self, block: SealedBlock) -> None:
        """See chain.Events."""
        self._tell(block, removed=True)

    def accepted(self, txid: bytes, envelope: bytes) -> None:
        """Nothing: eth_subscribe has newPendingTransactions."""

    def notice(self, kind: str, item: Mapping[str, Any]) -> None:
        """Nothing: EthEvents tells verdicts."""

    def _tell(self, block: SealedBlock, *, removed: bool) -> None:
        if self._publisher.wants(HEADS):
            header = block.block.header
            item = {
                "number": quantity(header.number),
                "hash": data(block.block.hash),
                "parentHash": data(header.parent_hash),
                "removed": removed,
            }
            self._loop.call_soon_threadsafe(self._publisher.publish, HEADS, item)
