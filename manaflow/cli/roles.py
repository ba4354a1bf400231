"""`manaflow validator` and `manaflow coordinator`: a node's roles as processes of their own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manaflow.cli.keys import PasswordFile
from manaflow.cli.options import Json, Threads, address
from manaflow.cli.serving import Genesis, Greeting, Host, Port, ProducerKey, named_genesis, producer_secret, serve
from manaflow.errors import Failure

if TYPE_CHECKING:
    from manaflow.moves.wire import GenesisFile

Directory = Annotated[Path, typer.Option(help="The node's directory.")]


def validator(
    state: Directory,
    genesis: Genesis = None,
    producer_key: ProducerKey = None,
    password_file: PasswordFile = None,
    host: Host = "127.0.0.1",
    port: Port = 8546,
    block_time: Annotated[float, typer.Option(help="Seconds between blocks; 0: as soon as there is one.", min=0)] = 1.0,
    no_mining: Annotated[bool, typer.Option("--no-mining", help="Seal on demand only: mana_seal.")] = False,
    coinbase: Annotated[str | None, typer.Option(help="Address that fees go to; the producer's if left out.")] = None,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Run a validator that admits coordinators' batches to its open block, and seals it.

    It answers Ethereum's reading methods and mana_*; transactions go to a coordinator. Ctrl-C ends it.
    """
    key = producer_secret(producer_key, password_file)
    from manaflow.coordinator.replay import address_of
    from manaflow.node.opening import Plan, Producing
    from manaflow.node.service import Options

    paid = address_of(key) if coinbase is None else address(coinbase)
    producing = Producing(key, paid, seconds=None if no_mining else block_time)
    plan = Plan(state, lambda: named_genesis(genesis, state), producing, takes_transactions=False, threads=threads)
    serve(
        plan,
        Options(host, port, may_seal=no_mining),
        Greeting(as_json, {"state": str(state)}, [f"Validator of {state}"]),
    )


def coordinator(
    state: Directory,
    validator: Annotated[str, typer.Option(help="URL of the validator that has the open block.")],
    genesis: Genesis = None,
    host: Host = "127.0.0.1",
    port: Port = 8545,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Run a coordinator: it takes transactions, fills them, and brings them to a validator's open block.

    It judges every sealed block itself, and answers everything that wallets ask. A new directory begins with the
    genesis that the validator names, unless --genesis does. Ctrl-C ends it.
    """
    if not validator.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{validator!r} is no URL (http:// or https://)")
    from manaflow.node.opening import Plan
    from manaflow.node.service import Options

    def first() -> GenesisFile:
        return asyncio.run(_asked_genesis(validator)) if genesis is None else named_genesis(genesis, state)

    greeting = Greeting(as_json, {"state": str(state), "validator": validator}, [f"Coordinator for {validator}"])
    serve(Plan(state, first, threads=threads), Options(host, port), greeting, validator)


async def _asked_genesis(url: str) -> GenesisFile:
    """The genesis that a node names. Whoever does not trust the node compares its hash."""
    from manaflow.evm.native_hashing import NATIVE
    from manaflow.moves.wire import decode_genesis
    from manaflow.node.client import RpcClient
    from manaflow.node.encoding import Data

    async with RpcClient(url) as client:
        named = await client.call("mana_config")
    try:
        return decode_genesis(bytes(Data.parse(named["genesis"])), NATIVE)
    except (KeyError, TypeError, ValueError) as error:
        raise Failure(f"{url} names no genesis: {error}") from error
