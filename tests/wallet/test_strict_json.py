"""JSON of strangers: what is shallow is read as json reads it, and no depth ends the process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manaflow.wallet.strict_json import MAX_DEPTH, parse
from tests.conftest import ROOT

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=60,
)


@given(values)
def test_round_trip(value: object) -> None:
    assert parse(json.dumps([value] * 40).encode()) == [value] * 40


@pytest.mark.parametrize("ends", [b"[]", b"{}"])
def test_depth_has_a_bound(ends: bytes) -> None:
    opening = b'{"a":' if ends == b"{}" else b"["
    deep = MAX_DEPTH * opening + b"1" + MAX_DEPTH * ends[1:]
    assert parse(deep) is not None
    for bad in (opening + deep + ends[1:], deep[:-1], deep + b"]", b'["' + b"[" * 100):
        with pytest.raises(ValueError, match=r"."):
            parse(bad)
    assert parse(b'["' + b"[{" * 1000 + b'\\"]"]') == ["[{" * 1000 + '"]']


def test_a_lifted_recursion_limit_does_not_end_the_process() -> None:
    """As a process of its own: without the bound this is a segmentation fault."""
    code = (
        "import sys; sys.setrecursionlimit(10**6)\n"
        "from manaflow.wallet.strict_json import parse\n"
        "for raw in (b'[' * 10**6, b'{\"a\":' * 10**6):\n"
        "    try: parse(raw)\n"
        "    except ValueError: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "refused\nrefused\n")
