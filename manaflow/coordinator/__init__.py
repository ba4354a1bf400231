"""Filling moves and sealing blocks."""
