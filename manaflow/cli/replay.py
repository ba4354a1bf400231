"""`manaflow replay`: Ethereum blocks become sealed Manaflow blocks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from manaflow.cli.files import GENESIS_NAME, existing, read_key, write_whole
from manaflow.cli.options import Json
from manaflow.cli.output import naming, progress, show
from manaflow.coordinator.ethereum import EthereumBlock, load_block
from manaflow.coordinator.replay import DEVELOPMENT_KEY, chains_of
from manaflow.coordinator.replay import replay as start_replay
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.block import Block
from manaflow.moves.marks import Mask
from manaflow.moves.wire import encode_block, encode_genesis


def replay(
    blocks: Annotated[list[Path], typer.Argument(help="Ethereum block files (neutral-block/1, plain JSON or zstd).")],
    out: Annotated[
        Path, typer.Option(help="Folder for genesis.mana and NUMBER.mana; several chains get one folder each.")
    ],
    producer_key: Annotated[
        Path | None,
        typer.Option(
            help="File with the producer's secret key. Without it a published development key signs: anyone has it."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fill the moves of Ethereum blocks and seal them.

    Gas, receipts root and logs bloom are compared with the Ethereum header. Consecutive blocks form one chain.
    """
    key = DEVELOPMENT_KEY if producer_key is None else read_key(producer_key)
    chains = chains_of([load_block(existing(path)) for path in blocks])
    folders = [out if len(chains) == 1 else out / f"{c[0].chain_id}-{c[0].number}" for c in chains]
    for folder in folders:
        if (folder / GENESIS_NAME).exists():
            raise typer.BadParameter(f"{folder} already holds a chain")
    started = time.perf_counter()
    with progress("replaying", len(blocks)) as advance:
        found = [_replay_chain(chain, folder, key, advance) for chain, folder in zip(chains, folders, strict=True)]
    seconds = time.perf_counter() - started
    lines = [line for chain in found for line in _lines(chain)]
    show(as_json, {"chains": found, "seconds": seconds}, lines)


def _replay_chain(chain: Sequence[EthereumBlock], folder: Path, key: bytes, advance: Any) -> dict[str, Any]:
    run = start_replay(chain, key)
    rows = []
    filled = run.blocks()
    for ethereum in chain:
        with naming(f"block {ethereum.chain_id}-{ethereum.number}"):
            started = time.perf_counter()
            block = next(filled).block
            seconds = time.perf_counter() - started
        path = folder / f"{block.header.number}.mana"
        data = encode_block(block, NATIVE)
        write_whole(path, data)
        rows.append({"file": str(path), "ethereum_hash": ethereum.hash, **sizes(block, len(data)), "seconds": seconds})
        advance()
    genesis, path = encode_genesis(run.genesis, NATIVE), folder / GENESIS_NAME
    write_whole(path, genesis)
    head = {
        "file": str(path),
        "number": run.config.genesis_number,
        "hash": run.genesis.block.hash,
        "bytes": len(genesis),
    }
    cells = run.genesis.block.header.cells
    return {"folder": str(folder), "config": run.config.hash, "genesis": {**head, "cells": cells}, "blocks": rows}


def sizes(block: Block, file_bytes: int) -> dict[str, Any]:
    """What a block holds, for people and machines."""
    transactions, moves = len(block.leaves), len(block.moves)
    return {
        "number": block.header.number,
        "hash": block.hash,
        "transactions": len(block.envelopes),
        "system_transactions": transactions - len(block.envelopes),
        "moves": moves,
        "references": int((block.moves.mask & Mask.REFERENCE != 0).sum()),
        "cells": block.header.cells,
        "gas_used": block.header.gas_used,
        "bytes": file_bytes,
        "code_bytes": sum(map(len, block.codes)),
    }


def _lines(chain: dict[str, Any]) -> list[str]:
    genesis = chain["genesis"]
    lines = [f"{genesis['file']}  genesis {genesis['number']}, {genesis['cells']} cells, {genesis['bytes']} bytes"]
    for b in chain["blocks"]:
        lines.append(
            f"{b['file']}  block {b['number']}: {b['transactions']} transactions, {b['moves']} moves, "
            f"{b['cells']} new cells, {b['bytes']} bytes, hash 0x{b['hash'].hex()}"
        )
    return lines
