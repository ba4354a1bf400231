"""What a coordinator takes for the state: the latest index, and on top of it the cells of the open block.

A native World holds the values (and, between a fill and its reply, what the batch on its way has made of them); the
makers of cells are here, by key, as records of the latest index (number:8 | intx | value). A cell of the open block has
number 0: it has none yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from manaflow._native import Codes, World
from manaflow.coordinator.latest_index import KEY_BYTES, VIRGIN_RECORD, key_of
from manaflow.moves.batch import Cells
from manaflow.moves.block import Block
from manaflow.moves.columns import U8, U64
from manaflow.moves.marks import ZERO32, Location, Mark, Mask

MAX_HELD: Final = 1 << 21
"""Locations that a view holds before it starts anew (some 300 bytes each)."""
MAX_ASKED: Final = 1 << 14
MAX_CODES: Final = 20_000
"""Codes that are kept analysed."""
_NO_NUMBER: Final = bytes(8)
_NONCE: Final = int(Mark.NONCE)


class Records(Protocol):
    """The sealed state: latest_index.LatestIndex, or a model of it."""

    def record(self, key: bytes) -> bytes | None:
        """number:8 | intx | value of the live cell at a key; None for a virgin one."""
        ...


class View:
    """See the module. One thread."""

    def __init__(self, latest: Records, code_of: Callable[[bytes], bytes | None]) -> None:
        """code_of: the bytes of a sealed code by keccak-256."""
        self._latest, self._code_of = latest, code_of
        self.known: dict[bytes, bytes] = {}
        """Records by key, of what was asked for or learnt."""
        self._asked: dict[bytes, bytes] = {}
        """Sealed records that strangers made the coordinator ask for; at most MAX_ASKED, and of one block."""
        self._open: set[bytes] = set()
        """Keys whose record is of the open block."""
        self.codes = Codes()
        self.world = World(self._value, code_of)

    def record(self, key: bytes) -> bytes:
        """The record of the live cell at a key; zeros for a virgin one."""
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self._asked.get(key) or self._latest.record(key) or VIRGIN_RECORD
        return found

    def _value(self, key: bytes) -> bytes:
        """`record`'s value, for the world: asked some five times a transaction."""
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self._asked.get(key) or self._latest.record(key) or VIRGIN_RECORD
        return found[40:]

    def number_at(self, mark: Mark, addr: bytes) -> int:
        """A nonce or a balance as a number, by `peek`: strangers make a coordinator ask for any address."""
        return self._number(bytes((mark,)) + addr + ZERO32)

    def nonce(self, addr: bytes) -> int:
        """`number_at` of a nonce."""
        return self._number(b"n" + addr + ZERO32)

    def balance(self, addr: bytes) -> int:
        """`number_at` of a balance, in wei."""
        return self._number(b"b" + addr + ZERO32)

    def _number(self, key: bytes) -> int:
        record = self.known.get(key) or self._asked.get(key) or self.peek(key)
        return int.from_bytes(record[40:], "big")

    def peek(self, key: bytes) -> bytes:
        """As `record`, for whoever may ask for anything: little is kept."""
        found = self.known.get(key) or self._asked.get(key)
        if found is None:
            if len(self._asked) >= MAX_ASKED:
                self._asked.clear()
            found = self._asked[key] = self._latest.record(key) or VIRGIN_RECORD
        return found

    def sealed_nonce(self, addr: bytes) -> int:
        """A nonce in the latest index, whatever the open block has made of it."""
        record = self._latest.record(bytes((Mark.NONCE,)) + addr + ZERO32)
        return 0 if record is None else int.from_bytes(record[40:], "big")

    def maker(self, location: Location) -> bytes:
        """Txid of the live cell's maker; zeros for a virgin one."""
        return self.record(key_of(location))[8:40]

    def learn(self, cells: Cells) -> list[bytes]:
        """Take over cells of the open block; returns their keys."""
        n = len(cells)
        keys = key_rows(cells.mark, cells.addr, cells.slot)
        tails = np.concatenate([cells.intx, cells.value], axis=1).tobytes()
        self.known.update((key, _NO_NUMBER + tails[64 * i : 64 * i + 64]) for i, key in enumerate(keys))
        self._open.update(keys)
        if n:
            self.world.load(cells.mark, cells.addr, cells.slot, cells.value)
        return keys

    def take(self, made: Mapping[bytes, bytes]) -> None:
        """Take over cells of the open block of which the world has the values. made: records by key."""
        self.known.update(made)
        self._open.update(made)

    def restore(self, keys: Iterable[bytes], made: Mapping[bytes, bytes] | None = None) -> None:
        """Give the world back what lives at these keys: what `made` says was made since, else what the view has."""
        made = made or {}
        data = [(key, (made.get(key) or self.record(key))[40:]) for key in sorted(keys)]
        if data:
            mark, addr, slot = _columns([key for key, _ in data])
            self.world.load(mark, addr, slot, b"".join(value for _, value in data))

    def close_block(self, block: Block | None) -> set[bytes]:
        """The open block is gone; returns the accounts whose nonce may be another now.

        block: what the latest index has applied instead, None if nothing.
        """
        self._asked.clear()
        rows = np.zeros(0, np.int64) if block is None else np.flatnonzero((block.moves.mask & Mask.REFERENCE) == 0)
        stale, self._open = self._open, set()
        moved = {key[1:21] for key in stale if key[0] == _NONCE}
        if block is not None and len(rows):
            moves, known = block.moves, self.known
            mark, addr, slot, after = moves.mark[rows], moves.addr[rows], moves.slot[rows], moves.next[rows]
            self.world.load(mark, addr, slot, after)  # row by row: the last consume of a location stays
            keys = key_rows(mark, addr, slot)
            moved.update(key[1:21] for key in keys if key[0] == _NONCE)
            stale.difference_update(keys)
            for key in keys:
                known.pop(key, None)
        self._forget(stale)
        self._stay_small()
        return moved

    def reset(self) -> None:
        """Forget everything: the latest index went back, or nobody knows what the world holds."""
        self.known.clear()
        self._asked.clear()
        self._open.clear()
        self.world.clear()

    def _forget(self, keys: Iterable[bytes]) -> None:
        gone = sorted(keys)
        for key in gone:
            self.known.pop(key, None)
        if gone:
            self.world.forget(*_columns(gone))

    def _stay_small(self) -> None:
        """Only between blocks: the latest index then knows whatever is forgotten."""
        if max(len(self.known), len(self.world)) > MAX_HELD:
            self.reset()
        if len(self.codes) > MAX_CODES:
            self.codes = Codes()


def _columns(keys: Sequence[bytes]) -> tuple[bytes, bytes, bytes]:
    """Marks, addresses and slots of keys."""
    return bytes(key[0] for key in keys), b"".join(key[1:21] for key in keys), b"".join(key[21:] for key in keys)


def key_rows(mark: U8, addr: U8, slot: U8) -> list[bytes]:
    """The key of each row. mark: uint8[n]; addr: uint8[n, 20]; slot: uint8[n, 32]."""
    data = np.concatenate([mark.reshape(-1, 1), addr, slot], axis=1).tobytes()
    return [data[at : at + KEY_BYTES] for at in range(0, len(data), KEY_BYTES)]


def names_of(records: Sequence[bytes]) -> tuple[U64, U8]:
    """(numbers uint64[n], intx uint8[n, 32]) of records."""
    rows = np.frombuffer(b"".join(records), np.uint8).reshape(-1, len(VIRGIN_RECORD))
    numbers = np.ascontiguousarray(rows[:, :8]).view(">u8").reshape(-1).astype(np.uint64)
    return numbers, np.ascontiguousarray(rows[:, 8:40])
