"""The chain read backwards: what it accepts, and each thing that it must refuse, at its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.errors import Rule, Verdict
from manaflow.moves.block import Block
from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.marks import Mark
from manaflow.validator.backwards import verify_backwards
from tests.catalogue.case import MANAFLOW, Entry, case_of, lie_of
from tests.catalogue.catalogue import CATALOGUE
from tests.chain import Chain, Transfer, chain_config, random_chain, with_move, word
from tests.declared_chain import sealed_chain

SLOT = (Mark.STORAGE, bytes.fromhex("cc" * 20), word(3))
OTHER = (Mark.STORAGE, bytes.fromhex("cc" * 20), word(4))
VIRGIN = (Mark.STORAGE, bytes.fromhex("cc" * 20), word(77))


def refused(chain: Chain, blocks: list[Block]) -> Verdict:
    with pytest.raises(Verdict) as caught:
        list(verify_backwards(reversed(blocks), chain.config))
    return caught.value


def row_of(block: Block, transaction: int, location: tuple[int, bytes, bytes]) -> int:
    offsets = block.leaves.move_offsets()
    rows = range(int(offsets[transaction]), int(offsets[transaction + 1]))
    return next(row for row in rows if block.moves[row].location == location)


def replaced(blocks: list[Block], at: int, block: Block) -> list[Block]:
    return [*blocks[:at], block, *blocks[at + 1 :]]


@pytest.fixture
def chain() -> Chain:
    """Blocks 1 to 3 write SLOT, the last two after reading it; VIRGIN is read in 1 and 2, then written in 2."""
    chain = Chain(slots=8)
    chain.seal([Transfer(0, 1, writes=((SLOT, word(50)),), reads=(VIRGIN, OTHER))])
    chain.seal(
        [
            Transfer(1, 2, reads=(SLOT, VIRGIN)),
            Transfer(2, 3, writes=((SLOT, word(51)), (VIRGIN, word(1)))),
        ]
    )
    chain.seal([Transfer(3, 4, reads=(SLOT,)), Transfer(4, 5, writes=((SLOT, word(0)),))])
    return chain


@pytest.mark.parametrize("seed", range(4))
def test_valid_chains_are_accepted_and_end_with_nothing_demanded(seed: int) -> None:
    chain = random_chain(12, seed)
    progress = list(verify_backwards(reversed(chain.blocks), chain.config))
    assert [p.number for p in progress] == list(range(12, -1, -1))
    assert progress[-1].demanded == 0
    assert progress[-1].hash == chain.blocks[0].hash
    assert max(p.demanded for p in progress) > 0


def test_invalid_value_of_a_cell_is_found_where_the_cell_was_made(chain: Chain) -> None:
    block = chain.blocks[3]
    row = row_of(block, 0, SLOT)
    reader = with_move(block, row, prev=word(99), next=word(99))
    consumer = with_move(reader, row_of(block, 1, SLOT), prev=word(99))
    verdict = refused(chain, replaced(chain.blocks, 3, consumer))
    assert (verdict.rule, verdict.transaction) == (Rule.V1, 1)
    assert (verdict.expected, verdict.actual) == (word(99), word(51))


def test_invalid_two_values_of_one_cell(chain: Chain) -> None:
    block = chain.blocks[3]
    verdict = refused(chain, replaced(chain.blocks, 3, with_move(block, row_of(block, 0, SLOT), prev=word(9))))
    assert (verdict.rule, verdict.transaction) == (Rule.V1, 0)


def test_invalid_location_of_a_cell(chain: Chain) -> None:
    block = chain.blocks[1]
    row = row_of(block, 0, OTHER)
    fifth = block.moves[row].number + 1
    verdict = refused(chain, replaced(chain.blocks, 1, with_move(block, row, number=fifth)))
    assert (verdict.rule, verdict.transaction) == (Rule.V1, 0)
    assert verdict.what == f"location of cell {fifth}, made here"


def test_invalid_cell_that_is_made_later_or_never(chain: Chain) -> None:
    block = chain.blocks[2]
    row = row_of(block, 0, SLOT)
    late = refused(chain, replaced(chain.blocks, 2, with_move(block, row, number=int(block.leaves.first_cell[0]))))
    assert (late.rule, late.transaction, late.move) == (Rule.V1, 0, row)
    genesis, first = chain.blocks[0], chain.blocks[1]
    late_start = replace(genesis, header=replace(genesis.header, first_cell=2))
    header = replace(
        first.header, parent_hash=late_start.hash, first_cell=genesis.header.cells + 2, cells=0, transactions=1
    )
    reads_cell_1 = replace(genesis.moves[0], mask=0xBF, number=1, prev=genesis.moves[0].next)
    leaves = Leaves.of([replace(first.leaves[0], consumes=0, references=1)])
    verdict = refused(chain, [late_start, replace(first, header=header, leaves=leaves, moves=Moves.of([reads_cell_1]))])
    assert (verdict.rule, verdict.transaction) == (Rule.V1, None)
    assert verdict.what.startswith("cell 1 is used and was never made")


def test_invalid_second_consume_of_a_cell(chain: Chain) -> None:
    block = chain.blocks[3]
    made_in_genesis = chain.blocks[1].moves[row_of(chain.blocks[1], 0, SLOT)]
    again = with_move(block, row_of(block, 1, SLOT), number=made_in_genesis.number, prev=made_in_genesis.prev)
    verdict = refused(chain, replaced(chain.blocks, 3, again))
    assert verdict.rule == Rule.V2
    assert verdict.transaction == 0
    assert verdict.winner == chain.blocks[1].leaves.txid[0].tobytes()


def test_invalid_reference_after_the_consume(chain: Chain) -> None:
    block = chain.blocks[3]
    consumed = chain.blocks[2].moves[row_of(chain.blocks[2], 1, SLOT)]
    late = with_move(block, row_of(block, 0, SLOT), number=consumed.number, prev=consumed.prev, next=consumed.prev)
    verdict = refused(chain, replaced(chain.blocks, 3, late))
    assert (verdict.rule, verdict.transaction) == (Rule.V3, 1)
    assert verdict.winner == chain.blocks[2].leaves.txid[1].tobytes()


@pytest.mark.parametrize("transaction", [0, 1])
def test_invalid_virgin_claim_after_a_write(chain: Chain, transaction: int) -> None:
    block = chain.blocks[3]
    claim = with_move(block, row_of(block, transaction, SLOT), number=0, prev=word(0))
    verdict = refused(chain, replaced(chain.blocks, 3, claim))
    assert verdict.rule == Rule.V4


def test_invalid_virgin_cell_with_a_value(chain: Chain) -> None:
    block = chain.blocks[1]
    verdict = refused(chain, replaced(chain.blocks, 1, with_move(block, row_of(block, 0, VIRGIN), prev=word(5))))
    assert verdict.rule == Rule.M4


def test_invalid_links_between_headers(chain: Chain) -> None:
    assert refused(chain, [chain.blocks[0], *chain.blocks[2:]]).rule == Rule.B2
    assert "genesis" in refused(chain, chain.blocks[1:]).what
    block = chain.blocks[2]
    header = replace(block.header, cells=block.header.cells + 1)
    assert refused(chain, [*chain.blocks[:2], replace(block, header=header)]).rule == Rule.B3
    other = Chain(config=chain_config(challenge_blocks=9))
    assert refused(chain, other.blocks).what == "config of block 0"
    with pytest.raises(Verdict, match="does not end at genesis"):
        list(verify_backwards([], chain.config))


def test_declared_transactions_are_accepted() -> None:
    chain = sealed_chain()
    assert list(verify_backwards(reversed(chain.producer.blocks), chain.config))[-1].demanded == 0


MAKERS = [e for e in CATALOGUE if e.base == MANAFLOW and e.rule == Rule.V1 and e.reason.startswith("maker of")]


@pytest.mark.parametrize("entry", MAKERS, ids=lambda entry: entry.name)
def test_invalid_maker_that_a_signer_fixed(entry: Entry) -> None:
    case, lie = case_of(MANAFLOW), lie_of(entry)
    assert isinstance(lie.made, Block)
    with pytest.raises(Verdict) as caught:
        list(verify_backwards([lie.made, *reversed(case.before)], case.config))
    assert caught.value.rule == Rule.V1
    is_shared = entry.name == "virgin_signed_and_numbered"  # other signers name the cell's maker, too
    assert caught.value.what.startswith(entry.reason) or (is_shared and "two makers" in caught.value.what)


def test_invalid_masks_that_nobody_signed() -> None:
    case = case_of(MANAFLOW)
    lie = lie_of(next(entry for entry in CATALOGUE if entry.name == "more_masked_than_signed"))
    assert isinstance(lie.made, Block)
    with pytest.raises(Verdict) as caught:
        list(verify_backwards([lie.made, *reversed(case.before)], case.config))
    assert (caught.value.rule, caught.value.transaction, caught.value.move) == (Rule.S2, lie.transaction, lie.move)
