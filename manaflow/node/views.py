"""The two states that calls and reads see: the head's, and the open block's. Each answers `chain.View`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

from manaflow._native import Codes, World
from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.following import Follower
from manaflow.coordinator.latest_index import Cell, LatestIndex, key_of
from manaflow.evm.environment import environment_of
from manaflow.evm.executor import Environment
from manaflow.moves.header import Header
from manaflow.moves.marks import Location
from manaflow.rules.config import ChainConfig

CodeOf = Callable[[bytes], bytes | None]
"""Code bytes by keccak-256."""


class HeadView:
    """The state after the head. It is good until the head changes."""

    def __init__(
        self, config: ChainConfig, header: Header, latest: LatestIndex, follower: Follower, code_of: CodeOf
    ) -> None:
        """latest, follower: at the block of `header`."""
        self._config, self.header = config, header
        self._latest, self._follower, self._code_of = latest, follower, code_of

    @cached_property
    def environment(self) -> Environment:
        """Of the head."""
        return environment_of(self.header, self._config)

    @property
    def world(self) -> World:
        """The follower's."""
        return self._follower.world

    @property
    def codes(self) -> Codes:
        """The follower's."""
        return self._follower.codes

    @cached_property
    def block_hashes(self) -> Mapping[int, bytes]:
        """Of the 256 blocks before the head."""
        return self._follower.block_hashes(self.header)

    def cell(self, location: Location) -> Cell:
        """The latest index's."""
        return self._latest.cell(location)

    def code(self, code_hash: bytes) -> bytes | None:
        """A sealed code."""
        return self._code_of(code_hash)


class PendingView:
    """The open block's state as a coordinator knows it, with what it has sent and not heard of yet."""

    def __init__(
        self, config: ChainConfig, header: Header, hashes: Mapping[int, bytes], core: Coordinator, code_of: CodeOf
    ) -> None:
        """header: of the block that `core` has been told is open; hashes: what BLOCKHASH answers in it."""
        self._config, self.header, self.block_hashes = config, header, hashes
        self._view, self._code_of = core.view, code_of

    @cached_property
    def environment(self) -> Environment:
        """Of the open block."""
        return environment_of(self.header, self._config)

    @property
    def world(self) -> World:
        """The coordinator's."""
        return self._view.world

    @property
    def codes(self) -> Codes:
        """The coordinator's."""
        return self._view.codes

    def cell(self, location: Location) -> Cell:
        """Number 0 for a cell that the open block has made."""
        return Cell.of(self._view.peek(key_of(location)))

    def code(self, code_hash: bytes) -> bytes | None:
        """A sealed code, or one that the open block makes."""
        return self._view.codes.get(code_hash) or self._code_of(code_hash)
