"""py-evm's state and computation of each fork, on cells."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Final

from eth.abc import ComputationAPI, MessageAPI, StateAPI, TransactionContextAPI
from eth.vm.code_stream import CodeStream
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.cancun.constants import POINT_EVALUATION_PRECOMPILE_ADDRESS
from eth.vm.forks.cancun.state import CancunState
from eth.vm.forks.paris.state import ParisState
from eth.vm.forks.prague.state import PragueState
from eth.vm.forks.shanghai.state import ShanghaiState

from manaflow.errors import Unsupported
from manaflow.evm.executor import Environment, Job, SystemCall
from manaflow.evm.pyevm.accounts import CellAccounts
from manaflow.evm.pyevm.opcodes import overrides
from manaflow.evm.pyevm.precompiles import modexp, point_evaluation
from manaflow.rules.config import Fork
from manaflow.rules.execution import check_x5_code

BLOCKHASH_WINDOW: Final = 256
CODES_KEPT: Final = 512
"""Codes whose jump destinations are remembered; a code is at most 48 KiB."""
_STATES: Final = {
    Fork.PARIS: ParisState,
    Fork.SHANGHAI: ShanghaiState,
    Fork.CANCUN: CancunState,
    Fork.PRAGUE: PragueState,
}
_MODEXP: Final = (5).to_bytes(20, "big")
_POINT_EVALUATION: Final = POINT_EVALUATION_PRECOMPILE_ADDRESS.rjust(20, b"\0")
_STEP: Final = re.compile(b"|".join([rb"\x5b", *(rb"\x%02x.{0,%d}" % (0x5F + n, n) for n in range(1, 33))]), re.DOTALL)
"""A JUMPDEST, or a PUSH with what it pushes."""


@functools.lru_cache(CODES_KEPT)
def jump_destinations(code: bytes) -> frozenset[int]:
    """Positions of JUMPDEST that are not pushed data, in one pass. Looked up by the code's own (cached) hash."""
    return frozenset(step.start() for step in _STEP.finditer(code) if code[step.start()] == 0x5B)


class AnalysedCode(CodeStream):
    """Code with its jump destinations known.

    py-evm looks for them anew in each frame, by a recursion that 24 KiB of PUSH32 drive past Python's limit.
    """

    def __init__(self, code: bytes) -> None:
        super().__init__(code)
        self._destinations = jump_destinations(code)

    def is_valid_opcode(self, position: int) -> bool:
        """Only asked of a JUMPDEST: True if it is not pushed data."""
        return position in self._destinations


class CellComputation:
    """What a frame does differently on cells; mixed into py-evm's computation of each fork."""

    code: CodeStream

    def __init__(self, state: StateAPI, message: MessageAPI, transaction_context: TransactionContextAPI) -> None:
        super().__init__(state, message, transaction_context)  # type: ignore[call-arg]
        self.code = AnalysedCode(message.code)

    @classmethod
    def apply_create_message(cls, state: StateAPI, message: MessageAPI, *args: Any, **kwargs: Any) -> ComputationAPI:
        """Tell the cells which account is new: its slots are 0 by rule."""
        state.mark_created(message.storage_address)
        return super().apply_create_message(state, message, *args, **kwargs)  # type: ignore[misc]

    @classmethod
    def consume_initcode_gas_cost(cls, computation: ComputationAPI) -> None:
        """Nothing: it is in the intrinsic gas. (py-evm would also charge a CREATE by a sender that has a delegate.)"""


class CellState:
    """State over CellAccounts in a job's environment; mixed into py-evm's state of each fork."""

    _account_db: CellAccounts
    execution_context: ExecutionContext
    computation_class: Any

    def __init__(self, job: Job) -> None:
        # Not py-evm's __init__: that one opens a trie and reads the system contracts, which nothing declares.
        self.environment: Environment = job.environment
        self.execution_context = _context(job.environment)
        precompiles = frozenset(self.computation_class.get_precompiles())
        self._account_db = CellAccounts(job.cells, job.codes, precompiles, _limit_on_codes(job))

    @property
    def accounts(self) -> CellAccounts:
        """The cells."""
        return self._account_db

    @property
    def blob_base_fee(self) -> int:
        """From the environment: py-evm knows only the parameters that a fork began with."""
        return self.environment.blob_base_fee

    def get_ancestor_hash(self, number: int) -> bytes:
        """An `e` cell within BLOCKHASH's window, else nothing."""
        if not max(0, self.environment.number - BLOCKHASH_WINDOW) <= number < self.environment.number:
            return b""
        return self._account_db.block_hash(number)

    def mark_created(self, address: bytes) -> None:
        """See CellAccounts."""
        self._account_db.mark_created(address)


def _limit_on_codes(job: Job) -> Callable[[int], None]:
    """X5 binds signed transactions; a system call is the rules' own."""
    if isinstance(job.call, SystemCall):
        return lambda code_bytes: None
    return functools.partial(check_x5_code, job.environment.profile)


def _context(environment: Environment) -> ExecutionContext:
    return ExecutionContext(
        coinbase=environment.coinbase,
        timestamp=environment.timestamp,
        block_number=environment.number,
        difficulty=0,
        mix_hash=environment.prevrandao,
        gas_limit=environment.gas_limit,
        prev_hashes=(),
        chain_id=environment.chain_id,
        base_fee_per_gas=environment.base_fee,
        excess_blob_gas=environment.excess_blob_gas,
    )


@functools.cache
def _state_class(fork: Fork) -> Any:
    """py-evm's state class of a fork, on cells and with our opcodes and precompiles."""
    base = _STATES.get(fork)
    if base is None:
        raise Unsupported(f"py-evm has no {fork.name.lower()} fork")
    old = base.computation_class
    precompiles = {**old.get_precompiles(), _MODEXP: modexp}
    if fork >= Fork.CANCUN:
        precompiles[_POINT_EVALUATION] = point_evaluation
    members = {"opcodes": {**old.opcodes, **overrides(fork)}, "_precompiles": precompiles}
    computation = type(f"Cell{old.__name__}", (CellComputation, old), members)
    return type(f"Cell{base.__name__}", (CellState, base), {"computation_class": computation})


def state_of(job: Job) -> Any:
    """A fresh state for one job. Raises Unsupported for a fork that py-evm lacks."""
    return _state_class(job.environment.fork)(job)
