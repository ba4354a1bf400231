"""Why a move breaks V1 to V4: the plain rule over the move and what the archive holds. Runs only on refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from manaflow.errors import Failure, Pruned, Rule, Verdict
from manaflow.moves.block import Block
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import Mask, Move
from manaflow.moves.transactions import DeclaredTransaction
from manaflow.rules.declared import signed_intx
from manaflow.rules.signed import is_declared
from manaflow.rules.state import Placed, check_v1, check_v1_intx, check_v2, check_v3, check_v4
from manaflow.validator.archive import Archive, Place, first_consume_at, maker_in, place_of


def explain(verdict: Verdict, block: Block, archive: Archive) -> Verdict:
    """The index's verdict on a move of `block`, worded by the plain rule: expected, actual, and who won a lost race.

    `archive` holds the chain that `block` would extend; where that is pruned, the index's bare verdict is returned.
    Raises Failure if the plain rule finds nothing wrong.
    """
    assert verdict.transaction is not None
    assert verdict.move is not None
    here = Place(block, verdict.transaction, verdict.move)
    rules: dict[Rule, Callable[[Place, Archive], object]] = {
        Rule.V1: _explain_v1,
        Rule.V2: lambda place, chain: check_v2(placed(place), placed(consumer_before(place, chain))),
        Rule.V3: lambda place, chain: check_v3(placed(place), placed(consumer_before(place, chain))),
        Rule.V4: lambda place, chain: check_v4(placed(place), placed(writer_before(place, chain))),
    }
    if verdict.rule not in rules:
        return verdict
    try:
        rules[verdict.rule](here, archive)
    except Verdict as worded:
        return worded.at(here.transaction, here.move)
    except Pruned:
        return verdict
    raise Failure(f"internal error: the index and the archive disagree ({verdict})")


def move_at(place: Place) -> Move:
    """The move at a place, as an object."""
    return place.block.moves[place.row]


def placed(place: Place) -> Placed:
    """A place as the plain rules take it."""
    return Placed(move_at(place), (place.block.header.number, place.transaction, place.move), place.txid)


def _explain_v1(here: Place, archive: Archive) -> None:
    made = maker_before(here, archive)
    first_cell = int(here.block.leaves.first_cell[here.transaction])
    check_v1(move_at(here), first_cell, None if made is None else move_at(made))
    intx = signed_makers(here.block, here.transaction).get(here.move)
    if intx is not None:
        check_v1_intx(move_at(here), intx, None if made is None else made.txid)


def signed_makers(block: Block, transaction: int) -> Mapping[int, bytes]:
    """The makers that a transaction's signer has fixed, by position of the move. Raises Verdict if it breaks S2."""
    raw = declared_envelopes(block).get(block.leaves.txid[transaction].tobytes())
    offsets = block.leaves.move_offsets()
    moves = block.moves.take(int(offsets[transaction]), int(offsets[transaction + 1])).objects()
    return {} if raw is None else makers_in(raw, moves)


def declared_envelopes(block: Block) -> dict[bytes, bytes]:
    """A block's declared envelopes by txid."""
    return {keccak256(raw): raw for raw in block.envelopes if is_declared(raw)}


def makers_in(raw: bytes, moves: Sequence[Move]) -> Mapping[int, bytes]:
    """The makers that a declared envelope fixes, by position of its filled moves. Raises Verdict (S2)."""
    transaction = decode_envelope(raw)
    assert isinstance(transaction, DeclaredTransaction)
    return signed_intx(transaction, moves)


def maker_before(here: Place, archive: Archive) -> Place | None:
    """Who made the cell that the move at `here` names; None if it is not born before that transaction."""
    number, block = move_at(here).number, here.block
    if number >= int(block.leaves.first_cell[here.transaction]):
        return None
    return maker_in(block, number) if number >= block.header.first_cell else archive.maker(number)


def consumer_before(here: Place, archive: Archive) -> Place:
    """Who consumed the cell that the move at `here` names, before it."""
    number, moves = move_at(here).number, here.block.moves
    before = slice(0, here.row)
    rows = np.flatnonzero((moves.number[before] == np.uint64(number)) & (moves.mask[before] & Mask.REFERENCE == 0))
    found = place_of(here.block, int(rows[0])) if len(rows) else archive.consumer(number)
    if found is None:
        raise Failure(f"internal error: the index says that cell {number} is consumed, and no stored block consumes it")
    return found


def writer_before(here: Place, archive: Archive) -> Place:
    """Who first consumed the location that the move at `here` claims to be virgin."""
    location = move_at(here).location
    row = first_consume_at(here.block, location)
    found = archive.first_writer(location)
    if found is None and row is not None and row < here.row:
        found = place_of(here.block, row)
    if found is None:
        raise Failure(
            "the index takes a location that no block has written for another one (a collision of hashes): "
            "build the state directory again, which draws a new key"
        )
    return found
