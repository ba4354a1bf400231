"""Real sealed blocks with all that executing their leaves needs, once per test process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from manaflow._native import Codes
from manaflow.evm.calls import Call, calls_of
from manaflow.evm.envelopes import decode_envelopes
from manaflow.evm.environment import environment_of
from manaflow.evm.executor import Environment
from manaflow.evm.native import execute_block
from manaflow.moves.block import Block
from manaflow.moves.columns import I64, U8, Leaves, Moves
from tests.replays import Chain, chain


@dataclass(frozen=True, eq=False)
class Sealed:
    """A replayed block. `calls` and `senders` (uint8[t, 20]) have one row per leaf."""

    chain: Chain
    block: Block
    environment: Environment
    calls: list[Call | None]
    senders: U8
    codes: Codes

    @property
    def executed(self) -> list[int]:
        """The leaves that execute something."""
        return [leaf for leaf, call in enumerate(self.calls) if call is not None]

    def judge(
        self,
        moves: Moves | None = None,
        leaves: Leaves | None = None,
        senders: U8 | None = None,
        codes: Codes | None = None,
        order: I64 | list[int] | None = None,
        threads: int = 1,
    ) -> list[int]:
        """The verdict on each leaf, with what is given in place of the block's own."""
        return execute_block(
            self.environment,
            moves or self.block.moves,
            leaves or self.block.leaves,
            self.calls,
            self.senders if senders is None else senders,
            self.codes if codes is None else codes,
            None if order is None else np.array(order, np.int64),
            threads,
        ).tolist()


@cache
def sealed(name: str) -> Sealed:
    replayed = chain(name)
    block = replayed.blocks[0]
    calls = calls_of(replayed.config, block)
    senders = np.zeros((len(calls), 20), np.uint8)
    senders[[isinstance(call, bytes) for call in calls]] = decode_envelopes(block.envelopes).sender
    codes = Codes()
    for code in replayed.codes.values():
        codes.add(code)
    return Sealed(replayed, block, environment_of(block.header, replayed.config), calls, senders, codes)
