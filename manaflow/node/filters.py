"""Polled filters: eth_newFilter and its family. They keep what happened since the last poll, within bounds."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from manaflow.node.errors import SERVER_ERROR, RpcError, limit_exceeded
from manaflow.node.limits import Clock, Limits
from manaflow.node.log_filter import LogQuery, log_filter
from manaflow.node.parameters import Method
from manaflow.node.rpc import CLIENT
from manaflow.node.subscriptions import LOGS, NEW_HEADS, PENDING, Settled, View, at_once, pending_view

NOT_FOUND = "filter not found"
FORM_BYTES = 500
"""Of an item's JSON, about, beside its data."""


@dataclass(slots=True)
class Filter:
    """One filter: what it sees, and what it has kept."""

    kind: str
    view: View
    query: LogQuery | None
    """Of a log filter."""
    polled: float
    """By the injected clock."""
    client: str
    """The IP address of whoever has made it."""
    items: list[Any] = field(default_factory=list)
    size: int = 0
    """Bytes of their JSON, about."""

    def keep(self, item: Any) -> int:
        """Keep one more; returns its bytes, about."""
        size = size_of(item)
        self.items.append(item)
        self.size += size
        return size


def size_of(item: Any) -> int:
    """Bytes of an item's JSON, about: a hash, a log, a transaction."""
    if not isinstance(item, dict):
        return FORM_BYTES
    return FORM_BYTES + len(item.get("data") or item.get("input") or "")


class Filters:
    """The filters of a server; a Publisher that keeps items for them.

    A filter that nobody polled for `limits.filter_timeout` is dropped, and so is one that has more than
    `limits.max_filter_items`, or than one answer may hold; and the largest, while all together have more than
    `limits.max_buffered_bytes`: a client learns that it missed something, rather than get a part.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Clock,
        get_logs: Callable[[LogQuery], Awaitable[list[Any]]],
        settled: Settled = at_once,
    ) -> None:
        """get_logs: eth_getLogs, for eth_getFilterLogs. settled: is awaited before a filter begins or is polled."""
        self._limits, self._clock, self._get_logs, self._settled = limits, clock, get_logs, settled
        self._filters: OrderedDict[str, Filter] = OrderedDict()  # the longest unpolled first
        self.kept_bytes = 0
        """Of all together, about."""

    def methods(self) -> dict[str, Method]:
        """The six methods, by name."""
        return {
            "eth_newFilter": self.new_filter,
            "eth_newBlockFilter": self.new_block_filter,
            "eth_newPendingTransactionFilter": self.new_pending_filter,
            "eth_getFilterChanges": self.changes,
            "eth_getFilterLogs": self.logs,
            "eth_uninstallFilter": self.uninstall,
        }

    def publish(self, kind: str, item: Any) -> None:
        """See Publisher; kinds that no filter has are passed over."""
        self._expire()
        for name, kept in list(self._filters.items()):
            seen = kept.view(item) if kept.kind == kind else None
            if seen is None:
                continue
            self.kept_bytes += kept.keep(seen)
            if len(kept.items) > self._limits.max_filter_items or kept.size > self._limits.max_response_bytes:
                self._drop(name)
        while self.kept_bytes > self._limits.max_buffered_bytes:
            self._drop(max(self._filters, key=lambda name: self._filters[name].size))

    def wants(self, kind: str) -> bool:
        """See Publisher."""
        return any(kept.kind == kind for kept in list(self._filters.values()))

    async def new_filter(self, query: LogQuery) -> str:
        """eth_newFilter: logs."""
        wanted = log_filter(query, self._limits)
        await self._settled()
        return self._add(LOGS, lambda log: log if wanted.matches(log) else None, query)

    async def new_block_filter(self) -> str:
        """eth_newBlockFilter: hashes of new heads."""
        await self._settled()
        return self._add(NEW_HEADS, lambda head: head["hash"])

    async def new_pending_filter(self, full: bool = False) -> str:
        """eth_newPendingTransactionFilter: hashes, or with `true` the transactions, as in geth."""
        await self._settled()
        return self._add(PENDING, pending_view(full))

    async def changes(self, filter_id: str) -> list[Any]:
        """eth_getFilterChanges: what came since the last poll."""
        await self._settled()
        kept = self._poll(filter_id)
        self.kept_bytes -= kept.size
        items, kept.items, kept.size = kept.items, [], 0
        return items

    async def logs(self, filter_id: str) -> list[Any]:
        """eth_getFilterLogs: all logs of a log filter's query, as eth_getLogs."""
        query = self._poll(filter_id).query
        if query is None:
            raise RpcError(SERVER_ERROR, NOT_FOUND)
        return await self._get_logs(query)

    async def uninstall(self, filter_id: str) -> bool:
        """eth_uninstallFilter: whether it was there."""
        self._expire()
        return self._drop(filter_id)

    def __len__(self) -> int:
        return len(self._filters)

    def _add(self, kind: str, view: View, query: LogQuery | None = None) -> str:
        self._expire()
        if len(self._filters) >= self._limits.max_filters:
            raise limit_exceeded(f"{len(self._filters)} filters on this node")
        client = CLIENT.get()
        if sum(kept.client == client for kept in self._filters.values()) >= self._limits.max_filters_each:
            raise limit_exceeded(f"{self._limits.max_filters_each} filters of this client")
        name = f"0x{secrets.token_hex(16)}"
        self._filters[name] = Filter(kind, view, query, self._clock(), client)
        return name

    def _poll(self, name: str) -> Filter:
        self._expire()
        kept = self._filters.get(name)
        if kept is None:
            raise RpcError(SERVER_ERROR, NOT_FOUND)
        kept.polled = self._clock()
        self._filters.move_to_end(name)
        return kept

    def _expire(self) -> None:
        oldest = self._clock() - self._limits.filter_timeout
        while self._filters:
            name, kept = next(iter(self._filters.items()))
            if kept.polled > oldest:
                return
            self._drop(name)

    def _drop(self, name: str) -> bool:
        """Forget a filter; whether it was there."""
        kept = self._filters.pop(name, None)
        self.kept_bytes -= 0 if kept is None else kept.size
        return kept is not None
