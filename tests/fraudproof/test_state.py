"""V1 to V4 and the history: two moves that contradict each other, in one block or across the chain."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from manaflow.errors import Rule
from manaflow.fraudproof.build import Seat, prove_pair, prove_transaction, prove_v1, under_head
from manaflow.fraudproof.evidence import HeaderEvidence, MovesEvidence
from manaflow.fraudproof.format import Proof
from manaflow.fraudproof.verify import verify
from manaflow.moves import trees
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.marks import ZERO32, Mark
from tests.chain import word
from tests.fraudproof.forge import (
    COUNTER_AT,
    EXECUTOR,
    ExecutedChain,
    changed,
    convict,
    executed_chain,
    forge_leaf,
    hashes,
    index_of,
    moves_of,
    rejection,
    resign,
)

GENESIS, FIRST, LAST = 0, 1, 2
COINBASE = bytes.fromhex("c0" * 20)


@cache
def honest() -> ExecutedChain:
    return executed_chain()


def block(i: int = LAST) -> Block:
    return honest().blocks[i]


def history() -> list[bytes]:
    return hashes(honest())


def maker_of(number: int) -> Block:
    return next(b for b in honest().blocks if b.header.first_cell <= number < b.header.first_cell + b.header.cells)


def seat(i: int, transaction: int, mark: int, addr: bytes | None = None, *, reference: bool | None = None) -> Seat:
    return transaction, index_of(moves_of(block(i), transaction), mark, addr, reference=reference)


# What block 2 uses: the code of the counter (genesis), its slot (block 1), the balance of the coinbase (block 2).
CODE = seat(LAST, 2, Mark.CODE, COUNTER_AT)
SLOT = seat(LAST, 2, Mark.STORAGE)
FEES = seat(LAST, 2, Mark.BALANCE, COINBASE)
SOURCES = [(CODE, GENESIS), (SLOT, FIRST), (FEES, LAST)]


def lie(where: Seat, **fields: object) -> Block:
    return changed(block(), *where, **fields)


def number_at(where: Seat, i: int = LAST) -> int:
    return moves_of(block(i), where[0])[where[1]].number


def v1(accused: Block, where: Seat, maker: Block | None) -> Proof:
    source = accused if maker is block() else maker
    return prove_v1(accused, honest().config, where, source, history())


@pytest.mark.parametrize(("where", "made_in"), SOURCES)
def test_v1_another_value(where: Seat, made_in: int) -> None:
    accused = lie(where, prev=word(77))
    assert maker_of(number_at(where)) is block(made_in)
    verdict = convict(v1(accused, where, block(made_in)), accused, Rule.V1).verdict
    assert (verdict.transaction, verdict.move, verdict.actual) == (*where, word(77))
    assert verdict.expected == moves_of(block(), where[0])[where[1]].prev


@pytest.mark.parametrize(("where", "made_in"), SOURCES)
def test_v1_another_location(where: Seat, made_in: int) -> None:
    number = number_at(SOURCES[made_in][0])
    other = SLOT if where != SLOT else CODE
    accused = lie(other, number=number)
    verdict = convict(v1(accused, other, block(made_in)), accused, Rule.V1).verdict
    assert verdict.what == f"location of cell {number}"


def test_v1_not_born_yet() -> None:
    first_cell = block().leaves[SLOT[0]].first_cell
    for number in (first_cell, first_cell + 10**6, 2**64 - 1):
        accused = lie(SLOT, number=number)
        verdict = convict(v1(accused, SLOT, None), accused, Rule.V1).verdict
        assert (verdict.transaction, verdict.move, verdict.actual) == (*SLOT, number)
    accused = lie(SLOT, number=first_cell - 1)
    assert "V1 holds" in rejection(v1(accused, SLOT, None), accused.hash)


@pytest.mark.parametrize(("where", "made_in"), SOURCES)
def test_v1_holds_in_an_honest_block(where: Seat, made_in: int) -> None:
    assert "V1 holds" in rejection(v1(block(), where, block(made_in)), block().hash)
    assert "V1 holds" in rejection(v1(block(), where, None), block().hash)


def test_v1_needs_the_very_maker() -> None:
    accused = lie(SLOT, prev=word(77))
    good = v1(accused, SLOT, block(FIRST))
    evidence = good.evidence
    assert isinstance(evidence, MovesEvidence)
    wrong = v1(lie(SLOT, number=number_at(CODE)), SLOT, block(GENESIS)).evidence
    assert isinstance(wrong, MovesEvidence)
    twisted = replace(good, evidence=replace(evidence, old=wrong.old, other=wrong.other))
    assert "did not make cell" in rejection(twisted, accused.hash)
    for old in (None, wrong.old):
        twisted = replace(good, evidence=replace(evidence, old=old))
        assert "is not in block" in rejection(twisted, accused.hash)


def test_a_move_of_another_place_does_not_convict() -> None:
    proof = v1(block(), SLOT, None)
    evidence = proof.evidence
    assert isinstance(evidence, MovesEvidence)
    move = evidence.placed.move
    for wrong in (replace(move, position=0), replace(move, path=move.path[:-1]), replace(move, position=6)):
        placed = replace(evidence.placed, move=wrong)
        twisted = replace(proof, evidence=replace(evidence, placed=placed))
        assert f"move {wrong.position} is not in its transaction" in rejection(twisted, block().hash)


def test_v1_of_a_virgin_cell_does_not_convict() -> None:
    where = seat(LAST, 2, Mark.CODE, honest().addresses[1])
    assert number_at(where) == 0
    assert "V1 holds" in rejection(v1(block(), where, None), block().hash)


def test_a_reference_makes_no_cell() -> None:
    """A leaf that counts a reference among its consumes breaks M5; it cannot serve as a maker."""
    accused = forge_leaf(block(), 1, consumes=5, references=1)
    number = accused.leaves[1].first_cell + 4
    moves = changed(accused, *SLOT, number=number)
    accused = forge_leaf(moves, 1, consumes=5, references=1)
    proof = prove_v1(accused, honest().config, SLOT, accused, history())
    assert "did not make cell" in rejection(proof, accused.hash)


def test_v2_in_one_block() -> None:
    late, early = seat(LAST, 3, Mark.BALANCE, COINBASE), FEES
    accused = lie(late, number=number_at(early))
    for pair in ((late, early), (early, late)):
        proof = prove_pair(Rule.V2, accused, honest().config, pair[0], accused, pair[1])
        verdict = convict(proof, accused, Rule.V2).verdict
        assert (verdict.transaction, verdict.move) == late
        assert verdict.winner == block().leaves[2].txid
    assert "V2 holds" in rejection(prove_pair(Rule.V2, block(), honest().config, late, block(), early), block().hash)


def test_v2_across_blocks() -> None:
    early = seat(FIRST, 2, Mark.BALANCE, COINBASE)
    accused = lie(FEES, number=number_at(early, FIRST))
    proof = prove_pair(Rule.V2, accused, honest().config, FEES, block(FIRST), early, history())
    verdict = convict(proof, accused, Rule.V2).verdict
    assert (verdict.transaction, verdict.move, verdict.winner) == (*FEES, block(FIRST).leaves[2].txid)
    honest_proof = prove_pair(Rule.V2, block(), honest().config, FEES, block(FIRST), early, history())
    assert "V2 holds" in rejection(honest_proof, block().hash)


def test_the_same_move_twice_is_no_double_use() -> None:
    proof = prove_pair(Rule.V2, block(), honest().config, FEES, block(), FEES)
    assert "V2 holds" in rejection(proof, block().hash)


@pytest.mark.parametrize("i", [FIRST, LAST])
def test_v3(i: int) -> None:
    early = seat(i, 2, Mark.BALANCE, COINBASE)
    late = seat(LAST, 3, Mark.CODE, reference=True)
    accused = lie(late, number=number_at(early, i))
    other = accused if i == LAST else block(FIRST)
    verdict = convict(_pair(Rule.V3, accused, late, other, early), accused, Rule.V3).verdict
    assert (verdict.transaction, verdict.move) == late
    assert "V3 holds" in rejection(_pair(Rule.V3, block(), late, block(i), early), block().hash)


@pytest.mark.parametrize("i", [FIRST, LAST])
def test_v4(i: int) -> None:
    early = seat(i, 2, Mark.BALANCE, COINBASE)
    late = seat(LAST, 3, Mark.BALANCE, COINBASE)
    accused = lie(late, number=0, prev=ZERO32)
    other = accused if i == LAST else block(FIRST)
    verdict = convict(_pair(Rule.V4, accused, late, other, early), accused, Rule.V4).verdict
    assert (verdict.transaction, verdict.move) == late
    assert "V4 holds" in rejection(_pair(Rule.V4, block(), late, block(i), early), block().hash)


def _pair(rule: Rule, accused: Block, late: Seat, other: Block, early: Seat) -> Proof:
    return prove_pair(rule, accused, honest().config, late, other, early, history())


def test_a_pair_needs_its_other_move() -> None:
    proof = prove_pair(Rule.V2, block(), honest().config, FEES, block(), FEES)
    evidence = proof.evidence
    assert isinstance(evidence, MovesEvidence)
    assert "the other move is missing" in rejection(
        replace(proof, evidence=replace(evidence, other=None)), block().hash
    )


def test_an_old_header_must_be_in_the_history() -> None:
    accused = lie(SLOT, prev=word(77))
    good = v1(accused, SLOT, block(FIRST))
    evidence = good.evidence
    assert isinstance(evidence, MovesEvidence)
    assert evidence.old is not None
    stranger = replace(block(FIRST).header, timestamp=block(FIRST).header.timestamp + 1).encode()
    for old in (
        HeaderEvidence(stranger, evidence.old.path),
        HeaderEvidence(evidence.old.header, ()),
        HeaderEvidence(accused.header.encode(), evidence.old.path),
    ):
        assert "does not lead from block" in rejection(replace(good, evidence=replace(evidence, old=old)), accused.hash)


def later_head(accused: Block, distance: int) -> tuple[Header, list[bytes]]:
    """A header `distance` blocks on, and the hashes of all blocks before it."""
    header, before = accused.header, [*history(), accused.hash]
    for _ in range(distance):
        root = trees.root(before)
        header = replace(header, number=header.number + 1, parent_hash=header.hash, history_root=root)
        before.append(header.hash)
    return header, before[:-1]


@pytest.mark.parametrize("distance", [1, 2, 5])
def test_an_ancestor_of_the_trusted_head_is_convicted(distance: int) -> None:
    accused = lie(SLOT, next=word(77))
    head, before = later_head(accused, distance)
    proof = prove_transaction(Rule.X2, accused, honest().config, SLOT[0], honest().codes)
    later = under_head(proof, head, before)
    assert under_head(later, accused.header, history()) == proof
    verified = verify(later.encode(), head.hash, EXECUTOR)
    assert verified.block_hash == accused.hash
    assert "head in the file is not the trusted head" in rejection(later, accused.hash)
    assert "is not the trusted head" in rejection(proof, head.hash)


def test_a_block_outside_the_trusted_chain_is_not_convicted() -> None:
    accused, other = lie(SLOT, next=word(77)), lie(SLOT, next=word(78))
    head, before = later_head(accused, 3)
    proof = under_head(prove_transaction(Rule.X2, accused, honest().config, SLOT[0], honest().codes), head, before)
    swapped = prove_transaction(Rule.X2, other, honest().config, SLOT[0], honest().codes)
    assert "does not lead from block 2" in rejection(replace(swapped, head=proof.head), head.hash)
    with pytest.raises(ValueError, match="not in list"):
        under_head(swapped, head, before)


def test_an_unsigned_twin_of_a_header_is_not_convicted() -> None:
    accused = lie(SLOT, next=word(77))
    unsigned = replace(resign(accused), signature=bytes(65))
    proof = prove_transaction(Rule.X2, unsigned, honest().config, SLOT[0], honest().codes)
    assert "is not its producer's" in rejection(proof, accused.hash)


def test_a_consume_beyond_its_leafs_count_makes_no_cell() -> None:
    """The leaf counts 3 consumes although 4 moves consume (M5): what the fourth would make belongs to the next leaf."""
    number = block().leaves[1].first_cell + 3
    accused = forge_leaf(changed(block(), *SLOT, number=number), 1, consumes=3, references=3)
    proof = prove_v1(accused, honest().config, SLOT, None)
    claimed = prove_pair(Rule.V3, accused, honest().config, SLOT, accused, (1, 3)).evidence
    assert "did not make cell" in rejection(replace(proof, evidence=claimed), accused.hash)
