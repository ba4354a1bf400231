"""What an operator is: one kind of field and one way to falsify it, a function of a seeded Random; and the register.

An operator takes a draft of an honest block apart and says what sealing must leave as it is. `Impossible` means that
this block has nothing to mutate so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Final

from manaflow.moves.block import Block
from tests.catalogue.dishonest import Draft, Step, Transaction, sealed

Change = Callable[[Draft, random.Random], None]
FREE: Final = "an input that no rule binds, or an order that is as good"
"""Why a mutated block may be honest as well."""


class Impossible(Exception):
    """This block has nothing to mutate so."""


@dataclass(frozen=True)
class Operator:
    """One way to mutate a block."""

    name: str
    """Kind of field and way, for reports: move.prev.flip."""
    make: Callable[[Block, random.Random], Block]
    free: bool = False
    """What it makes may be honest (FREE); everything else that a validator takes is a miss."""
    apart: frozenset[str] = field(default_factory=frozenset)
    """Reasons of challenge.UNPROVABLE that it may meet."""

    @property
    def kind(self) -> str:
        """The kind of field."""
        return self.name.rsplit(".", 1)[0]


OPERATORS: Final[list[Operator]] = []


def register(
    name: str, change: Change, *, leave: Set[Step] = frozenset(), free: bool = False, apart: Set[str] = frozenset()
) -> None:
    """Add an operator that changes a draft and seals it again."""

    def make(block: Block, rng: random.Random) -> Block:
        draft = Draft.of(block)
        try:
            change(draft, rng)
        except (LookupError, OverflowError) as error:
            raise Impossible(name) from error
        return sealed(draft, leave=leave)

    OPERATORS.append(Operator(name, make, free, frozenset(apart)))


WORDS: Final[dict[str, Callable[[bytes, random.Random], bytes]]] = {
    "flip": lambda value, rng: flipped(value, rng),
    "zero": lambda value, rng: bytes(len(value)),
    "random": lambda value, rng: rng.randbytes(len(value)),
    "ones": lambda value, rng: b"\xff" * len(value),
    "next": lambda value, rng: ((int.from_bytes(value, "big") + 1) % 2 ** (8 * len(value))).to_bytes(len(value), "big"),
}


def flipped(value: bytes, rng: random.Random) -> bytes:
    at, changed = rng.randrange(8 * len(value)), bytearray(value)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def integer(bits: int) -> dict[str, Callable[[int, random.Random], int]]:
    top = 2**bits - 1
    return {
        "flip": lambda value, rng: value ^ 1 << rng.randrange(bits),
        "zero": lambda value, rng: 0,
        "more": lambda value, rng: min(value + 1, top),
        "less": lambda value, rng: max(value - 1, 0),
        "top": lambda value, rng: top,
    }


def pick(draft: Draft, rng: random.Random, signed: bool | None = None) -> Transaction:
    """A transaction that has moves."""
    found = [t for t in draft.transactions if t.moves and signed in (None, t.envelope is not None)]
    return rng.choice(found)


def renumbered(change: Change) -> Change:
    """The change, and every move numbered as an honest producer would."""

    def both(draft: Draft, rng: random.Random) -> None:
        change(draft, rng)
        draft.renumber()

    return both
