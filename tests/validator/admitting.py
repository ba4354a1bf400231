"""A small world for admission: a chain of profile `manaflow` with four little contracts, and senders of batches.

A `Sender` fills as a coordinator does, natively, on its own view: what is sealed, what replies told, what it made up
itself. It forgets its speculation when told to, and knows nothing of other senders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from manaflow._native import Codes, World
from manaflow.coordinator.producer import Producer
from manaflow.coordinator.steps import bytes_column
from manaflow.errors import Verdict
from manaflow.evm.envelopes import decode_envelopes
from manaflow.evm.environment import environment_of
from manaflow.evm.native import fill_steps
from manaflow.moves.batch import Batch, Cells, Reply
from manaflow.moves.block import Block
from manaflow.moves.columns import Moves
from manaflow.moves.marks import UNSIGNED, ZERO32, Location, Mark, Mask
from manaflow.moves.wire_batch import encode_batch
from manaflow.validator.admission import OpenBlock
from manaflow.validator.room import Bounds
from manaflow.validator.store import Table
from manaflow.validator.validator import Validator
from tests.chain import word
from tests.manaflow_chain import COINBASE
from tests.manaflow_chain import Producer as Signers

TOKEN, READER, WRITER, HASHER = (bytes([0xC0 + i]) * 20 for i in (1, 2, 3, 4))
TOKEN_CODE = bytes.fromhex("6020353354818110601d5781900333555f35805490910190555f5fa0005b5f5ffd")
"""transfer(to, amount): balances at the slot that is the holder's address; logs; reverts if there is too little."""
READER_CODE = bytes.fromhex("5f35545000")
"""Reads the slot that it is asked for."""
WRITER_CODE = bytes.fromhex("6020355f355500")
"""Writes the second word to the slot that is the first."""
HASHER_CODE = bytes.fromhex("5f35405000")
"""Asks for the hash of the block that is named."""
RICH = 10**9


def holding(address: bytes) -> Location:
    """Where the token keeps an address's balance."""
    return (Mark.STORAGE, TOKEN, address.rjust(32, b"\0"))


class Named(NamedTuple):
    """A cell as a latest index names it."""

    number: int
    intx: bytes
    value: bytes


VIRGIN = Named(0, ZERO32, ZERO32)


@dataclass
class Latest:
    """The latest index as a plain dict."""

    cells: dict[Location, Named] = field(default_factory=dict)

    def apply(self, block: Block) -> None:
        offsets, first = block.leaves.move_offsets().tolist(), block.header.first_cell
        for t in range(len(block.leaves)):
            for i in range(int(block.leaves.consumes[t])):
                move = block.moves[offsets[t] + i]
                self.cells[move.location] = Named(first, block.leaves.txid[t].tobytes(), move.next)
                first += 1

    def cell(self, location: Location) -> Named:
        return self.cells.get(location, VIRGIN)

    def source(self, key: bytes) -> bytes | None:
        found = self.cells.get((key[0], key[1:21], key[21:]))
        return None if found is None else found.value


@dataclass
class Stage:
    """A validator, its latest state, and the producer over both."""

    path: Path
    accounts: int = 6
    mode: str = "execute"
    bounds: Bounds | None = None

    def __post_init__(self) -> None:
        self.signers = Signers(self.accounts, _alloc(self.accounts))
        self.config, self.addresses = self.signers.config, self.signers.addresses
        self.validator = Validator.create(self.path, self.signers.genesis, mode=self.mode, threads=1)
        self.latest = Latest()
        self.latest.apply(self.signers.genesis.block)
        self.producer = Producer(self.validator, self.latest, self.signers.filler.key, bounds=self.bounds)

    def open(self, **changes: Any) -> OpenBlock:
        head = self.validator.head[0]
        self.producer.open(**({"timestamp": head.timestamp + 12, "coinbase": COINBASE} | changes))
        assert self.producer.block is not None
        return self.producer.block

    @property
    def block(self) -> OpenBlock:
        assert self.producer.block is not None
        return self.producer.block

    def seal(self) -> Block:
        block = self.producer.seal()
        self.latest.apply(block)
        return block

    def open_again(self) -> OpenBlock:
        """The open block begun anew, empty."""
        self.producer.validator.pending.begin(self.block.header, self.block.admitted()[0].batch)
        restored = OpenBlock.restore(self.validator)
        assert restored is not None
        return restored

    def reopen(self) -> None:
        """As after a crash: everything in memory is gone."""
        self.validator.close()
        self.validator = Validator.open(self.path, mode=self.mode, threads=1)
        self.producer = Producer(self.validator, self.latest, self.signers.filler.key, bounds=self.bounds)

    def sender(self) -> Sender:
        return Sender(self)

    def transfer(self, sender: int, to: bytes, amount: int = 1, **changes: Any) -> bytes:
        """The sender's next envelope: a token transfer."""
        return self.call(sender, TOKEN, to.rjust(32, b"\0") + word(amount), **changes)

    def call(self, sender: int, to: bytes, data: bytes, **changes: Any) -> bytes:
        return self.signers.sign(sender, to, data=data, **({"gas": 120_000} | changes))

    def close(self) -> None:
        self.validator.close()


def _alloc(accounts: int) -> dict[bytes, Any]:
    holders = {address.rjust(32, b"\0"): word(RICH) for address in Signers(accounts).addresses}
    return {
        TOKEN: (0, 1, TOKEN_CODE, holders),
        READER: (0, 1, READER_CODE, {}),
        WRITER: (0, 1, WRITER_CODE, {}),
        HASHER: (0, 1, HASHER_CODE, {}),
    }


class Sender:
    """One who fills and sends batches for the open block."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.since = stage, 0
        self.told: dict[Location, Named] = {}
        """Cells of the open block, from replies."""
        self.forget()

    def forget(self) -> None:
        """Drop the speculation: the view is what is sealed and what replies told."""
        self.made: dict[Location, Named] = {}
        self.world, self.codes = World(self._source, self._code), Codes()

    def _source(self, key: bytes) -> bytes | None:
        return self.named((key[0], key[1:21], key[21:])).value

    def _code(self, code_hash: bytes) -> bytes | None:
        return self.stage.block.codes.get(code_hash) or self.stage.validator.code(code_hash)

    def named(self, location: Location) -> Named:
        """Who lives at a location, as far as this sender knows."""
        return self.made.get(location) or self.told.get(location) or self.stage.latest.cell(location)

    def fill(self, envelopes: Sequence[bytes], hashes: dict[int, bytes] | None = None) -> Batch:
        """Fill envelopes one after another, on top of what was filled before; all of them must be valid."""
        header, config = self.stage.block.header, self.stage.config
        columns = decode_envelopes(envelopes)
        senders = [row.tobytes() for row in columns.sender]
        environment = environment_of(replace(header, gas_limit=2**40), config)
        filled = fill_steps(self.world, environment, envelopes, senders, hashes or {}, self.codes)
        consumes, references = (np.frombuffer(c, np.uint32) for c in (filled.consumes, filled.references))
        marks, addrs, slots = (
            np.frombuffer(filled.marks, np.uint8),
            bytes_column(filled.addrs, 20),
            bytes_column(filled.slots, 32),
        )
        prevs, nexts = bytes_column(filled.prevs, 32), bytes_column(filled.nexts, 32)
        masks, named, row = [], [], 0
        for t in range(len(envelopes)):
            for i in range(int(consumes[t] + references[t])):
                location = (int(marks[row]), addrs[row].tobytes(), slots[row].tobytes())
                is_consume, is_hash = i < consumes[t], location[0] == Mark.BLOCKHASH
                named.append(VIRGIN if is_hash else self.named(location))
                masks.append(UNSIGNED if is_consume else UNSIGNED | Mask.REFERENCE)
                if is_consume:
                    self.made[location] = Named(0, columns.txid[t].tobytes(), nexts[row].tobytes())
                row += 1
        numbers = np.array([n.number for n in named], np.uint64)
        return Batch(
            envelopes=tuple(envelopes),
            consumes=consumes,
            references=references,
            status=np.frombuffer(filled.statuses, np.uint8),
            gas_used=np.frombuffer(filled.gas_used, np.uint64),
            logs_hash=bytes_column(filled.logs_hashes, 32),
            moves=Moves(np.array(masks, np.uint8), marks, numbers, addrs, slots, prevs, nexts),
            intx=bytes_column(b"".join(n.intx for n in named), 32),
            codes=tuple(filled.codes.values()),
        )  # fmt: skip

    def send(self, batch: Batch) -> Reply:
        """To the producer; takes over what the reply tells."""
        reply = self.stage.producer.admit(batch, self.since)
        self.learn(reply)
        return reply

    def learn(self, reply: Reply) -> None:
        cells, self.since = reply.cells, reply.sequence
        for i in range(len(cells)):
            self.told[_location(cells, i)] = Named(0, cells.intx[i].tobytes(), cells.value[i].tobytes())

    def ask(self) -> None:
        """Learn what the open block holds."""
        self.send(self.fill([]))
        self.forget()


def _location(cells: Cells, i: int) -> Location:
    return int(cells.mark[i]), cells.addr[i].tobytes(), cells.slot[i].tobytes()


def refused(reply: Reply) -> dict[int, Verdict]:
    """The verdicts, by transaction."""
    return {t: verdict for t, verdict in enumerate(reply.verdicts) if verdict is not None}


def one(batch: Batch, t: int) -> tuple[int, int]:
    """First row of a transaction, and the row behind its last."""
    offsets = batch.offsets().tolist()
    return offsets[t], offsets[t + 1]


def changed(batch: Batch, row: int | None = None, t: int | None = None, **values: Any) -> Batch:
    """The batch with columns of one row (of its moves, or intx) or of one transaction changed."""
    moves = {
        name: getattr(batch.moves, name).copy() for name in ("mask", "mark", "number", "addr", "slot", "prev", "next")
    }
    rest = {
        name: getattr(batch, name).copy()
        for name in ("consumes", "references", "status", "gas_used", "logs_hash", "intx")
    }
    for name, value in values.items():
        column, at = (moves[name], row) if name in moves else (rest[name], row if name == "intx" else t)
        column[at] = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
    return replace(batch, moves=Moves(**moves), **rest)


def row_of(batch: Batch, t: int, location: Location) -> int:
    """The row of a transaction's move at a location."""
    start, stop = one(batch, t)
    return next(row for row in range(start, stop) if batch.moves[row].location == location)


def snapshot(stage: Stage) -> Any:
    """Everything that an open block is: in memory, on disk, and the state below it. Equal only if nothing changed."""
    block = stage.block
    overlay, room = block._overlay, block.room
    made, spent, written = dict(overlay._made), dict(overlay._spent), dict(overlay._written)
    memory = (made, list(overlay._names), spent, written, set(overlay.txids), overlay.next_number)
    totals = [room.transactions, room.gas, room.blob_gas, room.fees, room.moves, room.envelope_bytes, room.code_bytes]
    parts = [
        (encode_batch(part.batch), part.txid.tobytes(), part.blob_gas.tolist(), part.fees) for part in block.admitted()
    ]
    with stage.validator.store.read() as txn:
        disk = [(key, bytes(value)) for key, value in txn.items(Table.PENDING)]
    below = (stage.validator.head, stage.validator.index.content())
    return memory, totals, dict(block.codes), list(block._cells_at), parts, disk, below
