"""The limit on time: it stops what runs, whatever that catches, and leaves no alarm behind."""

from __future__ import annotations

import signal

import pytest

from manaflow.cli.limits import within
from manaflow.errors import Failure


def spin() -> None:
    while True:
        try:
            sum(range(1000))
        except Exception as error:
            raise AssertionError("the alarm is not to be caught here") from error


def test_what_takes_too_long_is_not_judged() -> None:
    with pytest.raises(Failure, match=r"not judged: 0\.2 seconds"), within(0.2):
        spin()


def test_what_is_done_in_time_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with within(60):
        answer = 42
    assert answer == 42
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_other_errors_pass_through() -> None:
    with pytest.raises(KeyError), within(60):
        raise KeyError("mine")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
