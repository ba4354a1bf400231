"""The README's commands do what they say, in its order."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from manaflow.cli.app import _COMMANDS
from tests.cli.conftest import Ran
from tests.conftest import ROOT

SERVING = ("node",)
"""Commands that run until they are told to end."""
MNEMONIC = "test test test test test test test test test test test junk"


@contextmanager
def serving(words: list[str]) -> Iterator[str]:
    """The command says where it listens, is healthy there, and leaves cleanly at Ctrl-C."""
    command = [sys.executable, "-m", "manaflow.cli", *words, "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            url = json.loads(child.stdout.readline())["url"]
            assert httpx.get(f"{url}/health").text == "ok"
            yield url
            child.send_signal(signal.SIGINT)
            assert child.wait(30) == 0
        finally:
            child.kill()


def runs(commands: list[list[str]], manaflow: Callable[..., Ran]) -> None:
    """What needs a node works beside one."""
    for words in commands:
        ran = manaflow(*words, "--json")
        assert ran.code == 0, (words, ran)


def readme_commands() -> list[list[str]]:
    """The words of each command in a code block, without its comment."""
    lines = re.findall(r"^manaflow (.+)$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def test_the_readme_shows_every_command() -> None:
    assert {words[0] for words in readme_commands()} == {name for name, _, _ in _COMMANDS} | {
        "inspect",
        "keys",
        "wallet",
    }


def test_the_readmes_commands_work_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manaflow: Callable[..., Ran]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MANAFLOW_PASSWORD", "of the test")
    monkeypatch.setenv("MANAFLOW_MNEMONIC", MNEMONIC)
    head = "0x..."
    for words in readme_commands():
        expanded = [path for word in words for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        if words[0] in SERVING:
            with serving(words) as url:
                monkeypatch.setenv("MANAFLOW_NODE", url)
                runs([words for words in readme_commands() if words[0] == "wallet"], manaflow)
            continue
        if words[0] in ("wallet", "coordinator"):
            continue
        if words[0] == "validator":
            with serving(words) as url:
                (others,) = [words for words in readme_commands() if words[0] == "coordinator"]
                with serving([url if word.startswith("http") else word for word in others]):
                    continue
        ran = manaflow(*(head if word == "0x..." else word for word in expanded), "--json")
        assert ran.code == 0, (words, ran)
        if words[0] in ("prove", "prove-inclusion"):
            head = ran.json["head"]
