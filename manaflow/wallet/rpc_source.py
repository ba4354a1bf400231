"""A node as a source of cells. It is believed what the cells are; whatever can be checked is checked."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from manaflow.errors import Failure
from manaflow.evm.executor import Environment
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import MAX_NONCE, Location, Mark
from manaflow.rules.config import MAX_CONFIG_BYTES, ChainConfig, Profile
from manaflow.rules.signing import ETHEREUM_CHAIN_IDS
from manaflow.wallet.rpc import Rpc, data, fields, quantity
from manaflow.wallet.source import Cell

MAX_CODE_BYTES: Final = 1 << 17
"""More than any code: an answer with one, as hex."""


def read_config(rpc: Rpc, chain_id: int | None = None) -> ChainConfig:
    """The chain's config, whose hash must be the one that the node names.

    chain_id: the one that the user expects. Raises Failure: a signature is good on every chain of its chain id.
    """
    told = fields(rpc.call("mana_chainConfig", limit=4 * MAX_CONFIG_BYTES), "mana_chainConfig")
    encoded = data(told.get("config"), "the config")
    if hashlib.sha256(encoded).digest() != data(told.get("hash"), "the config's hash", 32):
        raise Failure("the node's config is not the one whose hash it names")
    config = ChainConfig.decode(encoded)
    if chain_id is not None and config.chain_id != chain_id:
        raise Failure(f"the node is of chain {config.chain_id}, expected was {chain_id}")
    if config.profile != Profile.MANAFLOW:
        raise Failure("declared transactions belong to chains of profile manaflow")
    if config.chain_id in ETHEREUM_CHAIN_IDS:
        raise Failure(f"the node claims chain id {config.chain_id}, which is an Ethereum network's: nothing is signed")
    return config


class RpcSource:
    """See source.CellSource. It sees the pending state, or with `pending` False the sealed one."""

    def __init__(self, rpc: Rpc, config: ChainConfig, *, pending: bool = True) -> None:
        """Reads the next block's environment. Raises Failure."""
        self._rpc, self._config, self._pending = rpc, config, pending
        self._head = self._head_hash()
        self.environment = self._environment()

    def is_unmoved(self) -> bool:
        """True if the node still has the head that it had at first: what was read is of one state, or nearly so."""
        return self._head_hash() == self._head

    def cell(self, location: Location) -> Cell:
        """See CellSource."""
        mark, address, slot = location
        where = f"the cell {chr(mark)} of 0x{address.hex()}"
        given = self._rpc.call("mana_getCell", chr(mark), _hex(address), _hex(slot), self._pending)
        told = fields(given, where)
        intx, value = data(told.get("intx"), where, 32), data(told.get("value"), where, 32)
        number = told.get("number")
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**48:
            raise Failure(f"the node gives no cell number for {where}")
        if mark == Mark.NONCE and int.from_bytes(value, "big") > MAX_NONCE:
            raise Failure(f"the node gives a nonce of more than 64 bits for 0x{address.hex()}")
        return Cell(intx, value, number)

    def code(self, address: bytes, code_hash: bytes) -> bytes:
        """See CellSource: a Snapshot checks the bytes against the hash."""
        tag = "pending" if self._pending else "latest"
        given = self._rpc.call("eth_getCode", _hex(address), tag, limit=4 * MAX_CODE_BYTES)
        return data(given, f"the code of 0x{address.hex()}")

    def block_hash(self, number: int) -> bytes:
        """See CellSource."""
        told = fields(self._rpc.call("eth_getBlockByNumber", hex(number), False), f"block {number}")
        return data(told.get("hash"), f"the hash of block {number}", 32)

    def _head_hash(self) -> bytes:
        return data(fields(self._rpc.call("mana_head"), "mana_head").get("hash"), "the head's hash", 32)

    def _environment(self) -> Environment:
        """Of the open block; where none is open, the node says what the next one would be."""
        block = fields(self._rpc.call("eth_getBlockByNumber", "pending", False), "the pending block")
        latest = fields(self._rpc.call("eth_getBlockByNumber", "latest", False), "the latest block")
        timestamp = quantity(block.get("timestamp"), "its timestamp", 40)
        entry = self._config.entry_at(timestamp)
        return Environment(
            chain_id=self._config.chain_id,
            fork=entry.fork,
            number=quantity(block.get("number"), "its number", 40),
            timestamp=timestamp,
            coinbase=data(latest.get("miner"), "the coinbase", 20),
            gas_limit=_bounded(quantity(block.get("gasLimit"), "its gas limit"), 2**53, "gas limit"),
            base_fee=quantity(block.get("baseFeePerGas"), "its base fee"),
            prevrandao=data(block.get("mixHash"), "its randomness", 32),
            excess_blob_gas=0,
            blob_base_fee=1,
            blobs=entry.blobs,
            profile=self._config.profile,
        )


def _bounded(value: int, most: int, what: str) -> int:
    if value > most:
        raise Failure(f"the node gives a {what} of {value}")
    return value


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def next_nonce(rpc: Rpc, address: bytes) -> int:
    """The nonce after everything of this sender that the node knows, waiting or in a block."""
    return quantity(rpc.call("eth_getTransactionCount", _hex(address), "pending"), "the sender's nonce")


def waiting(rpc: Rpc, txid: bytes) -> bytes:
    """The envelope of a transaction that the node knows. Raises Failure, also if it is another one."""
    given: Any = rpc.call("eth_getRawTransactionByHash", _hex(txid))
    envelope = data(given, "the transaction")
    if not envelope:
        raise Failure(f"the node knows no transaction 0x{txid.hex()}")
    if keccak256(envelope) != txid:
        raise Failure(f"the node gives another transaction than 0x{txid.hex()}")
    return envelope
