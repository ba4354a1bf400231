"""Ethereum's state tests from the shared data, read once, and one of them to be broken."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manaflow.conformance.fixtures import Case, StateTest, fixture_files, read_fixtures
from tests.conftest import ROOT, shared_data

EXAMPLE = ROOT / "examples" / "statetests" / "extcode.json"
ARCHIVE = "statetests.tar.gz"
MEMORY = Path("/dev/shm")
FOLDER = MEMORY if MEMORY.is_dir() else None
"""State directories in memory, where there is such a folder: waiting for the disk is most of a test's time."""


@functools.cache
def shared_cases() -> tuple[Case, ...]:
    """Every state test of the shared archive."""
    files = fixture_files(shared_data() / ARCHIVE)
    return tuple(case for name, content in files for case in read_fixtures(name, content))


def name_of(case: Case) -> str:
    """The test's own name, without path and parameters."""
    return case.id.rpartition("::")[2].partition("[")[0]


def shared_case(part: str) -> StateTest:
    """The one shared test whose id holds `part`."""
    (found,) = (case for case in shared_cases() if part in case.id)
    assert isinstance(found, StateTest)
    return found


def example_fixtures() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EXAMPLE.read_bytes())
    return found


def broken_fixture(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The example's first fixture alone, as a file's content, with a change."""
    name, fixture = next(iter(example_fixtures().items()))
    fixture = copy.deepcopy(fixture)
    change(fixture)
    return json.dumps({name: fixture}).encode()
