"""The page of proof sizes is the suite's, and every provable rule has its row with numbers."""

from __future__ import annotations

from pathlib import Path

from manaflow.errors import Rule
from manaflow.fraudproof.challenge import UNPROVABLE
from manaflow.fraudproof.format import PROVABLE
from tests.conftest import ROOT
from tests.mutation.bases import SAMPLE
from tests.mutation.catalogue import ALL, ELSEWHERE
from tests.mutation.court import courts, hear
from tests.mutation.executions import MOST
from tests.mutation.report import DECLARED_SHOWS, EXECUTION_RULES, SHOWS, document

PAGE = ROOT / "docs" / "PROOFS.md"


def rows(text: str) -> dict[str, list[str]]:
    """Cells by the first one, of the first row that begins with it."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in reversed(lines)}


def test_the_page_has_every_rule_and_no_miss() -> None:
    found = rows(PAGE.read_text())
    for rule in PROVABLE - ELSEWHERE:
        assert int(found[rule.name][1]) > 0, rule.name
    assert set(UNPROVABLE) <= set(found)
    for fault in ("undetected", "detected without a verifying proof", "proofs that verify against an honest block"):
        assert found[fault] == ["0"]
    assert set(SHOWS) == {rule.name for rule in PROVABLE - ELSEWHERE}
    assert int(found["equivocation"][1]) > 0
    for rule in EXECUTION_RULES:
        with_code, without = (int(found[rule.name][i].replace(",", "")) for i in (3, 5))
        assert 0 < without <= with_code


def test_the_page_has_the_rules_of_declared_transactions() -> None:
    text = PAGE.read_text()
    found = rows(text[text.index("## A block of declared") :])
    for rule in DECLARED_SHOWS:
        assert int(found[rule.name][1]) > 0, rule.name
    faults = " 0 undetected, 0 detected without a verifying proof, 0 proofs against the honest block"
    assert faults in " ".join(text.split())


def test_the_page_says_what_execution_proofs_of_mainnet_cost() -> None:
    """At most 10 KB beside the code for what is typical, 5 ms by revm and a second by py-evm."""
    found = rows(PAGE.read_text())

    def numbers(name: str) -> list[float]:
        return [float(cell.replace(",", "").removesuffix(" %")) for cell in found[name]]

    for name in ("bytes without the code", "bytes without the code, of those that run code"):
        median, tenth, _ = numbers(name)
        assert median <= tenth <= MOST
    for name in ("of all", "of those that run code"):
        assert numbers(name)[0] > 95
    assert numbers("verification by revm, ms")[0] <= 5
    assert numbers("verification by py-evm, ms")[0] <= 1000


def test_the_page_is_what_the_suite_finds(tmp_path: Path) -> None:
    with courts([SAMPLE[3]], tmp_path) as made:
        record = hear(made, [operator for operator in ALL if operator.name.startswith("header.base_fee")], 1)
    found = rows(document(record, ["1-21688509"], "", ""))
    assert found["convicted by a proof"] == [str(len(record.convicted))] == [found["B2"][1]]
    assert int(found["B2"][1]) >= 4
    assert found["M1"][1] == "0"
    assert Rule.B2 in PROVABLE
