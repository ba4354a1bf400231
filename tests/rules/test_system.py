from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.errors import Rule
from manaflow.moves.block import Withdrawal
from manaflow.moves.leaf import Leaf, SystemKind, system_txid
from manaflow.rules.config import ChainConfig
from manaflow.rules.system import check_b8, check_b8_place, expected_system_leaves
from tests.rules.build import CONFIG, MANAFLOW, A, header_pair, leaf, refused, word

K = SystemKind
PAID = [Withdrawal(1, 1, A, 1)]


def kinds(config: ChainConfig, timestamp: int, withdrawals: list[Withdrawal], fees: int = 0) -> list[list[SystemKind]]:
    header = header_pair(config, timestamp, fees=fees)[1]
    leaves = expected_system_leaves(config, header, withdrawals)
    assert all(txid == system_txid(kind, 7777, 105) for side in leaves for kind, txid in side)
    return [[kind for kind, _ in side] for side in leaves]


@pytest.mark.parametrize(
    ("timestamp", "opening", "closing"),
    [
        (1012, [], []),
        (2012, [], []),
        (3000, [K.BEACON_ROOTS], []),
        (4000, [K.BEACON_ROOTS, K.HISTORY], [K.WITHDRAWAL_REQUESTS, K.CONSOLIDATION_REQUESTS]),
    ],
)
def test_expected_leaves(timestamp: int, opening: list[SystemKind], closing: list[SystemKind]) -> None:
    assert kinds(CONFIG, timestamp, []) == [opening, closing]
    assert kinds(CONFIG, timestamp, [Withdrawal(1, 1, A, 0)]) == [opening, closing]
    assert kinds(CONFIG, timestamp, PAID) == [opening, [K.WITHDRAWALS, *closing]]


def test_expected_leaves_follow_the_config() -> None:
    assert kinds(replace(CONFIG, system_calls=()), 4012, PAID) == [[], [K.WITHDRAWALS]]
    assert kinds(MANAFLOW, 4012, []) == [[K.HISTORY], []]
    assert kinds(MANAFLOW, 4012, [], fees=1) == [[K.HISTORY], [K.FEES]]
    assert kinds(MANAFLOW, 3012, [], fees=1) == [[], [K.FEES]]


HEADER = header_pair(timestamp=4012)[1]


def leaves(envelopes: int = 2) -> list[Leaf]:
    opening, closing = expected_system_leaves(CONFIG, HEADER, PAID)
    signed = [leaf(txid=word(i), status=0, gas_used=21_000, logs_hash=word(5)) for i in range(envelopes)]
    return [*(leaf(txid=t) for _, t in opening), *signed, *(leaf(txid=t) for _, t in closing)]


@pytest.mark.parametrize("envelopes", [0, 1, 2])
def test_b8(envelopes: int) -> None:
    check_b8(CONFIG, HEADER, leaves(envelopes), envelopes, PAID)


@pytest.mark.parametrize("place", [0, 1, 4, 5, 6])
@pytest.mark.parametrize("change", [{"txid": word(9)}, {"status": 0}, {"gas_used": 1}, {"logs_hash": word(1)}])
def test_invalid_b8_leaf(place: int, change: dict[str, object]) -> None:
    rows = leaves()
    rows[place] = replace(rows[place], **change)
    verdict = refused(Rule.B8, check_b8, CONFIG, HEADER, rows, 2, PAID, what=next(iter(change)).split("_")[0])
    assert verdict.transaction == place


def test_invalid_b8_shape() -> None:
    rows = leaves()
    assert refused(Rule.B8, check_b8, CONFIG, HEADER, rows[:-1], 2, PAID, what="number of leaves").actual == 6
    refused(Rule.B8, check_b8, CONFIG, HEADER, rows, 3, PAID, what="number of leaves")
    refused(Rule.B8, check_b8, CONFIG, HEADER, [rows[1], rows[0], *rows[2:]], 2, PAID, what="txid of the beacon roots")
    refused(Rule.B8, check_b8, CONFIG, HEADER, [*rows[:4], rows[5], rows[4], rows[6]], 2, PAID, what="txid")
    refused(Rule.B8, check_b8, CONFIG, HEADER, rows, 2, [], what="number of leaves")


def test_b8_place() -> None:
    header = replace(HEADER, transactions=7)
    found = [check_b8_place(CONFIG, header, i, row, PAID) for i, row in enumerate(leaves())]
    closing = [K.WITHDRAWALS, K.WITHDRAWAL_REQUESTS, K.CONSOLIDATION_REQUESTS]
    assert found == [K.BEACON_ROOTS, K.HISTORY, None, None, *closing]
    no_signed = replace(HEADER, transactions=5)
    assert [check_b8_place(CONFIG, no_signed, i, row, PAID) for i, row in enumerate(leaves(0))][2] == K.WITHDRAWALS


def test_invalid_b8_place() -> None:
    header, rows = replace(HEADER, transactions=7), leaves()
    for place, other in ((0, 1), (1, 2), (4, 3), (6, 5)):
        verdict = refused(Rule.B8, check_b8_place, CONFIG, header, place, rows[other], PAID, what="txid of the")
        assert verdict.transaction == place
    for place, kind in ((2, K.HISTORY), (3, K.WITHDRAWALS), (2, K.FEES)):
        stray = leaf(txid=system_txid(kind, 7777, 105))
        verdict = refused(Rule.B8, check_b8_place, CONFIG, header, place, stray, PAID, what="among the signed ones")
        assert verdict.transaction == place
    short = replace(HEADER, transactions=4)
    assert refused(Rule.B8, check_b8_place, CONFIG, short, 0, rows[0], PAID, what="number of leaves").expected == 5
