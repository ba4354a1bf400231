"""What a validator says of what it has done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImportReport:
    """A block that is now on disk."""

    number: int
    hash: bytes
    transactions: int
    """Leaves, system transactions included."""
    moves: int
    cells: int
    """Cells that the block makes."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """A state directory without faults."""

    blocks: int
    """Canonical blocks, genesis included."""
    live: int
    """Live cells; equal to the number of touched locations."""
    cells: int
    """Cells ever made."""
    codes: int
