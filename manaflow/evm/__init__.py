"""Execution: one executor interface, two engines (revm and py-evm), and transaction validity (X0)."""
