"""The manaflow command."""
