"""Completeness and soundness of fraud proofs, by mutation of real blocks (docs/SPEC.md, section 9).

Every mutated block is refused in mode execute, and its challenger's proof verifies by py-evm and by revm; no proof, nor
one built for the same place, verifies against the honest block.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from manaflow.errors import Rule, Verdict
from manaflow.fraudproof import challenge, judge_bytes
from manaflow.fraudproof.format import BYTES_RULES, PROVABLE
from manaflow.fraudproof.verify import VerifiedProof
from manaflow.moves.block import Block
from manaflow.moves.wire import decode_block, encode_block
from tests.conftest import is_nightly
from tests.moves.wire_blocks import same
from tests.mutation import court as module
from tests.mutation.bases import SAMPLE, bases
from tests.mutation.catalogue import ALL, ELSEWHERE, KINDS
from tests.mutation.committed import COMMITTED, Committed
from tests.mutation.court import Court, Record, courts, hear
from tests.mutation.operators import Operator

ROUNDS = 40 if is_nightly() else 1
"""Of all operators, about three hundred."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Court]]:
    with courts(bases(), tmp_path_factory.mktemp("courts")) as made:
        yield made


def named(name: str) -> Operator | Committed:
    return next(operator for operator in ALL if operator.name == name)


def test_every_mutation_is_refused_and_proved_and_nothing_honest_is(found: list[Court]) -> None:
    record = hear(found, ALL, ROUNDS)
    print(*record.lines(), sep="\n")
    assert not record.undetected
    assert not record.unproved
    assert not record.unjust
    assert record.mutations >= (10_000 if is_nightly() else 290)
    assert set(record.kinds) == KINDS
    assert set(record.apart) == {"B7", "withheld"}
    assert len(record.convicted) > 0.75 * record.mutations
    proved = {exhibit.rule for exhibit in record.convicted}
    assert proved == PROVABLE - ELSEWHERE
    assert sum(exhibit.rule == Rule.B1 for exhibit in record.convicted) == len(COMMITTED) * ROUNDS
    assert len(record.twice) > 0.7 * len(record.convicted)


def test_every_base_is_mutated(found: list[Court]) -> None:
    assert len({court.name for court in found}) >= 6
    for court in found:
        record = hear([court], [named("move.next.flip"), named("header.base_fee.more")], 1)
        assert (len(record.convicted), record.undetected, record.unproved) == (2, [], [])


def test_every_provable_rule_has_a_builder_and_every_other_one_a_reason() -> None:
    assert set(challenge.BUILDERS) == set(PROVABLE) - BYTES_RULES
    others = {rule.name for rule in set(Rule) - set(PROVABLE)}
    assert others == {"B7"}
    assert set(challenge.UNPROVABLE) == {"B1", "B7", "withheld", "F2"}


def test_damaged_files_are_no_blocks_and_accuse_nobody(found: list[Court]) -> None:
    """B1 of the codec: what decodes all the same is the block itself, or another one that is judged like any."""
    data, rng = encode_block(found[0].honest), random.Random(1)
    fates: Counter[str] = Counter()
    for i in range(300 if is_nightly() else 60):
        damaged = bytearray(data[:-32])
        if i % 2:
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        else:
            del damaged[rng.randrange(len(damaged))]
        rule, block = decoded(bytes(damaged) + hashlib.sha256(damaged).digest())
        assert (rule is None) != (block is None)
        assert rule in (None, Rule.B1)
        assert block is None or same(block, found[0].honest) or found[0].refuses_file(block)
        fates["B1" if block is None else "decodes"] += 1
    assert fates["B1"] > 20
    assert fates["decodes"] > 10


def decoded(data: bytes) -> tuple[Rule | None, Block | None]:
    """The rule that a file breaks, or its block."""
    try:
        return None, decode_block(data)
    except Verdict as verdict:
        return verdict.rule, None


# ---- the suite itself: each fault that it is for is seen ----


@pytest.fixture
def court(tmp_path: Path) -> Iterator[Court]:
    with courts([SAMPLE[3]], tmp_path) as made:
        yield made[0]


def heard(court: Court, name: str) -> Record:
    record = Record()
    court.try_one(named(name), 0, record)
    return record


def test_a_validator_that_takes_a_lie_is_seen(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(court.validator, "judge_block", lambda block: None)
    assert len(heard(court, "move.next.flip").undetected) == 1


def test_a_validator_that_takes_malformed_bytes_is_seen(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(court, "refuses_file", lambda block: False)
    assert len(heard(court, "committed.transactions.short").undetected) == 1


def test_a_judge_who_takes_malformed_bytes_is_seen(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_bytes, "check_b1_node", lambda *_: None)
    assert len(heard(court, "committed.codes.short").unproved) == 1


def test_a_judge_who_convicts_all_bytes_is_seen(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    def strict(preimage: bytes, width: int, is_root: bool) -> None:
        raise Verdict(Rule.B1, "nothing is good enough")

    monkeypatch.setattr(judge_bytes, "check_b1_node", strict)
    assert heard(court, "committed.moves.short").unjust


def test_a_missing_builder_is_seen(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenge, "BUILDERS", {})
    with pytest.raises(KeyError):
        heard(court, "move.next.flip")


def test_a_wrong_builder_is_seen(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenge, "BUILDERS", dict.fromkeys(Rule, challenge.BUILDERS[Rule.B2]))
    assert len(heard(court, "move.next.flip").unproved) == 1


def test_a_verifier_that_convicts_the_honest_is_seen(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.verify

    def gullible(data: bytes, head: bytes, executor: module.PyEvmExecutor) -> VerifiedProof:
        return real(data, head, executor) if head != court.honest.hash else real(proofs[-1], made[-1], executor)

    proofs, made = [], []
    examine = module.examine

    def keeping(proof: module.Proof, head: bytes) -> module.Exhibit:
        proofs.append(proof.encode())
        made.append(head)
        return examine(proof, head)

    monkeypatch.setattr(module, "verify", gullible)
    monkeypatch.setattr(module, "examine", keeping)
    assert len(heard(court, "move.next.flip").unjust) == 2
