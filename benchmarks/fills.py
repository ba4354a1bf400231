"""How many transactions a second does one core fill, spread over many accounts and all on one hot pool?

A coordinator's inner loop: envelopes whose senders are known (signatures are checked elsewhere), executed in batches on
the latest values, every move recorded. Beside it plain revm (`Plain`): the same batches on a mutable in-memory state,
nothing recorded. Before anything is timed, each batch's columns are compared with filling its envelopes one by one, and
every filled transaction is executed again alone on nothing but its moves.

    taskset -c 0 python benchmarks/fills.py --count 10000 --rounds 9 --json fills.json

spread transfers: an ERC-20 transfer from each of so many senders to as many receivers. hot pool: a swap by each of so
many traders on one constant-product pool that keeps their deposits. hot pair: the same on a pool of two ERC-20s, three
contracts in all. spread pairs: as hot pair, but each trader on a pool of their own: only the contention differs.
lazy: spread transfers on a world that asks a Python source for what it does not hold, cold and warm.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import rlp
from blocks import machine
from rich.console import Console
from rich.table import Table

from manaflow import _native
from manaflow._native import Codes, Filled, Plain, World
from manaflow.evm.executor import Environment
from manaflow.evm.native import fill_steps, native_environment
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark, Mask
from manaflow.rules.config import PRAGUE_BLOBS, Fork, Profile

CONTRACTS: Final = json.loads((Path(__file__).parent / "contracts" / "contracts.json").read_text())
TOKEN_CODE, POOL_CODE, PAIR_CODE = (bytes.fromhex(CONTRACTS[name]) for name in ("Token", "Pool", "Pair"))
SOLD, BOUGHT = (bytes.fromhex(f"10{'00' * 18}0{i}") for i in (1, 2))
"""The tokens of every pair, as in its source."""
ETHER: Final = 10**18
COLUMNS: Final = ("marks", "addrs", "slots", "prevs", "nexts", "consumes", "references", "statuses", "gas_used")

ENVIRONMENT: Final = Environment(
    chain_id=7_777,
    fork=Fork.PRAGUE,
    number=1,
    timestamp=1_750_000_000,
    coinbase=b"\xcc" * 20,
    gas_limit=1 << 40,
    base_fee=7,
    prevrandao=ZERO32,
    excess_blob_gas=0,
    blob_base_fee=1,
    blobs=PRAGUE_BLOBS,
    profile=Profile.MANAFLOW,
)


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def account(kind: str, i: int) -> bytes:
    """The i-th address of a kind, spread as addresses are."""
    return keccak256(f"{kind} {i}".encode())[12:]


def entry(slot: int, *keys: bytes) -> bytes:
    """The slot of an entry of the (nested) mapping at `slot`."""
    found = word(slot)
    for key in keys:
        found = keccak256(key.rjust(32, b"\0") + found)
    return found


def selector(signature: str) -> bytes:
    return keccak256(signature.encode())[:4]


def envelope(to: bytes, data: bytes) -> bytes:
    """A first transaction (type 2) under a signature that nobody looks at."""
    fields = [ENVIRONMENT.chain_id, 0, 1, 100, 200_000, to, 0, data, [], 0, 1, 1]
    return b"\2" + bytes(rlp.encode(fields))


@dataclass(frozen=True)
class Load:
    """Transactions of distinct senders, and the state that they need."""

    name: str
    batch: int
    """Transactions filled by one native call."""
    envelopes: list[bytes]
    senders: list[bytes]
    cells: dict[Location, bytes]

    @cached_property
    def codes(self) -> Codes:
        """Every code, analysed."""
        codes = Codes()
        for code in (TOKEN_CODE, POOL_CODE, PAIR_CODE):
            codes.add(code)
        return codes

    @cached_property
    def columns(self) -> tuple[bytes, bytes, bytes, bytes]:
        """marks, addrs, slots, values of the state."""
        marks, addrs, slots = zip(*self.cells, strict=True)
        return bytes(marks), b"".join(addrs), b"".join(slots), b"".join(self.cells.values())

    @property
    def values(self) -> dict[bytes, bytes]:
        """By mark, address and slot."""
        return {bytes((mark,)) + addr + slot: value for (mark, addr, slot), value in self.cells.items()}

    def world(self) -> World:
        """The state, all at hand."""
        world = World()
        world.load(*self.columns)
        return world

    def batches(self) -> Iterator[slice]:
        """Which transactions each native call fills."""
        starts = range(0, len(self.envelopes), self.batch)
        return (slice(start, start + self.batch) for start in starts)

    def fill(self, world: World) -> list[Filled]:
        """Everything, batch by batch."""
        return [
            fill_steps(world, ENVIRONMENT, self.envelopes[part], self.senders[part], {}, self.codes, skip_refused=True)
            for part in self.batches()
        ]

    def plains(self) -> list[Plain]:
        """The baseline, one for each batch: each knows the whole state."""
        native = native_environment(ENVIRONMENT)
        made = (
            Plain(native, self.envelopes[part], b"".join(self.senders[part]), *self.columns, {}, self.codes)
            for part in self.batches()
        )
        return list(made)


def contract(address: bytes, code: bytes) -> dict[Location, bytes]:
    return {(Mark.CODE, address, ZERO32): keccak256(code), (Mark.NONCE, address, ZERO32): word(1)}


def transfers(name: str, count: int, batch: int) -> Load:
    """Each sender transfers 1 token to a receiver who holds some already."""
    cells, envelopes = contract(SOLD, TOKEN_CODE), []
    senders = [account("sender", i) for i in range(count)]
    for i, sender in enumerate(senders):
        to = account("receiver", i)
        cells[Mark.BALANCE, sender, ZERO32] = word(ETHER)
        cells[Mark.STORAGE, SOLD, entry(0, sender)] = word(1_000)
        cells[Mark.STORAGE, SOLD, entry(0, to)] = word(5)
        envelopes.append(envelope(SOLD, selector("transfer(address,uint256)") + to.rjust(32, b"\0") + word(1)))
    return Load(name, batch, envelopes, senders, cells)


def swaps(name: str, batch: int, pools: list[bytes], code: bytes) -> Load:
    """Each trader, who owns enough of both sides, sells 1,000,000 units: the i-th one on `pools[i]`."""
    reserve = 10**30
    cells = contract(SOLD, TOKEN_CODE) | contract(BOUGHT, TOKEN_CODE)
    traders = [account("trader", i) for i in range(len(pools))]
    for trader, pool in zip(traders, pools, strict=True):
        cells |= contract(pool, code)
        cells[Mark.STORAGE, pool, word(0)] = word(reserve << 128 | reserve)
        cells[Mark.BALANCE, trader, ZERO32] = word(ETHER)
        for i, token in enumerate((SOLD, BOUGHT)):
            cells[Mark.STORAGE, token, entry(0, pool)] = word(reserve)
            cells[Mark.STORAGE, token, entry(0, trader)] = word(10**9)
            cells[Mark.STORAGE, pool, entry(1 + i, trader)] = word(10**9)
        cells[Mark.STORAGE, SOLD, entry(1, trader, pool)] = word(2**256 - 1)
    call = selector("swap(uint256,uint256)") + word(10**6) + word(1)
    return Load(name, batch, [envelope(pool, call) for pool in pools], traders, cells)


def loads_of(count: int, batch: int) -> list[Load]:
    """What is measured; the first one is what the others are compared with."""
    one, own = [account("pool", 0)] * count, [account("pool", i) for i in range(count)]
    return [
        transfers("spread transfers", count, batch),
        swaps("hot pool", batch, one, POOL_CODE),
        swaps("spread pairs", batch, own, PAIR_CODE),
        swaps("hot pair", batch, one, PAIR_CODE),
    ]


def assert_correct(load: Load) -> dict[str, float]:
    """Every transaction succeeds, batches equal fills one by one, and every filled one holds alone on its own moves.

    Returns the gas and the moves of one transaction on average.
    """
    batches = load.fill(load.world())
    singly = replace(load, batch=1).fill(load.world())
    gas = moves = 0
    for name in COLUMNS:
        assert b"".join(getattr(one, name) for one in batches) == b"".join(getattr(one, name) for one in singly), name
    for filled, part in zip(batches, load.batches(), strict=True):
        count = len(load.envelopes[part])
        assert filled.refused == []
        assert filled.statuses == bytes([1]) * count
        assert not any(alone(load, filled, part)), f"{load.name}: a filled transaction does not hold alone"
        gas += int(np.frombuffer(filled.gas_used, np.uint64).sum())
        moves += len(filled.marks)
    plain = load.plains()[0]
    plain.reset()
    plain.decode()
    assert plain.run() == int(np.frombuffer(batches[0].gas_used, np.uint64).sum())
    return {"gas": gas / len(load.envelopes), "moves": moves / len(load.envelopes)}


def alone(load: Load, filled: Filled, part: slice) -> bytes:
    """The verdict on each transaction of a batch, executed on nothing but its own moves."""
    consumes, references = (np.frombuffer(column, np.uint32) for column in (filled.consumes, filled.references))
    counts = np.stack([consumes, references], axis=1)
    masks = np.repeat(np.tile(np.array([0x3F, 0x3F | Mask.REFERENCE], np.uint8), len(counts)), counts.ravel())
    gas = np.frombuffer(filled.gas_used, np.uint64)
    return _native.execute_block(
        native_environment(ENVIRONMENT),
        filled.marks,
        filled.addrs,
        filled.slots,
        filled.prevs,
        filled.nexts,
        masks,
        np.concatenate([[0], np.cumsum(counts.sum(axis=1))]).astype(np.int64),
        load.envelopes[part],
        {},
        b"".join(load.senders[part]),
        filled.statuses,
        gas,
        filled.logs_hashes,
        np.cumsum(gas) - gas,
        np.zeros(len(gas), np.uint64),
        load.codes,
        threads=1,
    )


def timed(work: Callable[[], object]) -> float:
    """CPU seconds of this thread."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def measure(load: Load, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of this thread for all batches, by what was run; a first round is forgotten."""
    seconds: dict[str, list[float]] = {"fill": [], "plain": []}
    plains = load.plains()
    for attempt in range(rounds + 1):
        spent = {"fill": timed(partial(load.fill, load.world())), "plain": 0.0}
        for plain in plains:
            plain.reset()
            spent["plain"] += timed(plain.decode) + timed(plain.run)
        if attempt:
            for name, total in spent.items():
                seconds[name].append(total)
    return seconds


def measure_lazy(load: Load, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of filling on a world that asks a source: nothing known at first, then everything."""
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(rounds):
        world = World(load.values.get)
        for name in seconds:
            start = time.thread_time()
            filled = load.fill(world)
            seconds[name].append(time.thread_time() - start)
            changed = [(one.marks, one.addrs, one.slots, one.prevs) for one in reversed(filled)]
            for columns in changed:
                world.load(*columns)
    return seconds


def summary(load: Load, sizes: dict[str, float], seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Rates by median, and the raw seconds."""
    count = len(load.envelopes)
    rates = {f"{name}s_per_second": count / statistics.median(times) for name, times in seconds.items()}
    ratio = statistics.median(fill / plain for fill, plain in zip(seconds["fill"], seconds["plain"], strict=True))
    return {"load": load.name, **sizes, **rates, "fill_over_plain": ratio, "seconds": seconds}


def show(found: dict[str, Any]) -> None:
    """A table for people."""
    table = Table(title="Fills a second on one core, medians of CPU time", title_justify="left")
    for title in ("load", "gas", "moves", "fills/s", "plain/s", "fill / plain", "of the first"):
        table.add_column(title, justify="left" if title == "load" else "right")
    first = found["loads"][0]["fills_per_second"]
    for row in found["loads"]:
        rate = row["fills_per_second"]
        table.add_row(
            row["load"], f"{row['gas']:,.0f}", f"{row['moves']:.1f}", f"{rate:,.0f}",
            f"{row['plains_per_second']:,.0f}", f"{row['fill_over_plain']:.2f}", f"{rate / first:.2f}",
        )  # fmt: skip
    for name, rate in found["lazy"]["fills_per_second"].items():
        table.add_row(f"first, lazy, {name}", "", "", f"{rate:,.0f}", "", "", f"{rate / first:.2f}")
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2_000, help="transactions of each kind")
    parser.add_argument("--batch", type=int, default=1_000, help="transactions of one native call")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the raw numbers here")
    args = parser.parse_args()
    found: dict[str, Any] = {"machine": machine(), "count": args.count, "batch": args.batch, "rounds": args.rounds}
    loads = loads_of(args.count, args.batch)
    found["loads"] = [summary(load, assert_correct(load), measure(load, args.rounds)) for load in loads]
    lazy = measure_lazy(loads[0], args.rounds)
    rates = {name: args.count / statistics.median(times) for name, times in lazy.items()}
    found["lazy"] = {"fills_per_second": rates, "seconds": lazy}
    show(found)
    if args.json:
        args.json.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
