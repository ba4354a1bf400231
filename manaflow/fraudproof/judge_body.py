"""B4 and B5 from one move and what the body or the chain holds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from manaflow.errors import Verdict
from manaflow.fraudproof.authenticate import Accused, authenticate_item, authenticate_old, authenticate_placed
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.evidence import CodesEvidence, HashesEvidence, ItemEvidence
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import Mark
from manaflow.rules.bodies import (
    HASH_WINDOW,
    check_b4,
    check_b4_count,
    check_b4_order,
    check_b4_size,
    check_b5_move,
    is_header_source,
)
from manaflow.rules.moves import value_of


def judge_codes(accused: Accused, evidence: CodesEvidence) -> None:
    """B4. Raises its Verdict, or ProofRejected for evidence that is not the block's."""
    if evidence.codes:
        _judge_size(accused, evidence)
        return
    header = accused.header
    if evidence == CodesEvidence(None, None, None):
        check_b4_count(header)
        return
    shown = [item for item in (evidence.code, evidence.after) if item is not None]
    hashes = [authenticate_item(item, header.codes, header.codes_root) for item in shown]
    if evidence.placed is None:
        if len(shown) != 2 or shown[1].position != shown[0].position + 1:
            raise ProofRejected("the codes are no neighbours")
        check_b4_order(hashes)
        return
    _, placed = authenticate_placed(header, evidence.placed)
    _check_gap(evidence.code, evidence.after, placed.move.next, header.codes, "code")
    try:
        check_b4([placed.move], frozenset(hashes))
    except Verdict as verdict:
        verdict.transaction, verdict.move = placed.place[1:]
        raise


def _judge_size(accused: Accused, evidence: CodesEvidence) -> None:
    """Codes that are too long together, each of them once."""
    header, codes = accused.header, evidence.codes
    if (evidence.placed, evidence.code, evidence.after) != (None, None, None):
        raise ProofRejected("codes that are too long need nothing else")
    if any(a.position >= b.position for a, b in pairwise(codes)):
        raise ProofRejected("the codes are out of order")
    for code in codes:
        item = ItemEvidence(code.position, keccak256(code.code), code.path)
        authenticate_item(item, header.codes, header.codes_root)
    check_b4_size(header, sum(len(code.code) for code in codes))


def _check_gap(low: ItemEvidence | None, high: ItemEvidence | None, wanted: bytes, count: int, what: str) -> None:
    """Raises ProofRejected unless `wanted` would stand between two neighbours; either may be an end of the tree."""
    start = -1 if low is None else low.position
    stop = count if high is None else high.position
    if stop != start + 1:
        raise ProofRejected(f"the {what}s are no neighbours")
    above = low is None or low.item[: len(wanted)] < wanted
    below = high is None or wanted < high.item[: len(wanted)]
    if not (above and below):
        raise ProofRejected(f"the {what} is not missing between these neighbours")


def judge_hashes(accused: Accused, evidence: HashesEvidence) -> None:
    """B5. Raises its Verdict, or ProofRejected for evidence that is not the chain's."""
    _, placed = authenticate_placed(accused.header, evidence.placed)
    if placed.move.mark != Mark.BLOCKHASH:
        raise ProofRejected("the move is no e move")
    asked = value_of(placed.move.slot)
    known = None
    if accused.header.number - HASH_WINDOW <= asked < accused.header.number:
        known = _known_hash(accused, evidence, asked)
    elif evidence.old or evidence.ancestors:
        raise ProofRejected("a block outside the window needs no source")
    try:
        check_b5_move(placed.move, accused.header.number, known)
    except Verdict as verdict:
        raise verdict.at(*placed.place[1:]) from None


def _known_hash(accused: Accused, evidence: HashesEvidence, asked: int) -> bytes | None:
    """What the chain holds for block `asked`, or None if it is shown to hold nothing."""
    from_header = is_header_source(asked, accused.config)
    if evidence.ancestors if from_header else evidence.old:
        raise ProofRejected(f"a source that cannot hold the hash of block {asked}")
    if not from_header:
        return _known_ancestor(accused, evidence.ancestors, asked)
    header = accused.header if evidence.old is None else authenticate_old(accused, evidence.old)
    if header.number != asked + 1:
        raise ProofRejected(f"the hash of block {asked} is not in header {header.number}")
    return header.seen_parent_hash


def _known_ancestor(accused: Accused, shown: Sequence[ItemEvidence], asked: int) -> bytes | None:
    config, wanted = accused.config, asked.to_bytes(8, "big")
    items = [authenticate_item(item, config.ancestors, config.ancestors_root) for item in shown]
    if len(items) == 1 and items[0][:8] == wanted:
        return items[0][8:]
    low = next((item for item in shown if item.item[:8] < wanted), None)
    high = next((item for item in shown if item.item[:8] > wanted), None)
    _check_gap(low, high, wanted, config.ancestors, "ancestor")
    return None
