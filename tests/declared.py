"""Declared transactions, as objects and as nested lists that a test may break in one place before they are encoded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import coincurve
import rlp

from manaflow.moves.declared import encode_declared, signing_hash
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32, Mark, Mask, Move
from manaflow.moves.transactions import DECLARED_TYPE, AccessEntry, DeclaredTransaction, Flag, NamedMove
from tests.builders import KEY, TO, Tree, address_of, sign

CHAIN_ID: Final = 7777
SENDER: Final = address_of(KEY)
NAMES: Final = (
    "chain_id", "nonce", "tip", "fee", "gas_limit", "to", "value", "data", "access_list", "valid_until", "flags",
    "moves", "y_parity", "r", "s",
)  # fmt: skip
"""The items of a declared envelope."""
LIMIT: Final = {Mask.MARK: "mark", Mask.INTX: "intx", Mask.ADDR: "addr", Mask.SLOT: "slot", Mask.PREV: "prev",
                Mask.NEXT: "next"}  # fmt: skip
"""Which field each of the six mask bits leaves out."""


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def named_move(
    mask: int = Mask.INTX,
    mark: int = Mark.STORAGE,
    addr: bytes = TO,
    slot: int = 0,
    prev: int = 0,
    after: int | None = None,
    intx: bytes = ZERO32,
) -> NamedMove:
    """A signed move in its signed form: masked fields are zero whatever is given."""
    after = (prev if mask & Mask.REFERENCE else prev + 1) if after is None else after
    return masked(NamedMove(int(mask), int(mark), intx, addr, word(slot), word(prev), word(after)))


def masked(move: NamedMove) -> NamedMove:
    zeros = {"mark": 0, "addr": ZERO20}
    return replace(move, **{name: zeros.get(name, ZERO32) for bit, name in LIMIT.items() if move.mask & bit})


def filled(form: NamedMove, number: int = 0, **fields: Any) -> Move:
    """A move that fits a signed form, with its masked fields as given."""
    return replace(Move(form.mask, form.mark, number, form.addr, form.slot, form.prev, form.next), **fields)


def unsigned_move(mark: int, addr: bytes, slot: int = 0, prev: int = 0, after: int | None = None) -> Move:
    """A move of an open transaction; a reference if `after` is None."""
    mask = UNSIGNED | (Mask.REFERENCE if after is None else 0)
    return Move(int(mask), int(mark), 0, addr, word(slot), word(prev), word(prev if after is None else after))


GUARD: Final = named_move(Mask.REFERENCE | Mask.GUARD | Mask.INTX | Mask.PREV | Mask.NEXT, slot=7)
MOVES: Final = (
    named_move(Mask.INTX, Mark.NONCE, SENDER, 0, 9, 10),
    named_move(Mask.INTX | Mask.PREV | Mask.NEXT, Mark.BALANCE, SENDER),
    GUARD,
    named_move(Mask.REFERENCE, Mark.CODE, prev=5, intx=b"\xcd" * 32),
)
"""Some of each kind."""


def unsigned(moves: tuple[NamedMove, ...] = MOVES, **fields: Any) -> DeclaredTransaction:
    """A declared transaction before it is signed; moves are put in order."""
    plain = DeclaredTransaction(
        type=DECLARED_TYPE, chain_id=CHAIN_ID, nonce=9, max_priority_fee=2 * 10**9, max_fee=20 * 10**9,
        gas_limit=100_000, to=TO, value=10**18, data=b"\x00\xa9\x05",
        access_list=(AccessEntry(TO, (word(1), word(2))), AccessEntry(b"\x09" * 20, ())), max_fee_per_blob_gas=0,
        blob_hashes=(), authorizations=(), y_parity=0, r=1, s=1, signing_hash=b"", txid=b"", valid_until=0,
        flags=int(Flag.OPEN), moves=tuple(sorted(moves, key=lambda move: move.sort_key)),
    )  # fmt: skip
    return replace(plain, **fields)


def declared(
    moves: tuple[NamedMove, ...] = MOVES, key: coincurve.PrivateKey = KEY, **fields: Any
) -> DeclaredTransaction:
    """A signed declared transaction, as it decodes."""
    return decoded(declared_envelope(moves, key, **fields))


def declared_envelope(moves: tuple[NamedMove, ...] = MOVES, key: coincurve.PrivateKey = KEY, **fields: Any) -> bytes:
    """A signed declared envelope."""
    plain = unsigned(moves, **fields)
    y_parity, r, s = sign(key, signing_hash(plain))
    return encode_declared(replace(plain, y_parity=y_parity, r=r, s=s))


def decoded(raw: bytes) -> DeclaredTransaction:
    transaction = decode_envelope(raw)
    assert isinstance(transaction, DeclaredTransaction)
    return transaction


def declared_items(raw: bytes | None = None) -> dict[str, Tree]:
    """The items of an envelope by name, to be changed after it was signed."""
    tree: list[Tree] = rlp.decode((raw or declared_envelope())[1:])
    return dict(zip(NAMES, tree, strict=True))


def encode_declared_items(items: dict[str, Tree]) -> bytes:
    """The envelope of items."""
    return bytes((DECLARED_TYPE,)) + bytes(rlp.encode(list(items.values())))
