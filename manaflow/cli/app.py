"""The command line as a whole: the commands by group, and every error as one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import typer

from manaflow import __version__
from manaflow.cli.backup import backup, prune, restore
from manaflow.cli.challenge import challenge
from manaflow.cli.conformance import conformance
from manaflow.cli.equivocation import prove_equivocation_of
from manaflow.cli.follow import follow
from manaflow.cli.genesis import genesis
from manaflow.cli.inclusion import prove_inclusion, verify_inclusion
from manaflow.cli.inspect import inspect_block, inspect_cell, inspect_move, inspect_transaction
from manaflow.cli.keys import new_key, show_key
from manaflow.cli.node import node
from manaflow.cli.output import show_error
from manaflow.cli.proofs import apply_proof, prove, verify_proof
from manaflow.cli.replay import replay
from manaflow.cli.roles import coordinator, validator
from manaflow.cli.state import check, head, import_, undo
from manaflow.cli.tamper import tamper
from manaflow.cli.verify import verify
from manaflow.cli.wallet import (
    wallet_balance,
    wallet_call,
    wallet_declare,
    wallet_deploy,
    wallet_explain,
    wallet_new,
    wallet_send,
    wallet_sign,
    wallet_submit,
)

app = typer.Typer(
    name="manaflow",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Replay Ethereum blocks as transactions that say what they change, check them, and prove what is wrong.",
    epilog="Exit codes: 0 fine; 1 refused by a rule, or no valid proof; 2 wrong usage; 3 failed (locked, disk full).",
)


def _version(asked: bool) -> None:
    if asked:
        print(f"manaflow {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


_Commands = tuple[tuple[str, Callable[..., None], str], ...]
_COMMANDS: Final[_Commands] = (
    ("replay", replay, "manaflow replay examples/17000-*.zst --out out/chain"),
    (
        "genesis",
        genesis,
        "manaflow genesis examples/alloc.json --chain-id 7778 --producer 0x... --out out/new/genesis.mana",
    ),
    ("import", import_, "manaflow import out/chain --state out/state --mode execute"),
    ("follow", follow, "manaflow follow http://127.0.0.1:8545 --state out/follower --challenge"),
    ("undo", undo, "manaflow undo --state out/state --count 2"),
    ("head", head, "manaflow head --state out/state"),
    ("check", check, "manaflow check --state out/state"),
    ("backup", backup, "manaflow backup out/state --to out/backup"),
    ("restore", restore, "manaflow restore out/backup --to out/restored"),
    ("prune", prune, "manaflow prune out/restored --keep 1000"),
    ("verify", verify, "manaflow verify out/chain --order random --seed 7"),
    ("tamper", tamper, "manaflow tamper out/chain/2971845.mana --transaction 5 --field next --out out/lie.mana"),
    ("prove", prove, "manaflow prove out/lie.mana --state out/state --out out/lie.proof"),
    ("challenge", challenge, "manaflow challenge out/chain --state out/state --out out/proofs"),
    ("verify-proof", verify_proof, "manaflow verify-proof out/lie.proof --head 0x..."),
    ("apply-proof", apply_proof, "manaflow apply-proof out/lie.proof --state out/state"),
    (
        "prove-equivocation",
        prove_equivocation_of,
        "manaflow prove-equivocation out/chain/2971845.mana out/lie.mana --out out/twice.proof",
    ),
    (
        "prove-inclusion",
        prove_inclusion,
        "manaflow prove-inclusion out/chain --transaction 2971845:5 --move 4 --out out/move.inclusion",
    ),
    ("verify-inclusion", verify_inclusion, "manaflow verify-inclusion out/move.inclusion --head 0x..."),
    ("node", node, "manaflow node --dev"),
    (
        "validator",
        validator,
        "manaflow validator --state out/validator --genesis out/new/genesis.mana",
    ),
    ("coordinator", coordinator, "manaflow coordinator --state out/coordinator --validator http://127.0.0.1:8546"),
    ("conformance", conformance, "manaflow conformance examples/statetests --fork Prague"),
)
"""Every command and its example."""
_INSPECT: Final[_Commands] = (
    ("block", inspect_block, "manaflow inspect block out/chain/2971845.mana"),
    ("transaction", inspect_transaction, "manaflow inspect transaction 2971845 5 --state out/state"),
    ("move", inspect_move, "manaflow inspect move out/chain/2971845.mana 5 4 --json"),
    ("cell", inspect_cell, "manaflow inspect cell 600 --state out/state"),
)
_inspect = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Show a block, a transaction, a move or a cell."
)
_KEYS: Final[_Commands] = (
    ("new", new_key, "manaflow keys new --out out/producer.json"),
    ("show", show_key, "manaflow keys show out/producer.json"),
)
_keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Generate a producer's key, or show whose it is.")
_WALLET: Final[_Commands] = (
    ("new", wallet_new, "manaflow wallet new --out out/wallet.json --mnemonic-out out/words.txt"),
    ("balance", wallet_balance, "manaflow wallet balance 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --prove"),
    ("send", wallet_send, "manaflow wallet send 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 1.5ether --intent exact"),
    ("call", wallet_call, "manaflow wallet call 0x... 'transfer(address,uint256)' 0x... 5 --guard s:0x...:7"),
    ("deploy", wallet_deploy, "manaflow wallet deploy examples/counter.hex --key out/wallet.json"),
    (
        "declare",
        wallet_declare,
        "manaflow wallet declare --sender 0x... --to 0x... --value 1ether --out out/draft.json",
    ),
    ("sign", wallet_sign, "manaflow wallet sign out/draft.json --key out/wallet.json --out out/signed.hex"),
    ("submit", wallet_submit, "manaflow wallet submit out/signed.hex"),
    ("explain", wallet_explain, "manaflow wallet explain out/signed.hex"),
)
_wallet = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Keys, balances, and transactions that say what they change; each is explained before it is signed.",
)
app.add_typer(_wallet, name="wallet")
app.add_typer(_inspect, name="inspect")
app.add_typer(_keys, name="keys")
for _group, _commands in ((app, _COMMANDS), (_inspect, _INSPECT), (_keys, _KEYS), (_wallet, _WALLET)):
    for _name, _command, _example in _commands:
        _group.command(_name, epilog=f"\b\nExample:\n  {_example}")(_command)


def run(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit. Errors never show a traceback, unless MANAFLOW_TRACEBACK=1 asks for it."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=given, prog_name="manaflow", standalone_mode=False)
    except Exception as error:
        if os.environ.get("MANAFLOW_TRACEBACK") == "1":
            raise
        code = show_error("--json" in given, error)
    sys.exit(code or 0)
