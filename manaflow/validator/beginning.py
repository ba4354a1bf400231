"""Genesis and the blocks after it as they are put into the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from manaflow.errors import Failure
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.hashing import Hashing
from manaflow.moves.wire import GenesisFile, encode_block
from manaflow.rules.config import ChainConfig, Profile
from manaflow.rules.signing import ETHEREUM_CHAIN_IDS
from manaflow.validator.archive import Archive, Canonical
from manaflow.validator.checks import check_genesis_block
from manaflow.validator.identity import check_ancestors, holds_chain, put_chain
from manaflow.validator.index import Index
from manaflow.validator.shape import Shape
from manaflow.validator.store import ROOM, Store, Table, Transaction

ROOM_A_MOVE: Final = 256
"""Bytes of map asked for per move beside the block's own bytes; the index writes 10 to 33 a move."""
OWN_LEVEL: Final = 3
"""zstd's, of the files of blocks that come as objects: a third of level 9's time, and 0.2 % more bytes."""


def has_chain(path: Path) -> bool:
    """Whether a directory holds a chain; one whose making was cut short before genesis was written holds none.

    Raises Locked, StorageFailure.
    """
    if not (path / "data.mdb").is_file():
        return False
    with Store.open(path) as store, store.read() as txn:
        return holds_chain(txn)


def begin_chain(path: Path, genesis: GenesisFile, hashing: Hashing, shape: Shape | None = None) -> Store:
    """Begin a chain in a directory, and leave its store open. Raises as Validator.create does."""
    config = ChainConfig.decode(genesis.config)
    if config.profile == Profile.MANAFLOW and config.chain_id in ETHEREUM_CHAIN_IDS:
        raise Failure(f"a manaflow chain with the chain id {config.chain_id}, which is an Ethereum network's (S1)")
    check_ancestors(config, genesis.ancestors)
    code_hashes = check_genesis_block(config, genesis.block, hashing)
    store = Store.open(path)
    try:
        _write_genesis(store, genesis, config, code_hashes, shape)
    except BaseException:
        store.close()
        raise
    return store


def _write_genesis(
    store: Store, genesis: GenesisFile, config: ChainConfig, code_hashes: Sequence[bytes], shape: Shape | None
) -> None:
    """Raises Failure if the store holds a chain; Verdict if genesis breaks V4."""
    with store.read() as txn:
        if holds_chain(txn):
            raise Failure(f"{store.path} holds a chain already")
    index = Index.open(store, challenge_blocks=config.challenge_blocks, shape=shape)
    block, data = genesis.block, encode_block(genesis.block, NATIVE)
    with store.write(ROOM + 4 * len(data) + ROOM_A_MOVE * len(block.moves)) as txn:
        put_chain(txn, genesis)
        net = index.check(txn, block.moves, block.leaves.move_offsets(), block.header.first_cell)
        record = Canonical(block.hash, block.header, ())
        put_block(txn, record, data, dict(zip(code_hashes, block.codes, strict=True)))
        index.apply(txn, config.genesis_number, net, block.leaves.txid)


def put_block(txn: Transaction, record: Canonical, data: bytes, codes: Mapping[bytes, bytes]) -> None:
    """Store a block as the canonical one, and its codes by hash (an undo leaves those)."""
    Archive(txn).put(record, data)
    for code_hash, code in codes.items():
        if txn.view(Table.CODES, code_hash) is None:
            txn.put(Table.CODES, code_hash, code)
