"""The access table on every executor: exactly the locations of each row, and no execution without one of them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from manaflow.errors import Undeclared
from manaflow.evm.executor import Execution, Executor
from manaflow.moves.marks import Location
from manaflow.moves.transactions import EthereumTransaction
from tests.conftest import ROOT
from tests.evm.access_cases import CASES
from tests.evm.comparing import Poisoned, difference, gas_steps
from tests.evm.crafting import NAMES, Case
from tests.evm.engines import ENGINES

by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_opcode_of_the_table_has_a_case() -> None:
    """The table's rows in docs/SPEC.md, section 7."""
    text = (ROOT / "docs" / "SPEC.md").read_text()
    rows = re.findall(r"^\| (.*?) \|", text[text.index("## 7.") : text.index("## 8.")], re.MULTILINE)
    opcodes = {name for row in rows for name in re.findall(r"\b[A-Z]{3,}2?\b", row)}
    assert {"CALL", "CREATE2", "SELFDESTRUCT", "SSTORE"} <= opcodes
    words = {word for case in CASES for word in case.name.split()}
    assert opcodes <= words


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


@by_engine
@by_case
def test_what_is_not_used_may_be_anything(case: Case, engine: Executor) -> None:
    """Every other field of every account holds the largest value, or the hash of a code that nobody has."""
    poisoned = Poisoned({at: case.job.cells[at] for at in case.uses}, tuple(NAMES.values()))
    assert engine.execute(replace(case.job, cells=poisoned)) == engine.execute(case.job)


@by_case
def test_engines_agree_out_of_gas_at_each_step(case: Case) -> None:
    """With gas up to, and for, each step that uses something more."""
    if is_deep(case):
        return
    for job in gas_steps(ENGINES[-1], case.job):
        assert difference(ENGINES[-1], ENGINES[0], job) is None


def is_deep(case: Case) -> bool:
    """True where the gas is that of a thousand frames: 1/64 less in each is a step of its own."""
    return isinstance(case.job.call, EthereumTransaction) and case.job.call.gas_limit > 30_000_000
