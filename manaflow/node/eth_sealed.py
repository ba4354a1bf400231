"""A sealed block read as Ethereum sees one: its signed transactions only, with receipts and numbered logs. Pure."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import rlp

from manaflow.coordinator.receipts import bloom_of
from manaflow.evm.envelopes import decode_envelopes
from manaflow.evm.executor import Log
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.leaf import LEAF_BYTES
from manaflow.moves.transactions import EthereumTransaction
from manaflow.node.chain import SealedBlock
from manaflow.node.encoding import data, quantity
from manaflow.node.eth_forms import Form, created_address, header_form, log_form, placed_form, transaction_form

MOVE_BYTES: Final = 126
"""Of one move: mask, mark, number, addr, slot, prev and next."""


def logs_of(logs_rlp: bytes) -> tuple[Log, ...]:
    """The logs of a receipt."""
    return tuple(
        Log(bytes(address), tuple(map(bytes, topics)), bytes(payload))
        for address, topics, payload in rlp.decode(logs_rlp)
    )


class Reading:
    """One sealed block. Transactions are numbered as Ethereum numbers them, without system transactions."""

    def __init__(self, sealed: SealedBlock) -> None:
        self.sealed, self.header, self.hash = sealed, sealed.block.header, sealed.block.hash

    def __len__(self) -> int:
        return len(self.sealed.block.envelopes)

    def index_of_leaf(self, leaf: int) -> int | None:
        """Which transaction a leaf is; None for a system transaction."""
        index = leaf - self.sealed.first_signed
        return index if 0 <= index < len(self) else None

    def txid(self, index: int) -> bytes:
        """A transaction's id."""
        return bytes(self.sealed.block.leaves.txid[self.sealed.first_signed + index])

    @cached_property
    def logs(self) -> tuple[tuple[Log, ...], ...]:
        """By transaction."""
        return tuple(logs_of(receipt.logs_rlp) for receipt in self.sealed.receipts)

    @cached_property
    def bloom(self) -> bytes:
        """Of all logs, 256 bytes."""
        bloom = 0
        for receipt in self.sealed.receipts:
            bloom |= bloom_of(receipt.logs_rlp)
        return bloom.to_bytes(256, "big")

    @property
    def size(self) -> int:
        """Bytes of header, signature, leaves, moves, envelopes and codes, before any compression."""
        block = self.sealed.block
        fixed = len(block.header.encode()) + len(block.signature)
        rows = LEAF_BYTES * len(block.leaves) + MOVE_BYTES * len(block.moves)
        return fixed + rows + sum(map(len, block.envelopes)) + sum(map(len, block.codes))

    def head(self) -> Form:
        """The header, as newHeads tells it."""
        return header_form(self.header, self.hash, self.bloom)

    def block(self, *, full: bool) -> Form:
        """The block, with whole transactions or their hashes."""
        return {
            **self.head(),
            "size": quantity(self.size),
            "transactions": self.transactions() if full else [data(self.txid(i)) for i in range(len(self))],
            "uncles": [],
            "withdrawals": [
                {
                    "index": quantity(one.index),
                    "validatorIndex": quantity(one.validator),
                    "address": data(one.address),
                    "amount": quantity(one.amount),
                }
                for one in self.sealed.block.withdrawals
            ],
        }

    def transactions(self) -> list[Form]:
        """All of them."""
        return [self._transaction(i, transaction, sender) for i, (transaction, sender) in enumerate(self._decoded())]

    def transaction(self, index: int) -> Form:
        """One of them. IndexError."""
        transaction = decode_envelope(self.sealed.block.envelopes[index])
        return self._transaction(index, transaction, recover_sender(transaction))

    def receipts(self) -> list[Form]:
        """All of them."""
        return [self._receipt(i, transaction, sender) for i, (transaction, sender) in enumerate(self._decoded())]

    def receipt(self, index: int) -> Form:
        """Of one transaction. IndexError."""
        transaction = decode_envelope(self.sealed.block.envelopes[index])
        return self._receipt(index, transaction, recover_sender(transaction))

    def log_forms(self) -> list[Form]:
        """The logs of all transactions."""
        return [form for i, logs in enumerate(self.logs) if logs for form in self._log_forms(i)]

    def _decoded(self) -> list[tuple[EthereumTransaction, bytes]]:
        """Transactions with their senders, which are recovered in one batch."""
        envelopes = self.sealed.block.envelopes
        senders = decode_envelopes(envelopes).sender
        return [(decode_envelope(raw), senders[i].tobytes()) for i, raw in enumerate(envelopes)]

    def _transaction(self, index: int, transaction: EthereumTransaction, sender: bytes) -> Form:
        price = transaction.effective_gas_price(self.header.base_fee)
        return placed_form(transaction_form(transaction, sender), self.header, self.hash, index, price)

    def _log_forms(self, index: int) -> list[Form]:
        first, txid = sum(map(len, self.logs[:index])), self.txid(index)
        return [
            log_form(log, self.header, self.hash, txid, index, first + place)
            for place, log in enumerate(self.logs[index])
        ]

    def _receipt(self, index: int, transaction: EthereumTransaction, sender: bytes) -> Form:
        receipt, leaf = self.sealed.receipts[index], self.sealed.first_signed + index
        return {
            "type": quantity(transaction.type),
            "status": quantity(receipt.status),
            "transactionHash": data(transaction.txid),
            "transactionIndex": quantity(index),
            "blockHash": data(self.hash),
            "blockNumber": quantity(self.header.number),
            "from": data(sender),
            "to": data(transaction.to) if transaction.to else None,
            "contractAddress": None if transaction.to else data(created_address(sender, transaction.nonce)),
            "cumulativeGasUsed": quantity(receipt.cumulative_gas),
            "gasUsed": quantity(int(self.sealed.block.leaves.gas_used[leaf])),
            "effectiveGasPrice": quantity(transaction.effective_gas_price(self.header.base_fee)),
            "logs": self._log_forms(index),
            "logsBloom": data(bloom_of(receipt.logs_rlp).to_bytes(256, "big")),
        }
