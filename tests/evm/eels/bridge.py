"""EELS behind a pipe: one job as a line of JSON in, one line of JSON out (see executor.py). Runs in .venv-eels.

Imports nothing of Manaflow. A job is as tests/vectors/engines/README.md says; the answer is one of
    {"refused": why}                           the transaction is invalid
    {"status", "gas_used", "logs", "accounts", "accessed"}
with `logs` [[address, [topics], data]], `accounts` every account after the execution as in the job, and `accessed`
{"accounts": [address], "warm": [address], "slots": [[address, slot]], "hashes": [block number]}, whatever frames
reverted. `warm` are addresses that EIP-2929 was asked about: before Prague, EELS charges for a call's code and then
reads it only if the balance and the depth suffice.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from ethereum.crypto.hash import keccak256
from ethereum.exceptions import InvalidBlock, InvalidTransaction
from ethereum_rlp import rlp
from ethereum_types.bytes import Bytes20, Bytes32
from ethereum_types.numeric import U64, U256, Uint

WINDOW = 256
FORKS = ("paris", "shanghai", "cancun", "prague")
STACK_BYTES = 2**29
"""For a thousand frames of the EVM in Python."""


class Accessed:
    """Which accounts, slots and block hashes the current execution asked for."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.accounts: set[bytes] = set()
        self.warm: set[bytes] = set()
        self.slots: set[tuple[bytes, bytes]] = set()
        self.hashes: set[int] = set()


class Hashes(list[Any]):
    """The hashes of the window, oldest first; tells which were read."""

    def __init__(self, number: int, accessed: Accessed) -> None:
        first = max(0, number - WINDOW)
        super().__init__(keccak256(earlier.to_bytes(32, "big")) for earlier in range(first, number))
        self._number, self._accessed = number, accessed

    def __getitem__(self, place: Any) -> Any:
        self._accessed.hashes.add(self._number + int(place))
        return super().__getitem__(int(place))


class Warm(set[Any]):
    """EIP-2929's accessed addresses; tells which were asked for."""

    def __init__(self, addresses: set[Any], accessed: Accessed) -> None:
        super().__init__(addresses)
        self._accessed = accessed

    def __contains__(self, address: object) -> bool:
        self._accessed.warm.add(bytes(address))
        return super().__contains__(address)

    def copy(self) -> Warm:
        return Warm(self, self._accessed)


class Fork:
    """One fork of EELS, its state functions watched. Made before anything else imports that fork's modules."""

    def __init__(self, name: str, accessed: Accessed) -> None:
        self.accessed = accessed
        self.state = importlib.import_module(f"ethereum.forks.{name}.state")
        self._watch("get_account_optional", lambda state, address: accessed.accounts.add(bytes(address)))
        for reads in ("get_storage", "get_storage_original"):
            self._watch(reads, lambda state, address, key: accessed.slots.add((bytes(address), bytes(key))))
        self.types = importlib.import_module(f"ethereum.forks.{name}.fork_types")
        self.transactions = importlib.import_module(f"ethereum.forks.{name}.transactions")
        self.vm = importlib.import_module(f"ethereum.forks.{name}.vm")
        self.fork = importlib.import_module(f"ethereum.forks.{name}.fork")
        self.errors: list[Any] = []
        prepare = self.fork.prepare_message
        self.fork.prepare_message = lambda *arguments: self._warm(prepare(*arguments))
        made = self.fork.make_receipt
        self.fork.make_receipt = lambda tx, error, *rest: self.errors.append(error) or made(tx, error, *rest)

    def _watch(self, name: str, note: Callable[..., None]) -> None:
        plain = getattr(self.state, name)

        def watched(*arguments: Any) -> Any:
            note(*arguments)
            return plain(*arguments)

        setattr(self.state, name, watched)

    def _warm(self, message: Any) -> Any:
        message.accessed_addresses = Warm(message.accessed_addresses, self.accessed)
        return message

    def state_of(self, accounts: dict[str, Any]) -> Any:
        state = self.state.State()
        for shown, form in accounts.items():
            address = Bytes20(raw(shown))
            account = self.types.Account(
                nonce=Uint(number(form["nonce"])), balance=U256(number(form["balance"])), code=raw(form["code"])
            )
            self.state.set_account(state, address, account)
            for slot, value in form["storage"].items():
                self.state.set_storage(state, address, Bytes32(word(number(slot))), U256(number(value)))
        return state

    def block(self, form: dict[str, Any], state: Any) -> Any:
        fields = {
            "chain_id": U64(form["chain_id"]), "state": state, "block_gas_limit": Uint(form["gas_limit"]),
            "block_hashes": Hashes(form["number"], self.accessed), "coinbase": Bytes20(raw(form["coinbase"])),
            "number": Uint(form["number"]), "base_fee_per_gas": Uint(form["base_fee"]),
            "time": U256(form["timestamp"]), "prev_randao": Bytes32(raw(form["prevrandao"])),
        }  # fmt: skip
        if "excess_blob_gas" in self.vm.BlockEnvironment.__dataclass_fields__:
            fields |= {
                "excess_blob_gas": U64(form["excess_blob_gas"]), "parent_beacon_block_root": Bytes32(bytes(32))
            }  # fmt: skip
        return self.vm.BlockEnvironment(**fields)

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        state = self.state_of(job["accounts"])
        block = self.block(job["environment"], state)
        self.accessed.clear()
        self.errors.clear()
        outcome = self._system(block, job["system"]) if "system" in job else self._transaction(block, job)
        accessed = {
            "accounts": sorted(shown(address) for address in self.accessed.accounts),
            "warm": sorted(shown(address) for address in self.accessed.warm),
            "slots": sorted([shown(address), shown(key)] for address, key in self.accessed.slots),
            "hashes": sorted(self.accessed.hashes),
        }
        return outcome | {"accessed": accessed, "accounts": accounts_after(state)}

    def _transaction(self, block: Any, job: dict[str, Any]) -> dict[str, Any]:
        output = self.vm.BlockOutput(block_gas_used=Uint(job["gas_before"]))
        if hasattr(output, "blob_gas_used"):
            output.blob_gas_used = U64(job["blob_gas_before"])
        sender = Bytes20(raw(job["sender"]))
        self.fork.recover_sender = lambda chain_id, tx: sender  # the job names the sender: nobody signed
        envelope = raw(job["envelope"])
        legacy = envelope[0] >= 0xC0
        form = rlp.decode_to(self.transactions.LegacyTransaction, envelope) if legacy else envelope
        self.fork.process_transaction(block, output, self.transactions.decode_transaction(form), Uint(0))
        logs = [[shown(log.address), [shown(topic) for topic in log.topics], shown(log.data)]
                for log in output.block_logs]  # fmt: skip
        gas = int(output.block_gas_used) - job["gas_before"]
        return {"status": int(self.errors[-1] is None), "gas_used": gas, "logs": logs}

    def _system(self, block: Any, call: dict[str, Any]) -> dict[str, Any]:
        output = self.fork.process_unchecked_system_transaction(block, Bytes20(raw(call["to"])), raw(call["data"]))
        return {"status": int(output.error is None), "gas_used": 0, "logs": []}


def accounts_after(state: Any) -> dict[str, Any]:
    return {
        shown(address): {
            "balance": hex(account.balance),
            "nonce": hex(account.nonce),
            "code": shown(account.code),
            "storage": {
                hex(int.from_bytes(key, "big")): hex(value)
                for key, value in getattr(state._storage_tries.get(address), "_data", {}).items()
            },
        }
        for address, account in state._main_trie._data.items()
        if account is not None
    }


def answer(forks: dict[str, Fork], line: str) -> dict[str, Any]:
    job = json.loads(line)
    try:
        return forks[job["environment"]["fork"]].run(job)
    except (InvalidBlock, InvalidTransaction) as refusal:
        return {"refused": f"{type(refusal).__name__}: {refusal}"}
    except Exception:
        return {"crashed": traceback.format_exc()}


def serve() -> None:
    accessed = Accessed()
    forks = {name: Fork(name, accessed) for name in FORKS}
    for line in sys.stdin:
        print(json.dumps(answer(forks, line)), flush=True)


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def number(text: str) -> int:
    return int(text, 16)


def shown(data: bytes) -> str:
    return "0x" + bytes(data).hex()


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


if __name__ == "__main__":
    threading.stack_size(STACK_BYTES)
    sys.setrecursionlimit(100_000)
    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
