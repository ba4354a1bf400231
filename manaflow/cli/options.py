"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for errors too.")]
State = Annotated[Path, typer.Option(help="The state directory.")]
Threads = Annotated[int, typer.Option(help="Threads to use at most; 0 for all cores.", min=0)]


class JudgeMode(StrEnum):
    """How far `import` judges: manaflow.validator.validator.Mode, which is not loaded to parse a command line."""

    MOVES = "moves"
    EXECUTE = "execute"


class Engine(StrEnum):
    """Which EVM executes."""

    REVM = "revm"
    PYEVM = "pyevm"


def block_hash(text: str) -> bytes:
    """A block's hash from 0x and 64 hex digits. Raises a usage error."""
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise typer.BadParameter(f"{text!r} is no block hash (0x and 64 hex digits)")
    return value
