"""An honest fill of any mask is a valid block: each of the six fields, alone and all others, signed or left out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from manaflow.moves.marks import UNSIGNED, Mark, Mask
from manaflow.validator.validator import Mode, Validator
from tests.catalogue.case import MANAFLOW, case_of
from tests.catalogue.declared import CLOSED, IDENTIFIED, transaction_at
from tests.catalogue.dishonest import sealed
from tests.catalogue.masks import sign_with_mask
from tests.declared_chain import COUNT
from tests.moves.wire_blocks import same

FIELDS = (Mask.INTX, Mask.PREV, Mask.NEXT, Mask.SLOT, Mask.ADDR, Mask.MARK)


@pytest.fixture(scope="module")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Validator]:
    chain = case_of(MANAFLOW).chain
    folder = tmp_path_factory.mktemp("validator") / "state"
    with Validator.create(folder, chain.genesis, mode=Mode.EXECUTE, threads=1) as made:
        for block in chain.blocks[:-1]:
            made.import_block(block)
        yield made


@pytest.mark.parametrize("mask", [*FIELDS, *(UNSIGNED ^ field for field in FIELDS), Mask.PREV | Mask.NEXT, 0])
@pytest.mark.parametrize("kind", ["consume", "reference"])
def test_an_honest_fill_of_any_mask_is_valid(validator: Validator, kind: str, mask: int) -> None:
    """Executed, too; the signer signs exactly the other fields."""
    case = case_of(MANAFLOW)
    draft = case.draft()
    t = IDENTIFIED if kind == "consume" else CLOSED
    codes = (m.location for m in draft[CLOSED].moves if m.mark == Mark.CODE)
    location = COUNT if kind == "consume" else next(codes)
    i = sign_with_mask(case, draft, t, location, int(mask))
    block = sealed(draft)
    assert draft[t].moves[i].mask & UNSIGNED == mask
    assert mask in {form.mask & UNSIGNED for form in transaction_at(draft, t).moves}
    if kind == "consume" and mask:
        assert not same(block, case.block)
    validator.judge_block(block)
