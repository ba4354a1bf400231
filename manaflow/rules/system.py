"""B8: which leaves a block has besides its signed transactions, and what stands in them (docs/SPEC.md, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from manaflow.errors import Rule, Verdict
from manaflow.moves.block import Withdrawal
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.leaf import Leaf, SystemKind, system_txid
from manaflow.rules.config import ChainConfig, Fork, Profile

SystemLeaves = list[tuple[SystemKind, bytes]]
"""Kinds and txids, in the order of the leaves."""
EMPTY_LOGS_HASH: Final = keccak256(b"\xc0")
"""keccak-256 of rlp([]): the logs hash of every system leaf."""
FIRST_FORK: Final = {
    SystemKind.BEACON_ROOTS: Fork.CANCUN,
    SystemKind.HISTORY: Fork.PRAGUE,
    SystemKind.WITHDRAWAL_REQUESTS: Fork.PRAGUE,
    SystemKind.CONSOLIDATION_REQUESTS: Fork.PRAGUE,
}
"""The fork from which on a block makes the call (EIP-4788, 2935, 7002, 7251)."""
OPENING: Final = (SystemKind.BEACON_ROOTS, SystemKind.HISTORY)
REQUESTS: Final = (SystemKind.WITHDRAWAL_REQUESTS, SystemKind.CONSOLIDATION_REQUESTS)


def makes_call(config: ChainConfig, fork: Fork, kind: SystemKind) -> bool:
    """True if a block of this fork makes the system call: listed, of the fork, and (`manaflow`) the history call."""
    if config.profile == Profile.MANAFLOW and kind != SystemKind.HISTORY:
        return False
    return kind in config.system_calls and fork >= FIRST_FORK[kind]


def expected_system_leaves(
    config: ChainConfig, header: Header, withdrawals: Sequence[Withdrawal]
) -> tuple[SystemLeaves, SystemLeaves]:
    """The system leaves before and after the signed transactions of a block after genesis (B8)."""
    fork = config.entry_at(header.timestamp).fork
    opening = [kind for kind in OPENING if makes_call(config, fork, kind)]
    closing = []
    if config.profile == Profile.ETHEREUM and any(w.amount > 0 for w in withdrawals):
        closing.append(SystemKind.WITHDRAWALS)
    if config.profile == Profile.MANAFLOW and header.fees > 0:
        closing.append(SystemKind.FEES)
    closing += [kind for kind in REQUESTS if makes_call(config, fork, kind)]
    return _with_txids(config, header, opening), _with_txids(config, header, closing)


def _with_txids(config: ChainConfig, header: Header, kinds: Sequence[SystemKind]) -> SystemLeaves:
    return [(kind, system_txid(kind, config.chain_id, header.number)) for kind in kinds]


def check_b8(
    config: ChainConfig,
    header: Header,
    leaves: Sequence[Leaf],
    envelopes: int,
    withdrawals: Sequence[Withdrawal],
) -> None:
    """B8: opening calls, `envelopes` signed transactions, closing ones, nothing else, in this order.

    The txids in the middle are S1's to check. withdrawals: those of the header's withdrawals root.
    """
    opening, closing = expected_system_leaves(config, header, withdrawals)
    total = len(opening) + envelopes + len(closing)
    if len(leaves) != total:
        raise Verdict(Rule.B8, "number of leaves", expected=total, actual=len(leaves))
    start = len(leaves) - len(closing)
    places = [*enumerate(opening), *enumerate(closing, start)]
    for i, (kind, txid) in places:
        check_b8_leaf(leaves[i], kind, txid, i)


def check_b8_place(
    config: ChainConfig, header: Header, place: int, leaf: Leaf, withdrawals: Sequence[Withdrawal]
) -> SystemKind | None:
    """B8 from one leaf: at its place stands what belongs there, a system transaction of that kind or a signed one.

    Returns the kind, None for a signed transaction's place. withdrawals: those of the header's withdrawals root.
    """
    opening, closing = expected_system_leaves(config, header, withdrawals)
    start = header.transactions - len(closing)
    if start < len(opening):
        raise Verdict(Rule.B8, "number of leaves", expected=len(opening) + len(closing), actual=header.transactions)
    if len(opening) <= place < start:
        if any(leaf.txid == txid for _, txid in _with_txids(config, header, tuple(SystemKind))):
            raise Verdict(Rule.B8, "a system transaction among the signed ones", transaction=place, actual=leaf.txid)
        return None
    kind, txid = opening[place] if place < start else closing[place - start]
    check_b8_leaf(leaf, kind, txid, place)
    return kind


def check_b8_empty(config: ChainConfig, header: Header, withdrawals: Sequence[Withdrawal]) -> None:
    """B8 of a block without leaves: none of its own must be there. withdrawals: those of the withdrawals root."""
    opening, closing = expected_system_leaves(config, header, withdrawals)
    if opening or closing:
        raise Verdict(Rule.B8, "number of leaves", expected=len(opening) + len(closing), actual=0)


def check_b8_leaf(leaf: Leaf, kind: SystemKind, txid: bytes, place: int) -> None:
    """B8: the leaf at `place` is the system transaction's: its txid, status 1, no gas, no logs."""
    what = kind.name.lower().replace("_", " ")
    for name, expected, actual in (
        ("txid", txid, leaf.txid),
        ("status", 1, leaf.status),
        ("gas used", 0, leaf.gas_used),
        ("logs hash", EMPTY_LOGS_HASH, leaf.logs_hash),
    ):
        if actual != expected:
            message = f"{name} of the {what} leaf"
            raise Verdict(Rule.B8, message, transaction=place, expected=expected, actual=actual)
