"""The coordinator with a real validator: what becomes of transactions that wait, win and lose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manaflow.coordinator import filling
from manaflow.coordinator.door import Door, Terms
from manaflow.coordinator.messages import (
    Accepted,
    Admitted,
    Dropped,
    Fill,
    Keep,
    Lost,
    Notice,
    Reason,
    Refused,
    Replied,
    Send,
    Submit,
)
from manaflow.coordinator.policy import PriorityFee
from manaflow.coordinator.pool import Limits
from manaflow.errors import Rule, Verdict
from manaflow.evm.native import fill_steps
from manaflow.moves.envelopes import MAX_ENVELOPE_BYTES
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask
from manaflow.moves.transactions import Flag, NamedMove
from manaflow.node.coordinator_role import CoordinatorRole
from manaflow.rules.config import Fork
from manaflow.rules.signing import MAX_SIGNED_BYTES
from tests.chain import ETHER
from tests.coordinator.desk import Desk, empty_batch, kept_after, of_kind
from tests.declared import named_move
from tests.manaflow_chain import BASE_FEE, CHAIN_ID, Producer

COUNTER = b"\xcc" * 20
COUNTER_CODE = bytes.fromhex("3615600857" + "5f5ffd" + "5b" + "5f546001015f55" + "00")
"""Without data: adds 1 to slot 0. With any: reverts."""
COUNT = (Mark.STORAGE, COUNTER, ZERO32)
FUSE = b"\xfe" * 20
FUSE_CODE = bytes.fromhex("5f54600a57" + "60015f5500" + "5b5f5ffd")
"""Succeeds once: sets slot 0, and reverts when it is set."""
DOOMED_CODE = bytes.fromhex("36600c57" + "5f546001015f5500" + "5b5f545f5ffd")
"""Without data: adds 1 to slot 0. With any: reads slot 0 and reverts."""
WORD = 32


def word(value: int) -> bytes:
    return value.to_bytes(WORD, "big")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    alloc = {COUNTER: (0, 1, COUNTER_CODE, {ZERO32: word(5)}), FUSE: (0, 1, FUSE_CODE, {})}
    made = Desk(tmp_path, Producer(alloc=alloc))
    yield made
    made.close()


def test_a_transfer_goes_all_the_way(desk: Desk) -> None:
    coordinator = desk.coordinator()
    desk.open_block()
    raw = desk.chain.sign(0, desk.chain.addresses[1], value=5)
    results = desk.submit(coordinator, raw)
    assert of_kind(results, Keep) == [Keep(1, raw)]
    assert of_kind(results, Accepted) == [Accepted(keccak256(raw))]
    (admitted,) = of_kind(desk.pump(coordinator), Admitted)
    assert admitted == Admitted(1, (keccak256(raw),))
    block = desk.seal()
    assert block.envelopes == (raw,)
    assert len(coordinator.pool) == 0
    receipts = desk.latest.receipts(1)
    assert receipts is not None
    assert [r.status for r in receipts] == [1]
    assert desk.latest.transaction(keccak256(raw)) == (1, 1)


def test_both_of_two_coordinators_land_on_one_cell(desk: Desk) -> None:
    """Everybody pays the same account: every transaction loses races and lands."""
    one, two = desk.coordinator(), desk.coordinator()
    desk.open_block()
    to = b"\x77" * 20
    mine = [desk.chain.sign(i % 5, to, value=1) for i in range(20)]
    for coordinator, part in ((one, mine[0::5] + mine[1::5]), (two, mine[2::5] + mine[3::5] + mine[4::5])):
        desk.submit(coordinator, *part)
    for _ in range(20):
        desk.pump(one, 3)
        desk.pump(two, 3)
    block = desk.seal()
    assert sorted(block.envelopes) == sorted(mine)
    assert len(one.pool) == len(two.pool) == 0


# Declared transactions


def value_open(move: NamedMove) -> int:
    """Where is signed, what is there is not."""
    return int(Mask.INTX if move.mark == Mark.NONCE else Mask.INTX | Mask.PREV | Mask.NEXT)


def everything(move: NamedMove) -> int:
    """All but the makers; balances open, because fees depend on the block."""
    return int(Mask.INTX | (Mask.PREV | Mask.NEXT if move.mark == Mark.BALANCE else 0))


def identity(move: NamedMove) -> int:
    """The makers as well."""
    return int(Mask.INTX | Mask.PREV | Mask.NEXT if move.mark in (Mark.BALANCE, Mark.NONCE) else 0)


def unsaid(move: NamedMove) -> int:
    return UNSIGNED


def test_masked_ones_all_land_whoever_fills_them(desk: Desk) -> None:
    one, two = desk.coordinator(), desk.coordinator()
    raws = [desk.declare(i % 5, COUNTER, value_open if i % 2 else unsaid, flags=Flag.OPEN) for i in range(10)]
    desk.open_block()
    assert len(of_kind(desk.submit(one, *raws[:5]), Accepted)) == 5
    assert len(of_kind(desk.submit(two, *raws[5:]), Accepted)) == 5
    for _ in range(10):
        desk.pump(one, 2)
        desk.pump(two, 2)
    assert sorted(desk.seal().envelopes) == sorted(raws)
    assert desk.latest.cell(COUNT).value == word(15)


def test_a_fully_declared_loser_is_told_the_winner(desk: Desk) -> None:
    one, two = desk.coordinator(), desk.coordinator()
    winner, loser = desk.declare(0, COUNTER, everything), desk.declare(1, COUNTER, everything)
    desk.open_block()
    desk.submit(one, winner)
    desk.submit(two, loser)
    (send,) = of_kind(two.handle(Fill()), Send)  # filled before it can know
    desk.pump(one)
    results = two.handle(Replied(send.id, desk.admit(send))) + desk.pump(two)
    (notice,) = of_kind(results, Notice)
    assert (notice.txid, notice.winner) == (keccak256(loser), keccak256(winner))
    assert (notice.location, notice.field) == (COUNT, "prev")
    assert (notice.expected, notice.actual) == (word(5), word(6))
    assert notice.may_change == ("prev", "mask prev")
    assert not notice.waits
    json = notice.as_json()
    assert json["winner"] == "0x" + keccak256(winner).hex()
    assert json["location"]["mark"] == "s"
    (dropped,) = of_kind(results, Dropped)
    assert (dropped.reason, dropped.winner) == (Reason.LOST, keccak256(winner))
    assert desk.seal().envelopes == (winner,)


def test_a_winner_is_one_that_has_won(desk: Desk) -> None:
    """What a coordinator has put before a loser may lose itself: the signer hears of who is in the block."""
    one, two = desk.coordinator(), desk.coordinator()
    winner, before, loser = (desk.declare(i, COUNTER, everything) for i in range(3))
    desk.open_block()
    desk.submit(one, winner)
    desk.submit(two, before, loser)
    (send,) = of_kind(two.handle(Fill()), Send)
    assert send.batch.envelopes == (before,)
    desk.pump(one)
    results = two.handle(Replied(send.id, desk.admit(send))) + desk.pump(two)
    told = {notice.txid: notice.winner for notice in of_kind(results, Notice)}
    assert told == dict.fromkeys(map(keccak256, (before, loser)), keccak256(winner))


@pytest.mark.parametrize("field", ["prev", "status"])
def test_nobody_loses_to_what_is_not_admitted(desk: Desk, field: str) -> None:
    """One that changes the cell is sent off first, and refused, for its sender has used its nonce elsewhere."""
    one, two = desk.coordinator(), desk.coordinator()
    before = desk.chain.sign(0, COUNTER if field == "prev" else FUSE)
    signed = desk.declare(1, COUNTER, everything) if field == "prev" else desk.declare(
        1, FUSE, unsaid, flags=Flag.OPEN | Flag.MUST_SUCCEED
    )  # fmt: skip
    desk.open_block()
    desk.submit(one, desk.chain.sign(0, b"\x01" * 20, value=1, nonce=0))
    desk.submit(two, before, signed)
    (send,) = of_kind(two.handle(Fill()), Send)
    assert send.batch.envelopes == (before,)
    desk.pump(one)
    results = two.handle(Replied(send.id, desk.admit(send))) + desk.pump(two)
    assert of_kind(results, Notice) == []
    assert signed in desk.seal().envelopes


def test_a_misfit_is_not_tried_for_ever(tmp_path: Path) -> None:
    """It fails on any state; others who pay more are always filled before it, so that no fill proves it."""
    chain = Producer(accounts=20, alloc={COUNTER: (0, 1, DOOMED_CODE, {})})
    desk = Desk(tmp_path, chain)
    coordinator = desk.coordinator(policy=PriorityFee())
    doomed = desk.declare(0, COUNTER, unsaid, data=b"\1", flags=Flag.OPEN | Flag.MUST_SUCCEED)
    desk.open_block()
    desk.submit(coordinator, doomed)
    told: list[Notice] = []
    for fills in range(1, 20):
        desk.submit(coordinator, desk.chain.sign(fills, COUNTER, tip=10**11, max_fee=10**12))
        results = coordinator.handle(Fill())
        for send in of_kind(results, Send):
            results += coordinator.handle(Replied(send.id, desk.admit(send)))
        told += of_kind(results, Notice)
        if told:
            break
    assert fills == filling.MAX_TRIES + 1
    assert [notice.field for notice in told] == ["status"]
    desk.close()


def test_a_loser_with_a_limit_waits_for_its_value(desk: Desk) -> None:
    """The counter is at 5, goes to 6, and cannot come back: told once, kept until `valid until`, then dropped."""
    one = desk.coordinator()
    loser = desk.declare(1, COUNTER, everything, valid_until=2)
    winner = desk.chain.sign(0, COUNTER)
    desk.open_block()
    desk.submit(one, winner, loser)
    results = desk.pump(one)
    (notice,) = of_kind(results, Notice)
    assert notice.waits
    desk.seal()
    desk.open_block()
    assert of_kind(desk.pump(one), Notice) == []
    assert len(one.pool) == 1
    desk.seal()
    results = []
    for handle in (one.handle,):
        one.handle = lambda message, handle=handle: results.extend(answer := handle(message)) or answer  # type: ignore
    desk.open_block()
    (dropped,) = of_kind(results, Dropped)
    assert dropped.reason == Reason.EXPIRED


def test_a_signed_maker_in_the_pool_is_waited_for(desk: Desk) -> None:
    """A chain of two pending transactions, the second over the first one's cell, sent in the wrong order."""
    coordinator = desk.coordinator()
    first = desk.chain.sign(0, COUNTER)
    forms = named_move(0, Mark.STORAGE, COUNTER, 0, 6, 7, intx=keccak256(first))
    second = desk.declare(1, COUNTER, unsaid, flags=Flag.OPEN, guards=(forms,))
    desk.open_block()
    desk.submit(coordinator, second, first)
    results = desk.pump(coordinator)
    assert of_kind(results, Notice) == []
    assert desk.seal().envelopes == (first, second)


def test_a_maker_that_is_another_is_a_loss(desk: Desk) -> None:
    coordinator = desk.coordinator()
    identified = desk.declare(1, COUNTER, identity)
    other = desk.chain.sign(0, COUNTER)
    desk.open_block()
    desk.submit(coordinator, other, identified)
    (notice,) = of_kind(desk.pump(coordinator), Notice)
    assert (notice.field, notice.winner) == ("intx", keccak256(other))


@pytest.mark.parametrize("is_virgin", [False, True])
def test_guards_are_filled_and_land(desk: Desk, is_virgin: bool) -> None:
    coordinator = desk.coordinator()
    mask = Mask.REFERENCE | Mask.GUARD | Mask.INTX
    other, place = desk.chain.addresses[3], b"\x11" * 20
    guard = named_move(mask, Mark.STORAGE, place, 9) if is_virgin else named_move(mask, Mark.NONCE, other)
    raws = [desk.declare(i, COUNTER, value_open, guards=(guard,)) for i in range(2)]
    desk.open_block()
    assert len(of_kind(desk.submit(coordinator, *raws), Accepted)) == 2
    assert of_kind(desk.pump(coordinator), Notice) == []
    assert desk.seal().envelopes == tuple(raws)


def test_a_guard_that_is_no_longer_so_is_a_loss(desk: Desk) -> None:
    coordinator = desk.coordinator()
    guard = named_move(Mask.REFERENCE | Mask.GUARD | Mask.INTX, Mark.NONCE, desk.chain.addresses[3])
    spends = desk.chain.sign(3, b"\x01" * 20, value=1)
    guarded = desk.declare(0, COUNTER, value_open, guards=(guard,))
    desk.open_block()
    desk.submit(coordinator, spends, guarded)
    results = desk.pump(coordinator)
    (notice,) = of_kind(results, Notice)
    assert (notice.field, notice.winner) == ("prev", keccak256(spends))
    assert desk.seal().envelopes == (spends,)


def test_what_builds_on_a_misfit_is_filled_again(desk: Desk) -> None:
    """In one batch: a misfit, its sender's next, and others on the same cell."""
    coordinator = desk.coordinator()
    stale = desk.declare(0, COUNTER, everything)
    behind = desk.chain.sign(0, COUNTER)
    others = [desk.chain.sign(i, COUNTER) for i in (1, 2, 3)]
    desk.open_block()
    desk.submit(coordinator, others[0], stale, behind, *others[1:])
    results = desk.pump(coordinator)
    assert len(of_kind(results, Notice)) == 1
    block = desk.seal()
    assert sorted(block.envelopes) == sorted(others)
    assert desk.latest.cell(COUNT).value == word(8)
    assert [entry.txid for entry in coordinator.pool] == [keccak256(behind)]  # behind a gap now


def test_misfits_cannot_make_everything_be_executed_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stale transaction spoils the counter for all behind it; it must not cost a whole batch each time."""
    chain = Producer(accounts=81, alloc={COUNTER: (0, 1, COUNTER_CODE, {ZERO32: word(5)})})
    desk = Desk(tmp_path, chain)
    coordinator = desk.coordinator()
    first, good = chain.sign(80, COUNTER), [chain.sign(i, COUNTER) for i in range(40)]
    stale = [desk.declare(i, COUNTER, everything) for i in range(40, 80)]
    desk.open_block()
    desk.submit(coordinator, first)
    desk.pump(coordinator)
    desk.submit(coordinator, *(raw for pair in zip(stale, good, strict=True) for raw in pair))
    executed: list[int] = []

    def counted(world: Any, environment: Any, steps: Any, *rest: Any, **options: Any) -> Any:
        executed.append(len(steps))
        return fill_steps(world, environment, steps, *rest, **options)

    monkeypatch.setattr(filling, "fill_steps", counted)
    results = desk.pump(coordinator)
    assert len(of_kind(results, Notice)) == 40
    assert sum(executed) < 16 * 40 + 200
    assert set(desk.seal().envelopes) == {first, *good}
    desk.close()


# What is lost, repeated or late


def test_a_lost_reply_is_made_good(desk: Desk) -> None:
    coordinator = desk.coordinator()
    raws = [desk.chain.sign(i % 5, COUNTER) for i in range(10)]
    desk.open_block()
    desk.submit(coordinator, *raws)
    (send,) = of_kind(coordinator.handle(Fill(6)), Send)
    reply = desk.admit(send)
    assert coordinator.handle(Lost(send.id)) == []
    assert coordinator.handle(Replied(send.id, reply)) == []  # late: nobody waits for it
    results = desk.pump(coordinator, learns=False)  # all are filled again, and come back as their own winners
    assert of_kind(results, Dropped) == []
    told = [txid for result in of_kind(results, Admitted) for txid in result.txids]
    assert sorted(told) == sorted(keccak256(raw) for raw in raws)
    assert coordinator.handle(Replied(send.id, reply)) == []
    assert sorted(desk.seal().envelopes) == sorted(raws)
    assert len(coordinator.pool) == 0


def test_an_old_fill_is_replayed_to_no_effect(desk: Desk) -> None:
    coordinator = desk.coordinator()
    desk.open_block()
    desk.submit(coordinator, desk.chain.sign(0, COUNTER), desk.chain.sign(1, COUNTER))
    (send,) = of_kind(coordinator.handle(Fill()), Send)
    reply = desk.admit(send)
    coordinator.handle(Replied(send.id, reply))
    again = desk.admit(send)
    assert all(
        v is not None and v.winner == keccak256(raw)
        for v, raw in zip(again.verdicts, send.batch.envelopes, strict=True)
    )
    assert len(desk.seal().envelopes) == 2


class Deaf:
    """A link whose replies never come."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.sent = desk, list[Send]()

    def send(self, send: Send, opened: bytes) -> None:
        self.sent.append(send)
        self.desk.admit(send)


def test_a_restart_between_admission_and_seal(desk: Desk) -> None:
    told: list[tuple[str, str]] = []
    link = Deaf(desk)

    def begun() -> CoordinatorRole:
        desk.coordinators.clear()
        core = desk.coordinator()
        return CoordinatorRole(core, desk.latest, link, lambda kind, item: told.append((kind, item["txid"])))

    raws = [desk.chain.sign(i % 5, COUNTER) for i in range(10)]
    desk.open_block()
    first = begun()
    assert all(isinstance(answer, Accepted) for answer in first.submit(raws))
    first.flush()
    first.tell(Fill(4))
    (send,) = link.sent  # admitted, and then the coordinator is gone
    again = begun()
    assert len(again.core.pool) == 10
    again.tell(desk.opened_message())
    results = desk.pump(again.core)
    admitted = [txid for result in of_kind(results, Admitted) for txid in result.txids]
    assert sorted(admitted) == sorted(keccak256(raw) for raw in raws if raw not in send.batch.envelopes)
    assert sorted(desk.seal().envelopes) == sorted(raws)
    assert len(again.core.pool) == 0
    third = begun()
    assert len(third.core.pool) == 0, "what is sealed is not taken up again, though the disk has it still"
    third.close()
    assert desk.latest.kept() == ()
    assert told == []


def test_an_undone_block_waits_again(desk: Desk) -> None:
    coordinator = desk.coordinator()
    raws = [desk.chain.sign(i % 5, COUNTER) for i in range(8)]
    desk.open_block()
    desk.submit(coordinator, *raws)
    desk.pump(coordinator)
    desk.seal()
    desk.undo()
    assert desk.latest.receipts(1) is None
    assert len(coordinator.pool) == 8
    desk.open_block()
    desk.pump(coordinator)
    assert sorted(desk.seal().envelopes) == sorted(raws)
    assert desk.latest.cell(COUNT).value == word(13)


def test_an_open_block_that_is_given_up(desk: Desk) -> None:
    coordinator = desk.coordinator()
    raws = [desk.chain.sign(i % 5, COUNTER) for i in range(8)]
    desk.open_block()
    desk.submit(coordinator, *raws)
    desk.pump(coordinator, 3)
    desk.open_block()  # in place of the first
    desk.pump(coordinator)
    assert sorted(desk.seal().envelopes) == sorted(raws)


def test_a_validator_that_disagrees_is_not_asked_again_and_again(desk: Desk) -> None:
    """A lost race without a winner and without news: the same fill would be refused again."""
    coordinator = desk.coordinator()
    raw = desk.chain.sign(0, COUNTER)
    desk.open_block()
    desk.submit(coordinator, raw)
    (send,) = of_kind(coordinator.handle(Fill()), Send)
    nothing = desk.admit(Send(0, empty_batch(), send.since))
    verdict = Verdict(Rule.V1, "no such cell")
    coordinator.handle(Replied(send.id, replace(nothing, verdicts=(verdict,))))
    assert not coordinator.has_work
    assert len(coordinator.pool) == 1
    desk.seal()
    desk.open_block()
    desk.pump(coordinator)
    assert desk.seal().envelopes == (raw,)


def test_a_sealed_block_replaces_what_was_believed(desk: Desk) -> None:
    """One coordinator's batch is lost and another's transactions are sealed: cells, values and numbers are those."""
    one, two = desk.coordinator(), desk.coordinator()
    mine, other, later = desk.chain.sign(0, COUNTER), desk.chain.sign(1, COUNTER), desk.chain.sign(1, COUNTER)
    desk.open_block()
    desk.submit(two, mine)
    two.handle(Fill())
    desk.submit(one, other)
    desk.pump(one)
    desk.seal()
    desk.open_block()
    desk.submit(two, later)
    (send,) = of_kind(two.handle(Fill()), Send)
    assert send.batch.envelopes == (mine, later)
    moves, sources = send.batch.moves, send.batch.intx
    sealed_cells = [i for i in range(len(moves)) if sources[i].any() and sources[i].tobytes() != keccak256(mine)]
    for i in sealed_cells:
        cell = desk.latest.cell(moves[i].location)
        assert (cell.number, cell.value, cell.intx) == (moves[i].number, moves[i].prev, sources[i].tobytes())
    assert keccak256(other) in {sources[i].tobytes() for i in sealed_cells}
    assert all(verdict is None for verdict in desk.admit(send).verdicts)


# What waits


def test_nonces_in_any_order(desk: Desk) -> None:
    coordinator = desk.coordinator()
    raws = [desk.chain.sign(0, COUNTER) for _ in range(6)]
    desk.open_block()
    for i in (3, 0, 5, 1, 4, 2):
        desk.submit(coordinator, raws[i])
        desk.pump(coordinator)
    assert desk.seal().envelopes == tuple(raws)


def test_a_fee_cap_below_the_base_fee_waits(desk: Desk) -> None:
    coordinator = desk.coordinator()
    cheap = desk.chain.sign(0, COUNTER, max_fee=BASE_FEE - 1, tip=0)
    desk.open_block()
    assert desk.submit(coordinator, cheap)
    assert not coordinator.has_work
    desk.seal()
    desk.open_block()  # an empty block lowers the base fee by an eighth
    desk.pump(coordinator)
    assert desk.seal().envelopes == (cheap,)


def test_a_balance_that_comes_later(desk: Desk) -> None:
    """In order of arrival the poor one spends before it is paid: it waits, and lands in the same block."""
    coordinator = desk.coordinator()
    poor = desk.chain.addresses[4]
    spent = desk.chain.sign(4, COUNTER, value=0)
    rest = desk.chain.sign(4, b"\x01" * 20, value=990 * ETHER)
    late = desk.chain.sign(4, b"\x02" * 20, value=15 * ETHER)
    paid = desk.chain.sign(0, poor, value=100 * ETHER)
    desk.open_block()
    assert len(of_kind(desk.submit(coordinator, spent, rest, late, paid), Accepted)) == 4
    desk.pump(coordinator)
    assert sorted(desk.seal().envelopes) == sorted((spent, rest, late, paid))


def test_what_does_not_fit_this_block_goes_into_the_next(desk: Desk) -> None:
    coordinator = desk.coordinator()
    large = [desk.chain.sign(i, COUNTER, gas=16_000_000) for i in range(3)]
    desk.open_block()
    desk.submit(coordinator, *large)
    desk.pump(coordinator)
    assert len(desk.seal().envelopes) == 3  # limits, not gas used, must fit what is left


def test_another_account_raises_a_nonce(desk: Desk) -> None:
    """EIP-7702: account 1 authorizes in a transaction of account 0, and so a pending one of its own is passed."""
    coordinator = desk.coordinator()
    own = desk.chain.sign(1, COUNTER, nonce=0)
    following = desk.chain.sign(1, COUNTER, nonce=1)
    bump = desk.chain.sign(0, COUNTER, kind=4, authorizations=[(1, COUNTER, 0)])
    desk.open_block()
    desk.submit(coordinator, bump)
    desk.submit(coordinator, own, following)
    results = desk.pump(coordinator)
    assert of_kind(results, Dropped) == []
    block = desk.seal()
    assert block.envelopes == (bump, following)
    assert len(coordinator.pool) == 0


# The door


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nonce": 64}, Reason.NONCE_FAR),
        ({"gas": 2**24 + 1}, Reason.GAS_LIMIT),
        ({"gas": 20_999}, Reason.GAS_LIMIT),
        ({"data": b"\x01" * (1 << 17), "gas": 10**7}, Reason.TOO_LARGE),
        ({"value": 1001 * ETHER}, Reason.BALANCE),
        ({"tip": 10**12}, Reason.FEES),
        ({"max_fee": 2**127}, Reason.FEES),
        ({"chain_id": CHAIN_ID + 1}, Reason.MALFORMED),
    ],
)
def test_the_door_says_why(desk: Desk, changes: dict[str, int], reason: Reason) -> None:
    coordinator = desk.coordinator()
    raw = desk.chain.sign(0, COUNTER, **changes)  # type: ignore[arg-type]
    (refused,) = coordinator.handle(Submit((raw,)))
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.txid) == (reason, keccak256(raw))
    assert refused.detail
    assert len(coordinator.pool) == 0


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x4d", b"\x02\xc0", b"\xff" * 300, b"\x02" * (MAX_ENVELOPE_BYTES + 1)])
def test_the_door_survives_any_bytes(desk: Desk, raw: bytes) -> None:
    (refused,) = desk.coordinator().handle(Submit((raw,)))
    assert isinstance(refused, Refused)
    assert refused.reason in (Reason.MALFORMED, Reason.TOO_LARGE)


def test_no_pool_takes_an_envelope_that_no_block_may_hold(desk: Desk) -> None:
    door = Door(desk.chain.config, Limits(envelope_bytes=2**20))
    raw = desk.chain.sign(0, COUNTER, data=bytes(MAX_SIGNED_BYTES), gas=10**7)
    (refused,) = door.read([raw], Terms(1, Fork.PRAGUE, 30_000_000))
    assert isinstance(refused, tuple)
    assert refused[1].reason == Reason.TOO_LARGE
    assert str(MAX_SIGNED_BYTES) in refused[1].detail


def test_the_same_again_and_a_used_nonce(desk: Desk) -> None:
    coordinator = desk.coordinator()
    raw, rival = desk.chain.sign(0, COUNTER), desk.chain.sign(0, COUNTER, nonce=0, tip=7)
    desk.open_block()
    desk.submit(coordinator, raw)
    (refused,) = desk.submit(coordinator, raw)
    assert refused.reason == Reason.KNOWN  # type: ignore[union-attr]
    desk.pump(coordinator)
    desk.seal()
    (refused,) = desk.submit(coordinator, rival)
    assert refused.reason == Reason.NONCE_USED  # type: ignore[union-attr]


def test_a_replacement(desk: Desk) -> None:
    coordinator = desk.coordinator()
    raw = desk.chain.sign(0, COUNTER)
    rival = desk.chain.sign(0, COUNTER, nonce=0, tip=2 * 10**6, max_fee=12 * BASE_FEE)
    desk.submit(coordinator, raw)
    results = desk.submit(coordinator, rival)
    (dropped,) = of_kind(results, Dropped)
    assert (dropped.reason, dropped.txid, dropped.winner) == (Reason.REPLACED, keccak256(raw), keccak256(rival))
    assert kept_after(results, {1: raw}) == {2: rival}
    desk.open_block()
    desk.pump(coordinator)
    assert desk.seal().envelopes == (rival,)


def test_a_pool_forgets_what_waits_too_long(desk: Desk) -> None:
    coordinator = desk.coordinator(limits=Limits(blocks=2))
    gap = desk.chain.sign(0, COUNTER, nonce=3)
    desk.submit(coordinator, gap)
    for expected in (1, 1, 0):
        desk.open_block()
        assert len(coordinator.pool) == expected
        desk.seal()


def test_the_one_who_pays_more_goes_first(desk: Desk) -> None:
    from manaflow.coordinator.policy import PriorityFee

    coordinator = desk.coordinator(policy=PriorityFee())
    raws = [desk.chain.sign(i, COUNTER, tip=10**6 * (1 + (i * 3) % 5)) for i in range(5)]
    desk.open_block()
    desk.submit(coordinator, *raws)
    desk.pump(coordinator)
    tips = [10**6 * (1 + (raws.index(raw) * 3) % 5) for raw in desk.seal().envelopes]
    assert tips == sorted(tips, reverse=True)
