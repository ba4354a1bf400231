"""A whole small node for tests: a validator with an open block, a latest index, coordinators, and one producer.

What `producer` does in a node is done here by hand, on the real admission.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from manaflow._native import Codes, World
from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.following import Follower
from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.messages import (
    Fill,
    Forget,
    Keep,
    Learnt,
    Message,
    Opened,
    Replied,
    Result,
    Send,
    Submit,
    Undone,
)
from manaflow.coordinator.naming import Rows
from manaflow.coordinator.seal import Body, seal
from manaflow.coordinator.view import key_rows, names_of
from manaflow.evm.environment import SYSTEM_ADDRESS, environment_of, system_call
from manaflow.evm.native import fill_steps
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.batch import Batch, Reply
from manaflow.moves.block import Block
from manaflow.moves.columns import Moves
from manaflow.moves.header import Header
from manaflow.moves.leaf import SystemKind, system_txid
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask
from manaflow.moves.transactions import Flag, NamedMove
from manaflow.moves.trees import leaf_hash
from manaflow.rules.system import EMPTY_LOGS_HASH, expected_system_leaves
from manaflow.validator.admission import OpenBlock
from manaflow.validator.validator import Validator
from tests.declared import declared_envelope, masked
from tests.manaflow_chain import CHAIN_ID, COINBASE, Producer


@dataclass
class Desk:
    """See the module. `chain` signs envelopes and knows what the next header is."""

    path: Path
    chain: Producer
    coordinators: list[Coordinator] = field(default_factory=list)
    kept: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.validator = Validator.create(self.path / "validator", self.chain.genesis, mode="execute", threads=1)
        self.latest = LatestIndex.open(self.path / "latest")
        self.follower = Follower(self.validator, self.latest)
        list(self.follower.catch_up())
        self.open: OpenBlock | None = None

    def close(self) -> None:
        self.latest.close()
        self.validator.close()

    def coordinator(self, **options: Any) -> Coordinator:
        """A new one, told of what is open."""
        made = Coordinator(self.chain.config, self.validator.head[0], self.latest, self.validator.code, **options)
        self.coordinators.append(made)
        if self.open is not None:
            made.handle(self.opened_message())
        return made

    def open_block(self) -> None:
        """The producer opens the next block, and everybody hears of it."""
        header = self.chain.filler.open(self.chain.inputs())
        self.open = OpenBlock.begin(self.validator, header, self._opening(header))
        self.tell(self.opened_message())

    def opened_message(self) -> Opened:
        assert self.open is not None
        reply = self.open.admit(empty_batch(), 0)
        return Opened(self.open.header, self.follower.block_hashes(self.open.header), reply.sequence, reply.cells)

    def tell(self, message: Message) -> None:
        for coordinator in self.coordinators:
            coordinator.handle(message)

    def admit(self, send: Send) -> Reply:
        assert self.open is not None
        return self.open.admit(send.batch, send.since)

    def submit(self, coordinator: Coordinator, *envelopes: bytes) -> list[Result]:
        return coordinator.handle(Submit(envelopes))

    def pump(self, coordinator: Coordinator, limit: int = 1000, *, learns: bool = True) -> list[Result]:
        """Fill and admit until there is no more to do."""
        results: list[Result] = []
        if self.open is not None and learns:
            results += coordinator.handle(Learnt(self.open.admit(empty_batch(), coordinator.sequence)))
        while coordinator.has_work:
            answer = coordinator.handle(Fill(limit))
            results += answer
            for send in (result for result in answer if isinstance(result, Send)):
                results += coordinator.handle(Replied(send.id, self.admit(send)))
        return results

    def seal(self) -> Block:
        """Seal what is open, import it, follow it."""
        assert self.open is not None
        block = seal(self.open.header, self._body(self.open), self.chain.filler.key, NATIVE)
        self.validator.import_block(block)
        self.open = None
        self.chain.filler.follow(block)
        self.chain.filler.latest.next_number = block.header.first_cell + block.header.cells
        for message in self.follower.catch_up():
            self.tell(message)
        return block

    def undo(self) -> Block:
        """The head is taken back."""
        self.validator.undo_block()
        self.open = None
        (message,) = self.follower.catch_up()
        assert isinstance(message, Undone)
        header = self.validator.head[0]
        filler = self.chain.filler
        filler.head = header
        filler.latest.next_number = header.first_cell + header.cells
        filler.history = next(self._frontiers(header.number))
        filler.history.append(leaf_hash(header.hash))
        filler.block_hashes = {n: h for n, h in filler.block_hashes.items() if n <= header.number}
        self.tell(message)
        return message.block

    def _frontiers(self, number: int) -> Any:
        with self.validator.archive() as archive:
            record = archive.canonical(number)
            assert record is not None
            yield record.frontier(0)

    def _opening(self, header: Header) -> Batch:
        ((kind, _),) = expected_system_leaves(self.chain.config, header, ())[0]
        call, world = system_call(kind, header), World(self.latest.source, self.validator.code)
        environment = environment_of(header, self.chain.config)
        hashes = self.follower.block_hashes(header)
        filled = fill_steps(world, environment, [(call.to, call.data)], [SYSTEM_ADDRESS], hashes, Codes())
        rows = Rows.of(filled)
        keys = key_rows(rows.mark, rows.addr, rows.slot)
        number, intx = names_of([self.latest.record(key) or bytes(72) for key in keys])
        mask = np.where(np.arange(len(keys)) < rows.consumes[0], UNSIGNED, UNSIGNED | Mask.REFERENCE).astype(np.uint8)
        return Batch(
            (b"",), rows.consumes, rows.references, np.ones(1, np.uint8), np.zeros(1, np.uint64),
            np.frombuffer(EMPTY_LOGS_HASH, np.uint8).reshape(1, 32),
            Moves(mask, rows.mark, number, rows.addr, rows.slot, rows.prev, rows.next), intx, (),
        )  # fmt: skip

    def _body(self, opened: OpenBlock) -> Body:
        """Everything admitted, and the closing fees."""
        parts = opened.admitted()
        fees = [wei for part in parts for wei in part.fees]
        columns = [part.batch for part in parts]
        moves = [part.batch.moves for part in parts]
        txids = [part.txid for part in parts]
        logs = [batch.logs_hash for batch in columns]
        counts = {
            name: [getattr(b, name) for b in columns] for name in ("consumes", "references", "status", "gas_used")
        }
        blob_gas = [part.blob_gas for part in parts]
        if sum(fees):
            location = (Mark.BALANCE, COINBASE, ZERO32)
            found = opened.cell(location)
            live = self.latest.cell(location)
            number, before = (live.number, live.value) if found is None else (found[0], found[2])
            after = (int.from_bytes(before, "big") + sum(fees)).to_bytes(32, "big")
            row = [np.frombuffer(part, np.uint8).reshape(1, -1) for part in (COINBASE, ZERO32, before, after)]
            one = np.array([UNSIGNED], np.uint8), np.array([Mark.BALANCE], np.uint8), np.array([number], np.uint64)
            moves.append(Moves(*one, *row))
            txid = system_txid(SystemKind.FEES, self.chain.config.chain_id, opened.header.number)
            txids.append(np.frombuffer(txid, np.uint8).reshape(1, 32))
            logs.append(np.frombuffer(EMPTY_LOGS_HASH, np.uint8).reshape(1, 32))
            for name, value, dtype in (
                ("consumes", 1, np.uint32), ("references", 0, np.uint32), ("status", 1, np.uint8),
                ("gas_used", 0, np.uint64),
            ):  # fmt: skip
                counts[name].append(np.array([value], dtype))
            blob_gas.append(np.zeros(1, np.uint64))
            fees.append(0)
        join = np.concatenate
        fields = ("mask", "mark", "number", "addr", "slot", "prev", "next")
        return Body(
            txid=join(txids), consumes=join(counts["consumes"]), references=join(counts["references"]),
            status=join(counts["status"]), gas_used=join(counts["gas_used"]), blob_gas=join(blob_gas),
            logs_hash=join(logs), moves=Moves(*(join([getattr(m, name) for m in moves]) for name in fields)),
            envelopes=tuple(raw for batch in columns for raw in batch.envelopes if raw),
            codes=list(opened.codes.values()), withdrawals=(), fees=fees,
        )  # fmt: skip

    def declare(
        self,
        sender: int,
        to: bytes,
        masks: Callable[[NamedMove], int],
        *,
        value: int = 0,
        data: bytes = b"",
        flags: int = 0,
        valid_until: int = 0,
        guards: Sequence[NamedMove] = (),
        nonce: int | None = None,
    ) -> bytes:
        """A declared envelope over what the call does on the latest index now; `masks`: what its signer leaves out."""
        nonce = self.chain.nonces[sender] if nonce is None else nonce
        self.chain.nonces[sender] = nonce + 1
        key = self.chain.keys[sender]
        call: dict[str, Any] = {
            "chain_id": CHAIN_ID, "nonce": nonce, "max_priority_fee": 10**10, "max_fee": 10**10, "gas_limit": 200_000,
            "to": to, "value": value, "data": data, "access_list": (), "valid_until": valid_until,
        }  # fmt: skip
        plain = declared_envelope((), key, flags=int(Flag.OPEN), **call)
        header = self.chain.filler.open(self.chain.inputs())
        world = World(self.latest.source, self.validator.code)
        number = nonce.to_bytes(32, "big")
        world.load(bytes([Mark.NONCE]), self.chain.addresses[sender], ZERO32, number)
        filled = fill_steps(
            world, environment_of(header, self.chain.config), [plain], [self.chain.addresses[sender]], {}, Codes()
        )
        rows = Rows.of(filled)
        forms = [*guards]
        for i, location in enumerate(zip(rows.mark, rows.addr, rows.slot, strict=True)):
            mark, addr, slot = int(location[0]), location[1].tobytes(), location[2].tobytes()
            is_reference = i >= rows.consumes[0]
            intx = self.latest.cell((mark, addr, slot)).intx
            prev, after = rows.prev[i].tobytes(), rows.next[i].tobytes()
            move = NamedMove(Mask.REFERENCE if is_reference else 0, mark, intx, addr, slot, prev, after)
            mask = masks(move)
            if mask & UNSIGNED != UNSIGNED:
                forms.append(masked(replace(move, mask=int(mask) | (move.mask & Mask.REFERENCE))))
        return declared_envelope(tuple(forms), key, flags=flags, **call)

    def balances(self) -> int:
        """Wei of all accounts that a test knows, in the latest index."""
        known = [*self.chain.addresses, COINBASE]
        return sum(int.from_bytes(self.latest.cell((Mark.BALANCE, addr, ZERO32)).value, "big") for addr in known)


def empty_batch() -> Batch:
    zeros = np.zeros
    return Batch(
        (), zeros(0, np.uint32), zeros(0, np.uint32), zeros(0, np.uint8), zeros(0, np.uint64), zeros((0, 32), np.uint8),
        Moves.empty(), zeros((0, 32), np.uint8), (),
    )  # fmt: skip


def of_kind(results: Sequence[Result], kind: type) -> list[Any]:
    return [result for result in results if isinstance(result, kind)]


def kept_after(results: Sequence[Result], before: dict[int, bytes]) -> dict[int, bytes]:
    """What the disk would hold."""
    kept = dict(before)
    for result in results:
        if isinstance(result, Keep):
            kept[result.arrival] = result.envelope
        elif isinstance(result, Forget):
            kept.pop(result.arrival, None)
    return kept
