"""The leaf of a transaction, and the txids of system transactions (docs/SPEC.md, section 5)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from manaflow.errors import Rule, Verdict

LEAF_BYTES: Final = 32 + 32 + 4 + 4 + 1 + 8 + 32 + 8 + 8 + 32 + 8


class SystemKind(IntEnum):
    """The kinds of unsigned transactions that a block holds by rule (B8)."""

    GENESIS = 0
    BEACON_ROOTS = 1
    """EIP-4788, opening."""
    HISTORY = 2
    """EIP-2935, opening."""
    WITHDRAWALS = 3
    """Profile `ethereum`, closing: validators' withdrawals (EIP-4895)."""
    FEES = 4
    """Profile `manaflow`, closing: the block's fees to the coinbase."""
    WITHDRAWAL_REQUESTS = 5
    """EIP-7002, closing."""
    CONSOLIDATION_REQUESTS = 6
    """EIP-7251, closing."""


def system_txid(kind: SystemKind, chain_id: int, number: int, part: int = 0) -> bytes:
    """SHA-256("manaflow system" | kind:1 | chain id:8 | number:8 | part:4)."""
    tail = bytes((kind,)) + chain_id.to_bytes(8, "big") + number.to_bytes(8, "big") + part.to_bytes(4, "big")
    return hashlib.sha256(b"manaflow system" + tail).digest()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a transaction declares of its result (rule X3)."""

    status: int
    """1 success, 0 failure."""
    gas_used: int
    """Gas, after refunds."""
    logs_hash: bytes
    """keccak-256 of the RLP of the logs, 32 bytes."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One transaction's line in a block: LEAF_BYTES bytes, every field of fixed width."""

    txid: bytes
    moves_root: bytes
    consumes: int
    references: int
    status: int
    gas_used: int
    logs_hash: bytes
    first_cell: int
    """Number of the first cell that this transaction makes."""
    gas: int
    """Gas used in the block before this transaction."""
    fees: int
    """Wei of fees in the block before this transaction (profile `manaflow`)."""
    blob_gas: int
    """Blob gas used in the block before this transaction."""

    @property
    def outcome(self) -> Outcome:
        """Status, gas used and logs hash."""
        return Outcome(self.status, self.gas_used, self.logs_hash)

    def encode(self) -> bytes:
        """The leaf's LEAF_BYTES bytes."""
        return b"".join(
            (
                self.txid,
                self.moves_root,
                self.consumes.to_bytes(4, "big"),
                self.references.to_bytes(4, "big"),
                self.status.to_bytes(1, "big"),
                self.gas_used.to_bytes(8, "big"),
                self.logs_hash,
                self.first_cell.to_bytes(8, "big"),
                self.gas.to_bytes(8, "big"),
                self.fees.to_bytes(32, "big"),
                self.blob_gas.to_bytes(8, "big"),
            )
        )

    @staticmethod
    def decode(data: bytes) -> Leaf:
        """Read LEAF_BYTES bytes; any other length is refused by B1."""
        if len(data) != LEAF_BYTES:
            raise Verdict(Rule.B1, "length of a leaf", expected=LEAF_BYTES, actual=len(data))
        widths = (32, 32, 4, 4, 1, 8, 32, 8, 8, 32, 8)
        parts, at = [], 0
        for width in widths:
            parts.append(data[at : at + width])
            at += width
        number = [int.from_bytes(part, "big") for part in parts]
        return Leaf(
            parts[0], parts[1], number[2], number[3], number[4], number[5], parts[6],
            number[7], number[8], number[9], number[10],
        )  # fmt: skip
