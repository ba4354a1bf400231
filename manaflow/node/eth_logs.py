"""eth_getLogs: bounded in blocks and results, and read block by block only where a bloom filter lets a log be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
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
BYTES_AT_ONCE: Final = 1 << 20
"""The same in bytes of the logs that are read; a block is read whole."""
MAX_BLOOMS: Final = 1 << 16
"""Blocks whose blooms are kept: 16 MiB."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """What one query may ask for."""

    blocks: int = 10_000
    logs: int = 10_000
    """In their answer they have at most `Limits.max_response_bytes`."""


class _Room:
    """What is left of one answer."""

    FORM_BYTES = 500
    """Of a log's JSON, at least, beside its data."""

    def __init__(self, logs: int, size: int) -> None:
        self._logs, self._size = logs, size
        self._logs_left, self._size_left = logs, size

    def take(self, log: Form) -> Form:
        """The log itself. Raises RpcError -32005 if there is no room for it."""
        self._logs_left -= 1
        self._size_left -= self.FORM_BYTES + len(log["data"])
        if self._logs_left < 0:
            raise limit_exceeded(f"query returned more than {self._logs} results")
        if self._size_left < 0:
            raise limit_exceeded(f"query returned more than {self._size} bytes of logs")
        return log


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
        wanted, room = log_filter(query, self._limits), _Room(self._log_limits.logs, self._limits.max_response_bytes)
        if query.block_hash is not None:
            return await self._thread.call(_logs_of_block, query.block_hash, wanted, room)
        at, last = await self._thread.call(range_of, query)
        if last - at >= self._log_limits.blocks:
            raise limit_exceeded(f"logs of {last - at + 1} blocks, at most {self._log_limits.blocks}")
        found: list[Any] = []
        while at <= last:
            more, at = await self._thread.call(self._scan, wanted, at, last, room)
            found += more
        return found

    def _scan(self, chain: Chain, wanted: LogFilter, first: int, last: int, room: _Room) -> tuple[list[Any], int]:
        """The logs of some blocks from `first` on, and the number of the next. On the chain's thread."""
        found: list[Any] = []
        number, left = first, BYTES_AT_ONCE
        while number <= last and number < first + BLOCKS_AT_ONCE and left > 0:
            reading = self._reading_at(chain, number, wanted)
            if reading is not None:
                left -= sum(len(receipt.logs_rlp) for receipt in reading.sealed.receipts)
                found += map(room.take, matching(reading, wanted))
            number += 1
        return found, number

    def _reading_at(self, chain: Chain, number: int, wanted: LogFilter) -> Reading | None:
        """A block that may hold what is wanted; None if it does not, or was taken back meanwhile."""
        header = chain.header(number)
        bloom = None if header is None else self._blooms.get(header.hash)
        if header is None or (bloom is not None and not may_hold(bloom, wanted)):
            return None
        reading = reading_of(chain, header.hash)
        if reading is not None:
            self._keep(reading)
        return reading

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
    return bloom != 0 and all(place is None or any(bytes.fromhex(one[2:]) in kept for one in place) for place in places)


def matching(reading: Reading, wanted: LogFilter) -> Iterator[Form]:
    """The logs of a block that a filter asks for, one after another."""
    if may_hold(int.from_bytes(reading.bloom), wanted):
        yield from filter(wanted.matches, reading.each_log())


def _logs_of_block(chain: Chain, block_hash: bytes, wanted: LogFilter, room: _Room) -> list[Form]:
    reading = reading_of(chain, block_hash)
    if reading is None:
        raise RpcError(SERVER_ERROR, "unknown block")
    return list(map(room.take, matching(reading, wanted)))


_LATEST: Final = BlockTag(name="latest")
