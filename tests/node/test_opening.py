"""Opening a node's directory, whatever the last process has left there."""

from __future__ import annotations

from pathlib import Path

import pytest

from manaflow.errors import Failure
from manaflow.node.development import development_accounts, development_genesis
from manaflow.node.opening import VALIDATOR, Plan, open_validator
from manaflow.validator.beginning import has_chain
from manaflow.validator.index import Index
from manaflow.validator.store import Store


def plan(path: Path) -> Plan:
    accounts = development_accounts("test " * 11 + "junk", 1)
    return Plan(
        path,
        lambda: development_genesis(accounts, chain_id=9, balance=1, gas_limit=30_000_000, base_fee=1, timestamp=1),
        threads=1,
    )


def cut_short(path: Path, *, has_index: bool) -> None:
    """As a process leaves a directory that is killed before genesis is in it."""
    with Store.open(path) as store:
        if has_index:
            Index.open(store, challenge_blocks=64)


@pytest.mark.parametrize("has_index", [False, True])
def test_a_directory_whose_making_was_cut_short_is_made(tmp_path: Path, has_index: bool) -> None:
    cut_short(tmp_path / VALIDATOR, has_index=has_index)
    assert not has_chain(tmp_path / VALIDATOR)
    with open_validator(plan(tmp_path)) as validator:
        genesis = validator.head[1]
    assert has_chain(tmp_path / VALIDATOR)
    with open_validator(Plan(tmp_path, threads=1)) as validator:
        assert validator.head[1] == genesis


def test_without_genesis_it_says_that_there_is_no_chain(tmp_path: Path) -> None:
    cut_short(tmp_path / VALIDATOR, has_index=False)
    with pytest.raises(Failure, match="it begins with a genesis file"):
        open_validator(Plan(tmp_path, threads=1))
