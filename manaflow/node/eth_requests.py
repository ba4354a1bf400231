"""What clients ask to be called: JSON objects of eth_call and its kin as requests of evm/simulate.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec

from manaflow.evm.executor import Environment
from manaflow.evm.simulate import AccountOverride, CallRequest, Overrides
from manaflow.moves.marks import ZERO20
from manaflow.moves.transactions import AccessEntry, Authorization
from manaflow.node.encoding import Address, Data, Hash, Quantity, Quantity64, StorageKey
from manaflow.node.errors import SERVER_ERROR, RpcError, invalid_params

Kind = TypeVar("Kind", Address, StorageKey)
MAX_WEI: Final = 2**128 - 1
"""What engines compute fees in."""


class AccessItem(msgspec.Struct, rename="camel", frozen=True):
    """EIP-2930."""

    address: Address
    storage_keys: list[Hash] | None = None


class AuthorizationItem(msgspec.Struct, rename="camel", frozen=True):
    """EIP-7702."""

    chain_id: Quantity
    address: Address
    nonce: Quantity64
    r: Quantity
    s: Quantity
    y_parity: Quantity64 | None = None
    v: Quantity64 | None = None


class CallObject(msgspec.Struct, rename="camel", frozen=True):
    """A transaction as clients describe it. `gas_price` and the two fees exclude each other."""

    sender: Address | None = msgspec.field(default=None, name="from")
    to: Address | None = None
    gas: Quantity64 | None = None
    gas_price: Quantity | None = None
    max_fee_per_gas: Quantity | None = None
    max_priority_fee_per_gas: Quantity | None = None
    value: Quantity | None = None
    nonce: Quantity64 | None = None
    data: Data | None = None
    input: Data | None = None
    """The newer name of `data`."""
    access_list: list[AccessItem] | None = None
    authorization_list: list[AuthorizationItem] | None = None
    chain_id: Quantity | None = None
    type: Quantity64 | None = None
    blob_versioned_hashes: list[Hash] | None = None

    def payload(self) -> bytes:
        """Its data. Raises RpcError as geth does."""
        if self.data is not None and self.input is not None and self.data != self.input:
            raise invalid_params(
                'both "data" and "input" are set and not equal. Please use "input" to pass transaction call data'
            )
        return self.input if self.input is not None else self.data or b""

    def fees(self) -> tuple[int, int]:
        """(fee cap, tip), wei per gas; zeros where none is asked for. Raises RpcError as geth does."""
        cap, tip = int(self.max_fee_per_gas or 0), int(self.max_priority_fee_per_gas or 0)
        if self.gas_price is not None:
            if self.max_fee_per_gas is not None or self.max_priority_fee_per_gas is not None:
                raise RpcError(SERVER_ERROR, "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
            cap = tip = int(self.gas_price)
        if self.max_fee_per_gas is not None and tip > cap:
            raise RpcError(SERVER_ERROR, f"maxFeePerGas ({cap}) < maxPriorityFeePerGas ({tip})")
        if max(cap, tip) > MAX_WEI:
            raise RpcError(SERVER_ERROR, "max fee per gas higher than 2^128-1")
        return cap, min(tip, cap)

    def access_entries(self) -> tuple[AccessEntry, ...]:
        """Its access list."""
        return tuple(AccessEntry(one.address, tuple(one.storage_keys or ())) for one in self.access_list or ())

    def authorizations(self) -> tuple[Authorization, ...]:
        """Its EIP-7702 tuples."""
        return tuple(_authorization(one) for one in self.authorization_list or ())

    def request(self, chain_id: int, gas_limit: int) -> CallRequest:
        """As a simulation takes it, with this gas limit. Raises RpcError."""
        if self.chain_id is not None and self.chain_id != chain_id:
            raise RpcError(SERVER_ERROR, f"chainId does not match node's (have={self.chain_id}, want={chain_id})")
        if self.blob_versioned_hashes:
            raise RpcError(SERVER_ERROR, "blob transactions are not supported")
        if self.to is None and self.authorization_list:
            raise RpcError(SERVER_ERROR, "EIP-7702 transaction cannot be used to create contract")
        cap, tip = self.fees()
        return CallRequest(
            sender=self.sender or ZERO20,
            to=self.to,
            gas_limit=gas_limit,
            value=self.value or 0,
            data=self.payload(),
            max_fee=cap,
            max_priority_fee=tip,
            access_list=self.access_entries(),
            authorizations=self.authorizations(),
        )


def _authorization(one: AuthorizationItem) -> Authorization:
    parity = one.y_parity if one.y_parity is not None else (one.v or 0) - (27 if (one.v or 0) >= 27 else 0)
    if parity > 255:
        raise invalid_params("yParity of an authorization: at most 255")
    return Authorization(one.chain_id, one.address, one.nonce, parity, one.r, one.s)


class AccountObject(msgspec.Struct, rename="camel", frozen=True):
    """An overridden account."""

    balance: Quantity | None = None
    nonce: Quantity64 | None = None
    code: Data | None = None
    state: dict[str, str] | None = None
    state_diff: dict[str, str] | None = None
    move_precompile_to_address: Address | None = None


StateOverride = dict[str, AccountObject]
"""Overridden accounts by address, as geth's."""


def overrides_of(accounts: StateOverride | None) -> Overrides:
    """As a simulation takes them. Raises RpcError -32602."""
    return {_parsed(Address, address): _override(address, one) for address, one in (accounts or {}).items()}


def _override(address: str, one: AccountObject) -> AccountOverride:
    if one.state is not None and one.state_diff is not None:
        raise invalid_params(f"account {address} has both 'state' and 'stateDiff'")
    if one.move_precompile_to_address is not None:
        raise invalid_params("precompiles cannot be moved")
    return AccountOverride(one.balance, one.nonce, one.code, _slots(one.state), _slots(one.state_diff))


def _slots(given: dict[str, str] | None) -> dict[bytes, bytes] | None:
    if given is None:
        return None
    return {bytes(_parsed(StorageKey, slot)): bytes(_parsed(StorageKey, word)) for slot, word in given.items()}


def _parsed(kind: type[Kind], text: str) -> Kind:
    try:
        return kind.parse(text)
    except ValueError as error:
        raise invalid_params(f"invalid state override: {error}") from None


class BlockOverride(msgspec.Struct, rename="camel", frozen=True):
    """What a call sees of its block instead; two names where geth and others differ."""

    number: Quantity64 | None = None
    time: Quantity64 | None = None
    gas_limit: Quantity64 | None = None
    fee_recipient: Address | None = None
    coinbase: Address | None = None
    prev_randao: Hash | None = None
    random: Hash | None = None
    base_fee_per_gas: Quantity64 | None = None
    base_fee: Quantity64 | None = None
    blob_base_fee: Quantity64 | None = None

    def of(self, environment: Environment) -> Environment:
        """The environment with these in it."""
        wanted: dict[str, Any] = {
            "number": self.number,
            "timestamp": self.time,
            "gas_limit": self.gas_limit,
            "coinbase": self.fee_recipient if self.fee_recipient is not None else self.coinbase,
            "prevrandao": self.prev_randao if self.prev_randao is not None else self.random,
            "base_fee": self.base_fee_per_gas if self.base_fee_per_gas is not None else self.base_fee,
            "blob_base_fee": self.blob_base_fee,
        }
        return replace(environment, **{name: value for name, value in wanted.items() if value is not None})
