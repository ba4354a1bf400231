"""A limit on time, for work that a stranger's file decides (F2 bounds its gas, and gas is no time)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from manaflow.errors import Failure

Seconds = Annotated[float, typer.Option("--seconds", min=1, help="Give up, and judge nothing, after so long.")]
DEFAULT_SECONDS = 600.0


class _TimeUpError(BaseException):
    """No Exception, so that no handler between the alarm and `within` takes it for an answer."""


def _ring(signum: int, frame: FrameType | None) -> None:
    raise _TimeUpError


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises Failure if the body is not done in time. For the main thread; native calls are not cut short."""
    before = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TimeUpError:
        raise Failure(f"not judged: {seconds:g} seconds were not enough (--seconds allows more)") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
