"""What a view remembers of the sealed state, and for how long."""

from __future__ import annotations

import pytest

from manaflow.coordinator import view as module
from manaflow.coordinator.view import View
from manaflow.moves.marks import ZERO32, Mark

ADDRESS = b"\xaa" * 20


class Sealed:
    """Records of a state that counts who asks."""

    def __init__(self) -> None:
        self.nonce, self.asked = 1, 0

    def record(self, key: bytes) -> bytes | None:
        """The nonce of one account."""
        self.asked += 1
        return bytes(8) + ZERO32 + self.nonce.to_bytes(32, "big") if key[1:21] == ADDRESS else None


def test_a_stranger_asks_the_disk_once_a_block() -> None:
    sealed = Sealed()
    view = View(sealed, lambda code_hash: None)
    assert [view.number_at(Mark.NONCE, ADDRESS) for _ in range(3)] == [1, 1, 1]
    assert (sealed.asked, len(view.known)) == (1, 0)
    sealed.nonce = 2
    view.close_block(None)
    assert view.number_at(Mark.NONCE, ADDRESS) == 2
    sealed.nonce = 3
    view.reset()
    assert view.number_at(Mark.NONCE, ADDRESS) == 3


def test_what_strangers_ask_for_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ASKED", 4)
    sealed = Sealed()
    view = View(sealed, lambda code_hash: None)
    for i in range(9):
        assert view.number_at(Mark.NONCE, i.to_bytes(20, "big")) == 0
        assert len(view._asked) <= 4
