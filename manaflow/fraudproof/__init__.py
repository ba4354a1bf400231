"""Fraud proofs: the file, its builders, and verification by the rules and py-evm alone."""
