"""A chain with two producers, one of whom lies, and the proof of it: for tests of what follows from a proof."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from manaflow.coordinator.replay import address_of
from manaflow.evm.native_hashing import NATIVE
from manaflow.fraudproof.challenge import Accusation
from manaflow.moves.block import Block
from manaflow.moves.hashing import keccak256
from manaflow.moves.wire import encode_block, encode_genesis
from manaflow.validator.validator import Mode, Validator
from manaflow.validator.witness import Witness
from tests.catalogue.dishonest import Draft, sealed
from tests.evm.crafting import asm
from tests.manaflow_chain import Producer

HONEST_KEY = b"\x51" * 32
"""Of the second producer; the first one, who lies, has the development key."""
LOGGER = b"\x0e" * 20
LOGS = asm(0, 0, "LOG0", "STOP")
HONEST_BLOCKS = 3


class Scene:
    """Three honest blocks, and a fourth that says of a payment that it failed; both of its transactions are valid."""

    def __init__(self) -> None:
        self.producer = Producer(alloc={LOGGER: (0, 1, LOGS, {})}, others=[address_of(HONEST_KEY)])
        for i in range(HONEST_BLOCKS):
            self.producer.seal([self.producer.sign(i, bytes([i + 1]) * 20, value=1)])
        self.payment = self.producer.sign(0, b"\x77" * 20, value=5)
        self.logging = self.producer.sign(1, LOGGER)
        self.honest = self.producer.seal([self.payment, self.logging]).block
        draft = Draft.of(self.honest)
        draft[draft.signed[0]].say(status=0)
        self.lie = sealed(draft)
        self.later = self.producer.sign(2, b"\x78" * 20, value=5)

    @property
    def blocks(self) -> list[Block]:
        """The honest ones before the lie."""
        return self.producer.blocks[:HONEST_BLOCKS]

    def write_chain(self, folder: Path) -> None:
        """Genesis and the honest blocks as files."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "genesis.mana").write_bytes(encode_genesis(self.producer.genesis, NATIVE))
        for block in self.blocks:
            (folder / f"{block.header.number}.mana").write_bytes(encode_block(block, NATIVE))

    def misled(self, state: Path, *, own: bool = False) -> None:
        """The directory of a validator that has taken the lie, since it leaves execution to challengers.

        own: it is the one that signed it.
        """
        with Validator.create(state, self.producer.genesis, mode=Mode.MOVES, threads=1) as validator:
            for block in (*self.blocks, self.lie):
                validator.import_block(block, own=own and block is self.lie)

    def proof(self, state: Path) -> bytes:
        """What a challenger makes of the lie."""
        with Validator.create(state, self.producer.genesis, mode=Mode.EXECUTE, threads=1) as validator:
            for block in self.blocks:
                validator.import_block(block)
            accusation = Accusation(Witness(validator), self.lie)
            verdict = accusation.verdict()
            assert verdict is not None
            return accusation.proof(verdict).encode()


@cache
def scene() -> Scene:
    """Read only."""
    return Scene()


def txid(envelope: bytes) -> str:
    return "0x" + keccak256(envelope).hex()
