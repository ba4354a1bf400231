"""The native half: revm with field-by-field tracking, envelopes and sender recovery, hashing in batches.

A column of bytes holds rows of fixed width one after another: `bytes`, or a numpy array of uint8 of any shape.
Words are 32 bytes, big-endian.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

_Column: TypeAlias = bytes | NDArray[np.uint8]
_Counts: TypeAlias = NDArray[np.uint64] | NDArray[np.int64] | Sequence[int]

__all__ = [
    "NOT_EXECUTED",
    "RULES",
    "Called",
    "Codes",
    "Environment",
    "Execution",
    "Filled",
    "Plain",
    "World",
    "decode_envelope",
    "decode_envelopes",
    "encode_moves",
    "execute",
    "execute_block",
    "keccak256",
    "keccak256_many",
    "moves_roots",
    "recover_authorities",
    "senders_recovered",
    "tree_root",
]

RULES: Final[dict[str, int]]
"""The numbers of manaflow.errors.Rule, by name."""
NOT_EXECUTED: Final[int]
"""What execute_block answers for a leaf that it was not asked about."""

@final
class Codes:
    """Code bytes by keccak-256, analysed once; threads may share one."""

    def __new__(cls) -> Codes: ...
    def add(self, code: bytes) -> bytes:
        """Analyse and keep a code; returns its keccak-256."""

    def get(self, hash: bytes) -> bytes | None:
        """The bytes of a code, None if they are not here."""

    def __contains__(self, hash: bytes, /) -> bool: ...
    def __len__(self) -> int: ...

@final
class Environment:
    """What an execution sees of its block: the fields of manaflow.evm.executor.Environment.

    `fork` and `profile` are numbers of manaflow.rules.config; `max_blobs` and `update_fraction` are 0 before Cancun.
    Raises ValueError for an unknown fork or profile, OverflowError where a number does not fit 64 bits (blob_base_fee:
    128).
    """

    def __new__(
        cls,
        chain_id: int,
        fork: int,
        number: int,
        timestamp: int,
        coinbase: bytes,
        gas_limit: int,
        base_fee: int,
        prevrandao: bytes,
        excess_blob_gas: int,
        blob_base_fee: int,
        max_blobs: int,
        update_fraction: int,
        profile: int,
    ) -> Environment: ...

@final
class Execution:
    """What one execution did. The columns are its uses, sorted by (mark, addr, slot), each location once."""

    @property
    def status(self) -> int:
        """1 success, 0 failure; of a system call too."""

    @property
    def gas_used(self) -> int:
        """After refunds; 0 for a system call."""

    @property
    def code_bytes(self) -> int:
        """Of the distinct codes that it used and that stood in cells before (X5)."""

    @property
    def logs(self) -> list[tuple[bytes, list[bytes], bytes]]:
        """(address, topics, data) each; none for a system call."""

    @property
    def marks(self) -> bytes: ...
    @property
    def addrs(self) -> bytes: ...
    @property
    def slots(self) -> bytes: ...
    @property
    def prevs(self) -> bytes: ...
    @property
    def nexts(self) -> bytes: ...
    @property
    def codes(self) -> dict[bytes, bytes]:
        """Codes that became live, by hash."""

def execute(
    environment: Environment,
    call: bytes | tuple[bytes, bytes],
    sender: bytes,
    gas_before: int,
    blob_gas_before: int,
    marks: _Column,
    addrs: _Column,
    slots: _Column,
    prevs: _Column,
    codes: Codes,
) -> Execution:
    """Run one call, an envelope or (to, data) of a system call, with its cells as the whole world.

    Cells of mark `e` answer BLOCKHASH. Raises Undeclared at the first use of a location without a cell; Verdict(X0) if
    the transaction is invalid, with S1, S2, M1 or M4 if its bytes or cells are no input at all; Failure if a code is
    missing; Unsupported for what the rules cannot hold; ValueError if lengths do not fit.
    """

def execute_block(
    environment: Environment,
    marks: _Column,
    addrs: _Column,
    slots: _Column,
    prevs: _Column,
    nexts: _Column,
    masks: _Column,
    offsets: _Counts,
    envelopes: list[bytes],
    system: dict[int, tuple[bytes, bytes]],
    senders: _Column,
    statuses: _Column,
    gas_used: _Counts,
    logs_hashes: _Column,
    gas_before: _Counts,
    blob_gas_before: _Counts,
    codes: Codes,
    order: _Counts | None = None,
    threads: int = 0,
    logs: list[bytes] | None = None,
) -> bytes:
    """Execute each leaf of a block alone and compare it with what it declares, in parallel, the GIL released.

    Rows offsets[i] to offsets[i + 1] of the first six columns are the moves of leaf i. `envelopes` has one entry per
    leaf; a leaf whose entry is empty executes (to, data) of `system`, or nothing. `order` names the leaves to execute;
    `threads`: 0 for all. One byte per leaf: 0, the number of the first rule that it breaks (X0 to X5; S1, S2, M1, M4
    for what is no input at all), or NOT_EXECUTED. `logs` is given the RLP of the logs of each leaf, empty for one that
    has no execution or breaks a rule. Raises Failure if a code is missing, Unsupported for what the rules
    cannot hold, ValueError if lengths do not fit.
    """

@final
class Plain:
    """A block for plain revm: its steps in order on a mutable state, with no record and no moves. For benchmarks only.

    Call `reset` and `decode` before each `run`.
    """

    def __new__(
        cls,
        environment: Environment,
        steps: Sequence[bytes | tuple[bytes, bytes]],
        senders: _Column,
        marks: _Column,
        addrs: _Column,
        slots: _Column,
        values: _Column,
        block_hashes: dict[int, bytes],
        codes: Codes,
    ) -> Plain:
        """Steps and senders as in World.fill; the columns are the state before the block, without zeros.

        Raises Failure if a code is missing, ValueError if lengths do not fit.
        """

    def reset(self) -> None:
        """Take the state back to what it was before the block."""

    def decode(self) -> None:
        """Decode every envelope for the next run. Raises Verdict for one that S1 or X0 refuses."""

    def run(self) -> int:
        """Execute what was decoded; returns the transactions' gas. Raises Failure if a transaction is invalid."""

@final
class World:
    """The latest values, for filling and for calls. One thread at a time (RuntimeError to a second).

    Without a source, a location that was never loaded or filled is zero. With one, it is asked for at its first touch
    and the answer is kept: each location is asked for once. Memory grows with what was touched, until the caller
    forgets: what is forgotten is asked for anew, so clear only what the source knows by then (between blocks, say,
    whenever `len` passes a bound).
    """

    def __new__(
        cls,
        source: Callable[[bytes], bytes | None] | None = None,
        code_source: Callable[[bytes], bytes | None] | None = None,
    ) -> World:
        """`source`: mark, address and slot (53 bytes) to the 32-byte value, None for zero.

        `code_source`: a code's keccak-256 to its bytes, asked where `Codes` has none. What they raise comes out of the
        method that asked, with no value changed; ValueError for answers of a wrong form.
        """

    def load(self, marks: _Column, addrs: _Column, slots: _Column, values: _Column) -> None:
        """Set values. Raises Verdict(M4) for a location or value that no chain holds."""

    def get(self, mark: int, addr: bytes, slot: bytes) -> bytes:
        """The value at a location, 32 bytes."""

    def forget(self, marks: _Column, addrs: _Column, slots: _Column) -> None:
        """Forget the values of locations, filled ones too."""

    def clear(self) -> None:
        """Forget every value."""

    def __len__(self) -> int:
        """How many slots are held, and accounts of which any field is (about 150 bytes each)."""

    def fill(
        self,
        environment: Environment,
        steps: Sequence[bytes | tuple[bytes, bytes]],
        senders: _Column,
        block_hashes: dict[int, bytes],
        codes: Codes,
        gas_before: int = 0,
        blob_gas_before: int = 0,
        skip_refused: bool = False,
    ) -> Filled:
        """Execute steps, envelopes or (to, data) of system calls, each on what the ones before it left.

        `senders`: 20 bytes a step. Codes made live are added to `codes`. With `skip_refused`, an invalid step is left
        out and named in `refused`; without it, it is an error. After an error no value has changed: raises Verdict with
        the step's place, Failure if a code or a block hash is missing, Unsupported for what the rules cannot hold,
        whatever a source raises, ValueError if lengths do not fit.
        """

    def call(
        self,
        environment: Environment,
        request: _Request,
        overrides: Sequence[tuple[bytes, bytes | None, int | None, bytes | None, Sequence[tuple[bytes, bytes]], bool]],
        block_hashes: dict[int, bytes],
        codes: Codes,
    ) -> Called:
        """Run one call outside any block and change nothing; see manaflow.evm.simulate.

        Words are 32 bytes. `overrides`: (address, balance, nonce, code bytes, (slot, value) each, whether every other
        slot is zero); None leaves a field as it is. Raises Verdict(X0) if the call cannot start, Failure if a code or a
        block hash is missing, Unsupported for what the rules cannot hold, whatever a source raises.
        """

class _Request(Protocol):
    """What World.call runs; words of 32 bytes, fees in wei."""

    @property
    def sender(self) -> bytes: ...
    @property
    def to(self) -> bytes | None: ...
    @property
    def value(self) -> bytes: ...
    @property
    def data(self) -> bytes: ...
    @property
    def gas_limit(self) -> int: ...
    @property
    def max_fee(self) -> int: ...
    @property
    def max_priority_fee(self) -> int: ...
    @property
    def access_list(self) -> Sequence[tuple[bytes, Sequence[bytes]]]: ...
    @property
    def authorizations(self) -> Sequence[tuple[bytes, bytes, int, int, bytes, bytes]]:
        """(chain id, address, nonce, y parity, r, s) of EIP-7702."""

@final
class Called:
    """What one call did. The columns are its uses, sorted by (mark, addr, slot), each location once."""

    @property
    def outcome(self) -> str:
        """success, revert or halt."""

    @property
    def gas_used(self) -> int:
        """After refunds."""

    @property
    def gas_refunded(self) -> int: ...
    @property
    def output(self) -> bytes:
        """What was returned or reverted with; the code that a create deployed; nothing of a halt."""

    @property
    def halt_reason(self) -> str:
        """Empty unless halted."""

    @property
    def created(self) -> bytes | None:
        """The address that a successful create made."""

    @property
    def logs(self) -> list[tuple[bytes, list[bytes], bytes]]:
        """(address, topics, data) each."""

    @property
    def marks(self) -> bytes: ...
    @property
    def addrs(self) -> bytes: ...
    @property
    def slots(self) -> bytes: ...
    @property
    def prevs(self) -> bytes: ...
    @property
    def nexts(self) -> bytes: ...

@final
class Filled:
    """What t executed steps did. The five columns are their moves, step by step, each in the order of rule M5."""

    @property
    def places(self) -> bytes:
        """uint32[t], native order: which of the steps given each row is."""

    @property
    def refused(self) -> list[tuple[int, int, str]]:
        """(place, number of the rule, why) of each step left out; X0 too for what the rules cannot hold."""

    @property
    def marks(self) -> bytes: ...
    @property
    def addrs(self) -> bytes: ...
    @property
    def slots(self) -> bytes: ...
    @property
    def prevs(self) -> bytes: ...
    @property
    def nexts(self) -> bytes: ...
    @property
    def consumes(self) -> bytes:
        """uint32[t], native order."""

    @property
    def references(self) -> bytes:
        """uint32[t], native order."""

    @property
    def statuses(self) -> bytes:
        """uint8[t]: 1 success, 0 failure; of system calls too."""

    @property
    def gas_used(self) -> bytes:
        """uint64[t], native order; 0 for a system call."""

    @property
    def logs_hashes(self) -> bytes:
        """uint8[t, 32]: keccak-256 of the RLP of each step's logs; of no logs for a system call."""

    @property
    def logs(self) -> list[bytes]:
        """The RLP of each step's logs."""

    @property
    def codes(self) -> dict[bytes, bytes]:
        """Codes that became live, by hash."""

def decode_envelope(raw: bytes) -> tuple[object, ...] | None:
    """The fields of EthereumTransaction or DeclaredTransaction (manaflow.moves.transactions) in their order.

    Moves are tuples of their fields. None if S1 or S2 refuses the bytes.
    """

def decode_envelopes(envelopes: list[bytes], threads: int) -> dict[str, bytes]:
    """The columns of manaflow.evm.envelopes.EnvelopeColumns by name; `threads`: 0 for all.

    A sender that was recovered lately is not recovered again: it is remembered by txid, which is hashed each time.
    """

def senders_recovered() -> int:
    """How many senders of envelopes this process has recovered."""

def recover_authorities(raw: bytes) -> list[bytes | None] | None:
    """The authority of each EIP-7702 tuple, None for one that does not verify; None for all if S1 or S2 refuses."""

def moves_roots(
    mask: NDArray[np.uint8],
    mark: NDArray[np.uint8],
    number: NDArray[np.uint64],
    addr: NDArray[np.uint8],
    slot: NDArray[np.uint8],
    prev: NDArray[np.uint8],
    next: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    threads: int,
) -> bytes:
    """The moves root of each transaction, 32 bytes each: rows offsets[i] to offsets[i + 1] are its moves."""

def encode_moves(
    mask: NDArray[np.uint8],
    mark: NDArray[np.uint8],
    number: NDArray[np.uint64],
    addr: NDArray[np.uint8],
    slot: NDArray[np.uint8],
    prev: NDArray[np.uint8],
    next: NDArray[np.uint8],
    consumes: NDArray[np.uint32],
    references: NDArray[np.uint32],
    first_cell: int,
) -> tuple[bytes, bytes, bytes, int, int]:
    """manaflow.moves.wire_moves.encode_moves; the last two are numbers of locations and addresses.

    `consumes` and `references` are the leaves'. Raises ValueError if they do not count the moves.
    """

def tree_root(leaves: NDArray[np.uint8], width: int) -> bytes:
    """RFC 6962 root over leaves of `width` bytes each."""

def keccak256(data: bytes) -> bytes:
    """keccak-256 of `data`, 32 bytes."""

def keccak256_many(items: list[bytes]) -> bytes:
    """keccak-256 of each item, 32 bytes each."""
