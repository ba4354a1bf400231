"""Envelopes for the catalogue: real ones broken in one place, and validly signed ones of a test key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import rlp

from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask, Move
from manaflow.rules.system import EMPTY_LOGS_HASH
from tests.builders import FIELDS, KEY, address_of, envelope
from tests.catalogue.case import Case, virgin
from tests.catalogue.dishonest import Draft, Transaction

STRANGER: Final = address_of(KEY)
"""The test key's address, which no real block touches."""


def edited(raw: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A real envelope with items changed after signing."""
    kind = raw[0] if raw[0] < 0xC0 else 0
    items = dict(zip(FIELDS[kind], rlp.decode(raw[1:] if kind else raw), strict=True))
    change(items)
    return (bytes([kind]) if kind else b"") + bytes(rlp.encode(list(items.values())))


def signed(case: Case, kind: int, **changes: Any) -> bytes:
    """An envelope signed by the test key, valid in the case's block but for `changes`, except that it cannot pay."""
    fields: dict[str, Any] = {
        "chain_id": case.config.chain_id, "nonce": 0, "tip": 0, "fee": 2 * case.header.base_fee, "gas_limit": 21_000,
        "value": 0, "data": b"", "access_list": [], "blob_fee": 10**12, **changes,
    }  # fmt: skip
    return envelope(kind, KEY, **fields)


def bump(nonce: int = 0) -> Move:
    """The consume of the test key's virgin nonce (M3), which raises it from `nonce`."""
    return Move(UNSIGNED, Mark.NONCE, 0, STRANGER, ZERO32, nonce.to_bytes(32, "big"), (nonce + 1).to_bytes(32, "big"))


def stranger_moves() -> list[Move]:
    """Moves that fulfil M for an envelope of the test key that uses no gas: nonce 0 becomes 1, b and c are read."""
    return [bump(), virgin(Mark.BALANCE, STRANGER), virgin(Mark.CODE, STRANGER)]


def append_signed(draft: Draft, raw: bytes, moves: list[Move]) -> int:
    """Put a transaction after the last signed one, with an outcome of no gas; returns its position."""
    t = draft.signed[-1] + 1
    leaf = draft[t - 1].leaf
    made = Transaction(leaf, moves, raw)
    made.say(status=1, gas_used=0, logs_hash=EMPTY_LOGS_HASH)
    made.sort()
    draft.transactions.insert(t, made)
    draft.renumber()
    return t


def referring(move: Move) -> Move:
    """The move as a reference to what it found."""
    return Move(move.mask | Mask.REFERENCE, move.mark, move.number, move.addr, move.slot, move.prev, move.prev)
