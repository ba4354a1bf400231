"""Every error of the project, and the numbers of the rules.

ManaflowError
|-- Verdict      an input breaks a rule: which rule, where, what was expected and what was found
|-- Convicted    a verified proof has voided the block or an ancestor of it (F1)
|-- Undeclared   an execution touched a location that its moves do not name (becomes a verdict of X1)
`-- Failure      the operation failed; it says nothing about the input
    |-- CallFailed    a call that was only tried out reverts or halts
    |-- Pruned        the body of an old block, which this node has let go, is needed
    |-- Unsupported   real input that the rules cannot hold (before Paris, an old SELFDESTRUCT, ...)
    |-- StorageFailure   disk full, map full, damaged or newer files
    `-- Locked        another process owns this state directory
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class Rule(IntEnum):
    """The numbered rules of docs/SPEC.md. `native/src/rules.rs` holds the same numbers, and a test says so."""

    M1 = 1
    M2 = 2
    M3 = 3
    M4 = 4
    M5 = 5
    M6 = 6
    S1 = 11
    S2 = 12
    S3 = 13
    S4 = 14
    B1 = 21
    B2 = 22
    B3 = 23
    B4 = 24
    B5 = 25
    B6 = 26
    B7 = 27
    B8 = 28
    V1 = 31
    V2 = 32
    V3 = 33
    V4 = 34
    X0 = 40
    X1 = 41
    X2 = 42
    X3 = 43
    X4 = 44
    X5 = 45


class ManaflowError(Exception):
    """The root of every error that this package raises on purpose."""


def _shown(value: Any) -> str:
    return "0x" + bytes(value).hex() if isinstance(value, (bytes, bytearray, memoryview)) else str(value)


class Verdict(ManaflowError):
    """The input breaks a rule. `transaction` and `move` are positions in the block and in the transaction.

    `winner` is the txid (32 bytes) of the transaction that consumed a contested cell first, where that is known.
    """

    def __init__(
        self,
        rule: Rule,
        what: str,
        *,
        transaction: int | None = None,
        move: int | None = None,
        expected: Any = None,
        actual: Any = None,
        winner: bytes | None = None,
    ) -> None:
        self.rule, self.what, self.transaction, self.move = rule, what, transaction, move
        self.expected, self.actual, self.winner = expected, actual, winner
        super().__init__(rule, what)

    def at(self, transaction: int | None = None, move: int | None = None) -> Verdict:
        """The same verdict with its place filled in where it had none."""
        if self.transaction is None:
            self.transaction = transaction
        if self.move is None:
            self.move = move
        return self

    def __str__(self) -> str:
        where = "".join(
            f", {name} {value}"
            for name, value in (("transaction", self.transaction), ("move", self.move))
            if value is not None
        )
        text = f"{self.rule.name}{where}: {self.what}"
        sides = (("expected", self.expected), ("actual", self.actual))
        known = [f"{name} {_shown(value)}" for name, value in sides if value is not None]
        if known:
            text += f" ({', '.join(known)})"
        if self.winner is not None:
            text += f"; the cell went to transaction 0x{self.winner.hex()}"
        return text

    def as_json(self) -> dict[str, Any]:
        """The verdict for machines: rule, what, and the fields that are known."""
        fields = {"rule": self.rule.name, "what": self.what, "transaction": self.transaction, "move": self.move}
        for name in ("expected", "actual", "winner"):
            value = getattr(self, name)
            fields[name] = None if value is None else _shown(value)
        return fields


class Convicted(ManaflowError):
    """F1: a verified proof has voided block `convicted` (32-byte hash): the refused one, or an ancestor of it."""

    def __init__(self, number: int, block_hash: bytes, convicted: bytes) -> None:
        self.number, self.block_hash, self.convicted = number, block_hash, convicted
        whom = "it" if convicted == block_hash else f"its ancestor 0x{convicted.hex()}"
        super().__init__(f"F1: block {number} (0x{block_hash.hex()}) is void: a verified fraud proof convicts {whom}")


class Undeclared(ManaflowError):
    """An execution used the location (mark, addr, slot), which its moves do not name (X1)."""

    def __init__(self, mark: bytes, addr: bytes, slot: bytes) -> None:
        self.mark, self.addr, self.slot = mark, addr, slot
        super().__init__(f"undeclared access: {mark.decode()} 0x{addr.hex()} slot 0x{slot.hex()}")


class Failure(ManaflowError):
    """The operation failed; this says nothing about the input."""


class CallFailed(Failure):
    """A call that was only tried out reverts or halts. `output`: what it reverted with, empty for a halt."""

    def __init__(self, what: str, output: bytes = b"") -> None:
        self.output = output
        super().__init__(what)


class Pruned(Failure):
    """The body of an old block is needed, and this node has let it go (`manaflow prune`); its header is still here."""

    def __init__(self, number: int, block_hash: bytes) -> None:
        self.number, self.block_hash = number, block_hash
        super().__init__(f"the body of block {number} (0x{block_hash.hex()}) was pruned here: ask a node that keeps it")


class Unsupported(Failure):
    """Real input that the rules cannot hold; the message says which and why."""


class StorageFailure(Failure):
    """The disk or the map is full, or the files are damaged or of a newer version. The state opens again unchanged."""


class Locked(Failure):
    """Another process owns this state directory."""
