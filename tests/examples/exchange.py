"""The example's market over the pure cores: one validator with its producer, two coordinators, traders, and a seed.

Everything that several processes and a network would do is a step that the seed picks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from examples.amm.market import approval, genesis, reserves
from examples.amm.traders import Trader
from manaflow.coordinator.allocation import allocation_of
from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.following import Follower
from manaflow.coordinator.genesis import manaflow_config, new_chain
from manaflow.coordinator.latest_index import LatestIndex, key_of
from manaflow.coordinator.messages import (
    Accepted,
    Admitted,
    Dropped,
    Fill,
    Included,
    Learnt,
    Message,
    Notice,
    Opened,
    Replied,
    Result,
    Send,
    Submit,
)
from manaflow.coordinator.producer import Producer
from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.coordinator.replay import address_of as producer_of
from manaflow.evm.executor import Environment
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.batch import EMPTY_BATCH, Reply
from manaflow.moves.block import Block
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import Location
from manaflow.validator.validator import Validator
from manaflow.wallet.declare import Wish, declare
from manaflow.wallet.intents import Intent, Policy
from manaflow.wallet.keys import sign
from manaflow.wallet.source import Cell, Snapshot

CHAIN_ID = 7_779
COINBASE = b"\xc0" * 20


class Seen:
    """What a coordinator tells a wallet of the state: a `CellSource`."""

    def __init__(self, coordinator: Coordinator, code_of: Callable[[bytes], bytes | None]) -> None:
        self._coordinator, self._code_of = coordinator, code_of

    @property
    def environment(self) -> Environment:
        block = self._coordinator.filling.block
        assert block is not None
        return block.environment

    def cell(self, location: Location) -> Cell:
        record = self._coordinator.view.record(key_of(location))
        return Cell(record[8:40], record[40:], int.from_bytes(record[:8], "big"))

    def code(self, address: bytes, code_hash: bytes) -> bytes:
        found = self._code_of(code_hash)
        assert found is not None
        return found

    def block_hash(self, number: int) -> bytes:
        raise NotImplementedError


@dataclass
class Pending:
    """A transaction that was sent and has not landed."""

    trader: Trader | None
    """None: an approval."""
    envelope: bytes


@dataclass
class Exchange:
    """See the module. `notices` and `dropped` are all that signers were told."""

    path: Path
    traders: Sequence[Trader]
    seed: int
    per_block: int = 50
    """Transactions after which a block is sealed."""
    notices: list[tuple[Trader, Notice]] = field(default_factory=list)
    dropped: list[tuple[Trader, Dropped]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    most_batch: int = 8

    def __post_init__(self) -> None:
        config = manaflow_config(CHAIN_ID, [producer_of(DEVELOPMENT_KEY)])
        alloc = allocation_of(genesis(trader.address for trader in self.traders))
        self.genesis = new_chain(config, alloc, NATIVE, timestamp=1_000, gas_limit=30_000_000, base_fee=10**9)
        self.validator = Validator.create(self.path / "validator", self.genesis, mode="execute", threads=1)
        self.latest = LatestIndex.open(self.path / "latest")
        self.follower = Follower(self.validator, self.latest)
        list(self.follower.catch_up())
        self.producer = Producer(self.validator, self.latest, DEVELOPMENT_KEY)
        head = self.validator.head[0]
        self.coordinators = [Coordinator(config, head, self.latest, self.validator.code) for _ in range(2)]
        self.chance = random.Random(self.seed)
        self.sends: list[tuple[Coordinator, Send]] = []
        self.replies: list[tuple[Coordinator, int, Reply]] = []
        self.pending: dict[bytes, Pending] = {}
        self.eager: list[Trader] = []
        self.open()

    def close(self) -> None:
        self.latest.close()
        self.validator.close()

    # Blocks

    def open(self) -> None:
        header = self.producer.open(timestamp=self.validator.head[0].timestamp + 2, coinbase=COINBASE)
        reply = self.producer.admit(EMPTY_BATCH)
        hashes = self.follower.block_hashes(header)
        for coordinator in self.coordinators:
            self.tell(coordinator, Opened(header, hashes, reply.sequence, reply.cells))

    def seal(self) -> None:
        """What is on its way then is lost, as on a real network."""
        self.sends.clear()
        self.replies.clear()
        self.blocks.append(self.producer.seal())
        for message in self.follower.catch_up():
            for coordinator in self.coordinators:
                self.tell(coordinator, message)
        self.open()

    # Traders

    def sign_swap(self, coordinator: Coordinator, trader: Trader) -> bytes:
        seen = Seen(coordinator, self.validator.code)
        wish = trader.wish(reserves(lambda location: seen.cell(location).value))
        return self.sign(coordinator, trader, wish, Policy(trader.intent))

    def sign(self, coordinator: Coordinator, trader: Trader, wish: Wish, policy: Policy) -> bytes:
        snapshot = Snapshot(Seen(coordinator, self.validator.code))
        return sign(declare(snapshot, trader.address, wish, policy).transaction, trader.account)

    def coordinator_of(self, trader: Trader) -> Coordinator:
        """Every wallet knows one, which has seen all that the trader did before."""
        return self.coordinators[self.traders.index(trader) % 2]

    def approve(self) -> None:
        """Every trader lets the pool take tokens; nobody contends for anything."""
        for trader in self.traders:
            coordinator = self.coordinator_of(trader)
            self.submit(coordinator, None, self.sign(coordinator, trader, approval(), Policy(Intent.EXACT)))
        self.until(lambda: not self.pending)

    def trade(self) -> None:
        """Every trader swaps until all swaps have landed."""
        self.eager = list(self.traders)
        self.until(lambda: all(trader.is_done for trader in self.traders))
        self.seal()

    def swap(self, trader: Trader) -> None:
        coordinator = self.coordinator_of(trader)
        self.submit(coordinator, trader, self.sign_swap(coordinator, trader))

    def submit(self, coordinator: Coordinator, trader: Trader | None, envelope: bytes) -> None:
        self.pending[keccak256(envelope)] = Pending(trader, envelope)
        results = self.tell(coordinator, Submit((envelope,)))
        assert [type(result) for result in results if not isinstance(result, Dropped)][-1] is Accepted, results

    # Steps

    def until(self, is_over: Callable[[], bool]) -> None:
        for _ in range(200_000):
            if is_over():
                return
            self.step()
        raise AssertionError("nothing moves any more")

    def step(self) -> None:
        coordinator = self.chance.choice(self.coordinators)
        match self.chance.randrange(5):
            case 0 if self.eager:
                self.swap(self.eager.pop(self.chance.randrange(len(self.eager))))
            case 4:
                self.tell(coordinator, Fill(self.chance.randint(1, self.most_batch)))
            case 1 if self.sends:
                coordinator, send = self.sends.pop(self.chance.randrange(len(self.sends)))
                self.replies.append((coordinator, send.id, self.producer.admit(send.batch, send.since)))
            case 2 if self.replies:
                coordinator, batch, reply = self.replies.pop(self.chance.randrange(len(self.replies)))
                self.tell(coordinator, Replied(batch, reply))
            case _:
                block = self.producer.block
                assert block is not None
                if block.sequence >= self.per_block:
                    self.seal()
                else:
                    self.tell(coordinator, Learnt(self.producer.admit(EMPTY_BATCH, coordinator.sequence)))

    def tell(self, coordinator: Coordinator, message: Message) -> list[Result]:
        """Give a coordinator a message, and everybody what follows from it."""
        results = coordinator.handle(message)
        for result in results:
            match result:
                case Send():
                    self.sends.append((coordinator, result))
                case Admitted(_, txids) | Included(_, txids):
                    for txid in txids:
                        self._landed(txid)
                case Notice(txid) if (trader := self.pending[txid].trader) is not None:
                    self.notices.append((trader, result))
                case Dropped(txid):
                    self._lost(txid, result)
        return results

    def _landed(self, txid: bytes) -> None:
        pending = self.pending.pop(txid, None)
        if pending is not None and pending.trader is not None:
            pending.trader.landed += 1
            if not pending.trader.is_done:
                self.eager.append(pending.trader)

    def _lost(self, txid: bytes, dropped: Dropped) -> None:
        trader = self.pending.pop(txid).trader
        assert trader is not None, dropped
        self.dropped.append((trader, dropped))
        if trader.intent is Intent.EXACT:
            self.eager.append(trader)
