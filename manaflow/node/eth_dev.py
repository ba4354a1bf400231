"""What development nodes have besides: blocks on demand and a clock that can be moved, under the names of others.

Balances, codes and slots cannot be set: they change by moves alone, and a block that changed one without would be
convicted by anybody.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from manaflow.errors import Failure
from manaflow.node.chain_thread import NodeThread
from manaflow.node.encoding import Quantity64, quantity
from manaflow.node.errors import SERVER_ERROR, RpcError, invalid_params
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.parameters import Method
from manaflow.node.validator_role import ValidatorRole

MAX_BLOCKS: Final = 1_000
"""Of one call."""
LAST_TIME: Final = 253_402_300_799
"""The clock of blocks goes no further: the end of the year 9999. Headers have 64 bits for it."""


class Producing(Protocol):
    """A node's own producer."""

    async def seal(self, timestamp: int | None = None) -> int:
        """Seal the open block, also an empty one; returns its timestamp. timestamp: in seconds, None for now.

        Raises Failure if the timestamp is not later than the head's.
        """
        ...

    async def advance(self, seconds: int) -> int:
        """Move the clock of blocks ahead; by how much it is ahead in all. Raises Failure if it goes no further."""
        ...

    async def set_next_timestamp(self, timestamp: int) -> None:
        """Of the next block; the clock goes on from there. Raises Failure if it is not later than the head's."""
        ...


class OwnProducing:
    """A producer that this node's chain has."""

    def __init__(self, thread: NodeThread) -> None:
        self._thread = thread

    async def seal(self, timestamp: int | None = None) -> int:
        """See Producing."""
        return await self._thread.call(_seal, timestamp)

    async def advance(self, seconds: int) -> int:
        """See Producing."""
        return await self._thread.call(_advance, seconds)

    async def set_next_timestamp(self, timestamp: int) -> None:
        """See Producing."""
        await self._thread.call(_set_next_timestamp, timestamp)


def _advance(chain: OwnedChain, seconds: int) -> int:
    producer = _producer(chain)
    _check_time(producer.now + seconds)
    return producer.advance(seconds)


def _set_next_timestamp(chain: OwnedChain, timestamp: int) -> None:
    _check_time(timestamp)
    _producer(chain).set_next_timestamp(timestamp)


def _check_time(timestamp: int) -> None:
    if timestamp > LAST_TIME:
        raise Failure(f"timestamp {timestamp}: the clock goes no further than {LAST_TIME}")


def _seal(chain: OwnedChain, timestamp: int | None) -> int:
    if timestamp is not None:
        _set_next_timestamp(chain, timestamp)
    return chain.seal().header.timestamp


def _producer(chain: OwnedChain) -> ValidatorRole:
    if chain.producer is None:
        raise Failure("this node has no open block: ask a validator")
    return chain.producer


class DevMethods:
    """Under the names that ganache, hardhat and anvil gave them."""

    def __init__(self, producing: Producing) -> None:
        self._producing = producing

    def methods(self) -> dict[str, Method]:
        """By name."""
        methods: dict[str, Method] = {
            "evm_mine": self.mine,
            "evm_increaseTime": self.increase_time,
            "evm_setNextBlockTimestamp": self.set_timestamp,
        }
        for family in ("hardhat", "anvil"):
            methods[f"{family}_mine"] = self.mine_many
        methods["anvil_setNextBlockTimestamp"] = self.set_timestamp
        methods["anvil_increaseTime"] = self.increase_time
        return methods

    async def mine(self, options: Any = None) -> str:
        """evm_mine: seal a block. options: its timestamp, or {"timestamp": ..., "blocks": ...}."""
        wanted = options if isinstance(options, dict) else {"timestamp": options}
        timestamp = None if wanted.get("timestamp") is None else _number(wanted["timestamp"])
        blocks = 1 if wanted.get("blocks") is None else _number(wanted["blocks"])
        await self._mine(blocks, 0, timestamp)
        return quantity(0)

    async def mine_many(self, blocks: Any = 1, interval: Any = 0) -> None:
        """hardhat_mine, anvil_mine: seal so many blocks, with so many seconds between two."""
        await self._mine(_number(blocks), _number(interval), None)

    async def increase_time(self, seconds: Any) -> int:
        """evm_increaseTime: by how many seconds the clock is ahead in all."""
        try:
            return await self._producing.advance(_number(seconds))
        except Failure as failure:
            raise RpcError(SERVER_ERROR, str(failure)) from None

    async def set_timestamp(self, timestamp: Any) -> None:
        """evm_setNextBlockTimestamp."""
        try:
            await self._producing.set_next_timestamp(_number(timestamp))
        except Failure as failure:
            raise RpcError(SERVER_ERROR, str(failure)) from None

    async def _mine(self, blocks: int, interval: int, timestamp: int | None) -> None:
        if blocks > MAX_BLOCKS:
            raise invalid_params(f"{blocks} blocks, at most {MAX_BLOCKS}")
        try:
            for _ in range(blocks):
                sealed = await self._producing.seal(timestamp)
                timestamp = sealed + interval if interval else None
        except Failure as failure:
            raise RpcError(SERVER_ERROR, str(failure)) from None


def _number(value: Any) -> int:
    """A Quantity, or a JSON number: clients differ."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
        return value
    try:
        return int(Quantity64.parse(value))
    except ValueError as error:
        raise invalid_params(f"invalid argument 0: {error}") from None
