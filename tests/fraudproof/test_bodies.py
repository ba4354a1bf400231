"""B4 and B5: codes that are missing or out of order, and block hashes that are not the chain's."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from manaflow.errors import Rule
from manaflow.fraudproof.build import prove_b5, prove_code_order, prove_missing_code
from manaflow.fraudproof.evidence import CodesEvidence
from manaflow.fraudproof.format import Proof
from manaflow.moves import trees
from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import UNSIGNED, ZERO20, Mark, Mask, Move
from manaflow.rules.bodies import ancestor_leaf
from manaflow.rules.config import ChainConfig
from tests.chain import Chain, chain_config, word
from tests.fraudproof.forge import Parts, convict, forge_header, hashes, moves_of, rejection

CODES = sorted(([bytes([i]) for i in range(1, 6)]), key=keccak256)
ANCESTORS = tuple((n, word(n)) for n in range(50, 298, 2))
GENESIS = 300


@cache
def chain() -> Chain:
    """Genesis 300 and two blocks of nothing but withdrawals: leaf 0 is theirs to change."""
    root = trees.root([ancestor_leaf(*ancestor) for ancestor in ANCESTORS])
    config = replace(chain_config(), genesis_number=GENESIS, ancestors_root=root, ancestors=len(ANCESTORS))
    made = Chain(accounts=2, config=config)
    for _ in range(2):
        made.seal([], withdrawals=[Withdrawal(1, 1, made.addresses[0], 1)])
    return made


def config() -> ChainConfig:
    return chain().config


def with_moves(*moves: Move, codes: list[bytes] | None = None) -> Block:
    parts = Parts.of(chain().head)
    parts.moves[0] = list(moves)
    return parts.seal(chain().head.header, codes or [])


def creates(code: bytes) -> Move:
    return Move(UNSIGNED, Mark.CODE, 0, b"\xaa" * 20, word(0), word(0), keccak256(code))


def asks(number: int, shown: bytes) -> Move:
    return Move(UNSIGNED | Mask.REFERENCE, Mark.BLOCKHASH, 0, ZERO20, word(number), shown, shown)


# ---- B4 ----


@pytest.mark.parametrize("missing", range(5))
@pytest.mark.parametrize("others", [0, 1, 5])
def test_b4_of_a_missing_code(missing: int, others: int) -> None:
    body = [code for i, code in enumerate(CODES[:others]) if i != missing]
    accused = with_moves(creates(b"other"), creates(CODES[missing]), codes=body)
    proof = prove_missing_code(accused, config(), (0, 1))
    verdict = convict(proof, accused, Rule.B4).verdict
    assert (verdict.transaction, verdict.move, verdict.expected) == (0, 1, keccak256(CODES[missing]))


@pytest.mark.parametrize("present", range(5))
def test_b4_holds_for_a_code_of_the_body(present: int) -> None:
    honest = with_moves(creates(CODES[present]), codes=CODES)
    proof = prove_missing_code(honest, config(), (0, 0))
    assert "not missing between these neighbours" in rejection(proof, honest.hash)
    for i in range(4):
        evidence = prove_code_order(honest, config(), i).evidence
        assert isinstance(evidence, CodesEvidence)
        twisted = replace(proof, evidence=replace(evidence, placed=proof.evidence.placed))  # type: ignore[union-attr]
        assert "not missing between these neighbours" in rejection(twisted, honest.hash)
        assert "B4 holds" in rejection(prove_code_order(honest, config(), i), honest.hash)


def test_b4_needs_neighbours() -> None:
    accused = with_moves(creates(CODES[2]), codes=[CODES[0], CODES[1], CODES[3], CODES[4]])
    proof = prove_missing_code(accused, config(), (0, 0))
    evidence = proof.evidence
    assert isinstance(evidence, CodesEvidence)
    far = prove_code_order(accused, config(), 2).evidence
    assert isinstance(far, CodesEvidence)
    for wrong in (
        replace(evidence, after=None),
        replace(evidence, code=None),
        replace(evidence, after=far.after),
        replace(far, code=evidence.code),
    ):
        assert "no neighbours" in rejection(replace(proof, evidence=wrong), accused.hash)
    assert evidence.code is not None
    moved = replace(evidence, code=replace(evidence.code, position=2))
    assert "item 2 is not in its tree" in rejection(replace(proof, evidence=moved), accused.hash)


def test_b4_of_a_zeroed_code_and_other_marks_holds() -> None:
    deleted = replace(creates(b"x"), number=1, prev=word(5), next=word(0))
    stored = replace(creates(b"x"), mark=Mark.STORAGE)
    honest = with_moves(deleted, stored, codes=CODES[:1])
    for at in (0, 1):
        assert "B4 holds" in rejection(prove_missing_code(honest, config(), (0, at)), honest.hash)


def test_b4_of_codes_out_of_order() -> None:
    backwards = [CODES[0], CODES[2], CODES[1]]
    block = with_moves(creates(CODES[0]), codes=CODES[:3])
    root = trees.root([keccak256(code) for code in backwards])
    accused = replace(forge_header(block, codes_root=root), codes=tuple(backwards))
    convict(prove_code_order(accused, config(), 1), accused, Rule.B4)
    assert "B4 holds" in rejection(prove_code_order(accused, config(), 0), accused.hash)


# ---- B5 ----


def b5(accused: Block, asked: int) -> Proof:
    made = chain()
    source = next((b.header for b in [*made.blocks[:-1], accused] if b.header.number == asked + 1), None)
    return prove_b5(accused, config(), (0, 0), source, hashes(made), ANCESTORS)


def true_hash(asked: int) -> bytes:
    known = dict(ANCESTORS) | {b.header.number - 1: b.header.seen_parent_hash for b in chain().blocks}
    return known[asked]


@pytest.mark.parametrize("asked", [50, 296, GENESIS - 1, GENESIS, GENESIS + 1])
def test_b5_of_another_hash(asked: int) -> None:
    accused = with_moves(asks(asked, word(12345)))
    verdict = convict(b5(accused, asked), accused, Rule.B5).verdict
    assert (verdict.transaction, verdict.move) == (0, 0)
    assert (verdict.expected, verdict.actual) == (true_hash(asked), word(12345))
    honest = with_moves(asks(asked, true_hash(asked)))
    assert "B5 holds" in rejection(b5(honest, asked), honest.hash)


@pytest.mark.parametrize("asked", [46, 49, 51, 297, 298])
def test_b5_of_a_block_that_the_chain_does_not_know(asked: int) -> None:
    accused = with_moves(asks(asked, word(asked)))
    verdict = convict(b5(accused, asked), accused, Rule.B5).verdict
    assert "knows no hash" in verdict.what


@pytest.mark.parametrize("asked", [0, 45, GENESIS + 2, 10**6, 2**255])
def test_b5_outside_the_window(asked: int) -> None:
    accused = with_moves(asks(asked, word(1)))
    verdict = convict(b5(accused, asked), accused, Rule.B5).verdict
    assert verdict.actual == asked


def test_b5_needs_the_source_of_that_very_block() -> None:
    known, missing = with_moves(asks(50, word(50))), with_moves(asks(51, word(1)))
    for accused, asked, other in ((known, 50, 52), (missing, 51, 61)):
        proof = b5(accused, asked)
        elsewhere = b5(with_moves(asks(other, word(1))), other)
        twisted = replace(proof, evidence=replace(proof.evidence, ancestors=elsewhere.evidence.ancestors))
        assert "ancestor" in rejection(twisted, accused.hash)
    header_source = with_moves(asks(GENESIS, word(1)))
    proof = b5(header_source, GENESIS)
    twisted = replace(proof, evidence=replace(proof.evidence, old=None))
    assert "is not in header 302" in rejection(twisted, header_source.hash)


def test_b5_takes_no_source_that_it_does_not_use() -> None:
    item = b5(with_moves(asks(50, word(1))), 50).evidence.ancestors
    old = b5(with_moves(asks(GENESIS, word(1))), GENESIS).evidence.old
    for asked, extra in ((GENESIS, {"ancestors": item}), (50, {"old": old}), (10**6, {"old": old})):
        accused = with_moves(asks(asked, word(1)))
        proof = b5(accused, asked)
        twisted = replace(proof, evidence=replace(proof.evidence, **extra))
        assert "source" in rejection(twisted, accused.hash)


def test_b5_judges_e_moves_only() -> None:
    honest = chain().head
    assert moves_of(honest, 0)[0].mark == Mark.BALANCE
    assert "no e move" in rejection(prove_b5(honest, config(), (0, 0), None), honest.hash)


def test_no_byte_can_be_changed() -> None:
    missing = with_moves(creates(CODES[2]), codes=CODES[:2])
    lied, unknown = with_moves(asks(GENESIS, word(1))), with_moves(asks(51, word(1)))
    files = [
        (prove_missing_code(missing, config(), (0, 0)), missing),
        (b5(lied, GENESIS), lied),
        (b5(unknown, 51), unknown),
    ]
    for proof, accused in files:
        data = proof.encode()
        assert Proof.decode(data) == proof
        for at in range(len(data)):
            flipped = bytearray(data)
            flipped[at] ^= 1 << at % 8
            assert rejection(bytes(flipped), accused.hash)
