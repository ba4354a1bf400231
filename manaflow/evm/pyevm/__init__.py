"""The independent engine: py-evm's interpreter on cells, exact about what it uses.

Importing this package imports `eth`, which raises Python's recursion limit (to 12,288) for the EVM's 1,024 frames.
"""

from manaflow.evm.pyevm.executor import PyEvmExecutor

__all__ = ["PyEvmExecutor"]
