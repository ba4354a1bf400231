"""Rules S, M1 to M6, B4 and B5 over a block's columns: the data-parallel twins of the plain functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from manaflow.errors import Failure, Rule, Verdict
from manaflow.evm.envelopes import EnvelopeColumns, effective_prices
from manaflow.moves.block import Block
from manaflow.moves.columns import I64, U8, U32, U64, Moves
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.header import Header
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import ZERO32, Mark, Mask, Move
from manaflow.moves.transactions import DECLARED_TYPE, GAS_PER_BLOB, DeclaredTransaction, EthereumTransaction
from manaflow.moves.trees import Frontier
from manaflow.rules.bodies import HASH_WINDOW, check_b4, check_b5
from manaflow.rules.config import ChainConfig, Fork, Profile
from manaflow.rules.fees import blob_base_fee
from manaflow.rules.forks import precompiles
from manaflow.rules.moves import (
    check_fees,
    check_m1,
    check_m2,
    check_m3,
    check_m4,
    check_m4_precompiles,
    check_m5,
    check_m5_counts,
    check_m6,
    check_withdrawals,
    compute_burned,
)
from manaflow.rules.signed import check_filled, check_signed
from manaflow.rules.signing import BLOB_TYPE, ETHEREUM_CHAIN_IDS, MAX_SIGNED_BYTES, check_b8_masks
from manaflow.validator.kernels import PARALLEL
from manaflow.validator.kernels import judging as kernels
from manaflow.validator.netting import SignedMakers

Bools = NDArray[np.bool_]
CREDITING: Final = (SystemKind.WITHDRAWALS, SystemKind.FEES)
"""System leaves that bring ether in: equalities of their own stand in for M6."""


@dataclass(frozen=True, slots=True)
class Ancestry:
    """What a block is judged beside: its chain's config, its parent, and what the chain knows of earlier hashes."""

    config: ChainConfig
    parent: Header
    frontier: Frontier
    """The history tree of the parent, without the parent (B6)."""
    seen: Callable[[int], bytes | None]
    """Block number k, below the parent's -> the hash that BLOCKHASH(k) shows, None if the chain knows none (B5)."""


@dataclass(frozen=True, slots=True, eq=False)
class Transactions:
    """A block's transactions, signed and system, as rules see them."""

    block: Block
    offsets: I64
    """int64[t + 1]: rows of each transaction's moves."""
    kinds: Mapping[int, SystemKind]
    """Which leaves are system transactions, by position (B8)."""
    envelopes: EnvelopeColumns
    """The signed transactions, in order."""
    first_signed: int
    """Position of the first signed transaction's leaf."""
    codes: frozenset[bytes]
    """keccak-256 of the codes in the body."""

    def __len__(self) -> int:
        return len(self.block.leaves)

    @property
    def signed(self) -> slice:
        """Positions of the signed transactions' leaves."""
        return slice(self.first_signed, self.first_signed + len(self.envelopes))

    def moves(self, t: int) -> list[Move]:
        """Moves of transaction t as objects, for the plain rules."""
        return self.block.moves.take(int(self.offsets[t]), int(self.offsets[t + 1])).objects()

    def envelope(self, t: int) -> bytes:
        """The envelope of signed transaction t."""
        return self.block.envelopes[t - self.first_signed]

    def transaction(self, t: int) -> EthereumTransaction:
        """The decoded envelope of signed transaction t, which fulfils S1 or S2."""
        return decode_envelope(self.envelope(t))

    def spread(self, column: NDArray[Any]) -> NDArray[Any]:
        """A column of the envelopes as one of all leaves, zero at system transactions."""
        result = np.zeros((len(self), *column.shape[1:]), column.dtype)
        result[self.signed] = column
        return result

    @property
    def declared(self) -> Bools:
        """bool[e]: which envelopes are declared ones; those that S2 refuses to decode as well."""
        is_declared: Bools = (self.envelopes.type == DECLARED_TYPE) | (self.envelopes.code == Rule.S2)
        return is_declared

    @property
    def blob_gas(self) -> U64:
        """uint64[t]: blob gas that each transaction uses."""
        gas: U64 = self.spread(self.envelopes.blobs).astype(np.uint64) * np.uint64(GAS_PER_BLOB)
        return gas


def refuse(transaction: int, *rules: Callable[[], object]) -> NoReturn:
    """Let the plain rules, in order, word the verdict on what a twin refuses."""
    try:
        for rule in rules:
            rule()
    except Verdict as verdict:
        raise verdict.at(transaction) from None
    raise Failure(f"internal error: the kernels refuse transaction {transaction} and the plain rules accept it")


def first_of(wrong: NDArray[Any]) -> int | None:
    """Position of the first non-zero element."""
    at = int(np.argmax(wrong != 0)) if len(wrong) else 0
    return at if len(wrong) and wrong[at] else None


def check_signatures(transactions: Transactions, config: ChainConfig, broken: U32) -> SignedMakers:
    """S1 of every Ethereum envelope, S2 to S4 of every declared one. Returns the makers that declared ones fix.

    What columns tell is judged for all at once: that an envelope decodes, is of this chain and its leaf, recovers a
    sender, and, of Ethereum's, signs no move. What else a declared one says is judged one by one.
    """
    leaves, declared, number = transactions.block.leaves, transactions.declared, transactions.block.header.number
    wrong = misfits(transactions, config, broken)
    at = first_of(wrong)
    makers = _check_declared(transactions, np.flatnonzero(declared[:at]) + transactions.first_signed)
    if at is not None:
        t = at + transactions.first_signed
        raw, leaf, moves = transactions.envelope(t), leaves[t], transactions.moves(t)
        refuse(t, lambda: check_signed(raw, config, leaf.txid, moves, leaf.status, number))
    return makers


def misfits(transactions: Transactions, config: ChainConfig, broken: U32) -> Bools:
    """bool[e]: which envelopes break S1 or S2 as far as columns tell. broken: what `judge` answers."""
    rows, signed = transactions.envelopes, transactions.signed
    wrong: Bools = (rows.code != 0) | (rows.txid != transactions.block.leaves.txid[signed]).any(axis=1)
    wrong |= (rows.protected != 0) & (rows.chain_id != np.uint64(config.chain_id))
    wrong |= (broken[signed] & kernels.S1) != 0
    if config.profile == Profile.MANAFLOW:
        wrong |= np.fromiter(map(len, transactions.block.envelopes), np.int64, len(rows)) > MAX_SIGNED_BYTES
        wrong |= (rows.protected == 0) | (rows.type == BLOB_TYPE) | (config.chain_id in ETHEREUM_CHAIN_IDS)
    else:
        wrong |= transactions.declared
    return wrong


def _check_declared(transactions: Transactions, positions: I64) -> SignedMakers:
    """S2 (what is signed is what the moves say), S3 and S4 of declared transactions that decode and are in place."""
    makers: dict[int, bytes] = {}
    for t in positions.tolist():
        transaction, start = transactions.transaction(t), int(transactions.offsets[t])
        assert isinstance(transaction, DeclaredTransaction)
        status = int(transactions.block.leaves.status[t])
        try:
            fixed = check_filled(transaction, transactions.moves(t), status, transactions.block.header.number)
        except Verdict as verdict:
            raise verdict.at(t) from None
        makers |= {start + i: txid for i, txid in fixed.items()}
    return SignedMakers.of(makers)


def prices(transactions: Transactions, config: ChainConfig) -> list[int]:
    """Wei per gas that leaves the balances of each transaction's moves: 0 for system transactions (M6)."""
    base_fee, rows, result = transactions.block.header.base_fee, transactions.envelopes, [0] * len(transactions)
    if config.profile == Profile.ETHEREUM:
        result[transactions.signed] = [base_fee] * len(rows)
    else:
        result[transactions.signed] = effective_prices(rows, base_fee)
    return result


def _blob_fee(header: Header, config: ChainConfig) -> int:
    blobs = config.blobs_at(header.timestamp)
    return 0 if blobs is None else blob_base_fee(header.excess_blob_gas, blobs.update_fraction)


def judge(transactions: Transactions, config: ChainConfig) -> U32:
    """uint32[t]: which of M1 to M6 and the masks of S1 or B8 each transaction breaks, as bits of kernels.judging."""
    block, count = transactions.block, len(transactions)
    exempt = np.zeros(count, np.uint32)
    for t, kind in transactions.kinds.items():
        exempt[t] = kernels.M3 | (kernels.M6 if kind in CREDITING else 0)
    exempt[transactions.signed][transactions.declared] = kernels.S1
    broken = np.zeros(count, np.uint32)
    arguments = (
        word_columns(block.moves),
        transactions.offsets,
        block.leaves.consumes,
        _last_words(config.entry_at(block.header.timestamp).fork),
        transactions.spread(transactions.envelopes.sender).view(np.uint32),
        transactions.spread(transactions.envelopes.nonce),
        _burned(transactions, config),
        exempt,
    )
    if len(block.moves) < kernels.FEW:
        kernels.judge_few(*arguments, broken)
        return broken
    with PARALLEL:
        kernels.judge_moves(*arguments, broken)
    return broken


def word_columns(moves: Moves) -> tuple[U8, U8, U64, U32, U64, U64, U64]:
    """The columns as kernels read them: addr uint32[n, 5]; slot, prev, next uint64[n, 4]. Views."""
    slot, prev, next_ = (column.view(np.uint64) for column in (moves.slot, moves.prev, moves.next))
    return moves.mask, moves.mark, moves.number, moves.addr.view(np.uint32), slot, prev, next_


def _last_words(fork: Fork) -> U32:
    """uint32[p]: the last four bytes of each precompile's address, as they stand."""
    addresses = sorted(precompiles(fork))
    assert not any(any(address[:16]) for address in addresses), "precompiles have small numbers"
    return np.frombuffer(b"".join(address[16:] for address in addresses), np.uint32)


def _burned(transactions: Transactions, config: ChainConfig) -> U64:
    """uint64[t, 6]: wei that each transaction burns or pays (M6), as big-endian bytes."""
    blob_fee = _blob_fee(transactions.block.header, config)
    gas, blobs = transactions.block.leaves.gas_used.tolist(), transactions.blob_gas.tolist()
    rows = zip(gas, prices(transactions, config), blobs, strict=True)
    data = b"".join((g * price + b * blob_fee).to_bytes(kernels.BURNED_BYTES, "big") for g, price, b in rows)
    return np.frombuffer(data, np.uint64).reshape(len(transactions), kernels.BURNED_BYTES // 8)


def check_moves(transactions: Transactions, config: ChainConfig, broken: U32) -> None:
    """M1 to M6 (and B8's masks of system transactions): the first transaction that breaks one, by its first rule."""
    first = first_of(broken)
    suspects = {t for t, kind in transactions.kinds.items() if kind in CREDITING}
    if first is not None:
        suspects.add(first)
    for t in sorted(suspects):
        rules = list(plain_rules(transactions, config, t))
        if t == first:
            refuse(t, *rules)
        try:
            for rule in rules:
                rule()
        except Verdict as verdict:
            raise verdict.at(t) from None


def plain_rules(transactions: Transactions, config: ChainConfig, t: int) -> Iterator[Callable[[], object]]:
    """The plain M rules that bind transaction t, in order."""
    moves, header, leaf = transactions.moves(t), transactions.block.header, transactions.block.leaves[t]
    kind = transactions.kinds.get(t)
    if kind is not None:
        yield lambda: check_b8_masks(moves)
    yield lambda: check_m4(moves)
    yield lambda: check_m4_precompiles(moves, precompiles(config.entry_at(header.timestamp).fork))
    yield lambda: check_m2(moves)
    yield lambda: check_m5(moves)
    yield lambda: check_m5_counts(moves, leaf.consumes, leaf.references)
    yield lambda: check_m1(moves)
    if kind == SystemKind.WITHDRAWALS:
        yield lambda: check_withdrawals(moves, transactions.block.withdrawals)
    elif kind == SystemKind.FEES:
        yield lambda: check_fees(moves, header.coinbase, header.fees)
    elif kind is not None:
        yield lambda: check_m6(moves, 0)
    else:
        transaction, row = transactions.transaction(t), t - transactions.first_signed
        sender = transactions.envelopes.sender[row].tobytes()
        burned = compute_burned(config.profile, transaction, leaf.gas_used, header.base_fee, _blob_fee(header, config))
        yield lambda: check_m3(moves, sender, transaction.nonce)
        yield lambda: check_m6(moves, burned)


def _transaction_of(transactions: Transactions, row: int) -> int:
    return int(np.searchsorted(transactions.offsets, row, side="right")) - 1


def check_codes_made(transactions: Transactions) -> None:
    """B4: every consumed c with next != 0 has its code in the body. Few moves make a code, so a set will do."""
    moves, codes = transactions.block.moves, transactions.codes
    makes = (moves.mark == Mark.CODE) & (moves.mask & Mask.REFERENCE == 0)
    for row in np.flatnonzero(makes).tolist():
        made = moves.next[row].tobytes()
        if made != ZERO32 and made not in codes:
            t = _transaction_of(transactions, row)
            of_t = transactions.moves(t)
            refuse(t, partial(check_b4, of_t, codes))


def check_hashes_seen(transactions: Transactions, seen: Callable[[int], bytes | None]) -> None:
    """B5: every e move is in the window and shows the hash that the chain holds."""
    moves, number = transactions.block.moves, transactions.block.header.number
    rows = np.flatnonzero(moves.mark == Mark.BLOCKHASH)
    if not len(rows):
        return
    slots, start = moves.slot[rows], max(0, number - HASH_WINDOW)
    asked: U64 = slots[:, 24:].copy().view(">u8")[:, 0].astype(np.uint64)
    wrong = slots[:, :24].any(axis=1) | (asked < np.uint64(start)) | (asked >= np.uint64(number))
    at = np.where(wrong, np.uint64(0), asked - np.uint64(start)).astype(np.int64)
    shown = _hashes_shown(transactions.block.header, {start + k for k in np.unique(at[~wrong]).tolist()}, seen)
    known, hashes = np.zeros(HASH_WINDOW, np.bool_), np.zeros((HASH_WINDOW, 32), np.uint8)
    for k, block_hash in shown.items():
        known[k - start], hashes[k - start] = True, np.frombuffer(block_hash, np.uint8)
    wrong |= ~known[at] | (hashes[at] != moves.prev[rows]).any(axis=1)
    first = first_of(wrong)
    if first is not None:
        t = _transaction_of(transactions, int(rows[first]))
        of_t = transactions.moves(t)
        refuse(t, lambda: check_b5(of_t, number, shown))


def _hashes_shown(header: Header, asked: set[int], seen: Callable[[int], bytes | None]) -> dict[int, bytes]:
    """The hashes that the chain shows a block of the numbers asked for, all within its window."""
    shown = {k: header.seen_parent_hash if k == header.number - 1 else seen(k) for k in asked}
    return {k: block_hash for k, block_hash in shown.items() if block_hash is not None}
