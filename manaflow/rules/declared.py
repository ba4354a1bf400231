"""S2 to S4: declared transactions, whose signer says moves and masks what is left open (docs/SPEC.md, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from manaflow.errors import Rule, Verdict
from manaflow.moves.declared import is_signed, signed_form
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.marks import ZERO32, Mask, Move
from manaflow.moves.transactions import DeclaredTransaction, NamedMove
from manaflow.rules.config import ChainConfig, Profile
from manaflow.rules.moves import named
from manaflow.rules.signing import ETHEREUM_CHAIN_IDS, check_length


def check_s2(raw: bytes, config: ChainConfig, txid: bytes, moves: Sequence[Move]) -> tuple[DeclaredTransaction, bytes]:
    """S2: the envelope decodes strictly, is of this chain and the leaf's, and what it signs is what the moves say.

    raw: a declared envelope; txid: its leaf's, 32 bytes; moves: the filled ones, in M5's order. Returns the transaction
    and its sender (20 bytes).
    """
    check_length(Rule.S2, raw, config.profile)
    transaction = decode_envelope(raw)
    if not isinstance(transaction, DeclaredTransaction):
        raise Verdict(Rule.S2, "type of the envelope", expected="declared", actual=transaction.type)
    check_s2_chain(transaction, config)
    if transaction.txid != txid:
        raise Verdict(Rule.S2, "txid in the leaf", expected=transaction.txid, actual=txid)
    signed_intx(transaction, moves)
    return transaction, recover_sender(transaction)


def check_s2_chain(transaction: DeclaredTransaction, config: ChainConfig) -> None:
    """S2: the profile is `manaflow`, and the chain id the config's and no Ethereum network's."""
    if config.profile != Profile.MANAFLOW:
        raise Verdict(Rule.S2, "a declared envelope in profile ethereum")
    if config.chain_id in ETHEREUM_CHAIN_IDS:
        raise Verdict(Rule.S2, "a manaflow chain uses an Ethereum network's chain id", actual=config.chain_id)
    if transaction.chain_id != config.chain_id:
        raise Verdict(Rule.S2, "chain id", expected=config.chain_id, actual=transaction.chain_id)


def signed_intx(transaction: DeclaredTransaction, moves: Sequence[Move]) -> Mapping[int, bytes]:
    """S2: the filled moves that claim a signature, masked again, are exactly the signed ones.

    Returns the position of each move whose signer fixed the cell's maker, and that maker's txid (zero: a virgin cell),
    which V1 checks. Where several moves fit, the first in M5's order takes the first signed one. Linear in both.
    """
    waiting: dict[NamedMove, list[bytes]] = {}
    for form in reversed(transaction.moves):  # so that the least maker is the last of its list, which is taken first
        waiting.setdefault(replace(form, intx=ZERO32), []).append(form.intx)
    fixed: dict[int, bytes] = {}
    for i, move in enumerate(moves):
        if not is_signed(move.mask):
            continue
        makers = waiting.get(signed_form(move))
        if not makers:
            raise Verdict(Rule.S2, "a move that nobody signed so", move=i, actual=named(move.location))
        maker = makers.pop()
        if not move.mask & Mask.INTX:
            fixed[i] = maker
    left = sum(map(len, waiting.values()))
    if left:
        raise Verdict(Rule.S2, "signed moves that are not there", expected=0, actual=left)
    return fixed


def check_s3(transaction: DeclaredTransaction, moves: Sequence[Move], status: int) -> None:
    """S3: moves that nobody signed only in an open transaction, never as guards; status 1 if it must succeed."""
    for i, move in enumerate(moves):
        if not is_signed(move.mask):
            if not transaction.is_open:
                raise Verdict(Rule.S3, "an unsigned move, and no flag open", move=i, actual=named(move.location))
            if move.mask & Mask.GUARD:
                raise Verdict(Rule.S3, "a guard that nobody signed", move=i, actual=named(move.location))
    if transaction.must_succeed and status != 1:
        raise Verdict(Rule.S3, "status of a transaction that must succeed", expected=1, actual=status)


def check_s4(transaction: DeclaredTransaction, number: int) -> None:
    """S4: the header's number is at most `valid until`, where that is not 0."""
    if transaction.valid_until and number > transaction.valid_until:
        what = "block number of a transaction with a limit"
        raise Verdict(Rule.S4, what, expected=f"at most {transaction.valid_until}", actual=number)
