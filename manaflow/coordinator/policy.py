"""In which order a coordinator fills what may be filled. A policy is one small object; ties go by arrival."""

from __future__ import annotations

from typing import Final, Protocol

from manaflow.coordinator.pool import Entry


class Policy(Protocol):
    """An order among transactions of different senders; those of one sender go by nonce."""

    name: str
    is_of_fees: bool
    """Whether the order depends on the base fee."""

    def key(self, entry: Entry, base_fee: int) -> tuple[int, ...]:
        """Smaller goes first. `base_fee` (wei) is the open block's. Must depend on nothing else."""
        ...


class Arrival:
    """First come, first served."""

    name = "arrival"
    is_of_fees = False

    def key(self, entry: Entry, base_fee: int) -> tuple[int, ...]:
        """By arrival."""
        return (entry.arrival,)


class PriorityFee:
    """Who pays the producer most for each gas goes first."""

    name = "priority-fee"
    is_of_fees = True

    def key(self, entry: Entry, base_fee: int) -> tuple[int, ...]:
        """By the tip per gas that is left of the fee cap, then by arrival."""
        return -min(entry.priority_fee, entry.max_fee - base_fee), entry.arrival


POLICIES: Final[dict[str, Policy]] = {policy.name: policy for policy in (Arrival(), PriorityFee())}
"""By name, for a node's configuration."""
