"""Leaves are fixed width: every byte belongs to one field, and comes back."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from manaflow.errors import Rule, Verdict
from manaflow.moves.leaf import LEAF_BYTES, Leaf, Outcome, SystemKind, system_txid

LEAF = Leaf(
    txid=b"\x01" * 32, moves_root=b"\x02" * 32, consumes=3, references=4, status=1, gas_used=5, logs_hash=b"\x06" * 32,
    first_cell=7, gas=8, fees=9, blob_gas=10,
)  # fmt: skip
LARGEST = Leaf(
    b"\xff" * 32, b"\xff" * 32, 2**32 - 1, 2**32 - 1, 255, 2**64 - 1, b"\xff" * 32, 2**64 - 1, 2**64 - 1, 2**256 - 1,
    2**64 - 1,
)  # fmt: skip


def test_layout() -> None:
    assert LEAF_BYTES == 169
    assert LEAF.encode() == (
        b"\x01" * 32 + b"\x02" * 32 + b"\0\0\0\3" + b"\0\0\0\4" + b"\1" + bytes(7) + b"\5" + b"\x06" * 32
        + bytes(7) + b"\7" + bytes(7) + b"\x08" + bytes(31) + b"\x09" + bytes(7) + b"\x0a"
    )  # fmt: skip


@pytest.mark.parametrize("leaf", [LEAF, LARGEST, replace(LEAF, status=0, fees=2**255)])
def test_round_trip(leaf: Leaf) -> None:
    assert len(leaf.encode()) == LEAF_BYTES
    assert Leaf.decode(leaf.encode()) == leaf


def test_every_byte_counts() -> None:
    encoded = LEAF.encode()
    for at in range(LEAF_BYTES):
        changed = encoded[:at] + bytes((encoded[at] ^ 0x80,)) + encoded[at + 1 :]
        leaf = Leaf.decode(changed)
        assert leaf != LEAF
        assert leaf.encode() == changed


@pytest.mark.parametrize("data", [b"", LEAF.encode()[:-1], LEAF.encode() + b"\0"])
def test_invalid_lengths(data: bytes) -> None:
    with pytest.raises(Verdict) as caught:
        Leaf.decode(data)
    assert (caught.value.rule, caught.value.actual) == (Rule.B1, len(data))


@pytest.mark.parametrize(
    "name", ["consumes", "references", "status", "gas_used", "first_cell", "gas", "fees", "blob_gas"]
)
def test_invalid_numbers_do_not_encode(name: str) -> None:
    with pytest.raises(OverflowError):
        replace(LEAF, **{name: 2**256}).encode()


def test_outcome() -> None:
    assert LEAF.outcome == Outcome(1, 5, b"\x06" * 32)


def test_system_txids() -> None:
    preimage = b"manaflow system" + b"\2" + bytes(7) + b"\1" + bytes(6) + b"\1\0" + b"\0\0\0\3"
    assert system_txid(SystemKind.HISTORY, 1, 256, 3) == hashlib.sha256(preimage).digest()
    arguments = [
        (kind, chain, number, part) for kind in SystemKind for chain in (1, 2) for number in (1, 2) for part in (0, 1)
    ]
    assert len({system_txid(*each) for each in arguments}) == len(arguments)
