"""Letting go of old bodies: a block's file gives way to its header, while index, codes, history and proofs stay.

What a pruned node still does: judge and import blocks, undo within the journal, answer for cells and headers. What it
no longer can, and says so (errors.Pruned): hand out those bodies, show who made or consumed a cell of theirs (V
proofs, the words of a verdict), rebuild a latest index from genesis. Genesis and the last blocks are always kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from manaflow.errors import Failure
from manaflow.moves.header import Header
from manaflow.validator.archive import PRUNED_MAGIC, header_in, is_pruned
from manaflow.validator.store import Store, Table
from manaflow.validator.validator import Validator

KEPT_ALWAYS: Final = 64
"""Bodies below the last final block's that are never pruned: what the latest index may have to take back."""
_AT_ONCE: Final = 256
"""Bodies that one commit lets go."""


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What pruning has done."""

    below: int
    """Bodies of blocks with a number below this are gone, genesis's excepted."""
    bodies: int
    """How many went this time."""
    freed: int
    """Bytes of their files; the database's file does not shrink, but fills those first."""


def prune_below(validator: Validator, keep: int) -> int:
    """The first number whose body stays: `keep` blocks before the last final one, or KEPT_ALWAYS before the head.

    Final: no fraud proof can take it back any more. Raises Failure for a negative `keep`.
    """
    if keep < 0:
        raise Failure("the number of bodies to keep is negative")
    head, challenge_blocks = validator.head[0].number, validator.config.challenge_blocks
    return max(min(head - challenge_blocks - keep, head - KEPT_ALWAYS + 1), validator.config.genesis_number + 1)


def prune(validator: Validator, keep: int) -> PruneReport:
    """Let go of the bodies below `prune_below`, undone blocks' too. A crash leaves some for the next time."""
    below, genesis = prune_below(validator, keep), validator.config.genesis_number
    bodies = freed = 0
    after = b""
    while True:
        stubs, size, after = _next_stubs(validator.store, after, range(genesis + 1, below))
        with validator.store.write() as txn:
            for block_hash, header in stubs:
                txn.put(Table.BLOCKS, block_hash, PRUNED_MAGIC + header.encode())
        bodies, freed = bodies + len(stubs), freed + size
        if not after:
            return PruneReport(below, bodies, freed)


def _next_stubs(store: Store, after: bytes, numbers: range) -> tuple[list[tuple[bytes, Header]], int, bytes]:
    """Some of the bodies to let go behind the hash `after`, their size, and where to go on; empty at the end."""
    stubs: list[tuple[bytes, Header]] = []
    size = 0
    with store.read() as txn:
        for block_hash, stored in txn.items(Table.BLOCKS, after):
            if len(stubs) == _AT_ONCE:
                return stubs, size, block_hash
            if is_pruned(stored):
                continue
            header = header_in(bytes(stored))
            if header.number in numbers:
                stubs.append((block_hash, header))
                size += len(stored)
    return stubs, size, b""


def count_pruned(validator: Validator) -> int:
    """How many blocks have lost their bodies."""
    with validator.store.read() as txn:
        return sum(is_pruned(stored) for _, stored in txn.items(Table.BLOCKS))
