"""The demo as its users run it: nodes as processes, wallets over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from examples.amm import demo
from examples.amm.market import Swapped
from examples.amm.plot import Point, bars, dots
from examples.amm.report import Done, check_races, check_sums, in_words, save_blocks, sealed
from examples.amm.traders import traders
from manaflow.moves.wire import decode_genesis
from manaflow.validator.validator import Validator
from manaflow.wallet.intents import Intent
from manaflow.wallet.rpc import Rpc
from tests.conftest import is_nightly


def test_traders_at_two_coordinators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    everyone = traders(2, {Intent.OPEN: 5, Intent.CONTESTED: 5, Intent.EXACT: 4}, 1)
    demo.begin(everyone)
    with demo.network(0.5) as urls:
        done, rpc = demo.play(everyone, urls), Rpc(urls["validator"])
        events = sealed(rpc, len(done))
        burned = save_blocks(rpc, demo.CHAIN)
        check_sums(rpc, everyone, demo.PRODUCER, burned)
        with pytest.raises(AssertionError, match="burned"):
            check_sums(rpc, everyone, demo.PRODUCER, burned + 1)
    assert len(done) == len(events) == 14
    assert {swap.coordinator for swap in done} == set(demo.NAMES)
    check_races(done, events)
    for swap in done:
        assert len(swap.lost) + 1 == sum(swap.trader.attempts)
        assert (events[swap.txid] == swap.shown) or swap.trader.intent is not Intent.EXACT
        for told in swap.lost:
            assert f"since transaction {told['winner']}" in in_words(told)
    judge(tmp_path)


def judge(folder: Path) -> None:
    """A second validator executes every block."""
    genesis = decode_genesis((folder / demo.CHAIN / "genesis.mana").read_bytes())
    files = sorted((folder / demo.CHAIN).glob("[0-9]*.mana"), key=lambda path: int(path.stem))
    with Validator.create(folder / "second", genesis, mode="execute", threads=1) as second:
        for path in files:
            second.import_block(path.read_bytes())
        assert second.head[0].number == len(files)


@pytest.mark.skipif(not is_nightly(), reason="minutes: only in the nightly run")
def test_the_whole_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["demo"])
    demo.main()
    told = capfd.readouterr().out
    assert "no fault" in told
    assert "to the wei" in told
    assert (tmp_path / "out" / "amm" / "price.svg").read_text().count("<circle") == 400 + 2
    assert (tmp_path / "out" / "amm" / "attempts.svg").read_text().count("<rect") == 200 + 1


def test_what_the_demo_claims_is_checked() -> None:
    masked, exact = traders(1, {Intent.CONTESTED: 1}, 1) + traders(2, {Intent.EXACT: 1}, 1)
    event = Swapped(True, 1, 2)
    events = {"0x01": event, "0x02": event}
    lost, elsewhere = {"kind": "lost", "winner": "0x01"}, {"kind": "lost", "winner": "0x03"}
    check_races([Done(masked, "north", "0x01", event, 1.0), Done(exact, "south", "0x02", event, 1.0, [lost])], events)
    for done, why in (
        (Done(masked, "north", "0x02", event, 1.0, [lost]), "masked"),
        (Done(exact, "north", "0x02", event, 1.0, [elsewhere]), "no block"),
        (Done(masked, "north", "0x03", event, 1.0), "no block"),
    ):
        with pytest.raises(AssertionError, match=why):
            check_races([done], events)


def test_charts_hold_every_value() -> None:
    points = [Point(value, kind) for value, kind in ((1, "a"), (3, "b"), (2, "a"))]
    for chart, mark in ((dots("Title", points), "<circle"), (bars("Title", points), "<rect")):
        assert chart.startswith("<svg ")
        assert chart.endswith("</svg>\n")
        assert chart.count(mark) >= len(points)
        assert chart.count("Title") == 1
    assert dots("All the same", [Point(1, "a")] * 3).count("nan") == 0
