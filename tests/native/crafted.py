"""Small worlds for the native engine: one contract, its cells, and envelopes whose signature nobody looks at."""

from __future__ import annotations

from typing import Any

import rlp

from manaflow import _native
from manaflow._native import Codes, Environment
from manaflow.moves.marks import ZERO32

ALICE, CONTRACT = b"\xa1" * 20, b"\xc0" * 20
BLOB_HASH = b"\1" + bytes(31)


def environment(fork: int = 3, gas_limit: int = 30_000_000) -> Environment:
    return Environment(1, fork, 100, 1_000, b"\xfe" * 20, gas_limit, 7, ZERO32, 0, 1, 9, 5007716, 0)


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def run(code: bytes, cells: list[tuple[str, bytes, int, int]], fork: int = 3) -> _native.Execution:
    """A system call of a contract with this code and the further cells (mark, addr, slot, value)."""
    codes = Codes()
    rows = [("c", CONTRACT, 0, int.from_bytes(codes.add(code), "big")), *cells]
    return _native.execute(
        environment(fork),
        (CONTRACT, b""),
        b"\xff" * 20,
        0,
        0,
        "".join(mark for mark, _, _, _ in rows).encode(),
        b"".join(addr for _, addr, _, _ in rows),
        b"".join(word(slot) for _, _, slot, _ in rows),
        b"".join(word(value) for _, _, _, value in rows),
        codes,
    )


def transfer(nonce: int = 0, gas_limit: int = 21_000, to: bytes = CONTRACT) -> bytes:
    """A legacy transaction without value."""
    return bytes(rlp.encode([nonce, 7, gas_limit, to, 0, b"", 37, 1, 1]))


def blob_transfer(nonce: int, blobs: int) -> bytes:
    """A blob transaction."""
    fields: list[Any] = [1, nonce, 0, 7, 21_000, CONTRACT, 0, b"", [], 1, [BLOB_HASH] * blobs, 0, 1, 1]
    return b"\3" + bytes(rlp.encode(fields))
