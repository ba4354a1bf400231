"""The chain as its thread sees it: when blocks open and are sealed, what is on disk when, who is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.filling import Filling
from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.messages import Accepted, Reason, Refused
from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.errors import Failure, StorageFailure, Verdict
from manaflow.moves.batch import EMPTY_BATCH
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Mark
from manaflow.node.chain import SealedBlock
from manaflow.node.development import ETHER, development_genesis
from manaflow.node.errors import RpcError
from manaflow.node.mending import BegunAnew
from manaflow.node.opening import WAITING
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.validator_role import Instantly, Interval, OnDemand, Sealing, Surroundings, ValidatorRole
from manaflow.validator.admission import OpenBlock
from manaflow.validator.validator import Validator
from tests.node.processes import rich, transfer

PAID = b"\x97" * 20
START = 1_700_000_000


@dataclass
class Heard:
    """Events, in order."""

    items: list[tuple[str, Any]] = field(default_factory=list)

    def sealed(self, block: SealedBlock) -> None:
        self.items.append(("sealed", block))

    def undone(self, block: SealedBlock) -> None:
        self.items.append(("undone", block))

    def accepted(self, txid: bytes, envelope: bytes) -> None:
        self.items.append(("accepted", txid))

    def notice(self, kind: str, item: Mapping[str, Any]) -> None:
        self.items.append((kind, item["txid"]))

    def take(self) -> list[str]:
        """Kinds since the last time."""
        kinds, self.items = [kind for kind, _ in self.items], []
        return kinds


@dataclass
class Bench:
    """A node's chain in a folder, with hands on its clock."""

    path: Path
    sealing: Callable[[float], Sealing]
    takes_transactions: bool = True
    seconds: float = START + 10.0
    heard: Heard = field(default_factory=Heard)

    def __post_init__(self) -> None:
        genesis = development_genesis(
            rich()[:4], chain_id=31337, balance=100 * ETHER, gas_limit=30_000_000, base_fee=10**9, timestamp=START
        )
        state = self.path / "validator"
        if not state.exists():
            Validator.create(state, genesis, threads=1).close()
        self.validator = Validator.open(state, mode="execute", threads=1)
        self.latest = LatestIndex.open(self.path / "latest", waiting=WAITING)
        around = Surroundings(lambda: self.seconds, lambda: ZERO32, coinbase=b"\xc0" * 20)
        self.chain = OwnedChain(
            self.validator,
            self.latest,
            self.heard,
            None,
            producer=lambda follower: ValidatorRole(self.validator, self.latest, follower, DEVELOPMENT_KEY, around),
            sealing=self.sealing(self.seconds),
            clock=lambda: self.seconds,
            takes_transactions=self.takes_transactions,
        )
        self.rest()

    def rest(self) -> None:
        """Until it wants nothing any more."""
        while self.chain.wait() == 0.0:
            self.chain.settle()

    def crash(self) -> Bench:
        """As after kill -9: nothing is closed well. A new one over the same files."""
        self.latest._waiting.clear()
        self.latest.close()
        self.validator.close()
        return Bench(self.path, self.sealing, self.takes_transactions, self.seconds)

    @property
    def height(self) -> int:
        return self.chain.head[0].number

    def paid(self) -> int:
        return int.from_bytes(self.chain.view().cell((Mark.BALANCE, PAID, ZERO32)).value, "big")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(sealing: Callable[[float], Sealing] = lambda now: Instantly(), **options: Any) -> Bench:
        made.append(Bench(tmp_path / str(len(made)), sealing, **options))
        return made[-1]

    yield make
    for one in made:
        one.latest.close()
        one.validator.close()


def on_demand(now: float) -> Sealing:
    return OnDemand()


def test_instantly_one_block_holds_what_came_together(bench: Callable[..., Bench]) -> None:
    desk = bench()
    desk.heard.take()
    sent = [transfer(i, n, PAID) for i in range(3) for n in range(2)]
    results = desk.chain.submit([*sent, sent[0], b"\x02nonsense"])
    assert [isinstance(result, Accepted) for result in results] == [True] * 6 + [False] * 2
    assert [r.reason for r in results if isinstance(r, Refused)] == [Reason.KNOWN, Reason.MALFORMED]
    assert (desk.height, desk.paid()) == (1, 6), "sealed when the answer leaves"
    assert desk.latest.kept() == (), "and never in the pool's files"
    assert desk.heard.take() == ["accepted"] * 6 + ["admitted"] * 6 + ["sealed"]
    found = desk.chain.sealed(1)
    assert found is not None
    assert len(found.receipts) == 6
    assert desk.chain.sealed(found.block.hash) is found
    assert desk.chain.place(keccak256(sent[3])) == (1, found.first_signed + 3)


def test_a_full_block_is_followed_by_the_next(bench: Callable[..., Bench]) -> None:
    desk = bench()
    sent = [transfer(i, n, PAID, data=b"\1" * 8_000) for i in range(4) for n in range(30)]
    assert all(isinstance(result, Accepted) for result in desk.chain.submit(sent))
    assert desk.height == 1
    kept = len(desk.latest.kept())
    assert 0 < kept < len(sent), "what the first block has no room for is on disk"
    desk.rest()
    assert desk.height > 1
    assert desk.paid() == len(sent)


def test_timestamps_are_those_of_sealing_not_of_opening(bench: Callable[..., Bench]) -> None:
    desk = bench()
    desk.chain.view(pending=True)
    desk.seconds += 1_000
    desk.chain.submit([transfer(0, 0)])
    assert desk.chain.head[0].timestamp == START + 1_010
    desk.chain.submit([transfer(0, 1)])
    assert desk.chain.head[0].timestamp == START + 1_011, "each later than the one before"


def test_on_demand_nothing_is_sealed_by_itself(bench: Callable[..., Bench]) -> None:
    desk = bench(on_demand)
    sent = [transfer(0, n, PAID) for n in range(3)]
    desk.chain.submit(sent)
    desk.rest()
    assert (desk.height, desk.chain.wait()) == (0, None)
    assert desk.chain.next_nonce(rich()[0].address) == 3
    assert desk.chain.pending(keccak256(sent[1])) == sent[1]
    pending = desk.chain.view(pending=True)
    assert int.from_bytes(pending.cell((Mark.BALANCE, PAID, ZERO32)).value, "big") == 3
    assert (desk.paid(), pending.header.number) == (0, 1)
    assert [raw for _, raw in desk.latest.kept()] == sent
    block = desk.chain.seal()
    desk.chain.settle()
    assert block.envelopes == tuple(sent)
    assert desk.paid() == 3
    assert len(desk.chain.seal().envelopes) == 0, "an empty one, when asked"


def test_at_an_interval_empty_blocks_too(bench: Callable[..., Bench]) -> None:
    desk = bench(lambda now: Interval(2.0, now))
    assert desk.chain.wait() == 2.0
    desk.chain.submit([transfer(0, 0, PAID)])
    assert desk.height == 0
    for seconds, height in ((1.5, 0), (0.5, 1), (1.9, 1), (0.2, 2), (9.0, 3), (0.1, 3), (1.9, 4)):
        desk.seconds += seconds
        desk.chain.settle()
        assert desk.height == height
        desk.rest()
    assert desk.paid() == 1


def test_what_was_answered_survives_a_crash(bench: Callable[..., Bench]) -> None:
    desk = bench(on_demand)
    sent = [transfer(0, n, PAID) for n in range(3)] + [transfer(1, 5, PAID)]
    desk.chain.submit(sent)
    again = desk.crash()
    assert again.chain.next_nonce(rich()[0].address) == 3
    again.chain.seal()
    again.chain.settle()
    assert again.paid() == 3
    assert len(again.latest.kept()) == 4, "what may be forgotten waits"
    third = again.crash()
    assert [entry.nonce for entry in third.chain.coordinator.core.pool] == [5]
    assert third.heard.take() == [], "nobody is told of what was sealed before"
    third.chain.close()
    assert len(LatestIndex.open(third.path / "latest").kept()) == 1


def test_another_process_is_told_only_of_what_is_on_disk(bench: Callable[..., Bench]) -> None:
    filled = bench(on_demand)
    desk = bench(on_demand)
    opened = desk.chain.open_block()
    batches: list[Any] = []

    class Link:
        def send(self, send: Any, at: bytes) -> None:
            batches.append(send.batch)

    desk.chain.submit([transfer(3, 0, PAID)])
    filled.chain.coordinator._link = Link()
    filled.chain.coordinator.tell(opened)
    filled.chain.submit([transfer(0, 0, PAID), transfer(0, 1, PAID)])
    opened = desk.chain.open_block()
    with pytest.raises(Failure, match="another block is open"):
        desk.chain.admit(batches[0], 0, b"\1" * 32)
    reply = desk.chain.admit(batches[0], 0, opened.header.hash)
    assert [None if verdict is None else verdict.rule.name for verdict in reply.verdicts] == ["V4", "V1"]
    reply = desk.chain.admit(EMPTY_BATCH, 0)
    assert reply.sequence == 1
    desk.chain.settle()
    again = desk.crash()
    assert again.chain.producer is not None
    assert again.chain.producer.admitted == 1, "others were told of it"


def test_a_batch_that_is_none_breaks_nothing(bench: Callable[..., Bench]) -> None:
    desk = bench(on_demand)
    broken = replace(EMPTY_BATCH, envelopes=(b"\1",))
    with pytest.raises(Verdict):
        desk.chain.admit(broken, 0)
    desk.chain.submit([transfer(0, 0, PAID)])
    desk.chain.seal()
    assert desk.paid() == 1


def test_a_convicted_block_is_taken_back_and_nothing_is_signed_twice(bench: Callable[..., Bench]) -> None:
    desk = bench()
    desk.chain.submit([transfer(0, 0, PAID)])
    desk.chain.submit([transfer(0, 1, PAID)])
    hashes = [desk.chain.head[1]]
    desk.heard.take()
    desk.chain.change(lambda: desk.validator.convict(hashes[0], b"proof"))
    desk.chain.settle()
    assert (desk.height, desk.paid()) == (1, 1)
    assert desk.heard.take() == ["undone"]
    assert desk.chain.sealed(2) is None
    assert desk.chain.sealed(hashes[0]) is None
    desk.chain.submit([transfer(1, 0, PAID)])
    assert desk.chain.view(pending=True).header.number == 1
    for asked in (desk.chain.seal, desk.chain.open_block):
        with pytest.raises(Failure, match="another one must go on"):
            asked()
    desk.rest()
    assert desk.height == 1
    assert desk.chain.broken is None


def test_what_was_undone_waits_again_where_the_process_dies_at_once(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = bench()
    for nonce in range(2):
        desk.chain.submit([transfer(0, nonce, PAID)])
    lie = desk.chain.head[1]

    def die() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(desk.chain, "_follow", die)
    with pytest.raises(KeyboardInterrupt):
        desk.chain.change(lambda: desk.validator.convict(lie, b"proof"))
    again = desk.crash()
    assert (again.height, again.paid()) == (1, 1)
    assert again.chain.pending(keccak256(transfer(0, 1, PAID))) == transfer(0, 1, PAID)
    again = again.crash()
    assert again.chain.next_nonce(rich()[0].address) == 2, "it is in the pool on disk"


def test_a_node_that_coordinates_nothing(bench: Callable[..., Bench]) -> None:
    desk = bench(on_demand, takes_transactions=False)
    with pytest.raises(RpcError, match="coordinates nothing"):
        desk.chain.submit([transfer(0, 0)])
    desk.chain.seal()
    assert desk.height == 1


def test_a_chain_whose_disk_fails_is_broken(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    desk = bench(on_demand)

    def fail(*_: object) -> None:
        raise StorageFailure("the disk is full")

    monkeypatch.setattr(desk.latest, "keep", fail)
    with pytest.raises(StorageFailure):
        desk.chain.submit([transfer(0, 0)])
    assert isinstance(desk.chain.broken, StorageFailure)
    assert "accepted" not in desk.heard.take()
    with pytest.raises(Failure, match="has failed"):
        desk.chain.submit([transfer(0, 1)])


def test_what_others_have_in_the_open_block_is_pending_too(bench: Callable[..., Bench]) -> None:
    desk = bench(on_demand)
    sent = [transfer(0, n, PAID) for n in range(2)]
    desk.chain.submit(sent)
    desk.chain.coordinator.core.pool.remove(keccak256(sent[1]))
    assert desk.chain.pending(keccak256(sent[1])) == sent[1]
    assert desk.chain.pending(keccak256(transfer(0, 2))) is None


def failing_once(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, error: Exception, times: int = 1) -> None:
    """Let a method fail halfway so many times."""
    works, left = getattr(owner, name), [times]

    def fail(*args: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise error
        return works(*args, **options)

    monkeypatch.setattr(owner, name, fail)


@pytest.mark.parametrize("error", [Failure("internal error"), IndexError("none")])
def test_a_strangers_batch_that_fails_is_answered_and_ends_nothing(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    desk = bench(on_demand)
    sent = [transfer(i, 0, PAID) for i in range(3)]
    desk.chain.submit(sent[:1])
    opened = desk.chain.open_block()
    desk.chain.settle()  # others know what is in it: it is on disk
    desk.chain.submit(sent[1:2])
    for _ in range(2):
        failing_once(monkeypatch, OpenBlock, "_admit_in_order", error)
        with pytest.raises(BegunAnew):
            desk.chain.admit(EMPTY_BATCH, 0, opened.header.hash)
        assert desk.chain.broken is None
        assert desk.chain.open_block().header == opened.header, "as the disk has it"
    desk.chain.settle()
    assert desk.chain.admit(EMPTY_BATCH, 0, opened.header.hash).sequence == 2, "filled again"
    desk.chain.submit(sent[2:])
    assert set(desk.chain.seal().envelopes) == set(sent)
    desk.chain.settle()
    assert desk.paid() == 3


def test_a_failing_coordinator_is_made_anew_once(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    desk = bench(on_demand)
    sent = [transfer(i, 0, PAID) for i in range(3)]
    desk.chain.submit(sent[:1])
    desk.heard.take()
    for name in ("fill", "place"):
        for _ in range(2):
            failing_once(monkeypatch, Filling, name, Failure("internal error"))
            with pytest.raises(BegunAnew):
                desk.chain.submit(sent[1:2])
            assert desk.chain.broken is None
            assert [raw for _, raw in desk.latest.kept()] == sent[:1], "nobody was told that it is kept"
    assert "accepted" not in desk.heard.take()
    desk.chain.submit(sent[2:])
    assert set(desk.chain.seal().envelopes) == {sent[0], sent[2]}
    failing_once(monkeypatch, Filling, "fill", Failure("internal error"), times=2)
    with pytest.raises(Failure):
        desk.chain.submit([transfer(3, 0), transfer(0, 1)])
    assert desk.chain.broken is None, "what failed is gone: there was nothing to fill"
    desk.chain.submit([transfer(3, 1)])  # waits for a nonce, on disk
    failing_once(monkeypatch, Coordinator, "_restore", Failure("internal error"))
    failing_once(monkeypatch, Coordinator, "_submit", Failure("internal error"))
    with pytest.raises(Failure):
        desk.chain.submit([transfer(3, 0)])
    assert desk.chain.broken is not None


def test_a_block_that_is_followed_while_the_coordinator_fails(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = bench()
    failing_once(monkeypatch, Coordinator, "_sealed", Failure("internal error"))
    with pytest.raises(BegunAnew):
        desk.chain.submit([transfer(0, 0, PAID)])
    desk.heard.take()
    desk.rest()
    assert desk.heard.take() == ["sealed"], "it is, and listeners learn of it"
    desk.chain.submit([transfer(0, 1, PAID)])
    assert (desk.height, desk.paid()) == (2, 2)


@pytest.mark.parametrize("makes", [Instantly, OnDemand])
def test_reads_go_on_when_ones_own_block_is_undone(bench: Callable[..., Bench], makes: Callable[[], Sealing]) -> None:
    desk = bench(lambda now: makes())
    for nonce in range(2):
        desk.chain.submit([transfer(0, nonce, PAID)])
        if makes is OnDemand:
            desk.chain.seal()
    desk.chain.settle()
    desk.chain.view(pending=True)
    desk.chain.change(desk.validator.undo_block)
    desk.chain.settle()
    desk.rest()
    assert (desk.height, desk.paid()) == (1, 1)
    assert desk.chain.next_nonce(rich()[0].address) == 1 + 1
    desk.chain.submit([transfer(1, 0, PAID)])
    assert desk.chain.view(pending=True).header.number == 1
    assert desk.chain.broken is None
    again = desk.crash()
    assert (again.height, again.paid(), again.chain.broken) == (1, 1, None)


def test_code_that_another_coordinator_has_made_is_called_in_the_same_block(bench: Callable[..., Bench]) -> None:
    other, desk = bench(on_demand), bench(on_demand)
    opened, batches = desk.chain.open_block(), list[Any]()

    class Link:
        def send(self, send: Any, at: bytes) -> None:
            batches.append(send.batch)

    other.chain.coordinator._link = Link()
    other.chain.coordinator.tell(opened)
    runtime = bytes.fromhex("602a5f5260205ff3")  # returns 42
    initcode = b"\x60\x08\x80\x60\x09\x3d\x39\x3d\xf3" + runtime
    other.chain.submit([transfer(0, 0, b"", 0, data=initcode, gas=100_000)])
    assert batches[0].codes == (runtime,)
    assert desk.chain.admit(batches[0], 0, opened.header.hash).verdicts == (None,)
    address = keccak256(b"\xd6\x94" + rich()[0].address + b"\x80")[12:]
    desk.chain.submit([transfer(1, 0, address, 0, gas=50_000)])
    assert len(desk.chain.admitted()) == 2, "not only once the block is sealed"
    view = desk.chain.view(pending=True)
    assert view.code(keccak256(runtime)) == runtime
    desk.chain.seal()
    desk.chain.settle()
    found = desk.chain.sealed(1)
    assert found is not None
    assert [receipt.status for receipt in found.receipts] == [1, 1]
