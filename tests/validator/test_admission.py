"""Admission to an open block: races, chains of cells, replays, bounds, and what replies tell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manaflow.errors import Failure, Rule, Unsupported, Verdict
from manaflow.evm.executor import Execution, Job
from manaflow.evm.native import RevmExecutor
from manaflow.moves.batch import EMPTY_BATCH, Batch, is_full
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Mark
from manaflow.validator.room import Bounds
from tests.chain import word
from tests.manaflow_chain import BASE_FEE, created, deploying
from tests.validator.admitting import (
    HASHER,
    READER,
    TOKEN,
    WRITER,
    Named,
    Stage,
    changed,
    holding,
    one,
    refused,
    row_of,
    snapshot,
)

STRANGER = b"\x77" * 20


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "state")
    made.open()
    yield made
    made.close()


def txid(envelope: bytes) -> bytes:
    return keccak256(envelope)


def only(reply_verdicts: dict[int, Verdict]) -> Verdict:
    (verdict,) = reply_verdicts.values()
    return verdict


def test_a_chain_of_transactions_inside_a_batch_is_admitted_and_sealed(stage: Stage) -> None:
    sender = stage.sender()
    envelopes = [stage.transfer(0, STRANGER, i + 1) for i in range(5)]
    reply = sender.send(sender.fill(envelopes))
    assert refused(reply) == {}
    assert (reply.block, reply.sequence) == (1, 5)
    assert sender.named(holding(STRANGER)) == Named(0, txid(envelopes[4]), word(15))
    block = stage.seal()
    assert [leaf.txid for leaf in block.leaves.objects()[1:6]] == [txid(e) for e in envelopes]
    assert stage.latest.cell(holding(STRANGER)).value == word(15)


def test_a_chain_goes_on_across_batches_and_across_the_seal(stage: Stage) -> None:
    sender = stage.sender()
    for i in range(3):
        assert refused(sender.send(sender.fill([stage.transfer(0, STRANGER, i + 1)]))) == {}
    paid_alike = stage.transfer(0, STRANGER, 10, tip=10 * BASE_FEE)  # whatever the base fee is
    last = sender.fill([paid_alike])  # builds on cells of the block that is sealed before it comes
    assert not last.moves.number[row_of(last, 0, holding(STRANGER))]
    sender.stage.seal()
    stage.open()
    assert refused(stage.producer.admit(last)) == {}
    assert stage.seal().header.number == 2
    assert stage.latest.cell(holding(STRANGER)).value == word(16)


@pytest.mark.parametrize("order", sorted(set(itertools.permutations("aabb"))))
def test_two_senders_race_for_one_cell_in_every_interleaving(stage: Stage, order: tuple[str, ...]) -> None:
    """Each sends two transactions on top of each other; the receiver's cell is the one that both need."""
    senders = {"a": stage.sender(), "b": stage.sender()}
    accounts = {"a": 0, "b": 1}
    batches = {
        name: [sender.fill([stage.transfer(accounts[name], STRANGER)]) for _ in range(2)]
        for name, sender in senders.items()
    }
    envelopes = {name: [batch.envelopes[0] for batch in both] for name, both in batches.items()}
    left = {name: list(both) for name, both in batches.items()}
    winner = order[0]
    for name in order:
        batch = left[name].pop(0)
        first = len(left[name]) == 1
        reply = stage.producer.admit(batch)
        if name == winner:
            assert refused(reply) == {}
            continue
        verdict = only(refused(reply))
        row = row_of(batch, 0, holding(STRANGER))
        if first:  # the virgin cell of the stranger's balance went to the other sender's first
            assert (verdict.rule, verdict.transaction, verdict.move) == (Rule.V4, 0, row)
            assert verdict.winner == txid(envelopes[winner][0])
        else:  # and this one builds on the refused one, by its sender's cells first
            assert (verdict.rule, verdict.transaction, verdict.move) == (Rule.V1, 0, 0)
    block = stage.seal()
    assert list(block.envelopes) == envelopes[winner]


def test_a_lost_race_for_a_cell_of_the_open_block_names_who_won_it(stage: Stage) -> None:
    first, a, b = stage.sender(), stage.sender(), stage.sender()
    first.send(first.fill([stage.transfer(0, STRANGER)]))
    for sender in (a, b):
        sender.ask()
    won, lost = a.fill([stage.transfer(1, STRANGER)]), b.fill([stage.transfer(2, STRANGER)])
    assert refused(a.send(won)) == {}
    verdict = only(refused(b.send(lost)))
    row = row_of(lost, 0, holding(STRANGER))
    assert (verdict.rule, verdict.move, verdict.winner) == (Rule.V2, row, txid(won.envelopes[0]))
    b.forget()
    assert refused(b.send(b.fill(lost.envelopes))) == {}, "filled again on what the reply told"


def test_a_race_lost_to_a_sealed_block_names_the_winner(stage: Stage) -> None:
    a, b = stage.sender(), stage.sender()
    won, lost = a.fill([stage.transfer(0, stage.addresses[3])]), b.fill([stage.transfer(1, stage.addresses[3])])
    a.send(won)
    stage.seal()
    stage.open()
    verdict = only(refused(b.send(lost)))
    assert (verdict.rule, verdict.winner) == (Rule.V2, txid(won.envelopes[0]))
    assert lost.moves[verdict.move or 0].location == holding(stage.addresses[3])


def test_references_stand_before_the_consume_and_not_after_it(stage: Stage) -> None:
    sender, late = stage.sender(), stage.sender()
    slot = word(5)
    stage.producer.admit(sender.fill([stage.call(0, WRITER, slot + word(1))]))
    for who in (sender, late):
        who.ask()
    data = slot.rjust(32, b"\0")
    reads = sender.fill([stage.call(i, WRITER, data + word(1)) for i in (1, 2)])  # writes what is there: references
    row = row_of(reads, 0, (Mark.STORAGE, WRITER, slot))
    assert reads.moves[row].is_reference
    stale = late.fill([stage.call(3, WRITER, data + word(1))])
    assert refused(sender.send(reads)) == {}
    writes = sender.fill([stage.call(4, WRITER, data + word(2))])
    assert refused(sender.send(writes)) == {}
    verdict = only(refused(late.send(stale)))
    assert (verdict.rule, verdict.winner) == (Rule.V3, txid(writes.envelopes[0]))
    assert verdict.move == row_of(stale, 0, (Mark.STORAGE, WRITER, slot))


def test_virgin_cells_are_referenced_by_many_and_written_once(stage: Stage) -> None:
    sender, late = stage.sender(), stage.sender()
    reads = sender.fill([stage.call(i, READER, word(9)) for i in range(3)])
    location = (Mark.STORAGE, READER, word(9))
    assert reads.moves[row_of(reads, 1, location)].is_reference
    assert refused(sender.send(reads)) == {}
    writer_location = (Mark.STORAGE, WRITER, word(9))
    stale = late.fill([stage.call(3, WRITER, word(9) + word(0))])  # refers to the virgin cell
    written = sender.fill([stage.call(4, WRITER, word(9) + word(1))])
    assert refused(sender.send(written)) == {}
    verdict = only(refused(stage.producer.admit(stale)))
    assert (verdict.rule, verdict.winner) == (Rule.V4, txid(written.envelopes[0]))
    assert verdict.move == row_of(stale, 0, writer_location)
    stage.seal()
    stage.open()
    verdict = only(refused(stage.producer.admit(stale)))
    assert (verdict.rule, verdict.winner) == (Rule.V4, txid(written.envelopes[0])), "from a sealed block as well"


def test_dependents_of_a_refused_transaction_are_refused_and_others_admitted(stage: Stage) -> None:
    sender = stage.sender()
    batch = sender.fill([
        stage.transfer(0, STRANGER), stage.transfer(1, stage.addresses[2]), stage.transfer(0, b"\x78" * 20),
        stage.transfer(3, stage.addresses[4]),
    ])  # fmt: skip
    wrong = changed(batch, t=0, gas_used=int(batch.gas_used[0]) + 1)
    verdicts = refused(sender.send(wrong))
    assert {t: v.rule for t, v in verdicts.items()} == {0: Rule.M6, 2: Rule.V1}
    assert stage.block.sequence == 2
    assert list(stage.seal().envelopes) == [batch.envelopes[1], batch.envelopes[3]]


def test_replays_are_refused_as_what_they_are(stage: Stage) -> None:
    sender = stage.sender()
    batch = sender.fill([stage.transfer(0, STRANGER), stage.transfer(0, STRANGER)])
    sender.send(batch)
    before = snapshot(stage)
    for t, verdict in refused(sender.send(batch)).items():
        assert (verdict.rule, verdict.winner) == (Rule.V2, txid(batch.envelopes[t]))
    assert snapshot(stage) == before
    stage.seal()
    stage.open()
    before = snapshot(stage)
    verdicts = refused(stage.producer.admit(batch))
    assert {t: (v.rule, v.winner) for t, v in verdicts.items()} == {
        0: (Rule.V2, txid(batch.envelopes[0])), 1: (Rule.V2, txid(batch.envelopes[1])),
    }  # fmt: skip
    assert snapshot(stage) == before


def test_two_of_one_txid_in_a_batch_are_one(stage: Stage) -> None:
    sender = stage.sender()
    single = sender.fill([stage.transfer(0, STRANGER)])
    n = len(single.moves)
    twice = replace(
        single, envelopes=single.envelopes * 2, intx=np.concatenate([single.intx] * 2),
        **{name: np.concatenate([getattr(single, name)] * 2)
           for name in ("consumes", "references", "status", "gas_used", "logs_hash")},
        moves=type(single.moves)(
            *(np.concatenate([getattr(single.moves, name)] * 2)
              for name in ("mask", "mark", "number", "addr", "slot", "prev", "next"))
        ),
    )  # fmt: skip
    assert len(twice.moves) == 2 * n
    verdicts = refused(sender.send(twice))
    assert {t: (v.rule, v.winner) for t, v in verdicts.items()} == {1: (Rule.V2, txid(single.envelopes[0]))}


def test_a_second_transaction_of_one_nonce_loses_to_the_first(stage: Stage) -> None:
    a, b = stage.sender(), stage.sender()
    won = a.fill([stage.transfer(0, STRANGER)])
    stage.signers.nonces[0] = 0
    lost = b.fill([stage.transfer(0, b"\x79" * 20)])
    assert refused(a.send(won)) == {}
    verdict = only(refused(b.send(lost)))
    assert (verdict.rule, verdict.winner) == (Rule.V2, txid(won.envelopes[0]))


def test_codes_come_with_the_transaction_that_makes_them(stage: Stage) -> None:
    sender = stage.sender()
    code = bytes.fromhex("5f545000")
    address = created(stage.addresses[0], 0)
    batch = sender.fill([stage.call(0, b"", deploying(code)), stage.call(1, address, b"")])
    assert batch.codes == (code,)
    before = snapshot(stage)
    verdicts = refused(stage.producer.admit(replace(batch, codes=())))
    assert {t: v.rule for t, v in verdicts.items()} == {0: Rule.B4, 1: Rule.V1}
    assert verdicts[0].expected == keccak256(code)
    assert verdicts[0].move == row_of(batch, 0, (Mark.CODE, address, ZERO32))
    assert snapshot(stage) == before
    assert refused(sender.send(replace(batch, codes=(b"\x5b" * 99, code)))) == {}
    assert stage.block.codes == {keccak256(code): code}, "what nobody makes live is left out"
    again = sender.fill([stage.call(2, b"", deploying(code))])
    assert refused(sender.send(replace(again, codes=()))) == {}, "the block holds it already"
    stage.reopen()
    assert stage.block.codes == {keccak256(code): code}
    assert stage.seal().codes == (code,)


def test_code_bytes_beyond_the_block_are_refused_as_full(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = stage.sender()
    codes = [bytes([0x5B, i, 0]) for i in range(3)]
    monkeypatch.setattr("manaflow.validator.room.most_code_bytes", lambda header: 8)
    verdicts = refused(sender.send(sender.fill([stage.call(i, b"", deploying(code)) for i, code in enumerate(codes)])))
    assert {t: (v.rule, is_full(v)) for t, v in verdicts.items()} == {2: (Rule.B4, True)}


def test_hashes_of_earlier_blocks_are_those_of_the_chain(stage: Stage) -> None:
    genesis = stage.validator.head[1]
    stage.seal()
    stage.open()
    parent = stage.validator.head[1]
    sender = stage.sender()
    envelopes = [stage.call(i, HASHER, word(number)) for i, number in enumerate((1, 0))]
    batch = sender.fill(envelopes, {0: genesis, 1: parent})
    row = row_of(batch, 1, (Mark.BLOCKHASH, bytes(20), word(0)))
    wrong = changed(batch, row=row, prev=b"\x01" * 32, next=b"\x01" * 32)
    verdict = only(refused(stage.producer.admit(wrong)))
    assert (verdict.rule, verdict.transaction, verdict.move) == (Rule.B5, 1, row - one(batch, 1)[0])
    reply = stage.producer.admit(batch)
    assert {t: v.winner for t, v in refused(reply).items()} == {0: txid(envelopes[0])}
    stage.seal()


def test_gas_that_is_left_bounds_the_block(stage: Stage) -> None:
    sender = stage.sender()
    limit = stage.block.header.gas_limit
    big = sender.fill([stage.call(0, READER, word(1), gas=2**24), stage.call(1, READER, word(1), gas=2**24)])
    verdicts = refused(sender.send(big))
    assert verdicts == {}, "what counts is what is left, and both use little"
    sender.forget()
    stage.block.room.gas += limit - 100_000 - stage.block.room.gas
    batch = sender.fill([stage.transfer(2, STRANGER, gas=100_001), stage.transfer(3, STRANGER, gas=100_000)])
    verdict = refused(sender.send(batch))[0]
    assert (verdict.rule, is_full(verdict), verdict.actual) == (Rule.X0, True, 100_001)
    assert not is_full(refused(sender.send(batch))[1]), "the second builds on the first"
    sender.forget()
    reply = sender.send(sender.fill([stage.transfer(4, STRANGER, gas=100_000)]))
    assert refused(reply) == {}
    stage.block.room.gas = limit - 20_999
    sender.forget()
    rest = sender.fill([stage.transfer(5, b"\x7a" * 20, gas=90_000)])
    assert is_full(only(refused(sender.send(rest))))


def test_other_bounds_are_full_too(tmp_path: Path) -> None:
    for bounds in (Bounds(transactions=1), Bounds(moves=8), Bounds(envelope_bytes=300)):
        stage = Stage(tmp_path / f"{bounds.transactions}-{bounds.moves}-{bounds.envelope_bytes}", bounds=bounds)
        stage.open()
        sender = stage.sender()
        batch = sender.fill([stage.transfer(0, stage.addresses[2]), stage.transfer(1, stage.addresses[3])])
        verdict = only(refused(sender.send(batch)))
        assert (verdict.rule, verdict.transaction, is_full(verdict)) == (Rule.B1, 1, True)
        again = refused(stage.producer.admit(batch))
        assert [is_full(again[t]) for t in (0, 1)] == [False, True], "what is admitted is told so, even when full"
        stage.close()


def test_replies_tell_what_was_made_since(stage: Stage) -> None:
    a, b = stage.sender(), stage.sender()
    a.send(a.fill([stage.transfer(0, STRANGER, 1)]))
    reply = a.send(a.fill([stage.transfer(0, STRANGER, 2)]))
    told = {(int(reply.cells.mark[i]), reply.cells.slot[i].tobytes()) for i in range(len(reply.cells))}
    assert (Mark.STORAGE, holding(STRANGER)[2]) in told
    assert len(reply.cells) == 4, "two balances of the token, the sender's ether and nonce"
    everything = stage.producer.admit(EMPTY_BATCH, 0).cells
    assert len(everything) == 5, "and the history contract's slot, which the opening leaf has written"
    assert len(stage.producer.admit(EMPTY_BATCH, 2).cells) == 0
    for nonsense in (3, -1, 2**70):
        assert len(stage.producer.admit(EMPTY_BATCH, nonsense).cells) == 5
    b.ask()
    assert refused(b.send(b.fill([stage.transfer(1, STRANGER, 4)]))) == {}, "who asked knows the cells"


def test_a_wrong_hint_is_looked_up(stage: Stage) -> None:
    sender = stage.sender()
    sender.send(sender.fill([stage.transfer(0, STRANGER)]))
    stage.seal()
    stage.open()
    sender = stage.sender()
    batch = sender.fill([stage.transfer(0, STRANGER)])
    row = row_of(batch, 0, holding(STRANGER))
    for hint in (0, 3, 2**40, 2**63):
        hinted = changed(batch, row=row, number=hint)
        block = stage.open_again()
        assert refused(block.admit(hinted)) == {}, hint


def test_a_maker_that_nobody_knows_is_refused(stage: Stage) -> None:
    sender = stage.sender()
    batch = sender.fill([stage.transfer(0, stage.addresses[1])])
    row = row_of(batch, 0, holding(stage.addresses[1]))
    for changes in ({"intx": b"\x05" * 32}, {"intx": b"\x05" * 32, "number": 0}, {"number": 0}):
        verdict = only(refused(stage.producer.admit(changed(batch, row=row, **changes))))
        assert (verdict.rule, verdict.move) == (Rule.V1, row), changes


def test_an_open_block_ends_with_its_head(stage: Stage) -> None:
    block, batch = stage.block, stage.sender().fill([stage.transfer(0, STRANGER)])
    stage.seal()
    with pytest.raises(Failure, match="any more"):
        block.admit(batch)


def test_a_malformed_batch_is_refused_whole(stage: Stage) -> None:
    batch = stage.sender().fill([stage.transfer(0, STRANGER)])
    wrong: list[Batch] = [
        replace(batch, intx=batch.intx[1:]),
        replace(batch, consumes=batch.consumes + 1),
        replace(batch, envelopes=batch.envelopes * 2),
    ]
    before = snapshot(stage)
    for broken in wrong:
        with pytest.raises(Verdict) as caught:
            stage.producer.admit(broken)
        assert caught.value.rule is Rule.B1
        assert snapshot(stage) == before


def test_the_token_does_what_it_says(stage: Stage) -> None:
    """The tests above stand on it: too large a transfer fails, and is admitted all the same."""
    sender = stage.sender()
    batch = sender.fill([stage.transfer(0, STRANGER, 10**18)])
    assert batch.status[0] == 0
    assert refused(sender.send(batch)) == {}
    assert sender.named((Mark.STORAGE, TOKEN, STRANGER.rjust(32, b"\0"))).value == ZERO32


def test_what_stops_the_execution_of_all_is_found_in_the_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Failure out of the native batch says nothing of the others: each is executed for itself."""
    sender = stage.sender()
    batch = sender.fill([stage.transfer(i, stage.addresses[i + 3]) for i in range(3)])
    wrong = changed(batch, t=0, logs_hash=b"\x01" * 32)
    monkeypatch.setattr("manaflow.validator.batch_execution.execute_block", _fails)
    real = RevmExecutor.execute

    def unsupported(self: RevmExecutor, job: Job) -> Execution:
        if job.sender == stage.addresses[1]:
            raise Unsupported("what no rule holds")
        return real(self, job)

    monkeypatch.setattr(RevmExecutor, "execute", unsupported)
    verdicts = refused(sender.send(wrong))
    assert {t: v.rule for t, v in verdicts.items()} == {0: Rule.X3, 1: Rule.X0}
    assert "what no rule holds" in str(verdicts[1])


def _fails(*_: object, **__: object) -> None:
    raise Failure("one of them")
