"""The checks over columns against the plain rules, verdict for verdict; and each rule of headers, counts and roots."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from manaflow.coordinator.seal import sign
from manaflow.errors import Failure, Rule, Verdict
from manaflow.evm.envelopes import decode_envelopes
from manaflow.moves import trees
from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.hashing import PYTHON, keccak256
from manaflow.moves.leaf import Leaf, SystemKind, system_txid
from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32, Mark, Mask, Move
from manaflow.rules.bodies import check_b4, check_b5
from manaflow.rules.config import CALL_ORDER, PRAGUE_BLOBS, ChainConfig, Fork, Profile
from manaflow.rules.fees import blob_base_fee
from manaflow.rules.forks import precompiles
from manaflow.rules.leaves import check_b3_first, check_b3_last, check_b3_pair, compute_fees_added
from manaflow.rules.moves import (
    check_fees,
    check_m1,
    check_m2,
    check_m3,
    check_m4,
    check_m4_precompiles,
    check_m5,
    check_m5_counts,
    check_m6,
    check_withdrawals,
    compute_burned,
)
from manaflow.rules.signed import check_signed
from manaflow.rules.signing import check_b8_masks
from manaflow.rules.system import EMPTY_LOGS_HASH
from manaflow.validator import checks as twins
from manaflow.validator.checks import check_block, check_transactions
from manaflow.validator.conflicts import signed_makers
from manaflow.validator.execution import kinds_of
from manaflow.validator.kernels import judging as kernels
from manaflow.validator.transactions import Ancestry, Transactions
from tests.chain import CHAIN_ID, PRODUCER, Chain, Transfer, chain_config, word
from tests.conftest import is_nightly
from tests.declared_chain import sealed_chain

CODE = b"\x60\x01\x60\x00\x55"
SLOT = (Mark.STORAGE, bytes.fromhex("cc" * 20), word(3))
FRESH = (Mark.STORAGE, bytes.fromhex("cc" * 20), word(99))


@cache
def chain() -> Chain:
    """Three blocks with every kind of envelope, system calls, withdrawals, codes and block hashes."""
    ancestors = tuple((n, keccak256(bytes([n]))) for n in range(3, 9))
    config = chain_config(
        fork=Fork.PRAGUE, blobs=PRAGUE_BLOBS, system_calls=CALL_ORDER, genesis_number=10, ancestors=ancestors
    )
    made = Chain(config=config, slots=8, ancestors=ancestors)
    contract = (Mark.CODE, bytes.fromhex("cd" * 20), ZERO32)
    hash_of = [(Mark.BLOCKHASH, ZERO20, word(n)) for n in range(13)]
    paid = (Withdrawal(1, 2, made.addresses[0], 5), Withdrawal(2, 2, bytes(20), 7), Withdrawal(3, 2, bytes(20), 0))
    made.seal([Transfer(0, 1, reads=(SLOT, FRESH, hash_of[5]))])
    made.seal(
        [
            Transfer(1, 2, kind=3, blobs=2, writes=((SLOT, word(0)),)),
            Transfer(2, 2, kind=2, writes=((FRESH, word(1)),)),
        ],
        withdrawals=paid,
    )
    made.seal(
        [
            Transfer(0, 3, writes=((SLOT, word(7)), (contract, keccak256(CODE)))),
            Transfer(0, 4, kind=2, reads=(hash_of[8], hash_of[9], hash_of[11], hash_of[12], contract)),
            Transfer(5, 0, kind=3, blobs=1, reads=(SLOT,)),
        ],
        codes=[CODE],
        withdrawals=paid,
    )
    return made


def ancestry(made: Chain, i: int, config: ChainConfig | None = None) -> Ancestry:
    """What block i of the chain is judged beside."""
    frontier = trees.Frontier()
    for block in made.blocks[: i - 1]:
        frontier.append(trees.leaf_hash(block.hash))
    return Ancestry(config or made.config, made.blocks[i - 1].header, frontier, made.state.hashes.get)


def columns(block: Block, config: ChainConfig) -> Transactions:
    kinds = kinds_of(config, block)
    system = {t: kind for t, kind in enumerate(kinds) if kind is not None}
    codes = frozenset(keccak256(code) for code in block.codes)
    envelopes = decode_envelopes(block.envelopes, 1)
    return Transactions(block, block.leaves.move_offsets(), system, envelopes, kinds.index(None), codes)


def judge_plainly(block: Block, context: Ancestry) -> None:
    """The rules one after another, one transaction after another: what check_transactions must equal."""
    config, header, leaves = context.config, block.header, block.leaves.objects()
    kinds, bounds = kinds_of(config, block), block.leaves.move_offsets().tolist()
    moves = [block.moves.take(start, stop).objects() for start, stop in itertools.pairwise(bounds)]
    raws = [b"" if kind is not None else block.envelopes[t - kinds.index(None)] for t, kind in enumerate(kinds)]

    def each(rule: Callable[[int], object], count: int = len(leaves)) -> None:
        for t in range(count):
            try:
                rule(t)
            except Verdict as verdict:
                raise verdict.at(t) from None

    def signed(t: int) -> None:
        if kinds[t] is None:
            check_signed(raws[t], config, leaves[t].txid, moves[t], leaves[t].status, header.number)

    each(signed)
    decoded = [decode_envelope(raw) if raw else None for raw in raws]
    fees = [
        compute_fees_added(tx.effective_gas_price(header.base_fee), header.base_fee, leaf.gas_used)
        if tx and config.profile == Profile.MANAFLOW
        else 0
        for tx, leaf in zip(decoded, leaves, strict=True)
    ]
    blobs = [tx.blob_gas if tx else 0 for tx in decoded]
    check_b3_first(header, leaves[0])
    each(lambda t: check_b3_pair(leaves[t], leaves[t + 1], fees[t], blobs[t]), len(leaves) - 1)
    last = len(leaves) - 1
    each(lambda t: check_b3_last(header, leaves[t], fees[t], blobs[t]) if t == last else None)
    parameters = config.blobs_at(header.timestamp)
    blob_fee = blob_base_fee(header.excess_blob_gas, parameters.update_fraction) if parameters else 0

    def moved(t: int) -> None:
        if kinds[t] is not None:
            check_b8_masks(moves[t])
        check_m4(moves[t])
        check_m4_precompiles(moves[t], precompiles(config.entry_at(header.timestamp).fork))
        check_m2(moves[t])
        check_m5(moves[t])
        check_m5_counts(moves[t], leaves[t].consumes, leaves[t].references)
        check_m1(moves[t])
        tx = decoded[t]
        if tx is not None:
            check_m3(moves[t], recover_sender(tx), tx.nonce)
            burned = compute_burned(config.profile, tx, leaves[t].gas_used, header.base_fee, blob_fee)
            check_m6(moves[t], burned)
        elif kinds[t] == SystemKind.WITHDRAWALS:
            check_withdrawals(moves[t], block.withdrawals)
        elif kinds[t] == SystemKind.FEES:
            check_fees(moves[t], header.coinbase, header.fees)
        else:
            check_m6(moves[t], 0)

    each(moved)
    each(lambda t: check_b4(moves[t], {keccak256(code) for code in block.codes}))
    seen = {k: v for k in range(header.number - 1) if (v := context.seen(k)) is not None}
    each(lambda t: check_b5(moves[t], header.number, seen | {header.number - 1: header.seen_parent_hash}))


def outcome(judged: Callable[[], object]) -> dict[str, Any] | None:
    try:
        judged()
    except Verdict as verdict:
        return verdict.as_json()
    return None


def copied(columns_: Any) -> Any:
    return type(columns_)(*(getattr(columns_, name).copy() for name in columns_.__slots__))


KINDS = ("bit", "bit", "row", "swap", "field", "field", "mask", "leaf", "leaf", "count", "hash", "envelope", "body")


def mutate(block: Block, rng: random.Random, config: ChainConfig) -> Block:
    """The block with one thing about its moves, leaves, envelopes, codes or withdrawals changed."""
    moves, leaves = copied(block.moves), copied(block.leaves)
    block = replace(block, moves=moves, leaves=leaves)
    kind = rng.choice(KINDS)
    n = len(moves)
    if kind == "bit":
        column = getattr(moves, rng.choice(Moves.__slots__))
        flat = column.reshape(n, -1).view(np.uint8)
        flat[rng.randrange(n), rng.randrange(flat.shape[1])] ^= 1 << rng.randrange(8)
    elif kind == "row":
        to, source = rng.randrange(n), rng.randrange(n)
        for name in rng.sample(Moves.__slots__, rng.randrange(1, 8)):
            getattr(moves, name)[to] = getattr(moves, name)[source]
    elif kind == "swap":
        i = rng.randrange(n - 1)
        for name in Moves.__slots__:
            column = getattr(moves, name)
            column[[i, i + 1]] = column[[i + 1, i]]
    elif kind == "field":
        i = rng.randrange(n)
        name, value = rng.choice(
            (
                ("number", 0), ("number", 2**64 - 1), ("mark", rng.choice(b"bcensx")), ("addr", 0), ("slot", 0),
                ("prev", 0), ("next", 0), ("next", 255), ("prev", 255), ("prev", moves.next[i].copy()),
                ("next", moves.prev[i].copy()),
            )
        )  # fmt: skip
        getattr(moves, name)[i] = value
        if rng.random() < 0.3:
            moves.addr[i] = 0
            moves.addr[i, 19] = rng.choice((1, 9, 10, 17, 18))
    elif kind == "mask":
        moves.mask[rng.randrange(n)] = rng.choice((0x3F, 0xBF, 0x7F, 0xFF, 0x3E, 0))
    elif kind == "leaf":
        column = getattr(leaves, rng.choice(("txid", "gas_used", "first_cell", "gas", "fees", "blob_gas")))
        flat = column.reshape(len(leaves), -1).view(np.uint8)
        flat[rng.randrange(len(leaves)), rng.randrange(flat.shape[1])] ^= 1 << rng.randrange(8)
    elif kind == "count":
        t = rng.randrange(len(leaves))
        if leaves.references[t]:
            leaves.consumes[t] += 1
            leaves.references[t] -= 1
    elif kind == "hash":
        rows = np.flatnonzero(moves.mark == Mark.BLOCKHASH)
        for i in rows[:1].tolist():
            name, byte = rng.choice((("slot", 31), ("slot", 31), ("slot", 23), ("prev", 0)))
            getattr(moves, name)[i, byte] ^= 1 << rng.randrange(3)
            moves.next[i] = moves.prev[i]
    elif kind == "envelope":
        raws = [bytearray(raw) for raw in block.envelopes]
        raw = rng.choice(raws)
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        block = replace(block, envelopes=tuple(map(bytes, raws)))
        if rng.random() < 0.5:
            first = kinds_of(config, block).index(None)
            for i, one in enumerate(block.envelopes):
                leaves.txid[first + i] = np.frombuffer(keccak256(one), np.uint8)
    elif rng.random() < 0.5:
        block = replace(block, codes=())
    elif block.withdrawals:
        changed = replace(block.withdrawals[0], amount=rng.choice((1, 6)))
        block = replace(block, withdrawals=(changed, *block.withdrawals[1:]))
    return block


def same_verdict(block: Block, context: Ancestry) -> dict[str, Any] | None:
    expected = outcome(lambda: judge_plainly(block, context))
    assert outcome(lambda: check_transactions(columns(block, context.config), context)) == expected
    return expected


@pytest.mark.parametrize("i", [1, 2, 3])
def test_valid_blocks_are_accepted_by_both(i: int) -> None:
    made = chain()
    assert same_verdict(made.blocks[i], ancestry(made, i)) is None
    checked = check_block(made.blocks[i], ancestry(made, i))
    assert checked.code_hashes == tuple(keccak256(code) for code in made.blocks[i].codes)


@pytest.mark.parametrize("few", [kernels.FEW, 0])
def test_invalid_blocks_get_the_plain_verdict(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel for small blocks and by the parallel one."""
    monkeypatch.setattr(kernels, "FEW", few)
    rng, made, seen = random.Random(few), chain(), set()
    for _ in range(6000 if is_nightly() else 250):
        i = rng.choice((1, 2, 3, 3))
        block = made.blocks[i]
        for _ in range(rng.choice((1, 1, 2))):
            block = mutate(block, rng, made.config)
        verdict = same_verdict(block, ancestry(made, i))
        seen.add(verdict["rule"] if verdict else None)
    assert seen >= {"S1", "B3", "B4", "B5", "B8", "M1", "M2", "M3", "M4", "M5", "M6", None}


def declared_ancestry(i: int) -> Ancestry:
    """What block i of the chain of declared transactions is judged beside."""
    chain_, frontier = sealed_chain(), trees.Frontier()
    for block in chain_.producer.blocks[: i - 1]:
        frontier.append(trees.leaf_hash(block.hash))
    hashes = {block.header.number: block.hash for block in chain_.producer.blocks}
    return Ancestry(chain_.config, chain_.producer.blocks[i - 1].header, frontier, hashes.get)


@pytest.mark.parametrize("i", [1, 2, 3])
def test_declared_transactions_are_accepted_by_both(i: int) -> None:
    block = sealed_chain().producer.blocks[i]
    assert same_verdict(block, declared_ancestry(i)) is None
    checked = check_block(block, declared_ancestry(i))
    signed = [(t, k, txid) for t in range(len(block.leaves)) for k, txid in sorted(signed_makers(block, t).items())]
    rows = [int(block.leaves.move_offsets()[t]) + k for t, k, _ in signed]
    assert checked.makers.rows.tolist() == rows
    assert checked.makers.txids.tobytes() == b"".join(txid for _, _, txid in signed)


DECLARED_KINDS = ("number", "shown", "mask", "mask", "status", "header", "swap")


def mutate_declared(block: Block, rng: random.Random) -> Block:
    """What only declared transactions mind, changed: masks, signed fields, status, the block's number."""
    moves, leaves, kind = copied(block.moves), copied(block.leaves), rng.choice(DECLARED_KINDS)
    i, t = rng.randrange(len(moves)), rng.randrange(len(leaves))
    if kind == "mask":
        moves.mask[i] ^= rng.choice((1, 2, 4, 8, 16, 32, 63, 64, 128))
    elif kind == "shown":
        column = getattr(moves, rng.choice(("prev", "next", "slot")))
        column[i, 31] ^= 1
    elif kind == "number":
        moves.number[i] = rng.randrange(30)
    elif kind == "status":
        leaves.status[t] ^= 1
    elif kind == "swap":
        moves.mask[i] = moves.mask[rng.randrange(len(moves))]
    else:
        return replace(block, header=replace(block.header, number=rng.choice((4, 9, 10))))
    return replace(block, moves=moves, leaves=leaves)


@pytest.mark.parametrize("few", [kernels.FEW, 0])
def test_invalid_declared_transactions_get_the_plain_verdict(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "FEW", few)
    rng, chain_, seen = random.Random(few), sealed_chain(), set()
    for _ in range(4000 if is_nightly() else 200):
        i = rng.choice((1, 3, 3))
        block = chain_.producer.blocks[i]
        for _ in range(rng.choice((1, 1, 2))):
            block = mutate_declared(block, rng) if rng.random() < 0.5 else mutate(block, rng, chain_.config)
        verdict = same_verdict(block, declared_ancestry(i))
        seen.add(verdict["rule"] if verdict else None)
    assert seen >= {"S1", "S2", "S3", "S4", "B3", "M2", "M4", "M5", None}


def filled(chain_: Chain, transfer: Transfer) -> tuple[Block, list[Move], Ancestry]:
    """A block of one transfer, its moves, and what it is judged beside."""
    block = chain_.seal([transfer])
    return block, block.moves.objects(), ancestry(chain_, len(chain_.blocks) - 1)


def with_rows(block: Block, rows: list[Move]) -> Block:
    """The block over other moves of its one transaction, in M5's order, counted anew."""
    rows = sorted(rows, key=lambda move: (move.is_reference, move.location))
    leaves = copied(block.leaves)
    leaves.consumes[0] = sum(not move.is_reference for move in rows)
    leaves.references[0] = len(rows) - leaves.consumes[0]
    header = replace(block.header, cells=int(leaves.consumes[0]))
    return replace(block, header=header, leaves=leaves, moves=Moves.of(rows))


def test_a_location_that_stands_twice_is_found_wherever_it_stands() -> None:
    made = Chain(slots=12)
    writes = tuple(((Mark.STORAGE, made.contract, word(i)), word(99)) for i in (1, 4, 5, 9))
    reads = tuple((Mark.STORAGE, made.contract, word(i)) for i in (0, 2, 3, 6, 7, 8, 10))
    block, rows, context = filled(made, Transfer(0, 1, writes=writes, reads=reads))
    assert same_verdict(with_rows(block, rows), context) is None
    for i, j in itertools.permutations(range(len(rows)), 2):
        same_place = replace(rows[j], mark=rows[i].mark, addr=rows[i].addr, slot=rows[i].slot)
        doubled = with_rows(block, [*rows[:j], same_place, *rows[j + 1 :]])
        assert same_verdict(doubled, context)["rule"] in ("M1", "M4")


@pytest.mark.parametrize("prev", [1, 4, 2 + 2**64, 2 + 2**128, 2 + 2**192, 2 << 8])
def test_the_nonce_consumed_is_the_envelopes(prev: int) -> None:
    made = Chain()
    for _ in range(2):
        made.seal([Transfer(0, 1)])
    block, rows, context = filled(made, Transfer(0, 1))
    at = next(i for i, move in enumerate(rows) if move.mark == Mark.NONCE)
    assert rows[at].prev == word(2)
    wrong = with_rows(block, [*rows[:at], replace(rows[at], prev=word(prev)), *rows[at + 1 :]])
    verdict = same_verdict(wrong, context)
    assert verdict is not None
    assert (verdict["rule"], verdict["actual"]) == ("M3", str(prev))


def test_totals_that_wrap_around_are_refused() -> None:
    """gas + gas used = the next total modulo 2^64, and not over the integers."""
    made = chain()
    leaves = copied(made.blocks[3].leaves)
    at = int(np.flatnonzero(leaves.gas)[0])
    leaves.gas_used[at], leaves.gas[at + 1] = np.uint64(2**64 - 1), leaves.gas[at] - np.uint64(1)
    verdict = same_verdict(replace(made.blocks[3], leaves=leaves), ancestry(made, 3))
    assert verdict is not None
    assert (verdict["rule"], verdict["what"], verdict["transaction"]) == ("B3", "gas before", at)


def with_fees(block: Block) -> Block:
    """A block of profile `manaflow` with its running fees, and the closing leaf that credits them."""
    header, total, before = block.header, 0, []
    for raw in block.envelopes:
        before.append(total)
        total += compute_fees_added(decode_envelope(raw).effective_gas_price(header.base_fee), header.base_fee, 21_000)
    last, cells = block.leaves[len(block.leaves) - 1], block.header.cells
    credit = Move(UNSIGNED, Mark.BALANCE, 0, header.coinbase, ZERO32, ZERO32, word(total))
    closing = Leaf(
        system_txid(SystemKind.FEES, CHAIN_ID, header.number), ZERO32, 1, 0, 1, 0, EMPTY_LOGS_HASH,
        header.first_cell + cells, last.gas + last.gas_used, total, 0,
    )  # fmt: skip
    leaves = [replace(leaf, fees=fees) for leaf, fees in zip(block.leaves.objects(), before, strict=True)]
    return replace(
        block,
        header=replace(header, fees=total, cells=cells + 1),
        leaves=Leaves.of([*leaves, closing]),
        moves=Moves.of([*block.moves.objects(), credit]),
    )


def test_fees_and_prices_of_profile_manaflow_get_the_plain_verdict() -> None:
    config = replace(chain_config(), profile=Profile.MANAFLOW)
    made, rng, seen = Chain(config=config, slots=8), random.Random(7), set()
    made.seal([Transfer(0, 1), Transfer(1, 2, kind=2, gas_price=10**10), Transfer(2, 3, kind=2, tip=5)])
    honest, context = with_fees(made.blocks[1]), ancestry(made, 1)
    assert same_verdict(honest, context) is None
    dearer = replace(honest, header=replace(honest.header, fees=honest.header.fees + 1))
    verdict = same_verdict(dearer, context)
    assert verdict is not None
    assert (verdict["rule"], verdict["what"]) == ("B3", "fees")
    for _ in range(600 if is_nightly() else 150):
        found = same_verdict(mutate(honest, rng, config), context)
        seen.add(found["rule"] if found else None)
    assert seen >= {"B3", "S1", "M6", "M2", None}


@pytest.mark.parametrize(
    ("prev", "next_", "refused"),
    [
        (2**256 - 1, 2**256 - 1, False),
        (2**256 - 1, 0, False),
        (0, 2**256 - 1, True),
        (2**64, 2**64, False),
        (2**32 - 1, 2**32, True),
        (1, 0, False),
    ],
)
def test_sums_of_balances_are_exact_at_both_sides_of_a_limb(prev: int, next_: int, refused: bool) -> None:
    """M6 over 320 bits and more: two extra balances that cancel, or do not, beside a valid transfer."""
    made = Chain()
    block = made.seal([Transfer(0, 1)])
    moves = [m for m in block.moves.objects() if not m.is_reference]
    extra = [
        replace(moves[0], addr=b"\x01" * 20, number=1, prev=word(prev), next=word(next_)),
        replace(moves[0], addr=b"\x02" * 20, number=2, prev=word(2**256 - 1), next=word(2**256 - 2)),
    ]
    rows = sorted([*moves, *extra], key=lambda m: m.location)
    leaves = copied(block.leaves)
    leaves.consumes[0], leaves.references[0] = len(rows), 0
    header = replace(block.header, cells=len(rows))
    found = same_verdict(replace(block, header=header, moves=Moves.of(rows), leaves=leaves), ancestry(made, 1))
    prevs_exceed = prev + 1 >= next_
    if prev == next_:
        assert found is not None
        assert found["rule"] == "M2"
    else:
        assert (found is not None and found["rule"] == "M6") == (refused and not prevs_exceed)


def test_a_twin_that_refuses_a_valid_transaction_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made = chain()
    monkeypatch.setattr(twins, "judge", lambda transactions, config: np.full(len(transactions), 1, np.uint32))
    with pytest.raises(Failure, match="internal error: the kernels refuse transaction 0"):
        check_transactions(columns(made.blocks[1], made.config), ancestry(made, 1))


def resealed(block: Block, **fields: Any) -> Block:
    header = replace(block.header, **fields)
    return replace(block, header=header, signature=sign(header.hash, PRODUCER.secret))


def rerooted(block: Block) -> Block:
    """With leaves' moves roots and the transactions root made to fit."""
    leaves = replace(block.leaves, moves_root=PYTHON.moves_roots(block.moves, block.leaves.move_offsets()))
    return resealed(replace(block, leaves=leaves), transactions_root=PYTHON.tree_root(leaves.encoded()))


def dropped_leaf(block: Block) -> Block:
    leaves = block.leaves.objects()
    count = leaves[-1].consumes + leaves[-1].references
    short = replace(block, leaves=Leaves.of(leaves[:-1]), moves=block.moves.take(0, len(block.moves) - count))
    return resealed(short, transactions=len(leaves) - 1)


def other_status(block: Block) -> Block:
    leaves = copied(block.leaves)
    leaves.status[2] = 0
    return replace(block, leaves=leaves)


def guarded(moves: Moves) -> Moves:
    return replace(moves, mask=moves.mask | np.uint8(Mask.GUARD))


BREAKS: dict[str, tuple[Callable[[Block], Block], Rule, str]] = {
    "timestamp": (lambda b: resealed(b, timestamp=1), Rule.B2, "timestamp"),
    "base fee": (lambda b: resealed(b, base_fee=b.header.base_fee + 1), Rule.B2, "base fee"),
    "first cell": (lambda b: resealed(b, first_cell=b.header.first_cell + 1), Rule.B2, "first cell"),
    "history": (lambda b: resealed(b, history_root=ZERO32), Rule.B6, "history root"),
    "stranger": (lambda b: replace(b, signature=sign(b.hash, bytes(31) + b"\1")), Rule.B7, "no producer"),
    "signature": (lambda b: replace(b, signature=b""), Rule.B7, "length"),
    "leaves": (lambda b: resealed(b, transactions=b.header.transactions + 1), Rule.B3, "number of leaves"),
    "codes": (lambda b: replace(b, codes=()), Rule.B3, "number of codes"),
    "other code": (lambda b: replace(b, codes=(b"\1",)), Rule.B3, "codes root"),
    "moves": (lambda b: replace(b, moves=b.moves.take(0, len(b.moves) - 1)), Rule.B3, "number of moves"),
    "withdrawals": (lambda b: replace(b, withdrawals=()), Rule.B3, "withdrawals root"),
    "dropped leaf": (dropped_leaf, Rule.B8, "number of leaves"),
    "moves root": (lambda b: replace(b, moves=replace(b.moves, number=b.moves.number + 1)), Rule.B3, "moves root"),
    "outcome": (other_status, Rule.B3, "transactions root"),
    "envelope gone": (lambda b: replace(b, envelopes=b.envelopes[1:]), Rule.B8, "number of leaves"),
    "guard": (lambda b: rerooted(replace(b, moves=guarded(b.moves))), Rule.S1, "mask"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_invalid_header_counts_and_roots(name: str) -> None:
    made = chain()
    broken, rule, what = BREAKS[name]
    with pytest.raises(Verdict) as caught:
        check_block(broken(made.blocks[3]), ancestry(made, 3))
    assert caught.value.rule == rule
    assert what in caught.value.what
