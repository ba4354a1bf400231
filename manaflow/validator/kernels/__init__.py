"""The hot loops of the index, compiled by numba. Plain functions over arrays; the classes around them are next door.

Some are parallel. Numba's simplest threading layer must not run two parallel kernels at once, so callers hold PARALLEL.
"""

from __future__ import annotations

import threading
from typing import Final

PARALLEL: Final = threading.Lock()
"""Held around every call of a parallel kernel."""
