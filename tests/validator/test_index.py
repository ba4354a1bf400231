"""The index's rules, both sides of each, at one place each; refused blocks change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from manaflow.errors import Failure, Rule, StorageFailure, Verdict
from manaflow.moves.columns import Moves
from manaflow.moves.marks import ZERO20, ZERO32, Mark, Move
from manaflow.validator.netting import SignedMakers
from manaflow.validator.store import Table, number_key
from tests.validator.blocks import REFERENCE, State, Transactions, consume, first_touch, place, reference, word
from tests.validator.model import Model

A, B, C, D = (place(n) for n in range(1, 5))
GENESIS: Transactions = [[first_touch(A, word(10)), first_touch(B, word(20))], [first_touch(C, word(30))]]
"""Cells 1, 2, 3 at A, B, C."""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path)
    state.apply(GENESIS)
    yield state
    state.close()


def refused(state: State, block: Transactions, rule: Rule, transaction: int, move: int) -> None:
    before, meta = state.index.content(), _stored(state)
    assert state.broken(block) == (rule, transaction, move)
    assert state.index.content() == before
    assert _stored(state) == meta
    state.index.verify()


def _stored(state: State) -> dict[Table, list[tuple[bytes, bytes]]]:
    with state.store.read() as txn:
        return {table: [(key, bytes(value)) for key, value in txn.items(table)] for table in Table}


def test_consumes_references_and_first_touches_follow_each_other(state: State) -> None:
    block = [
        [consume(1, A, word(10), word(11)), reference(2, B, word(20))],
        [consume(4, A, word(11), word(12)), consume(2, B, word(20), word(21)), first_touch(D, word(40))],
        [reference(5, A, word(12)), reference(7, D, word(40))],
        [consume(7, D, word(40), ZERO32)],
    ]
    assert state.broken(block) is None
    assert state.index.content().live == {3, 5, 6, 8}
    assert state.index.next_number == 9
    assert [state.index.is_live(n) for n in (0, 3, 4, 5, 8, 9)] == [False, True, False, True, True, False]


@pytest.mark.parametrize("number", [3, 4, 5])
def test_v1_the_number_must_be_born_before_the_transaction(state: State, number: int) -> None:
    block = [
        [consume(1, A, word(10), word(11))],
        [reference(number, C if number == 3 else A, word(30 if number == 3 else 11))],
    ]
    if number < 5:
        assert state.broken(block) is None
    else:
        refused(state, block, Rule.V1, 1, 0)


def test_v1_a_transaction_may_not_name_its_own_cell(state: State) -> None:
    refused(state, [[consume(1, A, word(10), word(11)), reference(4, B, word(20))]], Rule.V1, 0, 1)


@pytest.mark.parametrize("number", [2**48, 2**63, 2**64 - 1])
def test_v1_numbers_out_of_range(state: State, number: int) -> None:
    refused(state, [[], [reference(number, A, word(10))]], Rule.V1, 1, 0)


@pytest.mark.parametrize(
    "claim",
    [
        reference(1, A, word(11)),
        reference(1, B, word(10)),
        reference(1, (Mark.BALANCE, A[1], A[2]), word(10)),
        reference(1, (A[0], B[1], A[2]), word(10)),
        reference(1, (A[0], A[1], B[2]), word(10)),
        reference(2, A, word(10)),
        reference(1, A, bytes([1]) + bytes(30) + bytes([10])),
    ],
)
def test_v1_location_and_value_of_a_cell_from_before_the_block(state: State, claim: Move) -> None:
    assert state.broken([[reference(1, A, word(10))]]) is None
    refused(state, [[reference(3, C, word(30)), claim]], Rule.V1, 0, 1)


@pytest.mark.parametrize(
    "claim",
    [
        reference(4, A, word(10)),
        reference(4, B, word(11)),
        reference(4, (Mark.NONCE, A[1], A[2]), word(11)),
        reference(4, (A[0], A[1], B[2]), word(11)),
    ],
)
def test_v1_location_and_value_of_a_cell_inside_the_block(state: State, claim: Move) -> None:
    make = [consume(1, A, word(10), word(11))]
    assert state.broken([make, [reference(4, A, word(11))]]) is None
    state.undo()
    refused(state, [make, [claim]], Rule.V1, 1, 0)


def test_v2_no_cell_is_consumed_twice(state: State) -> None:
    again = consume(1, A, word(10), word(99))
    refused(state, [[consume(1, A, word(10), word(11))], [], [again]], Rule.V2, 2, 0)
    assert state.broken([[consume(1, A, word(10), word(11))]]) is None
    refused(state, [[again]], Rule.V2, 0, 0)
    twice = [
        [consume(4, A, word(11), word(12))],
        [consume(5, A, word(12), word(13))],
        [consume(5, A, word(12), word(14))],
    ]
    refused(state, twice, Rule.V2, 2, 0)
    assert state.broken(twice[:2]) is None
    refused(state, [[consume(5, A, word(12), word(15))]], Rule.V2, 0, 0)


def test_v3_a_reference_stands_before_the_consume(state: State) -> None:
    use, look = [consume(1, A, word(10), word(11))], [reference(1, A, word(10))]
    refused(state, [use, look], Rule.V3, 1, 0)
    assert state.broken([look, look, use]) is None
    refused(state, [look], Rule.V3, 0, 0)
    inside = [[consume(4, A, word(11), word(12))], [consume(5, A, word(12), word(13))], [reference(5, A, word(12))]]
    refused(state, inside, Rule.V3, 2, 0)


def test_v4_virgin_means_never_consumed(state: State) -> None:
    refused(state, [[first_touch(A, word(1))]], Rule.V4, 0, 0)
    refused(state, [[reference(0, A, ZERO32)]], Rule.V4, 0, 0)
    refused(state, [[first_touch(D, word(1))], [first_touch(D, word(2))]], Rule.V4, 1, 0)
    refused(state, [[first_touch(D, word(1))], [reference(0, D, ZERO32)]], Rule.V4, 1, 0)
    looks: Transactions = [[reference(0, D, ZERO32)], [reference(0, D, ZERO32)], [first_touch(D, word(1))]]
    assert state.broken(looks) is None
    refused(state, [[reference(0, D, ZERO32)]], Rule.V4, 0, 0)


def test_v4_a_location_stays_touched_when_its_value_is_zero_again(state: State) -> None:
    assert state.broken([[consume(1, A, word(10), ZERO32)]]) is None
    refused(state, [[reference(0, A, ZERO32)]], Rule.V4, 0, 0)


def test_the_lowest_broken_move_is_named_and_v1_before_v2(state: State) -> None:
    use = [consume(1, A, word(10), word(11))]
    refused(state, [use, [consume(1, A, word(77), word(12))], [first_touch(B, word(1))]], Rule.V1, 1, 0)
    refused(state, [use, [reference(2, B, word(20)), first_touch(B, word(1))], use], Rule.V4, 1, 1)


def test_a_cell_spent_before_the_block_is_v2_or_v3_whatever_is_claimed(state: State) -> None:
    assert state.broken([[consume(1, A, word(10), word(11))]]) is None
    refused(state, [[consume(1, B, word(1), word(2))]], Rule.V2, 0, 0)
    refused(state, [[reference(1, B, word(1))]], Rule.V3, 0, 0)


def test_moves_are_judged_one_by_one_for_admission(state: State) -> None:
    assert state.broken([[consume(1, A, word(10), word(11))], [first_touch(D, word(5))]]) is None
    blockhash = Move(REFERENCE, Mark.BLOCKHASH, 0, ZERO20, word(5), word(1), word(1))
    free = place(77)
    rows = [
        (consume(4, A, word(11), word(12)), 0),
        (consume(4, A, word(11), word(13)), 0),
        (reference(5, D, word(5)), 0),
        (first_touch(free, word(1)), 0),
        (blockhash, 0),
        (reference(5, D, word(6)), Rule.V1),
        (reference(5, A, word(5)), Rule.V1),
        (reference(6, D, word(5)), Rule.V1),
        (reference(2**64 - 1, D, word(5)), Rule.V1),
        (consume(1, A, word(10), word(12)), Rule.V2),
        (reference(1, A, word(10)), Rule.V3),
        (reference(0, D, ZERO32), Rule.V4),
        (reference(0, free, ZERO32), 0),
    ]
    with state.store.read() as txn:
        verdicts = state.index.check_cells(txn, Moves.of(move for move, _ in rows))
        assert len(state.index.check_cells(txn, Moves.empty())) == 0
    assert verdicts.tolist() == [rule for _, rule in rows]


def test_makers_in_batches(state: State) -> None:
    names = [bytes([k]) * 32 for k in (1, 2, 3)]
    state.apply([[consume(1, A, word(10), word(11))], [reference(2, B, word(20))], [first_touch(D, word(5))]], names)
    made = {4: names[0], 5: names[2], 0: ZERO32}
    pairs = [(number, txid) for number in (5, 4, 0, 6, 2**64 - 1, 4, 1) for txid in (*names, ZERO32)]
    numbers = np.array([number for number, _ in pairs], np.uint64)
    txids = np.frombuffer(b"".join(txid for _, txid in pairs), np.uint8).reshape(-1, 32)
    with state.store.read() as txn:
        matches = state.index.makers_match(txn, numbers, txids)
        assert state.index.makers_match(txn, numbers[:0], txids[:0]).tolist() == []
    assert matches.tolist() == [made.get(number) == txid for number, txid in pairs]


ONE, TWO, THREE = (bytes([k]) * 32 for k in (1, 2, 3))


def checked(state: State, block: Transactions, makers: dict[int, bytes]) -> tuple[object, ...] | None:
    """The verdict on a block of transactions ONE, TWO, ..., of which some rows say who made the cell."""
    moves = Moves.of(move for moves in block for move in moves)
    offsets = np.cumsum([0, *(len(moves) for moves in block)]).astype(np.int64)
    txids = np.frombuffer(b"".join(bytes([k]) * 32 for k in range(1, len(block) + 1)), np.uint8).reshape(-1, 32)
    with state.store.read() as txn:
        try:
            state.index.check(txn, moves, offsets, state.index.next_number, txids, SignedMakers.of(makers))
        except Verdict as verdict:
            return verdict.rule, verdict.transaction, verdict.move
    return None


def test_v1_the_maker_that_a_signer_fixed(tmp_path: Path) -> None:
    """Cells 1 and 2 are ONE's, 3 is TWO's; the block makes 4 in ONE, and nothing ever touched D."""
    state = State(tmp_path)
    state.apply(GENESIS, [ONE, TWO])
    block = [
        [consume(1, A, word(10), word(11)), reference(2, B, word(20))],
        [reference(0, D, ZERO32), reference(3, C, word(30)), reference(4, A, word(11))],
    ]
    right = {0: ONE, 1: ONE, 2: ZERO32, 3: TWO, 4: ONE}
    assert checked(state, block, right) is None
    places = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    for row, place_ in enumerate(places):
        for wrong in {ONE, TWO, THREE, ZERO32} - {right[row]}:
            assert checked(state, block, {row: wrong}) == (Rule.V1, *place_)
            assert checked(state, block, {**right, row: wrong}) == (Rule.V1, *place_)
    state.close()


def test_a_wrong_maker_comes_before_a_conflict_but_not_before_a_cell_that_was_spent(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.apply(GENESIS, [ONE, TWO])
    state.apply([[consume(1, A, word(10), word(11))]], [THREE])
    spent = [[consume(1, A, word(10), word(12))]]
    assert checked(state, spent, {0: TWO}) == checked(state, spent, {}) == (Rule.V2, 0, 0)
    twice = [[consume(2, B, word(20), word(21))], [consume(2, B, word(20), word(22))]]
    inside = [*twice[:1], [consume(5, B, word(21), word(22))], [consume(5, B, word(21), word(23))]]
    virgin = [[first_touch(D, word(1))], [first_touch(D, word(2))]]
    unborn = [[], [reference(9, B, word(20))]]
    for block, row, rule in ((twice, 1, Rule.V2), (inside, 2, Rule.V2), (virgin, 1, Rule.V4), (unborn, 0, Rule.V1)):
        last = len(block) - 1
        assert checked(state, block, {}) == (rule, last, 0)
        assert checked(state, block, {row: THREE}) == (Rule.V1, last, 0)
    assert checked(state, [[first_touch(A, word(1))]], {0: ONE}) == (Rule.V1, 0, 0)
    state.close()


def test_makers_need_the_txids_of_the_block(state: State) -> None:
    moves, makers = Moves.of([reference(1, A, word(10))]), SignedMakers.of({0: ONE})
    with state.store.read() as txn, pytest.raises(ValueError, match="txids"):
        state.index.check(txn, moves, np.array([0, 1]), 4, None, makers)


def test_a_lost_race_names_its_winner(state: State) -> None:
    block = [[consume(1, A, word(10), word(11))], [consume(1, A, word(10), word(12))]]
    names = [b"\x01" * 32, b"\x02" * 32]
    with pytest.raises(Verdict) as error:
        state.apply(block, names)
    assert error.value.winner == names[0]
    virgin = [[first_touch(D, word(11))], [reference(2, B, word(20)), reference(0, D, ZERO32)]]
    with pytest.raises(Verdict) as error:
        state.apply(virgin, names)
    assert error.value.winner == names[0]


def test_expected_and_actual_inside_the_block(state: State) -> None:
    with pytest.raises(Verdict) as error:
        state.apply([[consume(1, A, word(10), word(11))], [reference(4, A, word(12))]])
    assert (error.value.expected, error.value.actual) == ("0x" + word(12).hex(), "0x" + word(11).hex())


def test_blockhash_moves_never_reach_the_index(state: State) -> None:
    move = Move(REFERENCE, Mark.BLOCKHASH, 0, ZERO20, word(5), word(1), word(1))
    assert state.broken([[move, move]]) is None
    assert state.index.next_number == 4


def test_empty_blocks(state: State) -> None:
    for block in ([], [[]], [[], []]):
        assert state.broken(block) is None
    assert (state.index.height, state.index.next_number) == (3, 4)


def test_undo_and_reopen(state: State) -> None:
    before = state.index.content()
    assert state.broken([[consume(1, A, word(10), word(11)), first_touch(D, word(1))]]) is None
    after = state.index.content()
    state.open()
    assert state.index.content() == after
    state.undo()
    assert state.index.content() == before
    state.open()
    assert state.index.content() == before
    assert state.broken([[first_touch(D, word(2))], [reference(1, A, word(10))]]) is None
    state.undo()
    state.undo()
    assert (state.index.height, state.index.next_number, len(state.index.content().live)) == (-1, 1, 0)
    state.open()
    assert state.broken(GENESIS) is None


def test_undo_takes_blocks_out_of_pages_written_since(state: State) -> None:
    contents = [state.index.content()]
    last = 1

    def step(n: int) -> None:
        nonlocal last
        first = state.index.next_number
        state.apply([[consume(last, A, word(9 + n), word(10 + n)), first_touch(place(50 + n), word(1))]])
        last = first
        contents.append(state.index.content())

    for n in range(1, 31):
        step(n)
    for n in range(26, 40):
        for _ in range(5):
            state.undo()
            contents.pop()
        state.index.verify()
        state.open()
        assert state.index.content() == contents[-1]
        last = state.index.next_number - 2
        for k in range(6):
            step(n + k)


def test_a_block_whose_commit_never_came_leaves_nothing(state: State) -> None:
    before = state.index.content()
    moves = Moves.of([consume(1, A, word(10), word(11))])
    ids = np.zeros((1, 32), np.uint8)
    with pytest.raises(RuntimeError), state.store.write() as txn:  # noqa: PT012
        net = state.index.check(txn, moves, np.array([0, 1]), 4, ids)
        state.index.apply(txn, 1, net, ids)
        raise RuntimeError
    assert state.index.content() == before
    state.index.verify()
    assert state.broken([[consume(1, A, word(10), word(11))]]) is None


def test_undo_deeper_than_the_journal_fails_clearly(tmp_path: Path) -> None:
    state, model = State(tmp_path), Model()
    for n in range(40):
        block = [[first_touch(place(100 + n), word(n + 1))]]
        state.apply(block)
    assert len(state.index.memory.recent) == 8, "one turn of eight steps, six blocks at least"
    while state.can_undo:
        state.undo()
    with pytest.raises(Failure, match="too old"):
        state.undo()
    state.index.verify()
    state.open()
    state.index.verify()
    assert state.index.content().live == set(range(1, 33))
    assert model.height == -1
    state.close()


def test_misuse_is_not_a_verdict(state: State) -> None:
    moves, ids = Moves.of([reference(1, A, word(10))]), np.zeros((1, 32), np.uint8)
    with state.store.write() as txn:
        with pytest.raises(ValueError, match="next number"):
            state.index.check(txn, moves, np.array([0, 1]), 5)
        with pytest.raises(ValueError, match="offsets"):
            state.index.check(txn, moves, np.array([0, 2]), 4)
        net = state.index.check(txn, moves, np.array([0, 1]), 4)
        with pytest.raises(ValueError, match="does not follow"):
            state.index.apply(txn, 5, net, ids)
        with pytest.raises(ValueError, match="not the last"):
            state.index.undo(txn, 5)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        (Table.CELLS, number_key(0), None),
        (Table.BIRTHS, number_key(1), None),
        (Table.RECENT, number_key(0), None),
        (Table.RECENT, number_key(0), b"\0" * 64),
        (Table.META, b"index tip", b"short"),
        (Table.META, b"index keys", b"short"),
    ],
)
def test_damage_is_found(state: State, table: Table, key: bytes, value: bytes | None) -> None:
    state.index.verify()
    with state.store.write() as txn:
        if value is None:
            assert txn.delete(table, key)
        else:
            txn.put(table, key, value)
    with pytest.raises(StorageFailure):  # noqa: PT012
        state.open()
        state.index.verify()


def test_verify_compares_memory_with_the_files(state: State) -> None:
    state.index.memory.live[0] ^= np.uint64(2)
    with pytest.raises(StorageFailure, match="live bits"):
        state.index.verify()
