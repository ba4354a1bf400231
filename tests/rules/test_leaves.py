from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from manaflow.errors import Rule
from manaflow.rules.config import Profile
from manaflow.rules.leaves import (
    MAX_MOVES,
    check_b3_cells,
    check_b3_counts,
    check_b3_empty,
    check_b3_first,
    check_b3_last,
    check_b3_pair,
    check_b3_size,
    compute_fees_added,
)
from tests.rules.build import header_pair, leaf, refused

HEADER = header_pair(gas_used=121_000, fees=40, blob_gas_used=131_072, transactions=2, codes=1)[1]
LAST = leaf(consumes=3, first_cell=61, gas=100_000, gas_used=21_000, fees=30)


def test_b3() -> None:
    check_b3_first(HEADER, leaf())
    check_b3_last(HEADER, LAST, 10, 131_072)
    check_b3_counts(HEADER, 2, 1)
    check_b3_empty(replace(HEADER, cells=0, gas_used=0, fees=0, blob_gas_used=0))


@pytest.mark.parametrize(
    ("fields", "what"),
    [({"first_cell": 56}, "first cell"), ({"first_cell": 58}, "first cell"), ({"gas": 1}, "gas"),
     ({"fees": 1}, "fees"), ({"blob_gas": 1}, "blob gas")],
)  # fmt: skip
def test_invalid_b3_first(fields: dict[str, Any], what: str) -> None:
    refused(Rule.B3, check_b3_first, HEADER, leaf(**fields), what=what)


AFTER = leaf(first_cell=59, gas=21_000, fees=5, blob_gas=131_072)


def test_b3_pair() -> None:
    check_b3_pair(leaf(gas_used=21_000), AFTER, 5, 131_072)


@pytest.mark.parametrize("name", ["first_cell", "gas", "fees", "blob_gas"])
@pytest.mark.parametrize("step", [-1, 1])
def test_invalid_b3_pair(name: str, step: int) -> None:
    wrong = replace(AFTER, **{name: getattr(AFTER, name) + step})
    verdict = refused(Rule.B3, check_b3_pair, leaf(gas_used=21_000), wrong, 5, 131_072, what=name.replace("_", " "))
    assert verdict.actual == verdict.expected + step


@pytest.mark.parametrize(
    ("fields", "what"),
    [({"consumes": 4}, "cells"), ({"gas": 99_999}, "gas used"), ({"gas_used": 21_001}, "gas used"),
     ({"fees": 31}, "fees"), ({"blob_gas": 1}, "blob gas used")],
)  # fmt: skip
def test_invalid_b3_last(fields: dict[str, Any], what: str) -> None:
    refused(Rule.B3, check_b3_last, HEADER, replace(LAST, **fields), 10, 131_072, what=what)


def test_invalid_b3_cells_and_counts() -> None:
    check_b3_cells(HEADER, LAST)
    refused(Rule.B3, check_b3_cells, replace(HEADER, cells=8), LAST, what="cells")
    refused(Rule.B3, check_b3_counts, HEADER, 3, 1, what="leaves")
    refused(Rule.B3, check_b3_counts, HEADER, 2, 0, what="codes")


@pytest.mark.parametrize("name", ["cells", "gas_used", "fees", "blob_gas_used"])
def test_invalid_b3_empty(name: str) -> None:
    empty = replace(HEADER, cells=0, gas_used=0, fees=0, blob_gas_used=0)
    refused(Rule.B3, check_b3_empty, replace(empty, **{name: 1}), what=name.replace("_", " "))


@pytest.mark.parametrize("consumes", [0, 1, MAX_MOVES, MAX_MOVES + 1])
def test_b3_size(consumes: int) -> None:
    fitting = leaf(consumes=consumes, references=max(0, MAX_MOVES - consumes))
    if consumes <= MAX_MOVES:
        check_b3_size(Profile.MANAFLOW, fitting)
    crowded = leaf(consumes=consumes, references=max(0, MAX_MOVES - consumes) + (consumes <= MAX_MOVES))
    verdict = refused(Rule.B3, check_b3_size, Profile.MANAFLOW, crowded, what="moves of one transaction")
    assert verdict.actual == MAX_MOVES + 1
    check_b3_size(Profile.ETHEREUM, crowded)


def test_fees_added() -> None:
    assert compute_fees_added(12, 7, 21_000) == 105_000
