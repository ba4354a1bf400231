"""The native engine on small worlds: what real blocks do not show."""

from __future__ import annotations

import contextlib
import random

import pytest
import rlp

from manaflow import _native
from manaflow._native import Codes, World
from manaflow.errors import Rule, Undeclared, Unsupported, Verdict
from manaflow.moves.hashing import keccak256
from tests.native.crafted import ALICE, CONTRACT, blob_transfer, environment, run, transfer, word

RICH = b"\xa9" * 20


def test_a_delegation_is_plain_code_before_prague() -> None:
    delegation = bytes.fromhex("ef0100") + b"\xdd" * 20
    with pytest.raises(Undeclared) as caught:
        run(delegation, [])
    assert (caught.value.mark, caught.value.addr) == (b"c", b"\xdd" * 20)
    assert run(delegation, [], fork=2).status == 0


def test_random_code_runs_or_is_refused() -> None:
    source = random.Random(5)
    cells = [(mark, ALICE, 0, 0) for mark in "bcn"] + [("b", CONTRACT, 0, 5), ("n", CONTRACT, 0, 1)]
    for _ in range(300):
        code = b"".join(source.choice([b"\x60\x01", b"\x73" + ALICE, source.randbytes(1)]) for _ in range(40))
        with contextlib.suppress(Undeclared, Unsupported):
            run(code, cells, fork=source.randrange(5))


def test_a_balance_beyond_256_bits_stops_with_a_clear_error() -> None:
    call = bytes.fromhex("6000600060006000600173") + ALICE + bytes.fromhex("5af100")
    cells = [("b", CONTRACT, 0, 5), ("b", ALICE, 0, 2**256 - 1), ("c", ALICE, 0, 0)]
    with pytest.raises(Unsupported, match="overflows 256 bits"):
        run(call, cells)


def test_an_old_selfdestruct_of_an_older_account_stops_with_a_clear_error() -> None:
    code, cells = b"\x73" + ALICE + b"\xff", [("b", CONTRACT, 0, 0)]
    with pytest.raises(Unsupported, match=f"SELFDESTRUCT of 0x{CONTRACT.hex()}"):
        run(code, cells, fork=1)
    assert run(code, cells, fork=2).status == 1


@pytest.mark.parametrize("reverts", [False, True])
def test_an_old_selfdestruct_counts_unless_it_is_reverted(reverts: bool) -> None:
    """The contract calls itself with one byte; there it destroys itself; then the outer frame ends well or not."""
    outer = bytes.fromhex("36601e576000600060016000600030620f4240f1") + (b"\xfe" if reverts else b"\x00")
    code = outer.ljust(30, b"\0") + b"\x5b\x73" + ALICE + b"\xff"
    if reverts:
        assert run(code, [("b", CONTRACT, 0, 0)], fork=1).status == 0
    else:
        with pytest.raises(Unsupported):
            run(code, [("b", CONTRACT, 0, 0)], fork=1)


def judged(prev: int, after: int) -> int:
    """The verdict on a contract whose new child reads its slot 0; the moves say that it held `prev`, holds `after`."""
    child = keccak256(rlp.encode([CONTRACT, 1]))[12:]
    code = bytes.fromhex("6460005450006000526005601b6000f000")
    codes = Codes()
    rows = [
        ("n", child, 0, 0, 1),
        ("n", CONTRACT, 0, 1, 2),
        ("c", child, 0, 0, 0),
        ("c", CONTRACT, 0, *[int.from_bytes(codes.add(code), "big")] * 2),
        ("s", child, 0, prev, after),
    ]
    verdicts = _native.execute_block(
        environment(),
        "".join(row[0] for row in rows).encode(),
        b"".join(row[1] for row in rows),
        *(b"".join(word(row[i]) for row in rows) for i in (2, 3, 4)),
        bytes([0x3F, 0x3F, 0xBF, 0xBF, 0xBF]),
        [0, 5],
        [b""],
        {0: (CONTRACT, b"")},
        bytes(20),
        b"\1",
        [0],
        keccak256(b"\xc0"),
        [0],
        [0],
        codes,
    )
    return verdicts[0]


def test_a_new_account_has_empty_slots_whatever_its_moves_say() -> None:
    assert judged(0, 0) == 0
    assert judged(5, 5) == Rule.X2
    assert judged(5, 0) == Rule.X2


# ---- filling ----


def rich_world() -> World:
    world = World()
    world.load(b"b", RICH, word(0), word(10**30))
    return world


def test_a_fill_adds_up_the_gas_of_its_steps() -> None:
    steps = [transfer(0), transfer(1)]
    world = rich_world()
    with pytest.raises(Verdict, match="20999 gas") as caught:
        world.fill(environment(gas_limit=41_999), steps, RICH * 2, {}, Codes())
    assert (caught.value.rule, caught.value.transaction) == (Rule.X0, 1)
    assert world.fill(environment(gas_limit=42_000), steps, RICH * 2, {}, Codes()).statuses == b"\1\1"


def test_a_fill_adds_up_the_blob_gas_of_its_steps() -> None:
    world = rich_world()
    with pytest.raises(Verdict, match="blob gas") as caught:
        world.fill(environment(), [blob_transfer(0, 5), blob_transfer(1, 5)], RICH * 2, {}, Codes())
    assert (caught.value.rule, caught.value.transaction) == (Rule.X0, 1)
    filled = world.fill(environment(), [blob_transfer(0, 5), blob_transfer(1, 4)], RICH * 2, {}, Codes())
    assert filled.statuses == b"\1\1"


def test_a_transaction_of_osaka_has_at_most_six_blobs() -> None:
    assert rich_world().fill(environment(fork=3), [blob_transfer(0, 7)], RICH, {}, Codes()).statuses == b"\1"
    assert rich_world().fill(environment(fork=4), [blob_transfer(0, 6)], RICH, {}, Codes()).statuses == b"\1"
    with pytest.raises(Verdict):
        rich_world().fill(environment(fork=4), [blob_transfer(0, 7)], RICH, {}, Codes())


def test_a_step_without_its_block_hash_fails_and_changes_nothing() -> None:
    world, codes = rich_world(), Codes()
    code = bytes.fromhex("60634000")
    world.load(b"c", CONTRACT, word(0), codes.add(code))
    steps = [transfer(0, 50_000, ALICE), transfer(1, 50_000)]
    with pytest.raises(Exception, match="transaction 1: the hash of block 99 is not at hand"):
        world.fill(environment(), steps, RICH * 2, {}, codes)
    assert world.get(ord("n"), RICH, word(0)) == word(0)
    filled = world.fill(environment(), steps, RICH * 2, {99: word(5)}, codes)
    assert filled.marks.count(b"e") == 1
    assert world.get(ord("n"), RICH, word(0)) == word(2)


# ---- logs ----


@pytest.mark.parametrize("size", [0, 1, 31, 32, 55, 56, 255, 256, 300, 70_000])
def test_logs_are_hashed_as_rlp(size: int) -> None:
    """LOG2 of `size` bytes of memory, and twice LOG0 of a single byte below and above 0x80."""
    log = b"\x62" + size.to_bytes(3, "big")
    code = bytes.fromhex("60ff60ee") + log + bytes.fromhex("6000a2") + bytes.fromhex("60016000a0607f60005360016000a0")
    code += bytes.fromhex("608060005360016000a000")
    world, codes = World(), Codes()
    world.load(b"cb", CONTRACT + RICH, bytes(64), codes.add(code) + word(10**30))
    filled = world.fill(environment(), [transfer(gas_limit=3_000_000)], RICH, {}, codes)
    logs = [[CONTRACT, [word(0xEE), word(0xFF)], bytes(size)]]
    logs += [[CONTRACT, [], data] for data in (b"\0", b"\x7f", b"\x80")]
    assert filled.statuses == b"\1"
    assert filled.logs == [rlp.encode(logs)]
    assert filled.logs_hashes == keccak256(rlp.encode(logs))
