"""Who this node is and what it is connected to: eth_chainId, eth_blockNumber, net_* and web3_*."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from manaflow.moves.hashing import keccak256
from manaflow.node.chain import Chain, ChainThread
from manaflow.node.encoding import Data, data, quantity
from manaflow.node.parameters import Method


class NetworkMethods:
    """The chain's and the node's names. A node of one process has no peers."""

    def __init__(self, thread: ChainThread) -> None:
        self._thread = thread

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            "eth_chainId": self.chain_id,
            "eth_blockNumber": self.block_number,
            "eth_syncing": self.syncing,
            "eth_coinbase": self.coinbase,
            "net_version": self.network,
            "net_listening": self.listening,
            "net_peerCount": self.peers,
            "web3_clientVersion": self.client,
            "web3_sha3": self.keccak,
        }

    async def chain_id(self) -> str:
        """eth_chainId."""
        return quantity(await self._thread.call(_chain_id))

    async def block_number(self) -> str:
        """eth_blockNumber: the head's."""
        return quantity(await self._thread.call(_head_number))

    async def syncing(self) -> bool:
        """eth_syncing: false, for what this node answers from is always a whole block."""
        return False

    async def coinbase(self) -> str:
        """eth_coinbase: who gets the open block's fees."""
        return data(await self._thread.call(_coinbase))

    async def network(self) -> str:
        """net_version: the chain id, in decimal digits."""
        return str(await self._thread.call(_chain_id))

    async def listening(self) -> bool:
        """net_listening."""
        return True

    async def peers(self) -> str:
        """net_peerCount."""
        return quantity(0)

    async def client(self) -> str:
        """web3_clientVersion."""
        return client_version()

    async def keccak(self, message: Data) -> str:
        """web3_sha3: keccak-256."""
        return data(keccak256(message))


def client_version() -> str:
    """Manaflow/v1.2.3/linux-x86_64/python3.11.4."""
    try:
        own = version("manaflow")
    except PackageNotFoundError:  # run from a source tree that nothing has installed
        own = "unknown"
    return f"Manaflow/v{own}/{sys.platform}-{platform.machine()}/python{platform.python_version()}"


def _chain_id(chain: Chain) -> int:
    return chain.config.chain_id


def _head_number(chain: Chain) -> int:
    return chain.head[0].number


def _coinbase(chain: Chain) -> bytes:
    return chain.view(pending=True).header.coinbase
