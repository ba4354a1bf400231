"""`manaflow prove-inclusion` and `verify-inclusion`: that a transaction or a move stands in a head's chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from manaflow.cli.chain import load_chain
from manaflow.cli.files import read_bounded, write_whole
from manaflow.cli.options import Json, block_hash
from manaflow.cli.output import show
from manaflow.light.build import prove_inclusion as build_inclusion
from manaflow.light.inclusion import MAX_INCLUSION_BYTES, Inclusion, ShownMove
from manaflow.light.inclusion import verify_inclusion as verify_bytes
from manaflow.moves.block import Block
from manaflow.moves.view import hexed


@dataclass(frozen=True)
class Chain:
    """Where blocks come from: genesis and what follows, by place."""

    config: bytes
    genesis_number: int
    hashes: Sequence[bytes]
    """Genesis first."""
    block: Callable[[int], Block]
    """The block at a place in `hashes`."""


def prove_inclusion(
    transaction: Annotated[
        str, typer.Option(help="BLOCK:PLACE, the block's number and the place in it from 0; or its id (0x...).")
    ],
    out: Annotated[Path, typer.Option(help="Where the proof goes.")],
    files: Annotated[list[Path] | None, typer.Argument(help="Block files and folders of them, unless --state.")] = None,
    state: Annotated[Path | None, typer.Option(help="A state directory that holds the chain.")] = None,
    genesis: Annotated[Path | None, typer.Option(help="The chain's genesis.mana, unless beside the blocks.")] = None,
    move: Annotated[int | None, typer.Option(help="A move's place in the transaction, from 0.", min=0)] = None,
    head: Annotated[
        str | None, typer.Option(help="Hash of the head to prove under; the last block's if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show that a transaction, or one move of it, stands in a head's chain.

    Whoever trusts the head's hash needs nothing but the file. That the cells it made still live is not shown.
    """
    with _opened(files or [], state, genesis) as chain:
        top = len(chain.hashes) - 1 if head is None else _place_of_head(chain, block_hash(head))
        at, place = _find(chain, transaction, top)
        block = chain.block(at)
        try:
            data = build_inclusion(block, place, move, chain.config, chain.block(top).header, chain.hashes[:top])
        except IndexError as error:
            what = f"transaction {place}" if move is None else f"transaction {place} with a move {move}"
            raise typer.BadParameter(f"block {block.header.number} has no {what}") from error
        trusted = chain.hashes[top]
    shown = verify_bytes(data, trusted)
    write_whole(out, data)
    found = {"file": str(out), "bytes": len(data), "head": trusted, **asdict(shown)}
    line = f"{out}  {len(data)} bytes: transaction {place} of block {shown.block_number}"
    line += "" if move is None else f", move {move}"
    show(as_json, found, [line, f"manaflow verify-inclusion {out} --head {hexed(trusted)}"])


def verify_inclusion(
    file: Annotated[Path, typer.Argument(help="An inclusion proof.")],
    head: Annotated[str, typer.Option(help="Hash of the chain's head that you trust: the block or a later one.")],
    as_json: Json = False,
) -> None:
    """Verify an inclusion proof from the file and a trusted head's hash alone: no chain, no state.

    Exit code 0: the transaction, or its move, stands in that head's chain. 1: the file does not show it.
    """
    shown = verify_bytes(read_bounded(file, MAX_INCLUSION_BYTES), block_hash(head))
    show(as_json, asdict(shown), _lines(shown))


@contextmanager
def _opened(files: Sequence[Path], state: Path | None, genesis: Path | None) -> Iterator[Chain]:
    if bool(files) == (state is not None):
        raise typer.BadParameter("name either block files or --state")
    if state is None:
        chain = load_chain(files, genesis)
        blocks = [chain.genesis.block, *chain.blocks]
        number = chain.config.genesis_number
        yield Chain(chain.genesis.config, number, [block.hash for block in blocks], blocks.__getitem__)
        return
    from manaflow.validator.validator import Validator

    with Validator.open(state) as validator, validator.archive() as archive:
        number = validator.config.genesis_number
        numbers = range(number, validator.head[0].number + 1)
        hashes = [record.hash for n in numbers if (record := archive.canonical(n)) is not None]

        def block(place: int) -> Block:
            found = archive.block(hashes[place])
            assert found is not None, "a canonical block is stored"
            return found

        yield Chain(validator.config.encode(), number, hashes, block)


def _place_of_head(chain: Chain, head: bytes) -> int:
    if head not in chain.hashes:
        raise typer.BadParameter(f"the chain has no block {hexed(head)}")
    return chain.hashes.index(head)


def _find(chain: Chain, transaction: str, top: int) -> tuple[int, int]:
    """(block's place in the chain, transaction's place in it), not after the head at `top`.

    By an id the blocks are read from the head back: there is no index by id.
    """
    number, colon, place = transaction.partition(":")
    if colon and number.isdecimal() and place.isdecimal():
        at = int(number) - chain.genesis_number
        if not 0 <= at <= top:
            raise typer.BadParameter(f"block {number} is not in the chain of block {chain.genesis_number + top}")
        return at, int(place)
    if not transaction.startswith("0x"):
        raise typer.BadParameter(f"{transaction!r} is neither BLOCK:PLACE nor a transaction's id (0x...)")
    for at in range(top, -1, -1):
        ids = [hexed(row.tobytes()) for row in chain.block(at).leaves.txid]
        if transaction.lower() in ids:
            return at, ids.index(transaction.lower())
    raise typer.BadParameter(f"no block up to {chain.genesis_number + top} has the transaction {transaction}")


def _lines(shown: Inclusion) -> Iterator[str]:
    yield f"transaction {hexed(shown.txid)}"
    yield f"stands in block {shown.block_number} of chain {shown.chain_id} at place {shown.transaction}"
    yield f"status {shown.status}, gas {shown.gas_used}, {shown.consumes} moves consume, {shown.references} refer"
    yield f"block hash {hexed(shown.block_hash)}"
    if shown.move is not None:
        yield from _move_lines(shown.move)


def _move_lines(move: ShownMove) -> Iterator[str]:
    where = f"{move.mark!a} {hexed(move.addr)}" + (f" slot {hexed(move.slot)}" if move.mark == "s" else "")
    source = f"cell {move.number}" if move.number else "virgin"
    if move.makes is None:
        yield f"move {move.position} refers to {source}: {where} is {hexed(move.prev)}"
        return
    yield f"move {move.position} consumes {source} and makes cell {move.makes}: {where}"
    yield f"{hexed(move.prev)} -> {hexed(move.next)}"
    yield "not shown: that the cell it made still lives"
