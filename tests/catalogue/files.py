"""B1: files that are not the one encoding of a block."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import rlp
import zstandard

from manaflow.errors import Rule
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.wire import FRAMES, encode_block
from tests.catalogue.case import Case, Lie, add, entry

PREFIX_BYTES, DIGEST_BYTES, COUNTS = 6, 32, 7


@dataclass(frozen=True)
class File:
    """A block's file taken apart: docs/SPEC.md, section 11."""

    header: bytes
    signature: bytes
    counts: tuple[int, ...]
    frames: tuple[bytes, ...]
    """Decompressed."""
    prefix: bytes = b"MANA\x01\x01"

    @staticmethod
    def of(data: bytes) -> File:
        at = PREFIX_BYTES + 2 + int.from_bytes(data[PREFIX_BYTES : PREFIX_BYTES + 2], "big")
        header, signed = data[PREFIX_BYTES + 2 : at], at + 1 + data[at]
        counts = struct.unpack_from(f">{COUNTS}I", data, signed)
        lengths = struct.unpack_from(f">{2 * len(FRAMES)}I", data, signed + 4 * COUNTS)
        start, frames = signed + 4 * COUNTS + 8 * len(FRAMES), []
        for packed in lengths[1::2]:
            frame = data[start : start + packed]
            frames.append(zstandard.ZstdDecompressor().decompress(frame) if frame else b"")
            start += packed
        return File(header, data[at + 1 : signed], counts, tuple(frames))

    def encode(self, behind: bytes = b"") -> bytes:
        """The file, `behind` after its last frame and under its checksum."""
        packed = [zstandard.ZstdCompressor().compress(frame) if frame else b"" for frame in self.frames]
        lengths = [n for frame, raw in zip(packed, self.frames, strict=True) for n in (len(raw), len(frame))]
        content = struct.pack(">H", len(self.header)) + self.header + bytes([len(self.signature)]) + self.signature
        content += struct.pack(f">{COUNTS}I", *self.counts) + struct.pack(f">{len(lengths)}I", *lengths)
        return checked(self.prefix + content + b"".join(packed) + behind)

    def with_frame(self, name: str, change: Callable[[bytes], bytes]) -> File:
        frames = list(self.frames)
        at = FRAMES.index(name)
        frames[at] = change(frames[at])
        return replace(self, frames=tuple(frames))

    def with_header(self, change: Callable[[list[Any]], list[Any]]) -> File:
        """The header's items changed; they stay bytes, so nothing is canonical by itself."""
        return replace(self, header=bytes(rlp.encode(change(list(rlp.decode(self.header))))))

    def with_count(self, i: int, by: int) -> File:
        counts = list(self.counts)
        counts[i] += by
        return replace(self, counts=tuple(counts))


def checked(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


def damaged(name: str, reason: str, change: Callable[[bytes], bytes]) -> None:
    """Register a change to the file's bytes."""
    add(name, Rule.B1, reason, lambda case: Lie(change(encode_block(case.block, NATIVE))))


def rewritten(name: str, reason: str, change: Callable[[File], File | bytes]) -> None:
    """Register a change to the parts of the file, whose checksum is right again."""

    def make(case: Case) -> Lie:
        made = change(File.of(encode_block(case.block, NATIVE)))
        return Lie(made.encode() if isinstance(made, File) else made)

    add(name, Rule.B1, reason, make)


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _longer(data: bytes) -> bytes:
    return data + b"\0"


damaged("empty_file", "the file is cut short", lambda data: b"")
damaged("file_cut_by_a_byte", "checksum of the file", lambda data: data[:-1])
damaged("file_cut_in_half", "checksum of the file", lambda data: data[: len(data) // 2])
damaged("byte_of_a_frame_flipped", "checksum of the file", lambda data: _flip(data, len(data) // 2))
damaged("byte_of_the_header_flipped", "checksum of the file", lambda data: _flip(data, PREFIX_BYTES + 10))
damaged("byte_behind_the_file", "checksum of the file", lambda data: data + b"\0")
damaged("other_magic", "magic of the file", lambda data: checked(b"MANB" + data[4:-DIGEST_BYTES]))
damaged("other_version", "version of the file", lambda data: checked(b"MANA\2\1" + data[6:-DIGEST_BYTES]))
damaged("genesis_form", "form of the file", lambda data: checked(b"MANA\1\3" + data[6:-DIGEST_BYTES]))

rewritten("bytes_behind_the_frames", "bytes of all frames", lambda file: file.encode(b"\0"))
rewritten("content_cut_by_a_byte", "bytes of all frames", lambda file: checked(file.encode()[: -DIGEST_BYTES - 1]))
rewritten("one_leaf_more_counted", "frame", lambda file: file.with_count(0, 1))
rewritten("one_move_more_counted", "moves counted by the leaves", lambda file: file.with_count(1, 1))
rewritten("one_envelope_less_counted", "frame envelopes", lambda file: file.with_count(4, -1))
rewritten("more_moves_than_gas_can_pay", "rows of the body", lambda file: file.with_count(1, 2**24))
rewritten("byte_behind_the_withdrawals", "frame withdrawals", lambda file: file.with_frame("withdrawals", _longer))
rewritten("envelopes_cut", "frame envelopes", lambda file: file.with_frame("envelopes", lambda raw: raw[:-1]))
rewritten("signature_of_66_bytes", "frame head", lambda file: replace(file, signature=bytes(66)))
rewritten(
    "byte_behind_the_header", "the header does not decode", lambda file: replace(file, header=_longer(file.header))
)
rewritten("header_with_an_item_more", "the header does not decode", lambda file: file.with_header(lambda h: [*h, b""]))
rewritten("header_with_an_item_less", "the header does not decode", lambda file: file.with_header(lambda h: h[:-1]))
rewritten(
    "header_number_with_leading_zero",
    "the header does not decode",
    lambda file: file.with_header(lambda h: [*h[:2], b"\0" + h[2], *h[3:]]),
)
rewritten(
    "header_root_of_31_bytes",
    "the header does not decode",
    lambda file: file.with_header(lambda h: [*h[:1], h[1][1:], *h[2:]]),
)
rewritten(
    "header_of_another_version", "version of the header", lambda file: file.with_header(lambda h: [b"\2", *h[1:]])
)
rewritten(
    "extra_data_of_33_bytes",
    "the header does not decode",
    lambda file: file.with_header(lambda h: [*h[:14], bytes(33), *h[15:]]),
)
rewritten(
    "header_over_1024_bytes",
    "length of the header",
    lambda file: file.with_header(lambda h: [*h[:14], bytes(800), *h[15:]]),
)


# One encoding per block: what the contents say is right, but they could have said it otherwise.


def read_column(frame: bytes, at: int, n: int) -> tuple[list[bytes], int]:
    """The significant bytes of each of n rows, and where the next column begins."""
    rows, start = [], at + n
    for length in frame[at : at + n]:
        rows.append(frame[start : start + length])
        start += length
    return rows, start


def write_column(rows: list[bytes]) -> bytes:
    return bytes(map(len, rows)) + b"".join(rows)


@entry(Rule.B1, "frame leaves")
def number_with_a_leading_zero(case: Case) -> Lie:
    """The first leaf's consumes, in one byte more than they need."""
    file = File.of(encode_block(case.block, NATIVE))
    rows, rest = read_column(file.frames[0], 0, file.counts[0])
    rows[0] = b"\0" + rows[0]
    return Lie(file.with_frame("leaves", lambda frame: write_column(rows) + frame[rest:]).encode())


@entry(Rule.B1, "frame leaves: txids")
def txid_sent_that_follows_from_its_envelope(case: Case) -> Lie:
    """The first signed leaf says what its txid is, as only system transactions do."""
    file, t = File.of(encode_block(case.block, NATIVE)), case.draft().signed[0]
    frame, n, at = file.frames[0], file.counts[0], 0
    for _ in ("consumes", "references", "status", "gas used", "logs hash"):
        _, at = read_column(frame, at, n)
    own, after = read_column(frame, at, n)
    txids, rest = read_column(frame, after, sum(map(len, own)))
    txids.insert(sum(map(len, own[:t])), case.block.leaves[t].txid)
    own[t] = b"\1"
    sent = frame[:at] + write_column(own) + write_column(txids) + frame[rest:]
    return Lie(file.with_frame("leaves", lambda _: sent).encode())
