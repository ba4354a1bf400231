"""What was admitted is not executed again when it is sealed; what differs from it in anything is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manaflow.coordinator.following import Follower
from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.coordinator.seal import Body, seal, sign
from manaflow.errors import Rule, Verdict
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.batch import Batch
from manaflow.moves.block import Block
from manaflow.moves.columns import U32, Moves
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.validator import checks, execution
from manaflow.validator.judged import SET_BY_SEALING, JudgedLeaves
from manaflow.validator.netting import SignedMakers
from manaflow.validator.validator import Validator
from tests.validator.admitting import RICH, Stage, refused

STRANGER = b"\x77" * 20


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "state")
    made.open()
    yield made
    made.close()


def fill(stage: Stage) -> JudgedLeaves:
    """Two batches, one transaction refused, one reverted; what the open block has judged of them."""
    sender = stage.sender()
    assert refused(sender.send(sender.fill([stage.transfer(i, STRANGER, i + 1) for i in range(3)]))) == {}
    stale = stage.sender().fill([stage.transfer(3, STRANGER)])
    assert list(refused(stage.producer.admit(stale))) == [0]
    stage.signers.nonces[3] = 0
    batch = sender.fill([stage.transfer(4, STRANGER, 2 * RICH), stage.transfer(5, STRANGER)])
    assert refused(sender.send(batch)) == {}
    judged = stage.block.judged()
    assert judged is not None
    return judged


def executed_by(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Which leaves imports execute, from here on."""
    orders: list[list[int]] = []
    native = execution.execute_block

    def noting(*args: Any, **options: Any) -> Any:
        orders.append(options["order"].tolist())
        return native(*args, **options)

    monkeypatch.setattr(execution, "execute_block", noting)
    return orders


def test_sealing_executes_system_leaves_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    judged, orders = fill(stage), executed_by(monkeypatch)
    block = stage.seal()
    assert judged.in_block(block).tolist() == [False, *[True] * 5, False]
    assert orders == [[0, 6]]
    assert bytes(block.leaves.status) == b"\1\1\1\1\0\1\1"


def test_another_validator_executes_everything(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(stage)
    block, orders = stage.seal(), executed_by(monkeypatch)
    with Validator.create(tmp_path / "other", stage.signers.genesis, mode="execute") as other:
        other.import_block(block, own=True)
    assert orders == [[0, 1, 2, 3, 4, 5, 6]]


def test_what_a_restart_takes_in_is_executed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(stage)
    stage.reopen()
    orders = executed_by(monkeypatch)
    assert stage.block.sequence == 5
    assert stage.block.judged() is None
    stage.seal()
    assert orders == [[0, 1, 2, 3, 4, 5, 6]]


def test_sealing_judges_moves_and_signatures_of_others_alone(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stage)
    judged: list[int] = []
    monkeypatch.setattr(checks, "judge", lambda transactions, config: judged.append(len(transactions)) or found(7))
    monkeypatch.setattr(checks, "check_signatures", lambda *_: SignedMakers.of({}))
    block = stage.seal()
    assert judged == []
    with Validator.create(tmp_path / "other", stage.signers.genesis) as other:
        other.import_block(block)
    assert judged == [7]


def found(transactions: int) -> U32:
    """What `judge` says of transactions that break nothing."""
    return np.zeros(transactions, np.uint32)


@pytest.mark.parametrize("is_reference", [False, True])
def test_moves_of_system_leaves_are_judged_at_sealing(stage: Stage, is_reference: bool) -> None:
    judged, opened = fill(stage), stage.block
    block = stage.seal()
    stage.validator.undo_block()

    def other_credit(body: Body) -> Body:
        after, mask = body.moves.next.copy(), body.moves.mask.copy()
        after[-1, -1] ^= 1
        mask[-1] |= 128 * is_reference
        return replace(body, moves=replace(body.moves, next=after, mask=mask))

    wrong = resealed(stage, block, other_credit, opened.header)
    with pytest.raises(Verdict) as caught:
        stage.validator.import_block(wrong, judged=judged)
    assert (caught.value.rule, caught.value.transaction) == (Rule.M2 if is_reference else Rule.M6, 6)


def test_a_moves_root_that_sealing_has_not_made_is_refused(stage: Stage) -> None:
    judged = fill(stage)
    block = stage.seal()
    stage.validator.undo_block()
    known = judged.sealed_in(block)
    assert known.in_block(block).tolist() == [False, *[True] * 5, False]
    for t in (0, 2, 6):
        roots = block.leaves.moves_root.copy()
        roots[t] ^= 1
        leaves = replace(block.leaves, moves_root=roots)
        root = NATIVE.tree_root(leaves.encoded())
        header = replace(block.header, transactions_root=root)
        wrong = Block(header, sign(header.hash, DEVELOPMENT_KEY), leaves, block.moves, block.envelopes, (), ())
        with pytest.raises(Verdict) as caught:
            stage.validator.import_block(wrong, judged=known)
        assert (caught.value.rule, caught.value.transaction) == (Rule.B3, t)


COLUMNS = ("txid", "status", "gas_used", "logs_hash", "gas", "blob_gas")


@pytest.mark.parametrize("name", COLUMNS)
def test_a_leaf_with_another_outcome_is_not_the_judged_one(stage: Stage, name: str) -> None:
    judged, block = fill(stage), stage.seal()
    column = getattr(block.leaves, name).copy()
    column[3, ...] ^= 1
    other = replace(block, leaves=replace(block.leaves, **{name: column}))
    assert judged.in_block(other).tolist() == [False, True, True, False, True, True, False]


@pytest.mark.parametrize("name", [field.name for field in fields(Moves)])
@pytest.mark.parametrize("is_last", [False, True])
def test_a_leaf_with_another_move_is_not_the_judged_one(stage: Stage, name: str, is_last: bool) -> None:
    judged, block = fill(stage), stage.seal()
    column = getattr(block.moves, name).copy()
    row = int(block.leaves.move_offsets()[2 + is_last]) - is_last
    column[row, ...] ^= 1
    other = replace(block, moves=replace(block.moves, **{name: column}))
    assert judged.in_block(other).tolist() == [False, True, False, True, True, True, False]


def test_a_leaf_with_another_envelope_is_not_the_judged_one(stage: Stage) -> None:
    judged, block = fill(stage), stage.seal()
    envelopes = (*block.envelopes[:4], block.envelopes[4] + b"\0")
    assert judged.in_block(replace(block, envelopes=envelopes)).tolist() == [False, *[True] * 4, False, False]


@pytest.mark.parametrize("name", ["consumes", "references"])
def test_behind_a_leaf_with_more_moves_nothing_is(stage: Stage, name: str) -> None:
    judged, block = fill(stage), stage.seal()
    counts = getattr(block.leaves, name).copy()
    counts[3] += 1
    other = replace(block, leaves=replace(block.leaves, **{name: counts}))
    assert judged.in_block(other).tolist() == [False, True, True, False, False, False, False]


def test_under_another_environment_nothing_is(stage: Stage) -> None:
    judged, block = fill(stage), stage.seal()
    for field in fields(block.header):
        value = getattr(block.header, field.name)
        changed = value + 1 if isinstance(value, int) else value + b"\1"
        other = replace(block, header=replace(block.header, **{field.name: changed}))
        assert bool(judged.in_block(other).any()) == (field.name in SET_BY_SEALING), field.name


def resealed(stage: Stage, block: Block, change: Callable[[Body], Body], opened: Header | None = None) -> Block:
    """A block with another body under the same environment, sealed with roots and totals that fit."""
    leaves = block.leaves
    zeros = np.zeros(len(leaves), np.uint64)
    totals = [int.from_bytes(row.tobytes(), "big") for row in leaves.fees] + [block.header.fees]
    fees = [after - before for before, after in pairwise(totals)]
    body = Body(
        leaves.txid, leaves.consumes, leaves.references, leaves.status, leaves.gas_used, zeros, leaves.logs_hash,
        block.moves, block.envelopes, block.codes, (), fees,
    )  # fmt: skip
    return seal(opened or stage.block.header, change(body), DEVELOPMENT_KEY, NATIVE)


def test_a_leaf_that_differs_is_executed_and_refused(stage: Stage, tmp_path: Path) -> None:
    judged, opened = fill(stage), stage.block
    block = stage.seal()
    stage.producer._block = opened

    def other_logs(body: Body) -> Body:
        hashes = body.logs_hash.copy()
        hashes[2] ^= 1
        return replace(body, logs_hash=hashes)

    with Validator.create(tmp_path / "other", stage.signers.genesis, mode="execute") as other:
        wrong = resealed(stage, block, other_logs)
        with pytest.raises(Verdict) as caught:
            other.import_block(wrong, own=True, judged=judged)
        assert (caught.value.rule, caught.value.transaction) == (Rule.X3, 2)
        other.import_block(resealed(stage, block, lambda body: body), own=True, judged=judged)


def test_a_leaf_behind_one_that_takes_more_gas_is_executed(stage: Stage, tmp_path: Path) -> None:
    """What a block has left of gas is X0's to judge, too."""
    tight = stage.transfer(1, STRANGER, gas=2**24)
    burns = [stage.call(0, b"", b"\xfe", gas=gas, nonce=0) for gas in (2_000_000, 14_000_000)]
    of_other = stage.sender().fill([burns[1], tight])
    sender = stage.sender()
    assert refused(sender.send(sender.fill([burns[0], tight]))) == {}
    judged, opened = stage.block.judged(), stage.block.header
    assert judged is not None
    block = stage.seal()
    wrong = resealed(stage, block, lambda body: _with_first(body, of_other, burns[1]), opened)
    assert judged.in_block(wrong).tolist() == [False] * 4
    with Validator.create(tmp_path / "other", stage.signers.genesis, mode="execute") as other:
        with pytest.raises(Verdict) as caught:
            other.import_block(wrong, own=True, judged=judged)
        assert (caught.value.rule, caught.value.transaction) == (Rule.X0, 2)


def _with_first(body: Body, batch: Batch, envelope: bytes) -> Body:
    """A block's body with another first transaction, the first one of a batch, and the fees that follow."""
    start = int(body.consumes[0] + body.references[0])
    rows = slice(start, start + int(batch.offsets()[1]))
    columns = {field.name: getattr(body.moves, field.name).copy() for field in fields(Moves)}
    for name, column in columns.items():
        column[rows] = getattr(batch.moves, name)[: rows.stop - start]
    txid, gas_used = body.txid.copy(), body.gas_used.copy()
    txid[1], gas_used[1] = np.frombuffer(keccak256(envelope), np.uint8), batch.gas_used[0]
    fees = [0, body.fees[1] * int(batch.gas_used[0]) // int(body.gas_used[1]), *body.fees[2:]]
    columns["next"][-1] = np.frombuffer(sum(fees).to_bytes(32, "big"), np.uint8)
    return replace(
        body, txid=txid, gas_used=gas_used, moves=Moves(**columns), envelopes=(envelope, *body.envelopes[1:]), fees=fees
    )


def test_receipts_of_what_was_admitted_are_those_of_executing_it(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(stage)
    block = stage.seal()
    found = []
    logs = stage.validator.logs(block.hash)
    assert logs is not None
    assert [len(encoded) > 1 for encoded in logs] == [True, True, True, False, True]
    for forgets in (False, True):
        if forgets:
            monkeypatch.setattr(stage.validator, "_imported", None)
        with LatestIndex.open(tmp_path / f"latest-{forgets}") as latest:
            list(Follower(stage.validator, latest).catch_up())
            found.append(latest.receipts(block.header.number))
    assert found[0] == found[1]
    assert found[0] is not None
    assert [receipt.logs_rlp for receipt in found[0]] == list(logs)


def test_an_undone_block_is_not_the_head(stage: Stage) -> None:
    fill(stage)
    block = stage.seal()
    assert stage.validator.block(block.header.number) is stage.validator.block(block.hash) is block
    stage.validator.undo_block()
    assert stage.validator.logs(block.hash) is None
    assert stage.validator.block(block.header.number) is None
    stored = stage.validator.block(block.hash)
    assert stored is not None
    assert stored.hash == block.hash
