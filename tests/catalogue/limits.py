"""X5: transactions of profile `manaflow` that ask for too much gas or use too much code; and X4 with as much."""

from __future__ import annotations

from collections.abc import Callable

from manaflow.errors import Rule
from manaflow.moves.marks import ZERO32, Mark
from manaflow.rules.execution import MAX_GAS_LIMIT
from tests.catalogue.case import CODES as CODED
from tests.catalogue.case import Case, Lie, add, entry
from tests.catalogue.dishonest import sealed
from tests.manaflow_chain import CODES, LOOKER, REVERTER, Producer, coded, coded_address, looking

GAS, CODE = "a gas limit of more than 16777216", "more than 1048576 bytes of distinct code"


def limit(name: str, reason: str, envelopes: Callable[[Producer], list[bytes]]) -> None:
    """Register a block whose last transaction breaks X5."""

    def make(case: Case) -> Lie:
        producer = coded()
        assert producer.blocks[-1].hash == case.before[-1].hash
        block = producer.seal_without_x5(envelopes(producer))
        return Lie(block, len(block.leaves) - 1)

    add(name, Rule.X5, reason, make, CODED)


limit("one_gas_too_many", GAS, lambda p: [looking(p, 0, gas=MAX_GAS_LIMIT + 1)])
limit("gas_of_the_whole_block", GAS, lambda p: [p.sign(0, LOOKER, gas=30_000_000, tip=0)])
limit("one_code_too_many", CODE, lambda p: [looking(p, 42), looking(p, 43)])
limit("too_many_codes_in_a_frame_that_reverts", CODE, lambda p: [looking(p, 43, REVERTER)])
limit("more_codes_than_a_proof_holds", CODE, lambda p: [looking(p, CODES)])


@entry(Rule.X4, "declared and not used, and no guard", CODED)
def more_codes_declared_than_a_proof_holds(case: Case) -> Lie:
    """References to codes that the execution never asks for."""
    draft = case.draft()
    t = draft.signed[0]
    i = draft[t].add(*(case.reference((Mark.CODE, coded_address(n), ZERO32)) for n in range(43, CODES + 1)))
    return Lie(sealed(draft), t, i)
