"""txpool_*: what waits in this node's pool, in geth's forms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from eth_utils.address import to_checksum_address

from manaflow.coordinator.pool import Entry
from manaflow.moves.envelopes import decode_envelope
from manaflow.node.chain_thread import NodeThread
from manaflow.node.encoding import Address, quantity
from manaflow.node.errors import limit_exceeded
from manaflow.node.eth_blocks import pending_form
from manaflow.node.eth_forms import Form
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.parameters import Method

MAX_SHOWN: Final = 4_096
"""Transactions of a pool that is shown whole."""


class PoolMethods:
    """What can be filled now is `pending`; what waits behind a gap of nonces is `queued`."""

    def __init__(self, thread: NodeThread) -> None:
        self._thread = thread

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            "txpool_status": self.status,
            "txpool_content": self.content,
            "txpool_contentFrom": self.content_from,
            "txpool_inspect": self.inspect,
        }

    async def status(self) -> Form:
        """txpool_status: how many of each."""
        return await self._thread.call(_status)

    async def content(self) -> Form:
        """txpool_content: the transactions, by sender and nonce. Raises RpcError -32005 for a large pool."""
        return await self._thread.call(_all, lambda entry: pending_form(entry.envelope))

    async def content_from(self, sender: Address) -> Form:
        """txpool_contentFrom: of one sender, by nonce."""
        return await self._thread.call(_content_from, sender)

    async def inspect(self) -> Form:
        """txpool_inspect: a line for each. Raises RpcError -32005 for a large pool."""
        return await self._thread.call(_all, _line)


def _split(chain: OwnedChain, sender: bytes) -> tuple[list[Entry], list[Entry]]:
    """(pending, queued) of a sender, by ascending nonce."""
    core = chain.coordinator.core
    entries, nonce = core.pool.of(sender), core.view.sealed_nonce(sender)
    ready = 0
    while ready < len(entries) and entries[ready].nonce <= nonce + ready:
        ready += 1
    return entries[:ready], entries[ready:]


def _status(chain: OwnedChain) -> Form:
    rows = [_split(chain, sender) for sender in chain.coordinator.core.pool.senders()]
    pending, queued = sum(len(row) for row, _ in rows), sum(len(row) for _, row in rows)
    return {"pending": quantity(pending), "queued": quantity(queued)}


def _all(chain: OwnedChain, show: Callable[[Entry], Any]) -> Form:
    pool = chain.coordinator.core.pool
    if len(pool) > MAX_SHOWN:
        raise limit_exceeded(f"{len(pool)} transactions wait, at most {MAX_SHOWN} are shown: ask txpool_contentFrom")
    form: Form = {"pending": {}, "queued": {}}
    for sender in pool.senders():
        for kind, entries in zip(form, _split(chain, sender), strict=True):
            if entries:
                form[kind][to_checksum_address(sender)] = _by_nonce(entries, show)
    return form


def _content_from(chain: OwnedChain, sender: bytes) -> Form:
    pending, queued = _split(chain, sender)

    def show(entry: Entry) -> Form:
        return pending_form(entry.envelope)

    return {"pending": _by_nonce(pending, show), "queued": _by_nonce(queued, show)}


def _by_nonce(entries: Iterable[Entry], show: Callable[[Entry], Any]) -> Form:
    return {str(entry.nonce): show(entry) for entry in entries}


def _line(entry: Entry) -> str:
    transaction = decode_envelope(entry.envelope)
    to = "0x" + transaction.to.hex() if transaction.to else "contract creation"
    return f"{to}: {transaction.value} wei + {transaction.gas_limit} gas × {transaction.max_fee} wei"
