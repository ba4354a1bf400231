"""Two executors on one job: the same outcome, the same uses, and the same again on each smaller or stranger world."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace

from manaflow.errors import ManaflowError, Undeclared, Verdict
from manaflow.evm.executor import Execution, Executor, Job, SystemCall
from manaflow.evm.validity import floor_gas, intrinsic_gas
from manaflow.moves.marks import ZERO32, Location, Mark
from tests.evm.worlds import alone, word

Result = Execution | tuple[str, object]
"""What an executor says: an execution, or which refusal."""

EXTREME = {Mark.BALANCE: b"\xff" * 32, Mark.NONCE: word(2**64 - 1), Mark.CODE: b"\xcd" * 32, Mark.STORAGE: b"\xff" * 32,
           Mark.BLOCKHASH: b"\xff" * 32}  # fmt: skip
"""Poison: the largest values, and the hash of a code that nobody has."""


def outcome(engine: Executor, job: Job) -> Result:
    try:
        return engine.execute(job)
    except Undeclared as error:
        return "Undeclared", (error.mark[0], error.addr, error.slot)
    except Verdict as error:
        return "Verdict", (error.rule.name, error.what)
    except ManaflowError as error:
        return type(error).__name__, None


class Poisoned(Mapping[Location, bytes]):
    """Cells that answer every location that they do not hold with an extreme value.

    Addresses that occur in the cells or in `also` have poison among the listed cells: b, c, n and the first slots.
    """

    def __init__(self, cells: Mapping[Location, bytes], also: tuple[bytes, ...] = ()) -> None:
        addresses = {location[1] for location in cells if location[0] != Mark.BLOCKHASH} | set(also)
        fields = (Mark.BALANCE, Mark.NONCE, Mark.CODE)
        poison = {(mark, address, ZERO32): EXTREME[mark] for address in addresses for mark in fields}
        poison |= {(Mark.STORAGE, address, word(i)): EXTREME[Mark.STORAGE] for address in addresses for i in range(4)}
        self._cells = poison | dict(cells)

    def __getitem__(self, location: Location) -> bytes:
        value = self._cells.get(location)
        return EXTREME[Mark(location[0])] if value is None else value

    def __iter__(self) -> Iterator[Location]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)


def difference(first: Executor, second: Executor, job: Job, seed: int = 0) -> str | None:
    """How two executors differ on a job, or how one differs from itself where nothing that it uses has changed.

    After the job itself: with exactly what was used, without one cell of it (which `seed` chooses), and with poison in
    every other cell.
    """
    expected = outcome(first, job)
    if (told := _told(outcome(second, job), expected, second, "on the job")) or not isinstance(expected, Execution):
        return told
    strict = alone(job, expected)
    missing = random.Random(seed).choice(sorted(strict.cells))
    poor = replace(strict, cells={at: value for at, value in strict.cells.items() if at != missing})
    poisoned = replace(strict, cells=Poisoned(strict.cells, (job.sender, job.environment.coinbase)))
    refusal = "Undeclared", missing
    for engine in (first, second):
        for what, world, result in (("alone", strict, expected), (f"without {missing}", poor, refusal),
                                    ("poisoned", poisoned, expected)):  # fmt: skip
            if told := _told(outcome(engine, world), result, engine, what):
                return told
    return None


def _told(result: Result, expected: Result, engine: Executor, what: str) -> str | None:
    if result == expected:
        return None
    if isinstance(result, Execution) and isinstance(expected, Execution):
        fields = [name for name in Execution.__slots__ if getattr(result, name) != getattr(expected, name)]
        pairs = [f"{name}: {_parts(getattr(result, name), getattr(expected, name))}" for name in fields]
        return f"{engine.name} {what}: " + "; ".join(pairs)
    return f"{engine.name} {what}: {result}, expected {expected}"


def _parts(one: object, other: object) -> str:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return (
            f"has {[item for item in one if item not in other]}, expected {[item for item in other if item not in one]}"
        )
    return f"{one}, expected {other}"


def gas_steps(engine: Executor, job: Job) -> list[Job]:
    """The job with the gas limits on both sides of each limit where more is used or the status changes.

    Found by halving between the least gas and what the job needs, so that steps which two changes hide are missed.
    """
    call, full = job.call, outcome(engine, job)
    if isinstance(call, SystemCall) or not isinstance(full, Execution):
        return []
    fork = job.environment.fork
    least = max(intrinsic_gas(call, fork), floor_gas(call, fork))

    def limited(gas: int) -> Job:
        return replace(job, call=replace(call, gas_limit=gas))

    def sign(gas: int) -> object:
        result = outcome(engine, limited(gas))
        return (result.status, [use.location for use in result.uses]) if isinstance(result, Execution) else result

    signs = {least: sign(least), call.gas_limit: sign(call.gas_limit)}
    pending, found = [(least, call.gas_limit)], set()
    while pending:
        low, high = pending.pop()
        if signs[low] == signs[high]:
            continue
        if high - low == 1:
            found |= {low, high}
            continue
        middle = (low + high) // 2
        signs[middle] = sign(middle)
        pending += [(low, middle), (middle, high)]
    return [limited(gas) for gas in sorted(found)]
