"""Blocks, transactions, receipts and logs as Ethereum's JSON-RPC shows them (geth's forms). Pure; docs/RPC.md says
which fields mean something else here than on Ethereum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import rlp

from manaflow.moves.declared import is_signed
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.marks import ZERO32, Mask
from manaflow.moves.transactions import (
    AccessEntry,
    Authorization,
    DeclaredTransaction,
    EthereumTransaction,
    NamedMove,
)
from manaflow.node.encoding import data, quantity

EMPTY_UNCLES: Final = keccak256(bytes(rlp.encode([])))
"""What Ethereum's headers say of no uncles."""
EMPTY_BLOOM: Final = bytes(256)
Form = dict[str, Any]
"""A JSON object."""
LogFields = tuple[bytes, list[bytes], bytes]
"""A log's address, topics and data."""


def header_form(header: Header, block_hash: bytes | None, bloom: bytes) -> Form:
    """A header as eth_getBlockByNumber has it, without what needs the body. block_hash: None for the open block."""
    return {
        "number": quantity(header.number),
        "hash": None if block_hash is None else data(block_hash),
        "parentHash": data(header.parent_hash),
        "nonce": None if block_hash is None else data(bytes(8)),
        "mixHash": data(header.prevrandao),
        "sha3Uncles": data(EMPTY_UNCLES),
        "logsBloom": data(bloom),
        "transactionsRoot": data(header.transactions_root),
        "stateRoot": data(ZERO32),
        "receiptsRoot": data(ZERO32),
        "withdrawalsRoot": data(header.withdrawals_root),
        "parentBeaconBlockRoot": data(header.parent_beacon_root),
        "miner": data(header.coinbase),
        "difficulty": quantity(0),
        "extraData": data(header.extra_data),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
        "baseFeePerGas": quantity(header.base_fee),
        "blobGasUsed": quantity(header.blob_gas_used),
        "excessBlobGas": quantity(header.excess_blob_gas),
    }


def transaction_form(transaction: EthereumTransaction, sender: bytes) -> Form:
    """A transaction that stands in no sealed block."""
    form: Form = {
        "blockHash": None,
        "blockNumber": None,
        "transactionIndex": None,
        "hash": data(transaction.txid),
        "type": quantity(transaction.type),
        "from": data(sender),
        "to": data(transaction.to) if transaction.to else None,
        "nonce": quantity(transaction.nonce),
        "gas": quantity(transaction.gas_limit),
        "gasPrice": quantity(transaction.max_fee),
        "value": quantity(transaction.value),
        "input": data(transaction.data),
        "v": quantity(_v(transaction)),
        "r": quantity(transaction.r),
        "s": quantity(transaction.s),
    }
    if transaction.chain_id is not None:
        form["chainId"] = quantity(transaction.chain_id)
    if transaction.type > 0:
        form["accessList"] = access_list_form(transaction.access_list)
        form["yParity"] = quantity(transaction.y_parity)
    if transaction.type > 1:
        form["maxFeePerGas"] = quantity(transaction.max_fee)
        form["maxPriorityFeePerGas"] = quantity(transaction.max_priority_fee)
    return {**form, **_own_fields(transaction)}


def placed_form(form: Form, header: Header, block_hash: bytes, index: int, price: int) -> Form:
    """The form of a transaction in a sealed block. price: wei per gas that it pays."""
    return {
        **form,
        "blockHash": data(block_hash),
        "blockNumber": quantity(header.number),
        "transactionIndex": quantity(index),
        "gasPrice": quantity(price),
    }


def _own_fields(transaction: EthereumTransaction) -> Form:
    """What only one type of transaction has."""
    if isinstance(transaction, DeclaredTransaction):
        return {
            "flags": quantity(transaction.flags),
            "validUntil": quantity(transaction.valid_until),
            "moves": [move_form(move) for move in transaction.moves],
        }
    if transaction.type == 3:
        return {
            "maxFeePerBlobGas": quantity(transaction.max_fee_per_blob_gas),
            "blobVersionedHashes": [data(one) for one in transaction.blob_hashes],
        }
    if transaction.type == 4:
        return {"authorizationList": [authorization_form(one) for one in transaction.authorizations]}
    return {}


def _v(transaction: EthereumTransaction) -> int:
    if transaction.type > 0:
        return transaction.y_parity
    chain_id = transaction.chain_id
    return transaction.y_parity + (27 if chain_id is None else 2 * chain_id + 35)


def access_list_form(entries: Sequence[AccessEntry]) -> list[Form]:
    """EIP-2930."""
    return [{"address": data(one.address), "storageKeys": [data(slot) for slot in one.slots]} for one in entries]


def authorization_form(one: Authorization) -> Form:
    """EIP-7702."""
    numbers = {"chainId": one.chain_id, "nonce": one.nonce, "yParity": one.y_parity, "r": one.r, "s": one.s}
    return {"address": data(one.address), **{name: quantity(value) for name, value in numbers.items()}}


def move_form(move: NamedMove) -> Form:
    """A signed move (S2): a field that its signer masked is null."""
    assert is_signed(move.mask)

    def shown(bit: Mask, value: bytes) -> str | None:
        return None if move.mask & bit else data(value)

    return {
        "mask": quantity(move.mask),
        "mark": None if move.mask & Mask.MARK else chr(move.mark),
        "intx": shown(Mask.INTX, move.intx),
        "address": shown(Mask.ADDR, move.addr),
        "slot": shown(Mask.SLOT, move.slot),
        "prev": shown(Mask.PREV, move.prev),
        "next": shown(Mask.NEXT, move.next),
    }


def place_form(header: Header, block_hash: bytes) -> Form:
    """What all logs of a sealed block say of it."""
    return {
        "blockHash": data(block_hash),
        "blockNumber": quantity(header.number),
        "blockTimestamp": quantity(header.timestamp),
    }


def log_form(log: LogFields, place: Form, log_index: int) -> Form:
    """A log of a sealed block. place: `place_form`, then transactionHash and transactionIndex; log_index: its own
    number in the block.
    """
    address, topics, payload = log
    return {
        "address": data(address),
        "topics": [data(topic) for topic in topics],
        "data": data(payload),
        **place,
        "logIndex": quantity(log_index),
        "removed": False,
    }
