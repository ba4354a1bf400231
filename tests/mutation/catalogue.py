"""Every operator, in the order of definition."""

from __future__ import annotations

from typing import Final

from manaflow.errors import Rule
from tests.mutation import bodies, moves
from tests.mutation.committed import COMMITTED, Committed
from tests.mutation.operators import OPERATORS, Operator

SECTIONS: Final = (moves, bodies)
"""Importing them fills the register."""
ALL: Final[tuple[Operator | Committed, ...]] = (*OPERATORS, *COMMITTED)
ELSEWHERE: Final = frozenset({Rule.S2, Rule.S3, Rule.S4, Rule.X5})
"""Rules of profile `manaflow` alone: no mutation of an Ethereum block breaks them; they have tests of their own."""
KINDS: Final = frozenset(operator.kind for operator in ALL)
