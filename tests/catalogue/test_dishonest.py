"""The toolkit: an unchanged draft seals to the same block, and each step that is left is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import Mark
from tests.catalogue.case import BLOBS, CANCUN, CREATING, PARIS, PRAGUE, SHANGHAI, Base, case_of, flipped
from tests.catalogue.dishonest import Draft, Step, resigned, sealed
from tests.moves.wire_blocks import same

BASES = (CANCUN, CREATING, SHANGHAI, PARIS, PRAGUE, BLOBS)


def draft_of(base: Base) -> Draft:
    return case_of(base).draft()


@pytest.mark.parametrize("base", BASES, ids=str)
def test_an_unchanged_draft_is_the_same_block(base: Base) -> None:
    assert same(sealed(draft_of(base)), case_of(base).block)
    assert same(sealed(draft_of(base), leave=set(Step)), case_of(base).block)
    assert same(resigned(case_of(base).block), case_of(base).block)


@pytest.mark.parametrize("base", BASES, ids=str)
def test_renumbering_an_honest_block_changes_nothing(base: Base) -> None:
    draft = draft_of(base)
    draft.renumber()
    assert same(sealed(draft), case_of(base).block)


def test_renumbering_follows_a_consume_that_is_gone() -> None:
    draft = draft_of(CANCUN)
    first = draft.transactions[draft.signed[0]]
    coinbase = first.index(Mark.BALANCE, draft.header.coinbase)
    location, number = first.moves[coinbase].location, first.moves[coinbase].number
    del first.moves[coinbase]
    draft.renumber()
    t, i = draft.uses(location)[0]
    assert draft[t].moves[i].number == number, "the next use takes its place"
    leaves = sealed(draft).leaves
    for t, i in draft.uses(location)[1:]:
        assert draft[t].moves[i].number < int(leaves.first_cell[t])


CHANGES: dict[Step, Callable[[Draft], object]] = {
    Step.COUNTS: lambda d: d[1].say(consumes=d[1].leaf.consumes - 1),
    Step.TXIDS: lambda d: d[1].say(txid=flipped(d[1].leaf.txid)),
    Step.MOVES_ROOTS: lambda d: d[1].say(moves_root=flipped(d[1].leaf.moves_root)),
    Step.TOTALS: lambda d: d[1].say(gas=d[1].leaf.gas + 1),
    Step.CODE_ORDER: lambda d: d.codes.sort(key=keccak256, reverse=True),
    Step.SUMS: lambda d: _head(d, gas_used=1),
    Step.BODY_COUNTS: lambda d: _head(d, transactions=1),
    Step.TRANSACTIONS_ROOT: lambda d: _head(d, transactions_root=bytes(32)),
    Step.CODES_ROOT: lambda d: _head(d, codes_root=bytes(32)),
    Step.WITHDRAWALS_ROOT: lambda d: _head(d, withdrawals_root=bytes(32)),
    Step.SIGNATURE: lambda d: setattr(d, "signature", bytes(65)),
}


def _head(draft: Draft, **fields: Any) -> None:
    draft.header = replace(draft.header, **fields)


@pytest.mark.parametrize("step", Step)
def test_a_step_that_is_left_keeps_what_the_draft_says(step: Step) -> None:
    def draft() -> Draft:
        made = draft_of(CREATING)
        made.codes.append(b"\0")
        return made

    changed = draft()
    CHANGES[step](changed)
    honest, healed, left = sealed(draft()), sealed(changed), sealed(changed, leave={step})
    assert same(healed, honest), "what sealing recomputes, it repairs"
    assert not same(left, honest)
