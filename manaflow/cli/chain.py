"""A chain read from its files: genesis and every block after it, without a state directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from manaflow.cli.files import block_paths, genesis_path, read_block, read_genesis
from manaflow.moves.block import Block
from manaflow.moves.hashing import keccak256
from manaflow.moves.trees import Frontier, leaf_hash
from manaflow.moves.wire import GenesisFile
from manaflow.rules.bodies import is_header_source
from manaflow.rules.config import ChainConfig

if TYPE_CHECKING:
    from manaflow.validator.transactions import Ancestry


@dataclass(frozen=True)
class ChainFiles:
    """Genesis and the blocks after it, without a gap. Nothing is judged yet."""

    genesis: GenesisFile
    blocks: Sequence[Block]
    """By number, from genesis + 1 on."""
    paths: Sequence[Path]
    """The file of each block."""
    named: Sequence[int]
    """Places in `blocks` of those that the command line names; the others are context."""
    config: ChainConfig = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", ChainConfig.decode(self.genesis.config))

    @cached_property
    def codes(self) -> dict[bytes, bytes]:
        """Every code that the files hold, by keccak-256."""
        return {keccak256(code): code for block in (self.genesis.block, *self.blocks) for code in block.codes}

    def ancestry(self, i: int) -> Ancestry:
        """What block i is judged beside."""
        from manaflow.validator.transactions import Ancestry

        parent = self.blocks[i - 1] if i else self.genesis.block
        return Ancestry(self.config, parent.header, self._frontiers[i], self.seen)

    @cached_property
    def _frontiers(self) -> list[Frontier]:
        """For each block the history tree of its parent, without the parent (B6)."""
        frontiers, growing = [Frontier()], Frontier()
        for block in (self.genesis.block, *self.blocks[:-1]):
            growing.append(leaf_hash(block.hash))
            frontiers.append(Frontier(growing.count, growing.peaks))
        return frontiers

    def seen(self, number: int) -> bytes | None:
        """The hash that BLOCKHASH shows for a block, None if the chain does not know it (B5)."""
        if not is_header_source(number, self.config):
            return dict(self.genesis.ancestors).get(number)
        i = number - self.config.genesis_number
        headers = [self.genesis.block.header, *(block.header for block in self.blocks)]
        return headers[i + 1].seen_parent_hash if i + 1 < len(headers) else None


def load_chain(inputs: Sequence[Path], genesis: Path | None) -> ChainFiles:
    """The chain around the named files: its genesis, and the blocks in between from the same folder.

    Raises a usage error if genesis or a block in between is missing, Verdict (B1) if a file does not decode.
    """
    paths, found = block_paths(inputs), genesis_path(inputs, genesis)
    if found is None:
        raise typer.BadParameter("no genesis.mana among the files or beside them: name it with --genesis")
    root = read_genesis(found)
    by_number = {block.header.number: (path, block) for path in paths for block in [read_block(path)]}
    if not by_number:
        raise typer.BadParameter("no block file is named")
    named, first, last = sorted(by_number), root.block.header.number + 1, max(by_number)
    if named[0] < first:
        raise typer.BadParameter(f"block {named[0]} is before block {first}, the first of the chain of {found}")
    for number in range(first, last):
        if number not in by_number:
            path = found.parent / f"{number}.mana"
            if not path.exists():
                raise typer.BadParameter(f"block {number} lies between genesis and block {last}, and {path} is missing")
            by_number[number] = (path, read_block(path))
    chain = [by_number[number] for number in range(first, last + 1)]
    places = [number - first for number in named]
    return ChainFiles(root, [block for _, block in chain], [path for path, _ in chain], places)
