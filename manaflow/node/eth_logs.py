"""eth_getLogs: bounded in blocks and results, and read block by block only where a bloom filter lets a log be."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from eth_bloom.bloom import BloomFilter

from manaflow.node.chain import Chain, ChainThread
from manaflow.node.encoding import BlockTag
from manaflow.node.errors import SERVER_ERROR, RpcError, invalid_params, limit_exceeded
from manaflow.node.eth_forms import Form
from manaflow.node.eth_sealed import Reading
from manaflow.node.eth_selection import number_of, reading_of
from manaflow.node.limits import Limits
from manaflow.node.log_filter import LogFilter, LogQuery, log_filter
from manaflow.node.parameters import Method

BLOCKS_AT_ONCE: Final = 64
"""Of one query before other calls get their turn on the chain's thread."""
MAX_BLOOMS: Final = 1 << 16
"""Blocks whose blooms are kept: 16 MiB."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """What one query may ask for."""

    blocks: int = 10_000
    logs: int = 10_000


class LogMethods:
    """eth_getLogs."""

    def __init__(self, thread: ChainThread, limits: Limits, log_limits: LogLimits | None = None) -> None:
        self._thread, self._limits, self._log_limits = thread, limits, log_limits or LogLimits()
        self._blooms: OrderedDict[bytes, int] = OrderedDict()  # by block hash, the longest unused first

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {"eth_getLogs": self.get_logs}

    async def get_logs(self, query: LogQuery) -> list[Any]:
        """eth_getLogs. Raises RpcError -32005 for too many blocks or logs."""
        wanted = log_filter(query, self._limits)
        if query.block_hash is not None:
            return await self._thread.call(_logs_of_block, query.block_hash, wanted)
        first, last = await self._thread.call(range_of, query)
        if last - first >= self._log_limits.blocks:
            raise limit_exceeded(f"logs of {last - first + 1} blocks, at most {self._log_limits.blocks}")
        found: list[Any] = []
        for start in range(first, last + 1, BLOCKS_AT_ONCE):
            found += await self._thread.call(self._scan, wanted, start, min(start + BLOCKS_AT_ONCE - 1, last))
            if len(found) > self._log_limits.logs:
                raise limit_exceeded(f"query returned more than {self._log_limits.logs} results")
        return found

    def _scan(self, chain: Chain, wanted: LogFilter, first: int, last: int) -> list[Any]:
        """On the chain's thread."""
        return [log for number in range(first, last + 1) for log in self._logs_at(chain, number, wanted)]

    def _logs_at(self, chain: Chain, number: int, wanted: LogFilter) -> list[Any]:
        header = chain.header(number)
        if header is None:
            return []  # taken back meanwhile
        block_hash = header.hash
        bloom = self._blooms.get(block_hash)
        if bloom is not None and not may_hold(bloom, wanted):
            return []
        reading = reading_of(chain, block_hash)
        if reading is None:
            return []
        self._keep(reading)
        return matching(reading, wanted)

    def _keep(self, reading: Reading) -> None:
        self._blooms[reading.hash] = int.from_bytes(reading.bloom)
        self._blooms.move_to_end(reading.hash)
        if len(self._blooms) > MAX_BLOOMS:
            self._blooms.popitem(last=False)


def range_of(chain: Chain, query: LogQuery) -> tuple[int, int]:
    """(first, last) block of a query, the last one at most the head. Raises RpcError -32602 as geth does."""
    head = chain.head[0].number
    first, last = (
        head if tag is None else number_of(chain, tag) for tag in (query.from_block, query.to_block or _LATEST)
    )
    if first > last:
        raise invalid_params("invalid block range params")
    return max(first, chain.config.genesis_number), min(last, head)


def may_hold(bloom: int, wanted: LogFilter) -> bool:
    """False if no log under this bloom can match."""
    places = [wanted.addresses, *wanted.topics]
    kept = BloomFilter(bloom)
    return all(place is None or any(bytes.fromhex(one[2:]) in kept for one in place) for place in places)


def matching(reading: Reading, wanted: LogFilter) -> list[Any]:
    """The logs of a block that a filter asks for."""
    if not may_hold(int.from_bytes(reading.bloom), wanted):
        return []
    return [form for form in reading.log_forms() if wanted.matches(form)]


def _logs_of_block(chain: Chain, block_hash: bytes, wanted: LogFilter) -> list[Form]:
    reading = reading_of(chain, block_hash)
    if reading is None:
        raise RpcError(SERVER_ERROR, "unknown block")
    return matching(reading, wanted)


_LATEST: Final = BlockTag(name="latest")
