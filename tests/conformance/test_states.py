"""The state that is compared is the one that the index holds, not what the blocks claim of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from manaflow.conformance.runner import begin, import_filled
from manaflow.conformance.states import held_cells, known_values, missing_codes
from manaflow.errors import Failure
from manaflow.moves.marks import ZERO32, Mark
from manaflow.validator.index import Index
from manaflow.validator.validator import Mode, Validator
from tests.conformance.cases import shared_case

PLAIN = shared_case("test_eip1559_tx_validity")


@pytest.fixture
def validator(tmp_path: Path) -> Iterator[Validator]:
    genesis, filler = begin(PLAIN)
    with Validator.create(tmp_path / "state", genesis, mode=Mode.EXECUTE, threads=1) as validator:
        import_filled(PLAIN, filler, validator)
        yield validator


def test_every_location_is_held_once_with_its_last_value(validator: Validator) -> None:
    held = held_cells(validator)
    assert {location: value for location, value in held.items() if value != ZERO32} == known_values(PLAIN.post)
    assert held.keys() >= known_values(PLAIN.pre).keys()


def test_a_cell_that_does_not_live_is_a_failure(validator: Validator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "is_live", lambda self, number: number != 2)
    with pytest.raises(Failure, match=r"cell 2, .* does not live in the index"):
        held_cells(validator)


def test_another_value_in_the_index_is_a_failure(validator: Validator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "matches", lambda self, txn, number, mark, *_: mark != Mark.STORAGE)
    with pytest.raises(Failure, match=r"s 0x.* does not live in the index with 0x0+1$"):
        held_cells(validator)


def test_a_live_cell_that_no_block_made_is_a_failure(validator: Validator) -> None:
    tip = validator.index.tip
    validator.index.tip = replace(tip, live=tip.live + 1)
    with pytest.raises(Failure, match="live cells, the blocks made"):
        held_cells(validator)


def test_a_code_that_the_validator_lost_is_named(validator: Validator, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(missing_codes(PLAIN.post, validator)) == []
    monkeypatch.setattr(Validator, "code", lambda self, code_hash: None)
    (message,) = missing_codes(PLAIN.post, validator)
    assert "does not hold the code" in message
