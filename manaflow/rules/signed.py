"""S of a signed transaction: S1 of Ethereum's envelopes, S2 to S4 of declared ones (docs/SPEC.md, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from manaflow.moves.marks import Move
from manaflow.moves.transactions import DECLARED_TYPE, DeclaredTransaction, EthereumTransaction
from manaflow.rules.config import ChainConfig
from manaflow.rules.declared import check_s2, check_s3, check_s4, signed_intx
from manaflow.rules.signing import check_s1


def is_declared(raw: bytes) -> bool:
    """True if an envelope is a declared one, which S2 to S4 bind; S1 binds every other one."""
    return raw[:1] == bytes((DECLARED_TYPE,))


def check_signed(
    raw: bytes, config: ChainConfig, txid: bytes, moves: Sequence[Move], status: int, number: int
) -> tuple[EthereumTransaction, bytes]:
    """S1, or S2, S3 and S4 in this order: all that the signature of a sealed transaction must bear out.

    raw: the envelope; txid (32 bytes) and status: its leaf's; moves: the filled ones; number: its block's. Returns the
    transaction and its sender (20 bytes).
    """
    if not is_declared(raw):
        return check_s1(raw, config, txid, moves)
    transaction, sender = check_s2(raw, config, txid, moves)
    check_s3(transaction, moves, status)
    check_s4(transaction, number)
    return transaction, sender


def check_filled(
    transaction: DeclaredTransaction, moves: Sequence[Move], status: int, number: int
) -> Mapping[int, bytes]:
    """What check_signed asks of a declared envelope that decodes, is of its chain and its leaf, and has a sender.

    Returns what signed_intx does: the makers that V1 checks, by position of the move.
    """
    makers = signed_intx(transaction, moves)
    check_s3(transaction, moves, status)
    check_s4(transaction, number)
    return makers
