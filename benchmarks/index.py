"""How fast does the cell index judge and commit blocks, beside the plain way to do it, in one run?

Each block has 640,000 moves: 70 % consume a cell and make one (a quarter of these within the block), 20 % are
references, 10 % first touches of virgin locations; uniform access; one fsynced write transaction per block; hashing
included. The plain way is a py-lmdb loop over 32-byte keys and values: get, compare, delete, put, move by move, one
transaction per block. The two take turns. Before timing, refused blocks and the index's own verification show that it
does its work.

    python benchmarks/index.py --cells 10000000 --blocks 12 --plain-blocks 3 --json result.json
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import numba
import numpy as np

from manaflow.errors import Rule, Verdict
from manaflow.moves.columns import I64, U64, Moves
from manaflow.validator.index import Index
from manaflow.validator.store import Store

MOVES = 640_000
A_TRANSACTION = 10
MARKS = np.frombuffer(b"bcns", np.uint8)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def words(seed: U64, width: int) -> Any:
    """uint8[n, width]: bytes that follow from a 64-bit seed each."""
    lanes = -(-width // 8)
    mixed = seed[:, None] + np.arange(1, lanes + 1, dtype=np.uint64)[None, :] * GOLDEN
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
    return np.ascontiguousarray((mixed ^ (mixed >> np.uint64(32))).view(np.uint8).reshape(len(seed), -1)[:, :width])


class Chain:
    """What lives, as numbers and locations; bytes follow from numbers, so no table of them is needed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.live = np.zeros(0, np.uint64)
        self.place = np.zeros(0, np.uint64)
        self.next, self.places = 1, 1

    def block(self, n: int) -> tuple[Moves, I64]:
        """A valid block of n moves in transactions of ten, and its offsets."""
        kinds = self.rng.permutation(np.repeat(np.arange(4), [n * 525 // 1000, n * 175 // 1000, n // 5, n // 10]))
        return self._build(kinds)

    def load(self, n: int) -> tuple[Moves, I64]:
        """A block of n first touches."""
        return self._build(np.full(n, 3))

    def _build(self, kinds: Any) -> tuple[Moves, I64]:
        """Kinds: 0 consume from before, 1 consume of a cell made earlier in the block, 2 reference, 3 first touch."""
        n = len(kinds)
        number, place = np.zeros(n, np.uint64), np.zeros(n, np.uint64)
        makes = kinds != 2
        own = np.full(n, self.next, np.uint64)
        own[makes] += np.arange(makes.sum(), dtype=np.uint64)
        picked = self.rng.choice(len(self.live), int((kinds == 0).sum() + (kinds == 2).sum()), replace=False)
        spent = picked[: (kinds == 0).sum()]
        for kind, rows in ((0, spent), (2, picked[len(spent) :])):
            number[kinds == kind], place[kinds == kind] = self.live[rows], self.place[rows]
        touched = int((kinds == 3).sum())
        place[kinds == 3] = np.arange(self.places, self.places + touched, dtype=np.uint64)
        gone = self._link(kinds, number, place, own)
        keep = np.ones(len(self.live), np.bool_)
        keep[spent] = False
        alive = makes & ~gone
        self.live = np.concatenate([self.live[keep], own[alive]])
        self.place = np.concatenate([self.place[keep], place[alive]])
        self.next, self.places = self.next + int(makes.sum()), self.places + touched
        return self._columns(kinds, number, place, own)

    def _link(self, kinds: Any, number: U64, place: U64, own: U64) -> Any:
        """Let each consume of kind 1 take the cell of an earlier transaction of the block, each cell once."""
        gone = np.zeros(len(kinds), np.bool_)
        pool: list[int] = []
        fresh = 0
        chances = self.rng.random(len(kinds)).tolist()
        for row, kind in enumerate(kinds.tolist()):
            if row % A_TRANSACTION == 0:  # what the transactions before this one made
                pool.extend(i for i in range(fresh, row) if kinds[i] != 2)
                fresh = row
            if kind != 1:
                continue
            if pool:
                at = int(chances[row] * len(pool))
                pool[at], pool[-1] = pool[-1], pool[at]
                maker = pool.pop()
                number[row], place[row], gone[maker] = own[maker], place[maker], True
            else:  # only at the very start: a first touch instead
                kinds[row], place[row] = 3, np.uint64(1 << 50) + own[row]
        return gone

    def _columns(self, kinds: Any, number: U64, place: U64, own: U64) -> tuple[Moves, I64]:
        n = len(kinds)
        prev = words(number, 32)
        prev[number == 0] = 0
        next_ = words(own, 32)
        next_[kinds == 2] = prev[kinds == 2]
        mask = np.where(kinds == 2, np.uint8(0xBF), np.uint8(0x3F))
        mark = MARKS[(place % np.uint64(4)).astype(np.int64)]
        moves = Moves(
            mask, mark, number, words(place * np.uint64(7), 20), words(place * np.uint64(11), 32), prev, next_
        )
        offsets = np.append(np.arange(0, n, A_TRANSACTION), n).astype(np.int64)
        return moves, offsets


class Plain:
    """The plain way: one tree of 32-byte keys and values."""

    def __init__(self, path: Path) -> None:
        self.env = lmdb.open(str(path), map_size=1 << 38, lib_version=0, readahead=False)

    def load(self, numbers: U64) -> None:
        """Put the cells in, in the order of their keys."""
        keys = words(numbers, 32)
        order = np.argsort(keys[:, :8].copy().view(">u8").ravel(), kind="stable")
        values = words(numbers + np.uint64(1 << 60), 32)
        for start in range(0, len(order), 1_000_000):
            rows = order[start : start + 1_000_000]
            with self.env.begin(write=True) as txn, txn.cursor() as cursor:
                pairs = zip(
                    keys[rows].view("V32").ravel().tolist(), values[rows].view("V32").ravel().tolist(), strict=True
                )
                cursor.putmulti(pairs, append=True)

    def prepare(self, moves: Moves, offsets: I64, first: int) -> list[tuple[bytes, bytes, bytes, bytes, bool]]:
        """(key, value, new key, new value, consume) of each move; not timed."""
        consume = (moves.mask & 128) == 0
        own = np.zeros(len(moves), np.uint64)
        own[consume] = np.arange(first, first + consume.sum(), dtype=np.uint64)
        columns = [
            words(seed, 32).view("V32").ravel().tolist()
            for seed in (moves.number, moves.number + np.uint64(1 << 60), own, own + np.uint64(1 << 60))
        ]
        virgin = moves.number == 0
        places = moves.slot.view("V32").ravel().tolist()
        rows = zip(*columns, consume.tolist(), virgin.tolist(), places, strict=True)
        return [(p if v else k, b"" if v else old, new, value, c) for k, old, new, value, c, v, p in rows]

    def apply(self, rows: list[tuple[bytes, bytes, bytes, bytes, bool]]) -> None:
        """One block, move by move."""
        with self.env.begin(write=True) as txn:
            get, put, delete = txn.get, txn.put, txn.delete
            for key, old, new, value, consume in rows:
                if old:
                    if get(key) != old:
                        raise SystemExit("the plain way refuses the block")
                    if consume:
                        delete(key)
                elif not put(key, b"\x01", overwrite=False):
                    raise SystemExit("the plain way refuses the block")
                if consume:
                    put(new, value)


def written_bytes() -> int:
    """Bytes that this process has sent to storage so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


class Run:
    """The index under measurement."""

    def __init__(self, path: Path, seed: int) -> None:
        self.store = Store.open(path)
        self.index = Index.open(self.store)
        self.chain = Chain(seed)
        self.parts: list[dict[str, float]] = []

    def apply(self, moves: Moves, offsets: I64) -> float:
        """One block; returns seconds."""
        txids = words(np.arange(len(offsets) - 1, dtype=np.uint64) + np.uint64(self.index.next_number), 32)
        before, cpu, start = written_bytes(), time.process_time(), time.perf_counter()
        with self.store.write() as txn:
            net = self.index.check(txn, moves, offsets, self.index.next_number, txids)
            checked = time.perf_counter()
            pending = self.index.apply(txn, self.index.height + 1, net, txids)
            applied = time.perf_counter()
        committed = time.perf_counter()
        self.index.accept(pending)
        end = time.perf_counter()
        self.parts.append(
            {
                "check": checked - start,
                "apply": applied - checked,
                "commit": committed - applied,
                "accept": end - committed,
                "seconds": end - start,
                "cpu_seconds": time.process_time() - cpu,
                "bytes_written": written_bytes() - before,
                "moves": len(moves),
            }
        )
        return end - start

    def refuses(self, moves: Moves, offsets: I64, rule: Rule, what: str) -> None:
        """Assert that a broken block is refused by this rule."""
        found = None
        try:
            with self.store.write() as txn:
                self.index.check(txn, moves, offsets, self.index.next_number)
        except Verdict as verdict:
            found = verdict.rule
        assert found is rule, f"{what}: {found}"


def assert_correct(run: Run) -> None:
    """A broken block of each rule is refused, and the index agrees with its own files and with the generator."""
    run.index.verify()
    live = run.index.memory.count_live()
    assert live == len(run.chain.live) == run.index.tip.touched
    saved = run.chain.live, run.chain.place, run.chain.next, run.chain.places
    moves, offsets = run.chain.block(10_000)
    run.chain.live, run.chain.place, run.chain.next, run.chain.places = saved
    consume = (moves.mask & 128) == 0
    outside = np.flatnonzero(consume & (moves.number > 0) & (moves.number < run.index.next_number))
    virgin = np.flatnonzero(moves.number == 0)
    one, other = int(outside[0]), int(outside[-1])
    prev = moves.prev.copy()
    prev[one, 31] ^= 1
    run.refuses(replace(moves, prev=prev), offsets, Rule.V1, "another value")
    twice = {name: getattr(moves, name).copy() for name in ("number", "mark", "addr", "slot", "prev")}
    for column in twice.values():
        column[other] = column[one]
    run.refuses(replace(moves, **twice), offsets, Rule.V2, "a cell consumed twice")
    known = {name: getattr(moves, name).copy() for name in ("mark", "addr", "slot")}
    for column in known.values():
        column[int(virgin[0])] = column[one]
    run.refuses(replace(moves, **known), offsets, Rule.V4, "a virgin claim on a touched location")


def summary(parts: list[dict[str, float]]) -> dict[str, float]:
    """Medians over blocks."""
    out = {name: statistics.median(part[name] for part in parts) for name in parts[0]}
    out["moves_per_second"] = out["moves"] / out["seconds"]
    out["bytes_per_move"] = sum(p["bytes_written"] for p in parts) / sum(p["moves"] for p in parts)
    return out


def machine(seed: int) -> dict[str, Any]:
    """Where and with what this ran."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "",
    )
    versions = {"python": platform.python_version(), "numpy": np.__version__, "numba": numba.__version__}
    versions |= {"py-lmdb": lmdb.__version__, "LMDB": ".".join(map(str, lmdb.version()))}
    return {"commit": commit, "cpu": cpu, "threads": numba.get_num_threads(), "versions": versions, "seed": seed}


def measure(folder: Path, cells: int, blocks: int, plain_blocks: int, warm: int, seed: int) -> dict[str, Any]:
    """Load, warm up, then let index and plain way take turns."""
    run, plain = Run(folder / "index", seed), Plain(folder / "plain")
    while run.chain.next <= cells:
        run.apply(*run.chain.load(min(MOVES, cells + 1 - run.chain.next)))
    for _ in range(warm):
        run.apply(*run.chain.block(MOVES))
    assert_correct(run)
    plain.load(run.chain.live)
    loaded = len(run.parts)
    slow: list[float] = []
    for turn in range(blocks):
        first = run.chain.next
        moves, offsets = run.chain.block(MOVES)
        if turn < plain_blocks:
            rows = plain.prepare(moves, offsets, first)
        run.apply(moves, offsets)
        if turn < plain_blocks:
            start = time.perf_counter()
            plain.apply(rows)
            slow.append(len(rows) / (time.perf_counter() - start))
    run.index.verify()
    start = time.perf_counter()
    Index.open(run.store)
    opened = time.perf_counter() - start
    index, way = summary(run.parts[loaded:]), statistics.median(slow)
    result = {"live_cells": run.index.tip.live, "blocks": blocks, "index": index, "open_seconds": opened}
    result |= {"plain": {"moves_per_second": way, "blocks": plain_blocks}, "ratio": index["moves_per_second"] / way}
    return result | machine(seed) | {"raw_seconds": [p["seconds"] for p in run.parts[loaded:]], "raw_plain": slow}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000_000, help="live cells")
    parser.add_argument("--blocks", type=int, default=12, help="blocks of 640,000 moves measured")
    parser.add_argument("--plain-blocks", type=int, default=3, help="how many of them the plain way does as well")
    parser.add_argument("--warm", type=int, default=4, help="blocks before measuring")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the databases go, and are removed again")
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="manaflow-index-", dir=args.folder))
    try:
        result = measure(folder, args.cells, args.blocks, args.plain_blocks, args.warm, args.seed)
    finally:
        shutil.rmtree(folder)
    text = json.dumps(result, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
