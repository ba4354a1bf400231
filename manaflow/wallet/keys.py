"""Keys: mnemonics (BIP-39), paths (BIP-32, BIP-44) and keystore files (Web3 Secret Storage, version 3).

A secret is a `Secret` until something signs with it: it prints as dots, wherever it ends up.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import eth_account
from eth_account.hdaccount import ETHEREUM_DEFAULT_PATH
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32

from manaflow.errors import Failure
from manaflow.moves.bounded import read_at_most
from manaflow.moves.declared import encode_declared, signing_hash
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.transactions import DeclaredTransaction
from manaflow.wallet.strict_json import parse

WORDS: Final = (12, 15, 18, 21, 24)
"""Lengths of a mnemonic (BIP-39)."""
MAX_KEYSTORE_BYTES: Final = 1 << 16
MAX_INDEX: Final = 2**31 - 1
"""Of an unhardened child (BIP-32)."""
MAX_SCRYPT_MEMORY: Final = 1 << 28
"""Bytes that a keystore file may make its reader use: 128 x n x r."""
MAX_SCRYPT_WORK: Final = 1 << 23
"""n x r x p: four times what a keystore usually asks for, some seconds."""
MAX_SCRYPT_BLOCKS: Final = 64
"""r: what a library hashes before and after the memory is filled grows with it."""
MAX_PBKDF2_ROUNDS: Final = 10_000_000
KEYSTORE_VERSION: Final = 3
_COSTS: Final = {"scrypt": ("n", "r", "p"), "pbkdf2": ("c",)}
_DAMAGED: Final = "the file is no keystore, or a damaged keystore"
_Account: Final = eth_account.Account()
_Account.enable_unaudited_hdwallet_features()


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A mnemonic, a password or a private key that no message shows by accident."""

    value: str

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__


NO_PASSPHRASE: Final = Secret("")


def new_mnemonic(words: int = 12) -> Secret:
    """A mnemonic from the system's randomness. Raises Failure for a length that BIP-39 does not have."""
    if words not in WORDS:
        raise Failure(f"a mnemonic of {words} words: {', '.join(map(str, WORDS))} are possible")
    _, mnemonic = _Account.create_with_mnemonic(num_words=words)
    return Secret(mnemonic)


def path_of(index: int) -> str:
    """The path of an account by BIP-44: m/44'/60'/0'/0/index."""
    if not 0 <= index <= MAX_INDEX:
        raise Failure(f"account {index}: 0 to {MAX_INDEX} are possible")
    return ETHEREUM_DEFAULT_PATH.removesuffix("0") + str(index)


def derive(mnemonic: Secret, index: int = 0, passphrase: Secret = NO_PASSPHRASE) -> LocalAccount:
    """An account of a mnemonic. Raises Failure if it is none, without a word of it."""
    try:
        found = _Account.from_mnemonic(
            " ".join(mnemonic.value.split()), passphrase=passphrase.value, account_path=path_of(index)
        )
    except Exception:  # whatever the library says may quote the words
        raise Failure("these words are no mnemonic: one is misspelled, missing or out of order") from None
    return _local(found)


def from_private_key(key: Secret) -> LocalAccount:
    """An account from 64 hex digits. Raises Failure, without a digit of it."""
    try:
        return _local(_Account.from_key(key.value.strip()))
    except Exception:
        raise Failure("this is no private key: 64 hex digits, with or without 0x") from None


def _local(account: Any) -> LocalAccount:
    assert isinstance(account, LocalAccount)
    return account


def address_of(account: LocalAccount) -> bytes:
    """20 bytes."""
    return bytes.fromhex(account.address[2:])


def encrypt(account: LocalAccount, password: Secret, *, iterations: int | None = None) -> dict[str, Any]:
    """A keystore of version 3 (scrypt). iterations: the n of scrypt, for tests; the library's default is strong."""
    if not password.value:
        raise Failure("a keystore without a password keeps nothing secret")
    stored: dict[str, Any] = _Account.encrypt(account.key, password.value, kdf="scrypt", iterations=iterations)
    return stored


def decrypt(stored: object, password: Secret) -> LocalAccount:
    """The account of a keystore. Raises Failure: wrong password, damaged, or dearer to open than a wallet will pay."""
    checked = _checked(stored)
    try:
        account = _local(_Account.from_key(_Account.decrypt(checked, password.value)))
    except ValueError:
        raise Failure("the keystore does not open: the password is wrong, or the file is damaged") from None
    _check_address(checked["address"], account)
    return account


def _checked(stored: object) -> dict[str, Any]:
    """What decrypting reads of a keystore, and nothing else, judged before it is used.

    Nothing else, because the library takes "N" for "n": it would use what nobody has judged.
    """
    if not isinstance(stored, dict):
        raise Failure(_DAMAGED)
    version = stored.get("version")
    if isinstance(version, int) and version != KEYSTORE_VERSION:
        raise Failure(
            f"this is a keystore of version {str(version)[:20]}; this program reads version {KEYSTORE_VERSION}"
        )
    try:
        crypto = stored["crypto"] if "crypto" in stored else stored["Crypto"]
        if (version, crypto["cipher"]) != (KEYSTORE_VERSION, "aes-128-ctr"):
            raise ValueError("no version, or another cipher")
        texts = {name: _digits(crypto[name]) for name in ("ciphertext", "mac")}
        iv, kind = _digits(crypto["cipherparams"]["iv"]), crypto["kdf"]
        parameters = _parameters(kind, crypto["kdfparams"])
    except (KeyError, TypeError, ValueError):
        raise Failure(_DAMAGED) from None
    inner = {"cipher": "aes-128-ctr", "cipherparams": {"iv": iv}, "kdf": kind, "kdfparams": parameters, **texts}
    return {"version": KEYSTORE_VERSION, "crypto": inner, "address": stored.get("address")}


def _parameters(kind: Any, given: Any) -> dict[str, Any]:
    """Of the key derivation: a hostile file may not take the machine's memory or an hour."""
    costs = {name: _count(given[name]) for name in _COSTS[kind]}
    length = _count(given["dklen"])
    if kind == "scrypt":
        n, r, p = costs.values()
        is_dear = 128 * n * r > MAX_SCRYPT_MEMORY or n * r * p > MAX_SCRYPT_WORK or r > MAX_SCRYPT_BLOCKS
        others = {}
    else:
        is_dear = costs["c"] > MAX_PBKDF2_ROUNDS
        others = {"prf": given["prf"]}
        if others["prf"] != "hmac-sha256":
            raise ValueError("prf")
    if is_dear or length > 64:
        raise Failure("the keystore's parameters ask for more memory or time than any honest one does")
    if length < 32:  # bytes 16 to 32 are what checks the password
        raise ValueError("dklen")
    return {**costs, **others, "dklen": length, "salt": _digits(given["salt"])}


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("no positive integer")
    return value


def _digits(value: Any) -> str:
    """Hex digits, two for each byte."""
    if not isinstance(value, str):
        raise TypeError("no string")
    return bytes.fromhex(value.removeprefix("0x")).hex()


def _check_address(stated: Any, account: LocalAccount) -> None:
    """No checksum covers the initialization vector: with another one comes another key."""
    if isinstance(stated, str) and stated and stated.lower().removeprefix("0x") != address_of(account).hex():
        raise Failure("the keystore is damaged: its key is not the one of the address that it names")


def write_keystore(path: Path, stored: dict[str, Any]) -> None:
    """Write a new file that only its owner may read (mode 0600). Raises Failure if there is one already."""
    write_secret(path, json.dumps(stored).encode())


def write_secret(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may read (mode 0600). Raises Failure if there is one already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failure(f"{path} exists already, and keys are never overwritten") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def read_keystore(path: Path) -> dict[str, Any]:
    """A keystore file, bounded. Raises Failure."""
    with path.open("rb") as file:
        data = read_at_most(file, MAX_KEYSTORE_BYTES)
    try:
        stored = parse(data) if data is not None else None
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        raise Failure(f"{path} is no keystore file")
    return stored


def sign(transaction: DeclaredTransaction, account: LocalAccount) -> bytes:
    """The signed envelope of a declared transaction. Raises Failure if it is not what the rules read."""
    signed = account.unsafe_sign_hash(Hash32(signing_hash(transaction)))
    envelope = encode_declared(replace(transaction, y_parity=signed.v - 27, r=signed.r, s=signed.s))
    read = decode_envelope(envelope)
    if recover_sender(read) != address_of(account):
        raise Failure("the signature is not the account's: this is a fault of the wallet")
    return envelope
