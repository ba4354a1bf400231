"""What genesis fulfils (docs/SPEC.md, section 5). It is exempt from B2, B7, M3, M6 and X, and nobody can convict it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

from manaflow.errors import Rule, Verdict
from manaflow.moves.block import Block
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.leaf import Leaf, SystemKind, system_txid
from manaflow.moves.marks import MAX_NONCE, ZERO32, Mark, Move
from manaflow.moves.trees import EMPTY_ROOT
from manaflow.rules.bodies import check_b4, check_codes
from manaflow.rules.config import ChainConfig
from manaflow.rules.forks import precompiles
from manaflow.rules.leaves import check_b3_body, check_b3_cells, check_b3_first, check_b3_pair
from manaflow.rules.moves import check_m2, check_m4, check_m4_precompiles, named, value_of
from manaflow.rules.signing import check_b8_masks
from manaflow.rules.system import check_b8_leaf

MAX_CONSUMES_PER_PART: Final = 4096
"""Consumes of one genesis transaction, so that a proof of its cells stays small."""

EMPTY_CODE_HASH: Final = keccak256(b"")
"""Never a value of `c`: 0 stands for no code, and engines would not agree on an account that holds this."""


def check_genesis(config: ChainConfig, block: Block) -> None:
    """Everything about genesis but its transactions root and moves roots, which whoever hashes the body compares.

    Raises Verdict: M rules for its moves, B3 for totals, B4 for codes, B8 for its form.
    """
    check_genesis_header(config, block.header, block.signature)
    if block.envelopes or block.withdrawals:
        raise Verdict(Rule.B8, "envelopes or withdrawals in genesis")
    leaves, moves = block.leaves.objects(), block.moves.objects()
    check_genesis_leaves(config, block.header, leaves)
    bounds = block.leaves.move_offsets().tolist()
    check_b3_body(bounds[-1], len(moves))
    codes = check_codes(block.header, block.codes, is_genesis=True)
    for i, (start, stop) in enumerate(itertools.pairwise(bounds)):
        _check_part(config, moves[start:stop], codes, i)
    check_genesis_order(moves)
    check_genesis_accounts(moves)


def check_genesis_header(config: ChainConfig, header: Header, signature: bytes) -> None:
    """B8: genesis's header starts the chain: its config, number, history, cells, and no signature."""
    fields: list[tuple[str, Any, Any]] = [
        ("config", config.hash, header.config),
        ("number", config.genesis_number, header.number),
        ("signature", b"", signature),
        ("parent hash", ZERO32, header.parent_hash),
        ("history root", EMPTY_ROOT, header.history_root),
        ("withdrawals root", EMPTY_ROOT, header.withdrawals_root),
        ("first cell", 1, header.first_cell),
        ("fees", 0, header.fees),
    ]
    for what, expected, actual in fields:
        if actual != expected:
            raise Verdict(Rule.B8, f"{what} of genesis", expected=expected, actual=actual)
    if header.gas_limit < 2:
        raise Verdict(Rule.B8, "gas limit of genesis", expected="at least 2", actual=header.gas_limit)


def check_genesis_leaves(config: ChainConfig, header: Header, leaves: Sequence[Leaf]) -> None:
    """B8 and B3: parts 0, 1, ... of kind 0, only consumes and at most MAX_CONSUMES_PER_PART; totals of cells add up.

    The header's gas used and blob gas used start B2's formulas and are no sums.
    """
    if len(leaves) != header.transactions:
        raise Verdict(Rule.B3, "number of leaves", expected=header.transactions, actual=len(leaves))
    for i, leaf in enumerate(leaves):
        txid = system_txid(SystemKind.GENESIS, config.chain_id, config.genesis_number, i)
        check_b8_leaf(leaf, SystemKind.GENESIS, txid, i)
        if leaf.references or not 0 < leaf.consumes <= MAX_CONSUMES_PER_PART:
            limit = f"1 to {MAX_CONSUMES_PER_PART} consumes, no reference"
            found = f"{leaf.consumes} consumes, {leaf.references} references"
            raise Verdict(Rule.B8, "moves of a genesis part", transaction=i, expected=limit, actual=found)
    for i, (leaf, after) in enumerate(itertools.pairwise(leaves)):
        try:
            check_b3_pair(leaf, after, 0, 0)
        except Verdict as verdict:
            raise verdict.at(i) from None
    if not leaves:
        if header.cells:
            raise Verdict(Rule.B3, "cells of genesis without leaves", expected=0, actual=header.cells)
        return
    check_b3_first(header, leaves[0])
    check_b3_cells(header, leaves[-1])


def _check_part(config: ChainConfig, moves: Sequence[Move], codes: frozenset[bytes], part: int) -> None:
    try:
        check_m2(moves)
        check_m4(moves)
        check_b8_masks(moves)
        check_b4(moves, codes)
        check_m4_precompiles(moves, precompiles(config.forks[-1].fork))
        for i, move in enumerate(moves):
            _check_genesis_move(move, i)
    except Verdict as verdict:
        raise verdict.at(part) from None


def _check_genesis_move(move: Move, i: int) -> None:
    if move.is_reference:
        raise Verdict(Rule.B8, "a reference in genesis", move=i, actual=named(move.location))
    if move.number != 0:
        raise Verdict(Rule.B8, "number of a genesis move", move=i, expected=0, actual=move.number)
    if move.mark == Mark.NONCE and value_of(move.next) > MAX_NONCE:
        raise Verdict(Rule.B8, "nonce in genesis", move=i, expected=f"at most {MAX_NONCE}", actual=value_of(move.next))
    if move.mark == Mark.CODE and move.next == EMPTY_CODE_HASH:
        raise Verdict(Rule.B8, "the hash of no bytes as a code of genesis: no code is 0", move=i, actual=move.next)


def check_genesis_order(moves: Sequence[Move]) -> None:
    """B8: locations ascend over all parts, each once."""
    for i in range(1, len(moves)):
        if moves[i - 1].location >= moves[i].location:
            where = f"cell {i + 1} of genesis is out of order"
            raise Verdict(
                Rule.B8, where, expected=f"after {named(moves[i - 1].location)}", actual=named(moves[i].location)
            )


def check_genesis_accounts(moves: Sequence[Move]) -> None:
    """B8: no storage at an account with nonce 0 and no code, so that EIP-7610's condition cannot arise."""
    alive = {m.addr for m in moves if m.mark in (Mark.CODE, Mark.NONCE)}
    for move in moves:
        if move.mark == Mark.STORAGE and move.addr not in alive:
            raise Verdict(Rule.B8, "storage of an account with nonce 0 and no code", actual=named(move.location))
