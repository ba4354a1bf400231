"""The native border: what it takes, what it refuses, and that nothing gets through as a panic."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from manaflow import _native
from manaflow._native import Codes, World
from manaflow.errors import Rule, Verdict
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32
from tests.native.crafted import ALICE, CONTRACT, environment, word

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


# ---- environment ----


def test_an_unknown_fork_is_refused() -> None:
    with pytest.raises(ValueError, match="no fork"):
        environment(fork=5)


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OverflowError):
        environment(gas_limit=2**64)


# ---- the stub ----


def test_the_stub_equals_the_library() -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "mypy.stubtest", "manaflow._native", "--mypy-config-file", "pyproject.toml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stdout
