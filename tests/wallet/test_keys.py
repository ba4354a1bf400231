"""Keys: published vectors, keystores that other programs read, and secrets that nothing prints."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import eth_account
import pytest
from eth_account.messages import encode_typed_data

from manaflow.errors import Failure
from manaflow.moves.declared import typed_data
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.transactions import DeclaredTransaction
from manaflow.wallet import keys
from manaflow.wallet.declare import Wish, declare
from manaflow.wallet.intents import Intent, Policy
from manaflow.wallet.keys import Secret
from manaflow.wallet.source import Snapshot
from tests.wallet.model import KEY, ME, OTHER, world

MNEMONIC = Secret("test test test test test test test test test test test junk")
"""What Hardhat and Anvil publish."""
ACCOUNTS = ("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
LIGHT = 2


def test_published_accounts() -> None:
    assert tuple(keys.derive(MNEMONIC, i).address for i in (0, 1)) == ACCOUNTS
    assert keys.path_of(7) == "m/44'/60'/0'/0/7"
    assert keys.derive(MNEMONIC, 0, Secret("else")).address not in ACCOUNTS
    assert keys.derive(Secret("  test " * 11 + " junk\n")).address == ACCOUNTS[0]


def test_a_new_mnemonic_is_new_and_derives() -> None:
    first, second = keys.new_mnemonic(), keys.new_mnemonic(24)
    assert (len(first.value.split()), len(second.value.split())) == (12, 24)
    assert first != keys.new_mnemonic()
    keys.derive(second)


@pytest.mark.parametrize("words", [0, 11, 13, 25])
def test_a_length_that_no_mnemonic_has(words: int) -> None:
    with pytest.raises(Failure):
        keys.new_mnemonic(words)


def test_secrets_are_in_no_message() -> None:
    for secret in (Secret("test test secret"), Secret("0xdeadbeefcafe")):
        for use in (keys.derive, keys.from_private_key):
            with pytest.raises(Failure) as failed:
                use(secret)
            assert secret.value not in str(failed.value)
            assert failed.value.__cause__ is None
        assert secret.value not in f"{secret} {secret!r} {[secret]}"
    for index in (-1, 2**31):
        with pytest.raises(Failure):
            keys.path_of(index)


def test_a_keystore_is_read_by_others_and_theirs_by_us(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "one.json"
    keys.write_keystore(path, keys.encrypt(KEY, Secret("pass"), iterations=LIGHT))
    theirs = eth_account.Account.decrypt(path.read_text(), "pass")
    assert bytes(theirs) == bytes(KEY.key)
    other = eth_account.Account.encrypt(KEY.key, "word", kdf="pbkdf2", iterations=LIGHT)
    assert keys.decrypt(json.loads(json.dumps(other)), Secret("word")).address == KEY.address


def test_a_published_keystore_opens() -> None:
    """The Web3 Secret Storage definition's pbkdf2 vector."""
    vector = {
        "crypto": {
            "cipher": "aes-128-ctr", "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
            "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46", "kdf": "pbkdf2",
            "kdfparams": {
                "c": 262144, "dklen": 32, "prf": "hmac-sha256",
                "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
            },
            "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
        },
        "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6", "version": 3,
    }  # fmt: skip
    account = keys.decrypt(vector, Secret("testpassword"))
    assert bytes(account.key).hex() == "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"


def test_a_keystore_file_is_its_owners_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    stored = keys.encrypt(KEY, Secret("pass"), iterations=LIGHT)
    keys.write_keystore(path, stored)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(Failure, match="never overwritten"):
        keys.write_keystore(path, {})
    assert path.read_bytes() == before
    assert keys.decrypt(keys.read_keystore(path), Secret("pass")).address == KEY.address


def test_no_password_no_keystore() -> None:
    with pytest.raises(Failure, match="password"):
        keys.encrypt(KEY, Secret(""))


def dear(**parameters: Any) -> dict[str, Any]:
    stored = keys.encrypt(KEY, Secret("pass"), iterations=LIGHT)
    stored["crypto"]["kdfparams"] |= parameters
    return stored


@pytest.mark.parametrize(
    "parameters",
    [{"n": 2**26}, {"r": 2**30}, {"p": 2**20}, {"dklen": 2**40}, {"r": 65}, {"n": 2**20, "r": 1, "p": 9}],
)
def test_a_keystore_cannot_take_the_machine(parameters: dict[str, int]) -> None:
    with pytest.raises(Failure, match="more memory or time"):
        keys.decrypt(dear(**parameters), Secret("pass"))


def spelled_otherwise(stored: dict[str, Any]) -> list[dict[str, Any]]:
    """What the library would read instead of what is judged: it takes no notice of capitals."""
    crypto, dearer = stored["crypto"], stored["crypto"]["kdfparams"] | {"n": 2**21}
    v4 = {"kdf": {"function": "scrypt", "params": dearer}}
    return [
        stored | {"crypto": crypto | {"kdfparams": crypto["kdfparams"] | {"N": 2**21}}},
        stored | {"crypto": crypto | {"KDFParams": dearer}},
        stored | {"CRYPTO": crypto | {"kdfparams": dearer}},
        stored | {"Version": 4, "CRYPTO": v4},
    ]


@pytest.mark.parametrize("case", range(4))
def test_what_is_judged_of_a_keystore_is_what_is_used(case: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second spelling of a parameter asked for two gigabytes behind the back of the bound."""
    stored = spelled_otherwise(dear())[case]
    given: list[dict[str, Any]] = []
    plain = keys._Account.decrypt
    monkeypatch.setattr(keys._Account, "decrypt", lambda one, word: (given.append(one), plain(one, word))[1])
    assert keys.decrypt(stored, Secret("pass")).address == KEY.address
    assert given[0]["crypto"]["kdfparams"]["n"] == LIGHT
    assert json.dumps(given[0]).lower().count('"n"') == json.dumps(given[0]).lower().count('"version"') == 1


def test_another_spelling_of_crypto_is_read() -> None:
    stored = dear()
    assert keys.decrypt({"version": 3, "Crypto": stored["crypto"]}, Secret("pass")).address == KEY.address


@pytest.mark.parametrize(
    "parameters",
    [{"n": float("inf")}, {"n": 2.0}, {"n": "2"}, {"n": True}, {"n": -2, "r": -(2**50)}, {"p": 0}, {"salt": 5},
     {"salt": "zz"}, {"salt": "é"}, {"dklen": 16}, {"dklen": 31}, {"n": None}],
)  # fmt: skip
def test_parameters_that_no_keystore_has(parameters: dict[str, Any]) -> None:
    """dklen of 16: then nothing checks the password, and any word opens it, to another key each."""
    with pytest.raises(Failure, match="damaged keystore"):
        keys.decrypt(dear(**parameters), Secret("pass"))


@pytest.mark.parametrize(
    "fields",
    [{"kdf": "argon2"}, {"kdf": []}, {"cipher": "aes-128-cbc"}, {"ciphertext": []}, {"mac": None}, {"cipherparams": 1},
     {"kdf": "pbkdf2"}, {"kdf": "pbkdf2", "kdfparams": {"c": 1, "dklen": 32, "salt": "00", "prf": "foo"}},
     {"kdfparams": []}],
)  # fmt: skip
def test_fields_that_no_keystore_has(fields: dict[str, Any]) -> None:
    stored = dear()
    stored["crypto"] |= fields
    with pytest.raises(Failure, match="damaged keystore"):
        keys.decrypt(stored, Secret("pass"))


def test_a_keystore_that_opens_to_another_key_is_damaged() -> None:
    """Its checksum does not cover the initialization vector: ether sent by that key would be nobody's."""
    stored = dear()
    stored["crypto"]["cipherparams"]["iv"] = "00" * 16
    with pytest.raises(Failure, match="not the one of the address"):
        keys.decrypt(stored, Secret("pass"))


def test_what_is_no_keystore(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="password is wrong"):
        keys.decrypt(dear(), Secret("wrong"))
    for stored in ({}, {"crypto": 1}, {"crypto": {"kdf": "scrypt"}}, dear(n="many"), dear() | {"version": 9}):
        with pytest.raises(Failure):
            keys.decrypt(stored, Secret("pass"))
    for data in (b"", b"[]", b"[" * 30_000, b"\xff", b" " * (keys.MAX_KEYSTORE_BYTES + 1)):
        path = tmp_path / "file"
        path.write_bytes(data)
        with pytest.raises(Failure, match="no keystore file"):
            keys.read_keystore(path)


@pytest.mark.parametrize("intent", Intent)
def test_what_is_signed_is_the_typed_data_that_other_wallets_sign(intent: Intent) -> None:
    transaction = declare(Snapshot(world()), ME, Wish(OTHER, 3), Policy(intent)).transaction
    read = decode_envelope(keys.sign(transaction, KEY))
    theirs = KEY.sign_message(encode_typed_data(full_message=typed_data(transaction)))
    assert isinstance(read, DeclaredTransaction)
    assert (read.r, read.s, read.y_parity) == (theirs.r, theirs.s, theirs.v - 27)
    assert read.moves == transaction.moves
