"""The rules carry the same numbers in Python and in Rust."""

from manaflow import _native
from manaflow.errors import Rule


def test_python_and_rust_agree() -> None:
    assert {rule.name: rule.value for rule in Rule} == _native.RULES
