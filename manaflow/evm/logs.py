"""The hash of a transaction's logs, the part of its outcome that stands for all of them (rule X3)."""

from __future__ import annotations

from collections.abc import Sequence

import rlp

from manaflow.evm.executor import Execution, Log
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import Outcome


def logs_hash(logs: Sequence[Log]) -> bytes:
    """keccak-256 of the RLP of the logs as Ethereum's receipts hold them: [[address, [topic, ...], data], ...]."""
    return keccak256(rlp.encode([[log.address, list(log.topics), log.data] for log in logs]))


def outcome_of(execution: Execution) -> Outcome:
    """The outcome that an execution's filler declares."""
    return Outcome(execution.status, execution.gas_used, logs_hash(execution.logs))
