"""Where a wallet learns the state: cells, codes and the next block's environment, from a node or in process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from manaflow.errors import Failure
from manaflow.evm.environment import environment_of
from manaflow.evm.executor import Environment
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.marks import ZERO20, ZERO32, Location, Mark
from manaflow.rules.config import ChainConfig
from manaflow.rules.fees import next_base_fee
from manaflow.rules.moves import named

MAX_CELLS: Final = 1 << 13
"""Cells that one declaration may read: as many as an envelope can sign."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The live cell at a location, as a source says it."""

    intx: bytes
    """Txid of its maker, 32 bytes; zero for a virgin one."""
    value: bytes
    """32 bytes."""
    number: int = 0
    """Where it is known and sealed; a hint."""


VIRGIN: Final = Cell(ZERO32, ZERO32)


class CellSource(Protocol):
    """A state to declare on. What it says of cells is believed; codes are checked against their hashes."""

    @property
    def environment(self) -> Environment:
        """The block that a transaction signed now would stand in, as far as anyone can know."""
        ...

    def cell(self, location: Location) -> Cell:
        """The live cell at a location of mark b, c, n or s. Raises Failure."""
        ...

    def code(self, address: bytes, code_hash: bytes) -> bytes:
        """The code of an address, whose `c` cell has this hash; the bytes are not believed. Raises Failure."""
        ...

    def block_hash(self, number: int) -> bytes:
        """The hash of one of the 256 blocks before the environment's. Raises Failure."""
        ...


class Snapshot:
    """What a source has said, each thing asked for once, so that a declaration sees one state."""

    def __init__(self, source: CellSource) -> None:
        self._source = source
        self.environment = source.environment
        self.cells: dict[Location, Cell] = {}
        self.codes: dict[bytes, bytes] = {}
        self._address_of: dict[bytes, bytes] = {}
        """Code hash -> an address that has it."""

    def cell(self, location: Location) -> Cell:
        """The cell at a location of any mark. Raises Failure, also if the call reads too many cells."""
        found = self.cells.get(location)
        if found is None:
            if len(self.cells) >= MAX_CELLS:
                raise Failure(f"the call reads more than {MAX_CELLS} cells, which is more than a wallet can declare")
            found = self.cells[location] = self._ask(location)
            if location[0] == Mark.CODE and found.value != ZERO32:
                self._address_of.setdefault(found.value, location[1])
        return found

    def number_at(self, mark: Mark, address: bytes) -> int:
        """A balance or a nonce."""
        return int.from_bytes(self.cell((mark, address, ZERO32)).value, "big")

    def code(self, code_hash: bytes) -> bytes | None:
        """Code bytes by hash, of a cell that was read; None of any other. Raises Failure if the source lies."""
        found = self.codes.get(code_hash)
        address = self._address_of.get(code_hash)
        if found is None and address is not None:
            found = self._source.code(address, code_hash)
            if keccak256(found) != code_hash:
                raise Failure(f"the source gave other bytes than the code 0x{code_hash.hex()} of 0x{address.hex()}")
            self.codes[code_hash] = found
        return found

    def _ask(self, location: Location) -> Cell:
        mark, address, slot = location
        if mark != Mark.BLOCKHASH:
            cell = self._source.cell(location)
            if cell.intx == ZERO32 and cell.value != ZERO32:
                raise Failure(f"the source says that nobody made a cell that is not zero: {named(location)}")
            return cell
        number, at = int.from_bytes(slot, "big"), self.environment.number
        if address != ZERO20 or not max(at - 256, 0) <= number < at:
            raise Failure(f"no block hash {number} before block {at}")
        return Cell(ZERO32, self._source.block_hash(number))


class LazyCells(Mapping[Location, bytes]):
    """A snapshot's values, read as an execution comes to them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __getitem__(self, location: Location) -> bytes:
        return self._snapshot.cell(location).value

    def __iter__(self) -> Iterator[Location]:
        return iter(list(self._snapshot.cells))

    def __len__(self) -> int:
        return len(self._snapshot.cells)


class LazyCodes(Mapping[bytes, bytes]):
    """A snapshot's codes, read as an execution comes to them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __getitem__(self, code_hash: bytes) -> bytes:
        found = self._snapshot.code(code_hash)
        if found is None:
            raise KeyError(code_hash)
        return found

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._snapshot.codes))

    def __len__(self) -> int:
        return len(self._snapshot.codes)


def next_environment(head: Header, config: ChainConfig, timestamp: int) -> Environment:
    """What the block after `head` will look like at `timestamp` (seconds), if its producer goes on as before.

    Timestamp, coinbase and randomness are the producer's to choose: a wallet can only guess them. Raises Unsupported.
    """
    guessed = replace(
        head,
        number=head.number + 1,
        parent_hash=head.hash,
        seen_parent_hash=head.hash,
        timestamp=max(timestamp, head.timestamp + 1),
        base_fee=next_base_fee(head),
        prevrandao=head.hash,
    )
    return environment_of(guessed, config)
