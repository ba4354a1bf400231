"""The leaves of a real block, each ready to be executed alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from manaflow._native import Codes
from manaflow.evm.environment import SYSTEM_ADDRESS, environment_of, system_call
from manaflow.evm.executor import Environment, Job, SystemCall
from manaflow.evm.isolated import job_of
from manaflow.moves.block import Block
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.leaf import Leaf, SystemKind
from manaflow.moves.marks import Move
from manaflow.moves.transactions import EthereumTransaction
from manaflow.rules.config import ChainConfig
from manaflow.rules.system import expected_system_leaves


@dataclass(frozen=True)
class Part:
    """One leaf that executes (withdrawals and fees do not)."""

    place: int
    leaf: Leaf
    moves: list[Move]
    call: EthereumTransaction | SystemCall
    raw: bytes
    """The envelope; empty for a system call."""
    sender: bytes
    environment: Environment

    def job(self, codes: Mapping[bytes, bytes], moves: list[Move] | None = None) -> Job:
        return job_of(
            self.environment, self.call, self.sender, self.leaf, self.moves if moves is None else moves, codes
        )


def parts_of(block: Block, config: ChainConfig) -> list[Part]:
    """Every leaf of a block that executes, in order."""
    header, environment = block.header, environment_of(block.header, config)
    opening, closing = expected_system_leaves(config, header, block.withdrawals)
    bounds = list(itertools.pairwise(block.leaves.move_offsets().tolist()))
    moves, envelopes, parts = block.moves.objects(), iter(block.envelopes), []
    for place, (start, stop) in enumerate(bounds):
        after = place - len(bounds) + len(closing)
        kind = opening[place][0] if place < len(opening) else closing[after][0] if after >= 0 else None
        if kind in (SystemKind.WITHDRAWALS, SystemKind.FEES):
            continue
        raw = b"" if kind is not None else next(envelopes)
        call = decode_envelope(raw) if kind is None else system_call(kind, header)
        sender = recover_sender(call) if isinstance(call, EthereumTransaction) else SYSTEM_ADDRESS
        parts.append(Part(place, block.leaves[place], moves[start:stop], call, raw, sender, environment))
    return parts


def native_codes(codes: Mapping[bytes, bytes]) -> Codes:
    cache = Codes()
    for code in codes.values():
        cache.add(code)
    return cache
