"""What every command shares: exit codes, results on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from manaflow.errors import Convicted, Failure, ManaflowError, Undeclared, Verdict
from manaflow.fraudproof.errors import ProofRejected
from manaflow.light.inclusion import InclusionRejected


class ExitCode(IntEnum):
    """What a shell sees. 130 stands for an interrupt, as everywhere."""

    FINE = 0
    """Done; what was asked holds."""
    VERDICT = 1
    """The input is refused by a rule, or a proof does not verify. Nothing has changed."""
    USAGE = 2
    """The command line is wrong, or a file that it names does not exist."""
    FAILURE = 3
    """The operation failed and says nothing of the input's validity: locked, disk full, unsupported, damaged."""


def to_json(value: Any) -> Any:
    """Bytes as 0x hex; everything else as it is."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "0x" + bytes(value).hex()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def show(as_json: bool, fields: Mapping[str, Any], lines: Iterable[str]) -> None:
    """A command's result: `fields` as one JSON object, or `lines` for people."""
    try:
        if as_json:
            print(json.dumps({"ok": True, **fields}, default=to_json))
        else:
            for line in lines:
                print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read enough has closed the pipe. What follows, Python's own flush at the end too, goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A bar on stderr, on terminals only; call the yielded function after each step."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def naming(what: object) -> Iterator[None]:
    """Errors raised inside say what was being worked on, once."""
    try:
        yield
    except (ManaflowError, OSError) as error:
        if not getattr(error, "__notes__", None):
            error.add_note(str(what))
        raise


def _place(error: BaseException) -> str | None:
    notes = getattr(error, "__notes__", [])
    return notes[0] if notes else None


def describe(error: Exception) -> tuple[ExitCode, str, dict[str, Any]]:
    """Exit code, one line for people, and the fields for machines."""
    if isinstance(error, Verdict):
        return ExitCode.VERDICT, f"refused: {error}", {"verdict": error.as_json()}
    if isinstance(error, Convicted):
        void = {"number": error.number, "block": error.block_hash, "by": error.convicted}
        return ExitCode.VERDICT, f"refused: {error}", {"convicted": void}
    if isinstance(error, Undeclared):
        return ExitCode.VERDICT, f"refused: X1: {error}", {"verdict": {"rule": "X1", "what": str(error)}}
    if isinstance(error, (ProofRejected, InclusionRejected)):
        return ExitCode.VERDICT, f"rejected: {error}", {"rejected": str(error)}
    if isinstance(error, typer.TyperException):
        what = error.format_message() if hasattr(error, "format_message") else str(error)
        return ExitCode.USAGE, f"usage: {what}", {"usage": what}
    kind = type(error).__name__
    what = str(error) or kind
    if not isinstance(error, (Failure, OSError)):
        what = f"internal error, please report it ({kind}: {what}); MANAFLOW_TRACEBACK=1 shows where"
    return ExitCode.FAILURE, f"failed: {what}", {"failure": {"kind": kind, "what": what}}


def show_error(as_json: bool, error: Exception) -> ExitCode:
    """One clear line on stderr, and with --json one object on stdout. Returns the exit code."""
    code, line, fields = describe(error)
    place = _place(error)
    if as_json:
        print(json.dumps({"ok": False, "exit_code": int(code), "at": place, **fields}, default=to_json))
    print(" ".join((f"{line} [{place}]" if place else line).split()), file=sys.stderr)
    return code
