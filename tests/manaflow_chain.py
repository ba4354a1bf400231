"""A producer of a small chain of profile `manaflow`: genesis, signed envelopes of every type, sealed blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import coincurve
import rlp

from manaflow.coordinator.filler import FilledBlock, Filler
from manaflow.coordinator.genesis import Allocation, manaflow_config, new_chain
from manaflow.coordinator.inputs import BlockInputs, manaflow_inputs
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.block import Block
from manaflow.moves.envelopes import AUTHORIZATION_MAGIC
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Mark
from tests.chain import ETHER, PRODUCER, address_of, key_of

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
    """Accounts with keys and a filler. `blocks[0]` is genesis."""

    def __init__(self, accounts: int = 5, alloc: Mapping[bytes, Allocation] | None = None) -> None:
        self.keys = [key_of(i) for i in range(accounts)]
        self.addresses = [address_of(key) for key in self.keys]
        self.nonces = [0] * accounts
        self.config = manaflow_config(CHAIN_ID, [address_of(PRODUCER)], challenge_blocks=4)
        rich: dict[bytes, Allocation] = {address: (1000 * ETHER, 0, b"", {}) for address in self.addresses}
        self.genesis = new_chain(
            self.config, {**rich, **(alloc or {})}, NATIVE, timestamp=1000, gas_limit=30_000_000, base_fee=BASE_FEE
        )
        self.filler = Filler.at_genesis(self.genesis, PRODUCER.secret, NATIVE)
        self.blocks: list[Block] = [self.genesis.block]
        self.codes = {keccak256(code): code for code in self.genesis.block.codes}

    def inputs(self, envelopes: Sequence[bytes] = (), **changes: Any) -> BlockInputs:
        """Of the next block."""
        head = self.filler.head
        choices = {"coinbase": COINBASE, "timestamp": head.timestamp + 12, "envelopes": tuple(envelopes)}
        return manaflow_inputs(head, self.filler.block_hashes, **(choices | changes))

    def seal(self, envelopes: Sequence[bytes] = (), **changes: Any) -> FilledBlock:
        return self.keep(self.filler.fill(self.inputs(envelopes, **changes)))

    def keep(self, filled: FilledBlock) -> FilledBlock:
        self.blocks.append(filled.block)
        self.codes |= {keccak256(code): code for code in filled.block.codes}
        return filled

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
