"""V1 to V4 from two moves where they stand, and V1 of a cell whose maker a signer fixed."""

from __future__ import annotations

from typing import Final

from manaflow.errors import Rule, Verdict
from manaflow.fraudproof.authenticate import (
    Accused,
    authenticate_leaf,
    authenticate_moves,
    authenticate_old,
    authenticate_placed,
)
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.evidence import MakerEvidence, MovesEvidence
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import Leaf
from manaflow.moves.marks import Move
from manaflow.rules.declared import check_s2, signed_intx
from manaflow.rules.state import Placed, check_v1, check_v1_intx, check_v2, check_v3, check_v4

_PAIRS: Final = {Rule.V2: check_v2, Rule.V3: check_v3, Rule.V4: check_v4}


def judge_moves(rule: Rule, accused: Accused, evidence: MovesEvidence) -> None:
    """V1 to V4. Raises the rule's Verdict, or ProofRejected for evidence that is not the chain's."""
    leaf, placed = authenticate_placed(accused.header, evidence.placed)
    if evidence.other is None:
        if rule != Rule.V1 or evidence.old is not None:
            raise ProofRejected("the other move is missing")
        _judge_v1(leaf, placed, None)
        return
    header = accused.header if evidence.old is None else authenticate_old(accused, evidence.old)
    source, other = authenticate_placed(header, evidence.other)
    if rule != Rule.V1:
        _PAIRS[rule](placed, other)
        return
    made = source.first_cell + evidence.other.move.position
    if other.move.is_reference or evidence.other.move.position >= source.consumes or made != placed.move.number:
        raise ProofRejected(f"the other move did not make cell {placed.move.number}")
    _judge_v1(leaf, placed, other.move)


def _judge_v1(leaf: Leaf, placed: Placed, maker: Move | None) -> None:
    try:
        check_v1(placed.move, leaf.first_cell, maker)
    except Verdict as verdict:
        raise verdict.at(placed.place[1], placed.place[2]) from None


def judge_maker(accused: Accused, evidence: MakerEvidence) -> None:
    """V1 where a signer fixed the cell's maker. Raises the Verdict (S2 if nothing was signed so), or ProofRejected."""
    leaf = authenticate_leaf(accused.header, evidence.leaf)
    moves = authenticate_moves(leaf, evidence.moves)
    if keccak256(evidence.envelope) != leaf.txid:
        raise ProofRejected("the envelope is not the one that the leaf names")
    transaction, _ = check_s2(evidence.envelope, accused.config, leaf.txid, moves)
    intx = signed_intx(transaction, moves).get(evidence.position)
    if intx is None:
        raise ProofRejected(f"no signature fixes the maker of the cell that move {evidence.position} names")
    move, maker = moves[evidence.position], _maker_of(accused, evidence)
    if move.number != 0 and (maker is None or not 0 <= move.number - maker.first_cell < maker.consumes):
        raise ProofRejected(f"the other leaf did not make cell {move.number}")
    try:
        check_v1_intx(move, intx, None if maker is None else maker.txid)
    except Verdict as verdict:
        raise verdict.at(evidence.leaf.position, evidence.position) from None


def _maker_of(accused: Accused, evidence: MakerEvidence) -> Leaf | None:
    """The other leaf, of the accused block or of an older one in its history."""
    if evidence.maker is None:
        if evidence.old is not None:
            raise ProofRejected("an older header without a leaf of its block")
        return None
    header = accused.header if evidence.old is None else authenticate_old(accused, evidence.old)
    return authenticate_leaf(header, evidence.maker)
