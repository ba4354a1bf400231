"""Real chains, replayed once per test process and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from manaflow.coordinator.ethereum import EthereumBlock, load_block
from manaflow.coordinator.filler import FilledBlock
from manaflow.coordinator.genesis import known_codes
from manaflow.coordinator.replay import replay
from manaflow.moves.block import Block
from manaflow.moves.wire import GenesisFile
from manaflow.rules.config import ChainConfig
from tests.conftest import block_files, shared_data
from tests.oracle import Step, expected_path, load_expected

BEFORE_PARIS = "1-12047794"
"""The one shared block that the rules cannot hold."""
HOLESKY = tuple(f"17000-{n}" for n in range(2971844, 2971848))
ACROSS_CANCUN = ("1-19426586", "1-19426587")
"""The last Shanghai block of mainnet and the first Cancun one."""


def name_of(path: Path) -> str:
    return path.name.split(".")[0]


def file_of(name: str) -> Path:
    return shared_data() / "blocks" / f"{name}.block.json.zst"


def supported_names() -> list[str]:
    """Every shared block from Paris on."""
    return [name_of(path) for path in block_files() if name_of(path) != BEFORE_PARIS]


@dataclass(frozen=True)
class Chain:
    """A replayed chain: genesis, config and its blocks."""

    config: ChainConfig
    genesis: GenesisFile
    ethereum: tuple[EthereumBlock, ...]
    filled: tuple[FilledBlock, ...]
    names: tuple[str, ...]

    @property
    def blocks(self) -> list[Block]:
        """Blocks after genesis, ascending."""
        return [filled.block for filled in self.filled]

    @cached_property
    def codes(self) -> Mapping[bytes, bytes]:
        """Every code of the chain by hash: the pre-states' and those that the blocks made."""
        from manaflow.moves.hashing import keccak256

        made = {keccak256(code): code for block in self.blocks for code in block.codes}
        return known_codes(self.ethereum) | made

    def expected(self, i: int) -> tuple[Step, ...]:
        """The oracle's steps of block i."""
        return load_expected(expected_path(file_of(self.names[i])))


@cache
def chain(*names: str) -> Chain:
    """Replay these consecutive shared blocks."""
    ethereum = tuple(load_block(file_of(name)) for name in names)
    started = replay(ethereum)
    return Chain(started.config, started.genesis, ethereum, tuple(started.blocks()), names)
