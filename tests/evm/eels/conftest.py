"""The EELS executor, where it is set up; in the nightly run it must be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import is_nightly
from tests.evm.eels.executor import PACKAGE, EelsExecutor, is_installed

ASK_SECONDS = 60


def registry_is_reachable() -> bool:
    """Whether pip finds the package where it looks for packages."""
    asked = [sys.executable, "-m", "pip", "index", "versions", PACKAGE.partition("==")[0]]
    try:
        return subprocess.run(asked, capture_output=True, timeout=ASK_SECONDS, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@pytest.fixture(scope="session")
def eels() -> Iterator[EelsExecutor]:
    if not is_installed():
        if is_nightly() and registry_is_reachable():
            pytest.fail("the nightly run compares the engines with EELS, which is not set up: run `make eels`")
        pytest.skip("EELS is not set up (`make eels`)" + (", and no registry is reachable" if is_nightly() else ""))
    executor = EelsExecutor()
    yield executor
    executor.close()
