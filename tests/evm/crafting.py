"""What small transactions are made of: names, accounts, code, environments and jobs over a wide world."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import coincurve
import rlp
from eth.vm import opcode_values

from manaflow.evm.environment import SYSTEM_ADDRESS, SYSTEM_CONTRACTS
from manaflow.evm.executor import Environment, Job, SystemCall
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import ZERO20, ZERO32, Location
from manaflow.moves.transactions import Authorization, EthereumTransaction
from manaflow.rules.config import CANCUN_BLOBS, PRAGUE_BLOBS, Fork, Profile

ETHER = 10**18
NUMBER = 1_000
CHAIN_ID = 7_777
AUTHORITY_KEY = coincurve.PrivateKey(b"\x07" * 32)


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def address_of(key: coincurve.PrivateKey) -> bytes:
    return keccak256(key.public_key.format(compressed=False)[1:])[-20:]


NAMES = {
    "sender": b"\x11" * 20,
    "to": b"\xaa" * 20,
    "other": b"\xbb" * 20,
    "third": b"\xdd" * 20,
    "coinbase": b"\xcc" * 20,
    "authority": address_of(AUTHORITY_KEY),
    "identity": (4).to_bytes(20, "big"),
    "sha256": (2).to_bytes(20, "big"),
    "ecadd": (6).to_bytes(20, "big"),
    "beacon": SYSTEM_CONTRACTS[SystemKind.BEACON_ROOTS],
}
SENDER, TO, OTHER, THIRD, COINBASE = (NAMES[name] for name in ("sender", "to", "other", "third", "coinbase"))
NAMES["new"] = keccak256(rlp.encode([SENDER, 5]))[12:]
"""What a creating transaction of the sender (nonce 5) makes."""
NAMES["made"] = keccak256(rlp.encode([TO, 1]))[12:]
"""What a CREATE by `to` (nonce 1) makes."""
NAMES["made2"] = keccak256(b"\xff" + TO + word(0) + keccak256(b""))[12:]
"""What a CREATE2 by `to` makes with salt 0 and no initcode."""


NAMES["theirs"] = keccak256(rlp.encode([OTHER, 1]))[12:]
"""What a CREATE by `other` (nonce 1) makes."""
NAMES["own"] = keccak256(rlp.encode([SENDER, 6]))[12:]
"""What a CREATE by the sender's own delegate makes, once the transaction has raised its nonce."""


def asm(*parts: str | int | bytes) -> bytes:
    """EVM code: opcodes by name, ints and bytes as the shortest push."""
    out = b""
    for part in parts:
        if isinstance(part, str):
            out += bytes((getattr(opcode_values, part),))
            continue
        data = part if isinstance(part, bytes) else part.to_bytes(max(1, (part.bit_length() + 7) // 8), "big")
        out += bytes((0x5F + len(data),)) + data
    return out


def call(target: bytes, value: int = 0, gas: int | None = None, kind: str = "CALL") -> bytes:
    """One call without data; the result is popped."""
    has_value = kind in ("CALL", "CALLCODE")
    return asm(0, 0, 0, 0, *([value] if has_value else []), target, "GAS" if gas is None else gas, kind, "POP")


def store(slot: int) -> bytes:
    return asm(1, slot, "SSTORE")


def load(slot: int) -> bytes:
    return asm(slot, "SLOAD", "POP")


def look(opcode: str, target: bytes) -> bytes:
    return asm(target, opcode, "POP")


def create(initcode: bytes = b"", value: int = 0, kind: str = "CREATE") -> bytes:
    salt = [0] if kind == "CREATE2" else []
    return (write(initcode) if initcode else b"") + asm(*salt, len(initcode), 0, value, kind, "POP")


def unless(condition: bytes, body: bytes) -> bytes:
    """Runs `body` if `condition` leaves 0."""
    end = len(condition) + 3 + len(body)
    return condition + asm(end, "JUMPI") + body + asm("JUMPDEST")


def designation(target: bytes) -> bytes:
    return bytes.fromhex("ef0100") + target


def write(data: bytes) -> bytes:
    """Puts up to 32 bytes at the start of memory."""
    return asm(data.ljust(32, b"\0"), 0, "MSTORE")


def sign_authorization(
    target: bytes = THIRD,
    nonce: int = 0,
    chain_id: int = CHAIN_ID,
    key: coincurve.PrivateKey = AUTHORITY_KEY,
    **changes: int,
) -> Authorization:
    message = keccak256(b"\x05" + rlp.encode([chain_id, target, nonce]))
    signature = key.sign_recoverable(message, hasher=None)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    fields = {"y_parity": signature[64], "r": r, "s": s} | changes
    return Authorization(chain_id, target, nonce, **fields)


@dataclass(frozen=True)
class Account:
    balance: int = 0
    nonce: int = 0
    code: bytes = b""
    storage: dict[int, int] = field(default_factory=dict)


OUT = ["b sender", "c sender", "n sender", "b coinbase"]
"""What every transaction with a tip uses."""
BASE = [*OUT, "c to"]
INVALID = b"\xfe"
STOP = asm("STOP")
CONTRACT = Account(0, 1, STOP)


@dataclass(frozen=True)
class Case:
    name: str
    job: Job
    """Its cells are the wide world."""
    uses: tuple[Location, ...]
    """Exactly these, sorted."""
    status: int
    writes: dict[Location, int] | None
    """If given, values after the execution."""


def transaction(**changes: Any) -> EthereumTransaction:
    """A valid call of `to` by the sender, nonce 5, with a tip."""
    fields: dict[str, Any] = {
        "type": 2, "chain_id": CHAIN_ID, "nonce": 5, "max_priority_fee": 1, "max_fee": 100, "gas_limit": 500_000,
        "to": TO, "value": 0, "data": b"", "access_list": (), "max_fee_per_blob_gas": 0, "blob_hashes": (),
        "authorizations": (), "y_parity": 0, "r": 1, "s": 1, "signing_hash": ZERO32, "txid": ZERO32,
    }  # fmt: skip
    if changes.get("authorizations"):
        fields["type"] = 4
    return EthereumTransaction(**(fields | changes))


def environment(fork: Fork = Fork.PRAGUE, **changes: Any) -> Environment:
    blobs = {Fork.CANCUN: CANCUN_BLOBS, Fork.PRAGUE: PRAGUE_BLOBS}.get(fork)
    fields: dict[str, Any] = {
        "chain_id": CHAIN_ID, "fork": fork, "number": NUMBER, "timestamp": 1_700_000_000, "coinbase": COINBASE,
        "gas_limit": 30_000_000, "base_fee": 7, "prevrandao": b"\x22" * 32, "excess_blob_gas": 0,
        "blob_base_fee": 1 if blobs else 0, "blobs": blobs, "profile": Profile.ETHEREUM,
    }  # fmt: skip
    return Environment(**(fields | changes))


def location(text: str) -> Location:
    mark, *rest = text.split()
    if mark == "e":
        return ord(mark), ZERO20, word(int(rest[0]))
    return ord(mark), NAMES[rest[0]], word(int(rest[1])) if len(rest) > 1 else ZERO32


def wide_cells(accounts: dict[bytes, Account]) -> dict[Location, bytes]:
    """b, c, n and slots 0 to 9 of every name, and every block hash of the window."""
    cells: dict[Location, bytes] = {}
    for address in NAMES.values():
        account = accounts.get(address, Account())
        cells[ord("b"), address, ZERO32] = word(account.balance)
        cells[ord("c"), address, ZERO32] = keccak256(account.code) if account.code else ZERO32
        cells[ord("n"), address, ZERO32] = word(account.nonce)
        for slot in range(10):
            cells[ord("s"), address, word(slot)] = word(account.storage.get(slot, 0))
    for number in range(NUMBER - 256, NUMBER):
        cells[ord("e"), ZERO20, word(number)] = keccak256(word(number))
    return cells


def case(
    name: str,
    uses: list[str],
    *,
    accounts: dict[bytes, Account] | None = None,
    code: bytes = b"",
    fork: Fork = Fork.PRAGUE,
    status: int = 1,
    writes: dict[str, int] | None = None,
    settings: dict[str, Any] | None = None,
    sender: bytes = SENDER,
    **changes: Any,
) -> Case:
    """`code` is what `to` runs (nonce 1, balance 1 ether); `changes` go to the transaction."""
    world = {sender: Account(100 * ETHER, 5)}
    if code:
        world[TO] = Account(ETHER, 1, code)
    world |= accounts or {}
    codes = {keccak256(account.code): account.code for account in world.values() if account.code}
    job = Job(environment(fork, **(settings or {})), transaction(**changes), sender, 0, 0, wide_cells(world), codes)
    return _case(name, job, uses, status, writes)


def system_case(name: str, uses: list[str], account: Account, *, status: int = 1) -> Case:
    call_ = SystemCall(SystemKind.BEACON_ROOTS, NAMES["beacon"], b"\x77" * 32)
    codes = {keccak256(account.code): account.code} if account.code else {}
    job = Job(environment(), call_, SYSTEM_ADDRESS, 0, 0, wide_cells({NAMES["beacon"]: account}), codes)
    return _case(name, job, uses, status, None)


def _case(name: str, job: Job, uses: list[str], status: int, writes: dict[str, int] | None) -> Case:
    after = None if writes is None else {location(text): value for text, value in writes.items()}
    return Case(name, job, tuple(sorted({location(text) for text in uses})), status, after)
