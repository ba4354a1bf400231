"""Balances, nonces, codes and storage."""

from __future__ import annotations

from typing import NoReturn

from manaflow.moves.marks import ZERO32, Mark
from manaflow.node.chain import Chain, ChainThread
from manaflow.node.encoding import LATEST, Address, BlockTag, StorageKey, data, quantity
from manaflow.node.errors import METHOD_NOT_SUPPORTED, SERVER_ERROR, RpcError
from manaflow.node.eth_selection import state_of
from manaflow.node.parameters import Method


class StateMethods:
    """What an account holds, in the head's state or with the open block."""

    def __init__(self, thread: ChainThread) -> None:
        self._thread = thread

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            "eth_getBalance": self.balance,
            "eth_getCode": self.code,
            "eth_getStorageAt": self.storage,
            "eth_getTransactionCount": self.transaction_count,
            "eth_getProof": self.proof,
        }

    async def balance(self, address: Address, block: BlockTag = LATEST) -> str:
        """eth_getBalance: wei."""
        value = await self._thread.call(read, block, Mark.BALANCE, address)
        return quantity(int.from_bytes(value, "big"))

    async def code(self, address: Address, block: BlockTag = LATEST) -> str:
        """eth_getCode."""
        return data(await self._thread.call(code_at, block, address))

    async def storage(self, address: Address, slot: StorageKey, block: BlockTag = LATEST) -> str:
        """eth_getStorageAt: 32 bytes."""
        return data(await self._thread.call(read, block, Mark.STORAGE, address, slot))

    async def transaction_count(self, address: Address, block: BlockTag = LATEST) -> str:
        """eth_getTransactionCount: the nonce; at `pending` the one after the last that waits without a gap."""
        if block.name == "pending":
            return quantity(await self._thread.call(next_nonce, address))
        value = await self._thread.call(read, block, Mark.NONCE, address)
        return quantity(int.from_bytes(value, "big"))

    async def proof(self, address: Address, slots: list[StorageKey], block: BlockTag = LATEST) -> NoReturn:
        """eth_getProof."""
        raise RpcError(
            METHOD_NOT_SUPPORTED,
            "no Merkle-Patricia state exists on this chain, so nothing proves what an account holds; "
            "mana_getInclusion proves that a block made a cell",
        )


def read(chain: Chain, block: BlockTag, mark: Mark, address: bytes, slot: bytes = ZERO32) -> bytes:
    """The value at a location, 32 bytes."""
    return state_of(chain, block).cell((mark, address, slot)).value


def code_at(chain: Chain, block: BlockTag, address: bytes) -> bytes:
    """The code of an account."""
    view = state_of(chain, block)
    code_hash = view.cell((Mark.CODE, address, ZERO32)).value
    if not any(code_hash):
        return b""
    code = view.code(code_hash)
    if code is None:
        raise RpcError(SERVER_ERROR, f"the code 0x{code_hash.hex()} of this account is unknown to this node")
    return code


def next_nonce(chain: Chain, address: bytes) -> int:
    """See Chain.next_nonce."""
    return chain.next_nonce(address)
