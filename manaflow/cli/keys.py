"""`manaflow keys`: a producer's key, generated here and kept encrypted (Web3 Secret Storage, version 3)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from coincurve import PrivateKey

from manaflow.cli.files import read_bounded, read_key
from manaflow.cli.options import Json
from manaflow.cli.output import naming, show
from manaflow.errors import Failure
from manaflow.moves.view import hexed

if TYPE_CHECKING:
    from manaflow.rules.config import ChainConfig

MAX_KEYSTORE_BYTES: Final = 16 * 1024
MAX_PASSWORD_BYTES: Final = 4096
PASSWORD_VARIABLE: Final = "MANAFLOW_PASSWORD"

PasswordFile = Annotated[
    Path | None,
    typer.Option(help=f"A file whose first line is the password; else {PASSWORD_VARIABLE}, else you are asked."),
]


def new_key(
    out: Annotated[Path, typer.Option(help="Where the encrypted key goes; never over an existing file.")],
    password_file: PasswordFile = None,
    as_json: Json = False,
) -> None:
    """Generate a producer's key, encrypt it with a password, and show the address that a genesis names."""
    from eth_account import Account

    from manaflow.wallet.keys import write_keystore

    if out.exists():
        raise typer.BadParameter(f"{out} exists already; a key is never overwritten")
    secret = PrivateKey().secret
    kept = Account.encrypt(secret, password(password_file, confirm=True))
    write_keystore(out, kept)
    address = _address_of(secret)
    found = {"file": str(out), "address": address}
    show(as_json, found, [f"{out}  the key of {hexed(address)}", f"manaflow genesis ... --producer {hexed(address)}"])


def show_key(
    file: Annotated[Path, typer.Argument(help="An encrypted key.")],
    password_file: PasswordFile = None,
    as_json: Json = False,
) -> None:
    """Decrypt a key file and show whose it is; the key itself is never shown."""
    address = _address_of(decrypt(file, read_bounded(file, MAX_KEYSTORE_BYTES), password(password_file)))
    show(as_json, {"file": str(file), "address": address}, [f"{file}  the key of {hexed(address)}"])


def producer_key(path: Path, config: ChainConfig, password_file: Path | None = None) -> bytes:
    """A producer's secret, 32 bytes, for a chain: from a keystore, or a bare key as files.read_key takes it.

    Raises Failure if its address is not among the config's producers (B7), or the password is wrong.
    """
    data = read_bounded(path, MAX_KEYSTORE_BYTES)
    secret = decrypt(path, data, password(password_file)) if is_keystore(data) else read_key(path)
    address = _address_of(secret)
    if address not in config.producers:
        named = ", ".join(hexed(producer) for producer in config.producers)
        raise Failure(f"{path} is the key of {hexed(address)}, which is no producer of this chain (B7): {named}")
    return secret


def is_keystore(data: bytes) -> bool:
    """True for what looks like a JSON object; a bare key has at most 67 bytes, and any of them may be a brace."""
    return len(data) > 67 and data.lstrip()[:1] == b"{"


def decrypt(path: Path, data: bytes, secret_word: str) -> bytes:
    """The key of a keystore, 32 bytes. Raises Failure: as wallet.keys.decrypt, which bounds what it may cost."""
    from manaflow.wallet import keys, strict_json

    try:
        kept = strict_json.parse(data)
    except ValueError:
        raise Failure(f"{path} is no keystore: it is no JSON in UTF-8, or nests too deeply") from None
    with naming(path):
        return bytes(keys.decrypt(kept, keys.Secret(secret_word)).key)


def password(file: Path | None, *, confirm: bool = False) -> str:
    """From the file, else from the environment, else from whoever sits at the terminal."""
    if file is not None:
        lines = read_bounded(file, MAX_PASSWORD_BYTES).decode(errors="surrogateescape").splitlines()
        given = lines[0] if lines else ""
    elif PASSWORD_VARIABLE in os.environ:
        given = os.environ[PASSWORD_VARIABLE]
    else:
        given = str(typer.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))
    if not given:
        raise typer.BadParameter("an empty password protects nothing")
    if any("\ud800" <= letter <= "\udfff" for letter in given):  # as Python reads bytes that are no UTF-8
        raise typer.BadParameter("a password is text in UTF-8, as every program that opens the key will take it")
    return given


def _address_of(secret: bytes) -> bytes:
    from manaflow.coordinator.replay import address_of

    return address_of(secret)
