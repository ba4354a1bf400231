"""A challenger: from a block and a validator's state to the proof that convicts the block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from manaflow.cli.verify import senders_of
from manaflow.errors import Failure, Rule, Verdict
from manaflow.fraudproof import build
from manaflow.fraudproof.format import (
    CODES_RULES,
    HASHES_RULES,
    LEAVES_RULES,
    MOVES_RULES,
    PARENT_RULES,
    TRANSACTION_RULES,
    Proof,
)
from manaflow.moves.block import Block
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.marks import Mark
from manaflow.rules.bodies import is_header_source
from manaflow.validator.archive import Archive, Place
from manaflow.validator.conflicts import consumer_before, maker_before, writer_before
from manaflow.validator.execution import BlockExecution
from manaflow.validator.validator import Validator


@dataclass(frozen=True)
class Challenge:
    """One accused block: the next one after the validator's head, or one of its chain."""

    validator: Validator
    archive: Archive
    block: Block

    @cached_property
    def is_of_the_chain(self) -> bool:
        """True if the validator has taken the block (in mode moves, say)."""
        record = self.archive.canonical(self.block.header.number)
        return record is not None and record.hash == self.block.hash

    def verdict(self) -> Verdict | None:
        """The first rule that the block breaks, None if it breaks none. Of a block of the chain only X is judged."""
        config = self.validator.config
        try:
            if self.is_of_the_chain:
                BlockExecution(config).check(self.block, senders_of(config, self.block), self.validator.code)
            else:
                self.validator.judge_block(self.block)
        except Verdict as verdict:
            return verdict
        return None

    def proof(self, verdict: Verdict) -> Proof:
        """The proof of a verdict on the block, under the trusted head.

        Raises Failure if the rule has no proof or the verdict no place for one; ValueError or IndexError if the block
        has no such place.
        """
        for rules, builder in self._builders.items():
            if verdict.rule in rules:
                return build.under_head(builder(verdict), self.head, self.hashes_before(self.head))
        raise Failure(f"there is no proof of rule {verdict.rule.name} yet")

    @cached_property
    def head(self) -> Header:
        """The head that a verifier trusts: the chain's if it holds the block, else the block."""
        return self.validator.head[0] if self.is_of_the_chain else self.block.header

    def hashes_before(self, header: Header) -> list[bytes]:
        """Hashes of all blocks of the chain before a header, genesis first."""
        numbers = range(self.validator.config.genesis_number, header.number)
        return [record.hash for number in numbers if (record := self.archive.canonical(number)) is not None]

    @property
    def _builders(self) -> dict[frozenset[Rule], Callable[[Verdict], Proof]]:
        return {
            TRANSACTION_RULES: self._transaction,
            MOVES_RULES: self._moves,
            PARENT_RULES: self._parent,
            LEAVES_RULES: lambda verdict: build.prove_b3(self.block, self.validator.config, verdict.transaction),
            CODES_RULES: self._codes,
            HASHES_RULES: self._hashes,
        }

    def _transaction(self, verdict: Verdict) -> Proof:
        if verdict.transaction is None:
            raise Failure(f"no transaction shows this: {verdict}")
        named = self.block.moves.prev[self.block.moves.mark == Mark.CODE]
        hashes = {row.tobytes() for row in named}
        codes = {h: code for h in hashes if (code := self.validator.code(h)) is not None}
        return build.prove_transaction(verdict.rule, self.block, self.validator.config, verdict.transaction, codes)

    def _moves(self, verdict: Verdict) -> Proof:
        here, config = self._place(verdict), self.validator.config
        seat, history = (here.transaction, here.move), self.hashes_before(self.block.header)
        if verdict.rule == Rule.V1:
            maker = maker_before(here, self.archive)
            return build.prove_v1(self.block, config, seat, None if maker is None else maker.block, history)
        other = (writer_before if verdict.rule == Rule.V4 else consumer_before)(here, self.archive)
        early = (other.transaction, other.move)
        return build.prove_pair(verdict.rule, self.block, config, seat, other.block, early, history)

    def _parent(self, verdict: Verdict) -> Proof:
        header = self.block.header
        parent = self.validator.header(header.number - 1)
        if parent is None:
            raise Failure(f"the chain has no block {header.number - 1}")
        return build.prove_parent(verdict.rule, self.block, self.validator.config, parent, self.hashes_before(header))

    def _codes(self, verdict: Verdict) -> Proof:
        if verdict.move is not None:
            here = self._place(verdict)
            return build.prove_missing_code(self.block, self.validator.config, (here.transaction, here.move))
        hashes = [keccak256(code) for code in self.block.codes]
        wrong = [i for i, (code, after) in enumerate(pairwise(hashes)) if code >= after]
        if not wrong:
            raise Failure(f"no file shows this: {verdict}")
        return build.prove_code_order(self.block, self.validator.config, wrong[0])

    def _hashes(self, verdict: Verdict) -> Proof:
        here, config = self._place(verdict), self.validator.config
        asked = int.from_bytes(self.block.moves[here.row].slot, "big")
        source = self._source(asked) if is_header_source(asked, config) else None
        seat, history = (here.transaction, here.move), self.hashes_before(self.block.header)
        return build.prove_b5(self.block, config, seat, source, history, self.validator.ancestors)

    def _source(self, asked: int) -> Header | None:
        """The header that shows the hash of block `asked`: the one after it, if it is before the accused block."""
        return self.validator.header(asked + 1) if asked + 1 < self.block.header.number else None

    def _place(self, verdict: Verdict) -> Place:
        if verdict.transaction is None or verdict.move is None:
            raise Failure(f"no move shows this: {verdict}")
        if not 0 <= verdict.transaction < len(self.block.leaves):
            raise IndexError(verdict.transaction)
        leaf = self.block.leaves[verdict.transaction]
        if not 0 <= verdict.move < leaf.consumes + leaf.references:
            raise IndexError(verdict.move)
        return Place(self.block, verdict.transaction, verdict.move)
