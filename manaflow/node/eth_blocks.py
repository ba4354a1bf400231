"""Blocks, transactions and receipts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.node.chain import Chain, ChainThread
from manaflow.node.encoding import BlockTag, Hash, Quantity64, data, quantity
from manaflow.node.errors import RpcError
from manaflow.node.eth_forms import EMPTY_BLOOM, Form, header_form, transaction_form
from manaflow.node.eth_sealed import Reading
from manaflow.node.eth_selection import number_of, reading_of
from manaflow.node.parameters import Method
from manaflow.node.rpc import TOO_LARGE, as_one

T = TypeVar("T")
BLOCKS_AT_ONCE: Final = 4
"""Whose receipts are read before other work gets its turn."""


class BlockMethods:
    """What stands in sealed blocks, and transactions that wait. What does not exist is null, as in geth."""

    def __init__(self, thread: ChainThread) -> None:
        self._thread = thread

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            "eth_getBlockByNumber": self.block_by_number,
            "eth_getBlockByHash": self.block_by_hash,
            "eth_getBlockTransactionCountByNumber": self.count_by_number,
            "eth_getBlockTransactionCountByHash": self.count_by_hash,
            "eth_getBlockReceipts": self.block_receipts,
            "eth_getTransactionByHash": self.transaction,
            "eth_getTransactionByBlockNumberAndIndex": self.transaction_by_number,
            "eth_getTransactionByBlockHashAndIndex": self.transaction_by_hash,
            "eth_getRawTransactionByHash": self.raw_transaction,
            "eth_getTransactionReceipt": self.receipt,
            "eth_getUncleCountByBlockNumber": self.uncle_count_by_number,
            "eth_getUncleCountByBlockHash": self.uncle_count_by_hash,
            "eth_getUncleByBlockNumberAndIndex": self.uncle_by_number,
            "eth_getUncleByBlockHashAndIndex": self.uncle_by_hash,
        }

    async def block_by_number(self, block: BlockTag, full: bool = False) -> Form | None:
        """eth_getBlockByNumber."""
        if block.name == "pending":
            return await self._thread.call(pending_block, full)
        return await self._ask(block, lambda reading: reading.block(full=full))

    async def block_by_hash(self, block_hash: Hash, full: bool = False) -> Form | None:
        """eth_getBlockByHash."""
        return await self._ask(block_hash, lambda reading: reading.block(full=full))

    async def count_by_number(self, block: BlockTag) -> str | None:
        """eth_getBlockTransactionCountByNumber."""
        if block.name == "pending":
            return quantity(len(await self._thread.call(admitted)))
        return await self._ask(block, lambda reading: quantity(len(reading)))

    async def count_by_hash(self, block_hash: Hash) -> str | None:
        """eth_getBlockTransactionCountByHash."""
        return await self._ask(block_hash, lambda reading: quantity(len(reading)))

    async def block_receipts(self, block: BlockTag) -> list[Form] | None:
        """eth_getBlockReceipts."""
        return await self._ask(block, Reading.receipts)

    async def transaction(self, txid: Hash) -> Form | None:
        """eth_getTransactionByHash: of a block, or waiting."""
        return await self._thread.call(transaction_by_id, txid)

    async def transaction_by_number(self, block: BlockTag, index: Quantity64) -> Form | None:
        """eth_getTransactionByBlockNumberAndIndex."""
        return await self._ask(block, lambda reading: reading.transaction(index) if index < len(reading) else None)

    async def transaction_by_hash(self, block_hash: Hash, index: Quantity64) -> Form | None:
        """eth_getTransactionByBlockHashAndIndex."""
        return await self._ask(block_hash, lambda reading: reading.transaction(index) if index < len(reading) else None)

    async def raw_transaction(self, txid: Hash) -> str:
        """eth_getRawTransactionByHash: the envelope; empty for an unknown one."""
        return data(await self._thread.call(envelope_of, txid))

    @as_one("receipt_many")
    async def receipt(self, txid: Hash) -> Form | None:
        """eth_getTransactionReceipt."""
        return await self._thread.call(receipt_of, txid)

    async def receipt_many(self, calls: Sequence[Sequence[Hash]], room: int) -> list[Form | RpcError | None]:
        """eth_getTransactionReceipt of each; see rpc.Many. Other work gets its turn after some blocks."""
        txids, found = [txid for (txid,) in calls], list[Form | RpcError | None]()
        while len(found) < len(txids):
            more, room = await self._thread.call(receipts_of, txids[len(found) :], room)
            found += more
        return found

    async def uncle_count_by_number(self, block: BlockTag) -> str | None:
        """eth_getUncleCountByBlockNumber: there are none."""
        return await self._ask(block, lambda _: quantity(0))

    async def uncle_count_by_hash(self, block_hash: Hash) -> str | None:
        """eth_getUncleCountByBlockHash: there are none."""
        return await self._ask(block_hash, lambda _: quantity(0))

    async def uncle_by_number(self, block: BlockTag, index: Quantity64) -> None:
        """eth_getUncleByBlockNumberAndIndex: there are none."""

    async def uncle_by_hash(self, block_hash: Hash, index: Quantity64) -> None:
        """eth_getUncleByBlockHashAndIndex: there are none."""

    async def _ask(self, block: BlockTag | bytes, ask: Callable[[Reading], T]) -> T | None:
        def run(chain: Chain) -> T | None:
            return ask_block(chain, block, ask)

        return await self._thread.call(run)


def ask_block(chain: Chain, block: BlockTag | bytes, ask: Callable[[Reading], T]) -> T | None:
    """What `ask` says of a sealed block; None if there is no such block."""
    key = block if isinstance(block, bytes) else block.block_hash or number_of(chain, block)
    reading = reading_of(chain, key)
    return None if reading is None else ask(reading)


def pending_block(chain: Chain, full: bool) -> Form:
    """The open block's environment and its transactions so far; sums and roots are not there yet."""
    form = header_form(chain.view(pending=True).header, None, EMPTY_BLOOM)
    forms = [pending_form(envelope) for envelope in admitted(chain)]
    transactions = forms if full else [one["hash"] for one in forms]
    return {**form, "miner": None, "size": quantity(0), "transactions": transactions, "uncles": [], "withdrawals": []}


def admitted(chain: Chain) -> tuple[bytes, ...]:
    """See Chain.admitted."""
    return chain.admitted()


def placed(chain: Chain, txid: bytes) -> tuple[Reading, int] | None:
    """The sealed block of a transaction, and its index there; None for system transactions too."""
    place = chain.place(txid)
    reading = None if place is None else reading_of(chain, place[0])
    if place is None or reading is None:
        return None
    index = reading.index_of_leaf(place[1])
    return None if index is None else (reading, index)


def transaction_by_id(chain: Chain, txid: bytes) -> Form | None:
    """A transaction, sealed or waiting."""
    found = placed(chain, txid)
    if found is not None:
        reading, index = found
        return reading.transaction(index)
    envelope = chain.pending(txid)
    return None if envelope is None else pending_form(envelope)


def pending_form(envelope: bytes) -> Form:
    """A transaction that waits. The envelope is valid."""
    transaction = decode_envelope(envelope)
    return transaction_form(transaction, recover_sender(transaction))


def envelope_of(chain: Chain, txid: bytes) -> bytes:
    """A transaction's envelope, empty if unknown."""
    found = placed(chain, txid)
    if found is None:
        return chain.pending(txid) or b""
    reading, index = found
    return reading.sealed.block.envelopes[index]


def receipts_of(chain: Chain, txids: Sequence[bytes], room: int) -> tuple[list[Form | RpcError | None], int]:
    """Receipts of the first of these, of at most BLOCKS_AT_ONCE blocks; and about how many bytes of `room` are left."""
    found: list[Form | RpcError | None] = []
    blocks: set[Reading] = set()
    for txid in txids:
        if room <= 0:
            found.append(TOO_LARGE)
            continue
        try:
            place = placed(chain, txid)
        except RpcError as error:
            found.append(error)
            continue
        if place is not None:
            blocks.add(place[0])
            if len(blocks) > BLOCKS_AT_ONCE:
                break
            room -= len(place[0].sealed.receipts[place[1]].logs_rlp)
        found.append(None if place is None else place[0].receipt(place[1]))
    return found, room


def receipt_of(chain: Chain, txid: bytes) -> Form | None:
    """A sealed transaction's receipt."""
    found = placed(chain, txid)
    return None if found is None else found[0].receipt(found[1])
