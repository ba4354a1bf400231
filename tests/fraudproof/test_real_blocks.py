"""Real blocks with one lie in them: the file convicts, and the honest twin stays unconvicted. Executed by py-evm."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from manaflow.errors import Rule
from manaflow.fraudproof.build import (
    prove_b3,
    prove_pair,
    prove_parent,
    prove_transaction,
    prove_v1,
)
from manaflow.fraudproof.format import MAX_PROOF_BYTES, TRANSACTION_RULES
from manaflow.moves.block import Block
from manaflow.moves.marks import UNSIGNED, Mark, Mask, Move
from manaflow.rules.config import ChainConfig
from tests.chain import PRODUCER, address_of, word
from tests.conftest import is_nightly
from tests.fraudproof.forge import Parts, changed, convict, forge, moves_of, rejection, resign
from tests.replays import HOLESKY, Chain, chain, supported_names

SAMPLE = ["17000-2971845", "1-15537394", "1-19426587", "1-22615247"]
NAMES = [name for name in supported_names() if name != "17000-2971844"] if is_nightly() else SAMPLE
"""One block of each fork; nightly all but the one that has no call of this kind."""


def ours(replayed: Chain, block: Block) -> tuple[ChainConfig, Block]:
    """The same block on a chain whose producer's key the tests hold."""
    config = replace(replayed.config, producers=(address_of(PRODUCER),))
    return config, resign(replace(block, header=replace(block.header, config=config.hash)))


def calls_in(block: Block, count: int) -> list[int]:
    """The leaves of some transactions that use storage and succeed, most moves first but bounded in gas."""
    leaves = block.leaves.objects()
    found = [
        i
        for i, leaf in enumerate(leaves)
        if 30_000 < leaf.gas_used < 400_000
        and leaf.status
        and any(m.mark == Mark.STORAGE and not m.is_reference for m in moves_of(block, i))
    ]
    assert found
    return sorted(found, key=lambda i: -(leaves[i].consumes + leaves[i].references))[:count]


def lies(block: Block, at: int) -> dict[Rule, Block]:
    """One lie per rule in transaction `at`."""
    moves = moves_of(block, at)
    slot = next(i for i, m in enumerate(moves) if m.mark == Mark.STORAGE and not m.is_reference)
    extra = Move(UNSIGNED | Mask.REFERENCE, Mark.STORAGE, 0, b"\xff" * 20, word(1), word(0), word(0))
    gas = int(block.leaves.gas_used[at])
    return {
        Rule.X1: forge(block, at, moves[:slot] + moves[slot + 1 :]),
        Rule.X2: changed(block, at, slot, next=word(2**200 + 1)),
        Rule.X3: forge(block, at, gas_used=gas - 1),
        Rule.X4: forge(block, at, [*moves, extra]),
    }


@pytest.mark.parametrize("name", NAMES)
def test_lies_about_an_execution(name: str) -> None:
    replayed = chain(name)
    config, block = ours(replayed, replayed.blocks[0])
    assert Parts.of(block).seal(block.header, block.codes).hash == block.hash
    for at in calls_in(block, 8 if is_nightly() else 1):
        for rule, accused in lies(block, at).items():
            proof = prove_transaction(rule, accused, config, at, replayed.codes)
            assert convict(proof, accused, rule).verdict.transaction == at
            assert len(proof.encode()) < MAX_PROOF_BYTES // 4
            honest = prove_transaction(rule, block, config, at, replayed.codes)
            assert f"{rule.name} holds" in rejection(honest, block.hash)


@pytest.mark.parametrize("name", NAMES)
def test_no_rule_convicts_an_honest_block(name: str) -> None:
    replayed = chain(name)
    config, block = ours(replayed, replayed.blocks[0])
    count = len(block.leaves)
    for at in range(0, count, 1 if is_nightly() else max(1, count // 10)):
        for rule in TRANSACTION_RULES:
            proof = prove_transaction(rule, block, config, at, replayed.codes)
            assert any(why in rejection(proof, block.hash) for why in (f"{rule.name} holds", "envelope is missing"))
        assert "B3 holds" in rejection(prove_b3(block, config, at), block.hash)


def test_no_rule_convicts_an_honest_chain() -> None:
    replayed = chain(*HOLESKY)
    blocks = [replayed.genesis.block, *replayed.blocks]
    for parent, block in pairwise(blocks):
        config, own = ours(replayed, block)
        header = replace(parent.header, config=config.hash)
        own = resign(replace(own, header=replace(own.header, parent_hash=header.hash)))
        proof = prove_parent(Rule.B2, own, config, header)
        assert "B2 holds" in rejection(proof, own.hash)


def test_system_calls_and_withdrawals_of_honest_blocks_are_not_convicted() -> None:
    replayed = chain("1-22615247")
    config, block = ours(replayed, replayed.blocks[0])
    txids = Parts.of(block).txids
    for at in (0, 1, len(txids) - 3, len(txids) - 2, len(txids) - 1):
        proof = prove_transaction(Rule.X2, block, config, at, replayed.codes)
        assert any(why in rejection(proof, block.hash) for why in ("X2 holds", "envelope is missing"))


def test_a_lie_in_a_real_system_call() -> None:
    replayed = chain("1-22615247")
    config, block = ours(replayed, replayed.blocks[0])
    for at in (0, 1):
        written = next(i for i, m in enumerate(moves_of(block, at)) if not m.is_reference)
        accused = changed(block, at, written, next=word(2**200 + 1))
        convict(prove_transaction(Rule.X2, accused, config, at, replayed.codes), accused, Rule.X2)


def test_lies_about_state_across_real_blocks() -> None:
    replayed = chain(*HOLESKY)
    blocks = [replayed.genesis.block, *replayed.blocks]
    history = [block.hash for block in blocks[:-1]]
    config, block = ours(replayed, blocks[-1])
    seen: set[int] = set()
    for i in range(len(block.moves)):
        number = int(block.moves.number[i])
        made_in = next((k for k, b in enumerate(blocks[:-1]) if _makes(b, number)), None)
        if number == 0 or made_in is None or made_in in seen:
            continue
        seen.add(made_in)
        bounds = block.leaves.move_offsets().tolist()
        at = next(t for t in range(len(bounds) - 1) if bounds[t] <= i < bounds[t + 1])
        seat = at, i - bounds[at]
        assert "V1 holds" in rejection(prove_v1(block, config, seat, blocks[made_in], history), block.hash)
        accused = changed(block, *seat, prev=word(2**200 + 1))
        convict(prove_v1(accused, config, seat, blocks[made_in], history), accused, Rule.V1)
    assert seen == {0, 2, 3}  # it uses nothing that its great-grandparent made


def _makes(block: Block, number: int) -> bool:
    return block.header.first_cell <= number < block.header.first_cell + block.header.cells


def test_a_double_use_across_real_blocks() -> None:
    replayed = chain(*HOLESKY)
    blocks = [replayed.genesis.block, *replayed.blocks]
    history = [block.hash for block in blocks[:-1]]
    config, block = ours(replayed, blocks[-1])
    early = next(i for i, m in enumerate(moves_of(blocks[1], 0)) if not m.is_reference)
    late = next(i for i, m in enumerate(moves_of(block, 0)) if not m.is_reference)
    accused = changed(block, 0, late, number=moves_of(blocks[1], 0)[early].number)
    proof = prove_pair(Rule.V2, accused, config, (0, late), blocks[1], (0, early), history)
    convict(proof, accused, Rule.V2)
