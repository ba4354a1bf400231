"""Replay: consecutive Ethereum blocks become a chain of Manaflow blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from coincurve import PrivateKey

from manaflow.coordinator.ethereum import EthereumBlock, cells_of
from manaflow.coordinator.filler import FilledBlock, Filler, begin_chain
from manaflow.coordinator.genesis import known_cells, known_codes, replay_config
from manaflow.coordinator.receipts import check_receipts
from manaflow.errors import Failure
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.hashing import keccak256
from manaflow.moves.wire import GenesisFile
from manaflow.rules.config import ChainConfig
from manaflow.rules.moves import named

DEVELOPMENT_KEY: Final = keccak256(b"manaflow development producer")
"""A producer's secret that everybody knows: for replays and tests, never for a chain that holds value."""


def address_of(key: bytes) -> bytes:
    """The 20-byte address of a secret key."""
    return bytes(keccak256(PrivateKey(key).public_key.format(compressed=False)[1:])[12:])


@dataclass(slots=True)
class Replay:
    """A chain being replayed: its genesis at once, its blocks one by one."""

    config: ChainConfig
    genesis: GenesisFile
    filler: Filler
    ethereum: Sequence[EthereumBlock]

    def blocks(self) -> Iterator[FilledBlock]:
        """Fill and seal block after block.

        Raises as Filler.fill does, and Failure if the result is not the original block's (pre-state, gas used, receipts
        root, logs bloom); afterwards the replay is over.
        """
        for block in self.ethereum:
            check_prestate(self.filler, block)
            filled = self.filler.fill(block.inputs())
            check_original(block, filled)
            yield filled


def check_prestate(filler: Filler, ethereum: EthereumBlock) -> None:
    """Every value that the block's pre-state names must be the chain's, else "first seen wins" went wrong."""
    for location, value in cells_of(ethereum.prestate):
        if filler.value(location) != value:
            raise Failure(
                f"block {ethereum.number}: its pre-state has 0x{value.hex()} at {named(location)}, "
                f"the chain has 0x{filler.value(location).hex()}"
            )


def check_original(ethereum: EthereumBlock, filled: FilledBlock) -> None:
    """Gas used, receipts root and logs bloom are those of the Ethereum header. Raises Failure."""
    gas_used = filled.block.header.gas_used
    if gas_used != ethereum.gas_used:
        raise Failure(f"block {ethereum.number}: gas used {gas_used}, the Ethereum header has {ethereum.gas_used}")
    check_receipts(filled.receipts, ethereum.receipts_root, ethereum.logs_bloom, ethereum.number)


def chains_of(blocks: Sequence[EthereumBlock]) -> list[list[EthereumBlock]]:
    """Split blocks into runs of consecutive numbers of one network, ascending."""
    chains: list[list[EthereumBlock]] = []
    for block in sorted(blocks, key=lambda b: (b.chain_id, b.number)):
        last = chains[-1][-1] if chains else None
        if (
            last
            and last.chain_id == block.chain_id
            and last.number + 1 == block.number
            and last.hash == block.parent_hash
        ):
            chains[-1].append(block)
        else:
            chains.append([block])
    return chains


def replay(blocks: Sequence[EthereumBlock], key: bytes = DEVELOPMENT_KEY) -> Replay:
    """Start the replay of consecutive Ethereum blocks, sealed with `key` (32 bytes).

    Genesis is the union of their pre-states, first seen wins. Raises Failure if the blocks are not consecutive,
    Unsupported for a network whose forks are not known.
    """
    if len(chains_of(blocks)) != 1 or list(blocks) != sorted(blocks, key=lambda b: b.number):
        raise Failure("a replay needs consecutive blocks of one network, in order")
    config = replay_config(blocks, address_of(key))
    inputs = [block.inputs() for block in blocks]
    genesis, filler = begin_chain(config, inputs, known_cells(blocks), known_codes(blocks), key, NATIVE)
    return Replay(config, genesis, filler, blocks)
