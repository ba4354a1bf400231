"""V1 to V4 over small evidence: a move, the move that made its cell, pairs of placed moves (docs/SPEC.md, section 6).

The validator's kernels are the data-parallel twins of these functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from manaflow.errors import Rule, Verdict
from manaflow.moves.marks import ZERO32, Mark, Move
from manaflow.rules.moves import named

Place = tuple[int, int, int]
"""(block number, transaction in the block, move in the transaction): places compare as the chain orders them."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A move where it stands in the chain."""

    move: Move
    place: Place
    txid: bytes
    """Its transaction's, 32 bytes."""


def check_v1(move: Move, first_cell: int, maker: Move | None) -> None:
    """V1: the named cell exists, is of the move's location, and its value is prev.

    first_cell: that of the move's transaction. maker: the consume that made cell `move.number`, or None if the caller
    has none to show (then only its birth is checked). Number 0 is left to M4 and V4.
    """
    if move.number == 0:
        return
    if move.number >= first_cell:
        raise Verdict(Rule.V1, "the cell is not born yet", expected=f"below {first_cell}", actual=move.number)
    if maker is None:
        return
    if maker.location != move.location:
        what = f"location of cell {move.number}"
        raise Verdict(Rule.V1, what, expected=named(maker.location), actual=named(move.location))
    if maker.next != move.prev:
        raise Verdict(Rule.V1, f"value of cell {move.number}", expected=maker.next, actual=move.prev)


def check_v1_intx(move: Move, intx: bytes, maker_txid: bytes | None) -> None:
    """V1: where a declared transaction signs a cell's maker, the cell is that maker's.

    intx: what is signed, 32 bytes, zero for a virgin cell (`rules.declared.signed_intx` gives it move by move).
    maker_txid: the transaction's that made cell `move.number`, 32 bytes, or None if the caller has none to show (then
    only number 0 is judged); not looked at for number 0.
    """
    maker = ZERO32 if move.number == 0 else maker_txid
    if maker is not None and intx != maker:
        what = "maker of a virgin cell" if move.number == 0 else f"maker of cell {move.number}"
        raise Verdict(Rule.V1, what, expected=maker, actual=intx)


def _ordered(a: Placed, b: Placed) -> tuple[Placed, Placed]:
    return (a, b) if a.place < b.place else (b, a)


def _refusal(rule: Rule, what: str, late: Placed, winner: Placed) -> Verdict:
    first = f"first by block {winner.place[0]}, transaction {winner.place[1]}, move {winner.place[2]}"
    return Verdict(rule, what, transaction=late.place[1], move=late.place[2], actual=first, winner=winner.txid)


def check_v2(a: Placed, b: Placed) -> None:
    """V2: no cell is consumed twice. The verdict falls on the later of two consumes of one number; the earlier won."""
    consumes = not a.move.is_reference and not b.move.is_reference
    if consumes and a.place != b.place and a.move.number == b.move.number != 0:
        winner, late = _ordered(a, b)
        raise _refusal(Rule.V2, f"cell {late.move.number} is consumed twice", late, winner)


def check_v3(reference: Placed, consume: Placed) -> None:
    """V3: a reference stands before the consume of its cell."""
    pair = reference.move.is_reference and not consume.move.is_reference
    same = reference.move.number == consume.move.number != 0
    if pair and same and consume.place < reference.place:
        raise _refusal(Rule.V3, f"cell {reference.move.number} was consumed before", reference, consume)


def check_v4(claim: Placed, consume: Placed) -> None:
    """V4: a move with number 0 stands before every consume of its location (`e` moves are B5's)."""
    virgin = claim.move.number == 0 and claim.move.mark != Mark.BLOCKHASH
    same = claim.move.location == consume.move.location and not consume.move.is_reference
    if virgin and same and consume.place < claim.place:
        raise _refusal(Rule.V4, f"{named(claim.move.location)} is not virgin", claim, consume)
