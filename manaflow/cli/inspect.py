"""`manaflow inspect`: blocks, transactions, moves and cells, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manaflow.cli.files import read_block
from manaflow.cli.options import Json
from manaflow.cli.output import show
from manaflow.errors import Failure
from manaflow.moves.block import Block
from manaflow.moves.marks import Mark
from manaflow.moves.view import block_json, hexed, leaf_json, move_json, transaction_json

if TYPE_CHECKING:
    from manaflow.validator.archive import Archive, Place
    from manaflow.validator.validator import Validator

Source = Annotated[
    str, typer.Argument(help="A block file; with --state also a block's number or hash.", metavar="BLOCK")
]
StateOption = Annotated[Path | None, typer.Option(help="A state directory that holds the block.")]
Transaction = Annotated[str, typer.Argument(help="Its place in the block, from 0, or its id (0x...).")]


def inspect_block(source: Source, state: StateOption = None, as_json: Json = False) -> None:
    """A block: its header, and one line for each transaction. With --json everything that it holds."""
    with _block(source, state) as (block, _):
        leaves = [leaf_json(leaf) for leaf in block.leaves.objects()]
        found = block_json(block) if as_json else {}
    header = block.header
    lines = [
        f"block {header.number}, {hexed(block.hash)}",
        f"parent {hexed(header.parent_hash)}",
        f"timestamp {header.timestamp}, gas {header.gas_used} of {header.gas_limit}",
        f"{header.transactions} transactions, {len(block.moves)} moves, {header.cells} new cells from number "
        f"{header.first_cell}, {header.codes} codes, {len(block.withdrawals)} withdrawals",
    ]
    rows = (
        f"{i:>5}  {leaf['txid']}  {leaf['consumes']:>4} consumed {leaf['references']:>4} referenced  "
        f"gas {leaf['gas_used']:>9}  {'ok' if leaf['status'] else 'failed'}"
        for i, leaf in enumerate(leaves)
    )
    show(as_json, found, [*lines, *rows])


def inspect_transaction(
    source: Source, transaction: Transaction, state: StateOption = None, as_json: Json = False
) -> None:
    """A transaction: its leaf and its moves, cells under both names as far as the block or the state knows them."""
    with _block(source, state) as (block, archive):
        found = transaction_json(block, _place(block, transaction))
        for move in found["moves"]:
            _name_maker(move, archive)
    lines = [
        f"transaction {found['index']} of block {block.header.number}, {found['txid']}",
        f"status {found['status']}, gas {found['gas_used']}, moves root {found['moves_root']}",
    ]
    rows = (line for k, move in enumerate(found["moves"]) for line in _move_lines(k, move))
    show(as_json, found, [*lines, *rows])


def inspect_move(
    source: Source,
    transaction: Transaction,
    move: Annotated[int, typer.Argument(help="Its place in the transaction, from 0.", min=0)],
    state: StateOption = None,
    as_json: Json = False,
) -> None:
    """A move: what it uses, who made that, and what it leaves."""
    with _block(source, state) as (block, archive):
        i = _place(block, transaction)
        moves = transaction_json(block, i)["moves"]
        if move >= len(moves):
            raise typer.BadParameter(f"move {move}: transaction {i} has {len(moves)}")
        found = {"block": block.header.number, "transaction": i, "index": move, **moves[move]}
        _name_maker(found, archive)
    show(as_json, found, _move_lines(move, found))


def inspect_cell(
    number: Annotated[int, typer.Argument(help="The cell's number in the sealed order.", min=1)],
    state: Annotated[Path, typer.Option(help="The state directory.")],
    as_json: Json = False,
) -> None:
    """A cell: where it is, what it holds, who made it, and who consumed it if it lives no more."""
    with _opened(state) as validator, validator.archive() as archive:
        maker = archive.maker(number)
        if maker is None:
            raise Failure(f"no block of the chain made cell {number}")
        is_live = validator.index.is_live(number)
        consumer = None if is_live else archive.consumer(number)
        made = move_json(maker.block.moves[maker.row])
    found = {
        "number": number,
        "intx": hexed(maker.txid),
        **{name: made[name] for name in ("mark", "addr", "slot")},
        "value": made["next"],
        "live": is_live,
        "maker": _place_json(maker),
        "consumer": None if consumer is None else _place_json(consumer),
    }
    lines = [
        f"cell {number}: {found['mark']} {found['addr']} slot {found['slot']}",
        f"value {found['value']}, {'live' if is_live else 'consumed'}",
        f"made by {_place_text(found['maker'])}",
    ]
    show(as_json, found, lines if consumer is None else [*lines, f"consumed by {_place_text(_place_json(consumer))}"])


def _place_json(place: Place) -> dict[str, Any]:
    number = place.block.header.number
    return {"block": number, "transaction": place.transaction, "move": place.move, "txid": hexed(place.txid)}


def _place_text(place: Mapping[str, Any]) -> str:
    return f"{place['txid']} (block {place['block']}, transaction {place['transaction']}, move {place['move']})"


@contextmanager
def _opened(state: Path) -> Iterator[Validator]:
    from manaflow.validator.validator import Validator

    with Validator.open(state) as validator:
        yield validator


@contextmanager
def _block(source: str, state: Path | None) -> Iterator[tuple[Block, Archive | None]]:
    """A block from a file, or by number or hash from a state directory, and that directory's archive."""
    if state is None:
        yield read_block(Path(source)), None
        return
    with _opened(state) as validator, validator.archive() as archive:
        if Path(source).is_file():
            block: Block | None = read_block(Path(source))
        else:
            block = archive.block(_key(source))
        if block is None:
            raise Failure(f"the state directory holds no block {source}")
        yield block, archive


def _key(source: str) -> int | bytes:
    """A block's number or hash as `Archive.block` takes it."""
    try:
        key = bytes.fromhex(source[2:]) if source.startswith("0x") else int(source)
    except ValueError:
        raise typer.BadParameter(f"{source!r} is neither a file nor a block's number or hash") from None
    if isinstance(key, bytes) and len(key) != 32:
        raise typer.BadParameter(f"{source}: a block's hash has 32 bytes")
    return key


def _place(block: Block, transaction: str) -> int:
    """The place of a transaction that is named by it or by its id."""
    if transaction.startswith("0x"):
        ids = [hexed(block.leaves.txid[i].tobytes()) for i in range(len(block.leaves))]
        if transaction.lower() not in ids:
            raise typer.BadParameter(f"block {block.header.number} has no transaction {transaction}")
        return ids.index(transaction.lower())
    if not transaction.isdecimal() or int(transaction) >= len(block.leaves):
        raise typer.BadParameter(f"transaction {transaction}: block {block.header.number} has {len(block.leaves)}")
    return int(transaction)


def _name_maker(move: dict[str, Any], archive: Archive | None) -> None:
    """Fill in who made a move's cell, where the block itself does not know."""
    if move["intx"] is None and archive is not None and (place := archive.maker(int(move["number"]))) is not None:
        move["intx"] = hexed(place.txid)


def _move_lines(k: int, move: Mapping[str, Any]) -> Iterator[str]:
    where = f"{move['mark']} {move['addr']}" + (f" slot {move['slot']}" if move["mark"] == chr(Mark.STORAGE) else "")
    yield f"{k:>5}  {move['kind']:<9}  {where}"
    source = "virgin" if move["number"] == 0 else f"cell {move['number']}"
    by = f" of {move['intx']}" if move["number"] and move["intx"] else ""
    if move["kind"] == "reference":
        yield f"       {source}{by}: {move['prev']}"
    else:
        yield f"       {source}{by} -> cell {move['makes']}: {move['prev']} -> {move['next']}"
