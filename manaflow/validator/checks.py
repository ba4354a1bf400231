"""Everything that a block must fulfil by itself and beside its parent: rules B, S and M.

Over columns each check finds the first offender data-parallel; the plain function of manaflow.rules then judges that
one and words the verdict. The plain functions are the rules: a twin that refuses what they accept is a bug.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import overload

import numpy as np

from manaflow.errors import Verdict
from manaflow.evm.envelopes import decode_envelopes
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.block import Block
from manaflow.moves.columns import I64, Leaves
from manaflow.moves.hashing import Hashing
from manaflow.moves.header import Header
from manaflow.moves.leaf import Leaf
from manaflow.moves.wire_leaves import Derived
from manaflow.rules.bodies import check_b3_root, check_codes, check_withdrawals_root
from manaflow.rules.config import ChainConfig
from manaflow.rules.genesis import check_genesis
from manaflow.rules.headers import check_b2, check_b6, check_b7
from manaflow.rules.leaves import check_b3_body, check_b3_counts
from manaflow.rules.system import check_b8, expected_system_leaves
from manaflow.validator.netting import SignedMakers
from manaflow.validator.totals import check_sizes, check_totals
from manaflow.validator.transactions import (
    Ancestry,
    Transactions,
    check_codes_made,
    check_hashes_seen,
    check_moves,
    check_signatures,
    judge,
    plain_rules,
    refuse,
)


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """A block that fulfils B, S and M, and what judging it has worked out."""

    block: Block
    code_hashes: tuple[bytes, ...]
    """keccak-256 of each code of the body, in order."""
    transactions: Transactions
    makers: SignedMakers
    """Makers of cells that signers have fixed, for V1."""

    @property
    def derived(self) -> Derived:
        """What the rest of the body says about the leaves: here they say so themselves."""
        return Derived(self.transactions.envelopes.txid, self.block.leaves.moves_root)


def check_block(
    block: Block,
    ancestry: Ancestry,
    hashing: Hashing = NATIVE,
    threads: int = 0,
    judged: Set[int] = frozenset(),
    rooted: Set[int] = frozenset(),
) -> Checked:
    """Judge a block after genesis by B2 to B8, S1 to S4 and M1 to M6; V and X are not judged here.

    Order: B2 B6 B7; counts, withdrawals, codes, sizes of leaves, B8, roots; then check_transactions. Raises Verdict at
    the first offender of the first broken rule; Unsupported before the chain's first fork. threads: how many at most, 0
    for all. judged: signed transactions that fulfil S and M, by place of their leaves; rooted: leaves whose moves
    roots this process has made of these moves.
    """
    check_header(block.header, block.signature, ancestry)
    code_hashes = check_counts(block)
    config, header = ancestry.config, block.header
    check_sizes(block.leaves, config)
    check_b8(config, header, _LeafRows(block.leaves), len(block.envelopes), block.withdrawals)
    offsets = block.leaves.move_offsets()
    check_roots(block, offsets, hashing, rooted)
    opening, closing = expected_system_leaves(config, header, block.withdrawals)
    kinds = dict(enumerate(kind for kind, _ in opening))
    kinds |= dict(enumerate((kind for kind, _ in closing), len(block.leaves) - len(closing)))
    envelopes = decode_envelopes(block.envelopes, threads)
    transactions = Transactions(block, offsets, kinds, envelopes, len(opening), frozenset(code_hashes))
    makers = check_transactions(transactions, ancestry, judged)
    return Checked(block, code_hashes, transactions, makers)


def check_transactions(transactions: Transactions, ancestry: Ancestry, judged: Set[int] = frozenset()) -> SignedMakers:
    """S of all, B3's totals, M of all, B4, B5: raises the Verdict of the first offender.

    judged: see check_block; unless all are, and none is a declared one, all are judged. Returns the makers of cells
    that signers have fixed: V1, where the state is known, judges them.
    """
    config = ancestry.config
    if judged and judged >= set(_signed_places(transactions)) and not transactions.declared.any():
        makers = SignedMakers.of({})
        check_totals(transactions, config)
        _check_system_moves(transactions, config)
    else:
        broken = judge(transactions, config)
        makers = check_signatures(transactions, config, broken)
        check_totals(transactions, config)
        check_moves(transactions, config, broken)
    check_codes_made(transactions)
    check_hashes_seen(transactions, ancestry.seen)
    return makers


def _signed_places(transactions: Transactions) -> range:
    return range(transactions.signed.start, transactions.signed.stop)


def _check_system_moves(transactions: Transactions, config: ChainConfig) -> None:
    """M of system transactions, and the masks of B8."""
    for t in sorted(transactions.kinds):
        try:
            for rule in plain_rules(transactions, config, t):
                rule()
        except Verdict as verdict:
            raise verdict.at(t) from None


def check_header(header: Header, signature: bytes, ancestry: Ancestry) -> None:
    """B2, B6 and B7: what can be judged before the body is paid for."""
    check_b2(ancestry.parent, header, ancestry.config)
    check_b6(ancestry.parent, header, ancestry.config, ancestry.frontier)
    check_b7(header.hash, signature, ancestry.config)


def check_counts(block: Block) -> tuple[bytes, ...]:
    """Counts of leaves, codes and moves; withdrawals and codes against roots (B3, B4). Returns the codes' hashes."""
    check_b3_counts(block.header, len(block.leaves), len(block.codes))
    check_b3_body(int(block.leaves.move_offsets()[-1]), len(block.moves))
    check_withdrawals_root(block.header, block.withdrawals)
    return tuple(sorted(check_codes(block.header, block.codes)))


def check_roots(block: Block, offsets: I64, hashing: Hashing, rooted: Set[int] = frozenset()) -> None:
    """B3: the moves root of every leaf and the transactions root are those of the body. rooted: see check_block."""
    count = len(block.leaves)
    runs = [(t, t + 1) for t in range(count) if t not in rooted] if rooted else [(0, count)]
    for start, stop in runs:
        roots = hashing.moves_roots(block.moves, offsets[start : stop + 1])
        wrong = np.flatnonzero((roots != block.leaves.moves_root[start:stop]).any(axis=1))
        if len(wrong):
            t = start + int(wrong[0])
            declared, computed = block.leaves.moves_root[t].tobytes(), roots[t - start].tobytes()
            refuse(t, partial(check_b3_root, "moves root", declared, computed))
    check_b3_root("transactions root", block.header.transactions_root, hashing.tree_root(block.leaves.encoded()))


def check_genesis_block(config: ChainConfig, block: Block, hashing: Hashing = NATIVE) -> tuple[bytes, ...]:
    """Everything about genesis, roots included. Returns the hashes of its codes."""
    check_genesis(config, block)
    check_roots(block, block.leaves.move_offsets(), hashing)
    return tuple(sorted(check_codes(block.header, block.codes, is_genesis=True)))


class _LeafRows(Sequence[Leaf]):
    """Leaves as a sequence of objects, made as they are asked for."""

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves

    def __len__(self) -> int:
        return len(self._leaves)

    @overload
    def __getitem__(self, i: int) -> Leaf: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[Leaf]: ...
    def __getitem__(self, i: int | slice) -> Leaf | Sequence[Leaf]:
        return self._leaves[i] if isinstance(i, int) else [self._leaves[k] for k in range(len(self))[i]]
