"""The executor interface: one transaction, its cells as the whole world, its uses field by field (X1, X4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import Location
from manaflow.moves.transactions import EthereumTransaction
from manaflow.rules.config import BlobParameters, Fork, Profile


@dataclass(frozen=True, slots=True)
class Environment:
    """What an execution sees of its block."""

    chain_id: int
    fork: Fork
    number: int
    timestamp: int
    coinbase: bytes
    gas_limit: int
    base_fee: int
    prevrandao: bytes
    excess_blob_gas: int
    blob_base_fee: int
    """Wei per blob gas; 0 before Cancun."""
    blobs: BlobParameters | None
    profile: Profile

    @property
    def credits_coinbase(self) -> bool:
        """Profile `ethereum`: the tip is paid to the coinbase by each transaction."""
        return self.profile == Profile.ETHEREUM


@dataclass(frozen=True, slots=True)
class SystemCall:
    """A call by 0xff..fe with 30,000,000 gas, no fee and no nonce (EIP-4788, 2935, 7002, 7251)."""

    kind: SystemKind
    to: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Job:
    """One isolated execution: everything it may depend on."""

    environment: Environment
    call: EthereumTransaction | SystemCall
    sender: bytes
    """20 bytes, recovered from the envelope; 0xff..fe for a system call."""
    gas_before: int
    """Gas used in the block before this transaction (the leaf's total)."""
    blob_gas_before: int
    cells: Mapping[Location, bytes]
    """Declared locations and their values before, 32 bytes each; mark `e` cells answer BLOCKHASH."""
    codes: Mapping[bytes, bytes]
    """Code bytes by keccak-256; may hold more than is used."""


@dataclass(frozen=True, slots=True)
class Log:
    """One log entry."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Use:
    """One location that an execution used, with its values before and after it (32 bytes each)."""

    mark: int
    addr: bytes
    slot: bytes
    prev: bytes
    next: bytes

    @property
    def location(self) -> Location:
        """(mark, addr, slot)."""
        return self.mark, self.addr, self.slot


@dataclass(frozen=True, slots=True)
class Execution:
    """What happened: the outcome, and exactly the locations that the access table says were used."""

    status: int
    gas_used: int
    """0 for a system call."""
    logs: tuple[Log, ...]
    uses: tuple[Use, ...]
    """Sorted by (mark, addr, slot), each location once."""
    codes: Mapping[bytes, bytes]
    """Code bytes that the execution made live, by hash."""
    code_bytes: int
    """Bytes of the distinct codes that stood in its cells before and that it used (C of the access table; X5)."""


class Executor(Protocol):
    """An EVM that is exact about what it uses. Implementations: native.RevmExecutor and pyevm.PyEvmExecutor."""

    name: str

    def execute(self, job: Job) -> Execution:
        """Run the job.

        Raises Undeclared at the first use of a location that job.cells does not name, Verdict(X0) if the transaction is
        invalid, Verdict(X5) for its gas limit, or at the first code that is too much, and Failure if a code is missing
        from job.codes.
        """
        ...
