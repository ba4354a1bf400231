"""Every operator, in the order of definition."""

from __future__ import annotations

from typing import Final

from tests.mutation import bodies, moves
from tests.mutation.operators import OPERATORS, Operator

SECTIONS: Final = (moves, bodies)
"""Importing them fills the register."""
ALL: Final[tuple[Operator, ...]] = tuple(OPERATORS)
KINDS: Final = frozenset(operator.kind for operator in ALL)
