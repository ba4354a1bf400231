"""Every dishonest block of the catalogue is refused, by exactly its rule, at exactly its place, and leaves no trace."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from manaflow.errors import Failure, Rule, Verdict
from manaflow.moves.block import Block
from manaflow.validator.store import Table
from manaflow.validator.validator import Mode, Validator
from tests.catalogue.case import CANCUN, Base, Entry, Lie, case_of, lie_of
from tests.catalogue.catalogue import BASES, CATALOGUE, SECTIONS
from tests.catalogue.dishonest import resigned
from tests.moves.wire_blocks import same

Trace = dict[str, object]


class Judges:
    """One validator per base and mode, which stands before the base's last block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.validators: dict[tuple[Base, Mode], Validator] = {}

    def judge(self, base: Base, mode: Mode) -> Validator:
        if (base, mode) not in self.validators:
            self.validators[base, mode] = self.fresh(base, mode, f"{base}-{mode}")
        return self.validators[base, mode]

    def fresh(self, base: Base, mode: Mode, name: str) -> Validator:
        chain = case_of(base).chain
        validator = Validator.create(self.folder / name, chain.genesis, mode=mode)
        for block in chain.blocks[:-1]:
            validator.import_block(block)
        return validator

    def close(self) -> None:
        for validator in self.validators.values():
            validator.close()


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    held = Judges(tmp_path_factory.mktemp("judges"))
    yield held
    held.close()


def trace_of(validator: Validator) -> Trace:
    """Everything that a validator holds, in its files and in memory, as plain values."""
    index = validator.index
    with index.store.read() as txn:
        tables: Trace = {
            table.value: {key: hashlib.sha256(value).digest() for key, value in txn.items(table)} for table in Table
        }
    memory = index.memory
    columns = {name: getattr(memory, name).tobytes() for name in ("live", "kept", "adds", "counts")}
    filters = hashlib.sha256(memory.filters.tobytes()).digest()
    return (
        tables | columns | {"filters": filters, "recent": list(memory.recent), "tip": index.tip, "head": validator.head}
    )


def content_of(validator: Validator) -> Trace:
    """What the index says, apart from how its files are laid out."""
    index = validator.index
    live = {number for number in range(1, index.next_number) if index.is_live(number)}
    return {"live": live, "next": index.next_number, "touched": index.tip.touched, "head": validator.head[1]}


def refusal(validator: Validator, lie: Lie) -> Verdict:
    with pytest.raises(Verdict) as caught:
        validator.import_block(lie.file)
    return caught.value


def assert_is(verdict: Verdict, entry: Entry, lie: Lie) -> None:
    found = verdict.rule, verdict.transaction, verdict.move, verdict.winner
    assert found == (entry.rule, lie.transaction, lie.move, lie.winner), str(verdict)
    assert verdict.what.startswith(entry.reason), str(verdict)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.id)
def test_refused_by_its_rule_at_its_place_and_nothing_changes(entry: Entry, mode: Mode, judges: Judges) -> None:
    lie, validator = lie_of(entry), judges.judge(entry.base, mode)
    before = trace_of(validator)
    if mode == Mode.MOVES and entry.mode == Mode.EXECUTE:
        content = content_of(validator)
        validator.import_block(lie.file)  # moves and state are as they must be: only an execution tells
        validator.undo_block()
        assert content_of(validator) == content
        return
    assert_is(refusal(validator, lie), entry, lie)
    assert trace_of(validator) == before


def one_of_each_rule(base: Base, mode: Mode) -> list[Entry]:
    """Entries of a base that the mode refuses, the last of each rule."""
    refused = [entry for entry in CATALOGUE if entry.base == base and (mode == Mode.EXECUTE or entry.mode == mode)]
    return list({entry.rule: entry for entry in refused}.values())


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("base", BASES, ids=str)
def test_the_honest_block_still_imports(base: Base, mode: Mode, judges: Judges) -> None:
    """After lies of every kind about it, a validator takes the honest block and is where an undisturbed one is."""
    block = case_of(base).block
    disturbed, calm = (judges.fresh(base, mode, f"{base}-{mode}-{name}") for name in ("disturbed", "calm"))
    with disturbed, calm:
        for entry in one_of_each_rule(base, mode):
            refusal(disturbed, lie_of(entry))
        assert disturbed.import_block(block) == calm.import_block(block)
        assert content_of(disturbed) == content_of(calm)
        assert disturbed.check() == calm.check()
        assert unknown_cells(disturbed, block) == set()


SAMPLE = 16
"""Every how manieth cell is looked up by itself."""


def unknown_cells(validator: Validator, block: Block) -> set[int]:
    """Of a sample of the cells that a block has made: those that the index does not know, or at untouched locations."""
    index, unknown = validator.index, set()
    made = [move for move in block.moves.objects() if not move.is_reference]
    with index.store.read() as txn:
        for number, move in list(enumerate(made, block.header.first_cell))[::SAMPLE]:
            known = index.matches(txn, number, move.mark, move.addr, move.slot, move.next)
            if not known or not index.is_touched(txn, *move.location):
                unknown.add(number)
    return unknown


@pytest.mark.parametrize("mode", Mode)
def test_a_block_for_another_parent_is_no_verdict_and_changes_nothing(mode: Mode, judges: Judges) -> None:
    """The parent hash is not judged: a block for another parent says nothing about the block."""
    case, validator = case_of(CANCUN), judges.judge(CANCUN, mode)
    before = trace_of(validator)
    with pytest.raises(Failure, match=r"the parent of block 2971847 .* is unknown"):
        validator.import_block(resigned(case.block, parent_hash=bytes(32)))
    with pytest.raises(Failure, match="is in the chain already"):
        validator.import_block(case.before[-1])
    assert trace_of(validator) == before


def test_every_rule_has_an_entry() -> None:
    covered = {entry.rule for entry in CATALOGUE}
    assert covered == set(Rule)


def test_every_section_adds_entries() -> None:
    assert {entry.make.__module__ for entry in CATALOGUE} == {section.__name__ for section in SECTIONS}


def test_entries_are_distinct() -> None:
    assert len({entry.id for entry in CATALOGUE}) == len(CATALOGUE)
    made = [hashlib.sha256(lie_of(entry).file).digest() for entry in CATALOGUE]
    twins = [entry.id for entry, digest in zip(CATALOGUE, made, strict=True) if made.count(digest) > 1]
    assert not twins


def test_what_is_sealed_again_differs_from_the_honest_block() -> None:
    for entry in CATALOGUE:
        made = lie_of(entry).made
        if isinstance(made, Block):
            honest = case_of(entry.base).block
            assert not same(made, honest), entry.id
