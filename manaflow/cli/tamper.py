"""`manaflow tamper`: a dishonest copy of a block, sealed again by its producer, for trying what refuses it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from manaflow.cli.files import read_block, read_key, write_whole
from manaflow.cli.options import Json
from manaflow.cli.output import show
from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.coordinator.seal import Body, seal
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.block import Block
from manaflow.moves.columns import U64, Moves
from manaflow.moves.marks import Mark, Mask
from manaflow.moves.view import leaf_json, move_json
from manaflow.moves.wire import encode_block


class Field(StrEnum):
    """What to falsify: a field of one move or of the transaction's outcome.

    `drop` takes a move out; `spent` makes it name the cell before, which another transaction of the block has consumed.
    """

    NEXT = "next"
    PREV = "prev"
    NUMBER = "number"
    ADDR = "addr"
    SLOT = "slot"
    DROP = "drop"
    SPENT = "spent"
    STATUS = "status"
    GAS = "gas"
    LOGS = "logs"


OUTCOME_FIELDS = (Field.STATUS, Field.GAS, Field.LOGS)


def tamper(
    file: Annotated[Path, typer.Argument(help="A block file (NUMBER.mana).")],
    out: Annotated[Path, typer.Option(help="Where the dishonest copy goes.")],
    transaction: Annotated[int, typer.Option(help="Its place in the block, from 0, as `inspect block` counts.", min=0)],
    field: Annotated[Field, typer.Option(help="What to falsify.")],
    move: Annotated[
        int | None, typer.Option(help="Which move, from 0; without it one whose new cell the block does not use again.")
    ] = None,
    producer_key: Annotated[
        Path | None, typer.Option(help="File with the producer's secret key; without it the development key.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a dishonest copy of a block.

    One bit of a field is flipped (gas: one less; drop: a move is left out; spent: a cell is used a second time), then
    all totals, roots and the signature are made anew, so that nothing but the lie is wrong. For trying out: import
    refuses such a block, and prove turns it into a proof.
    """
    block = read_block(file)
    if transaction >= len(block.leaves):
        raise typer.BadParameter(f"transaction {transaction}: the block has {len(block.leaves)}")
    key = DEVELOPMENT_KEY if producer_key is None else read_key(producer_key)
    body = body_of(block)
    if field in OUTCOME_FIELDS:
        dishonest = seal(block.header, lie_about_outcome(body, transaction, field), key, NATIVE)
        before, after = leaf_json(block.leaves[transaction]), leaf_json(dishonest.leaves[transaction])
    else:
        row = _chosen_row(block, transaction, move, field)
        move = row - int(body.offsets()[transaction])
        changed = _falsified(block, body, transaction, row, field)
        dishonest = seal(block.header, changed, key, NATIVE)
        before = move_json(block.moves[row])
        after = {} if field is Field.DROP else move_json(dishonest.moves[row])
    write_whole(out, encode_block(dishonest, NATIVE))
    changes = {name: [before[name], after.get(name)] for name in before if before[name] != after.get(name)}
    found: dict[str, Any] = {
        "file": str(out),
        "hash": dishonest.hash,
        "honest_hash": block.hash,
        "transaction": transaction,
        "move": move,
        "changes": changes,
    }
    where = f"transaction {transaction}" + ("" if move is None else f", move {move}")
    lines = [f"{out}  block {block.header.number} with a lie in {where}, hash 0x{dishonest.hash.hex()}"]
    show(as_json, found, lines + [f"  {name}: {a} -> {b}" for name, (a, b) in changes.items()])


def body_of(block: Block) -> Body:
    """What the block held before it was sealed."""
    leaves = block.leaves
    fees = [*(int.from_bytes(row.tobytes(), "big") for row in leaves.fees), block.header.fees]
    blob_totals: U64 = np.append(leaves.blob_gas, np.uint64(block.header.blob_gas_used))
    return Body(
        txid=leaves.txid,
        consumes=leaves.consumes,
        references=leaves.references,
        status=leaves.status,
        gas_used=leaves.gas_used,
        blob_gas=np.diff(blob_totals),
        logs_hash=leaves.logs_hash,
        moves=block.moves,
        envelopes=block.envelopes,
        codes=block.codes,
        withdrawals=block.withdrawals,
        fees=[after - before for before, after in itertools.pairwise(fees)],
    )


def _falsified(block: Block, body: Body, transaction: int, row: int, field: Field) -> Body:
    if field is Field.DROP:
        return drop_move(body, transaction, row)
    if field is Field.SPENT:
        return use_again(body, row, _maker_row(block, row))
    return lie_about_move(body, row, field)


def lie_about_outcome(body: Body, transaction: int, field: Field) -> Body:
    """The body with another status, one gas less, or another logs hash at one transaction."""
    name = {Field.STATUS: "status", Field.GAS: "gas_used", Field.LOGS: "logs_hash"}[field]
    column = getattr(body, name).copy()
    if field is Field.GAS:
        column[transaction] -= column[transaction] > 0
    elif field is Field.STATUS:
        column[transaction] ^= 1
    else:
        column[transaction, -1] ^= 1
    return replace(body, **{name: column})


def lie_about_move(body: Body, row: int, field: Field) -> Body:
    """The body with the lowest bit of one field of one move flipped."""
    column = getattr(body.moves, field.value).copy()
    if field is Field.NUMBER:
        column[row] ^= np.uint64(1)
    else:
        column[row, -1] ^= 1
    return replace(body, moves=replace(body.moves, **{field.value: column}))


def drop_move(body: Body, transaction: int, row: int) -> Body:
    """The body without one move. Later moves that name cells made after it go on naming them by their old numbers."""
    side = "references" if body.moves.mask[row] & Mask.REFERENCE else "consumes"
    counts = getattr(body, side).copy()
    counts[transaction] -= 1
    columns = (np.delete(getattr(body.moves, name), row, axis=0) for name in Moves.__slots__)
    return replace(body, moves=Moves(*columns), **{side: counts})


def use_again(body: Body, row: int, earlier: int) -> Body:
    """The body with a move that uses the cell which the move at row `earlier` consumed, at the same location."""
    number, prev = body.moves.number.copy(), body.moves.prev.copy()
    number[row], prev[row] = number[earlier], prev[earlier]
    return replace(body, moves=replace(body.moves, number=number, prev=prev))


def _maker_row(block: Block, row: int) -> int:
    """The row of the move that made the cell which this one uses. Raises a usage error if it is in an earlier block."""
    place = int(block.moves.number[row]) - block.header.first_cell
    if not 0 <= place < block.header.cells:
        raise typer.BadParameter("no transaction of this block made the cell that this move uses: choose another one")
    return int(np.flatnonzero(block.moves.mask & Mask.REFERENCE == 0)[place])


def _chosen_row(block: Block, transaction: int, move: int | None, field: Field) -> int:
    """The move to falsify as a row of the block."""
    offsets = block.leaves.move_offsets()
    start, stop = int(offsets[transaction]), int(offsets[transaction + 1])
    if move is not None:
        if not 0 <= move < stop - start:
            raise typer.BadParameter(f"move {move}: transaction {transaction} has {stop - start}")
        return start + move
    if start == stop:
        raise typer.BadParameter(f"transaction {transaction} has no moves")
    return min(range(start, stop), key=lambda row: (_disturbance(block, transaction, row, field), row))


def _cost_of_reuse(block: Block, row: int) -> int:
    """How bad a place for using a cell again: impossible outside the block, and where it makes ether M6 fires first."""
    moves = block.moves
    if int(moves.number[row]) < block.header.first_cell or moves.mark[row] == Mark.NONCE:
        return 2
    earlier = moves.prev[_maker_row(block, row)].tobytes()
    return int(moves.mark[row] == Mark.BALANCE and earlier < moves.prev[row].tobytes())


def _disturbance(block: Block, transaction: int, row: int, field: Field) -> int:
    """How much else a lie at this row would disturb: 0 is best. Rules other than the one meant would fire first."""
    moves, leaf = block.moves, block.leaves[transaction]
    is_reference = bool(moves.mask[row] & Mask.REFERENCE)
    if field is Field.SPENT:
        return _cost_of_reuse(block, row)
    if field is Field.DROP:
        return 0 if is_reference else 1
    made = leaf.first_cell + row - int(block.leaves.move_offsets()[transaction])
    used_later = not is_reference and bool((moves.number == np.uint64(made)).any())
    return 4 * is_reference + 2 * used_later + int(moves.mark[row] != Mark.STORAGE)
