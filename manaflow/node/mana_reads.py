"""What anyone may read of a chain in its own terms: cells, moves, blocks, proofs, conflicts."""

from __future__ import annotations

from typing import Any, Final

from manaflow.evm.native_hashing import NATIVE
from manaflow.light.build import prove_inclusion
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.moves.view import hexed, transaction_json
from manaflow.moves.wire import GenesisFile, encode_genesis
from manaflow.node.chain_thread import NodeThread
from manaflow.node.encoding import Address, BlockTag, Hash, StorageKey, data, quantity
from manaflow.node.errors import RESOURCE_NOT_FOUND, RpcError, invalid_params
from manaflow.node.limits import MethodClass, Rate
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.parameters import Method

MARKS: Final = {chr(mark): mark for mark in (Mark.BALANCE, Mark.CODE, Mark.NONCE, Mark.STORAGE)}
MAX_HISTORY: Final = 100_000
"""Blocks before a head that an inclusion proof is built from."""
INCLUSION_CLASS: Final = MethodClass(
    frozenset({"mana_getInclusion"}),
    everyone=Rate(per_second=0.5, burst=40),
    each_client=Rate(per_second=0.25, burst=20),
)
"""Each reads the hashes of all blocks on the chain's thread: almost a second for MAX_HISTORY."""


class ReadMethods:
    """See the module."""

    def __init__(self, thread: NodeThread) -> None:
        self._thread = thread

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            "mana_getCell": self.cell,
            "mana_getMoves": self.moves,
            "mana_getBlock": self.block,
            "mana_getInclusion": self.inclusion,
            "mana_getProof": self.conviction,
            "mana_explainConflict": self.conflict,
            "mana_head": self.head,
            "mana_config": self.config,
            "mana_chainConfig": self.chain_config,
        }

    async def cell(
        self, mark: str, address: Address, slot: StorageKey | None = None, pending: bool = False
    ) -> dict[str, Any]:
        """mana_getCell(mark "b", "c", "n" or "s"; address; slot of "s"; whether with the open block's).

        The live cell: {mark, addr, slot, number (0: virgin or unsealed), intx: its maker's txid (zero: virgin), value}.
        """
        if mark not in MARKS:
            raise invalid_params(f"invalid argument 0: a mark is one of {', '.join(MARKS)}")
        if slot is not None and any(slot) and mark != "s":
            raise invalid_params('invalid argument 2: only "s" has slots')
        location = MARKS[mark], bytes(address), ZERO32 if slot is None else bytes(slot)
        return await self._thread.call(_cell, location, pending)

    async def moves(self, txid: Hash) -> dict[str, Any] | None:
        """mana_getMoves: a sealed transaction's leaf and moves, in the form of `manaflow inspect transaction --json`,
        and `block`, its number. null if no sealed block has it."""
        return await self._thread.call(_moves, bytes(txid))

    async def block(self, key: BlockTag) -> str | None:
        """mana_getBlock(number, name or hash): the block's .mana file as hex, null if there is none. By hash an undone
        block, too."""
        return await self._thread.call(_block, key)

    async def inclusion(self, txid: Hash, move: int | None = None) -> str | None:
        """mana_getInclusion(txid, place of a move or null): the proof under the head (docs/LIGHT.md) as hex.

        null if no sealed block has the transaction, -32602 if it has no such move.
        """
        return await self._thread.call(_inclusion, bytes(txid), move)

    async def conviction(self, block_hash: Hash) -> str | None:
        """mana_getProof: the fraud proof that convicts a block as hex, null if this node knows none."""

        def read(chain: OwnedChain) -> str | None:
            proof = chain.validator.conviction(bytes(block_hash))
            return None if proof is None else data(proof)

        return await self._thread.call(read)

    async def conflict(self, txid: Hash) -> dict[str, Any] | None:
        """mana_explainConflict: what this node's coordinator last told the signer: {kind: "lost" or "dropped", ...} as
        the manaVerdicts subscription has it. null if there was nothing to tell, or it is forgotten."""

        def read(chain: OwnedChain) -> dict[str, Any] | None:
            found = chain.conflicts.get(data(txid))
            return None if found is None else {"kind": found[0], **found[1]}

        return await self._thread.call(read)

    async def head(self) -> dict[str, str]:
        """mana_head: {number, hash, finalized: number of the last block that is final}."""

        def read(chain: OwnedChain) -> dict[str, str]:
            header, block_hash = chain.head
            return {"number": quantity(header.number), "hash": data(block_hash), "finalized": quantity(chain.finalized)}

        return await self._thread.call(read)

    async def config(self) -> dict[str, str]:
        """mana_config: {chainId, config: its hash, genesis: the genesis file as hex}: what a new node starts from."""
        return await self._thread.call(_config)

    async def chain_config(self) -> dict[str, str]:
        """mana_chainConfig: {chainId, hash, config: its RLP}: what a wallet must know of the chain, without genesis."""

        def read(chain: OwnedChain) -> dict[str, str]:
            config = chain.config
            return {"chainId": quantity(config.chain_id), "hash": data(config.hash), "config": data(config.encode())}

        return await self._thread.call(read)


def _cell(chain: OwnedChain, location: Location, pending: bool) -> dict[str, Any]:
    found = chain.view(pending=pending).cell(location)
    mark, addr, slot = location
    where = {"mark": chr(mark), "addr": hexed(addr), "slot": hexed(slot)}
    return {**where, "number": found.number, "intx": hexed(found.intx), "value": hexed(found.value)}


def _moves(chain: OwnedChain, txid: bytes) -> dict[str, Any] | None:
    place = chain.place(txid)
    found = None if place is None else chain.sealed(place[0])
    if place is None or found is None:
        return None
    return {"block": place[0], **transaction_json(found.block, place[1])}


def _block(chain: OwnedChain, key: BlockTag) -> str | None:
    """As it was stored: unpacking and packing a large block would hold the chain's thread."""
    named = {"earliest": chain.config.genesis_number, "finalized": chain.finalized}
    number = named.get(key.name or "", chain.head[0].number) if key.number is None else key.number
    with chain.validator.archive() as archive:
        record = archive.canonical(number) if key.block_hash is None else None
        block_hash = key.block_hash if record is None else record.hash
        found = None if block_hash is None else archive.data(block_hash)
    return None if found is None else data(found)


def _inclusion(chain: OwnedChain, txid: bytes, move: int | None) -> str | None:
    place = chain.place(txid)
    found = None if place is None else chain.sealed(place[0])
    if place is None or found is None:
        return None
    head, _ = chain.head
    first = chain.config.genesis_number
    if head.number - first > MAX_HISTORY:
        raise RpcError(RESOURCE_NOT_FOUND, f"the chain is longer than {MAX_HISTORY} blocks: build it from files")
    with chain.validator.archive() as archive:
        records = (archive.canonical(number) for number in range(first, head.number))
        history = [record.hash for record in records if record is not None]
    try:
        return data(prove_inclusion(found.block, place[1], move, chain.config.encode(), head, history))
    except IndexError:
        raise invalid_params(f"invalid argument 1: the transaction has no move {move}") from None


def _config(chain: OwnedChain) -> dict[str, str]:
    config = chain.config
    block = chain.validator.block(config.genesis_number)
    assert block is not None, "genesis is stored"
    genesis = encode_genesis(GenesisFile(config.encode(), chain.validator.ancestors, block), NATIVE)
    return {"chainId": quantity(config.chain_id), "config": data(config.hash), "genesis": data(genesis)}
