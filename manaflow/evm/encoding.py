"""The envelope of a decoded transaction, for engines that take envelopes."""

from __future__ import annotations

from typing import Any

import rlp

from manaflow.moves.declared import encode_declared
from manaflow.moves.transactions import DeclaredTransaction, EthereumTransaction


def encode_envelope(transaction: EthereumTransaction) -> bytes:
    """The bytes that `moves.envelopes.decode_envelope` read: its inverse."""
    if isinstance(transaction, DeclaredTransaction):
        return encode_declared(transaction)
    signature = [transaction.y_parity, transaction.r, transaction.s]
    if transaction.type == 0:
        signature[0] += 27 if transaction.chain_id is None else 35 + 2 * transaction.chain_id
        return bytes(rlp.encode([transaction.nonce, transaction.max_fee, *_call(transaction), *signature]))
    fees = [transaction.max_fee] if transaction.type == 1 else [transaction.max_priority_fee, transaction.max_fee]
    fields: list[Any] = [transaction.chain_id, transaction.nonce, *fees, *_call(transaction)]
    fields.append([[entry.address, list(entry.slots)] for entry in transaction.access_list])
    if transaction.type == 3:
        fields += [transaction.max_fee_per_blob_gas, list(transaction.blob_hashes)]
    if transaction.type == 4:
        fields.append([[a.chain_id, a.address, a.nonce, a.y_parity, a.r, a.s] for a in transaction.authorizations])
    return bytes([transaction.type]) + bytes(rlp.encode(fields + signature))


def _call(transaction: EthereumTransaction) -> list[Any]:
    return [transaction.gas_limit, transaction.to, transaction.value, transaction.data]
