"""A sealed block read as Ethereum sees one: its signed transactions only, with receipts and numbered logs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import Final

import rlp

from manaflow.coordinator.receipts import bloom_of
from manaflow.evm.envelopes import EnvelopeColumns, decode_envelopes, effective_prices
from manaflow.evm.executor import Log
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.leaf import LEAF_BYTES
from manaflow.node.chain import SealedBlock
from manaflow.node.encoding import data, quantity
from manaflow.node.eth_forms import Form, created_address, header_form, log_form, placed_form, transaction_form

NO_LOGS: Final = bytes(rlp.encode([]))
NO_BLOOM: Final = data(bytes(256))
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
    def _first_logs(self) -> list[int]:
        """Number in the block of each transaction's first log."""
        return list(accumulate(map(len, self.logs), initial=0))

    @cached_property
    def _columns(self) -> EnvelopeColumns:
        return decode_envelopes(self.sealed.block.envelopes)

    @cached_property
    def _prices(self) -> list[int]:
        return effective_prices(self._columns, self.header.base_fee)

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
        return [self.transaction(i) for i in range(len(self))]

    def transaction(self, index: int) -> Form:
        """One of them. IndexError."""
        transaction, sender = decode_envelope(self.sealed.block.envelopes[index]), self._columns.sender[index].tobytes()
        form = transaction_form(transaction, sender)
        return placed_form(form, self.header, self.hash, index, self._prices[index])

    def receipts(self) -> list[Form]:
        """All of them."""
        return [self.receipt(i) for i in range(len(self))]

    def log_forms(self) -> list[Form]:
        """The logs of all transactions."""
        return list(self.each_log())

    def each_log(self) -> Iterator[Form]:
        """The same, one after another: a block may have a hundred thousand."""
        return (form for i, logs in enumerate(self.logs) if logs for form in self._log_forms(i))

    def _log_forms(self, index: int) -> list[Form]:
        first, txid = self._first_logs[index], self.txid(index)
        return [
            log_form(log, self.header, self.hash, txid, index, first + place)
            for place, log in enumerate(self.logs[index])
        ]

    @cached_property
    def _same(self) -> Form:
        """What all receipts of the block have in common."""
        return {"blockHash": data(self.hash), "blockNumber": quantity(self.header.number)}

    @cached_property
    def _people(self) -> list[tuple[str, str | None, str | None]]:
        """By transaction: from, to, contractAddress."""
        columns = self._columns
        senders, receivers = columns.sender.tobytes().hex(), columns.to.tobytes().hex()
        people: list[tuple[str, str | None, str | None]] = []
        for i, is_create in enumerate(columns.is_create.tolist()):
            sender, to = "0x" + senders[40 * i : 40 * i + 40], "0x" + receivers[40 * i : 40 * i + 40]
            made = data(created_address(columns.sender[i].tobytes(), int(columns.nonce[i]))) if is_create else None
            people.append((sender, None if is_create else to, made))
        return people

    @cached_property
    def _gas_used(self) -> list[int]:
        """By leaf."""
        gas: list[int] = self.sealed.block.leaves.gas_used.tolist()
        return gas

    def receipt(self, index: int) -> Form:
        """Of one transaction. IndexError."""
        receipt = self.sealed.receipts[index]
        sender, to, made = self._people[index]
        has_logs = receipt.logs_rlp != NO_LOGS
        return {
            "type": hex(receipt.type),
            "status": hex(receipt.status),
            "transactionHash": data(self.txid(index)),
            "transactionIndex": hex(index),
            **self._same,
            "from": sender,
            "to": to,
            "contractAddress": made,
            "cumulativeGasUsed": hex(receipt.cumulative_gas),
            "gasUsed": hex(self._gas_used[self.sealed.first_signed + index]),
            "effectiveGasPrice": hex(self._prices[index]),
            "logs": self._log_forms(index) if has_logs else [],
            "logsBloom": data(bloom_of(receipt.logs_rlp).to_bytes(256, "big")) if has_logs else NO_BLOOM,
        }
