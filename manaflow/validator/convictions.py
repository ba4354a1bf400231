"""Convicted blocks (rule F1): kept with the proof for ever, so that neither they nor what builds on them come back.

And producers convicted of an equivocation, which voids no block: the evidence alone is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from manaflow.errors import Convicted
from manaflow.moves.header import Header
from manaflow.validator.archive import Archive
from manaflow.validator.store import Table, Transaction, number_key


def remember(txn: Transaction, block_hash: bytes, proof: bytes) -> None:
    """Keep a block's conviction; a second proof of the same block changes nothing."""
    if txn.view(Table.CONVICTED, block_hash) is None:
        txn.put(Table.CONVICTED, block_hash, proof)


def conviction(txn: Transaction, block_hash: bytes) -> bytes | None:
    """The proof that convicts a block, if there is one."""
    return txn.get(Table.CONVICTED, block_hash) if len(block_hash) == 32 else None


def remember_producer(txn: Transaction, producer: bytes, number: int, proof: bytes) -> None:
    """Keep the evidence that a producer signed two blocks of a number; a second proof of it changes nothing."""
    key = producer + number_key(number)
    if txn.view(Table.EQUIVOCATIONS, key) is None:
        txn.put(Table.EQUIVOCATIONS, key, proof)


def equivocation(txn: Transaction, producer: bytes, number: int) -> bytes | None:
    """The evidence that a producer signed two blocks of a number, if there is some."""
    return txn.get(Table.EQUIVOCATIONS, producer + number_key(number))


def canonical_number(txn: Transaction, block_hash: bytes) -> int | None:
    """The number of a block of the canonical chain; None for every other one."""
    archive = Archive(txn)
    header = archive.header_of(block_hash)
    if header is None:
        return None
    record = archive.canonical(header.number)
    return header.number if record is not None and record.hash == block_hash else None


def lowest_convicted(txn: Transaction) -> int | None:
    """The lowest convicted block that is canonical all the same: an undo that was cut short."""
    numbers = (canonical_number(txn, block_hash) for block_hash, _ in txn.items(Table.CONVICTED))
    return min((number for number in numbers if number is not None), default=None)


def check_f1(txn: Transaction, header: Header) -> None:
    """F1: neither the block nor an ancestor that is known here is convicted. Raises Convicted."""
    if not txn.statistics(Table.CONVICTED)["entries"]:
        return
    block_hash = header.hash
    for ancestor in (block_hash, *_ancestors(txn, header)):
        if txn.view(Table.CONVICTED, ancestor) is not None:
            raise Convicted(header.number, block_hash, ancestor)


def _ancestors(txn: Transaction, header: Header) -> Iterator[bytes]:
    """Hashes of the block's ancestors that are off the canonical chain, as far as they are stored, nearest first."""
    archive = Archive(txn)
    while True:
        parent_hash = header.parent_hash
        yield parent_hash
        parent = archive.header_of(parent_hash)
        if parent is None:
            return
        record = archive.canonical(parent.number)
        if parent.number >= header.number or (record is not None and record.hash == parent_hash):
            return
        header = parent
