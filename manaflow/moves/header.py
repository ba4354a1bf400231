"""The block header, its RLP and its hash (docs/SPEC.md, section 5)."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, fields
from typing import Any, Final

import rlp
from rlp.sedes import BigEndianInt, Binary, List

from manaflow.errors import Rule, Verdict

HEADER_VERSION: Final = 1
MAX_HEADER_BYTES: Final = 1024
MAX_EXTRA_DATA: Final = 32
"""Bytes of extra data, as in Ethereum."""


@dataclass(frozen=True, slots=True)
class Header:
    """Everything that a block's hash covers. Block hash = SHA-256(rlp(header)); fields stand in this order in the RLP."""

    version: int
    config: bytes
    """Hash of the chain config, 32 bytes."""
    number: int
    parent_hash: bytes
    seen_parent_hash: bytes
    """What BLOCKHASH and EIP-2935 show for number - 1: in `ethereum` Ethereum's hash, an input."""
    coinbase: bytes
    timestamp: int
    """Seconds."""
    gas_limit: int
    gas_used: int
    base_fee: int
    """Wei."""
    prevrandao: bytes
    blob_gas_used: int
    excess_blob_gas: int
    parent_beacon_root: bytes
    """Zero before Cancun and in profile `manaflow`."""
    extra_data: bytes
    transactions_root: bytes
    codes_root: bytes
    withdrawals_root: bytes
    history_root: bytes
    """Over the hashes of all earlier blocks of this chain, genesis first."""
    first_cell: int
    """Number of the first cell that this block makes."""
    cells: int
    """How many cells it makes."""
    transactions: int
    """How many leaves it has."""
    codes: int
    """How many codes stand in its body."""
    fees: int
    """Wei of fees of the whole block (profile `manaflow`)."""

    def encode(self) -> bytes:
        """The header's RLP."""
        return bytes(rlp.encode(list(astuple(self)), sedes=_SEDES))

    @property
    def hash(self) -> bytes:
        """SHA-256 of the RLP, 32 bytes."""
        return hashlib.sha256(self.encode()).digest()

    @staticmethod
    def decode(data: bytes) -> Header:
        """Read a header strictly (B1): one encoding, no trailing bytes, at most MAX_HEADER_BYTES."""
        if len(data) > MAX_HEADER_BYTES:
            raise Verdict(Rule.B1, "length of the header", expected=f"at most {MAX_HEADER_BYTES}", actual=len(data))
        try:
            header = Header(*rlp.decode(data, sedes=_SEDES, strict=True))
        except (rlp.exceptions.RLPException, TypeError) as error:
            raise Verdict(Rule.B1, f"the header does not decode: {error}") from error
        if header.version != HEADER_VERSION:
            raise Verdict(Rule.B1, "version of the header", expected=HEADER_VERSION, actual=header.version)
        return header


class _UInt(BigEndianInt):  # type: ignore[misc]
    """A big-endian integer without leading zeros, of at most `bits` bits."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def deserialize(self, serial: bytes) -> int:
        if len(serial) * 8 > self.bits:
            raise rlp.exceptions.DeserializationError(f"an integer of more than {self.bits} bits", serial)
        return int(super().deserialize(serial))


_HASH, _ADDRESS, _U64, _U256 = Binary.fixed_length(32), Binary.fixed_length(20), _UInt(64), _UInt(256)
_WIDTHS: dict[str, Any] = {
    "config": _HASH, "parent_hash": _HASH, "seen_parent_hash": _HASH, "coinbase": _ADDRESS, "base_fee": _U256,
    "prevrandao": _HASH, "parent_beacon_root": _HASH, "extra_data": Binary(max_length=MAX_EXTRA_DATA),
    "transactions_root": _HASH, "codes_root": _HASH, "withdrawals_root": _HASH, "history_root": _HASH, "fees": _U256,
}  # fmt: skip
_SEDES: Final = List([_WIDTHS.get(f.name, _U64) for f in fields(Header)])
