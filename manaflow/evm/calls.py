"""What each leaf of a sealed block executes."""

from __future__ import annotations

from manaflow.evm.environment import system_call
from manaflow.moves.block import Block
from manaflow.moves.leaf import SystemKind
from manaflow.rules.config import ChainConfig
from manaflow.rules.system import expected_system_leaves

Call = bytes | tuple[bytes, bytes]
"""An envelope, or (to, data) of a system call."""


def calls_of(config: ChainConfig, block: Block) -> list[Call | None]:
    """The call of each leaf, in the order of rule B8; None for withdrawals and fees, which execute nothing.

    For blocks after genesis that fulfil B8.
    """
    opening, closing = expected_system_leaves(config, block.header, block.withdrawals)

    def call(kind: SystemKind) -> Call | None:
        if kind in (SystemKind.WITHDRAWALS, SystemKind.FEES):
            return None
        made = system_call(kind, block.header)
        return made.to, made.data

    return [*(call(kind) for kind, _ in opening), *block.envelopes, *(call(kind) for kind, _ in closing)]
