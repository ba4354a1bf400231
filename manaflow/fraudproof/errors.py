"""What a verifier says of a file that convicts nobody, and a challenger of what no file can show."""

from __future__ import annotations

from manaflow.errors import Failure, ManaflowError


class ProofRejected(ManaflowError):
    """The file is no proof against a block of the trusted chain; the message says why. Nothing is said of the block."""


class Unprovable(Failure):
    """A block is refused, and no file shows it to others. `why` is a key of challenge.UNPROVABLE."""

    def __init__(self, why: str, message: str) -> None:
        self.why = why
        super().__init__(message)


class EnginesDisagree(Failure):
    """Two executors judge one proof differently: a fault of an engine, never fraud. It convicts nobody."""
