"""What the executable spec (EELS) says that a real block does, step by step: the oracle of our replays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manaflow.coordinator.ethereum import read_json
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark

Writes = Mapping[Location, tuple[bytes, bytes]]
"""Value before and after by location, 32 bytes each, never equal; `c` is the code's hash, 0 without code."""


@dataclass(frozen=True, slots=True)
class ExpectedLog:
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `kind` is system, tx, withdrawals or requests; what only a tx has is None or empty elsewhere."""

    kind: str
    writes: Writes
    read_accounts: frozenset[bytes]
    """Addresses of which anything was read (EELS does not say which field)."""
    read_slots: frozenset[tuple[bytes, bytes]]
    """(address, slot)."""
    deleted: frozenset[bytes]
    """Accounts that ceased to exist (old SELFDESTRUCT): their storage before is not listed in `writes`."""
    target: bytes | None
    """The contract that a system step calls."""
    index: int | None
    sender: bytes | None
    status: int | None
    gas_used: int | None
    cumulative_gas_used: int | None
    logs: tuple[ExpectedLog, ...]


def expected_path(block: Path) -> Path:
    """The oracle's file beside a block's file."""
    return block.with_name(block.name.replace(".block.", ".expected."))


def load_expected(path: Path) -> tuple[Step, ...]:
    """The steps of an expected.json file (plain or zstd), in order."""
    return tuple(_step(entry) for entry in read_json(path)["steps"])


def _step(entry: Mapping[str, Any]) -> Step:
    is_tx = entry["kind"] == "tx"
    return Step(
        kind=entry["kind"],
        writes={
            location: values
            for address, fields in entry["writes"].items()
            for location, values in _account_writes(bytes.fromhex(address[2:]), fields).items()
        },
        read_accounts=frozenset(_raw(a) for a in entry["readAccounts"]),
        read_slots=frozenset((_raw(a), _raw(s)) for a, s in entry["readSlots"]),
        deleted=frozenset(_raw(a) for a, fields in entry["writes"].items() if fields.get("deleted")),
        target=_raw(entry["target"]) if "target" in entry else None,
        index=entry["index"] if is_tx else None,
        sender=_raw(entry["sender"]) if is_tx else None,
        status=entry["status"] if is_tx else None,
        gas_used=int(entry["gasUsed"], 16) if is_tx else None,
        cumulative_gas_used=int(entry["cumulativeGasUsed"], 16) if is_tx else None,
        logs=tuple(_log(log) for log in entry.get("logs", ())),
    )


def _account_writes(address: bytes, fields: Mapping[str, Any]) -> dict[Location, tuple[bytes, bytes]]:
    known = {"nonce", "balance", "code", "storage", "created", "deleted"}
    assert set(fields) <= known, f"unknown fields {set(fields) - known}"
    found: dict[Location, tuple[bytes, bytes]] = {}
    for name, mark in (("balance", Mark.BALANCE), ("nonce", Mark.NONCE)):
        if name in fields:
            found[mark, address, ZERO32] = _words(fields[name])
    if "code" in fields:
        before, after = (_raw(code) for code in fields["code"])
        found[Mark.CODE, address, ZERO32] = (_code_hash(before), _code_hash(after))
    for slot, values in fields.get("storage", {}).items():
        found[Mark.STORAGE, address, _raw(slot)] = _words(values)
    return found


def _words(values: list[str]) -> tuple[bytes, bytes]:
    before, after = (int(value, 16).to_bytes(32, "big") for value in values)
    return before, after


def _code_hash(code: bytes) -> bytes:
    return keccak256(code) if code else ZERO32


def _log(entry: Mapping[str, Any]) -> ExpectedLog:
    return ExpectedLog(_raw(entry["address"]), tuple(_raw(t) for t in entry["topics"]), _raw(entry["data"]))


def _raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])
