"""The Move as an object: its bits, its location, its 126 bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.moves.marks import UNSIGNED, Mark, Mask, Move

MOVE = Move(0x3F, Mark.STORAGE, 0x0102, b"\xaa" * 20, b"\xbb" * 32, b"\xcc" * 32, b"\xdd" * 32)


def test_marks_are_their_letters() -> None:
    assert bytes(sorted(Mark)) == b"bcens"


def test_mask_bits() -> None:
    assert [int(bit) for bit in Mask] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert UNSIGNED == Mask.INTX | Mask.PREV | Mask.NEXT | Mask.SLOT | Mask.ADDR | Mask.MARK


@pytest.mark.parametrize("mask", range(256))
def test_a_reference_is_one_bit(mask: int) -> None:
    assert replace(MOVE, mask=mask).is_reference == (mask >= 128)


def test_location_and_layout() -> None:
    assert MOVE.location == (ord("s"), b"\xaa" * 20, b"\xbb" * 32)
    expected = b"\x3fs" + bytes(6) + b"\1\2" + b"\xaa" * 20 + b"\xbb" * 32 + b"\xcc" * 32 + b"\xdd" * 32
    assert MOVE.encode() == expected
    assert len(expected) == 126


def test_every_field_reaches_the_bytes() -> None:
    others = (
        replace(MOVE, mask=0xBF), replace(MOVE, mark=Mark.BALANCE), replace(MOVE, number=2**64 - 1),
        replace(MOVE, addr=b"\xab" * 20), replace(MOVE, slot=b"\xab" * 32), replace(MOVE, prev=b"\xab" * 32),
        replace(MOVE, next=b"\xab" * 32),
    )  # fmt: skip
    assert len({move.encode() for move in (MOVE, *others)}) == 8
    with pytest.raises(OverflowError):
        replace(MOVE, number=2**64).encode()
