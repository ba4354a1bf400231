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


Judging = Annotated[JudgeMode, typer.Option(help="How far to judge: moves and state, or execution too.")]


class Engine(StrEnum):
    """Which EVM executes."""

    REVM = "revm"
    PYEVM = "pyevm"


def block_hash(text: str) -> bytes:
    """A block's hash from 0x and 64 hex digits. Raises a usage error."""
    return _fixed(text, 32, "block hash")


def address(text: str) -> bytes:
    """20 bytes from 0x and 40 hex digits. Raises a usage error."""
    return _fixed(text, 20, "address")


def _fixed(text: str, size: int, kind: str) -> bytes:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != size:
        raise typer.BadParameter(f"{text!r} is no {kind} (0x and {2 * size} hex digits)")
    return value
