"""Manaflow: the EVM with transactions that say what they change. See docs/SPEC.md for the numbered rules."""

__version__ = "0.1.0"
