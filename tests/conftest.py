"""What every test may ask for: the shared data, real blocks, and the size of the run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared_data() -> Path:
    """The folder with real blocks and state tests: MANAFLOW_DATA, or shared/data beside the checkout.

    A missing one is an error: tests without their data would pass and say nothing.
    """
    named = os.environ.get("MANAFLOW_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        raise FileNotFoundError(f"real blocks and state tests are expected in {folder}: set MANAFLOW_DATA")
    return folder


def block_files() -> list[Path]:
    """Every real block, by name."""
    return sorted((shared_data() / "blocks").glob("*.block.json.zst"))


def is_nightly() -> bool:
    """True in the full-size run (`make nightly`)."""
    return os.environ.get("MANAFLOW_NIGHTLY") == "1"


@pytest.fixture(scope="session")
def data() -> Path:
    """The shared data folder."""
    return shared_data()
