"""What running one state test comes to, as a whole and per engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from manaflow.conformance.fixtures import Case

ENGINES: Final = ("revm", "pyevm")


class Standing(StrEnum):
    """How a test ended."""

    PASSED = "passed"
    FAILED = "failed"
    OUTSIDE = "outside"
    """No chain that the rules hold can be in the test's pre-state, or the rules do not hold its fork."""
    ABSENT = "absent"
    """Of an engine: it was not asked."""


@dataclass(frozen=True, slots=True)
class EngineResult:
    """One engine's part of a result."""

    standing: Standing
    reason: str | None = None
    """Why it failed, is outside or absent; of a passed test the verdict on an invalid transaction."""


@dataclass(frozen=True, slots=True)
class Result:
    """One test, run."""

    id: str
    fork: str
    engines: Mapping[str, EngineResult]
    """By name, those of ENGINES."""

    @property
    def standing(self) -> Standing:
        """The worst of the engines that were asked."""
        found = [engine.standing for engine in self.engines.values()]
        return next(s for s in (Standing.FAILED, Standing.OUTSIDE, Standing.PASSED, Standing.ABSENT) if s in found)

    @property
    def reason(self) -> str | None:
        """The first reason of an engine that stands as the whole does."""
        reasons = (engine.reason for engine in self.engines.values() if engine.standing == self.standing)
        return next((reason for reason in reasons if reason), None)

    def as_json(self) -> dict[str, Any]:
        """The result for machines."""
        engines = {
            name: {"verdict": engine.standing.value, "reason": engine.reason} for name, engine in self.engines.items()
        }
        whole = {"id": self.id, "fork": self.fork, "verdict": self.standing.value, "reason": self.reason}
        return {**whole, "engines": engines}


def alike(case: Case, standing: Standing, reason: str) -> Result:
    """A result that is the same for every engine, because none came to its turn."""
    return Result(case.id, case.fork, {name: EngineResult(standing, reason) for name in ENGINES})


Counts = dict[str, dict[str, dict[str, int]]]
"""Tests by fork, by engine (or `all` for the whole), by standing."""


def count(results: Iterable[Result]) -> Counts:
    """How many tests stand how."""
    counts: Counts = {}
    for result in results:
        rows = {"all": result.standing, **{name: engine.standing for name, engine in result.engines.items()}}
        for name, standing in rows.items():
            row = counts.setdefault(result.fork, {}).setdefault(name, {})
            row[standing.value] = row.get(standing.value, 0) + 1
    return counts
