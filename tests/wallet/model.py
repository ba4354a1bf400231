"""A state in memory, a wallet's source and a filler over it: coordinator and validator of one transaction.

`fill` executes a signed envelope on the state as it is, by revm, and gives it what the rules then judge.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from manaflow.coordinator.declare import Misfit, fit, ordered, unsigned_mask
from manaflow.evm.executor import Environment, Execution, Job
from manaflow.evm.isolated import execute_alone
from manaflow.evm.logs import outcome_of
from manaflow.evm.native import RevmExecutor
from manaflow.moves import trees
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark, Move
from manaflow.moves.transactions import DeclaredTransaction, NamedMove
from manaflow.rules.config import PRAGUE_BLOBS, ChainConfig, Fork, ForkEntry, Profile
from manaflow.rules.declared import check_s2, check_s3, check_s4
from manaflow.rules.moves import check_m1, check_m2, check_m3, check_m5, check_m6, compute_burned
from manaflow.wallet.claims import Fill
from manaflow.wallet.keys import Secret, address_of, from_private_key
from manaflow.wallet.source import VIRGIN, Cell

CHAIN_ID: Final = 7_777
ETHER: Final = 10**18
KEY: Final = from_private_key(Secret("0x" + "46" * 32))
ME: Final = address_of(KEY)
OTHER: Final = bytes.fromhex("35" * 20)
CONFIG: Final = ChainConfig(
    chain_id=CHAIN_ID, profile=Profile.MANAFLOW, forks=(ForkEntry(Fork.PRAGUE, 0, PRAGUE_BLOBS),), system_calls=(),
    producers=(OTHER,), genesis_number=0, ancestors_root=trees.EMPTY_ROOT, ancestors=0, challenge_blocks=4,
)  # fmt: skip


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def balance(address: bytes) -> Location:
    return int(Mark.BALANCE), address, ZERO32


def storage(address: bytes, slot: int) -> Location:
    return int(Mark.STORAGE), address, word(slot)


class Refused(Exception):
    """The filler, or the rules, have no fill for a transaction."""

    def __init__(self, misfit: Misfit) -> None:
        self.misfit = misfit
        super().__init__(misfit.detail)


def environment(**changes: object) -> Environment:
    """A block of the model's chain."""
    plain = Environment(
        chain_id=CHAIN_ID, fork=Fork.PRAGUE, number=10, timestamp=10_000, coinbase=b"\xc0" * 20, gas_limit=30_000_000,
        base_fee=10**9, prevrandao=b"\x09" * 32, excess_blob_gas=0, blob_base_fee=1, blobs=PRAGUE_BLOBS,
        profile=Profile.MANAFLOW,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


@dataclass
class Model:
    """A CellSource that is a dict."""

    cells: dict[Location, Cell] = field(default_factory=dict)
    codes: dict[bytes, bytes] = field(default_factory=dict)
    environment: Environment = field(default_factory=environment)
    asked: list[Location] = field(default_factory=list)
    _makers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def cell(self, location: Location) -> Cell:
        self.asked.append(location)
        return self.cells.get(location, VIRGIN)

    def code(self, address: bytes, code_hash: bytes) -> bytes:
        return self.codes[code_hash]

    def block_hash(self, number: int) -> bytes:
        return keccak256(word(number))

    def write(self, location: Location, value: int | bytes) -> bytes:
        """Somebody else's transaction writes a cell; its txid."""
        maker = keccak256(word(next(self._makers)))
        self.cells[location] = Cell(maker, word(value) if isinstance(value, int) else value)
        return maker

    def account(self, address: bytes, wei: int = 0, nonce: int = 0, code: bytes = b"") -> bytes:
        self.write(balance(address), wei)
        if nonce:
            self.write((Mark.NONCE, address, ZERO32), nonce)
        if code:
            self.codes[keccak256(code)] = code
            self.write((Mark.CODE, address, ZERO32), keccak256(code))
        return address

    def copy(self) -> Model:
        return replace(self, cells=dict(self.cells), codes=dict(self.codes), asked=[])

    def fill(self, envelope: bytes) -> Fill:
        """Fill as a coordinator does and judge as a validator does: M, S, X. Raises Refused, or Verdict."""
        transaction = decode_envelope(envelope)
        assert isinstance(transaction, DeclaredTransaction)
        execution, named = self.executed(transaction)
        moves = self.judged(envelope, named, execution)
        return Fill(moves, execution.status, execution.gas_used, self.environment.base_fee, self.environment.number)

    def executed(self, transaction: DeclaredTransaction) -> tuple[Execution, list[NamedMove]]:
        """The call on this state, and its moves with the masks and guards that its signature asks for."""
        job = Job(self.environment, transaction, recover_sender(transaction), 0, 0, _Cells(self), self.codes)
        execution = RevmExecutor().execute(job)
        plain = ordered([
            NamedMove(
                unsigned_mask(u.prev == u.next), u.mark, self._maker(u.location), u.addr, u.slot, u.prev, u.next
            ) for u in execution.uses
        ])  # fmt: skip
        found = fit(transaction, plain, execution.status, lambda at: (self._maker(at), self._value(at)))
        if isinstance(found, Misfit):
            raise Refused(found)
        masked = [replace(move, mask=mask) for move, mask in zip(plain, found.masks, strict=True)]
        return execution, ordered([*masked, *found.guards])

    def judged(self, envelope: bytes, named: list[NamedMove], execution: Execution) -> list[NamedMove]:
        """Every rule of one transaction but V."""
        moves = [Move(m.mask, m.mark, 0, m.addr, m.slot, m.prev, m.next) for m in named]
        transaction, sender = check_s2(envelope, CONFIG, keccak256(envelope), moves)
        check_s3(transaction, moves, execution.status)
        check_s4(transaction, self.environment.number)
        for check in (check_m1, check_m2, check_m5):
            check(moves)
        check_m3(moves, sender, transaction.nonce)
        base_fee = self.environment.base_fee
        check_m6(moves, compute_burned(Profile.MANAFLOW, transaction, execution.gas_used, base_fee, 0))
        cells = {move.location: move.prev for move in moves}
        job = Job(self.environment, transaction, sender, 0, 0, cells, self.codes)
        execute_alone(RevmExecutor(), job, moves, outcome_of(execution))
        return named

    def _maker(self, location: Location) -> bytes:
        return ZERO32 if location[0] == Mark.BLOCKHASH else self.cells.get(location, VIRGIN).intx

    def _value(self, location: Location) -> bytes:
        if location[0] == Mark.BLOCKHASH:
            return self.block_hash(int.from_bytes(location[2], "big"))
        return self.cells.get(location, VIRGIN).value

    def apply(self, fill: Fill, txid: bytes) -> None:
        """The fill is in a block."""
        for move in fill.moves:
            if not move.is_reference:
                self.cells[move.location] = Cell(txid, move.next)


class _Cells(dict[Location, bytes]):
    """A world in which nothing is undeclared."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._read: Callable[[Location], bytes] = model._value

    def __missing__(self, location: Location) -> bytes:
        return self._read(location)

    def get(self, location: Location, default: bytes | None = None) -> bytes:  # type: ignore[override]
        return self._read(location)


def asm(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


COUNTER: Final = bytes.fromhex("cc" * 20)
COUNTER_CODE: Final = asm("36 15 6008 57 5f 5f fd 5b 5f 54 6001 01 5f 55 00")
"""Without data: adds 1 to slot 0. With any: reverts."""
SWITCH: Final = bytes.fromhex("5c" * 20)
SWITCH_CODE: Final = asm("5f 54 80 54 6001 01 90 55 00")
"""Adds 1 to the slot that slot 0 names: which cells it uses depends on the state."""
HASHER: Final = bytes.fromhex("4a" * 20)
HASHER_CODE: Final = asm("6001 43 03 40 5f 55 00")
"""Writes the hash of the block before into slot 0."""
CLOCK: Final = bytes.fromhex("c1" * 20)
CLOCK_CODE: Final = asm("42 5f 55 00")
"""Writes the timestamp into slot 0."""
PAYER: Final = bytes.fromhex("9a" * 20)
PAYER_CODE: Final = asm("5f 5f 5f 5f 5f 54 33 5a f1 00")
"""Sends its caller as much ether as slot 0 says, and does not care whether that works."""
READER: Final = bytes.fromhex("4e" * 20)
READER_CODE: Final = asm("6003 54 6007 57 00 5b 6001 5f 54 01 5f 55 00")
"""Stops if slot 3 is zero; else adds 1 to slot 0."""


def world() -> Model:
    """Accounts with ether, and the contracts above."""
    model = Model()
    model.account(ME, 100 * ETHER, 7)
    model.account(OTHER, 5 * ETHER)
    codes = {
        COUNTER: COUNTER_CODE, SWITCH: SWITCH_CODE, HASHER: HASHER_CODE, CLOCK: CLOCK_CODE, PAYER: PAYER_CODE,
        READER: READER_CODE,
    }  # fmt: skip
    for address, code in codes.items():
        model.account(address, ETHER, 1, code)
    model.write(storage(COUNTER, 0), 5)
    model.write(storage(SWITCH, 0), 4)
    model.write(storage(READER, 3), 1)
    return model
