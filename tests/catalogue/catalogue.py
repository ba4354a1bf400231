"""The catalogue of invalid blocks: every rule, aspect by aspect, each as a block sealed by a dishonest producer.

To add a way to be dishonest, write a function that makes the block beside its kin and register it with `entry`.
"""

from __future__ import annotations

from typing import Final

from tests.catalogue import bodies, declared, execution, files, headers, limits, masks, moves, signatures, sizes, state
from tests.catalogue.case import REGISTER, Base, Entry

SECTIONS: Final = (files, headers, bodies, signatures, declared, masks, moves, state, execution, limits, sizes)
CATALOGUE: Final[tuple[Entry, ...]] = tuple(REGISTER)
BASES: Final[tuple[Base, ...]] = tuple(dict.fromkeys(entry.base for entry in CATALOGUE))
