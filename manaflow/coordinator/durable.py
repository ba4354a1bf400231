"""A coordinator whose pool outlives it: what it answers leaves only once the disk holds what the answer promises."""

from __future__ import annotations

from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.messages import Dropped, Forget, Keep, Message, Restore, Result


class DurableCoordinator:
    """A Coordinator beside the environment of its latest index. One thread."""

    def __init__(self, coordinator: Coordinator, latest: LatestIndex) -> None:
        """coordinator: new; it is given what the disk holds. Raises StorageFailure."""
        self.coordinator, self._latest = coordinator, latest
        restored = self.handle(Restore(latest.kept()))
        self.restored = [r for r in restored if not isinstance(r, Dropped) or latest.transaction(r.txid) is None]
        """What became of transactions that no longer wait, but of those that were sealed in the meantime."""

    def handle(self, message: Message) -> list[Result]:
        """As Coordinator.handle, with `Keep` and `Forget` done: one commit for each message that has any.

        Raises StorageFailure: then the coordinator is ahead of the disk, and must be made anew.
        """
        results = self.coordinator.handle(message)
        kept = {result.arrival: result.envelope for result in results if isinstance(result, Keep)}
        forgotten = {result.arrival for result in results if isinstance(result, Forget)}
        if kept or forgotten:
            self._latest.keep(sorted((a, raw) for a, raw in kept.items() if a not in forgotten), sorted(forgotten))
        return [result for result in results if not isinstance(result, Keep | Forget)]
