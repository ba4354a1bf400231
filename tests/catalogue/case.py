"""What an entry of the catalogue is, the blocks that entries start from, and the register."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

from manaflow.errors import Rule
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.block import Block
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.header import Header
from manaflow.moves.marks import UNSIGNED, ZERO32, Location, Mark, Mask, Move
from manaflow.moves.wire import encode_block
from manaflow.validator.validator import Mode
from tests.catalogue.dishonest import Draft, Transaction
from tests.declared_chain import Sealed, sealed_chain
from tests.manaflow_chain import Producer, coded_chain
from tests.replays import ACROSS_CANCUN, HOLESKY, Chain, chain


@dataclass(frozen=True)
class Base:
    """A real block by its name, the last of consecutive ones that a validator imports before it; or MANAFLOW."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return self.names[-1]


CANCUN = Base(HOLESKY)
"""Four blocks of Holesky: cells that earlier blocks made and spent, BLOCKHASH, blobs, one opening call."""
CREATING = Base(ACROSS_CANCUN)
"""The first Cancun block of mainnet; it makes a code."""
SHANGHAI = Base(ACROSS_CANCUN[:1])
"""Withdrawals, no system call, no blobs."""
PARIS = Base(("1-15537394",))
"""No withdrawals."""
PRAGUE = Base(("1-22615247",))
"""All four system calls."""
BLOBS = Base(("1-21230867",))
"""A blob base fee above 1 wei."""
MANAFLOW = Base(("manaflow",))
"""No real block: a chain of profile `manaflow` with declared transactions of every kind (tests/declared_chain.py)."""

CODES = Base(("codes",))
"""No real block: a chain of profile `manaflow` with many large codes (tests/manaflow_chain.py)."""


@dataclass(frozen=True)
class Lie:
    """A dishonest block, or a file that is none, and where it must be refused."""

    made: Block | bytes
    transaction: int | None = None
    move: int | None = None
    winner: bytes | None = None
    """The txid that a lost race names."""

    @cached_property
    def file(self) -> bytes:
        """What is sent to the validator."""
        return self.made if isinstance(self.made, bytes) else encode_block(self.made, NATIVE, level=1)


class Case:
    """An honest block and everything that its dishonest twins are made from."""

    def __init__(self, base: Base) -> None:
        self.base = base
        made = {MANAFLOW: sealed_chain, CODES: coded_chain}.get(base)
        self.chain: Chain | Sealed | Producer = chain(*base.names) if made is None else made()
        self.config = self.chain.config
        self.block = self.chain.blocks[-1]
        self.header = self.block.header
        self.before: list[Block] = [self.chain.genesis.block, *self.chain.blocks[:-1]]

    @property
    def parent(self) -> Header:
        return self.before[-1].header

    def draft(self) -> Draft:
        """The block taken apart, anew."""
        return Draft.of(self.block)

    @cached_property
    def cells(self) -> dict[Location, tuple[int, bytes]]:
        """Location -> (number, value) of every cell that lives before the block."""
        cells, number = {}, 1
        for block in self.before:
            for move in block.moves.objects():
                if not move.is_reference:
                    cells[move.location] = number, move.next
                    number += 1
        return cells

    @cached_property
    def spent(self) -> dict[Location, list[tuple[Move, bytes]]]:
        """Location -> the moves that consumed a numbered cell of it before the block, with their txids, in order."""
        spent: dict[Location, list[tuple[Move, bytes]]] = {}
        for block in self.before:
            for leaf, transaction in zip(block.leaves.objects(), Draft.of(block).transactions, strict=True):
                for move in transaction.moves:
                    if not move.is_reference and move.number:
                        spent.setdefault(move.location, []).append((move, leaf.txid))
        return spent

    def reference(self, location: Location) -> Move:
        """An honest reference, before the block, to what stands at a location."""
        number, value = self.cells.get(location, (0, ZERO32))
        return Move(UNSIGNED | Mask.REFERENCE, location[0], number, location[1], location[2], value, value)


def sender_of(transaction: Transaction) -> bytes:
    """Who signed it."""
    assert transaction.envelope is not None
    return recover_sender(decode_envelope(transaction.envelope))


def is_storage(move: Move) -> bool:
    return move.mark == Mark.STORAGE


def is_storage_consume(move: Move) -> bool:
    return is_storage(move) and not move.is_reference


def is_storage_reference(move: Move) -> bool:
    return is_storage(move) and move.is_reference


def flipped(value: bytes) -> bytes:
    """The bytes with the last bit the other way."""
    return value[:-1] + bytes([value[-1] ^ 1])


def virgin(mark: Mark, addr: bytes, slot: bytes = ZERO32) -> Move:
    """A reference to untouched state."""
    return Move(UNSIGNED | Mask.REFERENCE, mark, 0, addr, slot, ZERO32, ZERO32)


Maker = Callable[[Case], Lie]


@dataclass(frozen=True)
class Entry:
    """One way to be dishonest and what it must be answered."""

    name: str
    base: Base
    make: Maker
    rule: Rule
    reason: str
    """What the verdict says, in full or its beginning."""

    @property
    def mode(self) -> Mode:
        """The first mode that catches it: only an execution sees what X forbids."""
        return Mode.EXECUTE if Rule.X0 <= self.rule <= Rule.X5 else Mode.MOVES

    @property
    def id(self) -> str:
        return f"{self.rule.name}-{self.name}"


REGISTER: list[Entry] = []
"""Every entry, in the order of definition; catalogue.py imports all modules that add to it."""


def entry(rule: Rule, reason: str, base: Base = CANCUN) -> Callable[[Maker], Maker]:
    """Register a function as an entry; its name is the entry's."""

    def register(make: Maker) -> Maker:
        add(make.__name__, rule, reason, make, base)
        return make

    return register


def add(name: str, rule: Rule, reason: str, make: Maker, base: Base = CANCUN) -> None:
    """Register one entry of a family."""
    REGISTER.append(Entry(name, base, make, rule, reason))


@cache
def case_of(base: Base) -> Case:
    """The case of a base, kept."""
    return Case(base)


@cache
def lie_of(made_by: Entry) -> Lie:
    """What an entry makes, kept."""
    return made_by.make(case_of(made_by.base))
