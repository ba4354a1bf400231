"""A job as JSON and back: the form of the vectors in tests/vectors/engines and of what the EELS bridge is asked.

tests/vectors/engines/README.md documents it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from manaflow.evm.encoding import encode_envelope
from manaflow.evm.executor import Environment, Job, SystemCall
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import ZERO20, ZERO32, Location, Mark
from manaflow.rules.config import CANCUN_BLOBS, PRAGUE_BLOBS, Fork, Profile
from manaflow.rules.fees import blob_base_fee
from tests.evm.crafting import Account
from tests.evm.worlds import World, word

BLOBS = {Fork.CANCUN: CANCUN_BLOBS, Fork.PRAGUE: PRAGUE_BLOBS}


class HashedWorld(World):
    """A world whose block hashes are keccak-256 of the block's number (32 bytes), for every number."""

    def __getitem__(self, location: Location) -> bytes:
        if location[0] == Mark.BLOCKHASH:
            return keccak256(location[2])
        return super().__getitem__(location)


def world_of(accounts: dict[bytes, Account]) -> HashedWorld:
    world = HashedWorld(codes={keccak256(account.code): account.code for account in accounts.values() if account.code})
    for address, account in accounts.items():
        fields = {
            (Mark.BALANCE, address, ZERO32): word(account.balance),
            (Mark.NONCE, address, ZERO32): word(account.nonce),
            (Mark.CODE, address, ZERO32): keccak256(account.code) if account.code else ZERO32,
            **{(Mark.STORAGE, address, word(slot)): word(value) for slot, value in account.storage.items()},
        }
        world.values.update({location: value for location, value in fields.items() if value != ZERO32})
    return world


def accounts_of(job: Job) -> dict[bytes, Account]:
    """What the job's cells say, as accounts; `e` cells are left out."""
    fields: dict[bytes, dict[int, bytes]] = defaultdict(dict)
    slots: dict[bytes, dict[int, int]] = defaultdict(dict)
    for mark, address, slot in job.cells:
        value = job.cells[mark, address, slot]
        if value == ZERO32 or mark == Mark.BLOCKHASH:
            continue
        if mark == Mark.STORAGE:
            slots[address][int.from_bytes(slot, "big")] = int.from_bytes(value, "big")
        else:
            fields[address][mark] = value
    return {
        address: Account(
            int.from_bytes(fields[address].get(Mark.BALANCE, b""), "big"),
            int.from_bytes(fields[address].get(Mark.NONCE, b""), "big"),
            job.codes[fields[address][Mark.CODE]] if Mark.CODE in fields[address] else b"",
            dict(sorted(slots[address].items())),
        )
        for address in sorted(fields.keys() | slots.keys())
    }


def environment_of(
    fork: Fork,
    coinbase: bytes,
    excess_blob_gas: int = 0,
    credits_coinbase: bool = True,
    **settings: Any,
) -> Environment:
    """`settings`: chain_id, number, timestamp, gas_limit, base_fee, prevrandao."""
    blobs = BLOBS.get(fork)
    price = blob_base_fee(excess_blob_gas, blobs.update_fraction) if blobs else 0
    return Environment(
        fork=fork, coinbase=coinbase, excess_blob_gas=excess_blob_gas, blobs=blobs, blob_base_fee=price,
        profile=Profile.ETHEREUM if credits_coinbase else Profile.MANAFLOW, **settings,
    )  # fmt: skip


def to_json(job: Job) -> dict[str, Any]:
    environment = job.environment
    numbers = ("chain_id", "number", "timestamp", "gas_limit", "base_fee", "excess_blob_gas", "credits_coinbase")
    call: dict[str, Any] = (
        {"system": {"kind": job.call.kind.name, "to": shown(job.call.to), "data": shown(job.call.data)}}
        if isinstance(job.call, SystemCall)
        else {"envelope": shown(encode_envelope(job.call))}
    )
    return {
        "environment": {
            "fork": environment.fork.name.lower(),
            "coinbase": shown(environment.coinbase),
            "prevrandao": shown(environment.prevrandao),
            **{name: getattr(environment, name) for name in numbers},
        },
        **call,
        "sender": shown(job.sender),
        "gas_before": job.gas_before,
        "blob_gas_before": job.blob_gas_before,
        "accounts": {shown(address): _account_json(account) for address, account in accounts_of(job).items()},
    }


def from_json(form: dict[str, Any]) -> Job:
    settings = dict(form["environment"])
    environment = environment_of(
        Fork[settings.pop("fork").upper()],
        raw(settings.pop("coinbase")),
        prevrandao=raw(settings.pop("prevrandao")),
        **settings,
    )
    call: Any
    if "system" in form:
        system = form["system"]
        call = SystemCall(SystemKind[system["kind"]], raw(system["to"]), raw(system["data"]))
    else:
        call = decode_envelope(raw(form["envelope"]))
    world = world_of({raw(address): account_of(account) for address, account in form["accounts"].items()})
    return Job(environment, call, raw(form["sender"]), form["gas_before"], form["blob_gas_before"], world, world.codes)


def location_json(location: Location) -> list[str]:
    mark, address, slot = location
    return [chr(mark), shown(address), hex(int.from_bytes(slot, "big"))]


def location_of(form: list[str]) -> Location:
    return ord(form[0]), raw(form[1]) or ZERO20, word(int(form[2], 16))


def _account_json(account: Account) -> dict[str, Any]:
    return {
        "balance": hex(account.balance),
        "nonce": hex(account.nonce),
        "code": shown(account.code),
        "storage": {hex(slot): hex(value) for slot, value in account.storage.items()},
    }


def account_of(form: dict[str, Any]) -> Account:
    storage = {int(slot, 16): int(value, 16) for slot, value in form["storage"].items()}
    return Account(int(form["balance"], 16), int(form["nonce"], 16), raw(form["code"]), storage)


def shown(data: bytes) -> str:
    return "0x" + data.hex()


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
