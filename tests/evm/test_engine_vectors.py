"""tests/vectors/engines: jobs on which executors once differed, with what is right (README.md there has the format)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manaflow.evm.executor import Executor, Job
from manaflow.evm.logs import logs_hash
from tests.conftest import ROOT
from tests.evm.comparing import Result, difference, outcome
from tests.evm.engines import ENGINES
from tests.evm.job_files import from_json, location_json, shown, to_json

FILES = sorted((ROOT / "tests" / "vectors" / "engines").glob("*.json"))

by_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def expected_json(result: Result) -> dict[str, Any]:
    if isinstance(result, tuple):
        kind, detail = result
        return {"refused": detail[0] if isinstance(detail, tuple) and kind == "Verdict" else kind}
    return {
        "status": result.status,
        "gas_used": result.gas_used,
        "logs_hash": shown(logs_hash(result.logs)),
        "uses": [[*location_json(use.location), shown(use.prev), shown(use.next)] for use in result.uses],
    }


def read(file: Path) -> tuple[Job, dict[str, Any]]:
    vector = json.loads(file.read_text())
    return from_json(vector["job"]), vector["expected"]


def test_there_are_vectors() -> None:
    assert FILES


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
@by_file
def test_vector(file: Path, engine: Executor) -> None:
    job, expected = read(file)
    assert to_json(job) == json.loads(file.read_text())["job"]
    assert expected_json(outcome(engine, job)) == expected
    assert difference(engine, ENGINES[0], job) is None
