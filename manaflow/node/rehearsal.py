"""A transaction on a chain of its own, which is thrown away: what it needs is compiled before a node's port opens.

numba compiles the kernels of admission and sealing where they are called first, for some fifteen seconds where nothing
is cached yet. Without a rehearsal the first client would wait, for longer than a call may take on a busy machine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import structlog
from eth_account import Account

from manaflow.coordinator.genesis import Allocation, manaflow_config, new_chain
from manaflow.coordinator.messages import Accepted
from manaflow.coordinator.replay import DEVELOPMENT_KEY, address_of
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.wire import GenesisFile
from manaflow.node.chain import SealedBlock
from manaflow.node.opening import Plan, Producing, open_chain

MEMORY: Final = "/dev/shm"
"""Where no commit waits for a disk."""
CHAIN_ID: Final = 31337
PRICE: Final = 10**9
"""Wei per gas."""
GAS: Final = 21_000


class Silence:
    """`chain.Events` that nobody hears."""

    def sealed(self, block: SealedBlock) -> None:
        """Nothing."""

    def undone(self, block: SealedBlock) -> None:
        """Nothing."""

    def accepted(self, txid: bytes, envelope: bytes) -> None:
        """Nothing."""

    def notice(self, kind: str, item: Mapping[str, Any]) -> None:
        """Nothing."""


def rehearse() -> None:
    """Open a chain, take a transaction and seal it. Raises nothing: a node that cannot rehearse starts all the same."""
    try:
        memory = MEMORY if os.access(MEMORY, os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="manaflow-rehearsal-", dir=memory) as name:
            _play(Path(name))
    except Exception as error:
        structlog.get_logger("manaflow.node").warning("not_rehearsed", why=str(error))


def _play(path: Path) -> None:
    plan = Plan(path, _genesis, Producing(DEVELOPMENT_KEY), threads=1)
    with closing(open_chain(plan, Silence())) as chain:
        (answer,) = chain.submit([_transfer()])
        assert isinstance(answer, Accepted)
        assert chain.head[0].number == 1


def _genesis() -> GenesisFile:
    address = address_of(DEVELOPMENT_KEY)
    rich: dict[bytes, Allocation] = {address: (4 * GAS * PRICE, 0, b"", {})}
    return new_chain(
        manaflow_config(CHAIN_ID, [address]), rich, NATIVE, timestamp=0, gas_limit=30_000_000, base_fee=PRICE
    )


def _transfer() -> bytes:
    fields = {"chainId": CHAIN_ID, "nonce": 0, "gasPrice": 2 * PRICE, "gas": GAS, "to": b"\x01" * 20, "value": 1}
    return bytes(Account.sign_transaction(fields, DEVELOPMENT_KEY).raw_transaction)
