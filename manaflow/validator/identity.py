"""Which chain a store holds: its config, and the ancestors before genesis that the config commits to (B5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from manaflow.errors import Failure, StorageFailure
from manaflow.moves import trees
from manaflow.moves.wire import GenesisFile
from manaflow.rules.bodies import ancestor_leaf
from manaflow.rules.config import ChainConfig
from manaflow.validator.store import Table, Transaction

_CONFIG, _ANCESTORS = b"chain config", b"chain ancestors"
_ANCESTOR_BYTES: Final = 40


def holds_chain(txn: Transaction) -> bool:
    """True once a genesis was written."""
    return txn.view(Table.META, _CONFIG) is not None


def put_chain(txn: Transaction, genesis: GenesisFile) -> None:
    """Store the config and the ancestors of a genesis file."""
    txn.put(Table.META, _CONFIG, genesis.config)
    txn.put(Table.META, _ANCESTORS, b"".join(ancestor_leaf(*ancestor) for ancestor in genesis.ancestors))


def load_chain(txn: Transaction) -> tuple[ChainConfig, dict[int, bytes]]:
    """The chain's config, and its ancestors by number. Raises Failure if the store holds none."""
    config, ancestors = txn.get(Table.META, _CONFIG), txn.get(Table.META, _ANCESTORS)
    if config is None or ancestors is None:
        raise Failure("the state directory holds no chain; create it from a genesis file")
    if len(ancestors) % _ANCESTOR_BYTES:
        raise StorageFailure("the stored ancestors are damaged")
    rows = (ancestors[i : i + _ANCESTOR_BYTES] for i in range(0, len(ancestors), _ANCESTOR_BYTES))
    return ChainConfig.decode(config), {int.from_bytes(row[:8], "big"): row[8:] for row in rows}


def check_ancestors(config: ChainConfig, ancestors: Sequence[tuple[int, bytes]]) -> None:
    """The ancestors are those that the config commits to (B5). Raises Failure."""
    numbers = [number for number, _ in ancestors]
    if len(ancestors) != config.ancestors or numbers != sorted(set(numbers)):
        raise Failure(f"{len(ancestors)} ancestors, ascending; the config has {config.ancestors}")
    if numbers and numbers[-1] >= config.genesis_number - 1:
        raise Failure(f"ancestor {numbers[-1]} is not before genesis's parent, {config.genesis_number - 1}")
    if trees.root([ancestor_leaf(*ancestor) for ancestor in ancestors]) != config.ancestors_root:
        raise Failure("the ancestors are not those of the config's tree")
