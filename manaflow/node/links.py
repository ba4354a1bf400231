"""The way from a coordinator to the validator that has the open block: in this process, or over the network."""

from __future__ import annotations

from typing import Protocol

from manaflow.coordinator.messages import Send
from manaflow.moves.batch import Batch, Reply


class ValidatorLink(Protocol):
    """Where a coordinator's batches go."""

    def send(self, send: Send, opened: bytes) -> Reply | None:
        """The reply at once; or None, and the chain is told `Replied` later, or `Opened`, which replaces it.

        opened: hash of the header of the open block that the batch was filled for.
        """
        ...


class Admitting(Protocol):
    """An open block of this process; validator_role.ValidatorRole is one."""

    def admit(self, batch: Batch, since: int) -> Reply:
        """OpenBlock.admit, nothing kept on disk."""
        ...


class LocalLink:
    """To this process's own open block."""

    def __init__(self, producer: Admitting) -> None:
        self._producer = producer

    def send(self, send: Send, opened: bytes) -> Reply | None:
        """At once: both are of one thread, and the coordinator has been told of every block that was opened."""
        return self._producer.admit(send.batch, send.since)
