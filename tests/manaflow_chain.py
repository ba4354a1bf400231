"""A producer of a small chain of profile `manaflow`: genesis, signed envelopes of every type, sealed blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any
from unittest import mock

import coincurve
import rlp

from manaflow.coordinator.filler import FilledBlock, Filler
from manaflow.coordinator.genesis import Allocation, manaflow_config, new_chain
from manaflow.coordinator.inputs import BlockInputs, next_inputs
from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.coordinator.replay import address_of as producer_of
from manaflow.evm.environment import environment_of
from manaflow.evm.executor import Environment
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.block import Block
from manaflow.moves.envelopes import AUTHORIZATION_MAGIC
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.marks import ZERO32, Mark
from manaflow.rules.config import ChainConfig, Profile
from tests.chain import ETHER, address_of, key_of, word
from tests.evm.crafting import asm

CHAIN_ID = 7_778
COINBASE = b"\xc0" * 20
BASE_FEE = 10**9


def deploying(code: bytes) -> bytes:
    """Init code that deploys `code`, of at most 255 bytes."""
    return bytes([0x60, len(code), 0x60, 10, 0x5F, 0x39, 0x60, len(code), 0x5F, 0xF3]) + code


def created(sender: bytes, nonce: int) -> bytes:
    """Where a creating transaction puts its contract."""
    return keccak256(rlp.encode([sender, nonce]))[12:]


class Producer:
    """Accounts with keys and a filler. `blocks` are those after genesis."""

    def __init__(
        self, accounts: int = 5, alloc: Mapping[bytes, Allocation] | None = None, others: Sequence[bytes] = ()
    ) -> None:
        """others: addresses of further producers of the chain."""
        self.keys = [key_of(i) for i in range(accounts)]
        self.addresses = [address_of(key) for key in self.keys]
        self.nonces = [0] * accounts
        self.config = manaflow_config(CHAIN_ID, [producer_of(DEVELOPMENT_KEY), *others], challenge_blocks=4)
        rich: dict[bytes, Allocation] = {address: (1000 * ETHER, 0, b"", {}) for address in self.addresses}
        self.genesis = new_chain(
            self.config, {**rich, **(alloc or {})}, NATIVE, timestamp=1000, gas_limit=30_000_000, base_fee=BASE_FEE
        )
        self.filler = Filler.at_genesis(self.genesis, DEVELOPMENT_KEY, NATIVE)
        self.blocks: list[Block] = []
        self.codes = {keccak256(code): code for code in self.genesis.block.codes}

    def inputs(self, envelopes: Sequence[bytes] = (), **changes: Any) -> BlockInputs:
        """Of the next block."""
        head = self.filler.head
        choices = {"coinbase": COINBASE, "timestamp": head.timestamp + 12, "envelopes": tuple(envelopes)}
        return next_inputs(self.config, head, self.filler.block_hashes, **(choices | changes))

    def seal(self, envelopes: Sequence[bytes] = (), **changes: Any) -> FilledBlock:
        return self.keep(self.filler.fill(self.inputs(envelopes, **changes)))

    def keep(self, filled: FilledBlock) -> FilledBlock:
        self.blocks.append(filled.block)
        self.codes |= {keccak256(code): code for code in filled.block.codes}
        return filled

    def seal_without_x5(self, envelopes: Sequence[bytes]) -> Block:
        """The next block by a producer that knows no X5. No envelope may pay a tip, so that profiles do not matter."""

        def environment(header: Header, config: ChainConfig) -> Environment:
            return replace(environment_of(header, config), profile=Profile.ETHEREUM)

        with mock.patch("manaflow.coordinator.filler.environment_of", environment):
            return self.seal(envelopes).block

    def balance(self, address: bytes) -> int:
        return int.from_bytes(self.filler.value((Mark.BALANCE, address, ZERO32)), "big")

    def sign(
        self,
        sender: int,
        to: bytes = b"",
        *,
        value: int = 0,
        data: bytes = b"",
        gas: int = 200_000,
        max_fee: int = 10 * BASE_FEE,
        tip: int = 10**6,
        kind: int = 2,
        authorizations: Sequence[tuple[int, bytes, int]] = (),
        chain_id: int = CHAIN_ID,
        nonce: int | None = None,
    ) -> bytes:
        """The sender's next envelope. kind: EIP-2718 type; authorizations: (account, delegate, nonce), type 4."""
        used = self.nonces[sender] if nonce is None else nonce
        self.nonces[sender] = used + 1
        key = self.keys[sender]
        if kind == 0:
            fields: list[Any] = [used, max_fee, gas, to, value, data]
            y_parity, r, s = _signed(key, rlp.encode([*fields, chain_id, 0, 0]))
            return bytes(rlp.encode([*fields, chain_id * 2 + 35 + y_parity, r, s]))
        fees = [max_fee] if kind == 1 else [tip, max_fee]
        fields = [chain_id, used, *fees, gas, to, value, data, []]
        if kind == 4:
            fields.append([self._authorization(*each) for each in authorizations])
        prefix = bytes([kind])
        return prefix + bytes(rlp.encode([*fields, *_signed(key, prefix + rlp.encode(fields))]))

    def _authorization(self, account: int, delegate: bytes, nonce: int) -> list[Any]:
        fields = [CHAIN_ID, delegate, nonce]
        return [*fields, *_signed(self.keys[account], AUTHORIZATION_MAGIC + rlp.encode(fields))]


def _signed(key: coincurve.PrivateKey, message: bytes) -> tuple[int, int, int]:
    """(y parity, r, s)."""
    signature = key.sign_recoverable(keccak256(message), hasher=None)
    return signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")


CODE_BYTES, CODES = 24_576, 180
"""Distinct codes of the chain below: together more than a file of a proof may hold."""
_CODED = 0xC0DE << 144
LOOKER, REVERTER = b"\x10" * 20, b"\x4e" * 20
LOOKS = asm(0, "CALLDATALOAD", "JUMPDEST", "DUP1", "ISZERO", 41, "JUMPI", "DUP1", _CODED.to_bytes(20, "big"), "ADD",
            "EXTCODESIZE", "POP", 1, "SWAP1", "SUB", 3, "JUMP", "JUMPDEST", "STOP")  # fmt: skip
"""Asks for the sizes of codes n to 1; n is the call's data."""
REVERTS = asm(0, "CALLDATALOAD", 0, "MSTORE", 0, 0, 32, 0, 0, LOOKER, "GAS", "CALL", 0, 0, "REVERT")
"""Lets LOOKER do it, and reverts."""


def coded_address(n: int) -> bytes:
    """Where code n stands, from 1."""
    return (_CODED + n).to_bytes(20, "big")


def coded(count: int = CODES) -> Producer:
    """A chain whose genesis has `count` codes of CODE_BYTES each, and one block that looks at two of them."""
    codes = (word(i + 1) * (CODE_BYTES // 32) for i in range(count))
    alloc: dict[bytes, Allocation] = {coded_address(n): (0, 1, code, {}) for n, code in enumerate(codes, 1)}
    producer = Producer(accounts=2, alloc={**alloc, LOOKER: (0, 1, LOOKS, {}), REVERTER: (0, 1, REVERTS, {})})
    producer.seal([producer.sign(0, LOOKER, data=word(2), tip=0)])
    return producer


@cache
def coded_chain() -> Producer:
    """`coded` and an honest block, whose dishonest twins break X5."""
    producer = coded()
    producer.seal([looking(producer, 42), looking(producer, 42, REVERTER)])
    return producer


def looking(producer: Producer, count: int, to: bytes = LOOKER, gas: int = 1_000_000) -> bytes:
    """A transaction without tip that uses `count` codes."""
    return producer.sign(1, to, data=word(count), gas=gas, tip=0)
