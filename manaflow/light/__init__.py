"""Inclusion proofs: that a transaction or one of its moves stands in a chain (docs/LIGHT.md)."""
