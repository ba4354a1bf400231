"""A sealed block read as Ethereum sees one: its signed transactions only, with numbered logs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, reduce
from itertools import accumulate
from operator import or_
from typing import Final

from manaflow.evm.envelopes import EnvelopeColumns, decode_envelopes, effective_prices
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.leaf import LEAF_BYTES
from manaflow.node.chain import SealedBlock
from manaflow.node.encoding import data, quantity
from manaflow.node.eth_forms import Form, LogFields, header_form, log_form, place_form, placed_form, transaction_form
from manaflow.node.eth_receipts import bloom_of_logs, logs_of

MOVE_BYTES: Final = 126
"""Of one move: mask, mark, number, addr, slot, prev and next."""


class Reading:
    """One sealed block. Transactions are numbered as Ethereum numbers them, without system transactions."""

    def __init__(self, sealed: SealedBlock) -> None:
        self.sealed, self.header, self.hash = sealed, sealed.block.header, sealed.block.hash

    def __len__(self) -> int:
        return len(self.sealed.block.envelopes)

    def txid(self, index: int) -> bytes:
        """A transaction's id."""
        return bytes(self.sealed.block.leaves.txid[self.sealed.first_signed + index])

    @cached_property
    def logs(self) -> list[list[LogFields]]:
        """By transaction."""
        return [logs_of(receipt.logs_rlp) for receipt in self.sealed.receipts]

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
        return reduce(or_, map(bloom_of_logs, self.logs), 0).to_bytes(256, "big")

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

    def log_forms(self) -> list[Form]:
        """The logs of all transactions."""
        return list(self.each_log())

    def each_log(self) -> Iterator[Form]:
        """The same, one after another: a block may have a hundred thousand."""
        return (form for i, logs in enumerate(self.logs) if logs for form in self._log_forms(i))

    def _log_forms(self, index: int) -> list[Form]:
        first, own = self._first_logs[index], {"transactionHash": data(self.txid(index))}
        place = {**place_form(self.header, self.hash), **own, "transactionIndex": quantity(index)}
        return [log_form(log, place, first + i) for i, log in enumerate(self.logs[index])]
