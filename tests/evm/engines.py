"""Every executor that this installation has: py-evm always, revm where the native library is built."""

from __future__ import annotations

import importlib.util

from manaflow.evm.executor import Executor
from manaflow.evm.pyevm import PyEvmExecutor


def _engines() -> list[Executor]:
    found: list[Executor] = [PyEvmExecutor()]
    if importlib.util.find_spec("manaflow._native") and importlib.util.find_spec("manaflow.evm.native"):
        from manaflow.evm.native import RevmExecutor

        found.append(RevmExecutor())
    return found


ENGINES = _engines()
