"""What every MANA file has: magic, version, form and checksum around its content, and zstd frames in it (rule B1).

file = "MANA" | version:1 | form:1 | content | SHA-256 of everything before it:32
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import zstandard

from manaflow.errors import Rule, Verdict

MAGIC: Final = b"MANA"
WIRE_VERSION: Final = 1
MAX_WINDOW: Final = 2**23
"""Bytes of window that a frame may ask of a decoder that streams: what RFC 8878 recommends every decoder to support."""

_PREFIX: Final = struct.Struct(">4sBB")
_DIGEST_BYTES: Final = 32


class Form(IntEnum):
    """What a file holds."""

    BLOCK = 1
    """Self-contained block. (2 is kept for the compact form.)"""
    GENESIS = 3
    BATCH = 4
    """Filled transactions on their way to an open block (wire_batch.py)."""


def seal_file(form: Form, content: bytes) -> bytes:
    """The file around a content."""
    data = _PREFIX.pack(MAGIC, WIRE_VERSION, form) + content
    return data + hashlib.sha256(data).digest()


def open_file(data: bytes, form: Form, most: int) -> bytes:
    """The content of a file whose length (at most `most` bytes), magic, version, form and checksum are right."""
    if len(data) > most:
        raise Verdict(Rule.B1, "bytes of the file", expected=f"at most {most}", actual=len(data))
    if len(data) < _PREFIX.size + _DIGEST_BYTES:
        raise Verdict(Rule.B1, "the file is cut short")
    magic, version, found = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise Verdict(Rule.B1, "magic of the file", expected=MAGIC, actual=magic)
    if version != WIRE_VERSION:
        raise Verdict(Rule.B1, "version of the file", expected=WIRE_VERSION, actual=version)
    if found != form:
        raise Verdict(Rule.B1, "form of the file", expected=int(form), actual=found)
    digest = hashlib.sha256(memoryview(data)[:-_DIGEST_BYTES]).digest()
    if digest != data[-_DIGEST_BYTES:]:
        raise Verdict(Rule.B1, "checksum of the file", expected=digest, actual=data[-_DIGEST_BYTES:])
    return data[_PREFIX.size : -_DIGEST_BYTES]


def compress(frames: Sequence[bytes], level: int) -> list[bytes]:
    """One zstd frame for each content; none for an empty one."""
    compressor = zstandard.ZstdCompressor(level=level, write_content_size=True, write_checksum=False)
    return [compressor.compress(frame) if frame else b"" for frame in frames]


def decompress(frame: bytes, raw: int, name: str) -> bytes:
    """One zstd frame, which must state its content size and give exactly `raw` bytes, and nothing behind it.

    One-shot decompression writes into a buffer of the stated size, so that a frame can cost no more than `raw`.
    """
    if not raw and not frame:
        return b""
    try:
        parameters = zstandard.get_frame_parameters(frame)
        if parameters.content_size != raw or not raw or parameters.dict_id:
            raise Verdict(Rule.B1, f"frame {name}: zstd header", expected=raw, actual=parameters.content_size)
        if parameters.window_size > max(MAX_WINDOW, raw):
            raise Verdict(Rule.B1, f"frame {name}: window", expected=MAX_WINDOW, actual=parameters.window_size)
        data = zstandard.ZstdDecompressor().decompress(frame, max_output_size=raw, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Verdict(Rule.B1, f"frame {name}: {error}") from error
    # A skippable frame states a size, too, and gives nothing.
    if len(data) != raw:
        raise Verdict(Rule.B1, f"frame {name}: raw bytes", expected=raw, actual=len(data))
    return data
