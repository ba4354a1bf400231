"""The command line as a whole: help, versions, and every kind of error as one line and an exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from manaflow import __version__
from manaflow.cli import app as app_module
from manaflow.cli.app import _COMMANDS, _INSPECT
from manaflow.cli.output import ExitCode, describe
from manaflow.errors import Failure, Locked, Rule, StorageFailure, Undeclared, Unsupported, Verdict
from manaflow.fraudproof.errors import ProofRejected
from tests.cli.conftest import Ran, refused

PATHS = [(name,) for name, _, _ in _COMMANDS] + [("inspect", name) for name, _, _ in _INSPECT]


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_has_help_and_an_example(path: tuple[str, ...], manaflow: Callable[..., Ran]) -> None:
    ran = manaflow(*path, "--help")
    assert ran.code == 0
    assert f"manaflow {' '.join(path)} " in ran.out.split("Example:")[1]
    assert "--json" in ran.out


def test_help_names_every_command_and_the_exit_codes(manaflow: Callable[..., Ran]) -> None:
    out = manaflow("--help").out
    assert all(name in out for name, _, _ in _COMMANDS)
    assert "Exit codes: 0 fine" in out


def test_version(manaflow: Callable[..., Ran]) -> None:
    assert manaflow("--version").out == f"manaflow {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("head",), ("undo", "--state", "x", "--count", "0"), ("head", "--stat", "x")],
)
def test_wrong_usage(arguments: tuple[str, ...], manaflow: Callable[..., Ran]) -> None:
    assert refused(manaflow(*arguments), ExitCode.USAGE).startswith("usage: ")
    ran = manaflow(*arguments, "--json")
    assert ran.json["exit_code"] == ran.code == ExitCode.USAGE
    assert ran.json["ok"] is False


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            Verdict(Rule.V2, "twice", transaction=3, move=1, winner=b"\1" * 32),
            1,
            "refused: V2, transaction 3, move 1: twice",
        ),
        (Undeclared(b"s", bytes(20), bytes(32)), 1, "refused: X1: undeclared access: s"),
        (ProofRejected("no"), 1, "rejected: no"),
        (Locked("in use"), 3, "failed: in use"),
        (StorageFailure("disk full"), 3, "failed: disk full"),
        (Unsupported("before Paris"), 3, "failed: before Paris"),
        (Failure("other"), 3, "failed: other"),
        (OSError(28, "No space left on device"), 3, "failed: [Errno 28] No space left on device"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_kinds_of_errors(error: Exception, code: int, line: str) -> None:
    found = describe(error)
    assert found[0] == code
    assert found[1].startswith(line)


def test_a_bug_shows_no_traceback_unless_asked(manaflow: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(app_module, "app", broken)
    ran = manaflow("head", "--state", "x", "--json")
    assert ran.code == 3
    assert ran.err.count("\n") == 1
    assert "internal error" in ran.err
    assert ran.json["failure"]["kind"] == "KeyError"
    monkeypatch.setenv("MANAFLOW_TRACEBACK", "1")
    with pytest.raises(KeyError):
        app_module.run(["head"])


def test_a_closed_pipe_is_no_error(imported: Path) -> None:
    """`manaflow inspect block ... | head -1` ends well, although most of it is never read."""
    command = [sys.executable, "-m", "manaflow.cli", "inspect", "block", "2971845", "--state", str(imported)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0
