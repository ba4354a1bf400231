"""The challenger: what a dishonest block breaks, and the proof that shows it (docs/SPEC.md, section 9).

Pure logic over a view of the chain (`Chain`; `manaflow.validator.witness` is a validator's). The block is judged as the
validator judges it; `BUILDERS` leads from the rule that it breaks to the builder of the proof, and `UNPROVABLE` names
what no file can show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Final, Protocol

from manaflow.errors import Rule, Verdict
from manaflow.fraudproof import build, build_counts
from manaflow.fraudproof.build import Seat
from manaflow.fraudproof.build_codes import with_codes_asked_for
from manaflow.fraudproof.errors import Unprovable
from manaflow.fraudproof.format import PARENT_RULES, Proof
from manaflow.moves import trees
from manaflow.moves.block import Block
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.leaf import SystemKind, system_txid
from manaflow.moves.marks import Mark
from manaflow.rules.bodies import check_b4_count, check_b4_order, is_header_source
from manaflow.rules.config import ChainConfig
from manaflow.rules.headers import check_b2, check_b7
from manaflow.rules.moves import value_of
from manaflow.rules.state import check_v1
from manaflow.rules.system import check_b8_place

UNPROVABLE: Final[Mapping[str, str]] = {
    "B1": "a file that does not decode is no block: only bytes that a signed header commits to convict, and a file "
    "cannot carry those; whoever was given them proves with them (build_bytes)",
    "B7": "a header without its producer's signature is no header: it accuses nobody",
    "withheld": "the body is not the one that the header commits to: what the producer signed is not here to be shown",
    "F2": "the proof would be longer than a proof file may be",
}
"""Why no file shows some refusals to others."""


class Found(Protocol):
    """A move of the chain that contradicts an accused one."""

    @property
    def block(self) -> Block:
        """Where it stands."""
        ...

    @property
    def seat(self) -> Seat:
        """And where in that block."""
        ...


class Chain(Protocol):
    """What a challenger asks of the chain that it follows; every block of it is held whole."""

    @property
    def config(self) -> ChainConfig:
        """The chain's config."""
        ...

    @property
    def ancestors(self) -> tuple[tuple[int, bytes], ...]:
        """(number, hash) of the blocks before genesis that the config commits to, ascending."""
        ...

    @property
    def head(self) -> tuple[Header, bytes]:
        """Header and hash of the last block."""
        ...

    def judge(self, block: Block) -> None:
        """Judge the head's next block, or by execution alone one that the chain holds. Raises Verdict, or Failure."""
        ...

    def header(self, number: int) -> Header | None:
        """The header of a block of the chain."""
        ...

    def hashes_before(self, number: int) -> list[bytes]:
        """Hashes of all blocks of the chain before `number`, genesis first."""
        ...

    def code(self, code_hash: bytes) -> bytes | None:
        """The bytes of a code that some block brought."""
        ...

    def maker(self, block: Block, seat: Seat) -> Found | None:
        """Who made the cell that the move names, None if it is not born before that move's transaction."""
        ...

    def consumer(self, block: Block, seat: Seat) -> Found:
        """Who consumed the cell that the move names, before it. Raises Failure if nobody did."""
        ...

    def writer(self, block: Block, seat: Seat) -> Found:
        """Who first consumed the location that the move claims to be virgin. Raises Failure if nobody did."""
        ...


@dataclass(frozen=True)
class Accusation:
    """A block beside the chain that judges it: the next one after its head, or one that it holds."""

    chain: Chain
    block: Block

    @cached_property
    def is_of_the_chain(self) -> bool:
        """True if the chain holds the block (taken in mode moves, say)."""
        own = self.chain.header(self.block.header.number)
        return own is not None and own.hash == self.block.hash

    @cached_property
    def head(self) -> Header:
        """The head that a verifier trusts: the chain's if it holds the block, else the block itself."""
        return self.chain.head[0] if self.is_of_the_chain else self.block.header

    @cached_property
    def parent(self) -> Header:
        """The block of the chain before it."""
        before = self.chain.header(self.block.header.number - 1) if self.is_of_the_chain else None
        return self.chain.head[0] if before is None else before

    @cached_property
    def history(self) -> list[bytes]:
        """Hashes of all blocks before it, genesis first."""
        return self.chain.hashes_before(self.parent.number + 1)

    def verdict(self) -> Verdict | None:
        """The first rule that the block breaks, None if it breaks none. Of a block of the chain only X is judged.

        Raises Failure for a block that does not follow the head, neither by its parent hash nor by its history.
        """
        try:
            if not self.is_of_the_chain and self._follows_by_history():
                check_b2(self.parent, self.block.header, self.chain.config)
            self.chain.judge(self.block)
        except Verdict as verdict:
            return verdict
        return None

    def _follows_by_history(self) -> bool:
        """It names another parent than the one that its history ends with (B2)."""
        header = self.block.header
        return header.parent_hash != self.parent.hash and header.history_root == trees.root(self.history)

    def proof(self, verdict: Verdict) -> Proof:
        """The proof of a verdict on the block, under the trusted head.

        Raises Unprovable if no file can show it; ValueError or IndexError if the block has no such place.
        """
        built = self._build(verdict)
        if not self.is_of_the_chain:
            return built
        return build.under_head(built, self.head, self.chain.hashes_before(self.head.number))

    def _build(self, verdict: Verdict) -> Proof:
        self._check_signed()
        if verdict.rule in (Rule.S1, Rule.S2, Rule.B8) and (named := _with_envelopes_named(self.block)) is not None:
            return self._build_beside(named, verdict)
        if verdict.rule.name in UNPROVABLE:
            raise unprovable(verdict.rule.name, verdict)
        if verdict.rule not in PARENT_RULES and (contradiction := _contradiction(self, verdict)) is not None:
            return contradiction
        return BUILDERS[verdict.rule](self, verdict)

    def _build_beside(self, named: Block, verdict: Verdict) -> Proof:
        """The proof against the body that the header commits to: the one before us had other envelopes."""
        accusation = Accusation(self.chain, named)
        found = accusation.verdict()
        if found is None:
            raise unprovable("withheld", verdict)
        return accusation._build(found)

    def _check_signed(self) -> None:
        try:
            check_b7(self.block.hash, self.block.signature, self.chain.config)
        except Verdict as verdict:
            raise unprovable("B7", verdict) from verdict


def unprovable(why: str, verdict: Verdict) -> Unprovable:
    """The refusal of a proof, in words."""
    return Unprovable(why, f"no file shows to others that {verdict}: {UNPROVABLE[why]}")


def _with_envelopes_named(block: Block) -> Block | None:
    """The block with the envelopes that its leaves name, in their order, as far as it has them; None if it is so."""
    known = {keccak256(envelope): envelope for envelope in block.envelopes}
    txids = (row.tobytes() for row in block.leaves.txid)
    named = tuple(known[txid] for txid in txids if txid in known)
    return None if named == block.envelopes else replace(block, envelopes=named)


def _contradiction(accusation: Accusation, verdict: Verdict) -> Proof | None:
    """B3: a count that the tree contradicts. Raises Unprovable if the body is not what the header commits to."""
    block, config, header = accusation.block, accusation.chain.config, accusation.block.header
    leaves = [row.tobytes() for row in block.leaves.encoded()]
    codes = [keccak256(code) for code in block.codes]
    paid = [withdrawal.encode() for withdrawal in block.withdrawals]
    roots = (header.transactions_root, header.codes_root, header.withdrawals_root)
    if roots != (trees.root(leaves), trees.root(codes), trees.root(paid)):
        raise unprovable("withheld", verdict)
    if header.transactions != len(leaves):
        return build_counts.prove_leaf_count(block, config)
    if header.codes != len(codes):
        return build_counts.prove_code_count(block, config)
    oversized = build_counts.first_oversized_leaf(block, config)
    if oversized is not None:  # most other proofs of it would have to bring all its moves
        return build_counts.prove_leaf_size(block, config, oversized)
    return _contradiction_of_moves(accusation, verdict)


def _contradiction_of_moves(accusation: Accusation, verdict: Verdict) -> Proof | None:
    block, config = accusation.block, accusation.chain.config
    if verdict.transaction is None and verdict.rule != Rule.B3:
        return None
    last = len(block.leaves) - 1 if verdict.transaction is None else verdict.transaction
    found = build_counts.first_wrong_tree(block, last)
    if found is None:
        return None
    transaction, start, count = found
    if count is None:
        raise unprovable("withheld", verdict)
    return build_counts.prove_move_count(block, config, transaction, start, count)


def _transaction(accusation: Accusation, verdict: Verdict) -> Proof:
    """M, S and X: the transaction shows it."""
    block, chain = accusation.block, accusation.chain
    if verdict.transaction is None:
        raise ValueError(f"no transaction shows this: {verdict}")
    if not _has_what_it_names(accusation, verdict.transaction):
        raise unprovable("withheld", verdict)
    codes = _codes_named(accusation, verdict.transaction)
    return with_codes_asked_for(build.prove_transaction(verdict.rule, block, chain.config, verdict.transaction, codes))


def _has_what_it_names(accusation: Accusation, transaction: int) -> bool:
    """The leaf's envelope is in the body, or it is a system transaction's."""
    block, config = accusation.block, accusation.chain.config
    if not 0 <= transaction < len(block.leaves):
        raise IndexError(transaction)
    txid = block.leaves.txid[transaction].tobytes()
    system = (system_txid(kind, config.chain_id, block.header.number) for kind in SystemKind)
    return txid in system or any(keccak256(envelope) == txid for envelope in block.envelopes)


def _codes_named(accusation: Accusation, transaction: int) -> dict[bytes, bytes]:
    block = accusation.block
    rows = block.leaves.move_offsets()[transaction : transaction + 2]
    moves = block.moves.take(int(rows[0]), int(rows[1]))
    named = {row.tobytes() for row in moves.prev[moves.mark == Mark.CODE]}
    return {code_hash: code for code_hash in named if (code := accusation.chain.code(code_hash)) is not None}


def _system(accusation: Accusation, verdict: Verdict) -> Proof:
    """B8: the first leaf that stands at a place where it does not belong; without leaves, the header shows it."""
    block, config = accusation.block, accusation.chain.config
    transaction = verdict.transaction
    if transaction is None:
        transaction = _misplaced_leaf(accusation)
    if transaction is None:
        if len(block.leaves):
            raise unprovable("withheld", verdict)  # leaves that name envelopes which the body has not
        return build_counts.prove_no_leaves(block, config)
    return build.prove_transaction(Rule.B8, block, config, transaction)


def _misplaced_leaf(accusation: Accusation) -> int | None:
    block, config = accusation.block, accusation.chain.config
    for i, leaf in enumerate(block.leaves.objects()):
        try:
            check_b8_place(config, block.header, i, leaf, block.withdrawals)
        except Verdict:
            return i
    return None


def _totals(accusation: Accusation, verdict: Verdict) -> Proof:
    """B3: the leaf and the one after it."""
    transaction = verdict.transaction
    if transaction is not None and not _has_what_it_names(accusation, transaction):
        raise unprovable("withheld", verdict)
    return build.prove_b3(accusation.block, accusation.chain.config, transaction)


def _codes(accusation: Accusation, verdict: Verdict) -> Proof:
    """B4: a missing code, too many of them, two out of order, or too many bytes."""
    block, config = accusation.block, accusation.chain.config
    if verdict.move is not None:
        return build.prove_missing_code(block, config, _seat(accusation, verdict))
    try:
        check_b4_count(block.header)
    except Verdict:
        return build_counts.prove_code_number(block, config)
    hashes = [keccak256(code) for code in block.codes]
    try:
        check_b4_order(hashes)
    except Verdict:
        position = next(i for i, (code, after) in enumerate(pairwise(hashes)) if code >= after)
        return build.prove_code_order(block, config, position)
    return build_counts.prove_code_size(block, config)


def _hashes(accusation: Accusation, verdict: Verdict) -> Proof:
    """B5: the header that shows the hash asked for, or the ancestors around it."""
    block, chain, seat = accusation.block, accusation.chain, _seat(accusation, verdict)
    row = int(block.leaves.move_offsets()[seat[0]]) + seat[1]
    asked = value_of(block.moves.slot[row].tobytes())
    source = None
    if is_header_source(asked, chain.config) and asked + 1 < block.header.number:
        source = chain.header(asked + 1)
    return build.prove_b5(block, chain.config, seat, source, accusation.history, chain.ancestors)


def _parent(accusation: Accusation, verdict: Verdict) -> Proof:
    """B2 and B6: the header before it."""
    block, config = accusation.block, accusation.chain.config
    return build.prove_parent(verdict.rule, block, config, accusation.parent, accusation.history)


def _source(accusation: Accusation, verdict: Verdict) -> Proof:
    """V1: the move that made the cell, if one did; or its leaf, if only the maker that was signed is another."""
    block, chain, seat = accusation.block, accusation.chain, _seat(accusation, verdict)
    maker = chain.maker(block, seat)
    made = None if maker is None else build.move_at(maker.block, maker.seat)
    prove = build.prove_v1
    try:
        check_v1(build.move_at(block, seat), int(block.leaves.first_cell[seat[0]]), made)
        prove = build.prove_v1_maker
    except Verdict:
        pass
    return prove(block, chain.config, seat, None if maker is None else maker.block, accusation.history)


def _pair(accusation: Accusation, verdict: Verdict) -> Proof:
    """V2, V3 and V4: the move that came before."""
    block, chain, seat = accusation.block, accusation.chain, _seat(accusation, verdict)
    other = (chain.writer if verdict.rule == Rule.V4 else chain.consumer)(block, seat)
    return build.prove_pair(verdict.rule, block, chain.config, seat, other.block, other.seat, accusation.history)


def _seat(accusation: Accusation, verdict: Verdict) -> Seat:
    """Where the verdict falls. Raises ValueError without a place, IndexError for one that the block has not."""
    if verdict.transaction is None or verdict.move is None:
        raise ValueError(f"no move shows this: {verdict}")
    leaves = accusation.block.leaves
    if not 0 <= verdict.transaction < len(leaves):
        raise IndexError(verdict.transaction)
    leaf = leaves[verdict.transaction]
    if not 0 <= verdict.move < leaf.consumes + leaf.references:
        raise IndexError(verdict.move)
    return verdict.transaction, verdict.move


Builder = Callable[[Accusation, Verdict], Proof]

BUILDERS: Final[Mapping[Rule, Builder]] = {
    Rule.M1: _transaction,
    Rule.M2: _transaction,
    Rule.M3: _transaction,
    Rule.M4: _transaction,
    Rule.M5: _transaction,
    Rule.M6: _transaction,
    Rule.S1: _transaction,
    Rule.S2: _transaction,
    Rule.S3: _transaction,
    Rule.S4: _transaction,
    Rule.B2: _parent,
    Rule.B3: _totals,
    Rule.B4: _codes,
    Rule.B5: _hashes,
    Rule.B6: _parent,
    Rule.B8: _system,
    Rule.V1: _source,
    Rule.V2: _pair,
    Rule.V3: _pair,
    Rule.V4: _pair,
    Rule.X0: _transaction,
    Rule.X1: _transaction,
    Rule.X2: _transaction,
    Rule.X3: _transaction,
    Rule.X4: _transaction,
    Rule.X5: _transaction,
}
"""From a broken rule to what proves it. B1 is not found in blocks that decode: build_bytes proves it from the bytes."""
