"""Blocks of any shape for tests of forms: columns may hold nonsense, as a dishonest producer's do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.columns import U8, Leaves, Moves
from manaflow.moves.hashing import PYTHON
from manaflow.moves.header import Header
from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32

MARKS = np.frombuffer(b"bcens", np.uint8)


def header(**given: Any) -> Header:
    """A header of zeros, 30,000,000 gas limit and first cell 1000, with fields replaced."""
    zeros = "number timestamp gas_used base_fee blob_gas_used excess_blob_gas cells transactions codes fees"
    numbers = dict.fromkeys(zeros.split(), 0)
    values = {"version": 1, "gas_limit": 30_000_000, "first_cell": 1000, "coinbase": ZERO20, "extra_data": b""}
    return Header(**{f.name: ZERO32 for f in fields(Header)} | numbers | values | given)


def same(a: Block, b: Block) -> bool:
    """True if nothing distinguishes the two blocks."""
    return (
        a.leaves.equals(b.leaves)
        and a.moves.equals(b.moves)
        and (a.header, a.signature, a.envelopes, a.codes, a.withdrawals)
        == (b.header, b.signature, b.envelopes, b.codes, b.withdrawals)
    )


def words(rng: np.random.Generator, n: int, width: int = 32) -> U8:
    """Words of every length, many of them zero, ones or all ones."""
    out = rng.integers(0, 256, (n, width), dtype=np.uint8)
    out[np.arange(width) < rng.integers(0, width + 1, n)[:, None]] = 0
    out[rng.random(n) < 0.1] = 255
    return out


def honest_block(seed: int, transactions: int = 4, envelopes: int | None = None, **given: Any) -> Block:
    """A block whose chains, totals, masks, txids and roots all fit (it need not execute). The last is a system leaf."""
    rng = np.random.default_rng(seed)
    head = header(**given)
    raw = tuple(rng.bytes(int(rng.integers(60, 120))) for _ in range(transactions if envelopes is None else envelopes))
    pool = [(int(rng.choice(MARKS)), rng.bytes(20), rng.bytes(32)) for _ in range(3 * transactions)]
    state: dict[int, tuple[int, bytes]] = {}
    rows: list[tuple[int, int, int, bytes, bytes, bytes, bytes]] = []
    counts: list[tuple[int, int]] = []
    cell = head.first_cell
    for _ in range(transactions + 1):
        used = rng.permutation(len(pool))[: rng.integers(2, 6)].tolist()
        split = int(rng.integers(1, len(used)))
        for k, where in enumerate(used):
            number, value = state.get(where, (int(rng.integers(1, head.first_cell)), rng.bytes(20).rjust(32, b"\0")))
            after = value if k >= split else rng.bytes(12).rjust(32, b"\0")
            rows.append((UNSIGNED | (128 if k >= split else 0), pool[where][0], number, *pool[where][1:], value, after))
            state[where] = (number, value) if k >= split else (cell + k, after)
        counts.append((split, len(used) - split))
        cell += split
    moves = moves_of_rows(rows)
    return Block(
        head, rng.bytes(65), leaves_for(moves, counts, raw, head, rng), moves, raw, (rng.bytes(50), rng.bytes(7)),
        tuple(Withdrawal(77 + i, 1000 + i, rng.bytes(20), 5 * i) for i in range(3)),
    )  # fmt: skip


def moves_of_rows(rows: Sequence[tuple[int, int, int, bytes, bytes, bytes, bytes]]) -> Moves:
    """Columns of (mask, mark, number, addr, slot, prev, next)."""
    mask, mark, number, *wide = zip(*rows, strict=True)
    columns = [np.frombuffer(b"".join(column), np.uint8).reshape(len(rows), -1) for column in wide]
    return Moves(np.array(mask, np.uint8), np.array(mark, np.uint8), np.array(number, np.uint64), *columns)


def leaves_for(
    moves: Moves,
    counts: Sequence[tuple[int, int]],
    envelopes: Sequence[bytes],
    head: Header,
    rng: np.random.Generator,
) -> Leaves:
    """Leaves that fit moves and envelopes; those without an envelope have random txids."""
    t = len(counts)
    consumes, references = (np.array(column, np.uint32) for column in zip(*counts, strict=True))
    txid = rng.integers(0, 256, (t, 32), dtype=np.uint8)
    taken = min(t, len(envelopes))
    txid[:taken] = PYTHON.keccak_many(envelopes)[:taken]
    gas_used = rng.integers(21000, 10**6, t).astype(np.uint64)
    offsets = np.concatenate([[0], np.cumsum(consumes.astype(np.int64) + references)])
    return Leaves(
        txid, PYTHON.moves_roots(moves, offsets), consumes, references, np.ones(t, np.uint8), gas_used,
        rng.integers(0, 256, (t, 32), dtype=np.uint8),
        np.uint64(head.first_cell) + np.cumsum(consumes, dtype=np.uint64) - consumes,
        np.cumsum(gas_used) - gas_used, np.zeros((t, 32), np.uint8), np.zeros(t, np.uint64),
    )  # fmt: skip


def nonsense_block(seed: int, leaves: int, moves: int) -> Block:
    """Arbitrary values in every column; only the counts of moves fit. Locations, numbers and values often repeat."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, moves + 1, max(leaves - 1, 0)))
    per_leaf = np.diff(np.concatenate([[0], cuts, [moves]])) if leaves else np.zeros(0, np.int64)
    n = int(per_leaf.sum())
    consumes = (rng.random(leaves) * (per_leaf + 1)).astype(np.uint32)
    pick = rng.integers(0, max(1, n // 3), n)
    pool = words(rng, max(1, n // 3))
    number = rng.choice(np.array([0, 1, 999, 1000, 1001, 2**48, 2**63, 2**64 - 1], np.uint64), n)
    number[rng.random(n) < 0.3] = rng.integers(0, 2**64, dtype=np.uint64)
    made = Moves(
        rng.choice(np.array([0x3F, 0xBF, 0, 255], np.uint8), n), rng.choice(np.frombuffer(b"bs\0\xff", np.uint8), n),
        number, words(rng, 3, 20)[rng.integers(0, 3, n)], pool[pick], words(rng, n), pool[rng.permutation(pick)],
    )  # fmt: skip
    envelopes = tuple(words(rng, 1, 40)[0, -k:].tobytes() if k else b"" for k in rng.integers(0, 40, leaves // 2))
    txid = words(rng, leaves)
    fits = rng.random(leaves) < 0.7
    ids = PYTHON.keccak_many(envelopes)[: int(fits.sum())]
    txid[np.flatnonzero(fits)[: len(ids)]] = ids
    wide = [rng.integers(0, 2**64, leaves, dtype=np.uint64) for _ in range(4)]
    rows = Leaves(
        txid, words(rng, leaves), consumes, (per_leaf - consumes).astype(np.uint32),
        rng.integers(0, 256, leaves, dtype=np.uint8), wide[0], words(rng, leaves), wide[1], wide[2],
        words(rng, leaves), wide[3],
    )  # fmt: skip
    head = header(first_cell=int(rng.choice(np.array([0, 1000, 2**64 - 1], np.uint64))), gas_limit=2**63)
    withdrawals = tuple(
        Withdrawal(int(a), int(b), rng.bytes(20), int(c)) for a, b, c in rng.integers(0, 2**64, (2, 3), dtype=np.uint64)
    )
    return Block(head, rng.bytes(int(rng.integers(0, 66))), rows, made, envelopes, envelopes[:1], withdrawals)
