"""Keeping the latest index in step with a validator's chain, and making the receipts that blocks do not hold.

A block says of each transaction's logs only their hash. Receipts take them from the execution that judged the block, if
it is at hand; else the block is executed once more, on the state that the latest index has then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np

from manaflow._native import Codes, World
from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.messages import Sealed, Undone
from manaflow.coordinator.receipts import Receipt
from manaflow.errors import Failure, StorageFailure
from manaflow.evm.envelopes import decode_envelopes
from manaflow.evm.environment import SYSTEM_ADDRESS, environment_of, system_call
from manaflow.evm.native import fill_steps
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.marks import Mask
from manaflow.rules.bodies import HASH_WINDOW
from manaflow.rules.config import ChainConfig
from manaflow.rules.system import expected_system_leaves

LAST_TYPE: Final = 0x7F
"""A legacy envelope begins with a byte beyond it (EIP-2718)."""
MAX_HELD: Final = 1 << 20
"""Locations that the follower's world holds before it starts anew."""


class Chain(Protocol):
    """A validator's chain; validator.Validator is one."""

    config: ChainConfig

    @property
    def head(self) -> tuple[Header, bytes]:
        """Header and hash of the last block."""
        ...

    @property
    def ancestors(self) -> tuple[tuple[int, bytes], ...]:
        """(number, hash) of known blocks before genesis."""
        ...

    def block(self, key: int | bytes) -> Block | None:
        """By number, or by hash: an undone one, too."""
        ...

    def header(self, number: int) -> Header | None:
        """Of a canonical block."""
        ...

    def code(self, code_hash: bytes) -> bytes | None:
        """The bytes of a code."""
        ...

    def logs(self, block_hash: bytes) -> tuple[bytes, ...] | None:
        """RLP of the logs of each signed transaction of a block, if whoever judged it by X3 has kept them."""
        ...


class Follower:
    """One latest index behind one chain. One thread."""

    def __init__(self, chain: Chain, latest: LatestIndex) -> None:
        self._chain, self._latest = chain, latest
        self.codes = Codes()
        """Codes that were met, analysed; others are asked for."""
        self.world = World(latest.source, chain.code)
        """The values of the tip's state; calls may be simulated on it."""
        self.receipts: tuple[Receipt, ...] = ()
        """Of the block that was applied last."""
        self._hashes: dict[int, bytes] = {}

    def catch_up(self) -> Iterator[Sealed | Undone]:
        """Bring the latest index to the chain's head, block by block, each as the message that a coordinator is told.

        Raises Failure if the index has a block that the chain never had, or one that is too old to be taken back.
        """
        chain, latest = self._chain, self._latest
        while latest.tip is not None:
            header = chain.header(latest.tip.number)
            if header is not None and header.hash == latest.tip.hash:
                break
            yield Undone(self._undo(latest.tip.hash))
        start = chain.config.genesis_number if latest.tip is None else latest.tip.number + 1
        for number in range(start, chain.head[0].number + 1):
            block = chain.block(number)
            if block is None:
                raise StorageFailure(f"block {number} is missing below the head")
            self._apply(block)
            yield Sealed(block)

    def _undo(self, block_hash: bytes) -> Block:
        block = self._chain.block(block_hash)
        if block is None:
            raise Failure(f"the latest index has block 0x{block_hash.hex()}, which the chain does not know")
        self._latest.undo(block)
        self.world.clear()
        self._hashes.clear()
        return block

    def _apply(self, block: Block) -> None:
        try:
            self.receipts = self._receipts(block) if block.envelopes else ()
            self._latest.apply(block, self.receipts)
        except BaseException:
            self.world.clear()  # it may be ahead of the latest index
            raise
        moves = block.moves
        if len(self.world) > MAX_HELD:
            self.world.clear()
        elif len(self.world):  # while it holds nothing, whoever looks asks the latest index
            rows = np.flatnonzero((moves.mask & Mask.REFERENCE) == 0)
            self.world.load(moves.mark[rows], moves.addr[rows], moves.slot[rows], moves.next[rows])
        for code in block.codes:
            self.codes.add(code)

    def _receipts(self, block: Block) -> tuple[Receipt, ...]:
        """Of a valid block. Raises Failure if the logs are not those that it declares."""
        first = len(expected_system_leaves(self._chain.config, block.header, block.withdrawals)[0])
        signed = slice(first, first + len(block.envelopes))
        logs: Sequence[bytes] | None = self._chain.logs(block.hash)
        if logs is None:
            logs, hashes = self._executed(block)
            if hashes != block.leaves.logs_hash[signed].tobytes():
                raise Failure(f"block {block.header.number} executes to other logs than it declares")
        types = [raw[0] if raw[0] <= LAST_TYPE else 0 for raw in block.envelopes]
        gas = np.cumsum(block.leaves.gas_used[signed]).tolist()
        rows = zip(types, block.leaves.status[signed].tolist(), gas, logs, strict=True)
        return tuple(Receipt(*row) for row in rows)

    def _executed(self, block: Block) -> tuple[Sequence[bytes], bytes]:
        """RLP of each signed transaction's logs, and the hashes of these, by executing it on the state before it."""
        config, header = self._chain.config, block.header
        environment, hashes = environment_of(header, config), self.block_hashes(header)
        calls = []
        for kind, _ in expected_system_leaves(config, header, block.withdrawals)[0]:
            call = system_call(kind, header)
            calls.append((call.to, call.data))
        fill_steps(self.world, environment, calls, [SYSTEM_ADDRESS] * len(calls), hashes, self.codes)
        senders = [row.tobytes() for row in decode_envelopes(block.envelopes).sender]
        filled = fill_steps(self.world, environment, block.envelopes, senders, hashes, self.codes)
        return filled.logs, filled.logs_hashes

    def block_hashes(self, header: Header) -> dict[int, bytes]:
        """What BLOCKHASH answers in the block of this header, which builds on the tip: hashes by number."""
        first = max(header.number - HASH_WINDOW, 0)
        known = self._hashes = {number: found for number, found in self._hashes.items() if number >= first}
        if header.number:
            known[header.number - 1] = header.seen_parent_hash
        ancestors = dict(self._chain.ancestors)
        for number in range(header.number - 2, first - 1, -1):
            if number in known:
                break
            above = self._chain.header(number + 1)
            found = ancestors.get(number) if above is None else above.seen_parent_hash
            if found is None:
                break
            known[number] = found
        return dict(known)
