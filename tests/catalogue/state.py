"""V1 to V4: moves that name cells which are not there, not theirs, or gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from manaflow.errors import Rule
from manaflow.evm.environment import SYSTEM_CONTRACTS
from manaflow.moves.marks import ZERO32, Location, Mark, Move
from tests.catalogue.case import (
    CANCUN,
    CREATING,
    PRAGUE,
    SHANGHAI,
    Base,
    Case,
    Lie,
    add,
    entry,
    is_storage,
    is_storage_consume,
    is_storage_reference,
    virgin,
)
from tests.catalogue.dishonest import Draft, sealed

Which = Callable[[Case, Move], bool]
BIGGEST = 2**64 - 1
HIGH = b"\xee" * 32
"""A value that no cell of the blocks has."""
CALLED = frozenset(SYSTEM_CONTRACTS.values())


def changed(
    name: str,
    rule: Rule,
    reason: str,
    which: Which,
    change: Callable[[Case, Draft, int, Move], Move],
    base: Base = CANCUN,
) -> None:
    """Register a block in which one move names its cell dishonestly; the location stays."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        t, i = draft.find(lambda t, move: which(case, move))
        draft[t].moves[i] = change(case, draft, t, draft[t].moves[i])
        return Lie(sealed(draft), t, i)

    add(name, rule, reason, make, base)


def _inside(case: Case, move: Move) -> bool:
    """Names a cell that this block makes."""
    return is_storage(move) and move.number >= case.header.first_cell


def _of_the_parents(case: Case, move: Move) -> bool:
    """Names a cell that an earlier block after genesis made."""
    genesis = case.before[0].header
    return is_storage(move) and genesis.first_cell + genesis.cells <= move.number < case.header.first_cell


def _is_of_genesis(case: Case, move: Move) -> bool:
    genesis = case.before[0].header
    return 0 < move.number < genesis.first_cell + genesis.cells


def _of_genesis(case: Case, move: Move) -> bool:
    return is_storage_reference(move) and _is_of_genesis(case, move)


def _another_value(case: Case, draft: Draft, t: int, move: Move) -> Move:
    return replace(move, prev=HIGH, next=HIGH if move.is_reference else move.next)


def _number(number: Callable[[Case, Draft, int, Move], int]) -> Callable[[Case, Draft, int, Move], Move]:
    return lambda case, draft, t, move: replace(move, number=number(case, draft, t, move))


def _neighbour(case: Case, draft: Draft, t: int, move: Move) -> int:
    """A live cell of another location."""
    return next(number for place, (number, _) in case.cells.items() if place != move.location)


def _same_value_elsewhere(case: Case, draft: Draft, t: int, move: Move) -> int:
    """A live cell of another location with the very value."""
    return next(n for place, (n, value) in case.cells.items() if place != move.location and value == move.prev)


def _own(case: Case, draft: Draft, t: int, move: Move) -> int:
    return draft[t].leaf.first_cell


def _last(case: Case, draft: Draft, t: int, move: Move) -> int:
    return case.header.first_cell + case.header.cells - 1


def _next_block(case: Case, draft: Draft, t: int, move: Move) -> int:
    return case.header.first_cell + case.header.cells


def _has_twin(case: Case, move: Move) -> bool:
    twins = (place != move.location and value == move.prev for place, (_, value) in case.cells.items())
    return _of_genesis(case, move) and any(twins)


changed("value_of_a_genesis_cell", Rule.V1, "value of cell", _of_genesis, _another_value)
changed("value_of_an_earlier_block", Rule.V1, "value of cell", _of_the_parents, _another_value)
changed("value_of_a_cell_of_this_block", Rule.V1, "value of cell", _inside, _another_value)
changed(
    "value_consumed", Rule.V1, "value of cell",
    lambda case, move: is_storage_consume(move) and _is_of_genesis(case, move) and move.addr not in CALLED,
    _another_value,
)  # fmt: skip
changed("value_zero", Rule.V1, "value of cell", lambda c, m: _of_genesis(c, m) and m.prev != ZERO32,
        lambda case, draft, t, move: replace(move, prev=ZERO32, next=ZERO32))  # fmt: skip
changed("cell_of_a_neighbour", Rule.V1, "location of cell", _of_genesis, _number(_neighbour))
changed(
    "cell_of_a_neighbour_with_the_same_value", Rule.V1, "location of cell", _has_twin, _number(_same_value_elsewhere)
)
changed("cell_of_this_block_of_another_location", Rule.V1, "location of cell", _inside,
        _number(lambda case, draft, t, move: case.header.first_cell))  # fmt: skip
changed("cell_of_its_own_transaction", Rule.V1, "the cell is not born yet", _inside, _number(_own))
changed("cell_of_a_later_transaction", Rule.V1, "the cell is not born yet", _inside, _number(_last))
changed("cell_of_the_next_block", Rule.V1, "the cell is not born yet", _of_genesis, _number(_next_block))
changed("cell_of_the_biggest_number", Rule.V1, "the cell is not born yet", _of_genesis, _number(lambda *_: BIGGEST))


@entry(Rule.V1, "location of cell", CREATING)
def virgin_state_named_by_a_cell(case: Case) -> Lie:
    """Untouched state that names a live cell of value zero, instead of number 0."""
    draft = case.draft()
    zeros = [number for number, value in case.cells.values() if value == ZERO32]
    t, i = draft.find(lambda t, move: is_storage(move) and move.number == 0)
    draft[t].change(i, number=zeros[0])
    return Lie(sealed(draft), t, i)


@entry(Rule.V1, "value of cell")
def system_call_finds_another_value(case: Case) -> Lie:
    draft = case.draft()
    i = next(i for i, m in enumerate(draft[0].moves) if is_storage_consume(m) and m.number)
    draft[0].change(i, prev=HIGH)
    return Lie(sealed(draft), 0, i)


@entry(Rule.V1, "value of cell")
def withdrawal_on_a_balance_that_is_not(case: Case) -> Lie:
    """The credit adds up; the balance that it starts from is invented."""
    draft = case.draft()
    last = len(draft.transactions) - 1
    move = draft[last].moves[0]
    more = [(int.from_bytes(value, "big") + 10**18).to_bytes(32, "big") for value in (move.prev, move.next)]
    draft[last].change(0, prev=more[0], next=more[1])
    return Lie(sealed(draft), last, 0)


def chains(draft: Draft, which: Callable[[Move], bool]) -> Iterator[list[tuple[int, int]]]:
    """The places of each location's moves, for locations of which which(a move) is true."""
    for location in dict.fromkeys(move.location for _, _, move in draft.places() if which(move)):
        yield draft.uses(location)


def race(
    case: Case, which: Callable[[Move], bool], consumes: bool, first: Callable[[Move], bool]
) -> tuple[Draft, int, int, int]:
    """A draft, the transaction of a consume for which first(move), and the place of a later use of its location."""
    draft = case.draft()
    for places in chains(draft, which):
        for k, (winner, at) in enumerate(places):
            early = draft[winner].moves[at]
            for t, i in places[k + 1 :]:
                late = draft[t].moves[i]
                wanted = late.is_reference != consumes and (late.is_reference or late.next != early.prev)
                if not early.is_reference and first(early) and wanted:
                    return draft, winner, t, i
    raise LookupError("no two moves of one location will do")


def again(case: Case, consumes: bool, first: Callable[[Move], bool]) -> Lie:
    """A later use of a location names the cell that an earlier transaction consumed, as that one found it."""
    draft, winner, t, i = race(case, is_storage, consumes, first)
    late = draft[t].moves[i]
    early = next(m for m in draft[winner].moves if m.location == late.location)
    draft[t].moves[i] = replace(
        late, number=early.number, prev=early.prev, next=early.prev if late.is_reference else late.next
    )
    return Lie(sealed(draft), t, i, draft[winner].leaf.txid)


def _from_before(case: Case) -> Callable[[Move], bool]:
    return lambda move: 0 < move.number < case.header.first_cell


def _made_here(case: Case) -> Callable[[Move], bool]:
    return lambda move: move.number >= case.header.first_cell


@entry(Rule.V2, "cell ")
def cell_consumed_twice_in_the_block(case: Case) -> Lie:
    return again(case, True, _from_before(case))


@entry(Rule.V2, "cell ", PRAGUE)
def cell_of_the_block_consumed_twice(case: Case) -> Lie:
    return balance_again(case)


@entry(Rule.V3, "cell ", CREATING)
def cell_referred_to_after_its_consume(case: Case) -> Lie:
    return again(case, False, _from_before(case))


@entry(Rule.V3, "cell ", SHANGHAI)
def cell_of_the_block_referred_to_after_its_consume(case: Case) -> Lie:
    return again(case, False, _made_here(case))


def balance_again(case: Case) -> Lie:
    """The coinbase is paid from a balance that an earlier transaction of this block made and another one consumed."""
    draft = case.draft()
    places = draft.uses((Mark.BALANCE, case.header.coinbase, ZERO32))
    (_, _), (winner, old), (t, i) = places[:3]
    early, late = draft[winner].moves[old], draft[t].moves[i]
    earned = int.from_bytes(late.next, "big") - int.from_bytes(late.prev, "big")
    paid = (int.from_bytes(early.prev, "big") + earned).to_bytes(32, "big")
    draft[t].change(i, number=early.number, prev=early.prev, next=paid)
    return Lie(sealed(draft), t, i, draft[winner].leaf.txid)


def spent_before(case: Case, consumes: bool, value: bytes | None = None) -> Lie:
    """A use of storage names a cell that an earlier block consumed, with its value, or with `value`."""
    draft = case.draft()
    for t, i, move in draft.places():
        spent = case.spent.get(move.location, ())
        if not is_storage(move) or move.is_reference == consumes or not spent:
            continue
        old, txid = spent[-1]
        claimed = old.prev if value is None else value
        if move.is_reference or move.next != claimed:
            draft[t].change(i, number=old.number, prev=claimed, next=claimed if move.is_reference else move.next)
            return Lie(sealed(draft), t, i, txid)
    raise LookupError("no location that an earlier block wrote is used")


@entry(Rule.V2, "cell ")
def cell_consumed_by_an_earlier_block(case: Case) -> Lie:
    return spent_before(case, True)


@entry(Rule.V2, "cell ")
def cell_consumed_by_an_earlier_block_with_another_value(case: Case) -> Lie:
    """That it is spent is said first: the true winner is named whatever the loser claims."""
    return spent_before(case, True, HIGH)


@entry(Rule.V3, "cell ", CREATING)
def cell_referred_to_after_an_earlier_block(case: Case) -> Lie:
    return spent_before(case, False)


@entry(Rule.V3, "cell ", CREATING)
def cell_referred_to_after_an_earlier_block_with_another_value(case: Case) -> Lie:
    return spent_before(case, False, HIGH)


def claim(draft: Draft, t: int, i: int) -> None:
    """Let a move claim that its location is virgin."""
    move = draft[t].moves[i]
    draft[t].change(i, number=0, prev=ZERO32, next=ZERO32 if move.is_reference else move.next)


def writer_of(case: Case, location: Location) -> bytes:
    """The txid of the first transaction before the block that consumed a location."""
    for block in case.before:
        for transaction in Draft.of(block).transactions:
            if any(m.location == location and not m.is_reference for m in transaction.moves):
                return transaction.leaf.txid
    raise LookupError("nobody wrote it")


def claimed_again(case: Case, which: Callable[[Move], bool]) -> Lie:
    """Storage that the chain has written before the block is claimed to be virgin."""
    draft = case.draft()
    t, i = draft.find(lambda t, m: which(m) and m.location in case.cells and (m.is_reference or m.next != ZERO32))
    location = draft[t].moves[i].location
    claim(draft, t, i)
    return Lie(sealed(draft), t, i, writer_of(case, location))


@entry(Rule.V4, "s 0x")
def touched_state_read_as_virgin(case: Case) -> Lie:
    return claimed_again(case, is_storage_reference)


@entry(Rule.V4, "s 0x")
def touched_state_written_as_virgin(case: Case) -> Lie:
    return claimed_again(case, is_storage_consume)


@entry(Rule.V4, "s 0x", CREATING)
def touched_state_that_is_zero_again(case: Case) -> Lie:
    """The claimed value is right, zero once more; but the location has a live cell, which must be named."""
    draft = case.draft()
    zeros = (place for place, (_, value) in case.cells.items() if value == ZERO32 and place[0] == Mark.STORAGE)
    location = next(place for place in zeros if not draft.uses(place))
    t = draft.signed[-1]
    i = draft[t].add(virgin(Mark.STORAGE, *location[1:]))
    return Lie(sealed(draft), t, i, writer_of(case, location))


@entry(Rule.V4, "s 0x")
def state_of_an_earlier_block_read_as_virgin(case: Case) -> Lie:
    genesis = {move.location for move in case.before[0].moves.objects()}
    return claimed_again(case, lambda move: is_storage(move) and move.location not in genesis)


def claimed_twice(case: Case, consumes: bool) -> Lie:
    """Two transactions of one block both find a location virgin."""
    draft, winner, t, i = race(case, is_storage, consumes, lambda move: move.number == 0)
    claim(draft, t, i)
    return Lie(sealed(draft), t, i, draft[winner].leaf.txid)


@entry(Rule.V4, "s 0x", SHANGHAI)
def virgin_claimed_twice(case: Case) -> Lie:
    return claimed_twice(case, True)


@entry(Rule.V4, "s 0x", SHANGHAI)
def virgin_read_after_its_first_write(case: Case) -> Lie:
    return claimed_twice(case, False)


@entry(Rule.V4, "n 0x")
def account_made_anew(case: Case) -> Lie:
    """An unneeded claim that a sender of this block never existed, by a later transaction."""
    draft = case.draft()
    first, last = draft.signed[0], draft.signed[-1]
    sender = draft[first].moves[draft[first].index(Mark.NONCE, reference=False)]
    i = draft[last].add(virgin(Mark.NONCE, sender.addr))
    return Lie(sealed(draft), last, i, writer_of(case, sender.location))
