"""What an open block has room for, and the refusals that say it has none left (docs/SPEC.md, section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import Final

from manaflow.errors import Rule, Verdict
from manaflow.moves.batch import full
from manaflow.moves.header import Header
from manaflow.moves.transactions import GAS_PER_BLOB
from manaflow.rules.bodies import most_code_bytes
from manaflow.rules.config import ChainConfig

LEAST_GAS: Final = 21_000
"""No transaction fits a block that has less gas left (EIP-2)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much an open block takes beside its gas; well within what a block's file may hold (wire.Limits)."""

    transactions: int = 100_000
    moves: int = 2**20
    envelope_bytes: int = 2**27


@dataclass(frozen=True, slots=True)
class Need:
    """What one transaction takes. gas_limit is what must be left; gas_used what it takes of that."""

    gas_limit: int
    gas_used: int
    blob_gas: int
    fees: int
    """Wei."""
    moves: int
    envelope_bytes: int
    code_bytes: int
    """Of codes that the block does not hold yet."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What each of a batch's transactions takes, as columns; `code_bytes` are 0."""

    gas_limit: list[int]
    gas_used: list[int]
    blob_gas: list[int]
    fees: list[int]
    moves: list[int]
    envelope_bytes: list[int]

    def __len__(self) -> int:
        return len(self.gas_limit)

    def __getitem__(self, t: int) -> Need:
        """Of transaction t."""
        rest = self.fees[t], self.moves[t], self.envelope_bytes[t], 0
        return Need(self.gas_limit[t], self.gas_used[t], self.blob_gas[t], *rest)

    def take(self, start: int, stop: int) -> Needs:
        """Of transactions start to stop."""
        columns = self.gas_limit, self.gas_used, self.blob_gas, self.fees, self.moves, self.envelope_bytes
        return self if stop - start == len(self) else Needs(*(column[start:stop] for column in columns))


@dataclass(slots=True)
class Room:
    """The running totals of an open block beside what they may be."""

    header: Header
    config: ChainConfig
    bounds: Bounds
    transactions: int = 0
    gas: int = 0
    blob_gas: int = 0
    fees: int = 0
    """Wei (profile `manaflow`)."""
    moves: int = 0
    envelope_bytes: int = 0
    code_bytes: int = 0

    @property
    def is_full(self) -> bool:
        """True if no transaction at all fits any more."""
        return self.header.gas_limit - self.gas < LEAST_GAS or self.transactions >= self.bounds.transactions

    def refusal(self, need: Need) -> Verdict | None:
        """Why a transaction does not fit, None if it does. X0: gas, blob gas; B1: what a file holds; B4: codes."""
        left, bounds = self.header.gas_limit - self.gas, self.bounds
        if (
            need.gas_limit <= left
            and need.blob_gas == need.code_bytes == 0
            and self.transactions < bounds.transactions
            and self.moves + need.moves <= bounds.moves
            and self.envelope_bytes + need.envelope_bytes <= bounds.envelope_bytes
        ):
            return None
        if need.gas_limit > left:
            return full(Rule.X0, "gas limit", f"at most {left}", need.gas_limit)
        return self._bound_broken(need)

    def _bound_broken(self, need: Need) -> Verdict | None:
        """The bounds beside gas, one by one."""
        blobs = self.config.blobs_at(self.header.timestamp)
        most_blob_gas = blobs.maximum * GAS_PER_BLOB if blobs else 0
        for rule, what, most, found in (
            (Rule.X0, "blob gas", most_blob_gas, self.blob_gas + need.blob_gas),
            (Rule.B1, "transactions", self.bounds.transactions, self.transactions + 1),
            (Rule.B1, "moves", self.bounds.moves, self.moves + need.moves),
            (Rule.B1, "bytes of envelopes", self.bounds.envelope_bytes, self.envelope_bytes + need.envelope_bytes),
            (Rule.B4, "bytes of code", most_code_bytes(self.header), self.code_bytes + need.code_bytes),
        ):
            if found > most:
                return full(rule, what, f"at most {most}", found)
        return None

    def has_for_all(self, needs: Needs) -> bool:
        """True if `refusal` would let each of them pass, taken one after another."""
        bounds, before = self.bounds, accumulate(needs.gas_used, initial=self.gas)
        return (
            max(map(add, needs.gas_limit, before), default=0) <= self.header.gas_limit
            and not any(needs.blob_gas)
            and self.transactions + len(needs) <= bounds.transactions
            and self.moves + sum(needs.moves) <= bounds.moves
            and self.envelope_bytes + sum(needs.envelope_bytes) <= bounds.envelope_bytes
        )

    def take_all(self, needs: Needs) -> None:
        """They are in the block. Blob gas: none."""
        self.transactions += len(needs)
        self.gas += sum(needs.gas_used)
        self.fees += sum(needs.fees)
        self.moves += sum(needs.moves)
        self.envelope_bytes += sum(needs.envelope_bytes)

    def take(self, need: Need) -> None:
        """One more transaction is in the block."""
        self.transactions += 1
        self.gas += need.gas_used
        self.blob_gas += need.blob_gas
        self.fees += need.fees
        self.moves += need.moves
        self.envelope_bytes += need.envelope_bytes
        self.code_bytes += need.code_bytes
