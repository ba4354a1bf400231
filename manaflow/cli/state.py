"""`manaflow import`, `undo`, `head` and `check`: one state directory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manaflow.cli.files import GENESIS_NAME, MAX_FILE_BYTES, block_paths, genesis_path, read_bounded, read_genesis
from manaflow.cli.options import Json, JudgeMode, Judging, State, Threads
from manaflow.cli.output import naming, progress, show
from manaflow.errors import Failure
from manaflow.moves.wire import decode_header

if TYPE_CHECKING:
    from manaflow.validator.validator import Validator


def import_(
    files: Annotated[list[Path], typer.Argument(help="Block files, and folders of them; genesis.mana begins a chain.")],
    state: State,
    mode: Judging = JudgeMode.MOVES,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Judge sealed blocks and make them the chain of a state directory.

    Blocks are taken in the order of their numbers; those already in the chain are passed over. A refused block changes
    nothing, and those before it stay.
    """
    paths = block_paths(files)
    started = time.perf_counter()
    with _opened(state, files, mode, threads) as validator, progress("importing", len(paths)) as advance:
        rows, skipped = [], 0
        for path in paths:
            row = _import_file(validator, path)
            if row is None:
                skipped += 1
            else:
                rows.append(row)
            advance()
        head, head_hash = validator.head
    seconds = time.perf_counter() - started
    totals = {name: sum(row[name] for row in rows) for name in ("transactions", "moves", "cells")}
    importing = sum(row["seconds"] for row in rows)
    found = {
        "state": str(state),
        "mode": mode.value,
        "blocks": rows,
        "skipped": skipped,
        "head": {"number": head.number, "hash": head_hash},
        "totals": totals,
        "importing_seconds": importing,
        "seconds": seconds,
    }
    lines = [
        f"block {r['number']}: {r['transactions']} transactions, {r['moves']} moves, {r['cells']} new cells "
        f"in {1000 * r['seconds']:.0f} ms"
        for r in rows
    ]
    if skipped:
        lines.append(f"{skipped} blocks were in the chain already")
    show(as_json, found, [*lines, f"head: block {head.number}, 0x{head_hash.hex()}"])


def _opened(state: Path, files: Sequence[Path], mode: JudgeMode, threads: int) -> Validator:
    """The state directory, made from genesis if it is new."""
    from manaflow.validator.beginning import has_chain
    from manaflow.validator.validator import Validator

    named = next((path for path in files if path.name == GENESIS_NAME), None)
    if has_chain(state):
        validator = Validator.open(state, mode=mode.value, threads=threads)
        try:
            if named is not None:
                _check_same_chain(validator, named)
        except BaseException:
            validator.close()
            raise
        return validator
    path = genesis_path(files, None)
    if path is None:
        raise typer.BadParameter(f"{state} is new: name the chain's {GENESIS_NAME} among the files")
    genesis = read_genesis(path)
    with naming(path):
        return Validator.create(state, genesis, mode=mode.value, threads=threads)


def _check_same_chain(validator: Validator, path: Path) -> None:
    own, other = validator.header(validator.config.genesis_number), read_genesis(path).block.header
    if own is None or own.hash != other.hash:
        raise Failure(f"{path} is the genesis of another chain than the state directory's")


def _import_file(validator: Validator, path: Path) -> dict[str, Any] | None:
    """Import one file; None if its block is in the chain already."""
    with naming(path):
        data = read_bounded(path, MAX_FILE_BYTES)
        header, _ = decode_header(data)
        known = validator.header(header.number)
        if known is not None and known.hash == header.hash:
            return None
        started = time.perf_counter()
        report = validator.import_block(data)
    return {
        "file": str(path),
        "number": report.number,
        "hash": report.hash,
        "transactions": report.transactions,
        "moves": report.moves,
        "cells": report.cells,
        "bytes": len(data),
        "seconds": time.perf_counter() - started,
    }


def undo(
    state: State,
    count: Annotated[int, typer.Option(help="How many blocks to take back.", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Take the last blocks back, one after another.

    They stay stored by their hashes and may be imported again. Genesis cannot be taken back.
    """
    from manaflow.validator.validator import Validator

    with Validator.open(state) as validator, progress("undoing", count) as advance:
        undone = []
        for _ in range(count):
            undone.append(validator.undo_block())
            advance()
        head, head_hash = validator.head
    found = {"state": str(state), "undone": undone, "head": {"number": head.number, "hash": head_hash}}
    show(
        as_json, found, [f"undone: {number}" for number in undone] + [f"head: block {head.number}, 0x{head_hash.hex()}"]
    )


def head(state: State, as_json: Json = False) -> None:
    """The last block of a state directory, and how much state there is."""
    from manaflow.validator.validator import Validator

    with Validator.open(state) as validator:
        header, head_hash = validator.head
        tip, config = validator.index.tip, validator.config
    found = {
        "number": header.number,
        "hash": head_hash,
        "chain_id": config.chain_id,
        "profile": config.profile.name.lower(),
        "genesis_number": config.genesis_number,
        "config": config.hash,
        "timestamp": header.timestamp,
        "live_cells": tip.live,
        "cells_ever_made": tip.next_number - 1,
    }
    lines = [
        f"block {header.number}, 0x{head_hash.hex()}",
        f"chain {config.chain_id} from block {config.genesis_number}, profile {found['profile']}",
        f"{tip.live} live cells of {tip.next_number - 1} ever made",
    ]
    show(as_json, found, lines)


def check(state: State, as_json: Json = False) -> None:
    """Read a whole state directory and compare its parts: index, headers, blocks and codes."""
    from manaflow.validator.validator import Validator

    with Validator.open(state) as validator:
        report = validator.check()
    found = {"blocks": report.blocks, "live_cells": report.live, "cells_ever_made": report.cells, "codes": report.codes}
    show(as_json, found, [f"no fault in {report.blocks} blocks, {report.live} live cells, {report.codes} codes"])
