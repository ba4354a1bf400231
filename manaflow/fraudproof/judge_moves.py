"""V1 to V4 from two moves where they stand."""

from __future__ import annotations

from typing import Final

from manaflow.errors import Rule, Verdict
from manaflow.fraudproof.authenticate import Accused, authenticate_old, authenticate_placed
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.evidence import MovesEvidence
from manaflow.moves.leaf import Leaf
from manaflow.moves.marks import Move
from manaflow.rules.state import Placed, check_v1, check_v2, check_v3, check_v4

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
