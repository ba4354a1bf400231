"""The hot loops of the index, compiled by numba. Plain functions over arrays; the classes around them are next door.

Some have a parallel twin, which pays from some ten thousand rows on. Numba's simplest threading layer must not run two
parallel kernels at once, so callers hold PARALLEL.
"""

from __future__ import annotations

import threading
from typing import Final

PARALLEL_ROWS: Final = 1 << 15
"""Moves of a block from which the parallel twins are used."""
PARALLEL: Final = threading.Lock()
"""Held around every call of a parallel kernel."""
