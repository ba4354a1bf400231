"""The manaflow command. Thin: a command reads files, calls the rooms and shows what they say; no rule lives here."""


def main() -> None:
    """Run the command line and exit with its code (see manaflow/cli/app.py)."""
    from manaflow.cli.app import run

    run()
