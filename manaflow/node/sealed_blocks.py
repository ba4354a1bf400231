"""Canonical blocks with their receipts, decoded; the last few are kept so."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.receipts import Receipt
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.node.chain import SealedBlock
from manaflow.rules.system import expected_system_leaves
from manaflow.validator.validator import Validator

MAX_KEPT: Final = 64
MAX_KEPT_MOVES: Final = 1 << 16
"""Some 130 bytes each; the last block is kept however many it has."""


class SealedBlocks:
    """One thread."""

    def __init__(self, validator: Validator, latest: LatestIndex) -> None:
        self._validator, self._latest = validator, latest
        self._kept: OrderedDict[int, SealedBlock] = OrderedDict()

    def header(self, number: int) -> Header | None:
        """Canonical."""
        known = self._kept.get(number)
        if known is not None:
            return known.block.header
        return self._validator.header(number) if 0 <= number < 2**64 else None

    def get(self, key: int | bytes) -> SealedBlock | None:
        """Canonical, by number or hash. Raises Pruned."""
        if isinstance(key, int):
            known = self._kept.get(key)
            block = self._validator.block(key) if known is None and 0 <= key < 2**64 else None
        else:
            known = next((kept for kept in self._kept.values() if kept.block.hash == key), None)
            block = self._canonical(key) if known is None else None
        return known if block is None else self.put(block, self._latest.receipts(block.header.number) or ())

    def put(self, block: Block, receipts: tuple[Receipt, ...]) -> SealedBlock:
        """A block that is canonical now."""
        sealed = self.of(block, receipts)
        self._kept[block.header.number] = sealed
        while len(self._kept) > MAX_KEPT or (len(self._kept) > 1 and self._moves > MAX_KEPT_MOVES):
            self._kept.popitem(last=False)
        return sealed

    @property
    def _moves(self) -> int:
        return sum(len(kept.block.moves) for kept in self._kept.values())

    def drop(self, number: int) -> None:
        """The block of this number is canonical no more."""
        self._kept.pop(number, None)

    def of(self, block: Block, receipts: tuple[Receipt, ...]) -> SealedBlock:
        """Any block with its receipts."""
        config = self._validator.config
        if block.header.number == config.genesis_number:
            return SealedBlock(block, receipts, len(block.leaves))
        opening, _ = expected_system_leaves(config, block.header, block.withdrawals)
        return SealedBlock(block, receipts, len(opening))

    def receipts_about_to_go(self) -> tuple[Receipt, ...]:
        """Those of the latest index's tip, if that is canonical no more."""
        tip = self._latest.tip
        if tip is None:
            return ()
        header = self._validator.header(tip.number)
        if header is not None and header.hash == tip.hash:
            return ()
        return self._latest.receipts(tip.number) or ()

    def _canonical(self, block_hash: bytes) -> Block | None:
        with self._validator.archive() as archive:
            header = archive.header_of(block_hash)
            record = None if header is None else archive.canonical(header.number)
            return archive.block(block_hash) if record is not None and record.hash == block_hash else None
