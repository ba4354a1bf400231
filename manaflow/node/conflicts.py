"""What signers were told last of transactions that lost a race or left the pool; bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

MAX_REMEMBERED: Final = 10_000

Told = tuple[str, Mapping[str, Any]]
"""Kind and item, as in chain.Events.notice."""


class Conflicts:
    """One thread."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, Told] = OrderedDict()

    def remember(self, kind: str, item: Mapping[str, Any]) -> None:
        """What a signer is told now. A transaction that is admitted has no conflict any more."""
        txid = item["txid"]
        self._told.pop(txid, None)
        if kind != "admitted":
            self._told[txid] = kind, item
            if len(self._told) > MAX_REMEMBERED:
                self._told.popitem(last=False)

    def get(self, txid: str) -> Told | None:
        """By 0x-prefixed hex."""
        return self._told.get(txid)
