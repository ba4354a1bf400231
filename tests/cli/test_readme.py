"""The README's commands do what they say, in its order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from manaflow.cli.app import _COMMANDS
from tests.cli.conftest import Ran
from tests.conftest import ROOT


def readme_commands() -> list[list[str]]:
    """The words of each command in a code block, without its comment."""
    lines = re.findall(r"^manaflow (.+)$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def test_the_readme_shows_every_command() -> None:
    assert {words[0] for words in readme_commands()} == {name for name, _, _ in _COMMANDS} | {"inspect", "keys"}


def test_the_readmes_commands_work_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manaflow: Callable[..., Ran]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MANAFLOW_PASSWORD", "of the test")
    head = "0x..."
    for words in readme_commands():
        expanded = [path for word in words for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        ran = manaflow(*(head if word == "0x..." else word for word in expanded), "--json")
        assert ran.code == 0, (words, ran)
        if words[0] in ("prove", "prove-inclusion"):
            head = ran.json["head"]
