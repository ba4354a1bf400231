"""Both executors."""

from __future__ import annotations

from manaflow.evm.executor import Executor
from manaflow.evm.native import RevmExecutor
from manaflow.evm.pyevm import PyEvmExecutor

ENGINES: list[Executor] = [PyEvmExecutor(), RevmExecutor()]
