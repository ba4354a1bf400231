"""The command line under test: in this process for speed, and as a real process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from manaflow.cli.app import run
from tests.conftest import ROOT

HOLESKY = [ROOT / "examples" / f"17000-{number}.block.json.zst" for number in (2971844, 2971845)]
"""Two consecutive blocks; transaction 5 of the second writes storage that nothing else in the block uses."""


@dataclass(frozen=True)
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        found: dict[str, Any] = json.loads(self.out)
        return found


def refused(ran: Ran, code: int) -> str:
    """An error is one line on stderr, never a traceback, with this exit code. Returns the line."""
    assert ran.code == code, ran
    assert ran.err.count("\n") == 1, ran.err
    assert "Traceback" not in ran.err
    assert "internal error" not in ran.err
    return ran.err


def process(*arguments: object, **environment: str) -> Ran:
    """Run the installed package's command as a process of its own."""
    command = [sys.executable, "-m", "manaflow.cli", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def manaflow(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ran]]:
    """Run a command in this process."""

    def call(*arguments: object) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Ran(int(end.value.code or 0), out, err)

    yield call
    structlog.reset_defaults()  # a command may have made this test's stderr the log


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Genesis and two blocks, replayed by the command. Read only."""
    folder = tmp_path_factory.mktemp("chain")
    with pytest.raises(SystemExit) as end:
        run(["replay", *map(str, HOLESKY), "--out", str(folder)])
    assert not end.value.code
    return folder


@pytest.fixture(scope="session")
def imported(chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with both blocks. Read only."""
    state = tmp_path_factory.mktemp("imported") / "state"
    with pytest.raises(SystemExit) as end:
        run(["import", str(chain), "--state", str(state)])
    assert not end.value.code
    return state


@pytest.fixture
def state(imported: Path, tmp_path: Path) -> Path:
    """A state directory with both blocks, for one test."""
    return Path(shutil.copytree(imported, tmp_path / "state"))


@pytest.fixture
def first(state: Path, manaflow: Callable[..., Ran]) -> Path:
    """A state directory whose head is the first block."""
    assert manaflow("undo", "--state", state).code == 0
    return state
