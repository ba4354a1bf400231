"""Batches and replies on the wire: one encoding, every length bounded, nothing but verdicts for hostile bytes."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zstandard

from manaflow.errors import Rule, Verdict
from manaflow.moves.batch import EMPTY_BATCH, FULL, Batch, Cells, Reply, full, is_full
from manaflow.moves.columns import Moves
from manaflow.moves.envelopes import MAX_ENVELOPE_BYTES
from manaflow.moves.reply_json import MAX_TEXT, reply_as_json, reply_of_json
from manaflow.moves.wire_batch import LIMITS, BatchLimits, check_shape, decode_batch, encode_batch
from manaflow.moves.wire_file import Form

FILE_HEAD, COUNTS = 6, 12
"""Bytes before the content; bytes of the counts."""


def some_batch(seed: int = 1, transactions: int = 4) -> Batch:
    """Columns of random bytes, many of them zero: a decoder judges no more than structure."""
    rng = random.Random(seed)
    counts = [(rng.randrange(4), rng.randrange(4)) for _ in range(transactions)]
    n = sum(map(sum, counts))

    def rows(count: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        data = b"".join(rng.choice((bytes(width), rng.randbytes(width))) for _ in range(count))
        return np.frombuffer(data, np.uint8).reshape(count, width)

    def numbers(count: int, dtype: Any) -> Any:
        most = int(np.iinfo(dtype).max)
        return np.array([rng.choice((0, 1, most, rng.randrange(most))) for _ in range(count)], dtype)

    return Batch(
        envelopes=tuple(rng.randbytes(rng.randrange(200)) for _ in range(transactions)),
        consumes=np.array([c for c, _ in counts], np.uint32),
        references=np.array([r for _, r in counts], np.uint32),
        status=numbers(transactions, np.uint8),
        gas_used=numbers(transactions, np.uint64),
        logs_hash=rows(transactions, 32),
        moves=Moves(
            numbers(n, np.uint8), numbers(n, np.uint8), numbers(n, np.uint64), rows(n, 20), rows(n, 32), rows(n, 32),
            rows(n, 32),
        ),
        intx=rows(n, 32),
        codes=tuple(rng.randbytes(rng.randrange(50)) for _ in range(rng.randrange(3))),
    )  # fmt: skip


def same(a: Batch, b: Batch) -> bool:
    columns = ("consumes", "references", "status", "gas_used", "logs_hash", "intx")
    equal = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in columns)
    dtypes = all(getattr(a, name).dtype == getattr(b, name).dtype for name in columns)
    return equal and dtypes and a.moves.equals(b.moves) and (a.envelopes, a.codes) == (b.envelopes, b.codes)


def resealed(data: bytes) -> bytes:
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


def decoded(data: bytes) -> Batch | None:
    """The batch, None if B1 refuses it; nothing else may happen."""
    try:
        return decode_batch(data)
    except Verdict as verdict:
        if verdict.rule is not Rule.B1:
            raise
        return None


def refusal(data: bytes, limits: BatchLimits = LIMITS) -> Verdict:
    with pytest.raises(Verdict) as caught:
        decode_batch(data, limits)
    assert caught.value.rule is Rule.B1
    return caught.value


@pytest.mark.parametrize("seed", range(20))
def test_batches_come_back_as_they_were(seed: int) -> None:
    batch = some_batch(seed, transactions=seed)
    for level in (1, 3, 9):
        assert same(decode_batch(encode_batch(batch, level)), batch)


def test_the_empty_batch_and_its_form() -> None:
    data = encode_batch(EMPTY_BATCH)
    assert data[:6] == b"MANA\x01\x04"
    assert len(data) == FILE_HEAD + COUNTS + 32 + 32
    assert same(decode_batch(data), EMPTY_BATCH)


def test_other_forms_versions_and_broken_checksums_are_refused() -> None:
    data = encode_batch(some_batch())
    for at, value in ((0, 0), (4, 2), (5, Form.BLOCK), (5, Form.GENESIS)):
        assert refusal(resealed(data[:at] + bytes([value]) + data[at + 1 :]))
    assert "checksum" in str(refusal(data[:-1] + bytes([data[-1] ^ 1])))
    for cut in (0, 5, 37, len(data) - 1):
        refusal(data[:cut])
    refusal(resealed(data[:-32] + b"\0" + bytes(32)))


def test_lengths_are_bounded_before_memory_is_taken() -> None:
    batch = some_batch(3, 6)
    data = encode_batch(batch)
    n, codes = len(batch.moves), len(batch.codes)
    assert same(decode_batch(data, BatchLimits(len(data), 2**20, len(batch), n, max(codes, 1))), batch)
    for limits in (
        BatchLimits(file_bytes=len(data) - 1), BatchLimits(raw_bytes=100), BatchLimits(transactions=len(batch) - 1),
        BatchLimits(moves=n - 1), BatchLimits(codes=codes - 1),
    ):  # fmt: skip
        refusal(data, limits)
    for place in range(3):  # counts of 2^32 - 1
        at = FILE_HEAD + 4 * place
        refusal(resealed(data[:at] + b"\xff" * 4 + data[at + 4 :]))


def test_a_frame_that_expands_beyond_what_it_says_is_refused() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(2**24))
    lengths = (1000, len(bomb), 0, 0, 0, 0, 0, 0)
    content = struct.pack(">3I8I", 1, 0, 0, *lengths) + bomb
    refusal(resealed(b"MANA\x01\x04" + content + bytes(32)))


@pytest.mark.parametrize("seed", range(6))
def test_hostile_bytes_give_verdicts_and_one_encoding(seed: int) -> None:
    """Whatever decodes encodes to frames of the same content: no second form of one batch."""
    rng = random.Random(seed)
    data = encode_batch(some_batch(seed, 5))
    for _ in range(400):
        mutated = bytearray(data[:-32])
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(6, len(mutated))
            kind = rng.randrange(3)
            if kind == 0:
                mutated[at] = rng.randrange(256)
            elif kind == 1:
                del mutated[at : at + rng.randrange(1, 5)]
            else:
                mutated[at:at] = rng.randbytes(rng.randrange(1, 5))
        batch = decoded(resealed(bytes(mutated) + bytes(32)))
        assert batch is None or same(decode_batch(encode_batch(batch)), batch)


@pytest.mark.parametrize("seed", range(6))
def test_hostile_columns_give_verdicts(seed: int) -> None:
    """The same inside the frames, where zstd does not catch it."""
    rng = random.Random(seed)
    data = encode_batch(some_batch(seed, 5))
    accepted = 0
    for _ in range(300):
        frames = _frames(data)
        which = rng.randrange(4)
        frame = bytearray(frames[which])
        if frame:
            frame[rng.randrange(len(frame))] = rng.choice((0, 1, 32, 33, 255, rng.randrange(256)))
        frames[which] = bytes(frame)
        mutated = _with_frames(data, frames)
        batch = decoded(mutated)
        if batch is None:
            continue
        accepted += 1
        assert _frames(encode_batch(batch)) == frames, "one encoding"
    assert accepted > 20


def _frames(data: bytes) -> list[bytes]:
    lengths = struct.unpack(">8I", data[FILE_HEAD + COUNTS : FILE_HEAD + COUNTS + 32])
    at, frames = FILE_HEAD + COUNTS + 32, []
    for packed in lengths[1::2]:
        frames.append(zstandard.ZstdDecompressor().decompress(data[at : at + packed]) if packed else b"")
        at += packed
    return frames


def _with_frames(data: bytes, frames: list[bytes]) -> bytes:
    packed = [zstandard.ZstdCompressor().compress(frame) if frame else b"" for frame in frames]
    lengths = [length for pair in zip(frames, packed, strict=True) for length in map(len, pair)]
    head = data[: FILE_HEAD + COUNTS] + struct.pack(">8I", *lengths)
    return resealed(head + b"".join(packed) + bytes(32))


def test_shapes_that_do_not_fit_are_no_batch() -> None:
    batch = replace(some_batch(5), consumes=np.array([1, 0, 0, 0], np.uint32), references=np.zeros(4, np.uint32))
    batch = replace(batch, moves=batch.moves.take(0, 1), intx=batch.intx[:1])
    check_shape(batch)
    for wrong in (
        replace(batch, envelopes=batch.envelopes[1:]), replace(batch, status=batch.status[1:]),
        replace(batch, intx=batch.intx[:, :31]), replace(batch, intx=batch.intx[:0]),
        replace(batch, moves=batch.moves.take(0, 0), intx=batch.intx[:0]),
        replace(batch, envelopes=(bytes(MAX_ENVELOPE_BYTES + 1), *batch.envelopes[1:])),
    ):  # fmt: skip
        with pytest.raises(Verdict) as caught:
            encode_batch(wrong)
        assert caught.value.rule is Rule.B1


def some_reply(cells: int = 3) -> Reply:
    rng = random.Random(cells)
    columns = [
        np.frombuffer(rng.randbytes(cells * width), np.uint8).reshape(cells, width) for width in (20, 32, 32, 32)
    ]
    verdicts = (
        None,
        Verdict(Rule.V2, "cell 7 is consumed twice", transaction=1, move=3, winner=b"\x05" * 32),
        full(Rule.X0, "gas limit", "at most 5", 21_000).at(2),
        Verdict(Rule.V1, "value", transaction=3, expected=b"\x01" * 32, actual=b""),
    )
    return Reply(2**63, verdicts, 17, Cells(np.frombuffer(rng.randbytes(cells), np.uint8), *columns))


def through(reply: Reply) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(reply_as_json(reply)))
    return data


@pytest.mark.parametrize("cells", [0, 1, 5])
def test_replies_come_back_as_they_were(cells: int) -> None:
    reply = some_reply(cells)
    found = reply_of_json(through(reply))
    assert reply_as_json(found) == reply_as_json(reply)
    assert (found.block, found.sequence, len(found.cells)) == (2**63, 17, cells)
    for name in ("mark", "addr", "slot", "intx", "value"):
        assert np.array_equal(getattr(found.cells, name), getattr(reply.cells, name))
    assert [v and v.winner for v in found.verdicts] == [v and v.winner for v in reply.verdicts]
    assert [v is not None and is_full(v) for v in found.verdicts] == [False, False, True, False]
    assert str(found.verdicts[2]).startswith(f"X0, transaction 2: {FULL}")


def _set(path: tuple[Any, ...], value: Any) -> Any:
    data: Any = through(some_reply())
    at = data
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return data


@pytest.mark.parametrize(
    "data",
    [
        None, [], "x", {}, _set(("more",), 1), _set(("block",), -1), _set(("block",), True), _set(("block",), "1"),
        _set(("sequence",), 2**64), _set(("verdicts",), {}), _set(("verdicts",), [None] * (LIMITS.transactions + 1)),
        _set(("verdicts", 0), 7), _set(("verdicts", 1, "rule"), "V9"), _set(("verdicts", 1, "rule"), ["V1"]),
        _set(("verdicts", 1, "what"), None), _set(("verdicts", 1, "what"), "x" * (MAX_TEXT + 1)),
        _set(("verdicts", 1, "winner"), "0x05"), _set(("verdicts", 1, "winner"), "0x" + "G" * 64),
        _set(("verdicts", 1, "move"), 1.5), _set(("verdicts", 1, "expected"), 5), _set(("verdicts", 1, "more"), 5),
        _set(("cells",), None), _set(("cells", "mark"), "0x6"), _set(("cells", "addr"), "0x"),
        _set(("cells", "slot"), "0x00"), _set(("cells", "value"), "0x" + "0" * 70_000_000), _set(("cells", "intx"), 5),
    ],
)  # fmt: skip
def test_hostile_replies_give_verdicts(data: Any) -> None:
    with pytest.raises(Verdict) as caught:
        reply_of_json(data)
    assert caught.value.rule is Rule.B1
