"""The answer to a batch as JSON-ready data, strict and bounded on the way in (docs/SPEC.md, section 8)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from manaflow.errors import Rule, Verdict
from manaflow.moves.batch import Cells, Reply
from manaflow.moves.columns import U8
from manaflow.moves.wire_batch import LIMITS

MAX_CELLS: Final = 2**20
"""Cells of one reply: those of a full open block."""
MAX_TEXT: Final = 1024
"""Characters of a verdict's text, or of a value in it."""
_WIDTHS: Final = {"mark": 1, "addr": 20, "slot": 32, "intx": 32, "value": 32}
_HEX: Final = re.compile(r"0x(?:[0-9a-f]{2})*")


def reply_as_json(reply: Reply) -> dict[str, Any]:
    """block, sequence; verdicts: null or Verdict.as_json each; cells: each column as one hex string of its rows."""
    verdicts = [None if verdict is None else verdict.as_json() for verdict in reply.verdicts]
    return {"block": reply.block, "verdicts": verdicts, "sequence": reply.sequence, "cells": cells_as_json(reply.cells)}


def cells_as_json(cells: Cells) -> dict[str, str]:
    """Each column as one hex string of its rows."""
    return {name: "0x" + getattr(cells, name).tobytes().hex() for name in _WIDTHS}


def reply_of_json(data: Any) -> Reply:
    """The reply of JSON data that may come from anyone. Raises Verdict(B1) for what reply_as_json would not write.

    Values in verdicts (expected, actual) come as the texts that they are shown as.
    """
    fields = _fields(data, ("block", "verdicts", "sequence", "cells"), "the reply")
    verdicts = fields["verdicts"]
    if not isinstance(verdicts, list) or len(verdicts) > LIMITS.transactions:
        raise _refusal("verdicts", f"a list of at most {LIMITS.transactions}")
    return Reply(
        block=_integer(fields["block"], "block"),
        verdicts=tuple(None if verdict is None else _verdict(verdict) for verdict in verdicts),
        sequence=_integer(fields["sequence"], "sequence"),
        cells=cells_of_json(fields["cells"]),
    )


def _refusal(what: str, expected: str) -> Verdict:
    return Verdict(Rule.B1, f"reply: {what}", expected=expected)


def _fields(data: Any, names: tuple[str, ...], what: str) -> Mapping[str, Any]:
    if not isinstance(data, dict) or set(data) != set(names):
        raise _refusal(what, "an object of " + ", ".join(names))
    return data


def _integer(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
        raise _refusal(what, "an integer of 0 to 2^64 - 1")
    return value


def _place(value: Any, what: str) -> int | None:
    return None if value is None else _integer(value, what)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise _refusal(what, f"a text of at most {MAX_TEXT} characters")
    return value


def _hex(value: Any, what: str, most: int) -> bytes:
    if not isinstance(value, str) or len(value) > 2 + 2 * most or not _HEX.fullmatch(value):
        raise _refusal(what, f"0x and the digits of at most {most} bytes")
    return bytes.fromhex(value[2:])


def _verdict(data: Any) -> Verdict:
    names = ("rule", "what", "transaction", "move", "expected", "actual", "winner")
    fields = _fields(data, names, "verdict")
    rule = fields["rule"]
    if not isinstance(rule, str) or rule not in Rule.__members__:
        raise _refusal("rule of a verdict", "the name of a rule")
    winner = None if fields["winner"] is None else _hex(fields["winner"], "winner", 32)
    if winner is not None and len(winner) != 32:
        raise _refusal("winner", "32 bytes")
    sides = {
        name: None if fields[name] is None else _text(fields[name], f"{name} of a verdict")
        for name in ("expected", "actual")
    }
    return Verdict(
        Rule[rule],
        _text(fields["what"], "what of a verdict"),
        transaction=_place(fields["transaction"], "transaction of a verdict"),
        move=_place(fields["move"], "move of a verdict"),
        expected=sides["expected"],
        actual=sides["actual"],
        winner=winner,
    )


def cells_of_json(data: Any) -> Cells:
    """The cells of JSON data that may come from anyone. Raises Verdict(B1) for what cells_as_json would not write."""
    fields = _fields(data, tuple(_WIDTHS), "cells")
    columns: dict[str, U8] = {}
    for name, width in _WIDTHS.items():
        column = np.frombuffer(_hex(fields[name], f"{name} of cells", MAX_CELLS * width), np.uint8)
        if len(column) % width:
            raise _refusal(f"{name} of cells", f"rows of {width} bytes")
        columns[name] = column if width == 1 else column.reshape(-1, width)
    if len({len(column) for column in columns.values()}) != 1:
        raise _refusal("cells", "columns of one length")
    return Cells(**columns)
