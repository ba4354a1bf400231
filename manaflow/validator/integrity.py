"""What `check` reads besides the index: records, blocks and codes of the canonical chain, against each other."""

from __future__ import annotations

from manaflow.errors import StorageFailure
from manaflow.moves.hashing import keccak256
from manaflow.rules.config import ChainConfig
from manaflow.validator.archive import Archive, Canonical, header_in, is_pruned
from manaflow.validator.store import Table, Transaction, number_key


def check_chain(txn: Transaction, config: ChainConfig, head: Canonical) -> tuple[int, int]:
    """Every canonical record follows the one before it, every block decodes and is the record's, every code is there.

    Of a pruned block the header is compared.

    Returns how many blocks the chain has, genesis included, and how many codes are stored. Raises StorageFailure.
    """
    archive, before = Archive(txn), None
    first_cells: dict[bytes, bytes] = {}
    for number in range(config.genesis_number, head.header.number + 1):
        record = archive.canonical(number)
        if record is None:
            raise StorageFailure(f"the canonical record of block {number} is missing")
        _check_record(config, record, before)
        _check_block(txn, archive, record)
        if record.header.cells:
            first_cells[number_key(record.header.first_cell)] = number_key(number)
        before = record
    if before != head:
        raise StorageFailure("the last canonical record is not the head's")
    _check_tables(txn, first_cells, blocks := head.header.number - config.genesis_number + 1)
    return blocks, _check_codes(txn)


def _check_record(config: ChainConfig, record: Canonical, before: Canonical | None) -> None:
    number = record.header.number
    if record.header.config != config.hash:
        raise StorageFailure(f"block {number} is of another chain config")
    expected = Canonical(record.hash, record.header, ())
    if before is not None:
        expected = before.followed_by(record.header, config.genesis_number)
        linked = record.header.parent_hash == before.hash
        if not linked or record.header.first_cell != before.header.first_cell + before.header.cells:
            raise StorageFailure(f"the header of block {number} does not follow the one before it")
    if record != expected or record.frontier(config.genesis_number).root() != record.header.history_root:
        raise StorageFailure(f"the history kept with block {number} is not that of its header")


def _check_block(txn: Transaction, archive: Archive, record: Canonical) -> None:
    stored = txn.get(Table.BLOCKS, record.hash)
    if stored is not None and is_pruned(stored):
        if header_in(stored) != record.header:
            raise StorageFailure(f"the header left of pruned block {record.header.number} is another one")
        return
    block = archive.block(record.hash)
    if block is None:
        raise StorageFailure(f"the bytes of block {record.header.number} are missing")
    for code in block.codes:
        if txn.view(Table.CODES, keccak256(code)) is None:
            raise StorageFailure(f"a code of block {record.header.number} is missing")


def _check_tables(txn: Transaction, first_cells: dict[bytes, bytes], blocks: int) -> None:
    if txn.statistics(Table.CANONICAL)["entries"] != blocks:
        raise StorageFailure("there are canonical records outside the chain")
    if {key: bytes(value) for key, value in txn.items(Table.FIRST_CELLS)} != first_cells:
        raise StorageFailure("the table of first cells is not that of the chain")


def _check_codes(txn: Transaction) -> int:
    count = 0
    for key, code in txn.items(Table.CODES):
        if keccak256(bytes(code)) != key:
            raise StorageFailure(f"the code stored as 0x{key.hex()} is another one")
        count += 1
    return count
