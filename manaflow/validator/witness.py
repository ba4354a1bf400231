"""A validator as a challenger's view of the chain: it judges blocks, and finds the moves that contradict a move.

Fulfils `manaflow.fraudproof.challenge.Chain`, which names what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.rules.config import ChainConfig
from manaflow.validator.archive import Archive, Place
from manaflow.validator.conflicts import consumer_before, maker_before, writer_before
from manaflow.validator.validator import Validator

Seat = tuple[int, int]
"""(transaction in the block, move in the transaction)."""


class Witnessed(NamedTuple):
    """A move of the chain, or of the block that is asked about."""

    block: Block
    seat: Seat


class Witness:
    """What a validator in mode `execute` says of blocks; it changes nothing."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator

    @property
    def config(self) -> ChainConfig:
        """The chain's config."""
        return self._validator.config

    @property
    def ancestors(self) -> tuple[tuple[int, bytes], ...]:
        """(number, hash) of the blocks before genesis that the config commits to, ascending."""
        return self._validator.ancestors

    @property
    def head(self) -> tuple[Header, bytes]:
        """Header and hash of the last block."""
        return self._validator.head

    def judge(self, block: Block) -> None:
        """Judge the next block, or by X0 to X5 alone one of the chain. Raises Verdict, or Failure."""
        own = self.header(block.header.number)
        if own is not None and own.hash == block.hash:
            self._validator.judge_execution(block)
        else:
            self._validator.judge_block(block)

    def header(self, number: int) -> Header | None:
        """The header of a block of the chain."""
        return self._validator.header(number)

    def hashes_before(self, number: int) -> list[bytes]:
        """Hashes of all blocks of the chain before `number`, genesis first."""
        with self._validator.archive() as archive:
            numbers = range(self.config.genesis_number, min(number, self.head[0].number + 1))
            return [record.hash for n in numbers if (record := archive.canonical(n)) is not None]

    def code(self, code_hash: bytes) -> bytes | None:
        """The bytes of a code that some stored block brought."""
        return self._validator.code(code_hash)

    def maker(self, block: Block, seat: Seat) -> Witnessed | None:
        """Who made the cell that the move names; None if it is not born before the move's transaction."""
        return self._find(maker_before, block, seat)

    def consumer(self, block: Block, seat: Seat) -> Witnessed:
        """Who consumed the cell that the move names, before it. Raises Failure if nobody did."""
        found = self._find(consumer_before, block, seat)
        assert found is not None
        return found

    def writer(self, block: Block, seat: Seat) -> Witnessed:
        """Who first consumed the location that the move claims to be virgin. Raises Failure if nobody did."""
        found = self._find(writer_before, block, seat)
        assert found is not None
        return found

    def _find(self, search: Callable[[Place, Archive], Place | None], block: Block, seat: Seat) -> Witnessed | None:
        with self._validator.archive() as archive:
            found = search(Place(block, *seat), archive)
        return None if found is None else Witnessed(found.block, (found.transaction, found.move))
