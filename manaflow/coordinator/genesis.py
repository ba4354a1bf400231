"""Genesis (docs/SPEC.md, section 5): a replay's known state before its first block, or what a new chain starts with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from manaflow.coordinator.ethereum import EthereumBlock, cells_of
from manaflow.coordinator.inputs import BlockInputs
from manaflow.coordinator.latest import LatestCells, filled_moves
from manaflow.coordinator.seal import Body, seal
from manaflow.errors import Failure, Unsupported
from manaflow.evm.environment import SYSTEM_CONTRACTS
from manaflow.moves import trees
from manaflow.moves.block import Block
from manaflow.moves.columns import U8
from manaflow.moves.hashing import Hashing, keccak256
from manaflow.moves.header import HEADER_VERSION, Header
from manaflow.moves.leaf import SystemKind, system_txid
from manaflow.moves.marks import MAX_NONCE, ZERO20, ZERO32, Location, Mark
from manaflow.moves.transactions import GAS_PER_BLOB
from manaflow.moves.wire import GenesisFile
from manaflow.rules.bodies import ancestor_leaf
from manaflow.rules.config import (
    CALL_ORDER,
    MAX_ANCESTORS,
    NETWORK_FORKS,
    PRAGUE_BLOBS,
    BlobParameters,
    ChainConfig,
    Fork,
    ForkEntry,
    Profile,
)
from manaflow.rules.fees import next_excess_blob_gas
from manaflow.rules.genesis import MAX_CONSUMES_PER_PART, check_genesis
from manaflow.rules.moves import withdrawal_credits
from manaflow.rules.signing import ETHEREUM_CHAIN_IDS
from manaflow.rules.system import EMPTY_LOGS_HASH

CHALLENGE_BLOCKS: Final = 64
"""Blocks are final after this many others."""
HISTORY_CODE: Final = bytes.fromhex(
    "3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff81430311604257611fff"
    "9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500"
)
"""The contract of earlier blocks' hashes (EIP-2935)."""
Allocation = tuple[int, int, bytes, Mapping[bytes, bytes]]
"""What genesis gives an address: balance (wei), nonce, code, and storage (word by slot, 32 bytes each)."""


def known_cells(blocks: Iterable[EthereumBlock]) -> dict[Location, bytes]:
    """Every known non-zero value before the first block, first seen wins; unknown codes are left out.

    An account that an early block only credits with withdrawals may be unknown there and known later: its balance
    before the first block is the later one less those credits.
    """
    seen: dict[Location, bytes] = {}
    credited: dict[bytes, int] = {}
    for block in blocks:
        for location, value in cells_of(block.prestate):
            mark, address, _ = location
            if mark == Mark.BALANCE and location not in seen and address in credited:
                value = max(int.from_bytes(value, "big") - credited[address], 0).to_bytes(32, "big")
            seen.setdefault(location, value)
        for address, wei in withdrawal_credits(block.withdrawals).items():
            credited[address] = credited.get(address, 0) + wei
    return {location: value for location, value in seen.items() if any(value)}


def known_codes(blocks: Iterable[EthereumBlock]) -> dict[bytes, bytes]:
    """Code bytes by hash of every account in the pre-states."""
    accounts = (account for block in blocks for account in block.prestate.values())
    return {account.code_hash: account.code for account in accounts if account.code}


def ancestors_of(blocks: Sequence[BlockInputs]) -> tuple[tuple[int, bytes], ...]:
    """Known hashes of blocks older than genesis's parent, ascending: what BLOCKHASH may ask and no header shows."""
    genesis_number = blocks[0].number - 1
    known = {n: h for block in blocks for n, h in block.block_hashes.items() if n < genesis_number - 1}
    return tuple(sorted(known.items())[-MAX_ANCESTORS:])


def ancestors_root(ancestors: Sequence[tuple[int, bytes]]) -> bytes:
    """RFC 6962 root over number:8 | hash:32 (B5)."""
    return trees.root([ancestor_leaf(number, block_hash) for number, block_hash in ancestors])


def replay_config(blocks: Sequence[EthereumBlock], producer: bytes) -> ChainConfig:
    """The chain config of a replay of these consecutive blocks, sealed by one producer (a 20-byte address)."""
    first = blocks[0]
    forks = NETWORK_FORKS.get(first.chain_id)
    if forks is None:
        raise Unsupported(f"chain id {first.chain_id}: fork times are known for {sorted(NETWORK_FORKS)}")
    return chain_config(first.chain_id, forks, CALL_ORDER, [block.inputs() for block in blocks], producer)


def chain_config(
    chain_id: int,
    forks: tuple[ForkEntry, ...],
    system_calls: tuple[SystemKind, ...],
    blocks: Sequence[BlockInputs],
    producer: bytes,
) -> ChainConfig:
    """The config of a chain of profile `ethereum` that starts with these blocks, sealed by one producer."""
    ancestors = ancestors_of(blocks)
    return ChainConfig(
        chain_id=chain_id,
        profile=Profile.ETHEREUM,
        forks=forks,
        system_calls=system_calls,
        producers=(producer,),
        genesis_number=blocks[0].number - 1,
        ancestors_root=ancestors_root(ancestors),
        ancestors=len(ancestors),
        challenge_blocks=CHALLENGE_BLOCKS,
    )


def manaflow_config(
    chain_id: int, producers: Sequence[bytes], *, challenge_blocks: int = CHALLENGE_BLOCKS
) -> ChainConfig:
    """The config of a new chain of profile `manaflow`: Prague from the start, at number 0.

    producers: 20-byte addresses. Raises Failure for the chain id of a known Ethereum network (S1), or none at all.
    """
    if chain_id in ETHEREUM_CHAIN_IDS or chain_id < 1:
        raise Failure(f"chain id {chain_id}: a manaflow chain has one of its own, not an Ethereum network's")
    config = ChainConfig(
        chain_id=chain_id,
        profile=Profile.MANAFLOW,
        forks=(ForkEntry(Fork.PRAGUE, 0, PRAGUE_BLOBS),),
        system_calls=(SystemKind.HISTORY,),
        producers=tuple(producers),
        genesis_number=0,
        ancestors_root=trees.EMPTY_ROOT,
        ancestors=0,
        challenge_blocks=challenge_blocks,
    )
    config.validate()
    return config


def new_chain(
    config: ChainConfig,
    alloc: Mapping[bytes, Allocation],
    hashing: Hashing,
    *,
    timestamp: int,
    gas_limit: int,
    base_fee: int,
    coinbase: bytes = ZERO20,
) -> GenesisFile:
    """The genesis of a new chain of profile `manaflow`, with the contract of earlier hashes (EIP-2935).

    alloc: by 20-byte address. timestamp: seconds; the first block's is later. gas_limit, base_fee (wei per gas): the
    first block's base fee is this one, its gas limit close to it (B2). Raises Failure or Verdict for a state that no
    genesis may hold.
    """
    history = SYSTEM_CONTRACTS[SystemKind.HISTORY]
    accounts = {history: (0, 1, HISTORY_CODE, {}), **alloc}
    cells = {location: value for location, value in _allocated(accounts) if any(value)}
    codes = {keccak256(code): code for _, _, code, _ in accounts.values() if code}
    opened = _opened(config, timestamp=timestamp, gas_limit=gas_limit, base_fee=base_fee, coinbase=coinbase)
    block = genesis_block(opened, config, cells, codes, hashing)
    check_genesis(config, block)
    return GenesisFile(config.encode(), (), block)


def _allocated(accounts: Mapping[bytes, Allocation]) -> Iterator[tuple[Location, bytes]]:
    for address, (balance, nonce, code, storage) in accounts.items():
        if len(address) != 20 or any(len(word) != 32 for item in storage.items() for word in item):
            raise Failure(f"the account 0x{address.hex()}: addresses have 20 bytes, slots and their values 32")
        if not 0 <= balance < 2**256 or not 0 <= nonce <= MAX_NONCE:
            raise Failure(f"the account 0x{address.hex()}: a balance has 256 bits, a nonce 64")
        yield (Mark.BALANCE, address, ZERO32), balance.to_bytes(32, "big")
        yield (Mark.NONCE, address, ZERO32), nonce.to_bytes(32, "big")
        yield (Mark.CODE, address, ZERO32), keccak256(code) if code else ZERO32
        for slot, word in storage.items():
            yield (Mark.STORAGE, address, slot), word


def header_before(first: BlockInputs, config: ChainConfig) -> Header:
    """The header of a replay's genesis before sealing: what makes rule B2's formulas yield the first block.

    Raises Unsupported if no genesis makes them yield its excess blob gas.
    """
    opened = _opened_without_blobs(first, config)
    blobs = config.blobs_at(first.timestamp)
    if blobs is None:
        return opened
    for excess, used in _blob_candidates(first.excess_blob_gas, blobs):
        parent = replace(opened, excess_blob_gas=excess, blob_gas_used=used)
        if next_excess_blob_gas(parent, config, first.timestamp) == first.excess_blob_gas:
            return parent
    raise Unsupported(f"block {first.number}: no parent of its base fee yields {first.excess_blob_gas} excess blob gas")


def _blob_candidates(wanted: int, blobs: BlobParameters) -> Iterator[tuple[int, int]]:
    """(excess blob gas, blob gas used) of parents that may yield `wanted`.

    The first does by EIP-4844; the second where EIP-7918 lets the excess only grow.
    """
    yield wanted, blobs.target * GAS_PER_BLOB
    growth = blobs.maximum - blobs.target
    if growth > 0 and (used := -(-wanted * blobs.maximum // growth)) < 2**64:
        yield 0, used


def _opened_without_blobs(first: BlockInputs, config: ChainConfig) -> Header:
    seen = first.block_hashes.get(config.genesis_number - 1, ZERO32)
    opened = _opened(config, timestamp=first.timestamp - 1, gas_limit=first.gas_limit, base_fee=first.base_fee)
    return replace(opened, seen_parent_hash=seen)


def _opened(config: ChainConfig, *, timestamp: int, gas_limit: int, base_fee: int, coinbase: bytes = ZERO20) -> Header:
    """With half the gas limit as the gas used, so that the next base fee is this one (EIP-1559)."""
    return Header(
        version=HEADER_VERSION,
        config=config.hash,
        number=config.genesis_number,
        parent_hash=ZERO32,
        seen_parent_hash=ZERO32,
        coinbase=coinbase,
        timestamp=timestamp,
        gas_limit=gas_limit,
        gas_used=gas_limit // 2,
        base_fee=base_fee,
        prevrandao=ZERO32,
        blob_gas_used=0,
        excess_blob_gas=0,
        parent_beacon_root=ZERO32,
        extra_data=b"",
        transactions_root=ZERO32,
        codes_root=ZERO32,
        withdrawals_root=ZERO32,
        history_root=trees.EMPTY_ROOT,
        first_cell=1,
        cells=0,
        transactions=0,
        codes=0,
        fees=0,
    )


def _column(values: Sequence[bytes], width: int) -> U8:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, width)


def genesis_block(
    opened: Header,
    config: ChainConfig,
    cells: Mapping[Location, bytes],
    codes: Mapping[bytes, bytes],
    hashing: Hashing,
) -> Block:
    """Seal genesis over `opened`: `cells` become parts of at most MAX_CONSUMES_PER_PART consumes."""
    locations = sorted(cells)
    n = len(locations)
    parts = -(-n // MAX_CONSUMES_PER_PART)
    consumes = np.full(parts, MAX_CONSUMES_PER_PART, np.int64)
    if parts:
        consumes[-1] = n - (parts - 1) * MAX_CONSUMES_PER_PART
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(consumes)])
    columns = (
        np.array([mark for mark, _, _ in locations], np.uint8),
        _column([addr for _, addr, _ in locations], 20),
        _column([slot for _, _, slot in locations], 32),
        np.zeros((n, 32), np.uint8),
        _column([cells[location] for location in locations], 32),
    )
    txids = [system_txid(SystemKind.GENESIS, config.chain_id, config.genesis_number, part) for part in range(parts)]
    used = {cells[location] for location in locations if location[0] == Mark.CODE}
    body = Body(
        txid=_column(txids, 32),
        consumes=consumes.astype(np.uint32),
        references=np.zeros(parts, np.uint32),
        status=np.ones(parts, np.uint8),
        gas_used=np.zeros(parts, np.uint64),
        blob_gas=np.zeros(parts, np.uint64),
        logs_hash=_column([EMPTY_LOGS_HASH] * parts, 32),
        moves=filled_moves(LatestCells(), columns, consumes, offsets),
        envelopes=(),
        codes=[codes[code_hash] for code_hash in used],
        withdrawals=(),
        fees=(0,) * parts,
    )
    return seal(opened, body, None, hashing)
