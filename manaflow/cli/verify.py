"""`manaflow verify`: a chain from its files, without any index: each transaction alone, in any order; or backwards."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from enum import StrEnum
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from manaflow.cli.chain import ChainFiles, load_chain
from manaflow.cli.options import Engine, Json
from manaflow.cli.output import naming, progress, show
from manaflow.errors import Verdict
from manaflow.moves.columns import U8

Seat = tuple[int, int]
"""(place of the block among the chain's, transaction)."""


class Order(StrEnum):
    """In which order transactions are executed."""

    FORWARD = "forward"
    REVERSE = "reverse"
    RANDOM = "random"


def verify(
    files: Annotated[list[Path], typer.Argument(help="Block files, and folders of them, of one chain.")],
    genesis: Annotated[
        Path | None, typer.Option(help="The chain's genesis.mana, if it is not beside the files.")
    ] = None,
    order: Annotated[Order, typer.Option(help="In which order the transactions are executed.")] = Order.FORWARD,
    seed: Annotated[int, typer.Option(help="Of the random order and of --sample.")] = 0,
    engine: Annotated[Engine, typer.Option(help="revm is fast; pyevm is independent of it.")] = Engine.REVM,
    jobs: Annotated[
        int, typer.Option(help="Threads (revm) or processes (pyevm) at most; 0 for one a core.", min=0)
    ] = 0,
    sample: Annotated[
        int | None, typer.Option(help="Execute only so many transactions, chosen by --seed.", min=1)
    ] = None,
    backwards: Annotated[
        bool, typer.Option("--backwards", help="Judge the state rule from the head down to genesis, executing nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Judge a chain from its files alone, with no index and no state directory.

    Every block is judged by its own rules (B, S, M). Then every transaction is executed alone, with nothing but its own
    moves as its world (X), in whichever order. With --backwards the state rule (V) is judged instead, last block first.
    Both together are what importing in mode execute judges.
    """
    chain = load_chain(files, genesis)
    started = time.perf_counter()
    with progress("judging blocks", len(chain.named)) as advance:
        for i in chain.named:
            with naming(chain.paths[i]):
                _judge_block(chain, i)
            advance()
    judged = time.perf_counter() - started
    found = _walk_back(chain) if backwards else _execute(chain, order, seed, engine, jobs, sample)
    found["judging_seconds"] = judged
    show(as_json, found, _lines(found))


def _judge_block(chain: ChainFiles, i: int) -> None:
    from manaflow.validator.checks import check_block

    check_block(chain.blocks[i], chain.ancestry(i))


def _walk_back(chain: ChainFiles) -> dict[str, Any]:
    from manaflow.validator.backwards import verify_backwards

    blocks = [*reversed(chain.blocks), chain.genesis.block]
    started, moves = time.perf_counter(), 0
    with progress("walking back", len(blocks)) as advance, naming("walking back"):
        for step in verify_backwards(blocks, chain.config):
            moves += step.moves
            advance()
    seconds = time.perf_counter() - started
    return {"backwards": True, "blocks": len(blocks), "moves": moves, "seconds": seconds}


def _execute(
    chain: ChainFiles, order: Order, seed: int, engine: Engine, jobs: int, sample: int | None
) -> dict[str, Any]:
    seats = _ordered(chain, order, seed, sample)
    started = time.perf_counter()
    run = _run_revm(chain, seats, jobs) if engine is Engine.REVM else _run_pyevm(chain, seats, jobs)
    with progress(f"executing by {engine.value}", len(seats)) as advance:
        for i, verdict in run:
            if verdict is not None:
                verdict.add_note(str(chain.paths[i]))
                raise verdict
            advance()
    seconds = time.perf_counter() - started
    return {
        "backwards": False,
        "engine": engine.value,
        "order": order.value,
        "seed": seed,
        "blocks": len({i for i, _ in seats}),
        "transactions": len(seats),
        "moves": sum(int(chain.blocks[i].leaves[t].consumes + chain.blocks[i].leaves[t].references) for i, t in seats),
        "gas": sum(int(chain.blocks[i].leaves.gas_used[t]) for i, t in seats),
        "seconds": seconds,
    }


def _ordered(chain: ChainFiles, order: Order, seed: int, sample: int | None) -> list[Seat]:
    """Every transaction of the named blocks, system transactions included, in the order asked for."""
    seats = [(i, t) for i in chain.named for t in range(len(chain.blocks[i].leaves))]
    chance = random.Random(seed)
    if sample is not None and sample < len(seats):
        seats = sorted(chance.sample(seats, sample))
    if order is Order.RANDOM:
        chance.shuffle(seats)
    return seats[::-1] if order is Order.REVERSE else seats


def _run_revm(chain: ChainFiles, seats: Sequence[Seat], threads: int) -> Iterator[tuple[int, Verdict | None]]:
    """Block by block in the order of first mention; within a block in the order of the seats, over all threads."""
    from manaflow.validator.execution import BlockExecution, senders_of

    execution = BlockExecution(chain.config, threads)
    for i in dict.fromkeys(i for i, _ in seats):
        block, mine = chain.blocks[i], [t for j, t in seats if j == i]
        senders = senders_of(chain.config, block)
        results = execution.run(block, senders, chain.codes.get, np.array(mine, np.int64))
        for t in mine:
            broken, sender = int(results[t]), senders[t].tobytes()
            yield i, execution.verdict(block, t, sender, chain.codes.get, broken) if broken else None


def _run_pyevm(chain: ChainFiles, seats: Sequence[Seat], jobs: int) -> Iterator[tuple[int, Verdict | None]]:
    # A process takes seconds to start, as long as a hundred transactions take.
    processes = min(jobs or os.cpu_count() or 1, 1 + len(seats) // 100)
    if processes == 1:
        judge = _PyEvmJudge(chain)
        yield from map(judge, seats)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, context, _start_worker, (chain,)) as pool:
        yield from pool.map(_judge_in_worker, seats, chunksize=4)


class _PyEvmJudge:
    """Executes single transactions of a chain by py-evm."""

    def __init__(self, chain: ChainFiles) -> None:
        from manaflow.evm.pyevm.executor import PyEvmExecutor

        self.chain, self.executor = chain, PyEvmExecutor()
        self.senders: dict[int, U8] = {}

    def __call__(self, seat: Seat) -> tuple[int, Verdict | None]:
        from manaflow.validator.execution import judge_alone, senders_of

        i, t = seat
        block = self.chain.blocks[i]
        if i not in self.senders:
            self.senders[i] = senders_of(self.chain.config, block)
        sender = self.senders[i][t].tobytes()
        return i, judge_alone(self.executor, self.chain.config, block, t, sender, self.chain.codes.get)


_worker: _PyEvmJudge
"""In a worker process: what it was started with."""


def _start_worker(chain: ChainFiles) -> None:
    global _worker
    _worker = _PyEvmJudge(chain)


def _judge_in_worker(seat: Seat) -> tuple[int, Verdict | None]:
    return _worker(seat)


def _lines(found: dict[str, Any]) -> list[str]:
    seconds = found["seconds"]
    if found["backwards"]:
        return [f"{found['blocks']} blocks backwards to genesis, {found['moves']} moves in {seconds:.2f} s: no fault"]
    rate = found["transactions"] / seconds if seconds else 0
    return [
        f"{found['transactions']} transactions of {found['blocks']} blocks, each alone, in {found['order']} order by "
        f"{found['engine']}: no fault ({seconds:.2f} s, {rate:,.0f} a second)"
    ]
