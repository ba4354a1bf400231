"""The tour that `make run` gives: every step is one `manaflow` command, shown with what it found.

Four real blocks are replayed into three chains, imported, re-executed transaction by transaction in random order by two
independent engines, and verified backwards. Then a producer lies twice: about a word that a transaction wrote, and by
using a cell a second time. The validator refuses both blocks, and one file each proves the lie to anyone.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from manaflow.cli.app import run

ROOT = Path(__file__).resolve().parents[1]
OUT = Path("out") / "run"
SEED = 7
REFUSED = 1
"""Exit code of a command whose input is refused by a rule."""
console = Console(highlight=False, soft_wrap=True)


def manaflow(*arguments: object, expect: int = 0) -> dict[str, Any]:
    """Show and run one command, and return what it found. Any other exit code than `expect` ends the tour."""
    words = [str(argument) for argument in arguments]
    console.print(f"[bold]$ manaflow {' '.join(words)}[/bold]")
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            run([*words, "--json"])
        except SystemExit as end:
            code = int(end.code or 0)
    if code != expect:
        sys.exit(f"exit code {code}, expected {expect}: {errors.getvalue()}")
    found: dict[str, Any] = json.loads(output.getvalue())
    return found


def say(text: str) -> None:
    """What a command found, under it."""
    console.print(f"  {text}")


def replay() -> list[dict[str, Any]]:
    """Ethereum blocks become chains of sealed blocks."""
    console.print("\n[cyan]1. Replay real Ethereum blocks: execute, fill in every move, seal[/cyan]")
    files = sorted(Path("examples").glob("*.block.json.zst"))
    chains: list[dict[str, Any]] = manaflow("replay", *files, "--out", OUT / "chains")["chains"]
    for block in (block for chain in chains for block in chain["blocks"]):
        say(f"block {block['number']}: gas, receipts root and logs bloom equal those of Ethereum's block")
    return chains


def import_all(chains: list[dict[str, Any]]) -> dict[int, float]:
    """Every chain into a fresh state. Returns seconds by block number."""
    console.print("\n[cyan]2. Import into a fresh state: every rule, the state and the execution[/cyan]")
    seconds: dict[int, float] = {}
    for chain in chains:
        found = manaflow("import", chain["folder"], "--state", state_of(chain), "--mode", "execute")
        seconds |= {block["number"]: block["seconds"] for block in found["blocks"]}
        say(f"head: block {found['head']['number']}, {found['head']['hash']}")
    return seconds


def state_of(chain: dict[str, Any]) -> Path:
    """The state directory of a chain."""
    return OUT / "states" / Path(chain["folder"]).name


def verify_alone(chains: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each transaction alone, in random order, by both engines; returns the results of revm by folder."""
    console.print(
        "\n[cyan]3. Execute every transaction alone, in random order, with its own moves as its whole world[/cyan]"
    )
    found = {}
    for chain in chains:
        folder = chain["folder"]
        found[folder] = manaflow("verify", folder, "--order", "random", "--seed", SEED)
        say(f"{found[folder]['transactions']} transactions: no fault")
    sampled = manaflow(
        "verify", chains[0]["folder"], "--engine", "pyevm", "--order", "random", "--sample", 8, "--seed", SEED
    )
    say(f"{sampled['transactions']} of them by py-evm, an independent engine: no fault")
    return found


def verify_backwards(chains: list[dict[str, Any]]) -> None:
    """The state rule from the head down to genesis, without an index."""
    console.print("\n[cyan]4. Verify each chain backwards, from its head to genesis, with no index and no state[/cyan]")
    for chain in chains:
        found = manaflow("verify", chain["folder"], "--backwards")
        say(f"{found['moves']} moves of {found['blocks']} blocks, genesis included: no fault")


def convict(chain: dict[str, Any], transaction: int, field: str) -> None:
    """A lie in one move of the last block: refused, proved, and the proof verified from its file."""
    block, state = chain["blocks"][-1], state_of(chain)
    lie, proof = OUT / f"{field}.mana", OUT / f"{field}.proof"
    manaflow("undo", "--state", state)
    tampered = manaflow("tamper", block["file"], "--transaction", transaction, "--field", field, "--out", lie)
    say(f"sealed again, with a good signature: block hash {tampered['hash']}")
    refused = manaflow("import", lie, "--state", state, "--mode", "execute", expect=REFUSED)["verdict"]
    say(f"refused: {refused['rule']}, transaction {refused['transaction']}, move {refused['move']}: {refused['what']}")
    proved = manaflow("prove", lie, "--state", state, "--out", proof)
    say(f"one file of {proved['bytes']} bytes")
    judged = manaflow("verify-proof", proof, "--head", proved["head"])
    say(f"from file and hash alone: block {judged['number']} breaks {judged['rule']}, sealed by {judged['producer']}")
    manaflow("import", block["file"], "--state", state, "--mode", "execute")
    say("the honest block is still welcome: the refusal had changed nothing")


def summary(chains: list[dict[str, Any]], imported: dict[int, float], alone: dict[str, dict[str, Any]]) -> None:
    """What the blocks weigh and how fast they went."""
    table = Table(title="Real blocks as moves", title_justify="left")
    for name in (
        "block",
        "transactions",
        "moves",
        "new cells",
        "bytes a tx",
        "replayed tx/s",
        "imported moves/s",
        "alone tx/s",
    ):
        table.add_column(name, justify="right")
    for chain in chains:
        rate = alone[chain["folder"]]["transactions"] / alone[chain["folder"]]["seconds"]
        for block in chain["blocks"]:
            n = block["transactions"]
            table.add_row(
                str(block["number"]), str(n), str(block["moves"]), str(block["cells"]), f"{block['bytes'] / n:,.0f}",
                f"{n / block['seconds']:,.0f}", f"{block['moves'] / imported[block['number']]:,.0f}", f"{rate:,.0f}",
            )  # fmt: skip
    console.print()
    Console(width=110).print(table)
    say("bytes a tx: the whole self-contained block file, envelopes included; imported: mode execute, commit included.")
    say("Blocks this small measure fixed costs, and the first import also compiles kernels; see `make bench`.")


def main() -> None:
    """Run the tour."""
    os.chdir(ROOT)
    shutil.rmtree(OUT, ignore_errors=True)
    started = time.perf_counter()
    chains = replay()
    imported = import_all(chains)
    alone = verify_alone(chains)
    verify_backwards(chains)
    console.print("\n[cyan]5. A producer lies about one word that one transaction wrote[/cyan]")
    convict(chains[-1], 5, "next")
    console.print("\n[cyan]6. A producer uses one cell twice[/cyan]")
    convict(chains[0], 30, "spent")
    summary(chains, imported, alone)
    say(f"{time.perf_counter() - started:.0f} seconds; everything written is in {OUT}")


if __name__ == "__main__":
    main()
