"""A batch's transactions judged apart from each other: S, M, B4 and B5 (docs/SPEC.md, section 8, Validator).

The columns go through the kernels that judge sealed blocks; the plain rules word what those refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manaflow.errors import Failure, Verdict
from manaflow.evm.envelopes import EnvelopeColumns, decode_envelopes, effective_prices
from manaflow.moves.batch import Batch
from manaflow.moves.block import Block
from manaflow.moves.columns import I64, U32, U64, Leaves, Moves
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.marks import Mark, Mask
from manaflow.moves.transactions import DeclaredTransaction
from manaflow.moves.wire_batch import check_shape
from manaflow.rules.bodies import check_b4, check_b5_move
from manaflow.rules.config import ChainConfig, Profile
from manaflow.rules.leaves import MAX_MOVES, check_b3_size, compute_fees_added
from manaflow.rules.moves import value_of
from manaflow.rules.signed import check_filled, check_signed
from manaflow.rules.state import check_v1_intx
from manaflow.validator.room import Needs
from manaflow.validator.transactions import Transactions, judge, misfits, plain_rules

Fixed = Mapping[int, Mapping[int, bytes]]
"""Transaction -> move -> the maker that its signer fixes, 32 bytes."""
HashSeen = Callable[[int], bytes | None]
"""Block number -> the hash that BLOCKHASH shows for it, None if the chain knows none (B5)."""


@dataclass(slots=True, eq=False)
class Candidates:
    """A batch's transactions, and what is known of each so far."""

    batch: Batch
    block: Block
    """The batch as a block of signed transactions alone: no totals, and `number` 0 for virgin cells, else 1."""
    transactions: Transactions
    offsets: list[int]
    splits: list[int]
    """Row of each transaction's first reference."""
    txids: list[bytes]
    verdicts: list[Verdict | None]
    """By S, M, B4 and B5, and V1 where a signature fixes a maker; None where they are fulfilled."""
    codes: Mapping[bytes, bytes]
    """The batch's codes by keccak-256."""
    makes_code: frozenset[int]
    """Which of them make a code live."""

    @property
    def envelopes(self) -> EnvelopeColumns:
        """The envelopes as columns."""
        return self.transactions.envelopes

    def transactions_of(self, rows: I64) -> list[int]:
        """The transaction of each row."""
        return _owners(self.transactions.offsets, rows)

    def needs(self, config: ChainConfig) -> Needs:
        """What each takes of a block, but for bytes of code; meaningful where X0 is fulfilled."""
        return Needs(
            gas_limit=self.envelopes.gas_limit.tolist(),
            gas_used=self.batch.gas_used.tolist(),
            blob_gas=self.transactions.blob_gas.tolist(),
            fees=self._fees(config),
            moves=np.diff(self.transactions.offsets).tolist(),
            envelope_bytes=list(map(len, self.batch.envelopes)),
        )

    def _fees(self, config: ChainConfig) -> list[int]:
        """Wei that each adds to the block's fees."""
        if config.profile == Profile.ETHEREUM:
            return [0] * len(self.txids)
        base_fee, gas = self.block.header.base_fee, self.batch.gas_used.tolist()
        prices = effective_prices(self.envelopes, base_fee)
        return [compute_fees_added(price, base_fee, used) for price, used in zip(prices, gas, strict=True)]


def candidates_of(batch: Batch, opened: Header, threads: int = 0) -> Candidates:
    """A batch's transactions with nothing judged yet. Raises Verdict(B1) if its columns do not fit each other."""
    check_shape(batch)
    envelopes, offsets = decode_envelopes(batch.envelopes, threads), batch.offsets()
    codes = {keccak256(code): code for code in batch.codes}
    block = _as_block(batch, opened, envelopes)
    txids, splits = envelopes.txid.tobytes(), offsets[:-1] + batch.consumes
    makes_code = frozenset(_owners(offsets, _code_rows(block.moves)))
    return Candidates(
        batch=batch,
        block=block,
        transactions=Transactions(block, offsets, {}, envelopes, 0, frozenset(codes)),
        offsets=offsets.tolist(),
        splits=splits.tolist(),
        txids=[txids[at : at + 32] for at in range(0, len(txids), 32)],
        verdicts=[None] * len(batch),
        codes=codes,
        makes_code=makes_code,
    )


def _owners(offsets: I64, rows: I64) -> list[int]:
    owners: list[int] = (np.searchsorted(offsets, rows, side="right") - 1).tolist()
    return owners


def _code_rows(moves: Moves) -> I64:
    """Rows of consumes that make a code live."""
    rows: I64 = np.flatnonzero((moves.mark == Mark.CODE) & (moves.mask & Mask.REFERENCE == 0))
    return rows[moves.next[rows].any(axis=1)] if len(rows) else rows


def judge_apart(candidates: Candidates, config: ChainConfig, made: Mapping[bytes, bytes], seen: HashSeen) -> None:
    """Judge each transaction by B3's size, S, M, B4, B5, and V1 where a signature fixes a maker, into `verdicts`.

    made: codes that the open block holds already, by hash.
    """
    _judge_sizes(candidates, config)
    fixed = _judge_signatures_and_moves(candidates, config)
    _judge_codes(candidates, made)
    _judge_hashes(candidates, seen)
    _judge_makers(candidates, fixed)


def _as_block(batch: Batch, opened: Header, envelopes: EnvelopeColumns) -> Block:
    t = len(batch)
    known: U64 = np.asarray(batch.intx.any(axis=1), np.uint64)
    columns = {field.name: _plain(getattr(batch.moves, field.name)) for field in fields(Moves)}
    leaves = Leaves(
        txid=envelopes.txid,
        moves_root=np.zeros((t, 32), np.uint8),
        consumes=_plain(batch.consumes),
        references=_plain(batch.references),
        status=_plain(batch.status),
        gas_used=_plain(batch.gas_used),
        logs_hash=_plain(batch.logs_hash),
        first_cell=np.zeros(t, np.uint64),
        gas=np.zeros(t, np.uint64),
        fees=np.zeros((t, 32), np.uint8),
        blob_gas=np.zeros(t, np.uint64),
    )
    return Block(opened, b"", leaves, replace(Moves(**columns), number=known), batch.envelopes, batch.codes, ())


def _plain(column: NDArray[Any]) -> NDArray[Any]:
    """As the kernels are compiled for: contiguous, aligned, writable. What bytes came in as is often none of it."""
    return np.require(column, None, ["C", "A", "W"])


def _worded(*rules: Callable[[], object]) -> Verdict:
    """The verdict of the plain rules, in order, on what a kernel refuses."""
    try:
        for rule in rules:
            rule()
    except Verdict as verdict:
        return verdict
    raise Failure("internal error: the kernels refuse a transaction that the plain rules accept")


def _judge_sizes(candidates: Candidates, config: ChainConfig) -> None:
    """B3: how many moves one transaction may have."""
    for t in np.flatnonzero(np.diff(candidates.transactions.offsets) > MAX_MOVES).tolist():
        if config.profile == Profile.MANAFLOW:
            leaf = candidates.block.leaves[t]
            candidates.verdicts[t] = _worded(partial(check_b3_size, config.profile, leaf))


def _judge_signatures_and_moves(candidates: Candidates, config: ChainConfig) -> Fixed:
    """S1 to S4 and M1 to M6 of each. Returns the makers that declared ones fix."""
    transactions, verdicts, fixed = candidates.transactions, candidates.verdicts, dict[int, Mapping[int, bytes]]()
    broken: U32 = judge(transactions, config)
    wrong = misfits(transactions, config, broken)
    for t in np.flatnonzero(wrong | transactions.declared).tolist():
        if verdicts[t] is not None:
            continue
        if wrong[t]:
            verdicts[t] = _signature(candidates, config, t)
            continue
        try:
            fixed[t] = _declaration(candidates, t)
        except Verdict as verdict:
            verdicts[t] = verdict
    for t in np.flatnonzero(broken).tolist():
        if verdicts[t] is None:
            verdicts[t] = _worded(*plain_rules(transactions, config, t))
    return fixed


def _signature(candidates: Candidates, config: ChainConfig, t: int) -> Verdict:
    transactions, status = candidates.transactions, int(candidates.batch.status[t])
    raw, txid, moves = transactions.envelope(t), candidates.txids[t], transactions.moves(t)
    return _worded(lambda: check_signed(raw, config, txid, moves, status, candidates.block.header.number))


def _declaration(candidates: Candidates, t: int) -> Mapping[int, bytes]:
    """S2 to S4 of a declared transaction that decodes. Returns the makers that its signer fixes, by move."""
    transaction = candidates.transactions.transaction(t)
    assert isinstance(transaction, DeclaredTransaction)
    status, number = int(candidates.batch.status[t]), candidates.block.header.number
    return check_filled(transaction, candidates.transactions.moves(t), status, number)


def _judge_makers(candidates: Candidates, fixed: Fixed) -> None:
    """V1 of makers that are signed: the batch names those; whether they made the cells is judged with all others."""
    for t, makers in fixed.items():
        moves, start = candidates.transactions.moves(t), candidates.offsets[t]
        for i, intx in sorted(makers.items()):
            if candidates.verdicts[t] is not None:
                break
            try:
                check_v1_intx(moves[i], intx, candidates.batch.intx[start + i].tobytes())
            except Verdict as verdict:
                candidates.verdicts[t] = verdict.at(move=i)


def _judge_codes(candidates: Candidates, made: Mapping[bytes, bytes]) -> None:
    """B4: every consumed c with next != 0 has its code in the batch, or in the open block already."""
    if not candidates.makes_code:
        return
    moves = candidates.block.moves
    rows = _code_rows(moves)
    for row, t in zip(rows.tolist(), candidates.transactions_of(rows), strict=True):
        code_hash = moves.next[row].tobytes()
        if code_hash in candidates.codes or code_hash in made:
            continue
        if candidates.verdicts[t] is None:
            of_t, known = candidates.transactions.moves(t), candidates.codes.keys() | made.keys()
            candidates.verdicts[t] = _worded(partial(check_b4, of_t, known))


def _judge_hashes(candidates: Candidates, seen: HashSeen) -> None:
    """B5: every e move is in the window and shows the hash that the chain holds."""
    header, moves = candidates.block.header, candidates.block.moves
    rows: I64 = np.flatnonzero(moves.mark == Mark.BLOCKHASH)
    for row, t in zip(rows.tolist(), candidates.transactions_of(rows), strict=True):
        move = moves[row]
        if candidates.verdicts[t] is not None:
            continue
        asked = value_of(move.slot)
        known = header.seen_parent_hash if asked == header.number - 1 else seen(min(asked, header.number))
        try:
            check_b5_move(move, header.number, known, row - candidates.offsets[t])
        except Verdict as verdict:
            candidates.verdicts[t] = verdict


def code_hashes_made(moves: Moves) -> set[bytes]:
    """keccak-256 of every code that moves make live."""
    return {row.tobytes() for row in moves.next[_code_rows(moves)]}
