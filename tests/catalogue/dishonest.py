"""What a dishonest producer can do: take a sealed block apart, change it, and seal it again with the producer's key.

    draft = Draft.of(block)
    draft.transactions[3].moves[0] = replace(...)
    lie = sealed(draft)                          # everything recomputed: only the change itself is wrong
    lie = sealed(draft, leave={Step.TOTALS})     # the totals stay as the draft has them

An unchanged draft seals to the same block, hash and signature included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.coordinator.seal import sign
from manaflow.errors import Verdict
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves import trees
from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.leaf import Leaf
from manaflow.moves.marks import Location, Mark, Move
from manaflow.rules.leaves import compute_fees_added


class Step(Enum):
    """What sealing recomputes, in this order; a step that is left keeps what the draft says."""

    COUNTS = auto()
    """Consumes and references of each leaf, from its moves."""
    TXIDS = auto()
    """Of each leaf with an envelope."""
    MOVES_ROOTS = auto()
    TOTALS = auto()
    """First cell, gas, fees and blob gas before each leaf."""
    CODE_ORDER = auto()
    """Codes by their hashes."""
    SUMS = auto()
    """The header's cells, gas used, fees, blob gas used."""
    BODY_COUNTS = auto()
    """The header's numbers of leaves and codes."""
    TRANSACTIONS_ROOT = auto()
    CODES_ROOT = auto()
    WITHDRAWALS_ROOT = auto()
    SIGNATURE = auto()


@dataclass
class Transaction:
    """One leaf of a draft and what hangs on it."""

    leaf: Leaf
    moves: list[Move]
    envelope: bytes | None
    """None for a system transaction."""

    def change(self, i: int, **fields: Any) -> None:
        """Replace fields of move i."""
        self.moves[i] = replace(self.moves[i], **fields)

    def say(self, **fields: Any) -> None:
        """Replace fields of the leaf."""
        self.leaf = replace(self.leaf, **fields)

    def sort(self) -> None:
        """Put the moves into rule M5's order."""
        self.moves.sort(key=lambda move: (move.is_reference, move.location))

    def add(self, *moves: Move) -> int:
        """Add moves in rule M5's order; returns where the first of them is now."""
        self.moves.extend(moves)
        self.sort()
        return next(i for i, move in enumerate(self.moves) if move is moves[0])

    def index(self, mark: int, addr: bytes | None = None, *, reference: bool | None = None) -> int:
        """The first move of this kind."""
        for i, move in enumerate(self.moves):
            if move.mark == mark and addr in (None, move.addr) and reference in (None, move.is_reference):
                return i
        raise LookupError(f"no such move: {Mark(mark).name}")


@dataclass
class Draft:
    """A block taken apart, everything free to change."""

    header: Header
    signature: bytes
    transactions: list[Transaction]
    codes: list[bytes]
    withdrawals: list[Withdrawal]
    sources: dict[Location, int]
    """Which cell each location's first move names: where its chain of cells enters the block."""
    left_over: list[bytes] = field(default_factory=list)
    """Envelopes of no leaf."""
    pays_fees: bool = False
    """Profile `manaflow`: leaves carry running fees."""

    @staticmethod
    def of(block: Block) -> Draft:
        """Take an honest block apart."""
        leaves, bounds = block.leaves.objects(), block.leaves.move_offsets().tolist()
        moves, envelopes = block.moves.objects(), {keccak256(raw): raw for raw in block.envelopes}
        sources: dict[Location, int] = {}
        for move in moves:
            sources.setdefault(move.location, move.number)
        parts = [
            Transaction(leaf, moves[bounds[t] : bounds[t + 1]], envelopes.get(leaf.txid))
            for t, leaf in enumerate(leaves)
        ]
        codes, withdrawals, pays_fees = list(block.codes), list(block.withdrawals), block.header.fees > 0
        return Draft(block.header, block.signature, parts, codes, withdrawals, sources, pays_fees=pays_fees)

    def __getitem__(self, t: int) -> Transaction:
        return self.transactions[t]

    @property
    def signed(self) -> list[int]:
        """Positions of the signed transactions."""
        return [t for t, transaction in enumerate(self.transactions) if transaction.envelope is not None]

    def places(self) -> Iterator[tuple[int, int, Move]]:
        """(transaction, move, the move) of every move, in order."""
        for t, transaction in enumerate(self.transactions):
            for i, move in enumerate(transaction.moves):
                yield t, i, move

    def find(self, test: Callable[[int, Move], bool]) -> tuple[int, int]:
        """The first move for which test(transaction, move) is true. Raises LookupError if there is none."""
        for t, i, move in self.places():
            if test(t, move):
                return t, i
        raise LookupError("no move of this block will do")

    def uses(self, location: Location) -> list[tuple[int, int]]:
        """Places of every move at a location."""
        return [(t, i) for t, i, move in self.places() if move.location == location]

    def renumber(self) -> None:
        """Number every move as an honest producer would, after consumes have come, gone or changed places."""
        latest, number = dict(self.sources), self.header.first_cell
        for transaction in self.transactions:
            for i, move in enumerate(transaction.moves):
                transaction.change(i, number=latest.get(move.location, move.number))
            for move in transaction.moves:
                if not move.is_reference:
                    latest[move.location] = number
                    number += 1


def sealed(draft: Draft, *, leave: Set[Step] = frozenset(), key: bytes = DEVELOPMENT_KEY) -> Block:
    """Seal a draft: recompute everything but the steps to `leave`, sign with `key`."""
    moves = Moves.of(move for transaction in draft.transactions for move in transaction.moves)
    leaves = _leaves(draft, moves, leave)
    envelopes = [t.envelope for t in draft.transactions if t.envelope is not None] + draft.left_over
    codes = draft.codes if Step.CODE_ORDER in leave else sorted(draft.codes, key=keccak256)
    header = _header(draft, leaves, codes, leave)
    signature = draft.signature if Step.SIGNATURE in leave else sign(header.hash, key)
    return Block(header, signature, leaves, moves, tuple(envelopes), tuple(codes), tuple(draft.withdrawals))


def resigned(block: Block, *, key: bytes = DEVELOPMENT_KEY, **fields: Any) -> Block:
    """The block with fields of its header replaced, nothing else recomputed, and signed."""
    header = replace(block.header, **fields)
    return replace(block, header=header, signature=sign(header.hash, key))


def blob_gas_of(envelope: bytes | None) -> int:
    """Blob gas of an envelope; 0 if it does not decode."""
    try:
        return 0 if envelope is None else decode_envelope(envelope).blob_gas
    except Verdict:
        return 0


def fees_of(draft: Draft, transaction: Transaction) -> int:
    """Wei that a transaction adds to the block's fees; 0 if its envelope does not decode."""
    if not draft.pays_fees or transaction.envelope is None:
        return 0
    base_fee = draft.header.base_fee
    try:
        price = decode_envelope(transaction.envelope).effective_gas_price(base_fee)
    except Verdict:
        return 0
    return compute_fees_added(price, base_fee, transaction.leaf.gas_used)


def _leaves(draft: Draft, moves: Moves, leave: Set[Step]) -> Leaves:
    rows = [_counted(transaction, leave) for transaction in draft.transactions]
    if Step.MOVES_ROOTS not in leave and rows:
        roots = [trees.root([move.encode() for move in t.moves]) for t in draft.transactions]
        rows = [replace(leaf, moves_root=root) for leaf, root in zip(rows, roots, strict=True)]
    if Step.TOTALS not in leave:
        rows = _totalled(draft, rows)
    return Leaves.of(rows)


def _counted(transaction: Transaction, leave: Set[Step]) -> Leaf:
    leaf = transaction.leaf
    if Step.COUNTS not in leave:
        references = sum(move.is_reference for move in transaction.moves)
        leaf = replace(leaf, consumes=len(transaction.moves) - references, references=references)
    if Step.TXIDS not in leave and transaction.envelope is not None:
        leaf = replace(leaf, txid=keccak256(transaction.envelope))
    return leaf


def _totalled(draft: Draft, leaves: Sequence[Leaf]) -> list[Leaf]:
    rows, cell, gas, fees, blob_gas = [], draft.header.first_cell, 0, 0, 0
    for transaction, leaf in zip(draft.transactions, leaves, strict=True):
        rows.append(replace(leaf, first_cell=cell, gas=gas, fees=fees, blob_gas=blob_gas))
        cell, gas = cell + leaf.consumes, gas + leaf.gas_used
        fees += fees_of(draft, transaction)
        blob_gas += blob_gas_of(transaction.envelope)
    return rows


def _header(draft: Draft, leaves: Leaves, codes: Sequence[bytes], leave: Set[Step]) -> Header:
    changes: dict[Step, dict[str, Any]] = {
        Step.SUMS: {
            "cells": int(leaves.consumes.sum()),
            "gas_used": int(leaves.gas_used.sum()),
            "fees": sum(fees_of(draft, t) for t in draft.transactions) if draft.pays_fees else draft.header.fees,
            "blob_gas_used": sum(blob_gas_of(t.envelope) for t in draft.transactions),
        },
        Step.BODY_COUNTS: {"transactions": len(leaves), "codes": len(codes)},
        Step.TRANSACTIONS_ROOT: {"transactions_root": NATIVE.tree_root(leaves.encoded())},
        Step.CODES_ROOT: {"codes_root": trees.root([keccak256(code) for code in codes])},
        Step.WITHDRAWALS_ROOT: {"withdrawals_root": trees.root([w.encode() for w in draft.withdrawals])},
    }
    fields = {name: value for step, values in changes.items() if step not in leave for name, value in values.items()}
    return replace(draft.header, **fields)
