"""What genesis gives to whom, from a file: JSON as other clients write it (`alloc` of a genesis.json).

{"0x<address>": {"balance": "0x...", "nonce": "0x...", "code": "0x...", "storage": {"0x<slot>": "0x<word>"}}}; every
field may be left out, and numbers are 0x-prefixed hex.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from manaflow.coordinator.ethereum import read_json
from manaflow.coordinator.genesis import Allocation
from manaflow.coordinator.hexadecimal import read_bytes, read_integer, read_word, shortened
from manaflow.errors import Failure

_FIELDS: Final = frozenset({"balance", "nonce", "code", "storage"})


def load_allocation(path: Path) -> dict[bytes, Allocation]:
    """The accounts of a file, plain or under zstd, by 20-byte address. Raises Failure, which names the file."""
    try:
        return allocation_of(read_json(path))
    except (ValueError, TypeError) as error:
        raise Failure(f"{path}: {error}") from error


def allocation_of(fields: Any) -> dict[bytes, Allocation]:
    """The accounts of a JSON object. Raises ValueError."""
    accounts: dict[bytes, Allocation] = {}
    for address, account in _object(fields, "the accounts").items():
        where = read_bytes(address, 20)
        if where in accounts:
            raise ValueError(f"the account {shortened(address)} twice")
        accounts[where] = _account(_object(account, f"the account {address}"))
    return accounts


def _account(fields: Mapping[str, Any]) -> Allocation:
    unknown = sorted(set(fields) - _FIELDS)
    if unknown:
        raise ValueError(f"an account has no field {shortened(unknown[0])}")
    storage = _object(fields.get("storage", {}), "the storage")
    return (
        read_integer(fields.get("balance", "0x0")),
        read_integer(fields.get("nonce", "0x0"), 64),
        read_bytes(fields.get("code", "0x")),
        {read_word(slot): read_word(word) for slot, word in storage.items()},
    )


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what}: {shortened(value)} is no JSON object")
    return value
