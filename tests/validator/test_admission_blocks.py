"""What sealed blocks hold, sent as batches: real transactions and declared ones get the places that they had."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manaflow.coordinator.producer import Producer
from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.errors import Rule, Verdict
from manaflow.moves.batch import Batch
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.marks import ZERO32, Mask
from manaflow.moves.trees import EMPTY_ROOT
from manaflow.rules.system import expected_system_leaves
from manaflow.validator.admission import OpenBlock
from manaflow.validator.validator import Validator
from tests.declared_chain import sealed_chain
from tests.replays import HOLESKY, chain
from tests.validator.admitting import Latest, changed, one, refused


@dataclass
class Names:
    """Who made each cell of a chain."""

    makers: dict[int, bytes]

    @staticmethod
    def of(blocks: Sequence[Block]) -> Names:
        makers: dict[int, bytes] = {}
        for block in blocks:
            for leaf in block.leaves.objects():
                makers |= dict.fromkeys(range(leaf.first_cell, leaf.first_cell + leaf.consumes), leaf.txid)
        return Names(makers)

    def batch(self, block: Block, first: int, last: int, envelopes: tuple[bytes, ...]) -> Batch:
        """Leaves first to last as a batch; a cell of the block itself is named by its maker alone."""
        offsets, leaves = block.leaves.move_offsets().tolist(), block.leaves
        start, stop = offsets[first], offsets[last]
        moves = block.moves.take(start, stop)
        intx = b"".join(self.makers[n] if n else ZERO32 for n in moves.number.tolist())
        hints = np.where(moves.number < block.header.first_cell, moves.number, 0).astype(np.uint64)
        return Batch(
            envelopes, leaves.consumes[first:last], leaves.references[first:last], leaves.status[first:last],
            leaves.gas_used[first:last], leaves.logs_hash[first:last], replace(moves, number=hints),
            np.frombuffer(intx, np.uint8).reshape(-1, 32), block.codes,
        )  # fmt: skip


def as_opened(header: Header) -> Header:
    """The header before the block was filled."""
    roots = dict.fromkeys(("transactions_root", "codes_root", "withdrawals_root"), EMPTY_ROOT)
    return replace(header, cells=0, transactions=0, codes=0, fees=0, gas_used=0, blob_gas_used=0, **roots)


def begun(validator: Validator, block: Block, names: Names, config: Any) -> tuple[OpenBlock, Batch]:
    """The block open, and its signed transactions as one batch."""
    opening, _ = expected_system_leaves(config, block.header, block.withdrawals)
    first, last = len(opening), len(opening) + len(block.envelopes)
    leaves = names.batch(block, 0, first, (b"",) * first)
    made = OpenBlock.begin(validator, as_opened(block.header), replace(leaves, codes=()))
    return made, names.batch(block, first, last, block.envelopes)


def joined(parts: Sequence[Any], name: str) -> Any:
    return np.concatenate([getattr(part.batch.moves, name) for part in parts])


@pytest.mark.parametrize("wanted", [HOLESKY, ("1-22615247",)])
def test_real_transactions_are_admitted_to_their_places(tmp_path: Path, wanted: tuple[str, ...]) -> None:
    real = chain(*wanted)
    names = Names.of([real.genesis.block, *real.blocks])
    with Validator.create(tmp_path / "state", real.genesis) as validator:
        for block in real.blocks[:2]:
            opened, batch = begun(validator, block, names, real.config)
            reply = opened.admit(batch)
            assert refused(reply) == {}
            restored = OpenBlock.restore(validator)
            assert restored is not None
            for each in (opened, restored):
                rows = sum(len(part.batch.moves) for part in each.admitted())
                for field in ("mask", "mark", "number", "addr", "slot", "prev", "next"):
                    assert np.array_equal(joined(each.admitted(), field), getattr(block.moves, field)[:rows]), field
                assert (each.room.gas, each.room.blob_gas) == (block.header.gas_used, block.header.blob_gas_used)
                assert set(each.codes.values()) == set(block.codes)
            validator.import_block(block)


@pytest.fixture
def declared(tmp_path: Path) -> Iterator[tuple[Producer, Batch]]:
    """A producer with the last block of the declared chain open, and that block's transactions."""
    sealed = sealed_chain()
    names, latest = Names.of([sealed.genesis.block, *sealed.blocks]), Latest()
    with Validator.create(tmp_path / "state", sealed.genesis, mode="execute") as validator:
        for block in (sealed.genesis.block, *sealed.blocks[:-1]):
            latest.apply(block)
            if block.header.number:
                validator.import_block(block)
        _, batch = begun(validator, sealed.blocks[-1], names, sealed.config)
        yield Producer(validator, latest, DEVELOPMENT_KEY), batch


def test_declared_transactions_make_the_same_block_again(declared: tuple[Producer, Batch]) -> None:
    producer, batch = declared
    assert refused(producer.admit(batch)) == {}
    assert producer.seal().hash == sealed_chain().blocks[-1].hash


def signed_maker(batch: Batch) -> int:
    """A row whose signer fixed the cell's maker, of a cell that is not virgin."""
    return next(
        row for row in range(len(batch.moves)) if not batch.moves.mask[row] & Mask.INTX and batch.intx[row].any()
    )


Change = Callable[[Batch], Batch]
MUST_SUCCEED, LIMITED = 1, 1
"""Transaction 1 of the block must succeed, and holds until block 3."""


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        (Rule.S2, lambda b: changed(b, row=0, mask=int(b.moves.mask[0]) ^ Mask.PREV)),
        (Rule.S2, lambda b: replace(b, envelopes=(b.envelopes[0][:-1], *b.envelopes[1:]))),
        (Rule.S3, lambda b: changed(b, t=MUST_SUCCEED, status=0)),
        (Rule.V1, lambda b: changed(b, row=signed_maker(b), intx=b"\x07" * 32)),
        (Rule.X3, lambda b: changed(b, t=0, logs_hash=b"\x07" * 32)),
    ],
)
def test_wrong_fills_of_declared_transactions_are_refused(
    declared: tuple[Producer, Batch], rule: Rule, change: Change
) -> None:
    producer, batch = declared
    verdicts = refused(producer.admit(change(batch)))
    first: Verdict = verdicts[min(verdicts)]
    assert first.rule is rule
    assert all(verdict.rule in (Rule.V1, rule) for verdict in verdicts.values()), "dependents, at most"
    if rule is Rule.V1:
        row = signed_maker(batch)
        start = one(batch, first.transaction or 0)[0]
        assert (first.move, first.actual) == (row - start, batch.intx[row].tobytes())


def test_an_expired_transaction_is_refused(tmp_path: Path) -> None:
    """S4: the same batch for the block after the one that is the limit."""
    sealed = sealed_chain()
    names, latest = Names.of([sealed.genesis.block, *sealed.blocks]), Latest()
    with Validator.create(tmp_path / "state", sealed.genesis) as validator:
        for block in (sealed.genesis.block, *sealed.blocks[:-1]):
            latest.apply(block)
            if block.header.number:
                validator.import_block(block)
        _, batch = begun(validator, sealed.blocks[-1], names, sealed.config)
        producer = Producer(validator, latest, DEVELOPMENT_KEY)
        latest.apply(producer.seal())
        producer.open(timestamp=9_999, coinbase=b"\xc0" * 20)
        assert refused(producer.admit(batch))[LIMITED].rule is Rule.S4
