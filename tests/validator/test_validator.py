"""Importing, refusing, taking back and reopening: what a state directory holds afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manaflow.coordinator.seal import sign
from manaflow.errors import Failure, Locked, ManaflowError, Rule, StorageFailure, Verdict
from manaflow.moves.block import Block
from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.hashing import PYTHON, keccak256
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.moves.wire import GenesisFile, encode_block
from manaflow.rules.config import Profile
from manaflow.validator import validator as module
from manaflow.validator.store import Table, number_key
from manaflow.validator.validator import CheckReport, Validator
from tests.chain import PRODUCER, Chain, Transfer, chain_config, random_chain, word

CONTRACT = bytes.fromhex("cc" * 20)
SLOT = (Mark.STORAGE, CONTRACT, word(3))
OTHER = (Mark.STORAGE, CONTRACT, word(4))
VIRGIN = (Mark.STORAGE, CONTRACT, word(77))


def genesis_file(chain: Chain) -> GenesisFile:
    return GenesisFile(chain.config.encode(), (), chain.blocks[0])


@pytest.fixture
def chain() -> Chain:
    """Block 1 writes SLOT and VIRGIN, block 2 reads both and writes SLOT again."""
    chain = Chain(slots=8)
    chain.seal([Transfer(0, 1, writes=((SLOT, word(50)), (VIRGIN, word(1))), reads=(OTHER,))])
    chain.seal([Transfer(1, 2, reads=(SLOT, VIRGIN)), Transfer(2, 3, writes=((SLOT, word(51)),))])
    return chain


@pytest.fixture
def state(tmp_path: Path, chain: Chain) -> Iterator[Validator]:
    """A validator with blocks 1 and 2 of the chain."""
    with Validator.create(tmp_path / "state", genesis_file(chain)) as validator:
        for block in chain.blocks[1:]:
            validator.import_block(block)
        yield validator


def content(validator: Validator) -> Any:
    """Everything that a refusal must leave as it was."""
    with validator.store.read() as txn:
        tables = {table: {k: bytes(v) for k, v in txn.items(table)} for table in Table}
    return tables, validator.head, validator.index.content()


@contextmanager
def unchanged(validator: Validator) -> Iterator[None]:
    before = content(validator)
    yield
    assert content(validator) == before
    validator.check()


def refused(validator: Validator, block: bytes | Block) -> ManaflowError:
    with unchanged(validator), pytest.raises(ManaflowError) as caught:
        validator.import_block(block)
    return caught.value


def edited(chain: Chain, transfers: list[Transfer], edit: Callable[[list[Any]], None]) -> Block:
    """The chain's next block after `edit` has changed its moves, and everything else made to fit."""
    block = chain.seal(transfers)
    rows = block.moves.objects()
    edit(rows)
    return sealed_again(block, rows)


def sealed_again(block: Block, rows: list[Any]) -> Block:
    """The block over other moves of the same counts: roots and signature made anew."""
    moves = Moves.of(rows)
    leaves = replace(block.leaves, moves_root=PYTHON.moves_roots(moves, block.leaves.move_offsets()))
    header = replace(block.header, transactions_root=PYTHON.tree_root(leaves.encoded()))
    return replace(block, header=header, moves=moves, leaves=leaves, signature=sign(header.hash, PRODUCER.secret))


def edit_move(location: Location, **fields: Any) -> Callable[[list[Any]], None]:
    def edit(rows: list[Any]) -> None:
        at = next(i for i, move in enumerate(rows) if move.location == location)
        rows[at] = replace(rows[at], **fields)

    return edit


def test_blocks_are_imported_reported_and_found_again(tmp_path: Path) -> None:
    chain = random_chain(10, seed=3)
    with Validator.create(tmp_path / "state", genesis_file(chain)) as validator:
        for block in chain.blocks[1:]:
            report = validator.import_block(encode_block(block))
            assert (report.number, report.hash) == (block.header.number, block.hash)
            assert (report.transactions, report.moves) == (len(block.leaves), len(block.moves))
            assert report.cells == block.header.cells
        live = sum(1 for _ in chain.state.cells)
        assert validator.check() == CheckReport(11, live, chain.state.next_number - 1, 0)
    with Validator.open(tmp_path / "state") as validator:
        assert validator.head == (chain.head.header, chain.head.hash)
        numbers = {number for number, _ in chain.state.cells.values()}
        assert validator.index.content().live == numbers
        for block in chain.blocks:
            found = validator.block(block.header.number)
            assert found is not None
            assert found.moves.equals(block.moves)
            assert found.leaves.equals(block.leaves)
            assert validator.header(block.header.number) == block.header
        assert validator.block(11) is None
        assert validator.block(bytes(32)) is None
        assert validator.check().blocks == 11


def test_undo_is_the_inverse_of_import_down_to_genesis(tmp_path: Path) -> None:
    chain = random_chain(8, seed=4)
    with Validator.create(tmp_path / "state", genesis_file(chain)) as validator:
        contents = [validator.index.content()]
        for block in chain.blocks[1:]:
            validator.import_block(block)
            contents.append(validator.index.content())
        for number in range(8, 0, -1):
            assert validator.undo_block() == number
            assert validator.index.content() == contents[number - 1]
            assert validator.head[1] == chain.blocks[number - 1].hash
            assert validator.block(number) is None
            assert validator.block(chain.blocks[number].hash) is not None
            validator.check()
        with unchanged(validator), pytest.raises(Failure, match="genesis cannot be undone"):
            validator.undo_block()
        for block in chain.blocks[1:]:
            validator.import_block(block)
        assert validator.index.content() == contents[-1]
        validator.check()


def test_a_fork_takes_the_place_of_undone_blocks(tmp_path: Path) -> None:
    one, two = Chain(slots=8), Chain(slots=8)
    for c, value in ((one, 5), (two, 6)):
        c.seal([Transfer(0, 1, value=value)])
        c.seal([Transfer(1, 2, writes=((SLOT, word(value)),))])
    with Validator.create(tmp_path / "state", genesis_file(one)) as validator:
        for block in one.blocks[1:]:
            validator.import_block(block)
        validator.undo_block()
        validator.undo_block()
        for block in two.blocks[1:]:
            validator.import_block(block)
        assert validator.head[1] == two.head.hash
        assert validator.block(one.head.hash) is not None
        validator.check()


def test_failures_about_where_a_block_belongs(state: Validator, chain: Chain, tmp_path: Path) -> None:
    assert "is in the chain already" in str(refused(state, chain.blocks[2]))
    chain.seal([Transfer(0, 1)])
    chain.seal([Transfer(0, 1)])
    assert "the parent of block 4" in str(refused(state, chain.blocks[4]))
    fork = Chain(slots=8)
    fork.blocks, fork.state.next_number = chain.blocks[:2], chain.blocks[2].header.first_cell
    fork.history.append(bytes(32))
    assert "which is not the head (block 2" in str(refused(state, fork.seal([Transfer(0, 1)])))
    refusals = [refused(state, encode_block(chain.blocks[3])[:-1]), refused(state, b"")]
    assert all(isinstance(e, Verdict) and e.rule == Rule.B1 for e in refusals)


def test_invalid_value_location_and_future_of_a_cell(state: Validator, chain: Chain) -> None:
    block = edited(chain, [Transfer(0, 1, reads=(SLOT,))], edit_move(SLOT, prev=word(9), next=word(9)))
    verdict = refused(state, block)
    assert isinstance(verdict, Verdict)
    assert (verdict.rule, verdict.transaction) == (Rule.V1, 0)
    assert (verdict.expected, verdict.actual) == (word(51), word(9))
    number = chain.state.cells[SLOT][0]
    rows = block.moves.objects()
    edit_move(SLOT, number=chain.state.cells[OTHER][0], prev=word(51), next=word(51))(rows)
    verdict = refused(state, sealed_again(block, rows))
    assert isinstance(verdict, Verdict)
    assert verdict.rule == Rule.V1
    assert "location" in verdict.what
    edit_move(SLOT, number=block.header.first_cell, prev=word(51), next=word(51))(rows)
    verdict = refused(state, sealed_again(block, rows))
    assert isinstance(verdict, Verdict)
    assert (verdict.rule, verdict.what) == (Rule.V1, "the cell is not born yet")
    edit_move(SLOT, number=number, prev=word(51), next=word(51))(rows)
    state.import_block(sealed_again(block, rows))


def test_invalid_second_use_of_a_cell_names_the_winner(state: Validator, chain: Chain) -> None:
    old = chain.blocks[2].moves.objects()
    spent = next(m for m in old if m.location == SLOT and not m.is_reference)
    again = edit_move(SLOT, number=spent.number, prev=spent.prev)
    verdict = refused(state, edited(chain, [Transfer(0, 1, writes=((SLOT, word(60)),))], again))
    assert isinstance(verdict, Verdict)
    assert (verdict.rule, verdict.transaction) == (Rule.V2, 0)
    assert verdict.winner == chain.blocks[2].leaves.txid[1].tobytes()
    chain.blocks.pop()


def test_invalid_reference_after_the_consume_names_the_winner(state: Validator, chain: Chain) -> None:
    old = chain.blocks[2].moves.objects()
    spent = next(m for m in old if m.location == SLOT and not m.is_reference)
    late = edit_move(SLOT, number=spent.number, prev=spent.prev, next=spent.prev)
    verdict = refused(state, edited(chain, [Transfer(0, 1, reads=(SLOT,))], late))
    assert isinstance(verdict, Verdict)
    assert (verdict.rule, verdict.transaction) == (Rule.V3, 0)
    assert verdict.winner == chain.blocks[2].leaves.txid[1].tobytes()


def test_invalid_virgin_claim_names_the_winner(state: Validator, chain: Chain) -> None:
    claim = edit_move(VIRGIN, number=0, prev=ZERO32, next=ZERO32)
    verdict = refused(state, edited(chain, [Transfer(0, 1, reads=(VIRGIN,))], claim))
    assert isinstance(verdict, Verdict)
    assert (verdict.rule, verdict.transaction) == (Rule.V4, 0)
    assert verdict.winner == chain.blocks[1].leaves.txid[0].tobytes()


def test_invalid_virgin_claim_inside_one_block(state: Validator, chain: Chain) -> None:
    new = (Mark.STORAGE, CONTRACT, word(500))
    block = chain.seal([Transfer(0, 1, writes=((new, word(1)),)), Transfer(3, 4, reads=(new,))])
    rows = block.moves.objects()
    _, late = (i for i, move in enumerate(rows) if move.location == new)
    rows[late] = replace(rows[late], number=0, prev=ZERO32, next=ZERO32)
    verdict = refused(state, sealed_again(block, rows))
    assert isinstance(verdict, Verdict)
    assert (verdict.rule, verdict.transaction) == (Rule.V4, 1)
    assert verdict.winner == block.leaves.txid[0].tobytes()


def test_invalid_double_use_inside_one_block(state: Validator, chain: Chain) -> None:
    block = chain.seal([Transfer(0, 1, writes=((SLOT, word(60)),)), Transfer(3, 4, writes=((SLOT, word(61)),))])
    rows = block.moves.objects()
    first, second = (i for i, move in enumerate(rows) if move.location == SLOT)
    rows[second] = replace(rows[second], number=rows[first].number, prev=rows[first].prev)
    verdict = refused(state, sealed_again(block, rows))
    assert isinstance(verdict, Verdict)
    assert (verdict.rule, verdict.transaction) == (Rule.V2, 1)
    assert verdict.winner == block.leaves.txid[0].tobytes()
    state.import_block(block)


def test_invalid_blocks_of_other_rules_change_nothing(state: Validator, chain: Chain) -> None:
    block = chain.seal([Transfer(0, 1)])
    header = replace(block.header, base_fee=1)
    dear = replace(block, header=header, signature=sign(header.hash, PRODUCER.secret))
    for bad, rule in (
        (replace(block, signature=bytes(65)), Rule.B7),
        (dear, Rule.B2),
        (replace(block, leaves=Leaves.of([replace(block.leaves[0], status=0)])), Rule.B3),
        (sealed_again(block, [replace(m, mask=m.mask & ~1) for m in block.moves.objects()]), Rule.S1),
    ):
        verdict = refused(state, bad)
        assert isinstance(verdict, Verdict)
        assert verdict.rule == rule
    state.import_block(block)


def test_unsigned_bytes_are_refused_before_the_body_is_unpacked(
    state: Validator, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(*_: Any) -> Block:
        raise AssertionError("the body was unpacked")

    block = chain.seal([Transfer(0, 1)])
    data = encode_block(replace(block, signature=bytes(65)))
    monkeypatch.setattr(module, "decode_block", unpack)
    assert "B7" in str(refused(state, data))
    monkeypatch.undo()
    state.import_block(encode_block(block))


def test_judging_changes_nothing_and_says_the_same(state: Validator, chain: Chain) -> None:
    good = chain.seal([Transfer(0, 1, reads=(SLOT,))])
    bad = sealed_again(good, [replace(m, number=0) if m.location == SLOT else m for m in good.moves.objects()])
    with unchanged(state):
        state.judge_block(good)
        with pytest.raises(Verdict, match="M4"):
            state.judge_block(bad)


def test_codes_are_stored_by_hash_and_outlive_an_undo(tmp_path: Path) -> None:
    chain = Chain(codes=[b"\x60"])
    code = b"\x61\x62"
    chain.seal([Transfer(0, 1, writes=(((Mark.CODE, b"\xce" * 20, ZERO32), keccak256(code)),))], codes=[code])
    with Validator.create(tmp_path / "state", genesis_file(chain)) as validator:
        validator.import_block(chain.head)
        assert validator.check().codes == 2
        validator.undo_block()
        assert validator.code(keccak256(code)) == code
        assert validator.code(keccak256(b"\x60")) == b"\x60"
        assert validator.code(b"short") is None
        validator.check()


def test_one_owner_and_clear_words_about_directories(tmp_path: Path, chain: Chain) -> None:
    path = tmp_path / "state"
    with pytest.raises(Failure, match="there is no state directory"):
        Validator.open(path)
    assert not path.exists()
    with Validator.create(path, genesis_file(chain)):
        with pytest.raises(Locked):
            Validator.open(path)
        with pytest.raises(Locked):
            Validator.create(path, genesis_file(chain))
    with pytest.raises(Failure, match="holds a chain already"):
        Validator.create(path, genesis_file(chain))
    Validator.open(path).close()


def test_a_manaflow_chain_with_an_ethereum_networks_chain_id_is_not_created(tmp_path: Path) -> None:
    chain = Chain(config=replace(chain_config(), profile=Profile.MANAFLOW, chain_id=1))
    genesis = GenesisFile(chain.config.encode(), (), chain.blocks[0])
    with pytest.raises(Failure, match="chain id 1, which is an Ethereum network's"):
        Validator.create(tmp_path / "state", genesis)
    assert not (tmp_path / "state").exists()


def test_invalid_genesis_and_ancestors_make_no_state(tmp_path: Path) -> None:
    chain = Chain(config=chain_config(genesis_number=10, ancestors=[(7, bytes(32))]), ancestors=[(7, bytes(32))])
    good = GenesisFile(chain.config.encode(), ((7, bytes(32)),), chain.blocks[0])
    with pytest.raises(Failure, match="ancestors"):
        Validator.create(tmp_path / "a", replace(good, ancestors=()))
    with pytest.raises(Failure, match="ancestors"):
        Validator.create(tmp_path / "a", replace(good, ancestors=((7, b"\1" * 32),)))
    rows = good.block.moves.objects()
    swapped = sealed_again(good.block, [rows[1], rows[0], *rows[2:]])
    with pytest.raises(Verdict, match="B8"):
        Validator.create(tmp_path / "b", replace(good, block=replace(swapped, signature=b"")))
    wrong_root = replace(good.block, header=replace(good.block.header, transactions_root=ZERO32))
    with pytest.raises(Verdict, match="transactions root"):
        Validator.create(tmp_path / "b", replace(good, block=wrong_root))
    assert not (tmp_path / "b").exists()
    with Validator.create(tmp_path / "b", good) as validator:
        chain.seal(
            [Transfer(0, 1, reads=((Mark.BLOCKHASH, bytes(20), word(7)), (Mark.BLOCKHASH, bytes(20), word(10))))]
        )
        validator.import_block(chain.head)
        chain.seal([Transfer(0, 1, reads=tuple((Mark.BLOCKHASH, bytes(20), word(n)) for n in (7, 9, 10, 11)))])
        validator.import_block(chain.head)


def test_a_commit_that_fails_leaves_memory_as_the_files_are(
    state: Validator, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = chain.seal([Transfer(0, 1)])
    real = module.put_block

    def failing(*arguments: Any) -> None:
        real(*arguments)
        raise StorageFailure("the disk is full (test)")

    monkeypatch.setattr(module, "put_block", failing)
    assert "disk is full" in str(refused(state, block))

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "put_block", real)
    monkeypatch.setattr(state.index, "accept", interrupted)
    with pytest.raises(KeyboardInterrupt):
        state.import_block(block)
    assert state.head[1] == block.hash
    state.check()
    assert state.undo_block() == block.header.number
    state.import_block(block)


def test_check_finds_damage(state: Validator) -> None:
    def damaged(table: Table, key: bytes, value: bytes | None) -> str:
        with state.store.write() as txn:
            old = txn.get(table, key)
            txn.delete(table, key) if value is None else txn.put(table, key, value)
        with pytest.raises(StorageFailure) as caught:
            state.check()
        with state.store.write() as txn:
            txn.delete(table, key) if old is None else txn.put(table, key, old)
        state.check()
        return str(caught.value)

    head = state.head[1]
    with state.archive() as archive:
        data, record, before = archive.data(head), archive.canonical(2), archive.canonical(1)
    assert data is not None
    assert record is not None
    assert before is not None
    assert "are missing" in damaged(Table.BLOCKS, head, None)
    assert "is damaged" in damaged(Table.BLOCKS, head, data[:-1] + b"\0")
    assert "another block" in damaged(Table.BLOCKS, head, block_one(state))
    assert "canonical record" in damaged(Table.CANONICAL, number_key(1), None)
    assert "the history kept" in damaged(Table.CANONICAL, number_key(2), replace(record, peaks=before.peaks).encode())
    assert "outside the chain" in damaged(Table.CANONICAL, number_key(99), record.encode())
    assert "first cells" in damaged(Table.FIRST_CELLS, number_key(7), number_key(7))
    assert "another one" in damaged(Table.CODES, bytes(32), b"\1")


def block_one(state: Validator) -> bytes:
    with state.archive() as archive:
        record = archive.canonical(1)
        assert record is not None
        data = archive.data(record.hash)
    assert data is not None
    return data
