"""`python -m manaflow.cli` is the manaflow command."""

from manaflow.cli import main

main()
