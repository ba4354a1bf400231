"""What came of the demo: the blocks judged again, the sums, a table by group, two charts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from examples.amm import market
from examples.amm.market import POOL, Reserves, Swapped, ether_of, tokens_of
from examples.amm.plot import Point, bars, dots
from examples.amm.traders import Trader
from manaflow.moves.marks import Location
from manaflow.moves.wire import decode_block
from manaflow.wallet.intents import Intent
from manaflow.wallet.rpc import Rpc
from manaflow.wallet.rpc_source import RpcSource, read_config


@dataclass
class Done:
    """A swap that landed."""

    trader: Trader
    coordinator: str
    txid: str
    shown: Swapped
    """What the swap did on the state that its signer saw."""
    seconds: float
    """Of signing and of waiting for the verdict, all attempts together."""
    lost: list[dict[str, Any]] = field(default_factory=list)
    """What the signer was told before."""


def sealed(rpc: Rpc, count: int) -> dict[str, Swapped]:
    """What each swap did, by txid, in the chain's order, once so many are in blocks."""
    asked = {"address": "0x" + POOL.hex(), "fromBlock": "0x0"}
    while len(logs := rpc.call("eth_getLogs", asked)) < count:
        time.sleep(0.2)
    return {log["transactionHash"]: Swapped.of(bytes.fromhex(log["data"][2:])) for log in logs}


def check_races(done: Sequence[Done], swaps: Mapping[str, Swapped]) -> None:
    """All landed; whoever masks contested cells sees no conflict, whoever fixes them is told a winner that landed."""
    for swap in done:
        if swap.txid not in swaps:
            raise AssertionError(f"{swap.txid} was admitted and is in no block")
        if swap.lost and swap.trader.intent is not Intent.EXACT:
            raise AssertionError(f"a masked swap saw a conflict: {swap.lost[0]}")
        for told in swap.lost:
            if told["winner"] not in swaps:
                raise AssertionError(f"lost to a transaction that is in no block: {told}")


def in_words(told: Mapping[str, Any]) -> str:
    """A notice of a lost race."""
    where = told["location"]
    what = "the pool's ether" if where["mark"] == "b" else "the pool's tokens"
    signed, found = (int(told[name], 16) / market.ETHER for name in ("expected", "actual"))
    return f"{what} was signed as {signed:,.3f} and is {found:,.3f} since transaction {told['winner']}"


def save_blocks(rpc: Rpc, folder: Path) -> int:
    """Every block's file; returns the wei that all of them burned."""
    burned = 0
    for number in range(1, int(rpc.call("mana_head")["number"], 16) + 1):
        file = bytes.fromhex(rpc.call("mana_getBlock", hex(number))[2:])
        (folder / f"{number}.mana").write_bytes(file)
        header = decode_block(file).header
        burned += header.gas_used * header.base_fee
    return burned


def check_sums(rpc: Rpc, everyone: Sequence[Trader], coinbase: bytes, burned: int) -> None:
    """Nothing was made or lost: tokens to the smallest unit, ether to the wei."""
    state = RpcSource(rpc, read_config(rpc), pending=False)

    def held(locations: Sequence[Location]) -> int:
        return sum(int.from_bytes(state.cell(location).value, "big") for location in locations)

    owners, n = [*(trader.address for trader in everyone), POOL], len(everyone)
    tokens, ether = (held([tokens_of(owner) for owner in owners]), held([ether_of(o) for o in (*owners, coinbase)]))
    if tokens != market.POOL_TOKENS + n * market.TRADER_TOKENS:
        raise AssertionError(f"{tokens} tokens: some were made or lost")
    if ether + burned != market.POOL_ETHER + n * market.TRADER_ETHER:
        raise AssertionError(f"{ether} wei, and {burned} burned: some were made or lost")


def summary(everyone: Sequence[Trader], done: Sequence[Done], swaps: Mapping[str, Swapped]) -> Table:
    """What each group saw."""
    table = Table(title="Swaps on one pool", title_justify="left")
    table.add_column("group")
    for name in (
        "traders",
        "swaps",
        "landed",
        "ran on a newer state",
        "conflicts seen",
        "signed again",
        "admitted after",
    ):
        table.add_column(name, justify="right")
    for intent in (Intent.OPEN, Intent.CONTESTED, Intent.EXACT):
        mine = [swap for swap in done if swap.trader.intent is intent]
        members = [trader for trader in everyone if trader.intent is intent]
        counts = (
            len(members),
            sum(len(trader.swaps) for trader in members),
            sum(swap.txid in swaps for swap in mine),
            sum(swaps[swap.txid] != swap.shown for swap in mine),
            sum(len(swap.lost) for swap in mine),
            sum(sum(trader.attempts) - trader.landed for trader in members),
        )
        seconds = statistics.median(swap.seconds for swap in mine)
        table.add_row(intent.value, *map(str, counts), f"{seconds:.2f} s")
    return table


def charts(everyone: Sequence[Trader], done: Sequence[Done], swaps: Mapping[str, Swapped], folder: Path) -> list[Path]:
    """The price after each swap by who filled it, and how often each trader signed; their files."""
    filled_by = {swap.txid: f"filled by {swap.coordinator}" for swap in done}
    pool, prices = Reserves(market.POOL_ETHER, market.POOL_TOKENS), []
    for txid, swap in swaps.items():
        way = 1 if swap.is_buy else -1
        pool = Reserves(pool.ether + way * swap.ether, pool.tokens - way * swap.tokens)
        prices.append(Point(pool.price, filled_by[txid]))
    by_group = sorted(everyone, key=lambda trader: list(Intent).index(trader.intent), reverse=True)
    signed = [Point(sum(trader.attempts) / trader.landed, trader.intent.value) for trader in by_group]
    files = {
        folder / "price.svg": dots("Ether for 1,000 tokens, swap by swap", prices),
        folder / "attempts.svg": bars("Signatures for each swap that landed, trader by trader", signed),
    }
    for path, text in files.items():
        path.write_text(text)
    return list(files)
