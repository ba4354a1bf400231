"""The access table on every executor: exactly the locations of each row, and no execution without one of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.errors import Undeclared
from manaflow.evm.executor import Execution, Executor
from manaflow.moves.marks import Location
from tests.evm.access_cases import CASES
from tests.evm.crafting import Case
from tests.evm.engines import ENGINES

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def used(execution: Execution) -> list[str]:
    return [written(use.location) for use in execution.uses]


def written(location: Location) -> str:
    mark, addr, slot = location
    return f"{chr(mark)} {addr.hex()} {int.from_bytes(slot, 'big')}"


@by_engine
@by_case
def test_uses_exactly_the_rows_locations(case: Case, engine: Executor) -> None:
    execution = engine.execute(case.job)
    assert used(execution) == [written(location) for location in case.uses]
    assert execution.status == case.status
    after = {use.location: int.from_bytes(use.next, "big") for use in execution.uses}
    for location, value in (case.writes or {}).items():
        assert after[location] == value, written(location)


@by_case
def test_engines_agree(case: Case) -> None:
    """Status, gas, logs, values and codes; with one engine alone there is nothing to compare."""
    first, *others = [engine.execute(case.job) for engine in ENGINES]
    assert all(execution == first for execution in others)


@by_engine
@by_case
def test_needs_no_more_than_it_uses(case: Case, engine: Executor) -> None:
    wide = engine.execute(case.job)
    cells = {location: case.job.cells[location] for location in case.uses}
    assert engine.execute(replace(case.job, cells=cells)) == wide


@by_engine
@by_case
def test_names_each_location_that_is_missing(case: Case, engine: Executor) -> None:
    for missing in case.uses:
        cells = {location: case.job.cells[location] for location in case.uses if location != missing}
        with pytest.raises(Undeclared) as refused:
            engine.execute(replace(case.job, cells=cells))
        error = refused.value
        assert (error.mark[0], error.addr, error.slot) == missing
