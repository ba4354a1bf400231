"""Filling step by step: any split into batches gives the block that filling at once gives; refusals change nothing."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from manaflow.coordinator.filler import FilledBlock
from manaflow.errors import Failure, Rule, Unsupported, Verdict
from manaflow.evm.native import is_block_full
from manaflow.rules.execution import MAX_GAS_LIMIT
from tests.chain import ETHER
from tests.declared import declared_envelope
from tests.manaflow_chain import CHAIN_ID, COINBASE, Producer, deploying

GAS = 21_000


def envelopes(producer: Producer) -> list[bytes]:
    """Transfers that depend on each other, a contract, a failure, one without tip."""
    a = producer.addresses
    return [
        producer.sign(0, a[1], value=5),
        producer.sign(1, b"\x51" * 20, value=producer.balance(a[1]) - ETHER),
        producer.sign(0, data=deploying(b"\xfe")),
        producer.sign(2, a[0], value=1, tip=0),
        producer.sign(1, COINBASE, value=2),
        producer.sign(0, data=b"\xfe"),
    ]


def filled_in(cuts: list[int]) -> FilledBlock:
    producer = Producer()
    made = envelopes(producer)
    opened = producer.filler.begin(producer.inputs())
    for start, stop in zip([0, *cuts], [*cuts, len(made)], strict=True):
        taken = opened.add(made[start:stop])
        assert taken.places == tuple(range(stop - start))
        assert len(taken.steps.status) == len(taken.receipts) == stop - start
        assert opened.transactions == stop
        assert opened.gas_left == opened.header.gas_limit - opened.gas_used
    filled = opened.close()
    assert producer.filler.head == filled.block.header
    assert opened.gas_used == filled.block.header.gas_used
    return filled


@pytest.mark.parametrize("seed", range(4))
def test_any_split_gives_the_same_block_and_receipts(seed: int) -> None:
    producer = Producer()
    whole = producer.seal(envelopes(producer))
    rng = random.Random(seed)
    cuts = sorted(rng.choices(range(7), k=rng.randrange(1, 5)))
    split = filled_in(cuts)
    assert split.block.hash == whole.block.hash
    assert split.receipts == whole.receipts
    assert [receipt.cumulative_gas for receipt in split.receipts] == [
        *whole.block.leaves.gas[2:-1].tolist(), whole.block.header.gas_used,
    ]  # fmt: skip


def test_refused_envelopes_are_left_out_and_named() -> None:
    producer, honest = Producer(), Producer()
    to = b"\x51" * 20
    good = [producer.sign(0, to), producer.sign(1, to, value=3)]
    for each in (0, 1):
        honest.sign(each, to)
    bad = {
        1: (producer.sign(2, to, chain_id=1), Rule.S1, "chain id"),
        2: (b"\x02\xc0", Rule.S1, "the envelope does not decode"),
        3: (producer.sign(2, to, nonce=7), Rule.X0, "nonce"),
        5: (producer.sign(3, to, gas=MAX_GAS_LIMIT + 1), Rule.X5, "a gas limit of more than"),
    }
    mixed = [good[0], bad[1][0], bad[2][0], bad[3][0], good[1], bad[5][0]]
    opened = producer.filler.begin(producer.inputs())
    taken = opened.add(mixed, skip_refused=True)
    assert taken.places == (0, 4)
    assert [(v.transaction, v.rule) for v in taken.refused] == [(at, rule) for at, (_, rule, _) in bad.items()]
    for verdict in taken.refused:
        assert verdict.transaction is not None
        assert bad[verdict.transaction][2] in verdict.what
    assert opened.close().block.hash == honest.seal(good).block.hash


@pytest.mark.parametrize("at", [0, 1])
def test_a_batch_with_a_refusal_changes_nothing(at: int) -> None:
    producer, honest = Producer(), Producer()
    to = b"\x51" * 20
    good = [producer.sign(0, to, value=1), producer.sign(0, to, value=2)]
    batch = [good[1]]
    batch.insert(at, producer.sign(1, to, nonce=9))
    opened = producer.filler.begin(producer.inputs())
    opened.add(good[:1])
    with pytest.raises(Verdict) as caught:
        opened.add(batch)
    assert (caught.value.rule, caught.value.transaction) == (Rule.X0, at)
    opened.add(good[1:])
    assert opened.close().block.hash == honest.seal(good).block.hash


def test_gas_goes_on_from_batch_to_batch() -> None:
    producer = Producer()
    to, inputs = b"\x51" * 20, producer.inputs(gas_limit=producer.filler.head.gas_limit)
    opened = producer.filler.begin(inputs)
    half = MAX_GAS_LIMIT
    opened.add([producer.sign(0, to, gas=half)])
    assert opened.gas_used == GAS
    full = [producer.sign(1, to, gas=GAS) for _ in range(3)]
    opened.add(full)
    assert opened.gas_used == 4 * GAS
    hungry = [producer.sign(0, data=b"\xfe", gas=half), producer.sign(0, data=b"\xfe", gas=half)]
    opened.add(hungry[:1])
    taken = opened.add(hungry[1:], skip_refused=True)
    assert taken.places == ()
    assert is_block_full(taken.refused[0].what)


def test_only_the_next_block_opens_and_its_header_follows() -> None:
    producer = Producer()
    head = producer.filler.head
    with pytest.raises(Failure, match="does not follow"):
        producer.filler.begin(replace(producer.inputs(), number=head.number))
    for changes in ({"timestamp": head.timestamp}, {"gas_limit": 2 * head.gas_limit}, {"extra_data": bytes(33)}):
        with pytest.raises(Verdict) as caught:
            producer.filler.begin(producer.inputs(**changes))
        assert caught.value.rule == Rule.B2


def test_declared_envelopes_are_for_coordinators() -> None:
    producer = Producer()
    opened = producer.filler.begin(producer.inputs())
    with pytest.raises(Unsupported, match="fitted by a coordinator"):
        opened.add([producer.sign(0, COINBASE), declared_envelope((), chain_id=CHAIN_ID, nonce=0)], skip_refused=True)
    assert opened.transactions == 0
    assert opened.add([producer.sign(0, COINBASE, nonce=0)]).places == (0,)
