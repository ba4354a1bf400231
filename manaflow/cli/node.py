"""`manaflow node`: validator, producer and coordinator in one process, behind Ethereum's JSON-RPC."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from manaflow.cli.genesis import MOST
from manaflow.cli.keys import PasswordFile
from manaflow.cli.options import Json
from manaflow.cli.serving import Genesis, Greeting, Host, Port, ProducerKey, named_genesis, producer_secret, serve
from manaflow.coordinator.replay import address_of

if TYPE_CHECKING:
    from manaflow.node.development import DevelopmentAccount

MNEMONIC: Final = "test test test test test test test test test test test junk"
COINBASE: Final = bytes.fromhex("c0ffee254729296a45a3885639ac7e10f9d54979")
MEMORY: Final = "/dev/shm"
ROOM: Final = 1 << 30
"""Bytes that a chain of an afternoon stays far below."""
MOST_ACCOUNTS: Final = 1_000

Dev = Annotated[bool, typer.Option("--dev", help="A chain for development: rich accounts with known keys.")]
Directory = Annotated[Path | None, typer.Option(help="The node's directory; with --dev a temporary one if left out.")]
ChainId = Annotated[int, typer.Option(help="Of a new --dev chain.", min=1, max=MOST)]
Accounts = Annotated[int, typer.Option(help="How many rich accounts.", min=0, max=MOST_ACCOUNTS)]
Balance = Annotated[int, typer.Option(help="Ether of each.", min=0, max=10**9)]
Mnemonic = Annotated[str, typer.Option(help="Of the rich accounts (BIP-39).")]
BlockTime = Annotated[
    float | None, typer.Option(help="Seconds between blocks; if left out, transactions are sealed at once.", min=0)
]
NoMining = Annotated[bool, typer.Option("--no-mining", help="Seal on demand only: mana_seal, evm_mine.")]
GasLimit = Annotated[int, typer.Option(help="Of the blocks of a new --dev chain.", min=5_000, max=MOST)]
BaseFee = Annotated[int, typer.Option(help="Of a new --dev chain's first block, wei.", min=0, max=MOST)]


def node(
    dev: Dev = False,
    state: Directory = None,
    genesis: Genesis = None,
    producer_key: ProducerKey = None,
    password_file: PasswordFile = None,
    host: Host = "127.0.0.1",
    port: Port = 8545,
    chain_id: ChainId = 31337,
    accounts: Accounts = 10,
    balance: Balance = 10_000,
    mnemonic: Mnemonic = MNEMONIC,
    block_time: BlockTime = None,
    no_mining: NoMining = False,
    gas_limit: GasLimit = 30_000_000,
    base_fee: BaseFee = 10**9,
    as_json: Json = False,
) -> None:
    """Run a whole node: it takes transactions, fills and seals them, and answers wallets.

    With --dev it starts a chain of its own with rich accounts, whose keys it shows. Ctrl-C ends it.
    """
    if no_mining and block_time is not None:
        raise typer.BadParameter("--no-mining and --block-time exclude each other")
    if not dev and state is None:
        raise typer.BadParameter("without --dev, name --state")
    from manaflow.moves.wire import GenesisFile
    from manaflow.node.development import ETHER, development_accounts, development_genesis
    from manaflow.node.opening import Plan, Producing
    from manaflow.node.service import Options

    rich = development_accounts(mnemonic, accounts) if dev else []
    key = producer_secret(producer_key, password_file)

    def first() -> GenesisFile:
        if genesis is not None or not dev:
            return named_genesis(genesis, state)
        return development_genesis(
            rich, chain_id=chain_id, balance=balance * ETHER, gas_limit=gas_limit, base_fee=base_fee,
            timestamp=int(time.time()),
        )  # fmt: skip

    seconds = None if no_mining else block_time or 0.0
    with _directory(state) as path:
        plan = Plan(path, first, Producing(key, COINBASE if dev else address_of(key), seconds=seconds))
        options = Options(host, port, keys=tuple(account.key for account in rich), may_seal=dev or no_mining)
        serve(plan, options, _greeting(as_json, rich, balance, mnemonic, state))


@contextmanager
def _directory(state: Path | None) -> Iterator[Path]:
    if state is not None:
        yield state
        return
    with tempfile.TemporaryDirectory(prefix="manaflow-", dir=_memory()) as name:
        yield Path(name)


def _memory() -> str | None:
    """Where a temporary directory is in memory, so that no commit waits for a disk; None if there is little room."""
    try:
        is_roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM
    except OSError:
        is_roomy = False
    return MEMORY if is_roomy else None


def _greeting(
    as_json: bool, rich: Sequence[DevelopmentAccount], balance: int, mnemonic: str, state: Path | None
) -> Greeting:
    """What users of anvil look for."""
    fields = {
        "accounts": [{"address": account.checksum_address, "key": account.key} for account in rich],
        "state": None if state is None else str(state),
    }
    if not rich:
        return Greeting(as_json, fields)
    lines = ["Available Accounts", "==================", ""]
    lines += [f"({i}) {account.checksum_address} ({balance} ETH)" for i, account in enumerate(rich)]
    lines += ["", "Private Keys", "==================", ""]
    lines += [f"({i}) 0x{account.key.hex()}" for i, account in enumerate(rich)]
    lines += ["", f"Mnemonic: {mnemonic}", "These keys are published: use them for nothing of value."]
    lines += [f"State: {state}" if state is not None else "State: none is kept"]
    return Greeting(as_json, fields, [*lines, ""])
