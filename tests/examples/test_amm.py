"""The example's market: whoever masks contested state never loses a race; whoever fixes it is told who won."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.amm import market
from examples.amm.market import ETHER, POOL, Swap, ether_of, tokens_of
from examples.amm.traders import traders
from manaflow.cli.files import write_whole
from manaflow.coordinator.messages import Dropped, Fill, Notice, Reason, Replied, Send, Submit
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.block import Block
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import Location, Mask
from manaflow.moves.wire import encode_block, encode_genesis
from manaflow.wallet.intents import Intent
from tests.cli.conftest import Ran, manaflow
from tests.conftest import ROOT, is_nightly
from tests.examples.exchange import COINBASE, Exchange

__all__ = ["manaflow"]
Command = Callable[..., Ran]
GROUPS = {Intent.OPEN: 80, Intent.CONTESTED: 80, Intent.EXACT: 40} if is_nightly() else dict.fromkeys(Intent, 13)
SWAPS = 2


def played(path: Path, seed: int, groups: dict[Intent, int] = GROUPS) -> Exchange:
    exchange = Exchange(path, traders(seed, groups, SWAPS), seed)
    exchange.approve()
    exchange.trade()
    return exchange


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Exchange:
    """A whole market, over. Read only."""
    return played(tmp_path_factory.mktemp("market"), 1)


def test_all_swaps_land_and_only_exact_ones_see_conflicts(exchange: Exchange) -> None:
    sent = {keccak256(raw) for block in exchange.blocks for raw in block.envelopes}
    assert len(sent) == len(exchange.traders) * (1 + SWAPS)
    for trader in exchange.traders:
        assert trader.landed == SWAPS
        if trader.intent is not Intent.EXACT:
            assert trader.attempts == [1] * SWAPS
    told = {trader.intent for trader, _ in exchange.notices} | {trader.intent for trader, _ in exchange.dropped}
    assert told == {Intent.EXACT}
    signed_again = sum(sum(trader.attempts) - SWAPS for trader in exchange.traders)
    assert signed_again == len(exchange.notices) == len(exchange.dropped) > GROUPS[Intent.EXACT]


def test_the_winner_is_who_made_the_cell_what_it_is(exchange: Exchange) -> None:
    made = {
        (block.leaves.txid[i].tobytes(), location): value
        for block in exchange.blocks
        for i, location, value in consumes(block)
    }
    for _, notice in exchange.notices:
        assert notice.field == "prev"
        assert notice.location in market.CONTESTED
        assert notice.winner is not None
        assert made[notice.winner, notice.location] == notice.actual != notice.expected
        assert not notice.waits
    assert {(dropped.txid, dropped.reason, dropped.winner) for _, dropped in exchange.dropped} == {
        (notice.txid, Reason.LOST, notice.winner) for _, notice in exchange.notices
    }


def consumes(block: Block) -> list[tuple[int, Location, bytes]]:
    """(leaf, location, value afterwards) of every consume."""
    offsets, moves = block.leaves.move_offsets(), block.moves
    return [
        (i, (int(moves.mark[row]), moves.addr[row].tobytes(), moves.slot[row].tobytes()), moves.next[row].tobytes())
        for i in range(len(block.leaves))
        for row in range(offsets[i], offsets[i + 1])
        if not moves.mask[row] & Mask.REFERENCE
    ]


def test_nothing_is_made_or_lost(exchange: Exchange) -> None:
    """Tokens to the smallest unit, ether to the wei."""

    def held(locations: list[Location]) -> int:
        return sum(int.from_bytes(exchange.latest.cell(location).value, "big") for location in locations)

    owners = [*(trader.address for trader in exchange.traders), POOL]
    assert held([tokens_of(owner) for owner in owners]) == (
        market.POOL_TOKENS + len(exchange.traders) * market.TRADER_TOKENS
    )
    burned = sum(block.header.gas_used * block.header.base_fee for block in exchange.blocks)
    assert held([ether_of(owner) for owner in (*owners, COINBASE)]) + burned == (
        market.POOL_ETHER + len(exchange.traders) * market.TRADER_ETHER
    )


def test_the_pool_only_gains(exchange: Exchange) -> None:
    """Swap by swap: the product of the reserves never falls, and each trader got what the contract's formula says."""
    ether, tokens = market.POOL_ETHER, market.POOL_TOKENS
    swaps = 0
    for block in exchange.blocks:
        after = {(i, location): int.from_bytes(value, "big") for i, location, value in consumes(block)}
        for i in range(len(block.leaves)):
            if (i, ether_of(POOL)) not in after:
                continue
            swaps += 1
            new_ether, new_tokens = (after[i, location] for location in market.CONTESTED)
            if new_ether > ether:
                assert tokens - new_tokens == market.out(new_ether - ether, ether, tokens)
            else:
                assert ether - new_ether == market.out(new_tokens - tokens, tokens, ether)
            assert new_ether * new_tokens >= ether * tokens
            ether, tokens = new_ether, new_tokens
    assert swaps == SWAPS * len(exchange.traders)


def test_anyone_judges_the_blocks_again(exchange: Exchange, tmp_path: Path, manaflow: Command) -> None:
    """A second validator executes them; without one, each transaction runs alone, in random order, by two engines."""
    write_whole(tmp_path / "chain" / "genesis.mana", encode_genesis(exchange.genesis, NATIVE))
    for block in exchange.blocks:
        write_whole(tmp_path / "chain" / f"{block.header.number}.mana", encode_block(block, NATIVE))
    imported = manaflow("import", tmp_path / "chain", "--state", tmp_path / "state", "--mode", "execute", "--json")
    assert imported.json["head"]["hash"] == "0x" + exchange.blocks[-1].hash.hex()
    found = manaflow("verify", tmp_path / "chain", "--order", "random", "--seed", 5, "--json").json
    assert found["transactions"] == sum(len(block.leaves) for block in exchange.blocks)
    sample = 200 if is_nightly() else 8
    again = manaflow("verify", tmp_path / "chain", "--engine", "pyevm", "--sample", sample, "--json")
    assert again.json["transactions"] == sample
    assert manaflow("verify", tmp_path / "chain", "--backwards").code == 0


def test_a_seed_replays_a_market(tmp_path: Path) -> None:
    groups = dict.fromkeys(Intent, 3)
    first, second = (played(tmp_path / name, 7, groups) for name in ("a", "b"))
    assert [block.hash for block in first.blocks] == [block.hash for block in second.blocks]
    assert first.notices
    assert [notice for _, notice in first.notices] == [notice for _, notice in second.notices]


@dataclass(frozen=True)
class Behind:
    """What became of a buyer of tokens for one ether whom a coordinator put behind a whale."""

    notices: list[Notice]
    dropped: list[Dropped]
    tokens: int
    ether: int


def behind_a_whale(path: Path, intent: Intent, slippage: float) -> Behind:
    """The buyer accepts so much less than what the pool gave before the whale."""
    buyer, whale, *_ = traders(3, {Intent.OPEN: 2}, 1)
    buyer.intent, buyer.swaps, buyer.slippage = intent, [Swap(True, ETHER)], slippage
    whale.swaps = [Swap(True, 90 * ETHER)]
    exchange = Exchange(path / f"{slippage}", [buyer, whale], 3)
    coordinator, results = exchange.coordinators[0], []
    for envelope in [exchange.sign_swap(coordinator, trader) for trader in (whale, buyer)]:
        coordinator.handle(Submit((envelope,)))
        answer = coordinator.handle(Fill())
        for send in [result for result in answer if isinstance(result, Send)]:
            coordinator.handle(Replied(send.id, exchange.producer.admit(send.batch, send.since)))
        results += answer
    exchange.producer.seal()
    list(exchange.follower.catch_up())
    ether, tokens = (
        int.from_bytes(exchange.latest.cell(location).value, "big")
        for location in (ether_of(buyer.address), tokens_of(buyer.address))
    )
    exchange.close()
    return Behind(
        [result for result in results if isinstance(result, Notice)],
        [result for result in results if isinstance(result, Dropped)],
        tokens - market.TRADER_TOKENS,
        ether - market.TRADER_ETHER,
    )


@pytest.mark.parametrize("intent", [Intent.OPEN, Intent.CONTESTED])
def test_the_least_output_bounds_what_masking_grants(tmp_path: Path, intent: Intent) -> None:
    """Masked, the swap may run behind the whale. The least output was signed: below it nothing happens, for free."""
    fair = market.out(ETHER, market.POOL_ETHER, market.POOL_TOKENS)
    lax = behind_a_whale(tmp_path, intent, 0.5)
    assert fair * 0.8 < lax.tokens < fair * 0.9
    assert lax.ether < -ETHER
    strict = behind_a_whale(tmp_path, intent, 0.05)
    assert (strict.tokens, strict.ether) == (0, 0)
    assert [notice.field for notice in strict.notices] == ["status"]
    assert [dropped.reason for dropped in strict.dropped] == [Reason.LOST]


def test_an_exact_swap_runs_on_what_was_shown_or_not_at_all(tmp_path: Path) -> None:
    found = behind_a_whale(tmp_path, Intent.EXACT, 0.5)
    assert (found.tokens, found.ether) == (0, 0)
    assert [(notice.field, notice.location) for notice in found.notices] == [("prev", ether_of(POOL))]


def test_the_bytecode_is_its_sources() -> None:
    folder = ROOT / "examples" / "amm" / "contracts"
    built = json.loads((folder / "contracts.json").read_text())
    for name in ("Token", "Pool"):
        assert built[name]["source"] == hashlib.sha256((folder / f"{name}.sol").read_bytes()).hexdigest()
