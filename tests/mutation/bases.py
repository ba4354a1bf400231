"""The real blocks that are mutated: each the last of a chain, so that older blocks stand before one of them."""

from __future__ import annotations

from typing import Final

from tests.conftest import is_nightly
from tests.replays import ACROSS_CANCUN, HOLESKY, supported_names

SAMPLE: Final = (
    HOLESKY,
    ("1-15537394",),
    ("1-19933122",),
    ("1-21688509",),
    ("1-22615247",),
    ("1-19923400",),
    ("1-21230867",),
)
"""Paris, Cancun and Prague; Shanghai's blocks are larger and wait for the night."""
CHAINS: Final = (HOLESKY, ACROSS_CANCUN)


def bases() -> tuple[tuple[str, ...], ...]:
    """Seven blocks; nightly every shared one that nothing builds on, and Shanghai's last."""
    if not is_nightly():
        return SAMPLE
    within = {name for names in CHAINS for name in names}
    return (*CHAINS, ACROSS_CANCUN[:1], *((name,) for name in supported_names() if name not in within))
