"""Blocks, transactions and receipts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar

from msgspec import Raw

from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.hashing import keccak256
from manaflow.node.chain import Chain, ChainThread, SealedBlock
from manaflow.node.encoding import BlockTag, Hash, Quantity64, data, quantity
from manaflow.node.errors import RpcError
from manaflow.node.eth_forms import EMPTY_BLOOM, Form, header_form, transaction_form
from manaflow.node.eth_receipts import receipts_of, weight_of
from manaflow.node.eth_sealed import Reading
from manaflow.node.eth_selection import number_of, reading_of, sealed_of
from manaflow.node.messages import ENCODER
from manaflow.node.parameters import Method
from manaflow.node.rpc import TOO_LARGE, as_one

T = TypeVar("T")
Place = tuple[SealedBlock, int]
"""A sealed block, and which of its transactions."""
BLOCKS_AT_ONCE: Final = 4
"""Whose receipts are asked for before other work gets its turn."""
LIGHT: Final = 1 << 18
"""How much of what eth_receipts.weight_of says the event loop's thread does in one step: some milliseconds."""


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

    async def block_receipts(self, block: BlockTag) -> Raw | None:
        """eth_getBlockReceipts."""
        sealed = await self._ask(block, lambda reading: reading.sealed)
        return (
            None if sealed is None else await made([sealed], lambda: Raw(ENCODER.encode(receipts_of(sealed).forms())))
        )

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
    async def receipt(self, txid: Hash) -> Raw | None:
        """eth_getTransactionReceipt."""
        (found,) = await self.receipt_many([[txid]], room=1)
        if isinstance(found, RpcError):
            raise found
        return found

    async def receipt_many(self, calls: Sequence[Sequence[Hash]], room: int) -> list[Raw | RpcError | None]:
        """eth_getTransactionReceipt of each; see rpc.Many. Other work gets its turn after some blocks."""
        txids, found = [txid for (txid,) in calls], list[Raw | RpcError | None]()
        while len(found) < len(txids):
            places = await self._thread.call(places_of, txids[len(found) :])
            blocks = {place[0] for place in places if isinstance(place, tuple)}
            texts, room = await made(blocks, partial(texts_of, places, room))
            found += texts
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
    envelopes = admitted(chain)
    transactions = [pending_form(raw) if full else data(keccak256(raw)) for raw in envelopes]
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
    index = reading.sealed.index_of_leaf(place[1])
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


def places_of(chain: Chain, txids: Sequence[bytes]) -> list[Place | RpcError | None]:
    """Where the first of these stand, of at most BLOCKS_AT_ONCE blocks; None for what no block has."""
    found: list[Place | RpcError | None] = []
    blocks: dict[int, SealedBlock | RpcError | None] = {}
    for place in map(chain.place, txids):
        if place is None:
            found.append(None)
            continue
        number, leaf = place
        if number not in blocks:
            if len(blocks) == BLOCKS_AT_ONCE:
                break
            blocks[number] = _sealed_or_error(chain, number)
        block = blocks[number]
        if not isinstance(block, SealedBlock):
            found.append(block)
            continue
        index = block.index_of_leaf(leaf)
        found.append(None if index is None else (block, index))
    return found


def _sealed_or_error(chain: Chain, number: int) -> SealedBlock | RpcError | None:
    try:
        return sealed_of(chain, number)
    except RpcError as error:
        return error


def texts_of(places: Sequence[Place | RpcError | None], room: int) -> tuple[list[Raw | RpcError | None], int]:
    """The receipts at these places as JSON, as long as `room` bytes have not been passed; and what is left of them."""
    texts: list[Raw | RpcError | None] = []
    for place in places:
        if room <= 0:
            texts.append(TOO_LARGE)
        elif isinstance(place, tuple):
            block, index = place
            text = ENCODER.encode(receipts_of(block).form(index))
            room -= len(text)
            texts.append(Raw(text))
        else:
            texts.append(place)
    return texts, room


async def made(blocks: Iterable[SealedBlock], make: Callable[[], T]) -> T:
    """What `make` makes of receipts of these blocks; on a thread of its own where that takes long."""
    is_light = sum(map(weight_of, blocks)) <= LIGHT
    return make() if is_light else await asyncio.to_thread(make)
