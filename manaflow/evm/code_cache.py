"""Codes analysed for revm, kept from block to block within a bound on their bytes.

Moves may name far more code than executions run: EXTCODEHASH names it by its hash alone, and references that nothing
uses cost a dishonest producer nothing. Only the execution tells which code it needs, so everything named is loaded, but
never more at a time than the bound, or what one transaction names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from manaflow._native import Codes
from manaflow.moves.columns import Moves
from manaflow.moves.marks import ZERO32, Mark

MOST_BYTES: Final = 2**28
"""Of codes that are held."""
OVERHEAD: Final = 256
"""Bytes that each code counts beside its own."""
CodeOf = Callable[[bytes], bytes | None]
"""Code bytes by keccak-256; None if they are not known."""
NamedBy = Callable[[int], Iterable[bytes]]
"""Transaction -> keccak-256 of the codes that its cells name."""


class CodeCache:
    """See the module."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.codes = Codes()
        """What is held now; another object once it was too much."""
        self._most, self._bytes = most, 0

    def groups(
        self, which: Sequence[int], names: Iterable[bytes], named_by: NamedBy, code_of: CodeOf
    ) -> Iterator[list[int]]:
        """Transactions in order, in groups whose codes are all held until the next group is asked for.

        names: all codes that they name, by keccak-256. What `code_of` does not know is left out.
        """
        if self._bytes > self._most:
            self._clear()
        if self._load(names, code_of):
            yield list(which)
            return
        self._clear()
        group: list[int] = []
        for t in which:
            if not self._load(named_by(t), code_of):
                if group:
                    yield group
                self._clear()
                self._load(named_by(t), code_of, alone=True)
                group = []
            group.append(t)
        if group:
            yield group

    def _load(self, names: Iterable[bytes], code_of: CodeOf, *, alone: bool = False) -> bool:
        """False if they do not fit; some of them are held then. alone: take them whatever their size."""
        for code_hash in names:
            if code_hash in self.codes or (code := code_of(code_hash)) is None:
                continue
            if not alone and self._bytes + len(code) + OVERHEAD > self._most:
                return False
            self.codes.add(code)
            self._bytes += len(code) + OVERHEAD
        return True

    def _clear(self) -> None:
        self.codes, self._bytes = Codes(), 0


def code_hashes_named(moves: Moves) -> set[bytes]:
    """keccak-256 of every code that a cell holds before its move."""
    named = moves.prev[moves.mark == Mark.CODE].tobytes()
    return {named[i : i + 32] for i in range(0, len(named), 32)} - {ZERO32}
