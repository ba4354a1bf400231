"""`manaflow wallet`: keys, balances, declaring, signing, submitting, explaining."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manaflow.cli.files import read_bounded
from manaflow.cli.keys import PasswordFile, password
from manaflow.cli.options import Json, block_hash
from manaflow.cli.output import ExitCode, show
from manaflow.cli.wallet_options import (
    DEFAULT_NODE,
    ChainId,
    Choices,
    Index,
    KeyFile,
    Node,
    Signing,
    Yes,
    account_of,
    address,
    call_data,
    client_of,
    location,
    spread,
    write_result,
)
from manaflow.errors import Failure
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.moves.view import hexed
from manaflow.wallet.words import cell_name, parse_amount, shown_value

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from manaflow.moves.transactions import EthereumTransaction
    from manaflow.wallet.client import Client, Ending
    from manaflow.wallet.declare import Declaration, Wish
    from manaflow.wallet.intents import Policy
    from manaflow.wallet.source import Cell

Value = Annotated[str, typer.Option(help="Ether to send along, such as 1.5ether or 7wei.")]
Out = Annotated[Path, typer.Option(help="Where it goes.")]


def wallet_new(
    out: Annotated[Path, typer.Option(help="Where the keystore goes; never over an existing file.")],
    index: Index = 0,
    words: Annotated[int, typer.Option(help="Of the mnemonic: 12, 15, 18, 21 or 24.")] = 12,
    mnemonic_out: Annotated[Path | None, typer.Option(help="A file for the mnemonic, which restores the key.")] = None,
    show_mnemonic: Annotated[bool, typer.Option("--show-mnemonic", help="Print the mnemonic.")] = False,
    restore: Annotated[bool, typer.Option("--restore", help="From a mnemonic that you are asked for.")] = False,
    password_file: PasswordFile = None,
    as_json: Json = False,
) -> None:
    """Make a key from a new mnemonic (BIP-39) and keep it encrypted (keystore version 3, mode 0600).

    The mnemonic is the only backup: write it down with --show-mnemonic or --mnemonic-out. Neither is the default.
    """
    from manaflow.wallet import keys

    if out.exists():
        raise typer.BadParameter(f"{out} exists already; a key is never overwritten")
    mnemonic = keys.Secret(_asked_mnemonic()) if restore else keys.new_mnemonic(words)
    account = keys.derive(mnemonic, index)
    stored = keys.encrypt(account, keys.Secret(password(password_file, confirm=True)))
    if mnemonic_out is not None:
        keys.write_secret(mnemonic_out, mnemonic.value.encode() + b"\n")
    keys.write_keystore(out, stored)
    fields = {"file": str(out), "address": keys.address_of(account), "path": keys.path_of(index)}
    lines = [f"{out}  the key of {account.address} ({keys.path_of(index)})"]
    if show_mnemonic:
        fields["mnemonic"] = mnemonic.value
        lines.append(mnemonic.value)
    show(as_json, fields, lines)


def _asked_mnemonic() -> str:
    import os

    from manaflow.cli.wallet_options import MNEMONIC_VARIABLE

    return os.environ.get(MNEMONIC_VARIABLE) or str(typer.prompt("Mnemonic", hide_input=True, err=True))


def wallet_balance(
    who: Annotated[str, typer.Argument(metavar="ADDRESS", help="Whose, or a cell: b:ADDRESS ... s:ADDRESS:SLOT.")],
    node: Node = DEFAULT_NODE,
    chain_id: ChainId = None,
    head: Annotated[str | None, typer.Option(help="Hash of the head that you trust; else the node's word.")] = None,
    prove: Annotated[bool, typer.Option("--prove", help="Ask for proof that the cell was made, and check it.")] = False,
    as_json: Json = False,
) -> None:
    """Show the cells of an account, or one cell: its value, who made it, and on request the proof that it was made.

    That a cell is the latest at its place is trusted: no path can show that nobody has written it since.
    """
    client = client_of(node, chain_id)
    wanted = (
        [location(who)] if ":" in who else [(m, address(who), ZERO32) for m in (Mark.BALANCE, Mark.NONCE, Mark.CODE)]
    )
    found = [(where, client.cell(where)) for where in wanted]
    lines, shown = [], []
    for where, cell in found:
        value = shown_value(where, cell.value)
        lines.append(f"{cell_name(where)}: {value}" + (f"  (cell {cell.number})" if cell.number else ""))
        notes = _checked(client, where, cell, head) if prove or head is not None else []
        lines += [f"  {note}" for note in notes]
        shown.append({"cell": cell_name(where), "value": cell.value, "shown": value, "number": cell.number,
                      "intx": cell.intx, "notes": notes})  # fmt: skip
    show(as_json, {"cells": shown}, lines)


def _checked(client: Client, where: Location, cell: Cell, head: str | None) -> list[str]:
    """What is proved of a cell, and what is trusted. Raises InclusionRejected."""
    from manaflow.wallet.verify import check_shown, virgin_line

    if cell.intx == ZERO32:
        return [virgin_line(where)]
    proof = client.inclusion(where, cell)
    if proof is None:
        raise Failure(f"the node has no proof of who made {cell_name(where)}")
    trusted = client.head_hash() if head is None else block_hash(head)
    lines = check_shown(where, cell, proof, trusted, client.config.chain_id).lines()
    return lines if head is not None else [*lines, "trusted: the head itself, by the node's word (name --head)"]


@spread
def wallet_send(
    choices: Choices,
    signing: Signing,
    to: Annotated[str | None, typer.Argument(help="Whom.")] = None,
    value: Annotated[str | None, typer.Argument(metavar="AMOUNT", help="Such as 1.5ether.")] = None,
    speed_up: Annotated[str | None, typer.Option(help="Id of your waiting transaction: the same for more fee.")] = None,
    cancel: Annotated[str | None, typer.Option(help="Id of your waiting transaction: nothing in its place.")] = None,
    as_json: Json = False,
) -> None:
    """Send ether. Or replace a transaction that still waits, by another of the same nonce."""
    from manaflow.wallet.declare import Wish

    account = account_of(signing.key, signing.password_file, signing.index)
    client = client_of(signing.node, signing.chain_id)
    replaced = speed_up or cancel
    if replaced is not None:
        if to is not None or (speed_up and cancel):
            raise typer.BadParameter("--speed-up and --cancel name the transaction, and one of them is enough")
        _replace(account, client, choices, signing, replaced, speed_up is not None, as_json)
        return
    if to is None or value is None:
        raise typer.BadParameter("whom, and how much?")
    wish = choices.wish(Wish(address(to), parse_amount(value)))
    _go(account, client, wish, choices.policy(_address(account)), signing, as_json, [])


@spread
def wallet_call(
    to: Annotated[str, typer.Argument(help="The contract.")],
    choices: Choices,
    signing: Signing,
    signature: Annotated[str | None, typer.Argument(help="Such as 'transfer(address,uint256)'.")] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="One for each type.")] = None,
    data: Annotated[str | None, typer.Option(help="The call's data as hex, instead of a signature.")] = None,
    value: Value = "0",
    as_json: Json = False,
) -> None:
    """Call a contract in a transaction."""
    from manaflow.wallet.declare import Wish

    account = account_of(signing.key, signing.password_file, signing.index)
    client = client_of(signing.node, signing.chain_id)
    wish = choices.wish(Wish(address(to), parse_amount(value), _data(data, signature, arguments or [])))
    _go(account, client, wish, choices.policy(_address(account)), signing, as_json, [])


@spread
def wallet_deploy(
    code: Annotated[Path, typer.Argument(help="A file with init code as hex.")],
    choices: Choices,
    signing: Signing,
    value: Value = "0",
    as_json: Json = False,
) -> None:
    """Deploy a contract."""
    from manaflow.evm.validity import MAX_INITCODE
    from manaflow.wallet.declare import Wish

    initcode = _hex(read_bounded(code, 2 * MAX_INITCODE + 16).decode("ascii", "replace"))
    account = account_of(signing.key, signing.password_file, signing.index)
    client = client_of(signing.node, signing.chain_id)
    wish = choices.wish(Wish(b"", parse_amount(value), initcode))
    _go(account, client, wish, choices.policy(_address(account)), signing, as_json, [])


@spread
def wallet_declare(
    sender: Annotated[str, typer.Option(help="Who will sign it.")],
    out: Out,
    choices: Choices,
    to: Annotated[str | None, typer.Option(help="Whom; left out, it deploys the data.")] = None,
    value: Value = "0",
    data: Annotated[str | None, typer.Option(help="As hex.")] = None,
    node: Node = DEFAULT_NODE,
    chain_id: ChainId = None,
    as_json: Json = False,
) -> None:
    """Declare a transaction without a key, into a file for `wallet sign`, here or on a machine without a network."""
    from manaflow.wallet.declare import Wish
    from manaflow.wallet.drafts import Draft
    from manaflow.wallet.explain import explain

    signer = address(sender)
    target = b"" if to is None else address(to)
    wish = choices.wish(Wish(target, parse_amount(value), b"" if data is None else _hex(data)))
    declared = client_of(node, chain_id).declare(signer, wish, choices.policy(signer))
    write_result(out, Draft(declared.transaction, signer).encode())
    explanation = explain(declared.transaction, signer)
    fields = {"file": str(out), "explanation": explanation.as_json(), "warning": declared.warning}
    warning = [declared.warning] if declared.warning else []
    show(as_json, fields, [*explanation.lines(), *warning, str(out)])


def wallet_sign(
    file: Annotated[Path, typer.Argument(help="What `wallet declare` wrote.")],
    out: Out,
    key: KeyFile = None,
    password_file: PasswordFile = None,
    index: Index = 0,
    signature: Annotated[
        str | None, typer.Option(help="r, s and v as hex, from a wallet that signed the file's typedData.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Explain a declared transaction and sign it. Needs no node."""
    from manaflow.wallet import keys
    from manaflow.wallet.drafts import MAX_FILE_BYTES, read_draft
    from manaflow.wallet.explain import explain

    draft = read_draft(read_bounded(file, MAX_FILE_BYTES))
    explanation = explain(draft.transaction, draft.sender)
    if signature is not None:
        envelope = draft.with_signature(_hex(signature))
    else:
        account = account_of(key, password_file, index)
        if keys.address_of(account) != draft.sender:
            raise Failure(f"{file} is to be signed by {hexed(draft.sender)}, the key is of {account.address}")
        _confirm(explanation.lines(), yes, as_json)
        envelope = keys.sign(draft.transaction, account)
    write_result(out, hexed(envelope).encode() + b"\n")
    txid = keccak256(envelope)
    show(as_json, {"file": str(out), "txid": txid, "explanation": explanation.as_json()}, [f"{out}  {hexed(txid)}"])


def wallet_submit(
    file: Annotated[Path, typer.Argument(help="What `wallet sign` wrote: an envelope as hex.")],
    node: Node = DEFAULT_NODE,
    chain_id: ChainId = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for a block; 0: do not.", min=0, max=86_400)] = 60.0,
    as_json: Json = False,
) -> None:
    """Send a signed envelope to a node, and wait for what becomes of it."""
    from manaflow.wallet.drafts import MAX_FILE_BYTES, read_envelope

    envelope = read_envelope(read_bounded(file, MAX_FILE_BYTES))
    client = client_of(node, chain_id)
    ending = _submitted(client, envelope, wait)
    _end(ending, {}, as_json)


def wallet_explain(
    what: Annotated[str, typer.Argument(metavar="FILE|ID", help="A draft, a signed envelope, or a transaction's id.")],
    node: Node = DEFAULT_NODE,
    as_json: Json = False,
) -> None:
    """Say what a transaction fixes, what it leaves open, and the worst that a filler can make of it."""
    from manaflow.wallet.drafts import MAX_FILE_BYTES, read_any
    from manaflow.wallet.explain import explain

    path = Path(what)
    if path.exists() or not what.startswith("0x"):
        transaction, sender = read_any(read_bounded(path, MAX_FILE_BYTES))
    else:
        transaction, sender = _known(node, what)
    explanation = explain(transaction, sender)
    show(as_json, {"explanation": explanation.as_json()}, explanation.lines())


def _known(node: str, txid: str) -> tuple[EthereumTransaction, bytes]:
    """A transaction that a node knows, and its sender."""
    from manaflow.moves.envelopes import decode_envelope, recover_sender
    from manaflow.wallet.rpc import Rpc
    from manaflow.wallet.rpc_source import waiting

    transaction = decode_envelope(waiting(Rpc(node), block_hash(txid)))
    return transaction, recover_sender(transaction)


def _replace(
    account: LocalAccount, client: Client, choices: Choices, signing: Signing, txid: str, same: bool, as_json: bool
) -> None:
    from manaflow.wallet.replace import CANCELLING, cancel, policy_of, speed_up, what_the_old_may_do
    from manaflow.wallet.rpc_source import RpcSource

    old, sender = _known(signing.node, txid)
    if sender != _address(account):
        raise Failure(f"{txid} is a transaction of {hexed(sender)}, not of {account.address}")
    base_fee = RpcSource(client.rpc, client.config).environment.base_fee
    wish = choices.wish(speed_up(old, base_fee, sender) if same else cancel(old, base_fee))
    policy = policy_of(old, sender) if same else CANCELLING
    _go(account, client, wish, policy, signing, as_json, what_the_old_may_do(old, sender))


def _go(
    account: LocalAccount, client: Client, wish: Wish, policy: Policy, signing: Signing, as_json: bool,
    before: Sequence[str],
) -> None:  # fmt: skip
    """Declare, explain, sign, submit and wait; after a lost race again, as often as was asked for."""
    from manaflow.wallet.client import LostRace, again
    from manaflow.wallet.explain import explain

    for left in range(signing.again, -1, -1):
        declared = client.declare(_address(account), wish, policy)
        explanation = explain(declared.transaction, declared.sender)
        warning = [declared.warning] if declared.warning else []
        _confirm([*before, *explanation.lines(), *warning], signing.yes, as_json)
        ending = _sent(account, client, declared, signing.wait)
        if not isinstance(ending, LostRace) or not left:
            break
        for line in ending.lines():  # first, since what follows may fail
            typer.echo(line, err=True)
        wish = again(wish, ending, declared, policy)
    fields = {"explanation": explanation.as_json(), "warning": declared.warning, "replaced": list(before)}
    _end(ending, fields, as_json)


def _sent(account: LocalAccount, client: Client, declared: Declaration, wait: float) -> Ending:
    from manaflow.wallet.keys import sign

    return _submitted(client, sign(declared.transaction, account), wait)


def _submitted(client: Client, envelope: bytes, wait: float) -> Ending:
    """Send, and say so before waiting: who loses the connection, or patience, must know what is on its way."""
    txid = client.submit(envelope)
    typer.echo(f"sent {hexed(txid)}", err=True)
    return client.wait(txid, wait)


def _end(ending: Ending, fields: dict[str, Any], as_json: bool) -> None:
    """Show what became of it. A lost race, or a call that failed, is exit code 1."""
    from dataclasses import asdict

    from manaflow.wallet.client import Landed, LostRace

    show(as_json, {"ending": type(ending).__name__, **asdict(ending), **fields}, ending.lines())
    if isinstance(ending, LostRace) or (isinstance(ending, Landed) and ending.status != 1):
        raise typer.Exit(ExitCode.VERDICT)


def _confirm(lines: Sequence[str], yes: bool, as_json: bool) -> None:
    """Say what is to be signed, and ask."""
    if not as_json:
        for line in lines:
            typer.echo(line)
    if yes:
        return
    if as_json:
        raise typer.BadParameter("--json cannot ask: name --yes")
    typer.confirm("Sign this?", abort=True, err=True)


def _address(account: LocalAccount) -> bytes:
    from manaflow.wallet.keys import address_of

    return address_of(account)


def _data(data: str | None, signature: str | None, arguments: Sequence[str]) -> bytes:
    if data is not None:
        if signature is not None:
            raise typer.BadParameter("either a signature or --data")
        return _hex(data)
    return b"" if signature is None else call_data(signature, arguments)


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text.strip().removeprefix("0x"))
    except ValueError:
        raise typer.BadParameter("hex digits are needed") from None
