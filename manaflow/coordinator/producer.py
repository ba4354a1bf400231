"""The producer: opens a block, admits batches to it, seals it (docs/SPEC.md, section 8, Producer).

    producer = Producer(validator, latest, key)            # goes on with the open block that a crash has left
    producer.open(timestamp=..., coinbase=...)             # the environment is fixed, the opening calls have run
    reply = producer.admit(batch, since)                   # as often as batches come
    block = producer.seal()                                # committed before it is returned: publish it

A pure state machine over the validator; the clock, prevrandao and the network are the shell's. What was acknowledged is
on the validator's disk, and so is which block was signed on which parent: never two on one, whatever is undone. After
a crash between `seal` and publishing, the sealed block is the validator's head: publish that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Protocol

import numpy as np

from manaflow._native import Codes, World
from manaflow.coordinator.credits import credit_step, credits_of
from manaflow.coordinator.inputs import next_inputs, open_header
from manaflow.coordinator.replay import address_of
from manaflow.coordinator.seal import Body, seal
from manaflow.coordinator.steps import Steps, bytes_column, steps_of
from manaflow.errors import Failure, Unsupported, Verdict
from manaflow.evm.environment import SYSTEM_ADDRESS, environment_of, system_call
from manaflow.evm.native import fill_steps
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.batch import EMPTY_BATCH, Batch, Reply
from manaflow.moves.block import Block
from manaflow.moves.columns import Moves
from manaflow.moves.header import Header
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import UNSIGNED, ZERO32, Location, Mask
from manaflow.rules.headers import check_b2
from manaflow.rules.system import EMPTY_LOGS_HASH, SystemLeaves, expected_system_leaves
from manaflow.validator.admission import OpenBlock
from manaflow.validator.admitted import Admitted
from manaflow.validator.recent import Recent
from manaflow.validator.room import Bounds
from manaflow.validator.validator import Validator


class NamedCell(Protocol):
    """A live cell of the latest index."""

    @property
    def number(self) -> int:
        """0 for a virgin one."""
        ...

    @property
    def intx(self) -> bytes:
        """Txid of its maker, 32 bytes; zero for a virgin one."""
        ...

    @property
    def value(self) -> bytes:
        """32 bytes."""
        ...


class LatestState(Protocol):
    """What a producer asks of the latest index, for system transactions only. It must be at the validator's head."""

    def cell(self, location: Location) -> NamedCell:
        """The live cell at a location."""
        ...

    def source(self, key: bytes) -> bytes | None:
        """The value of a location by mark | addr | slot, None if virgin."""
        ...


class Producer:
    """One producer over one validator. One thread."""

    def __init__(self, validator: Validator, latest: LatestState, key: bytes, *, bounds: Bounds | None = None) -> None:
        """key: the producer's secret, 32 bytes. bounds: what an open block takes beside its gas.

        Goes on with the open block on disk if it is on the validator's head. Raises Failure if the key is no
        producer's of the chain (B7).
        """
        address = address_of(key)
        if address not in validator.config.producers:
            raise Failure(f"0x{address.hex()} is no producer of this chain")
        self.validator, self._latest, self._key = validator, latest, key
        self._bounds = bounds or Bounds()
        self._recent = Recent(validator)
        self._block: OpenBlock | None = None
        self.restore()

    @property
    def block(self) -> OpenBlock | None:
        """The open block, None if there is none."""
        return self._block

    def open(
        self,
        *,
        timestamp: int,
        coinbase: bytes,
        prevrandao: bytes = ZERO32,
        gas_limit: int | None = None,
        extra_data: bytes = b"",
        keep: bool = True,
        replace_empty: bool = False,
    ) -> Header:
        """Open a block on the head; everything else of its environment follows by the rules. Returns it.

        keep: put it on disk at once (see OpenBlock.admit). replace_empty: give up one that has admitted nothing.

        timestamp: seconds, more than the head's; coinbase: 20 bytes; gas_limit: None for the head's. An open block on
        another head is given up. Raises Failure if a block is open on the head, or was signed on it; Verdict(B2) if the
        inputs break it; Unsupported if the chain demands closing calls (profile `ethereum` with requests).
        """
        self._check_may_open(replace_empty)
        head, _ = self.validator.head
        config = self.validator.config
        inputs = next_inputs(
            config, head, {}, coinbase=coinbase, timestamp=timestamp, prevrandao=prevrandao, gas_limit=gas_limit,
            extra_data=extra_data,
        )  # fmt: skip
        opened = open_header(inputs, config, head, self.validator.history.root(), self.validator.index.next_number)
        check_b2(head, opened, config)
        opening, closing = expected_system_leaves(config, opened, ())
        if closing:
            raise Unsupported("this chain's blocks close with calls for requests: only a replay makes them")
        self._recent.follow()
        batch = _batch_of(opening_steps(self.validator, opened, opening, self._latest), self._latest.cell)
        self._block = OpenBlock.begin(
            self.validator, opened, batch, keep=keep, recent=self._recent, bounds=self._bounds
        )
        return opened

    def admit(self, batch: Batch, since: int = 0, *, keep: bool = True) -> Reply:
        """OpenBlock.admit on the open block. Raises Failure if none is open on the head; else as it does."""
        block = self._open_block()
        try:
            return block.admit(batch, since, keep=keep)
        except Verdict:
            raise  # of a batch that is none: nothing was begun
        except BaseException:
            self._block = None  # what it holds in memory may differ from the disk, which the next call reads
            raise

    def keep(self) -> None:
        """Put on disk what the open block has admitted and the disk does not have yet."""
        if self._block is not None:
            try:
                self._block.keep()
            except BaseException:
                self._block = None
                raise

    def seal(self) -> Block:
        """Close the open block: closing leaf, order, numbers, totals, signature; commit it; then it may be published.

        Raises Failure if none is open on the head, StorageFailure if it could not be committed: then it is still open,
        and nobody has seen a signature.
        """
        block = self._open_block()
        body = self._body(block)
        sealed, judged = seal(block.header, body, self._key, NATIVE), block.judged()
        try:
            known = None if judged is None else judged.sealed_in(sealed)
            self.validator.import_block(sealed, own=True, judged=known)
        finally:
            self._block = None
        self._recent.follow(sealed)
        return sealed

    def restore(self) -> None:
        """Take the open block as the disk has it, if it is on the head; what is not on disk is given up."""
        self._recent.follow()
        self._block = OpenBlock.restore(self.validator, recent=self._recent, bounds=self._bounds)

    def _open_block(self) -> OpenBlock:
        if self._block is None:
            self.restore()
        if self._block is None:
            raise Failure("no block is open on the head")
        return self._block

    def _check_may_open(self, replace_empty: bool) -> None:
        head, head_hash = self.validator.head
        if self._block is None:
            self.restore()
        block = self._block
        gives_up = block is None or block.header.parent_hash != head_hash or (replace_empty and block.sequence == 0)
        if not gives_up:
            raise Failure(f"block {head.number + 1} is open already")
        signed = self.validator.pending.signed(head_hash)
        if signed is not None:
            raise Failure(
                f"block {head.number + 1} on this head was signed already: 0x{signed.hex()}; import it, or build on "
                "another head: whoever signs two convicts himself"
            )

    def _body(self, block: OpenBlock) -> Body:
        """Everything that the block holds, closing leaf included, in order."""
        parts, header = list(block.admitted()), replace(block.header, fees=block.room.fees)
        _, closing = expected_system_leaves(self.validator.config, header, ())
        parts += [self._fees(block, kind, txid) for kind, txid in closing]
        batches = [part.batch for part in parts]
        columns = {
            field.name: np.concatenate([getattr(batch.moves, field.name) for batch in batches])
            for field in fields(Moves)
        }
        return Body(
            txid=np.concatenate([part.txid for part in parts]),
            consumes=np.concatenate([batch.consumes for batch in batches]),
            references=np.concatenate([batch.references for batch in batches]),
            status=np.concatenate([batch.status for batch in batches]),
            gas_used=np.concatenate([batch.gas_used for batch in batches]),
            blob_gas=np.concatenate([part.blob_gas for part in parts]),
            logs_hash=np.concatenate([batch.logs_hash for batch in batches]),
            moves=Moves(**columns),
            envelopes=tuple(raw for batch in batches for raw in batch.envelopes if raw),
            codes=tuple(block.codes.values()),
            withdrawals=(),
            fees=tuple(wei for part in parts for wei in part.fees),
        )

    def _fees(self, block: OpenBlock, kind: SystemKind, txid: bytes) -> Admitted:
        """The closing leaf of profile `manaflow`: one consume of the coinbase's `b`."""

        def cell(location: Location) -> NamedCell:
            return block.cell(location) or self._latest.cell(location)

        credits = credits_of(kind, (), block.header.coinbase, block.room.fees)
        steps = credit_step(txid, credits, lambda location: cell(location).value)
        return Admitted(_batch_of(steps, cell), steps.txid, steps.blob_gas, steps.fees)


def opening_steps(validator: Validator, opened: Header, leaves: SystemLeaves, latest: LatestState) -> Steps | None:
    """The opening system calls, run on the head's state; None if there are none.

    Raises Unsupported if a call fails, Failure if a code is missing.
    """
    world, codes, parts = World(latest.source, validator.code), Codes(), []
    environment = environment_of(opened, validator.config)
    for kind, txid in leaves:
        call = system_call(kind, opened)
        filled = fill_steps(world, environment, [(call.to, call.data)], [SYSTEM_ADDRESS], {}, codes)
        steps = steps_of(filled, bytes_column(txid, 32), np.zeros(1, np.uint64))
        if steps.status[0] != 1:
            raise Unsupported(f"block {opened.number}: the {kind.name.lower()} call fails")
        logs_hash = bytes_column(EMPTY_LOGS_HASH, 32)
        parts.append(replace(steps, gas_used=np.zeros(1, np.uint64), logs_hash=logs_hash))
    return Steps.joined(parts) if parts else None


def _batch_of(steps: Steps | None, cell: Callable[[Location], NamedCell]) -> Batch:
    """System leaves as a batch: envelopes empty, each move's cell named by what lives at its location."""
    if steps is None:
        return EMPTY_BATCH
    mark, addr, slot, prev, after = steps.columns
    n, counts = len(mark), steps.consumes.astype(np.int64) + steps.references.astype(np.int64)
    place = np.arange(n) - np.repeat(steps.offsets()[:-1], counts)
    is_reference = place >= np.repeat(steps.consumes.astype(np.int64), counts)
    cells = [cell((int(mark[i]), addr[i].tobytes(), slot[i].tobytes())) for i in range(n)]
    return Batch(
        envelopes=(b"",) * len(steps.status),
        consumes=steps.consumes,
        references=steps.references,
        status=steps.status,
        gas_used=steps.gas_used,
        logs_hash=steps.logs_hash,
        moves=Moves(
            mask=np.where(is_reference, UNSIGNED | Mask.REFERENCE, UNSIGNED).astype(np.uint8),
            mark=mark,
            number=np.array([found.number for found in cells], np.uint64),
            addr=addr,
            slot=slot,
            prev=prev,
            next=after,
        ),
        intx=bytes_column(b"".join(found.intx for found in cells), 32),
        codes=(),
    )
