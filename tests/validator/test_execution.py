"""Mode `execute` on real blocks: honest ones pass, each lie that only execution sees is refused by its rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.coordinator.seal import sign
from manaflow.errors import Failure, Rule, Verdict
from manaflow.evm.code_cache import CodeCache
from manaflow.evm.envelopes import decode_envelopes
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.block import Block
from manaflow.moves.columns import U8, Leaves, Moves
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import Leaf
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask, Move
from manaflow.moves.wire import encode_block
from manaflow.validator import execution as execution_module
from manaflow.validator.backwards import verify_backwards
from manaflow.validator.execution import BlockExecution, judge_alone, kinds_of
from manaflow.validator.validator import Mode, Validator
from tests.replays import HOLESKY, Chain, chain

PRAGUE = "1-22615247"


def sealed(block: Block, leaves: list[Leaf], moves: list[Move]) -> Block:
    """The block over other leaves and moves: counts, totals, roots and signature made anew."""
    columns, first, gas = Moves.of(moves), block.header.first_cell, 0
    bounds = np.cumsum([0] + [leaf.consumes + leaf.references for leaf in leaves]).astype(np.int64)
    roots = NATIVE.moves_roots(columns, bounds)
    for i, leaf in enumerate(leaves):
        leaves[i] = replace(leaf, moves_root=roots[i].tobytes(), first_cell=first, gas=gas)
        first, gas = first + leaf.consumes, gas + leaf.gas_used
    rows = Leaves.of(leaves)
    header = replace(
        block.header,
        transactions_root=NATIVE.tree_root(rows.encoded()),
        cells=first - block.header.first_cell,
        gas_used=gas,
    )
    return replace(block, header=header, leaves=rows, moves=columns, signature=sign(header.hash, DEVELOPMENT_KEY))


def refused(state: Validator, block: Block) -> Verdict:
    head, content = state.head, state.index.content()
    with pytest.raises(Verdict) as caught:
        state.import_block(block)
    assert (state.head, state.index.content()) == (head, content)
    return caught.value


@pytest.fixture(scope="module")
def prague() -> Chain:
    return chain(PRAGUE)


@pytest.fixture
def state(tmp_path: Path, prague: Chain) -> Iterator[Validator]:
    with Validator.create(tmp_path / "state", prague.genesis, mode=Mode.EXECUTE) as validator:
        yield validator


def busy(block: Block) -> tuple[int, int]:
    """(transaction, its first row) of the last signed transaction with a storage write and a storage reference."""
    offsets = block.leaves.move_offsets().tolist()
    for t in range(len(block.leaves) - 1, -1, -1):
        moves = block.moves.take(offsets[t], offsets[t + 1]).objects()
        kinds = {(m.mark, m.is_reference) for m in moves}
        if {(Mark.STORAGE, False), (Mark.STORAGE, True)} <= kinds and block.leaves[t].gas_used:
            return t, offsets[t]
    raise AssertionError("no such transaction")


def test_real_chains_are_executed_and_imported(tmp_path: Path) -> None:
    made = chain(*HOLESKY)
    with Validator.create(tmp_path / "state", made.genesis, mode="execute", threads=1) as validator:
        for block in made.blocks:
            assert validator.import_block(encode_block(block, NATIVE)).hash == block.hash
        assert validator.check().blocks == len(HOLESKY) + 1
        while validator.head[0].number > made.config.genesis_number:
            validator.undo_block()
        validator.check()
        for block in made.blocks:
            validator.import_block(block)
    *_, last = verify_backwards([*reversed(made.blocks), made.genesis.block], made.config)
    assert (last.number, last.demanded) == (made.config.genesis_number, 0)


def test_invalid_next_is_x2(state: Validator, prague: Chain) -> None:
    block = prague.blocks[0]
    moves, (t, start) = block.moves.objects(), busy(block)
    at = next(i for i in range(start, len(moves)) if moves[i].mark == Mark.STORAGE and not moves[i].is_reference)
    truth = moves[at].next
    moves[at] = replace(moves[at], next=bytes([truth[0] ^ 1]) + truth[1:])
    verdict = refused(state, sealed(block, block.leaves.objects(), moves))
    assert (verdict.rule, verdict.transaction, verdict.move) == (Rule.X2, t, at - start)
    assert (verdict.expected, verdict.actual) == (truth, moves[at].next)
    state.import_block(block)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("status", lambda leaf: replace(leaf, status=leaf.status ^ 1)),
        ("gas used", lambda leaf: replace(leaf, gas_used=leaf.gas_used - 1)),
        ("logs hash", lambda leaf: replace(leaf, logs_hash=ZERO32)),
    ],
)
def test_invalid_outcome_is_x3(state: Validator, prague: Chain, what: str, change: Callable[[Leaf], Leaf]) -> None:
    block = prague.blocks[0]
    leaves, (t, _) = block.leaves.objects(), busy(block)
    leaves[t] = change(leaves[t])
    verdict = refused(state, sealed(block, leaves, block.moves.objects()))
    assert (verdict.rule, verdict.transaction, verdict.what) == (Rule.X3, t, what)


def test_invalid_missing_move_is_x1(state: Validator, prague: Chain) -> None:
    block = prague.blocks[0]
    moves, leaves, (t, start) = block.moves.objects(), block.leaves.objects(), busy(block)
    at = next(i for i in range(start, len(moves)) if moves[i].mark == Mark.STORAGE and moves[i].is_reference)
    gone = moves.pop(at)
    leaves[t] = replace(leaves[t], references=leaves[t].references - 1)
    verdict = refused(state, sealed(block, leaves, moves))
    assert (verdict.rule, verdict.transaction) == (Rule.X1, t)
    assert gone.slot.hex() in verdict.what


def test_invalid_surplus_move_is_x4(state: Validator, prague: Chain) -> None:
    block = prague.blocks[0]
    moves, leaves, (t, start) = block.moves.objects(), block.leaves.objects(), busy(block)
    stop = start + leaves[t].consumes + leaves[t].references
    extra = Move(UNSIGNED | Mask.REFERENCE, Mark.STORAGE, 0, b"\xff" * 20, b"\xff" * 32, ZERO32, ZERO32)
    moves.insert(stop, extra)
    leaves[t] = replace(leaves[t], references=leaves[t].references + 1)
    verdict = refused(state, sealed(block, leaves, moves))
    assert (verdict.rule, verdict.transaction, verdict.move) == (Rule.X4, t, stop - start)


def test_mode_moves_leaves_execution_to_others(tmp_path: Path, prague: Chain) -> None:
    block = prague.blocks[0]
    leaves, (t, _) = block.leaves.objects(), busy(block)
    leaves[t] = replace(leaves[t], logs_hash=ZERO32)
    with Validator.create(tmp_path / "moves", prague.genesis) as validator:
        validator.import_block(sealed(block, leaves, block.moves.objects()))


def senders_of(block: Block, made: Chain) -> U8:
    signed = np.array([kind is None for kind in kinds_of(made.config, block)])
    senders = np.zeros((len(block.leaves), 20), np.uint8)
    senders[signed] = decode_envelopes(block.envelopes).sender
    return senders


def test_any_order_gives_the_same_and_a_missing_code_fails(prague: Chain) -> None:
    block = prague.blocks[0]
    senders, execution = senders_of(block, prague), BlockExecution(prague.config, 1)
    order = np.random.default_rng(1).permutation(len(block.leaves)).astype(np.int64)
    assert not execution.run(block, senders, prague.codes.get, order).any()
    assert not execution.run(block, senders, prague.codes.get, order[::-1].copy()).any()
    with pytest.raises(Failure, match="code"):
        BlockExecution(prague.config, 1).run(replace(block, codes=()), senders, lambda _: None)


@pytest.mark.parametrize("most", [0, 30_000, 200_000])
def test_a_small_cache_of_codes_gives_the_same(prague: Chain, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    block = prague.blocks[0]
    codes, senders = prague.codes, senders_of(block, prague)
    gas = block.leaves.gas_used.copy()
    gas[3] += np.uint64(1)
    lie = replace(block, leaves=replace(block.leaves, gas_used=gas))
    groups, real = [], execution_module.execute_block

    def counting(*arguments: Any, **options: Any) -> Any:
        groups.append(len(options["order"]))
        return real(*arguments, **options)

    monkeypatch.setattr(execution_module, "execute_block", counting)
    small, large = BlockExecution(prague.config, 1), BlockExecution(prague.config, 1)
    small._cache = CodeCache(most)
    for made in (block, lie):
        assert small.run(made, senders, codes.get).tolist() == large.run(made, senders, codes.get).tolist()
    assert groups.count(len(block.leaves)) == 2
    assert len(groups) > 4


def test_engines_that_disagree_are_an_internal_error(prague: Chain) -> None:
    block = prague.blocks[0]
    senders, execution = senders_of(block, prague), BlockExecution(prague.config, 1)
    t, _ = busy(block)
    with pytest.raises(Failure, match=r"internal error: .* by X3, alone it is accepted"):
        execution.verdict(block, t, senders[t].tobytes(), prague.codes.get, Rule.X3)
    assert judge_alone(execution._revm, prague.config, block, t, senders[t].tobytes(), prague.codes.get) is None
    assert all(keccak256(code) == code_hash for code_hash, code in prague.codes.items())
