"""The native border: what it takes, what it refuses, and that nothing gets through as a panic."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rlp

from manaflow import _native
from manaflow._native import Codes, Environment, World
from manaflow.errors import Rule, Undeclared, Unsupported, Verdict
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32

ALICE, CONTRACT = b"\xa1" * 20, b"\xc0" * 20


def environment(fork: int = 3, gas_limit: int = 30_000_000) -> Environment:
    return Environment(1, fork, 100, 1_000, b"\xfe" * 20, gas_limit, 7, ZERO32, 0, 1, 9, 5007716, True)


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def run(code: bytes, cells: list[tuple[str, bytes, int, int]], fork: int = 3) -> _native.Execution:
    """A system call of a contract with this code and the further cells (mark, addr, slot, value)."""
    codes = Codes()
    rows = [("c", CONTRACT, 0, int.from_bytes(codes.add(code), "big")), *cells]
    return _native.execute(
        environment(fork),
        (CONTRACT, b""),
        b"\xff" * 20,
        0,
        0,
        "".join(mark for mark, _, _, _ in rows).encode(),
        b"".join(addr for _, addr, _, _ in rows),
        b"".join(word(slot) for _, _, slot, _ in rows),
        b"".join(word(value) for _, _, _, value in rows),
        codes,
    )


# ---- codes ----


def test_codes_are_found_by_their_hash() -> None:
    codes = Codes()
    code = bytes.fromhex("600160015500")
    assert codes.add(code) == codes.add(code) == keccak256(code)
    assert len(codes) == 1
    assert keccak256(code) in codes
    assert codes.get(keccak256(code)) == code
    assert codes.get(ZERO32) is None
    assert codes.get(b"short") is None
    assert b"short" not in codes


@pytest.mark.parametrize("code", ["", "ef", "ef01", "ef0100", "ef0101" + "11" * 20, "ef0100" + "11" * 20, "5b" * 24577])
def test_any_bytes_are_a_code(code: str) -> None:
    codes = Codes()
    assert codes.get(codes.add(bytes.fromhex(code))) == bytes.fromhex(code)


def test_a_delegation_is_plain_code_before_prague() -> None:
    delegation = bytes.fromhex("ef0100") + b"\xdd" * 20
    with pytest.raises(Undeclared) as caught:
        run(delegation, [])
    assert (caught.value.mark, caught.value.addr) == (b"c", b"\xdd" * 20)
    assert run(delegation, [], fork=2).status == 0


# ---- columns ----


def test_columns_may_be_bytes_or_arrays() -> None:
    for column in (bytes, lambda raw: np.frombuffer(raw, np.uint8), lambda raw: np.frombuffer(raw, np.uint8)[None]):
        world = World()
        world.load(column(b"bs"), column(ALICE + CONTRACT), column(word(0) + word(5)), column(word(7) + word(8)))
        assert world.get(ord("b"), ALICE, word(0)) == word(7)
        assert world.get(ord("s"), CONTRACT, word(5)) == word(8)
        assert world.get(ord("n"), ALICE, word(0)) == ZERO32


@pytest.mark.parametrize(
    "columns", [(b"b", ALICE, word(0), b""), (b"bb", ALICE, word(0), word(1)), (b"", ALICE, b"", b"")]
)
def test_columns_of_different_lengths_are_refused(columns: tuple[bytes, bytes, bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="lengths"):
        World().load(*columns)


def test_a_column_of_wider_numbers_is_refused() -> None:
    with pytest.raises(BufferError):
        World().load(b"b", np.zeros(20, np.uint16), word(0), word(1))


@pytest.mark.parametrize("location", [("x", 0, 0), ("b", 1, 0), ("n", 0, 2**64), ("c", 5, 0)])
def test_a_cell_that_no_chain_holds_is_refused(location: tuple[str, int, int]) -> None:
    mark, slot, value = location
    with pytest.raises(Verdict) as caught:
        World().load(mark.encode(), ALICE, word(slot), word(value))
    assert caught.value.rule == Rule.M4


def block_arguments() -> dict[str, object]:
    """A block of one leaf that executes nothing and has one move."""
    return {
        "marks": b"b", "addrs": ALICE, "slots": word(0), "prevs": word(1), "nexts": word(1), "masks": b"\xbf",
        "offsets": [0, 1], "envelopes": [b""], "system": {}, "senders": bytes(20), "statuses": b"\1", "gas_used": [0],
        "logs_hashes": ZERO32, "gas_before": [0], "blob_gas_before": [0], "codes": Codes(),
    }  # fmt: skip


def judge(**changed: object) -> bytes:
    return _native.execute_block(environment(), **(block_arguments() | changed))


def test_a_leaf_that_executes_nothing_is_fine() -> None:
    assert judge() == b"\0"


@pytest.mark.parametrize(
    "changed",
    [
        {"marks": b"bb"}, {"nexts": b""}, {"masks": b""}, {"offsets": [0]}, {"offsets": [0, 2]}, {"offsets": [1, 1]},
        {"offsets": [0, 1, 1]}, {"offsets": [0, 2**63]}, {"envelopes": []}, {"envelopes": [b"", b""]},
        {"system": {1: (ALICE, b"")}}, {"senders": bytes(19)}, {"statuses": b""}, {"gas_used": []},
        {"logs_hashes": b""}, {"gas_before": [0, 0]}, {"blob_gas_before": []}, {"order": [1]}, {"order": [2**63]},
        {"order": np.array([-1])}, {"offsets": np.array([0, -1])},
    ],
    ids=str,
)  # fmt: skip
def test_a_block_whose_lengths_do_not_fit_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"lengths|order|negative"):
        judge(**changed)


def test_bytes_that_are_no_envelope_break_s1() -> None:
    for raw in (b"\xc0", b"\x05", b"\x02\xc0", b"\xff" * 9, bytes(3)):
        assert judge(envelopes=[raw]) == bytes([Rule.S1])


def test_noise_is_judged_and_never_panics() -> None:
    source = random.Random(4)
    for _ in range(300):
        rows = source.randrange(6)
        marks = bytes(source.choice(b"bcensx") for _ in range(rows))
        slots = b"".join(source.choice([word(0), word(99), source.randbytes(32)]) for _ in range(rows))
        values = b"".join(source.choice([word(0), word(1), b"\xff" * 32]) for _ in range(rows))
        addrs = b"".join(source.choice([CONTRACT, ALICE, bytes(20), word(9)[12:]]) for _ in range(rows))
        changed = {"marks": marks, "addrs": addrs, "slots": slots, "prevs": values, "nexts": values}
        verdict = judge(**changed, masks=source.randbytes(rows), offsets=[0, rows], system={0: (CONTRACT, b"")})
        assert verdict[0] in (0, Rule.X1, Rule.X2, Rule.X3, Rule.X4, Rule.M1, Rule.M4)


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


# ---- environment ----


def test_an_unknown_fork_is_refused() -> None:
    with pytest.raises(ValueError, match="no fork"):
        environment(fork=5)


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OverflowError):
        environment(gas_limit=2**64)


# ---- logs ----


@pytest.mark.parametrize("size", [0, 1, 31, 32, 55, 56, 255, 256, 300, 70_000])
def test_logs_are_hashed_as_rlp(size: int) -> None:
    """LOG2 of `size` bytes of memory, and twice LOG0 of a single byte below and above 0x80."""
    log = b"\x62" + size.to_bytes(3, "big")
    code = bytes.fromhex("60ff60ee") + log + bytes.fromhex("6000a2") + bytes.fromhex("60016000a0607f60005360016000a0")
    code += bytes.fromhex("608060005360016000a000")
    world, codes = World(), Codes()
    sender = b"\xa9" * 20
    world.load(b"cb", CONTRACT + sender, bytes(64), codes.add(code) + word(10**30))
    fields = [0, 7, 3_000_000, CONTRACT, 0, b"", 37, 1, 1]
    filled = world.fill(environment(), [rlp.encode(fields)], sender, {}, codes)
    logs = [[CONTRACT, [word(0xEE), word(0xFF)], bytes(size)]]
    logs += [[CONTRACT, [], data] for data in (b"\0", b"\x7f", b"\x80")]
    assert filled.statuses == b"\1"
    assert filled.logs == [rlp.encode(logs)]
    assert filled.logs_hashes == keccak256(rlp.encode(logs))


# ---- the stub ----


def test_the_stub_equals_the_library() -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "mypy.stubtest", "manaflow._native", "--mypy-config-file", "pyproject.toml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stdout
