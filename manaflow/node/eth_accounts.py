"""Accounts whose keys this node holds, for development: signing, and sending what is not signed yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from eth_account import Account
from eth_account.messages import SignableMessage, encode_defunct, encode_typed_data
from eth_account.signers.local import LocalAccount

from manaflow.moves.bounded import parse_json
from manaflow.node.chain import Chain, ChainThread
from manaflow.node.encoding import Address, BlockTag, Data, data
from manaflow.node.errors import SERVER_ERROR, RpcError, invalid_params
from manaflow.node.eth_blocks import pending_form
from manaflow.node.eth_calls import CALL_GAS, estimate
from manaflow.node.eth_fees import FeeMethods
from manaflow.node.eth_forms import Form, access_list_form, authorization_form
from manaflow.node.eth_requests import CallObject
from manaflow.node.eth_sending import send
from manaflow.node.parameters import Method

PENDING: Final = BlockTag(name="pending")
MAX_DEPTH: Final = 64
"""Of typed data that comes as JSON in a string: what a request may nest does not bound what its strings hold."""
BASE_FEE_ROOM: Final = 2
"""The fee cap is the next base fee times this, and the tip."""


class AccountMethods:
    """Signs with the keys that it is given: no passwords, so only for keys that everybody may know."""

    def __init__(self, thread: ChainThread, fees: FeeMethods, keys: Sequence[bytes] = ()) -> None:
        """keys: secrets of 32 bytes, in the order in which eth_accounts lists their addresses."""
        self._thread, self._fees = thread, fees
        accounts: list[LocalAccount] = [Account.from_key(key) for key in keys]
        self._accounts = {bytes.fromhex(account.address[2:]): account for account in accounts}
        self._turns = {address: asyncio.Lock() for address in self._accounts}
        """Who sends without a nonce waits until the one before has its own."""

    def methods(self) -> dict[str, Method]:
        """By name; without keys only eth_accounts and what needs none."""
        always: dict[str, Method] = {"eth_accounts": self.addresses, "personal_ecRecover": self.recover}
        if not self._accounts:
            return always
        return {
            **always,
            "personal_listAccounts": self.addresses,
            "eth_sign": self.sign,
            "personal_sign": self.personal_sign,
            "personal_unlockAccount": self.unlock,
            "eth_signTypedData": self.sign_typed_data,
            "eth_signTypedData_v4": self.sign_typed_data,
            "eth_signTransaction": self.sign_transaction,
            "eth_sendTransaction": self.send_transaction,
            "personal_sendTransaction": self.personal_send,
        }

    async def addresses(self) -> list[str]:
        """eth_accounts."""
        return list(map(data, self._accounts))

    async def sign(self, address: Address, message: Data) -> str:
        """eth_sign, by EIP-191: never bytes as they are."""
        return self._sign(address, encode_defunct(primitive=message))

    async def personal_sign(self, message: Data, address: Address, password: str = "") -> str:
        """personal_sign: eth_sign with its parameters the other way round."""
        return self._sign(address, encode_defunct(primitive=message))

    async def recover(self, message: Data, signature: Data) -> str:
        """personal_ecRecover: who signed a message by EIP-191."""
        try:
            return str(Account.recover_message(encode_defunct(primitive=message), signature=bytes(signature))).lower()
        except Exception as error:  # of many kinds, none of which derives from another
            raise RpcError(SERVER_ERROR, f"invalid signature: {error}") from None

    async def unlock(self, address: Address, password: str = "", seconds: Any = None) -> bool:
        """personal_unlockAccount: nothing is locked."""
        self._account(address)
        return True

    async def sign_typed_data(self, address: Address, typed: Any) -> str:
        """eth_signTypedData_v4 (EIP-712), declared transactions (S2) among all else. typed: an object, or its JSON."""
        return self._sign(address, _typed_message(typed))

    async def sign_transaction(self, request: CallObject) -> Form:
        """eth_signTransaction: the envelope, and the transaction in it."""
        raw = await self._signed(request)
        return {"raw": data(raw), "tx": pending_form(raw)}

    async def send_transaction(self, request: CallObject) -> str:
        """eth_sendTransaction: what is left out is filled in for the open block; returns the txid."""
        turn = self._turns.get(request.sender or b"")
        if turn is None or request.nonce is not None:
            return data(await send(self._thread, await self._signed(request)))
        async with turn:
            return data(await send(self._thread, await self._signed(request)))

    async def personal_send(self, request: CallObject, password: str = "") -> str:
        """personal_sendTransaction: eth_sendTransaction."""
        return await self.send_transaction(request)

    async def _signed(self, request: CallObject) -> bytes:
        account = self._account(request.sender or b"")
        fields = await self._thread.call(self._filled, request)
        try:
            return bytes(account.sign_transaction(fields).raw_transaction)
        except (TypeError, ValueError) as error:
            raise invalid_params(f"invalid argument 0: {error}") from None

    def _filled(self, chain: Chain, request: CallObject) -> dict[str, Any]:
        """The transaction with everything that its sender left out. On the chain's thread."""
        assert request.sender is not None
        chain_id = chain.config.chain_id
        call = request.request(chain_id, 0)
        limit: int | None = request.gas
        gas = estimate(chain, request, PENDING, None, None, CALL_GAS) if limit is None else limit
        nonce = chain.next_nonce(request.sender) if request.nonce is None else request.nonce
        fields: dict[str, Any] = {
            "chainId": chain_id, "nonce": nonce, "gas": gas, "to": request.to, "value": call.value, "data": call.data,
        }  # fmt: skip
        return {**fields, **self._priced(chain, request), **_lists(request)}

    def _priced(self, chain: Chain, request: CallObject) -> dict[str, int]:
        """Its fees, and the type that follows from them."""
        if request.gas_price is not None:
            if request.access_list is None:
                return {"gasPrice": request.gas_price}
            return {"type": 1, "gasPrice": request.gas_price}
        base_fee, suggested = self._fees.suggested(chain)
        asked_tip, asked_cap = request.max_priority_fee_per_gas, request.max_fee_per_gas
        tip = suggested if asked_tip is None else int(asked_tip)
        cap = BASE_FEE_ROOM * base_fee + tip if asked_cap is None else int(asked_cap)
        kind = 4 if request.authorization_list else 2
        return {"type": kind, "maxFeePerGas": cap, "maxPriorityFeePerGas": min(tip, cap)}

    def _sign(self, address: bytes, message: SignableMessage) -> str:
        return data(bytes(self._account(address).sign_message(message).signature))

    def _account(self, address: bytes) -> LocalAccount:
        account = self._accounts.get(address)
        if account is None:
            raise RpcError(SERVER_ERROR, "unknown account")
        return account


def _lists(request: CallObject) -> dict[str, Any]:
    """The lists of a transaction that has them, as eth_account takes them."""
    lists: dict[str, Any] = {}
    if request.access_list is not None:
        lists["accessList"] = access_list_form(request.access_entries())
    if request.authorization_list:
        lists["authorizationList"] = [authorization_form(one) for one in request.authorizations()]
    return lists


def _typed_message(typed: Any) -> SignableMessage:
    """EIP-712. Raises RpcError -32602."""
    try:
        full = parse_json(typed.encode(), MAX_DEPTH) if isinstance(typed, str) else typed
        return encode_typed_data(full_message=full)
    except RecursionError:
        raise invalid_params("invalid argument 1: the types refer to each other without end") from None
    except Exception as error:  # the encoder raises whatever it comes upon
        raise invalid_params(f"invalid argument 1: {str(error)[:200]}") from None
