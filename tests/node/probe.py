"""The contracts of tests/clients/contracts, as calls to a live node."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import coincurve
from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from manaflow.moves.transactions import Flag, NamedMove
from tests.conftest import ROOT
from tests.declared import declared_envelope
from tests.node.live import ACCOUNTS, Live
from tests.node.processes import NodeProcess

CONTRACTS: dict[str, Any] = json.loads((ROOT / "tests/clients/contracts/contracts.json").read_text())
SENDERS = ["0x" + account.address.hex() for account in ACCOUNTS]
STORED = "0x" + keccak(b"Stored(address,uint256,string)").hex()
PAID = "0x" + keccak(b"Paid(address,uint256)").hex()
NOBODY = "0x" + "77" * 20


def selector(signature: str) -> str:
    return "0x" + keccak(signature.encode())[:4].hex()


def packed(signature: str, *values: Any) -> str:
    """The data of a call, e.g. packed("add(uint256,uint256)", 1, 2)."""
    kinds = signature[signature.index("(") + 1 : -1]
    return selector(signature) + encode(kinds.split(",") if kinds else [], values).hex()


def topic(value: int | str) -> str:
    """An indexed number or address as it stands in a log."""
    number = int(value, 16) if isinstance(value, str) else value
    return f"0x{number:064x}"


@dataclass
class Probe:
    """A deployed Probe."""

    node: Live
    address: str
    deployed: str
    """The hash of its transaction."""

    @classmethod
    def deploy(cls, node: Live, first: int = 7) -> Probe:
        code = CONTRACTS["Probe"]["bytecode"] + encode(["uint256"], [first]).hex()
        deployed = node.call("eth_sendTransaction", {"from": SENDERS[0], "data": code})
        return cls(node, node.call("eth_getTransactionReceipt", deployed)["contractAddress"], deployed)

    def request(self, signature: str, *values: Any, **more: Any) -> dict[str, Any]:
        return {"from": SENDERS[0], "to": self.address, "data": packed(signature, *values), **more}

    def ask(self, signature: str, *values: Any, block: Any = "latest") -> Any:
        return self.node.call("eth_call", self.request(signature, *values), block)

    def read(self, returns: str, signature: str, *values: Any) -> Any:
        found = decode(returns.split(","), bytes.fromhex(self.ask(signature, *values)[2:]))
        return found[0] if len(found) == 1 else found

    def send(self, signature: str, *values: Any, **more: Any) -> dict[str, Any]:
        """Send a transaction; its receipt."""
        txid = self.node.call("eth_sendTransaction", self.request(signature, *values, **more))
        receipt: dict[str, Any] = self.node.call("eth_getTransactionReceipt", txid)
        return receipt


def declared(node: Live | NodeProcess, sender: int) -> bytes:
    """A transfer of 1 wei whose sender signs that the receiver's balance changes."""
    nonce = int(node.call("eth_getTransactionCount", SENDERS[sender], "pending"), 16)
    move = NamedMove(7, ord("b"), bytes(32), bytes.fromhex(NOBODY[2:]), bytes(32), bytes(32), bytes(32))
    call: dict[str, Any] = {
        "chain_id": 31337, "nonce": nonce, "max_priority_fee": 10**10, "max_fee": 10**10, "gas_limit": 100_000,
        "to": bytes.fromhex(NOBODY[2:]), "value": 1, "data": b"", "access_list": (), "valid_until": 100,
    }  # fmt: skip
    key = coincurve.PrivateKey(ACCOUNTS[sender].key)
    return declared_envelope((move,), key, flags=int(Flag.OPEN), **call)
