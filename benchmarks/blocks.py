"""How fast are real blocks replayed, executed transaction by transaction alone, and imported, beside plain revm?

Plain is the way other clients execute: unmodified revm on a mutable in-memory state, transactions in order, nothing
recorded. It and ours run in the same process, round by round, with the same recovered senders and the same analysed
codes. Times on one core are CPU time, the median over the rounds; times on all cores are elapsed time, the fastest
round. Before anything is timed, gas, outcomes and files of every block are compared with the original.

    python benchmarks/blocks.py --rounds 15 --json result.json
    python benchmarks/blocks.py --blocks 1-19932148 17000 --threads 2
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from manaflow._native import Codes, Plain, World
from manaflow.coordinator.ethereum import EthereumBlock, cells_of, load_block
from manaflow.coordinator.filler import FilledBlock
from manaflow.coordinator.genesis import known_codes
from manaflow.coordinator.receipts import check_receipts
from manaflow.coordinator.replay import Replay, chains_of, replay
from manaflow.errors import Unsupported
from manaflow.evm.calls import Call, calls_of
from manaflow.evm.envelopes import decode_envelopes
from manaflow.evm.environment import SYSTEM_ADDRESS, environment_of
from manaflow.evm.executor import Environment
from manaflow.evm.native import execute_block, fill_steps, native_environment
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.wire import decode_block, encode_block
from manaflow.validator.validator import Mode, Validator

ROOT = Path(__file__).resolve().parents[1]
Times = dict[str, list[float]]
"""Seconds of each round, by what was timed."""


def block_files(wanted: Sequence[str]) -> list[Path]:
    """Files of real blocks whose names begin with one of `wanted`, all if that is empty.

    From the folder that MANAFLOW_DATA names, else shared/data beside the checkout, else examples/.
    """
    named = os.environ.get("MANAFLOW_DATA")
    folder = (Path(named) if named else ROOT.parent / "shared" / "data") / "blocks"
    files = sorted((folder if folder.is_dir() else ROOT / "examples").glob("*.block.json.zst"))
    found = [path for path in files if not wanted or path.name.startswith(tuple(wanted))]
    if not found:
        raise SystemExit(f"no block in {folder} begins with {', '.join(wanted)}")
    return found


@dataclass(frozen=True)
class Case:
    """One block, filled, and everything that its executions need."""

    name: str
    ethereum: EthereumBlock
    filled: FilledBlock
    data: bytes
    """The block's file."""
    environment: Environment
    calls: list[Call | None]
    """One per leaf; None for withdrawals, which execute nothing."""
    senders: Any
    """uint8[t, 20], zeros for system leaves."""
    codes: Codes

    @property
    def steps(self) -> list[Call]:
        """What executes, in order."""
        return [call for call in self.calls if call is not None]

    @property
    def step_senders(self) -> list[bytes]:
        """Who calls each step."""
        rows = zip(self.calls, self.senders, strict=True)
        return [SYSTEM_ADDRESS if isinstance(call, tuple) else row.tobytes() for call, row in rows if call is not None]

    @property
    def gas(self) -> int:
        """Gas of its transactions."""
        return self.ethereum.gas_used

    def columns(self) -> tuple[bytes, bytes, bytes, bytes]:
        """marks, addrs, slots, values of the state before the block."""
        cells = {location: value for location, value in cells_of(self.ethereum.prestate) if any(value)}
        marks, addrs, slots = zip(*cells, strict=True)
        return bytes(marks), b"".join(addrs), b"".join(slots), b"".join(cells.values())

    def plain(self) -> Plain:
        """The block for the baseline."""
        senders, hashes = b"".join(self.step_senders), dict(self.ethereum.block_hashes)
        environment = native_environment(self.environment)
        return Plain(environment, self.steps, senders, *self.columns(), hashes, self.codes)

    def world(self) -> World:
        """The state before the block, for a fill."""
        world = World()
        world.load(*self.columns())
        return world

    def fill(self, world: World) -> Any:
        """Execute in order and record every move."""
        steps, senders, hashes = self.steps, self.step_senders, self.ethereum.block_hashes
        return fill_steps(world, self.environment, steps, senders, hashes, self.codes)

    def alone(self, threads: int) -> Any:
        """Execute every leaf alone, on its own moves, and compare: the result of each leaf."""
        block = self.filled.block
        return execute_block(
            self.environment, block.moves, block.leaves, self.calls, self.senders, self.codes, threads=threads
        )


def cases_of(run: Replay) -> list[Case]:
    """Fill a chain; its blocks as cases."""
    filled, codes = list(run.blocks()), Codes()
    made = [code for each in filled for code in each.block.codes]
    for code in (*known_codes(run.ethereum).values(), *made):
        codes.add(code)
    cases = []
    for ethereum, each in zip(run.ethereum, filled, strict=True):
        block, calls = each.block, calls_of(run.config, each.block)
        senders = np.zeros((len(calls), 20), np.uint8)
        signed = [i for i, call in enumerate(calls) if isinstance(call, bytes)]
        senders[signed] = decode_envelopes(block.envelopes).sender
        name, data = f"{ethereum.chain_id}-{ethereum.number}", encode_block(block, NATIVE)
        environment = environment_of(block.header, run.config)
        cases.append(Case(name, ethereum, each, data, environment, calls, senders, codes))
    return cases


def assert_correct(case: Case) -> None:
    """What is timed below does its work: the original's gas and receipts, no fault, files that give blocks back."""
    plain, block = case.plain(), case.filled.block
    plain.decode()
    plain.reset()
    gas = np.frombuffer(case.fill(case.world()).gas_used, np.uint64)
    assert plain.run() == block.header.gas_used == int(gas.sum()) == case.gas, case.name
    check_receipts(case.filled.receipts, case.ethereum.receipts_root, case.ethereum.logs_bloom, case.ethereum.number)
    for threads in (1, 0):
        assert not case.alone(threads).any(), case.name
    read = decode_block(case.data, NATIVE)
    assert read.header == block.header
    assert read.moves.equals(block.moves)
    assert read.envelopes == block.envelopes


class Stopwatch:
    """CPU time of this thread, CPU time of the process and elapsed time, by name."""

    def __init__(self) -> None:
        self.cpu: Times = defaultdict(list)
        """Of the calling thread: for what runs on one core."""
        self.process: Times = defaultdict(list)
        self.elapsed: Times = defaultdict(list)

    def time(self, name: str, work: Callable[[], object]) -> None:
        """Run and note."""
        process, elapsed, cpu = time.process_time(), time.perf_counter(), time.thread_time()
        work()
        cpu = time.thread_time() - cpu
        self.elapsed[name].append(time.perf_counter() - elapsed)
        self.process[name].append(time.process_time() - process)
        self.cpu[name].append(cpu)


def time_execution(case: Case, plain: Plain, watch: Stopwatch, threads: int) -> None:
    """One round of executions: in order by plain revm, in order with a record, each alone."""
    watch.time("decode", plain.decode)
    plain.reset()
    watch.time("plain", plain.run)
    world = case.world()
    watch.time("fill", lambda: case.fill(world))
    watch.time("alone", lambda: case.alone(1))
    watch.time("alone on all cores", lambda: case.alone(threads))
    watch.time("recover", lambda: decode_envelopes(case.ethereum.envelopes, threads))
    watch.time("recover on one core", lambda: decode_envelopes(case.ethereum.envelopes, 1))


def time_files(case: Case, watch: Stopwatch) -> None:
    """One round of writing and reading the block's file, and of the comparison with Ethereum's receipts."""
    watch.time("encode", lambda: encode_block(case.filled.block, NATIVE))
    watch.time("decode file", lambda: decode_block(case.data, NATIVE))
    original = case.ethereum
    watch.time(
        "receipts",
        lambda: check_receipts(case.filled.receipts, original.receipts_root, original.logs_bloom, original.number),
    )


def time_replay(cases: Sequence[Case], watches: Sequence[Stopwatch]) -> None:
    """One round of a chain's replay: genesis anew, then block by block from Ethereum's form to the sealed one."""
    blocks = replay([case.ethereum for case in cases]).blocks()
    for watch in watches:
        watch.time("replay", lambda: next(blocks))


def time_import(cases: Sequence[Case], watches: Sequence[Stopwatch], validators: dict[str, Validator]) -> None:
    """One round of imports, judged and committed; then the chain is taken back."""
    for case, watch in zip(cases, watches, strict=True):
        block = decode_block(case.data, NATIVE)
        for name, validator in validators.items():
            watch.time(f"judge {name}", partial(validator.judge_block, block))
            watch.time(f"import {name}", partial(validator.import_block, case.data))
    for validator in validators.values():
        assert validator.head[1] == cases[-1].filled.block.hash
        for _ in cases:
            validator.undo_block()


def measure_chain(ethereum: Sequence[EthereumBlock], rounds: int, threads: int) -> list[dict[str, Any]]:
    """Everything about one chain. One round more is run first and forgotten: caches, compiled kernels, page faults."""
    run = replay(ethereum)
    cases = cases_of(run)
    for case in cases:
        assert_correct(case)
    plains = [case.plain() for case in cases]
    with tempfile.TemporaryDirectory(prefix="manaflow-blocks-") as folder, ExitStack() as stack:
        validators = {
            f"{mode.value} on {name}": stack.enter_context(
                Validator.create(Path(folder) / f"{mode.value}-{name}", run.genesis, mode=mode, threads=count)
            )
            for mode in Mode
            for name, count in (("one core", 1), ("all cores", threads))
        }
        for attempt in range(rounds + 1):
            if attempt < 2:
                watches = [Stopwatch() for _ in cases]
            for case, plain, watch in zip(cases, plains, watches, strict=True):
                time_execution(case, plain, watch, threads)
                time_files(case, watch)
            time_replay(cases, watches)
            time_import(cases, watches, validators)
    return [row(case, watch) for case, watch in zip(cases, watches, strict=True)]


def row(case: Case, watch: Stopwatch) -> dict[str, Any]:
    """What a block is and what was measured, raw."""
    block = case.filled.block
    sizes = {"transactions": len(block.envelopes), "leaves": len(block.leaves), "moves": len(block.moves)}
    sizes |= {"cells": block.header.cells, "gas": case.gas, "bytes": len(case.data)}
    clocks = {"cpu": watch.cpu, "process": watch.process, "elapsed": watch.elapsed}
    raw = {c: {name: [round(t, 7) for t in times] for name, times in found.items()} for c, found in clocks.items()}
    return {"block": case.name, "fork": case.environment.fork.name.lower(), **sizes, "seconds": raw}


def median(rows: Sequence[dict[str, Any]], clock: str, name: str) -> float:
    """Seconds: the sum over blocks of each block's median."""
    return float(sum(statistics.median(row["seconds"][clock][name]) for row in rows))


def fastest(rows: Sequence[dict[str, Any]], name: str) -> float:
    """Elapsed seconds: the sum over blocks of each block's fastest round. Whatever else runs can only add to it."""
    return float(sum(min(row["seconds"]["elapsed"][name]) for row in rows))


def compared(rows: Sequence[dict[str, Any]], clock: str, name: str, beside: tuple[str, ...]) -> float:
    """Time of `name` over the time of `beside` in the same rounds: blocks summed, then the median over rounds."""
    per_round = zip(
        *(zip(*(row["seconds"][clock][n] for n in (name, *beside)), strict=True) for row in rows), strict=True
    )
    ratios = (sum(times[0] for times in blocks) / sum(sum(times[1:]) for times in blocks) for blocks in per_round)
    return float(statistics.median(ratios))


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Rates and ratios of one block or of several together."""
    gas, transactions, moves = (sum(row[name] for row in rows) for name in ("gas", "transactions", "moves"))
    plain = median(rows, "cpu", "plain")
    alone, alone_all = median(rows, "cpu", "alone"), fastest(rows, "alone on all cores")
    out = {
        "plain_mgas_per_second": gas / plain / 1e6,
        "plain_transactions_per_second": transactions / plain,
        "fill_over_plain": compared(rows, "cpu", "fill", ("decode", "plain")),
        "alone_over_plain": compared(rows, "cpu", "alone", ("decode", "plain")),
        "alone_over_plain_decoded": compared(rows, "cpu", "alone", ("plain",)),
        "alone_mgas_per_second": gas / alone / 1e6,
        "alone_transactions_per_second": transactions / alone,
        "all_cores_cpu_over_alone": median(rows, "process", "alone on all cores") / alone,
        "all_cores_speedup": (fastest(rows, "decode") + fastest(rows, "plain")) / alone_all,
        "all_cores_mgas_per_second": gas / alone_all / 1e6,
        "all_cores_transactions_per_second": transactions / alone_all,
        "replay_transactions_per_second": transactions / median(rows, "process", "replay"),
    }
    for mode in Mode:
        one_core = median(rows, "process", f"import {mode.value} on one core")
        all_cores = fastest(rows, f"import {mode.value} on all cores")
        for name, seconds in (("one_core", one_core), ("all_cores", all_cores)):
            out[f"import_{mode.value}_{name}_moves_per_second"] = moves / seconds
            out[f"import_{mode.value}_{name}_mgas_per_second"] = gas / seconds / 1e6
    return out


COLUMNS = (
    ("plain\nMgas/s", "plain_mgas_per_second", ",.0f"),
    ("plain\ntx/s", "plain_transactions_per_second", ",.0f"),
    ("fill\nx", "fill_over_plain", ".2f"),
    ("alone\nx", "alone_over_plain", ".2f"),
    ("alone\ntx/s", "alone_transactions_per_second", ",.0f"),
    ("all cores\nspeed-up", "all_cores_speedup", ".2f"),
    ("replay\ntx/s", "replay_transactions_per_second", ",.0f"),
    ("import\nmoves/s", "import_moves_one_core_moves_per_second", ",.0f"),
    ("executed\nmoves/s", "import_execute_one_core_moves_per_second", ",.0f"),
)


def show(result: dict[str, Any]) -> None:
    """Tables for people."""
    table = Table(title="Real blocks; x: CPU time over plain revm's, both from raw envelopes", title_justify="left")
    for title in ("block", "fork", "txs", "moves", "Mgas", *(title for title, _, _ in COLUMNS)):
        table.add_column(title, justify="right")
    for entry in [*result["blocks"], result["all"]]:
        rates = (format(entry["summary"][key], form) for _, key, form in COLUMNS)
        table.add_row(
            entry["block"], entry["fork"], f"{entry['transactions']:,}", f"{entry['moves']:,}",
            f"{entry['gas'] / 1e6:.1f}", *rates, end_section=entry is result["blocks"][-1],
        )  # fmt: skip
    parts = Table(title="Where the time goes, all blocks together, ms", title_justify="left")
    for title in ("part", "CPU", "elapsed"):
        parts.add_column(title, justify="left" if title == "part" else "right")
    for name, (cpu, elapsed) in result["all"]["milliseconds"].items():
        parts.add_row(name, f"{cpu:,.1f}", f"{elapsed:,.1f}")
    console = Console(width=150)
    console.print(table)
    console.print(parts)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def machine() -> dict[str, Any]:
    """Where and with what this ran."""
    commit, edited = _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--untracked-files=no"))
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    lock = (ROOT / "native" / "Cargo.lock").read_text().split('name = "revm"\nversion = "')[1].split('"')[0]
    versions = {name: version(name) for name in ("numpy", "numba", "lmdb", "zstandard")}
    versions |= {"python": platform.python_version(), "revm": lock}
    cores = len(os.sched_getaffinity(0))
    found = {"commit": commit, "edited": edited, "cpu": cpu, "cores": cores}
    return found | {"load": os.getloadavg(), "versions": versions}


def measure(files: Sequence[Path], rounds: int, threads: int) -> dict[str, Any]:
    """Every chain among the files; nothing is random. A block that the rules cannot hold is named and left out."""
    ran_on = machine()
    rows: list[dict[str, Any]] = []
    left_out = {}
    for chain in chains_of([load_block(path) for path in files]):
        try:
            rows += measure_chain(chain, rounds, threads)
        except Unsupported as error:
            left_out[f"{chain[0].chain_id}-{chain[0].number}"] = str(error)
    if not rows:
        raise SystemExit(f"nothing to measure: {left_out}")
    totals: dict[str, Any] = {name: sum(row[name] for row in rows) for name in ("transactions", "moves", "gas")}
    names = rows[0]["seconds"]["cpu"]
    spent = {n: (median(rows, "process", n) * 1e3, median(rows, "elapsed", n) * 1e3) for n in names}
    totals |= {"block": "all", "fork": "", "summary": summary(rows), "milliseconds": spent}
    blocks = [row | {"summary": summary([row])} for row in rows]
    found = {"machine": ran_on, "seed": None, "rounds": rounds, "threads": threads, "left_out": left_out}
    return found | {"all": totals, "blocks": blocks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured")
    parser.add_argument("--blocks", nargs="*", default=[], metavar="NAME", help="only blocks whose names begin so")
    parser.add_argument("--threads", type=int, default=0, help="what `all cores` means; 0 for all there are")
    parser.add_argument("--json", type=Path, help="write the raw numbers here")
    args = parser.parse_args()
    result = measure(block_files(args.blocks), args.rounds, args.threads)
    show(result)
    if args.json:
        args.json.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
