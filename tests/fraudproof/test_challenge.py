"""The challenger proves every dishonest block of the catalogue that a file can prove, in words that name its rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manaflow.errors import Failure, Rule, Verdict
from manaflow.evm.pyevm.executor import PyEvmExecutor
from manaflow.fraudproof.challenge import BUILDERS, Accusation
from manaflow.fraudproof.errors import Unprovable
from manaflow.fraudproof.verify import verify
from manaflow.moves.block import Block
from manaflow.validator.validator import Mode, Validator
from manaflow.validator.witness import Witness
from tests.catalogue.case import CANCUN, Base, Entry, case_of, lie_of
from tests.catalogue.catalogue import CATALOGUE
from tests.catalogue.dishonest import resigned

PYEVM = PyEvmExecutor()
BLOCKS = [entry for entry in CATALOGUE if entry.rule != Rule.B1]
"""B1 is about files that are no blocks."""


class Witnesses:
    """One validator per base, before the base's last block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.validators: dict[Base, Validator] = {}

    def of(self, base: Base) -> Witness:
        if base not in self.validators:
            chain = case_of(base).chain
            validator = Validator.create(self.folder / str(base), chain.genesis, mode=Mode.EXECUTE, threads=1)
            for block in chain.blocks[:-1]:
                validator.import_block(block)
            self.validators[base] = validator
        return Witness(self.validators[base])


@pytest.fixture(scope="module")
def witnesses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Witnesses]:
    held = Witnesses(tmp_path_factory.mktemp("witnesses"))
    yield held
    for validator in held.validators.values():
        validator.close()


def accusation_of(entry: Entry, witnesses: Witnesses) -> Accusation:
    made = lie_of(entry).made
    assert isinstance(made, Block)
    return Accusation(witnesses.of(entry.base), made)


@pytest.mark.parametrize("entry", BLOCKS, ids=lambda entry: entry.id)
def test_every_block_of_the_catalogue_is_proved_or_named_unprovable(entry: Entry, witnesses: Witnesses) -> None:
    accusation = accusation_of(entry, witnesses)
    verdict = accusation.verdict()
    assert verdict is not None
    assert verdict.rule == entry.rule
    data, why = built(accusation, verdict)
    if data is None:
        assert why == ("B7" if entry.rule == Rule.B7 else "withheld")
        assert entry.rule in (Rule.B3, Rule.B4, Rule.B7, Rule.B8, Rule.S1, Rule.S2), verdict
        return
    verified = verify(data, accusation.head.hash, PYEVM)
    assert verified.rule in (entry.rule, Rule.B3) or entry.name == "txids_swapped"


def built(accusation: Accusation, verdict: Verdict) -> tuple[bytes | None, str]:
    """The proof's file, or why there is none."""
    try:
        return accusation.proof(verdict).encode(), ""
    except Unprovable as unprovable:
        return None, unprovable.why


def test_few_blocks_of_the_catalogue_are_unprovable(witnesses: Witnesses) -> None:
    why: dict[str, set[str]] = {}
    for entry in BLOCKS:
        accusation = accusation_of(entry, witnesses)
        verdict = accusation.verdict()
        assert verdict is not None
        data, reason = built(accusation, verdict)
        if data is None:
            why.setdefault(reason, set()).add(entry.id)
    assert set(why) == {"B7", "withheld"}
    assert all(name.startswith("B7-") for name in why["B7"])
    assert len(why["withheld"]) < len(BLOCKS) / 8, sorted(why["withheld"])


def test_honest_blocks_break_nothing(witnesses: Witnesses) -> None:
    case = case_of(CANCUN)
    for block in case.chain.blocks:
        assert Accusation(witnesses.of(CANCUN), block).verdict() is None


def test_another_parent_than_the_history_says_is_b2(witnesses: Witnesses) -> None:
    accusation = Accusation(witnesses.of(CANCUN), resigned(case_of(CANCUN).block, parent_hash=bytes(32)))
    verdict = accusation.verdict()
    assert verdict is not None
    assert (verdict.rule, verdict.what) == (Rule.B2, "parent hash")
    assert verify(accusation.proof(verdict).encode(), accusation.block.hash, PYEVM).rule == Rule.B2


def test_a_block_of_another_chain_is_not_judged(witnesses: Witnesses) -> None:
    stray = resigned(case_of(CANCUN).block, parent_hash=bytes(32), history_root=bytes(32), number=2**63)
    with pytest.raises(Failure, match="is unknown"):
        Accusation(witnesses.of(CANCUN), stray).verdict()


def test_a_verdict_without_its_place_is_no_proof(witnesses: Witnesses) -> None:
    accusation = Accusation(witnesses.of(CANCUN), case_of(CANCUN).block)
    for rule in BUILDERS:
        for place in ({}, {"transaction": 10**6, "move": 0}, {"transaction": 0, "move": 10**6}):
            verdict = Verdict(rule, "made up", **place)  # type: ignore[arg-type]
            try:
                proof = accusation.proof(verdict)
            except (ValueError, IndexError, Failure):
                continue
            assert proof.rule in (Rule.B2, Rule.B3, Rule.B4, Rule.B6) or "move" in place
