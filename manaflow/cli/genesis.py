"""`manaflow genesis`: the first file of a new chain of profile `manaflow`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from manaflow.cli.files import existing, write_whole
from manaflow.cli.options import Json, address
from manaflow.cli.output import show
from manaflow.coordinator.allocation import load_allocation
from manaflow.coordinator.genesis import CHALLENGE_BLOCKS, manaflow_config, new_chain
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.wire import encode_genesis

MOST: Final = 2**63 - 1
"""Of any number in a chain's config."""


def genesis(
    alloc: Annotated[Path, typer.Argument(help="JSON: balance, nonce, code and storage by address, as in Ethereum's.")],
    chain_id: Annotated[int, typer.Option(help="Of the new chain; no Ethereum network's.", min=1, max=MOST)],
    producer: Annotated[list[str], typer.Option(help="Address that may sign blocks. Several: repeat it.")],
    out: Annotated[Path, typer.Option(help="The genesis file (genesis.mana).")],
    gas_limit: Annotated[int, typer.Option(help="Of a block.", min=5_000, max=MOST)] = 30_000_000,
    base_fee: Annotated[int, typer.Option(help="Of the first block, wei per gas.", min=0, max=MOST)] = 10**9,
    timestamp: Annotated[int | None, typer.Option(help="Seconds; now if left out.", min=0, max=MOST)] = None,
    challenge_blocks: Annotated[
        int, typer.Option(help="A block is final this many later.", min=1, max=MOST)
    ] = CHALLENGE_BLOCKS,
    as_json: Json = False,
) -> None:
    """Begin a chain of profile manaflow: its config and its first state, in one file."""
    if out.exists():
        raise typer.BadParameter(f"{out} exists already")
    accounts = load_allocation(existing(alloc))
    config = manaflow_config(chain_id, [address(text) for text in producer], challenge_blocks=challenge_blocks)
    seconds = int(time.time()) if timestamp is None else timestamp
    made = new_chain(config, accounts, NATIVE, timestamp=seconds, gas_limit=gas_limit, base_fee=base_fee)
    write_whole(out, encode_genesis(made, NATIVE))
    block = made.block
    found = {"file": str(out), "hash": block.hash, "config": config.hash, "cells": block.header.cells}
    line = f"{out}  genesis of chain {chain_id}, {len(accounts)} accounts, {block.header.cells} cells, "
    show(as_json, found, [line + f"hash 0x{block.hash.hex()}"])
