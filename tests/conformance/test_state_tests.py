"""Every state test that is given, through the whole pipeline: all of Cancun, Prague and Osaka pass on every engine."""

from __future__ import annotations

from collections import Counter

import pytest

from manaflow.conformance.fixtures import FORKS, Case, StateTest, UnknownFork
from manaflow.conformance.results import Standing
from manaflow.conformance.runner import OUTSIDE, PYEVM_LAST, Runner
from tests.conformance.cases import FOLDER, name_of, shared_cases
from tests.conftest import is_nightly

SLOW_ON_PYEVM = "test_valid_gas_pairing"
"""Its pairings are pure Python there: 11 seconds of its own."""
RUNNER = Runner(FOLDER)


def test_the_tests_are_all_there() -> None:
    assert Counter(case.fork for case in shared_cases()) == {"Cancun": 94, "Prague": 115, "Osaka": 75}
    assert sum(isinstance(case, StateTest) and case.exception is not None for case in shared_cases()) == 8
    assert sum(SLOW_ON_PYEVM in case.id for case in shared_cases()) == 1


@pytest.mark.parametrize("case", shared_cases(), ids=lambda case: f"{case.fork}-{case.id.rpartition('::')[2]}")
def test_a_state_test(case: Case) -> None:
    with_pyevm = is_nightly() or SLOW_ON_PYEVM not in case.id
    result = RUNNER.run(case, with_pyevm=with_pyevm)
    engines = {name: engine.standing for name, engine in result.engines.items()}
    if name_of(case) in OUTSIDE:
        assert engines == {"revm": Standing.OUTSIDE, "pyevm": Standing.OUTSIDE}
        assert "B8: storage of an account with nonce 0 and no code" in str(result.reason)
        return
    asks_pyevm = with_pyevm and FORKS[case.fork] <= PYEVM_LAST
    expected = {"revm": Standing.PASSED, "pyevm": Standing.PASSED if asks_pyevm else Standing.ABSENT}
    assert engines == expected, result.reason
    assert result.standing is Standing.PASSED
    if isinstance(case, StateTest) and case.exception is not None:
        assert (result.reason or "").startswith("X0: ")


def test_exactly_three_stay_outside() -> None:
    """The two about EIP-7610, and one that only starts with such storage."""
    assert sorted(name_of(case) for case in shared_cases() if name_of(case) in OUTSIDE) == sorted(OUTSIDE)


def test_invalid_fork_is_outside_and_says_so() -> None:
    result = RUNNER.run(UnknownFork("x::y", "Berlin"))
    assert result.standing is Standing.OUTSIDE
    assert "Paris, Shanghai, Cancun, Prague, Osaka" in str(result.reason)
