"""Contested state, shown: 200 traders swap on one pool, through two coordinators and one validator, all processes.

Every swap writes the same two cells. Traders who leave these open never notice; traders who fix them lose races, are
told to whom, and sign again. `make demo` runs it; what it writes is in out/amm.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Final

from rich.console import Console

from examples.amm.market import POOL, Swapped, approval, genesis, reserves
from examples.amm.nodes import Coordinator, Node
from examples.amm.report import Done, charts, check_races, check_sums, in_words, save_blocks, sealed, summary
from examples.amm.traders import Trader, traders
from manaflow.cli.app import run as command
from manaflow.coordinator.replay import DEVELOPMENT_KEY, address_of
from manaflow.wallet.declare import Declaration
from manaflow.wallet.intents import Intent, Policy
from manaflow.wallet.keys import sign
from manaflow.wallet.rpc import Rpc

OUT: Final = Path("out") / "amm"
CHAIN: Final = OUT / "chain"
CHAIN_ID: Final = 7_779
PRODUCER: Final = address_of(DEVELOPMENT_KEY)
"""Who seals and gets the tips; its key is published."""
NAMES: Final = ("north", "south")
"""The coordinators."""
SHARES: Final = {Intent.OPEN: 0.45, Intent.CONTESTED: 0.45, Intent.EXACT: 0.1}
AT_ONCE: Final = 4
"""Wallets that compute at the same time: on one small machine more would only make each other slow."""
console = Console(highlight=False, soft_wrap=True)


class Wallets:
    """All traders' wallets: each one knows one of the coordinators."""

    def __init__(self, coordinators: dict[str, Coordinator]) -> None:
        self._coordinators = list(coordinators.items())
        self._computing = threading.Semaphore(AT_ONCE)

    def approve(self, number: int, trader: Trader) -> None:
        """Let the pool take tokens. Nobody else writes these cells, so that the exact form never loses."""
        _, coordinator = self._coordinators[number % 2]
        with self._computing:
            declared = coordinator.client.declare(trader.address, approval(), Policy(Intent.EXACT))
            envelope = sign(declared.transaction, trader.account)
        told = coordinator.send(envelope)
        if told["kind"] != "admitted":
            raise AssertionError(f"an approval that nobody contends for is lost: {told}")

    def trade(self, number: int, trader: Trader) -> list[Done]:
        """Swap until every swap has landed; what is lost is declared again, on the state as it is then."""
        name, coordinator = self._coordinators[number % 2]
        done: list[Done] = []
        while not trader.is_done:
            seconds, lost = 0.0, []
            while True:
                with self._computing:
                    started = time.perf_counter()
                    declared = declare(coordinator, trader)
                    envelope = sign(declared.transaction, trader.account)
                told = coordinator.send(envelope)
                seconds += time.perf_counter() - started
                if told["kind"] == "admitted":
                    break
                if told["kind"] != "lost":
                    raise AssertionError(f"neither admitted nor a lost race: {told}")
                lost.append(told)
            shown = next(Swapped.of(log.data) for log in declared.logs if log.address == POOL)
            done.append(Done(trader, name, told["txid"], shown, seconds, lost))
            trader.landed += 1
        return done


def declare(coordinator: Coordinator, trader: Trader) -> Declaration:
    """The trader's next swap: executed here, its moves said, and left open what the trader's intent leaves open."""
    state = coordinator.state()
    seen = reserves(lambda location: state.cell(location).value)
    return coordinator.client.declare(trader.address, trader.wish(seen), Policy(trader.intent))


def begin(everyone: Sequence[Trader]) -> None:
    """Write genesis: two contracts, and traders with ether and tokens."""
    shutil.rmtree(OUT, ignore_errors=True)
    CHAIN.mkdir(parents=True)
    alloc = OUT / "alloc.json"
    alloc.write_text(json.dumps(genesis(trader.address for trader in everyone)))
    producer = "0x" + PRODUCER.hex()
    manaflow("genesis", alloc, "--chain-id", CHAIN_ID, "--producer", producer, "--out", CHAIN / "genesis.mana")


@contextmanager
def network(block_time: float) -> Iterator[dict[str, str]]:
    """A validator and two coordinators; their URLs."""
    with ExitStack() as stack:

        def start(name: str, *arguments: object) -> Node:
            console.print(f"[bold]$ manaflow {' '.join(map(str, arguments))} &[/bold]")
            return stack.enter_context(Node(*arguments, log=OUT / f"{name}.log"))

        first = ("--genesis", CHAIN / "genesis.mana", "--block-time", block_time)
        validator = start("validator", "validator", "--state", OUT / "validator", *first)
        to = ("--validator", validator.url)
        coordinators = {name: start(name, "coordinator", "--state", OUT / name, *to) for name in NAMES}
        yield {"validator": validator.url, **{name: node.url for name, node in coordinators.items()}}


def play(everyone: Sequence[Trader], urls: dict[str, str]) -> list[Done]:
    """Approve, then trade, all traders at once."""
    with ExitStack() as stack:
        coordinators = {name: Coordinator(urls[name]) for name in NAMES}
        for coordinator in coordinators.values():
            stack.callback(coordinator.close)
        wallets, numbers = Wallets(coordinators), range(len(everyone))
        pool = stack.enter_context(ThreadPoolExecutor(len(everyone)))
        started = time.perf_counter()
        list(pool.map(wallets.approve, numbers, everyone))
        say(f"{len(everyone)} approvals, fully declared: none was contended ({time.perf_counter() - started:.1f} s)")
        started = time.perf_counter()
        done = [swap for swaps in pool.map(wallets.trade, numbers, everyone) for swap in swaps]
        say(f"{len(done)} swaps have landed ({time.perf_counter() - started:.1f} s)")
        return done


def audit(rpc: Rpc, everyone: Sequence[Trader]) -> None:
    """What anyone may do: judge the blocks again, and run each transaction alone in random order."""
    burned = save_blocks(rpc, CHAIN)
    manaflow("import", CHAIN, "--state", OUT / "judged", "--mode", "execute")
    manaflow("verify", CHAIN, "--order", "random")
    manaflow("verify", CHAIN, "--backwards")
    check_sums(rpc, everyone, PRODUCER, burned)
    say("all tokens are there, and all ether to the wei, less the base fees that were burned")


def manaflow(*arguments: object) -> None:
    """Show and run one command, and show its last line."""
    words = [str(argument) for argument in arguments]
    console.print(f"[bold]$ manaflow {' '.join(words)}[/bold]")
    output = io.StringIO()
    with redirect_stdout(output):
        try:
            command(words)
        except SystemExit as end:
            if end.code:
                sys.exit(f"exit code {end.code}")
    say(output.getvalue().splitlines()[-1])


def say(text: str) -> None:
    """A line of the story."""
    console.print(f"  {text}")


def run(count: int, swaps: int, block_time: float, seed: int) -> list[Done]:
    """The whole demo; what landed."""
    everyone = traders(seed, {intent: max(round(count * share), 1) for intent, share in SHARES.items()}, swaps)
    console.print("[cyan]1. A chain with a token and a pool; a validator and two coordinators[/cyan]")
    begin(everyone)
    with network(block_time) as urls:
        console.print(f"\n[cyan]2. {len(everyone)} traders, {swaps} swaps each, all at once[/cyan]")
        done, rpc = play(everyone, urls), Rpc(urls["validator"])
        events = sealed(rpc, len(done))
        console.print("\n[cyan]3. Anyone judges the blocks again[/cyan]")
        audit(rpc, everyone)
    check_races(done, events)
    console.print()
    Console(width=120).print(summary(everyone, done, events))
    for told in [told for swap in done for told in swap.lost][:1]:
        say(f"what a signer is told of a lost race: {in_words(told)}")
    say(f"charts: {', '.join(map(str, charts(everyone, done, events, OUT)))}")
    return done


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description="Contested state, shown: traders on one pool, two coordinators.")
    parser.add_argument("--traders", type=int, default=200)
    parser.add_argument("--swaps", type=int, default=2, help="of each trader")
    parser.add_argument("--block-time", type=float, default=2.0, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.perf_counter()
    run(options.traders, options.swaps, options.block_time, options.seed)
    say(f"{time.perf_counter() - started:.0f} seconds; everything written is in {OUT}")


if __name__ == "__main__":
    main()
