"""`manaflow conformance`: exit codes, what it shows, forks, processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manaflow.cli.output import ExitCode
from tests.cli.conftest import Ran, process, refused
from tests.conftest import ROOT

EXAMPLE = ROOT / "examples" / "statetests" / "extcode.json"


@pytest.fixture(scope="module")
def fixtures() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EXAMPLE.read_bytes())
    return found


@pytest.fixture
def broken(fixtures: dict[str, Any], tmp_path: Path) -> Path:
    """Two fixtures; the first expects one balance that is not there."""
    two = json.loads(json.dumps(dict(list(fixtures.items())[:2])))
    ((_, posts),) = next(iter(two.values()))["post"].items()
    account = next(iter(posts[0]["state"].values()))
    account["balance"] = hex(int(account["balance"], 16) + 1)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(two))
    return path


def test_what_passes(manaflow: Callable[..., Ran]) -> None:
    ran = manaflow("conformance", EXAMPLE, "--jobs", 1)
    assert (ran.code, ran.err) == (ExitCode.FINE, "")
    lines = ran.out.splitlines()
    assert lines[:-1] == [
        "Cancun by revm: 4 passed",
        "Cancun by pyevm: 4 passed",
        "Osaka by revm: 3 passed",
        "Osaka by pyevm: 3 absent",
        "Prague by revm: 3 passed",
        "Prague by pyevm: 3 passed",
    ]
    assert lines[-1].startswith("10 tests, 0 failed (")


def test_one_fork_as_json(manaflow: Callable[..., Ran]) -> None:
    ran = manaflow("conformance", EXAMPLE.parent, "--fork", "Osaka", "--jobs", 1, "--json")
    found = ran.json
    assert (ran.code, found["ok"], found["exit_code"], found["tests"], found["failed"]) == (0, True, 0, 3, 0)
    assert found["counts"] == {"Osaka": {"all": {"passed": 3}, "revm": {"passed": 3}, "pyevm": {"absent": 3}}}
    result = found["results"][0]
    assert (result["fork"], result["verdict"], result["reason"]) == ("Osaka", "passed", None)
    assert result["engines"] == {
        "revm": {"verdict": "passed", "reason": None},
        "pyevm": {"verdict": "absent", "reason": "py-evm has no Osaka"},
    }


def test_a_failed_test_is_exit_code_1(broken: Path, manaflow: Callable[..., Ran]) -> None:
    ran = manaflow("conformance", broken, "--jobs", 1)
    assert ran.code == ExitCode.VERDICT
    assert "state: b 0x" in ran.out.splitlines()[0]
    assert "2 tests, 1 failed" in ran.out
    ran = manaflow("conformance", broken, "--jobs", 1, "--json")
    assert ran.code == ExitCode.VERDICT
    assert (ran.json["ok"], ran.json["exit_code"], ran.json["failed"]) == (False, 1, 1)
    assert [result["verdict"] for result in ran.json["results"]] == ["failed", "passed"]


def test_processes_give_the_same_results_in_the_same_order(fixtures: dict[str, Any], tmp_path: Path) -> None:
    many = {f"{i}-{name}": fixture for i in range(2) for name, fixture in fixtures.items()}
    path = tmp_path / "many.json"
    path.write_text(json.dumps(many))
    ran = process("conformance", path, "--jobs", "2", "--json")
    assert ran.code == 0, ran
    assert [result["id"] for result in ran.json["results"]] == list(many)
    assert {result["verdict"] for result in ran.json["results"]} == {"passed"}


def test_a_fork_before_paris_is_outside(fixtures: dict[str, Any], tmp_path: Path, manaflow: Callable[..., Ran]) -> None:
    name, fixture = next(iter(fixtures.items()))
    path = tmp_path / "old.json"
    path.write_text(json.dumps({name: {**fixture, "post": {"Berlin": [{}]}}}))
    ran = manaflow("conformance", path)
    assert ran.code == 0
    assert ran.out.startswith(f"outside: Berlin {name}: the rules hold the forks ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no such file: nowhere"),
        ([EXAMPLE, "--fork", "Berlin"], "for the fork Berlin, only for Cancun, Osaka, Prague"),
        ([ROOT / "docs"], "no state test in"),
        ([EXAMPLE, "--jobs", -1], "jobs"),
    ],
    ids=["missing", "fork", "empty", "jobs"],
)
def test_wrong_usage(arguments: list[object], message: str, manaflow: Callable[..., Ran]) -> None:
    assert message in refused(manaflow("conformance", *arguments), ExitCode.USAGE)


@pytest.mark.parametrize(
    ("name", "content"), [("x.json", b"{"), ("x.json", b'{"a": {}}'), ("x.tar.gz", b"\x1f\x8b no")]
)
def test_garbage_is_one_line(name: str, content: bytes, tmp_path: Path, manaflow: Callable[..., Ran]) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert f"failed: {path}" in refused(manaflow("conformance", path), ExitCode.FAILURE)
    assert manaflow("conformance", path, "--json").json["exit_code"] == ExitCode.FAILURE
