"""S1: Ethereum envelopes as they are, which sign no move (docs/SPEC.md, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from manaflow.errors import Rule, Verdict
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.marks import UNSIGNED, Mask, Move
from manaflow.moves.transactions import DeclaredTransaction, EthereumTransaction
from manaflow.rules.config import ChainConfig, Profile

BLOB_TYPE: Final = 3
"""EIP-4844."""
MAX_SIGNED_BYTES: Final = 2**17
"""Of one envelope in profile `manaflow`, as Ethereum's own pools take them: a proof of X holds it beside all else."""
ETHEREUM_CHAIN_IDS: Final = frozenset({1, 3, 4, 5, 42, 17000, 560048, 11155111})
"""Mainnet, Ropsten, Rinkeby, Goerli, Kovan, Holesky, Hoodi and Sepolia: a `manaflow` chain may not use them."""


def check_s1(raw: bytes, config: ChainConfig, txid: bytes, moves: Sequence[Move]) -> tuple[EthereumTransaction, bytes]:
    """S1: the envelope is not too long, decodes strictly, is of this chain and its leaf, and its moves are unsigned.

    raw: the signed envelope; txid: its leaf's, 32 bytes. Returns the transaction and its sender (20 bytes).
    """
    check_length(Rule.S1, raw, config.profile)
    transaction = decode_envelope(raw)
    if isinstance(transaction, DeclaredTransaction):
        raise Verdict(Rule.S1, "type of the envelope", expected="legacy or 1 to 4", actual=transaction.type)
    check_s1_chain(transaction, config)
    check_s1_txid(transaction, txid)
    check_s1_masks(moves)
    return transaction, recover_sender(transaction)


def check_length(rule: Rule, raw: bytes, profile: Profile) -> None:
    """S1, S2: an envelope of profile `manaflow` has at most MAX_SIGNED_BYTES bytes."""
    if profile == Profile.MANAFLOW and len(raw) > MAX_SIGNED_BYTES:
        raise Verdict(rule, "length of the envelope", expected=f"at most {MAX_SIGNED_BYTES}", actual=len(raw))


def check_s1_chain(transaction: EthereumTransaction, config: ChainConfig) -> None:
    """S1: the chain id is the config's, and the envelope's kind is one that its profile accepts."""
    if config.profile == Profile.MANAFLOW:
        if config.chain_id in ETHEREUM_CHAIN_IDS:
            raise Verdict(Rule.S1, "a manaflow chain uses an Ethereum network's chain id", actual=config.chain_id)
        if transaction.chain_id is None:
            raise Verdict(Rule.S1, "a legacy signature without chain id in profile manaflow")
        if transaction.type == BLOB_TYPE:
            raise Verdict(Rule.S1, "a blob transaction in profile manaflow")
    if transaction.chain_id is not None and transaction.chain_id != config.chain_id:
        raise Verdict(Rule.S1, "chain id", expected=config.chain_id, actual=transaction.chain_id)


def check_s1_txid(transaction: EthereumTransaction, txid: bytes) -> None:
    """S1: the leaf names this envelope by its keccak-256."""
    if transaction.txid != txid:
        raise Verdict(Rule.S1, "txid in the leaf", expected=transaction.txid, actual=txid)


def check_s1_masks(moves: Sequence[Move]) -> None:
    """S1: all six mask bits stand on every move, and no guard, since an Ethereum envelope signs no move."""
    _check_masks(moves, Rule.S1)


def check_b8_masks(moves: Sequence[Move]) -> None:
    """B8: a system transaction is unsigned, so its moves' masks are those of a filler."""
    _check_masks(moves, Rule.B8)


def _check_masks(moves: Sequence[Move], rule: Rule) -> None:
    for i, move in enumerate(moves):
        expected = UNSIGNED | (Mask.REFERENCE if move.is_reference else 0)
        if move.mask != expected:
            raise Verdict(rule, "mask of an unsigned move", move=i, expected=int(expected), actual=move.mask)
