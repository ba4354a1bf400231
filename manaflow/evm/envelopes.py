"""A block's envelopes as numpy columns: decoded, with their senders, in one native batch or one by one in Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from manaflow import _native
from manaflow.errors import Rule, Verdict
from manaflow.moves.columns import U8, U32, U64
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.transactions import DeclaredTransaction, EthereumTransaction


@dataclass(frozen=True, slots=True, eq=False)
class EnvelopeColumns:
    """What rules ask of n envelopes, row by row. A row whose `code` is not 0 holds zeros in every other column.

    sender, to: uint8[n, 20]; txid, max_priority_fee, max_fee, value, max_fee_per_blob_gas: uint8[n, 32], the last four
    big-endian words (wei); code, type, protected, is_create, flags: uint8[n]; chain_id, nonce, gas_limit, valid_until:
    uint64[n]; the others: uint32[n].
    """

    code: U8
    """0, or the number of the rule that refuses the envelope: S2 one that begins as a declared one, else S1."""
    type: U8
    """EIP-2718 type; 0 for legacy, DECLARED_TYPE for a declared one."""
    sender: U8
    txid: U8
    protected: U8
    """1 if the signature names a chain id (always, except for a legacy signature before EIP-155)."""
    chain_id: U64
    """0 where not protected."""
    nonce: U64
    gas_limit: U64
    max_priority_fee: U8
    """Equal to max_fee in types 0 and 1."""
    max_fee: U8
    value: U8
    is_create: U8
    to: U8
    """Zero for a create."""
    data_bytes: U32
    data_zeros: U32
    """How many of the data's bytes are zero (EIP-2028)."""
    access_addresses: U32
    access_slots: U32
    """Entries of the access list and slots in all of them (EIP-2930)."""
    max_fee_per_blob_gas: U8
    blobs: U32
    authorizations: U32
    valid_until: U64
    """Of a declared one, as the three below; 0 elsewhere: the last block that may hold it, 0 for no limit (S4)."""
    flags: U8
    """Flag bits (S3)."""
    guards: U32
    signed_moves: U32
    """How many moves it signs, guards among them."""

    def __len__(self) -> int:
        return len(self.code)

    def take(self, rows: Sequence[int]) -> EnvelopeColumns:
        """Some of the rows, in the order given."""
        at = np.array(rows, np.int64)
        return EnvelopeColumns(**{field.name: getattr(self, field.name)[at] for field in fields(self)})


def decode_envelopes(envelopes: Sequence[bytes], threads: int = 0) -> EnvelopeColumns:
    """Decode envelopes and recover their senders natively, GIL released. `threads`: how many at most, 0 for all.

    What S1 or S2 refuses raises nothing: it is marked in `code`. `manaflow.moves.envelopes.decode_envelope` says why.
    """
    columns = _native.decode_envelopes(list(envelopes), threads)
    code = np.frombuffer(columns["code"], np.uint8)
    rest = {name: _shaped(columns[name], dtype, width) for name, (dtype, width, _) in _COLUMNS.items()}
    return EnvelopeColumns(code=code, **rest)


_HIGH: Final = 25
"""Bytes of a word that are zero if it is below 2^56."""
_SMALL: Final = 2**56
"""Wei; sums of two such fit 64 bits."""


def effective_prices(columns: EnvelopeColumns, base_fee: int) -> list[int]:
    """Wei per gas that each envelope pays: the base fee and its tip, at most its fee cap (EIP-1559)."""
    caps, tips = columns.max_fee, columns.max_priority_fee
    if base_fee < _SMALL and not caps[:, :_HIGH].any() and not tips[:, :_HIGH].any():
        prices = np.minimum(_low(caps), _low(tips) + np.uint64(base_fee))
        exact: list[int] = prices.tolist()
        return exact
    return [min(cap, base_fee + tip) for cap, tip in zip(_integers(caps), _integers(tips), strict=True)]


def _low(words: U8) -> U64:
    """The last eight bytes of each word."""
    low: U64 = np.ascontiguousarray(words[:, 24:]).view(">u8").reshape(-1).astype(np.uint64)
    return low


def _integers(words: U8) -> list[int]:
    """Rows of uint8[n, 32] as big-endian integers."""
    data = words.tobytes()
    return [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]


def decode_envelopes_in_python(envelopes: Sequence[bytes]) -> EnvelopeColumns:
    """The twin of decode_envelopes without native code: the reference in tests."""
    rows = [_read(raw) for raw in envelopes]
    code = np.array([row if isinstance(row, Rule) else 0 for row in rows], np.uint8)
    return EnvelopeColumns(code=code, **{name: _column(rows, *form) for name, form in _COLUMNS.items()})


@dataclass(frozen=True, slots=True)
class _Row:
    """One envelope that decodes, and its sender."""

    transaction: EthereumTransaction
    sender: bytes


def _read(raw: bytes) -> _Row | Rule:
    try:
        transaction = decode_envelope(raw)
        return _Row(transaction, recover_sender(transaction))
    except Verdict as verdict:
        return verdict.rule


def _declared(row: _Row) -> DeclaredTransaction | None:
    return row.transaction if isinstance(row.transaction, DeclaredTransaction) else None


_Cell = Callable[[_Row], bytes | int]
_COLUMNS: Final[dict[str, tuple[Any, int, _Cell]]] = {
    "type": (np.uint8, 0, lambda row: row.transaction.type),
    "sender": (np.uint8, 20, lambda row: row.sender),
    "txid": (np.uint8, 32, lambda row: row.transaction.txid),
    "protected": (np.uint8, 0, lambda row: row.transaction.chain_id is not None),
    "chain_id": (np.uint64, 0, lambda row: row.transaction.chain_id or 0),
    "nonce": (np.uint64, 0, lambda row: row.transaction.nonce),
    "gas_limit": (np.uint64, 0, lambda row: row.transaction.gas_limit),
    "max_priority_fee": (np.uint8, 32, lambda row: row.transaction.max_priority_fee),
    "max_fee": (np.uint8, 32, lambda row: row.transaction.max_fee),
    "value": (np.uint8, 32, lambda row: row.transaction.value),
    "is_create": (np.uint8, 0, lambda row: not row.transaction.to),
    "to": (np.uint8, 20, lambda row: row.transaction.to or bytes(20)),
    "data_bytes": (np.uint32, 0, lambda row: len(row.transaction.data)),
    "data_zeros": (np.uint32, 0, lambda row: row.transaction.data.count(0)),
    "access_addresses": (np.uint32, 0, lambda row: len(row.transaction.access_list)),
    "access_slots": (np.uint32, 0, lambda row: sum(len(entry.slots) for entry in row.transaction.access_list)),
    "max_fee_per_blob_gas": (np.uint8, 32, lambda row: row.transaction.max_fee_per_blob_gas),
    "blobs": (np.uint32, 0, lambda row: len(row.transaction.blob_hashes)),
    "authorizations": (np.uint32, 0, lambda row: len(row.transaction.authorizations)),
    "valid_until": (np.uint64, 0, lambda row: said.valid_until if (said := _declared(row)) else 0),
    "flags": (np.uint8, 0, lambda row: said.flags if (said := _declared(row)) else 0),
    "guards": (np.uint32, 0, lambda row: said.guards if (said := _declared(row)) else 0),
    "signed_moves": (np.uint32, 0, lambda row: len(said.moves) if (said := _declared(row)) else 0),
}
"""Every column but `code`: (dtype, bytes of a row where the column has two dimensions, else 0; the value of a row)."""


def _shaped(column: bytes, dtype: Any, width: int) -> NDArray[Any]:
    values = np.frombuffer(column, dtype)
    return values.reshape(-1, width) if width else values


def _column(rows: Sequence[_Row | Rule], dtype: Any, width: int, cell: _Cell) -> NDArray[Any]:
    values = [0 if isinstance(row, Rule) else cell(row) for row in rows]
    if not width:
        return np.array(values, dtype)
    words = [value if isinstance(value, bytes) else value.to_bytes(width, "big") for value in values]
    return _shaped(b"".join(words), dtype, width)
