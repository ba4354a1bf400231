"""What RPC methods ask of a node: one chain with its open block, owned by one thread.

`ChainThread.call` runs a function of the chain on that thread; a method's body is such a function. So methods see one
state from beginning to end, and a slow one keeps no connection from being served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from manaflow._native import Codes, World
from manaflow.coordinator.latest_index import Cell
from manaflow.coordinator.messages import Accepted, Refused
from manaflow.coordinator.receipts import Receipt
from manaflow.evm.executor import Environment
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.marks import Location
from manaflow.rules.config import ChainConfig

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class SealedBlock:
    """A canonical block with what its execution left."""

    block: Block
    receipts: tuple[Receipt, ...]
    """One per signed transaction, in order."""
    first_signed: int
    """Place of the first signed transaction's leaf: transaction i of Ethereum's view is leaf first_signed + i."""

    def index_of_leaf(self, leaf: int) -> int | None:
        """Which transaction a leaf is; None for a system transaction."""
        index = leaf - self.first_signed
        return index if 0 <= index < len(self.block.envelopes) else None


class View(Protocol):
    """A state that calls and reads see: the head's, or with the open block's transactions on it."""

    @property
    def header(self) -> Header:
        """The block that a call runs in: the head itself, or the open one."""
        ...

    @property
    def environment(self) -> Environment:
        """Of that header."""
        ...

    @property
    def world(self) -> World:
        """Its values; simulations leave it as it is."""
        ...

    @property
    def codes(self) -> Codes:
        """Its codes."""
        ...

    @property
    def block_hashes(self) -> Mapping[int, bytes]:
        """What BLOCKHASH answers."""
        ...

    def cell(self, location: Location) -> Cell:
        """The live cell at a location: its number (0 while unsealed or virgin), maker and value."""
        ...

    def code(self, code_hash: bytes) -> bytes | None:
        """Code bytes by keccak-256."""
        ...


class Chain(Protocol):
    """A node's chain. Everything is answered from memory or the node's own files."""

    @property
    def config(self) -> ChainConfig:
        """The chain's config."""
        ...

    @property
    def head(self) -> tuple[Header, bytes]:
        """Header and hash of the last sealed block."""
        ...

    @property
    def finalized(self) -> int:
        """Number of the last block that no fraud proof can take back any more; genesis's at least."""
        ...

    def header(self, number: int) -> Header | None:
        """The header of a canonical block."""
        ...

    def sealed(self, key: int | bytes) -> SealedBlock | None:
        """A canonical block, by number or hash."""
        ...

    def place(self, txid: bytes) -> tuple[int, int] | None:
        """(block number, place of the leaf) of a transaction in a canonical block."""
        ...

    def view(self, *, pending: bool = False) -> View:
        """The head's state; or, pending, the open block's with what it has admitted."""
        ...

    def pending(self, txid: bytes) -> bytes | None:
        """The envelope of a transaction that waits in the pool or stands in the open block."""
        ...

    def admitted(self) -> tuple[bytes, ...]:
        """Envelopes that stand in the open block, in order."""
        ...

    def next_nonce(self, sender: bytes) -> int:
        """The nonce after the sender's last pending transaction without a gap."""
        ...

    def submit(self, envelopes: Sequence[bytes]) -> list[Accepted | Refused]:
        """Take signed envelopes into the pool; what is accepted is on disk when this returns."""
        ...


class ChainThread(Protocol):
    """The thread that owns a chain."""

    async def call(self, run: Callable[Concatenate[Chain, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `run(chain, *args)` on the chain's thread. Raises what it raises."""
        ...

    async def submit(self, envelope: bytes) -> Accepted | Refused:
        """`Chain.submit`, of all envelopes that wait at that moment together (one commit for many)."""
        ...

    async def submit_all(self, envelopes: Sequence[bytes]) -> list[Accepted | Refused]:
        """`submit` of many."""
        ...


class Events(Protocol):
    """Who is told what happens, on the chain's thread: subscriptions, filters, metrics."""

    def sealed(self, block: SealedBlock) -> None:
        """A block is the new head."""
        ...

    def undone(self, block: SealedBlock) -> None:
        """The head was taken back (F1, or a reorganisation)."""
        ...

    def accepted(self, txid: bytes, envelope: bytes) -> None:
        """A transaction is in the pool."""
        ...

    def notice(self, kind: str, item: Mapping[str, Any]) -> None:
        """A verdict or notice of a transaction: `kind` "admitted", "dropped" or "lost"; JSON-ready."""
        ...
