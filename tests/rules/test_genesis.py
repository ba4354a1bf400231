from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from manaflow.errors import Rule
from manaflow.moves.block import Block
from manaflow.moves.columns import Leaves
from manaflow.moves.marks import Mark, Mask
from manaflow.moves.trees import EMPTY_ROOT
from manaflow.rules.genesis import check_genesis, check_genesis_accounts, check_genesis_leaves, check_genesis_order
from tests.chain import Chain, with_move
from tests.rules.build import A, consume, refused, word

CHAIN = Chain(accounts=3, slots=5000, codes=(b"\x60\x00",))
GENESIS = CHAIN.blocks[0]


def refuse(rule: Rule, block: Block, what: str) -> Any:
    return refused(rule, check_genesis, CHAIN.config, block, what=what)


def with_leaf(block: Block, i: int, **fields: Any) -> Block:
    rows = block.leaves.objects()
    rows[i] = replace(rows[i], **fields)
    return replace(block, leaves=Leaves.of(rows))


def with_header(**fields: Any) -> Block:
    return replace(GENESIS, header=replace(GENESIS.header, **fields))


def test_genesis() -> None:
    assert len(GENESIS.leaves) == 2
    assert int(GENESIS.leaves.consumes[0]) == 4096
    check_genesis(CHAIN.config, GENESIS)
    check_genesis(CHAIN.config, Chain(accounts=1).blocks[0])


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"config": word(1)}, "config of genesis"),
        ({"number": 1}, "number of genesis"),
        ({"history_root": word(1)}, "history root"),
        ({"withdrawals_root": word(1)}, "withdrawals root"),
        ({"first_cell": 0}, "first cell"),
        ({"first_cell": 2}, "first cell"),
        ({"parent_hash": word(1)}, "parent hash"),
        ({"fees": 1}, "fees"),
        ({"gas_limit": 1}, "gas limit"),
    ],
)
def test_invalid_genesis_header(fields: dict[str, Any], what: str) -> None:
    refuse(Rule.B8, with_header(**fields), what)


def test_invalid_genesis_totals() -> None:
    refuse(Rule.B3, with_header(cells=GENESIS.header.cells + 1), "cells")
    refuse(Rule.B3, with_header(transactions=3), "number of leaves")
    refuse(Rule.B3, with_header(codes_root=word(1)), "codes root")
    assert refuse(Rule.B3, with_leaf(GENESIS, 1, first_cell=4096), "first cell").transaction == 0
    refuse(Rule.B3, with_leaf(GENESIS, 0, gas=1), "gas before")


def test_invalid_genesis_body() -> None:
    refuse(Rule.B8, replace(GENESIS, signature=bytes(65)), "signature")
    refuse(Rule.B8, replace(GENESIS, envelopes=(b"\1",)), "envelopes")
    refuse(
        Rule.B4, replace(GENESIS, codes=(), header=replace(GENESIS.header, codes=0, codes_root=EMPTY_ROOT)), "missing"
    )


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"txid": word(1)}, "txid of the genesis leaf"),
        ({"status": 0}, "status"),
        ({"gas_used": 1}, "gas used"),
        ({"references": 1}, "genesis part"),
        ({"consumes": 0}, "genesis part"),
        ({"consumes": 4097}, "genesis part"),
    ],
)
def test_invalid_genesis_leaf(fields: dict[str, Any], what: str) -> None:
    assert refuse(Rule.B8, with_leaf(GENESIS, 1, **fields), what).transaction == 1


def test_genesis_gas_limit_at_the_bound() -> None:
    check_genesis(CHAIN.config, with_header(gas_limit=2))


def test_genesis_leaf_at_the_bound() -> None:
    rows = with_leaf(GENESIS, 1, consumes=4096).leaves.objects()
    check_genesis_leaves(CHAIN.config, replace(GENESIS.header, cells=8192), rows)


@pytest.mark.parametrize(
    ("rule", "fields", "what"),
    [
        (Rule.B8, {"number": 1}, "number of a genesis move"),
        (Rule.M4, {"prev": word(1)}, "prev of a virgin cell"),
        (Rule.M2, {"next": word(0)}, "equals its prev"),
        (Rule.M2, {"mask": 0xBF}, "next of a reference"),
        (Rule.B8, {"mask": 0x3F | Mask.GUARD}, "mask"),
        (Rule.M4, {"mark": 0}, "mark"),
    ],
)
def test_invalid_genesis_move(rule: Rule, fields: dict[str, Any], what: str) -> None:
    verdict = refuse(rule, with_move(GENESIS, 4100, **fields), what)
    assert (verdict.transaction, verdict.move) == (1, 4)


def test_invalid_genesis_precompile_and_nonce() -> None:
    row = next(i for i in range(len(GENESIS.moves)) if GENESIS.moves[i].mark == Mark.NONCE)
    refuse(Rule.M4, with_move(GENESIS, row, addr=(9).to_bytes(20, "big")), "precompile")
    refuse(Rule.B8, with_move(GENESIS, row, next=word(2**64)), "nonce in genesis")
    check_genesis(CHAIN.config, with_move(GENESIS, row, next=word(2**64 - 1)))


def test_the_hash_of_no_bytes_is_no_code_of_genesis() -> None:
    chain = Chain(accounts=1, codes=(b"",))
    refused(Rule.B8, check_genesis, chain.config, chain.blocks[0], what="no code is 0")


def test_invalid_genesis_order() -> None:
    check_genesis_order([consume(Mark.BALANCE), consume(Mark.NONCE)])
    same = [consume(Mark.BALANCE), consume(Mark.BALANCE)]
    refused(Rule.B8, check_genesis_order, same, what="cell 2 of genesis is out of order")
    refused(Rule.B8, check_genesis_order, [consume(Mark.NONCE), consume(Mark.BALANCE)], what="out of order")


def test_invalid_genesis_accounts_and_order_in_a_block() -> None:
    last = len(GENESIS.moves) - 1
    refuse(Rule.B8, with_move(GENESIS, last, addr=b"\xdd" * 20), "nonce 0 and no code")
    refuse(Rule.B8, with_move(GENESIS, last, addr=b"\xc0" * 20), "out of order")


def test_genesis_accounts() -> None:
    stored = consume(Mark.STORAGE, A, 1)
    check_genesis_accounts([consume(Mark.NONCE, A), stored])
    check_genesis_accounts([consume(Mark.CODE, A), stored])
    refused(Rule.B8, check_genesis_accounts, [consume(Mark.BALANCE, A), stored], what="nonce 0 and no code")
