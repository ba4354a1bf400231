"""The self-contained wire form: exact, one encoding per column, bounded, and never trusting (B1)."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow.errors import Rule, Verdict
from manaflow.moves import wire, wire_file
from manaflow.moves.block import Block
from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.hashing import PYTHON
from manaflow.moves.wire import (
    FRAMES,
    MAX_STRING_BYTES,
    GenesisFile,
    Limits,
    decode_block,
    decode_genesis,
    decode_header,
    encode_block,
    encode_genesis,
)
from manaflow.moves.words import Reader, encode_words
from tests.conftest import ROOT, is_nightly
from tests.moves.wire_blocks import header, honest_block, nonsense_block, same

SMALL = honest_block(1, 3)
SMALL_FILE = encode_block(SMALL)


def resealed(data: bytes) -> bytes:
    """The file with its last 32 bytes replaced by the checksum of the others."""
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


def taken_apart(data: bytes) -> tuple[bytes, list[int], list[bytes]]:
    """(everything before the counts, counts, raw frames) of a file."""
    at = 6 + 2 + int.from_bytes(data[6:8], "big")
    at += 1 + data[at]
    counts = list(struct.unpack_from(">7I", data, at))
    lengths = struct.unpack_from(">14I", data, at + 28)
    frames, place = [], at + 28 + 56
    for packed in lengths[1::2]:
        frames.append(zstandard.decompress(data[place : place + packed]) if packed else b"")
        place += packed
    assert place == len(data) - 32
    return data[:at], counts, frames


def put_together(head: bytes, counts: list[int], frames: list[bytes], **instead: tuple[int, bytes]) -> bytes:
    """A sealed file of raw frames; `instead` gives (raw length, packed bytes) for a frame by name."""
    packed = {
        name: (len(raw), zstandard.compress(raw, 1) if raw else b"") for name, raw in zip(FRAMES, frames, strict=True)
    } | instead
    lengths = [number for raw, data in packed.values() for number in (raw, len(data))]
    body = b"".join(data for _, data in packed.values())
    return resealed(head + struct.pack(">7I", *counts) + struct.pack(">14I", *lengths) + body + bytes(32))


def refusal(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(Verdict) as caught:
        decode_block(data, limits=limits or Limits())
    assert caught.value.rule is Rule.B1
    return str(caught.value)


def accepted(data: bytes) -> Block | None:
    """The block, or None if B1 refuses the file; anything else escapes and fails the test."""
    try:
        return decode_block(data)
    except Verdict as verdict:
        if verdict.rule is not Rule.B1:
            raise
        return None


def transactions_root(block: Block) -> bytes:
    return PYTHON.tree_root(block.leaves.encoded())


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 12), st.integers(0, 60))
def test_any_block_comes_back_exactly(seed: int, leaves: int, moves: int) -> None:
    block = nonsense_block(seed, leaves, moves)
    data = encode_block(block, level=1)
    back = decode_block(data)
    assert same(back, block)
    assert encode_block(back, level=1) == data
    for f in fields(Leaves):
        assert getattr(back.leaves, f.name).dtype == getattr(block.leaves, f.name).dtype
    for f in fields(Moves):
        assert getattr(back.moves, f.name).dtype == getattr(block.moves, f.name).dtype
        assert getattr(back.moves, f.name).flags.c_contiguous


@pytest.mark.parametrize("seed", range(20))
def test_honest_block_comes_back_exactly(seed: int) -> None:
    block = honest_block(seed, 12)
    assert same(decode_block(encode_block(block)), block)


def test_empty_block_comes_back_exactly() -> None:
    block = Block(header(), b"", Leaves.of([]), Moves.empty(), (), (), ())
    assert same(decode_block(encode_block(block)), block)
    assert taken_apart(encode_block(block))[2] == [b""] * 7


def test_header_comes_without_the_body() -> None:
    head, counts, frames = taken_apart(SMALL_FILE)
    broken = put_together(head, counts, frames, values=(len(frames[3]), b"no zstd"))
    assert decode_header(broken) == (SMALL.header, SMALL.signature)
    refusal(broken)


def test_what_follows_from_the_rest_is_zero_in_an_honest_block() -> None:
    block = honest_block(3, 40)
    _, counts, frames = taken_apart(encode_block(block))
    n_leaves, n_moves, n_locations, *_ = counts
    assert n_locations < 0.7 * n_moves
    leaves = Reader(frames[0], "leaves")
    sizes = (4, 4, 1, 8, 32, 1)
    for width in sizes:
        leaves.words(n_leaves, width, "a column")
    leaves.words(1, 32, "the system leaf's txid")
    for width in (32, 8, 8, 32, 8):
        assert not leaves.words(n_leaves, width, "a derived column").any()
    leaves.finish()
    uses = Reader(frames[2], "uses")
    first_uses = uses.numbers(n_moves, 4, "index") == 0
    assert not uses.words(n_moves, 1, "mask").any()
    assert not uses.numbers(n_moves, 8, "number")[~first_uses].any()
    values = Reader(frames[3], "values")
    assert not values.words(n_moves, 32, "prev")[~first_uses].any()
    references = (block.moves.mask & 128) != 0
    assert not values.words(n_moves, 32, "next")[references].any()


def test_small_steps_of_either_sign_are_short() -> None:
    block = honest_block(5, 2)
    moves = replace(block.moves, prev=np.zeros_like(block.moves.prev), next=np.zeros_like(block.moves.next))
    moves.prev[:, 31], moves.next[:, 31] = 7, 4
    values = Reader(taken_apart(encode_block(replace(block, moves=moves)))[2][3], "values")
    values.words(len(moves), 32, "prev")
    lengths = np.frombuffer(values.take(len(moves), "lengths of next"), np.uint8)
    assert set(lengths) == {1}


@pytest.mark.parametrize("name", ["leaves", "locations", "uses", "values", "envelopes", "codes", "withdrawals"])
def test_invalid_any_flipped_bit_of_a_column(name: str) -> None:
    """With the checksum recomputed: refused, or another block with another root. Every 13th bit, nightly all."""
    head, counts, frames = taken_apart(SMALL_FILE)
    at, root, changes = FRAMES.index(name), transactions_root(SMALL), 0
    tried = range(0, 8 * len(frames[at]), 1 if is_nightly() else 13)
    for bit in tried:
        changed = bytearray(frames[at])
        changed[bit // 8] ^= 1 << bit % 8
        block = accepted(put_together(head, counts, [*frames[:at], bytes(changed), *frames[at + 1 :]]))
        if block is None:
            continue
        changes += 1
        assert not same(block, SMALL), bit
        if name in ("codes", "withdrawals"):
            assert getattr(block, name) != getattr(SMALL, name)
        else:
            assert transactions_root(block) != root, bit
        assert same(decode_block(encode_block(block, level=1)), block)
    assert changes > len(tried) / 8


def test_invalid_any_flipped_bit_of_a_file() -> None:
    for bit in range(8 * len(SMALL_FILE)):
        changed = bytearray(SMALL_FILE)
        changed[bit // 8] ^= 1 << bit % 8
        refusal(bytes(changed))


def test_invalid_any_other_length_of_a_file() -> None:
    for length in range(len(SMALL_FILE)):
        refusal(SMALL_FILE[:length])
        refusal(resealed(SMALL_FILE[:length] + bytes(32)) if length < len(SMALL_FILE) - 32 else SMALL_FILE[:length])
    for more in (b"\0", SMALL_FILE):
        refusal(SMALL_FILE + more)
        refusal(resealed(SMALL_FILE[:-32] + more + bytes(32)))


def test_invalid_flips_of_a_larger_file_never_escape_as_other_errors() -> None:
    block = honest_block(9, 60)
    data = encode_block(block)
    rng = np.random.default_rng(7)
    refused = 0
    for bit in rng.integers(0, 8 * (len(data) - 32), 500).tolist():
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        refusal(bytes(changed))
        other = accepted(resealed(bytes(changed)))
        refused += other is None
        assert other is None or not same(other, block)
    assert refused > 5


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_invalid_nonsense_in_a_frame_is_only_ever_b1(data: st.DataObject) -> None:
    head, counts, frames = taken_apart(SMALL_FILE)
    at = data.draw(st.integers(0, 6))
    frames[at] = data.draw(st.binary(max_size=200)) + frames[at][data.draw(st.integers(0, len(frames[at]))) :]
    if data.draw(st.booleans()):
        counts[data.draw(st.integers(0, 6))] = data.draw(st.integers(0, 2**32 - 1))
    accepted(put_together(head, counts, frames))


def column(*rows: bytes) -> bytes:
    """A column of words given by their significant bytes."""
    return bytes(map(len, rows)) + b"".join(rows)


def test_invalid_second_encodings_of_the_tables() -> None:
    """One block, two moves of two locations at one address: every other way to say it is refused."""
    zero = bytes(32)
    rows = Moves(
        np.array([0x3F, 0x3F], np.uint8), np.frombuffer(b"bs", np.uint8), np.array([5, 6], np.uint64),
        np.frombuffer(b"\1" * 40, np.uint8).reshape(2, 20), np.frombuffer(zero * 2, np.uint8).reshape(2, 32),
        np.frombuffer((b"\2" * 32) * 2, np.uint8).reshape(2, 32), np.frombuffer(zero * 2, np.uint8).reshape(2, 32),
    )  # fmt: skip
    leaf = Leaves.of([honest_block(1).leaves[0].__class__(zero, zero, 2, 0, 1, 0, zero, 1000, 0, 0, 0)])
    data = encode_block(Block(header(), b"", leaf, rows, (), (), ()))
    head, counts, frames = taken_apart(data)
    address = b"\1" * 20
    assert frames[1] == column(address) + column(b"", b"\1") + column(b"b", b"s") + column(b"", b"")
    assert frames[2][:2] == column(b"", b"")
    assert same(decode_block(put_together(head, counts, frames)), decode_block(data))

    def refused(at: int, frame: bytes, **changed: int) -> str:
        names = ("leaves", "moves", "locations", "addresses", "envelopes", "codes", "withdrawals")
        numbers = [changed.get(name, number) for name, number in zip(names, counts, strict=True)]
        return refusal(put_together(head, numbers, [*frames[:at], frame, *frames[at + 1 :]]))

    marks = column(b"b", b"s") + column(b"", b"")
    assert "addresses holds a row twice" in refused(1, column(address, address) + column(b"", b"") + marks, addresses=2)
    assert "does not fit its table" in refused(1, column(address, b"\3") + column(b"", b"\1") + marks, addresses=2)
    assert "does not fit its table" in refused(1, column(address) + column(b"\1", b"") + marks)
    assert "does not fit its table" in refused(1, column(address) + column(b"", b"\2") + marks)
    assert "leading zero" in refused(1, column(b"\0" + address[1:]) + column(b"", b"\1") + marks)
    assert "more than 20 bytes" in refused(1, column(b"\1" * 21) + column(b"", b"\1") + marks)
    assert "locations holds a row twice" in refused(
        1, column(address) + column(b"", b"\1") + column(b"b", b"b") + column(b"", b"")
    )
    assert "trailing bytes" in refused(1, frames[1] + b"\0")
    assert "cut short" in refused(1, frames[1][:-1])
    assert "does not fit its table" in refused(2, column(b"\1", b"") + frames[2][2:])
    assert "does not fit its table" in refused(2, column(b"", b"\1") + frames[2][3:])


def test_invalid_second_encodings_of_txids() -> None:
    head, counts, frames = taken_apart(SMALL_FILE)
    n, own = counts[0], Reader(frames[0], "leaves")
    for width in (4, 4, 1, 8, 32):
        own.words(n, width, "a column")
    before = frames[0][: own.at]
    assert own.words(n, 1, "own")[:, 0].tolist() == [0, 0, 0, 1]
    own.words(1, 32, "txids")
    rest = frames[0][own.at :]

    def refused(flags: bytes, *txids: bytes) -> str:
        sent = encode_words(np.frombuffer(b"".join(txids), np.uint8).reshape(-1, 32))
        flags_sent = encode_words(np.frombuffer(flags, np.uint8)[:, None])
        return refusal(put_together(head, counts, [before + flags_sent + sent + rest, *frames[1:]]))

    ids = [SMALL.leaves[i].txid for i in range(4)]
    assert "follows from its envelope" in refused(b"\0\0\1\1", ids[2], ids[3])
    assert "follows from its envelope" in refused(b"\1\0\0\1", ids[0], ids[3])
    assert "more envelopes than there are" in refused(b"\0\0\0\0")
    assert "neither 0 nor 1" in refused(b"\0\0\0\2", ids[3])


def test_invalid_frames_that_lie_about_their_size() -> None:
    head, counts, frames = taken_apart(SMALL_FILE)
    values = frames[3]
    frame = zstandard.compress(values)
    sizeless = zstandard.ZstdCompressor(write_content_size=False).compress(values)
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", len(values)) + values
    for raw, packed in (
        (len(values) + 1, frame),
        (len(values) - 1, frame),
        (0, frame),
        (0, zstandard.compress(b"")),
        (0, zstandard.compress(b"") + b"more"),
        (len(values), b""),
        (len(values), sizeless),
        (len(values), frame + b"\0"),
        (len(values), frame + frame),
        (len(values), frame + skippable),
        (len(values), frame[:-1]),
        (len(values), skippable),
    ):
        refusal(put_together(head, counts, frames, values=(raw, packed)))
    assert same(decode_block(put_together(head, counts, frames, values=(len(values), frame))), SMALL)
    nothing = Block(header(), b"", Leaves.of([]), Moves.empty(), (), (), ())
    for packed in (b"\0", zstandard.compress(b""), zstandard.compress(b"") + b"more"):
        refusal(put_together(*taken_apart(encode_block(nothing)), codes=(0, packed)))


def test_invalid_window() -> None:
    """RFC 8878, 3.1.1.1: a frame without the single segment flag states its window, 2^(10 + exponent) bytes."""
    head, counts, frames = taken_apart(SMALL_FILE)
    values = frames[3]
    blocks = zstandard.compress(values)[4 + 1 + 2 :]

    def with_window(exponent: int) -> bytes:
        frame = b"\x28\xb5\x2f\xfd\x80" + bytes((exponent << 3,)) + struct.pack("<I", len(values)) + blocks
        return put_together(head, counts, frames, values=(len(values), frame))

    assert 256 <= len(values) < 2**16, "else the header is of another length"
    assert wire_file.MAX_WINDOW == 2 ** (10 + 13)
    assert same(decode_block(with_window(13)), SMALL)
    assert "window" in refusal(with_window(14))


def test_invalid_beyond_the_limits() -> None:
    head, counts, frames = taken_apart(SMALL_FILE)
    assert "bytes of the file" in refusal(SMALL_FILE, Limits(file_bytes=len(SMALL_FILE) - 1))
    decode_block(SMALL_FILE, limits=Limits(file_bytes=len(SMALL_FILE), raw_bytes=sum(map(len, frames)), rows=counts[1]))
    assert "raw bytes" in refusal(SMALL_FILE, Limits(raw_bytes=sum(map(len, frames)) - 1))
    assert "rows" in refusal(SMALL_FILE, Limits(rows=counts[1] - 1))
    rows = 2**17 + 8 * (len(put_together(head, counts, frames)) - 6 - 32)
    assert "rows" in refusal(put_together(head, [counts[0], rows + 1, *counts[2:]], frames))
    assert "moves counted" in refusal(put_together(head, [counts[0], rows, *counts[2:]], frames))
    assert "addresses than locations" in refusal(put_together(head, [*counts[:3], counts[2] + 1, *counts[4:]], frames))


def test_limits_follow_the_gas_limit_and_the_file_up_to_a_bound() -> None:
    large = 2**28
    assert Limits().rows_for(0, large) == 2**20
    assert Limits().raw_for(0, large) == 2**28
    assert Limits().rows_for(36_000_000, large) == 2**20 + 360_000
    assert Limits().rows_for(2**63, large) == 2**24
    assert Limits().raw_for(2**63, large) == 2**31
    assert Limits().rows_for(2**63, 1000) == 2**17 + 8_000
    assert Limits().raw_for(2**63, 1000) == 2**28 + 1_024_000
    assert Limits(by_gas=False).rows_for(0, large) == 2**24
    assert Limits(by_gas=False).rows_for(0, 1000) == 2**17 + 8_000


BOMBS = """
import resource, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from manaflow.errors import Verdict
from manaflow.moves.wire import decode_block
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 64 * 2**20,) * 2)
for name in sys.argv[1:]:
    try:
        decode_block(Path(name).read_bytes())
    except Verdict as verdict:
        print(verdict.rule.name)
"""


def test_invalid_bombs_cost_no_memory(tmp_path: object) -> None:
    """Each is refused by a process that may take 64 MiB more than it has."""
    head, counts, frames = taken_apart(SMALL_FILE)
    bomb = zstandard.compress(bytes(2**30))
    size_at = bomb.index(struct.pack("<I", 2**30))
    lying = bomb[:size_at] + struct.pack("<I", 10) + bomb[size_at + 4 :]
    files = [
        put_together(head, counts, frames, values=(10, bomb)),
        put_together(head, counts, frames, values=(10, lying)),
        put_together(head, counts, frames, values=(2**30, bomb)),
        put_together(head, counts, frames, values=(2**32 - 1, bomb)),
        put_together(head, [2**32 - 1] * 7, frames),
        put_together(head, [2**20] * 7, frames),
        put_together(head, [*counts[:4], 2**20, *counts[5:]], frames),
    ]
    names = []
    for i, data in enumerate(files):
        names.append(f"{tmp_path}/{i}.mana")
        with open(names[-1], "wb") as file:
            file.write(data)
    run = subprocess.run(
        [sys.executable, "-c", BOMBS.format(root=str(ROOT)), *names], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout.split()) == (0, ["B1"] * len(files)), run.stderr


def test_invalid_block_that_has_no_form() -> None:
    short = replace(SMALL, moves=SMALL.moves.take(0, len(SMALL.moves) - 1))
    for block in (short, replace(SMALL, signature=bytes(66)), replace(SMALL, header=header(coinbase=b""))):
        with pytest.raises(Verdict) as caught:
            encode_block(block)
        assert caught.value.rule is Rule.B1


GENESIS = GenesisFile(b"config", tuple((n, bytes([n]) * 32) for n in range(1, 257) if n < 256), SMALL)


@pytest.mark.parametrize("name", ["envelopes", "codes"])
def test_no_body_holds_a_longer_string_than_a_proof_can_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = replace(honest_block(1, 2, 3), **{name: (bytes(MAX_STRING_BYTES),)})
    assert getattr(decode_block(encode_block(longest)), name) == (bytes(MAX_STRING_BYTES),)
    longer = replace(longest, **{name: (b"", bytes(MAX_STRING_BYTES + 1))})
    with pytest.raises(Verdict, match=f"bytes of one of the {name}"):
        encode_block(longer)
    monkeypatch.setattr(wire, "MAX_STRING_BYTES", 2**21)
    data = encode_block(longer)
    monkeypatch.undo()
    assert f"bytes of one of the {name}" in refusal(data)


def test_genesis_file_comes_back_exactly() -> None:
    for genesis in (GENESIS, replace(GENESIS, ancestors=()), replace(GENESIS, config=b"")):
        back = decode_genesis(encode_genesis(genesis))
        assert (back.config, back.ancestors) == (genesis.config, genesis.ancestors)
        assert same(back.block, genesis.block)


def test_invalid_genesis_files() -> None:
    data = encode_genesis(replace(GENESIS, ancestors=GENESIS.ancestors[:2]))
    for length in range(len(data)):
        with pytest.raises(Verdict):
            decode_genesis(data[:length])
    content = data[6:-32]
    for changed in (content + b"\0", b"\0\0\x20\x01" + content[4:], content[:10] + b"\1\1" + content[12:]):
        with pytest.raises(Verdict):
            decode_genesis(resealed(data[:6] + changed + bytes(32)))
    with pytest.raises(Verdict, match="form of the file"):
        decode_genesis(SMALL_FILE)
    with pytest.raises(Verdict, match="form of the file"):
        decode_block(data)
    many = tuple((n, bytes(32)) for n in range(257))
    for ancestors in (GENESIS.ancestors[1::-1], GENESIS.ancestors[:1] * 2, many):
        with pytest.raises(Verdict) as caught:
            encode_genesis(replace(GENESIS, ancestors=ancestors))
        assert "ancestors" in str(caught.value)
    with pytest.raises(Verdict, match="bytes of the config"):
        encode_genesis(replace(GENESIS, config=bytes(8193)))
