"""Completeness and soundness of fraud proofs in profile `manaflow`: every mutation of a block of declared transactions.

The mutations of Ethereum blocks as well (moves, leaves, envelopes, header), and those that only declared ones know.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from manaflow.errors import Rule
from manaflow.fraudproof import challenge
from tests.conftest import is_nightly
from tests.mutation.catalogue import ALL
from tests.mutation.court import Court, courts, hear
from tests.mutation.declared import BASE, DECLARED

ROUNDS = 40 if is_nightly() else 1
EVERY = 1 if is_nightly() else 5
"""Of the mutations that Ethereum blocks have too, each fifth by day."""


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    with courts([BASE], tmp_path_factory.mktemp("declared")) as made:
        yield made[0]


def test_every_mutation_of_declared_transactions_is_refused_and_proved(court: Court) -> None:
    record = hear([court], DECLARED, ROUNDS)
    print(*record.lines(), sep="\n")
    assert not record.undetected
    assert not record.unproved
    assert not record.unjust
    assert not record.apart
    assert set(record.kinds) == {operator.kind for operator in DECLARED}
    proved = {exhibit.rule for exhibit in record.convicted}
    assert proved >= {Rule.S2, Rule.S3, Rule.S4, Rule.V1}
    assert len(record.convicted) > 0.8 * record.mutations


def test_every_other_mutation_of_their_block_is_refused_and_proved(court: Court) -> None:
    record = hear([court], ALL[::EVERY], ROUNDS)
    print(*record.lines(), sep="\n")
    assert not record.undetected
    assert not record.unproved
    assert not record.unjust
    assert set(record.apart) <= {"B7", "withheld"}
    assert len(record.convicted) > 0.5 * record.mutations


# ---- the suite itself: faults that it is for are seen ----


@pytest.mark.parametrize("name", ["signed_move.values.0", "filled.mask.disown", "signed_moves.guard"])
def test_a_validator_that_does_not_compare_what_was_signed_is_seen(
    court: Court, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manaflow.validator.transactions.check_filled", lambda *_: {})
    record = hear([court], [operator for operator in DECLARED if operator.name == name], 1)
    assert record.undetected + record.unproved


def test_a_judge_without_declared_rules_is_seen(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manaflow.rules.signed.check_s4", lambda *_: None)
    monkeypatch.setattr(challenge.build, "prove_v1_maker", challenge.build.prove_v1)
    names = ("signed.valid_until.past", "signed_move.intx.0")
    record = hear([court], [operator for operator in DECLARED if operator.name in names], 1)
    assert len(record.undetected + record.unproved) == 2
