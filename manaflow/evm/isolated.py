"""One transaction judged alone: its moves as the whole world (rules X0 to X5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from manaflow.errors import Rule, Undeclared, Verdict
from manaflow.evm.executor import Environment, Execution, Executor, Job, SystemCall
from manaflow.evm.logs import outcome_of
from manaflow.evm.validity import check_limits
from manaflow.moves.leaf import Leaf, Outcome
from manaflow.moves.marks import Move
from manaflow.moves.transactions import EthereumTransaction
from manaflow.rules.execution import check_x2, check_x3, check_x4, check_x5


def job_of(
    environment: Environment,
    call: EthereumTransaction | SystemCall,
    sender: bytes,
    leaf: Leaf,
    moves: Sequence[Move],
    codes: Mapping[bytes, bytes],
) -> Job:
    """The job of a sealed transaction: the cells are its moves' locations and prevs, the totals its leaf's."""
    cells = {move.location: move.prev for move in moves}
    return Job(environment, call, sender, leaf.gas, leaf.blob_gas, cells, codes)


def execute_alone(executor: Executor, job: Job, moves: Sequence[Move], outcome: Outcome) -> Execution:
    """Execute a job within its moves and judge it: X5's gas limit, X0, X1 and X5's code as it runs, X2, X3, X4.

    `moves` are those that the job's cells were made of. Raises Verdict, or Failure if a code is missing.
    """
    check_limits(job)
    execution = execute_within(executor, job)
    check_x2(moves, execution.uses)
    check_x3(outcome, outcome_of(execution))
    check_x4(moves, execution.uses)
    if not isinstance(job.call, SystemCall):
        check_x5(job.environment.profile, job.call.gas_limit, execution.code_bytes)
    return execution


def execute_within(executor: Executor, job: Job) -> Execution:
    """Execute a job within its cells. Raises Verdict(X1) at the first use of another, and as the executor does."""
    try:
        return executor.execute(job)
    except Undeclared as undeclared:
        raise Verdict(Rule.X1, str(undeclared)) from undeclared
