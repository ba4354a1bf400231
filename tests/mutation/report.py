"""Write docs/PROOFS.md: sizes and verification times of the proofs that convict mutated real blocks, and of one against
every transaction of the mainnet blocks.

python -m tests.mutation.report [--rounds 4] [--out docs/PROOFS.md]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from manaflow.errors import Rule
from manaflow.fraudproof.challenge import UNPROVABLE
from manaflow.fraudproof.format import PROVABLE
from tests.conftest import ROOT
from tests.mutation.bases import bases
from tests.mutation.catalogue import ALL, ELSEWHERE
from tests.mutation.court import Exhibit, Record, courts, hear
from tests.mutation.declared import BASE, DECLARED
from tests.mutation.executions import mainnet_names, measure, section

SHOWS = {
    "B1": "the bytes, and where their tree holds them; or the parent's, which are no header",
    "M1": "the transaction", "M2": "the transaction", "M3": "the transaction", "M4": "the transaction",
    "M5": "the transaction", "M6": "the transaction (a crediting one: and the withdrawals)", "S1": "the transaction",
    "B2": "the parent's header",
    "B3": "two neighbouring leaves, a node that contradicts a count, or a leaf of too many moves",
    "B4": "a move and two neighbouring codes; codes that are too long together; or nothing, for too many",
    "B5": "a move and the header or ancestors that hold the hash", "B6": "the parent's header and its frontier",
    "B8": "the transaction at a place, and the withdrawals", "V1": "a move, and the one that made its cell",
    "V2": "two moves", "V3": "two moves", "V4": "two moves",
    "X0": "the transaction and codes", "X1": "the transaction and codes", "X2": "the transaction and codes",
    "X3": "the transaction and codes", "X4": "the transaction and codes",
}  # fmt: skip


DECLARED_SHOWS = {
    Rule.S2: "the transaction", Rule.S3: "the transaction", Rule.S4: "the transaction",
    Rule.V1: "the transaction, and the leaf that made the cell; or a move, and the one that made it",
}  # fmt: skip
"""Rules that only declared transactions can break, or (V1) can break otherwise than Ethereum's."""
EXECUTION_RULES = frozenset({Rule.X0, Rule.X1, Rule.X2, Rule.X3, Rule.X4})
"""Their proofs bring code."""
ROUNDS = 5
"""Of the mutations of declared transactions to one of all others."""


def document(record: Record, names: Sequence[str], executions: str, declared: str) -> str:
    """The whole page."""
    rows = "\n".join(_row(rule, SHOWS[rule.name], record.convicted) for rule in sorted(PROVABLE - ELSEWHERE))
    free = record.free.total()
    reasons = "\n".join(f"| {why} | {record.apart[why]} | {text} |" for why, text in UNPROVABLE.items())
    return f"""# Proof sizes and verification times

Written by `python -m tests.mutation.report`; do not edit. It mutates real blocks, seals each lie again as its producer
would, and lets a validator in mode `execute` refuse it and a challenger prove it. Each proof is verified by py-evm,
which judges fraud, and by revm. Beside the evidence named below a file holds the chain config, the accused header and
its signature, and the paths. Blocks: {", ".join(names)}.

| mutations of {len(record.kinds)} kinds of field | {record.mutations} |
|---|--:|
| convicted by a proof | {len(record.convicted)} |
| undetected | {len(record.undetected)} |
| detected without a verifying proof | {len(record.unproved)} |
| proofs that verify against an honest block | {len(record.unjust)} |
| as honest as the original: other values of inputs that no rule binds, or transactions left out | {free} |
| what no file shows, below | {record.apart.total()} |

| rule | shown | proofs | bytes: smallest | median | largest | without code: median | largest | py-evm, ms | revm, ms |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
{rows}
{_row_of_equivocations(record)}

Times are medians of whole verifications on one core, codec and signature included; only X0 to X4 execute anything. They
bring the code that the transaction runs, by hash and each distinct one once. An equivocation is proved beside each
mutation that leaves number and parent as they are: its producer signed the honest block as well. It voids no block.
S2 to S4 and X5 bind profile `manaflow` alone, and these are blocks of Ethereum: X5 has tests of its own.

{declared.strip()}

{executions.strip()}

## What no file shows

Refusals that no file shows to others; section 9 of [SPEC.md](SPEC.md) names what is no refusal either (censorship,
drift of inputs, genesis itself).

| reason | mutations | why |
|---|--:|---|
{reasons}
"""


def of_declared(record: Record) -> str:
    """The section on a block of declared transactions (tests/declared_chain.py)."""
    rows = "\n".join(_row(rule, shown, record.convicted) for rule, shown in DECLARED_SHOWS.items())
    others = sum(exhibit.rule not in DECLARED_SHOWS for exhibit in record.convicted)
    return f"""## A block of declared transactions

The same with a small block of profile `manaflow` (tests/declared_chain.py): what a sender signs is signed otherwise, or
filled otherwise. {record.mutations} mutations of {len(record.kinds)} kinds of field: {len(record.convicted)} convicted,
{len(record.undetected)} undetected, {len(record.unproved)} detected without a verifying proof,
{len(record.unjust)} proofs against the honest block, {record.free.total()} as honest as the original.

| rule | shown | proofs | bytes: smallest | median | largest | without code: median | largest | py-evm, ms | revm, ms |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
{rows}

The other {others} break rules of the table above.
"""


def _row_of_equivocations(record: Record) -> str:
    sizes = sorted(size for size, _ in record.twice) or [0]
    took = 1000 * median(seconds for _, seconds in record.twice) if record.twice else 0
    shown = f"{len(record.twice)} | {sizes[0]:,} | {median(sizes):,.0f} | {sizes[-1]:,} | | | {took:.1f} | |"
    return f"| equivocation | two headers and their signatures | {shown}"


def _row(rule: Rule, shows: str, exhibits: Sequence[Exhibit]) -> str:
    own = [exhibit for exhibit in exhibits if exhibit.rule == rule]
    if not own:
        return f"| {rule.name} | {shows} | 0 | | | | | | | |"
    sizes = sorted(exhibit.bytes for exhibit in own)
    python = 1000 * median(exhibit.python_seconds for exhibit in own)
    native = 1000 * median(exhibit.native_seconds for exhibit in own)
    bare = sorted(exhibit.bytes_without_code for exhibit in own)
    without = f"{median(bare):,.0f} | {bare[-1]:,}" if rule in EXECUTION_RULES else "|"
    shown = f"{sizes[0]:,} | {median(sizes):,.0f} | {sizes[-1]:,} | {without} | {python:.1f} | {native:.1f}"
    return f"| {rule.name} | {shows} | {len(own)} | {shown} |"


def main() -> None:
    """Run the suite and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "PROOFS.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, courts(bases(), Path(folder)) as found:
        record = hear(found, ALL, arguments.rounds)
        names = [court.name for court in found]
    with tempfile.TemporaryDirectory() as folder, courts([BASE], Path(folder)) as found:
        declared = hear(found, DECLARED, ROUNDS * arguments.rounds)
    executions = section(measure(mainnet_names()))
    print(*record.lines(), *declared.lines(), executions, sep="\n")
    for heard in (record, declared):
        print(*heard.undetected, *heard.unproved, *heard.unjust, sep="\n")
    arguments.out.write_text(document(record, names, executions, of_declared(declared)))


if __name__ == "__main__":
    main()
