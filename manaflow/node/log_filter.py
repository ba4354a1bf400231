"""Which logs a filter asks for (eth_getLogs, eth_newFilter, eth_subscribe "logs"). Pure.

A log is JSON-ready as the methods return it: `address` and `topics` are lower-case hex strings, `blockNumber` is a
Quantity. What else it holds, `removed` included, is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from manaflow.node.encoding import Addresses, BlockTag, Hash, Topics, data
from manaflow.node.errors import invalid_params
from manaflow.node.limits import Limits

MAX_TOPICS = 4
"""A log has no more (LOG4)."""

Log = Mapping[str, Any]


class LogQuery(msgspec.Struct, rename="camel", frozen=True):
    """A filter as clients send it; declare parameters with it."""

    from_block: BlockTag | None = None
    to_block: BlockTag | None = None
    block_hash: Hash | None = None
    """One block; excludes the two above (EIP-234)."""
    address: Addresses | None = None
    topics: Topics | None = None


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What a log must have. Built from a LogQuery by `log_filter`."""

    addresses: frozenset[str] | None
    """Any of these; None: any at all. Hex, lower case, as are topics."""
    topics: tuple[frozenset[str] | None, ...]
    """By place, any of these; None: any at all. A log with fewer topics than places does not match."""
    first: int | None = None
    """Block numbers from here on; None: no bound."""
    last: int | None = None
    """Block numbers up to here."""

    def matches(self, log: Log) -> bool:
        """Whether this log is asked for."""
        if self.addresses is not None and log["address"] not in self.addresses:
            return False
        if not self._in_range(log):
            return False
        topics = log["topics"]
        if len(self.topics) > len(topics):
            return False
        return all(wanted is None or topic in wanted for wanted, topic in zip(self.topics, topics, strict=False))

    def _in_range(self, log: Log) -> bool:
        if self.first is None and self.last is None:
            return True
        number = int(log["blockNumber"], 16)
        return (self.first is None or number >= self.first) and (self.last is None or number <= self.last)


def log_filter(query: LogQuery, limits: Limits) -> LogFilter:
    """What a query asks of a log; named blocks and `block_hash` do not bound it. RpcError -32602 where geth refuses."""
    if query.block_hash is not None and (query.from_block is not None or query.to_block is not None):
        raise invalid_params("cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
    topics = query.topics or ()
    if len(topics) > MAX_TOPICS:
        raise invalid_params(f"exceed max topics: {len(topics)}, at most {MAX_TOPICS}")
    first = query.from_block.number if query.from_block else None
    last = query.to_block.number if query.to_block else None
    if first is not None and last is not None and first > last:
        raise invalid_params("invalid block range params")
    return LogFilter(_addresses(query.address, limits), tuple(_place(wanted, limits) for wanted in topics), first, last)


def _addresses(wanted: Addresses | None, limits: Limits) -> frozenset[str] | None:
    """None and an empty list: any address."""
    if not wanted:
        return None
    if len(wanted) > limits.max_filter_addresses:
        raise invalid_params(f"exceed max addresses: {len(wanted)}, at most {limits.max_filter_addresses}")
    return frozenset(map(data, wanted))


def _place(wanted: tuple[bytes, ...] | None, limits: Limits) -> frozenset[str] | None:
    if wanted is None:
        return None
    if len(wanted) > limits.max_filter_topics:
        raise invalid_params(f"exceed max topics per place: {len(wanted)}, at most {limits.max_filter_topics}")
    return frozenset(map(data, wanted))
