"""JSON of strangers, as the wallet reads it: UTF-8, and so shallow that no decoder runs out of stack."""

from __future__ import annotations

from typing import Any, Final

from manaflow.moves.bounded import parse_json

MAX_DEPTH: Final = 64


def parse(data: bytes) -> Any:
    """The value. Raises ValueError for what is no JSON in UTF-8, or nests deeper than MAX_DEPTH."""
    return parse_json(data, MAX_DEPTH)
