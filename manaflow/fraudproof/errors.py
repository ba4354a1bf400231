"""What a verifier says of a file that convicts nobody."""

from __future__ import annotations

from manaflow.errors import ManaflowError


class ProofRejected(ManaflowError):
    """The file is no proof against a block of the trusted chain; the message says why. Nothing is said of the block."""
