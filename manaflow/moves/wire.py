"""The self-contained wire form of a block (`.mana`), and the genesis file (docs/SPEC.md, section 11; rule B1).

    file     = "MANA" | version:1 | form:1 | content | SHA-256 of everything before it:32
    block    = header length:2 | header RLP | signature length:1 | signature
             | counts, 4 bytes each: leaves, moves, locations, addresses, envelopes, codes, withdrawals
             | 7 times raw length:4, packed length:4 | 7 zstd frames
    genesis  = config length:4 | config RLP | ancestors:2 | ancestors x (number:8 | hash:32) | a whole block file

Integers are big-endian. Frames, in order: leaves (wire_leaves.py), locations, uses, values (wire_moves.py), envelopes,
codes, withdrawals; an empty one has no bytes. zstd is not canonical, so one block has many files; but the frames'
contents are one to one with the block: whatever could be written in two ways is refused, and what follows from other
columns (txids, moves roots, running totals, what a location's last use left) is sent as the difference from it, zero in
an honest block.

A decoded body is **unauthenticated**: its header's signature does not cover it until a validator compares the roots of
transactions, codes and withdrawals, and the counts, with the header (B3). In a dishonest body the envelopes need not
even fit the leaves (B8): only structure is checked here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from manaflow.errors import Rule, Verdict
from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.envelopes import MAX_ENVELOPE_BYTES
from manaflow.moves.hashing import PYTHON, Hashing
from manaflow.moves.header import MAX_HEADER_BYTES, Header
from manaflow.moves.rlp_reader import RlpError
from manaflow.moves.wire_file import Form, compress, decompress, open_file, seal_file
from manaflow.moves.wire_leaves import Derived, decode_leaves_rest, decode_leaves_start, encode_leaves
from manaflow.moves.wire_moves import EncodeMoves, decode_locations, decode_moves, encode_moves
from manaflow.moves.words import Reader, encode_strings, encode_words, numbers_of, words_of

MAX_SIGNATURE_BYTES: Final = 65
MAX_CONFIG_BYTES: Final = 8192
MAX_ANCESTORS: Final = 256
MAX_STRING_BYTES: Final = MAX_ENVELOPE_BYTES
"""Of an envelope (S1, S2) and of a code: no body holds a longer one, so that every proof which shows it fits (F2)."""

FRAMES: Final = ("leaves", "locations", "uses", "values", "envelopes", "codes", "withdrawals")
_COUNTS: Final = struct.Struct(">7I")
_LENGTHS: Final = struct.Struct(f">{2 * len(FRAMES)}I")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a decoder takes before memory is spent: so much a byte of the file, so that a small file costs little.

    `by_gas` adds what the header's gas limit can pay for (generously: B2 judges the gas limit itself only later):
    - rows of any kind <= 2^20 + gas limit / 100. No move costs less than 100 gas: a warm access costs 100 after 1,900
      or more (EIP-2929, 2930); 256 BLOCKHASH at 22 cost 5,632 beside 21,000 for their transaction. 2^20 covers what
      pays no gas: withdrawals, and four system calls with 30,000,000 each, where EXTCODEHASH gives 3 moves for 2,600.
    - raw bytes <= 2^28 + 4 x gas limit. A move is under 150 raw bytes in the columns and 165 signed in an envelope, so
      3.15 a gas; calldata is 1/4 a gas, code 1/200.
    """

    file_bytes: int = 2**28
    raw_bytes: int = 2**31
    """All frames decompressed."""
    rows: int = 2**24
    """Moves; also leaves, envelopes, codes, withdrawals."""
    by_gas: bool = True

    def rows_for(self, gas_limit: int, content_bytes: int) -> int:
        """The bound on rows of any kind. A small file buys few: beyond 2^17, honest ones never have 8 a byte."""
        by_size = min(self.rows, 2**17 + 8 * content_bytes)
        return min(by_size, 2**20 + gas_limit // 100) if self.by_gas else by_size

    def raw_for(self, gas_limit: int, content_bytes: int) -> int:
        """The bound on the sum of raw lengths; zeros may shrink a thousandfold, or more within 2^28."""
        by_size = min(self.raw_bytes, 2**28 + 1024 * content_bytes)
        return min(by_size, 2**28 + 4 * gas_limit) if self.by_gas else by_size


GENESIS_LIMITS: Final = Limits(by_gas=False)
"""Genesis is not paid for by gas, and comes from whom one trusts anyway."""


@dataclass(frozen=True, slots=True)
class GenesisFile:
    """A genesis file. The config stays bytes here: manaflow.rules.config reads it."""

    config: bytes
    """RLP of the chain config."""
    ancestors: tuple[tuple[int, bytes], ...]
    """(number, hash) of known earlier blocks, ascending: the leaves of the config's tree of ancestors (B5)."""
    block: Block


@dataclass(frozen=True, slots=True)
class _Counts:
    leaves: int
    moves: int
    locations: int
    addresses: int
    envelopes: int
    codes: int
    withdrawals: int


@dataclass(frozen=True, slots=True)
class _Head:
    """Everything before the frames."""

    header: Header
    signature: bytes
    counts: _Counts
    raw: tuple[int, ...]
    packed: tuple[int, ...]
    frames_at: int


def check_form(block: Block) -> None:
    """Raises Verdict(B1) if the counts of the leaves do not sum to the number of moves, or a part has no form here."""
    offsets = block.leaves.move_offsets()
    if offsets[-1] != len(block.moves):
        raise Verdict(Rule.B1, "moves counted by the leaves", expected=len(block.moves), actual=int(offsets[-1]))
    _check_longest(block.envelopes, "envelopes")
    _check_longest(block.codes, "codes")
    _encode_header(block)


def encode_block(
    block: Block,
    hashing: Hashing = PYTHON,
    level: int = 9,
    *,
    derived: Derived | None = None,
    encode: EncodeMoves = encode_moves,
) -> bytes:
    """The block's file. `level` is zstd's: it changes the bytes, not what they mean.

    derived: of this very body, if it was hashed already. encode: encode_moves or its twin. Raises Verdict(B1) as
    check_form does.
    """
    check_form(block)
    if derived is None:
        roots = hashing.moves_roots(block.moves, block.leaves.move_offsets())
        derived = Derived(hashing.keccak_many(block.envelopes), roots)
    moves = encode(block.moves, block.leaves, block.header.first_cell)
    raw = (
        encode_leaves(block.leaves, derived, block.header),
        moves.locations,
        moves.uses,
        moves.values,
        encode_strings(block.envelopes),
        encode_strings(block.codes),
        _encode_withdrawals(block.withdrawals),
    )
    counts = (
        len(block.leaves), len(block.moves), moves.location_count, moves.address_count,
        len(block.envelopes), len(block.codes), len(block.withdrawals),
    )  # fmt: skip
    packed = compress(raw, level)
    lengths = [length for pair in zip(raw, packed, strict=True) for length in map(len, pair)]
    preamble = _encode_header(block) + _COUNTS.pack(*counts) + _LENGTHS.pack(*lengths)
    return seal_file(Form.BLOCK, preamble + b"".join(packed))


def decode_block(data: bytes, hashing: Hashing = PYTHON, limits: Limits = Limits()) -> Block:
    """The block of a file (B1). Unauthenticated: see the module's docstring. Raises Verdict(B1)."""
    content = open_file(data, Form.BLOCK, limits.file_bytes)
    head = _decode_head(content, limits)
    leaves_frame, locations_frame, uses, values, envelopes_frame, codes_frame, withdrawals_frame = _readers(
        content, head
    )
    counts, first_cell = head.counts, head.header.first_cell
    start = decode_leaves_start(leaves_frame, counts.leaves)
    offsets = start.leaves.move_offsets()
    if offsets[-1] != counts.moves:
        raise Verdict(Rule.B1, "moves counted by the leaves", expected=counts.moves, actual=int(offsets[-1]))
    locations = decode_locations(locations_frame, counts.locations, counts.addresses)
    moves = decode_moves(uses, values, locations, start.leaves, first_cell)
    envelopes = _decode_strings(envelopes_frame, counts.envelopes, "envelopes")
    derived = Derived(hashing.keccak_many(envelopes), hashing.moves_roots(moves, offsets))
    leaves = decode_leaves_rest(start, derived, first_cell)
    codes = _decode_strings(codes_frame, counts.codes, "codes")
    withdrawals = _decode_withdrawals(withdrawals_frame, counts.withdrawals)
    return Block(head.header, head.signature, leaves, moves, envelopes, codes, withdrawals)


def decode_header(data: bytes, limits: Limits = Limits()) -> tuple[Header, bytes]:
    """(header, signature) of a block's file, nothing decompressed: judge B2 and B7 before paying for the body."""
    head = _decode_head(open_file(data, Form.BLOCK, limits.file_bytes), limits)
    return head.header, head.signature


def encode_genesis(genesis: GenesisFile, hashing: Hashing = PYTHON, level: int = 9) -> bytes:
    """The genesis file. Raises Verdict(B1) for what decode_genesis would refuse."""
    _check_genesis(genesis.config, genesis.ancestors)
    rows = b"".join(number.to_bytes(8, "big") + block_hash for number, block_hash in genesis.ancestors)
    head = struct.pack(">I", len(genesis.config)) + genesis.config + struct.pack(">H", len(genesis.ancestors)) + rows
    return seal_file(Form.GENESIS, head + encode_block(genesis.block, hashing, level))


def decode_genesis(data: bytes, hashing: Hashing = PYTHON, limits: Limits = GENESIS_LIMITS) -> GenesisFile:
    """The contents of a genesis file, of one encoding up to zstd's. Raises Verdict(B1)."""
    reader = Reader(open_file(data, Form.GENESIS, limits.file_bytes), "genesis")
    config = reader.take(int.from_bytes(reader.take(4, "config"), "big"), "config")
    count = int.from_bytes(reader.take(2, "ancestors"), "big")
    rows = [(reader.take(8, "ancestors"), reader.take(32, "ancestors")) for _ in range(min(count, MAX_ANCESTORS + 1))]
    ancestors = tuple((int.from_bytes(number, "big"), block_hash) for number, block_hash in rows)
    _check_genesis(config, ancestors)
    return GenesisFile(config, ancestors, decode_block(reader.data[reader.at :], hashing, limits))


def _check_genesis(config: bytes, ancestors: tuple[tuple[int, bytes], ...]) -> None:
    numbers = [number for number, _ in ancestors]
    if len(config) > MAX_CONFIG_BYTES:
        raise Verdict(Rule.B1, "bytes of the config", expected=f"at most {MAX_CONFIG_BYTES}", actual=len(config))
    if len(ancestors) > MAX_ANCESTORS:
        raise Verdict(Rule.B1, "ancestors", expected=f"at most {MAX_ANCESTORS}", actual=len(ancestors))
    if numbers != sorted(set(numbers)):
        raise Verdict(Rule.B1, "ancestors do not ascend")


def _encode_header(block: Block) -> bytes:
    try:
        header = block.header.encode()
    except RlpError as error:
        raise Verdict(Rule.B1, f"the header does not encode: {error}") from error
    if len(header) > MAX_HEADER_BYTES or len(block.signature) > MAX_SIGNATURE_BYTES:
        raise Verdict(Rule.B1, "length of the header or the signature")
    return struct.pack(">H", len(header)) + header + bytes((len(block.signature),)) + block.signature


def _decode_head(content: bytes, limits: Limits) -> _Head:
    reader = Reader(content, "head")
    header = Header.decode(reader.take(int.from_bytes(reader.take(2, "header"), "big"), "header"))
    signature = reader.take(reader.take(1, "signature")[0], "signature")
    if len(signature) > MAX_SIGNATURE_BYTES:
        raise reader.refusal("signature", f"has more than {MAX_SIGNATURE_BYTES} bytes")
    counts = _Counts(*_COUNTS.unpack(reader.take(_COUNTS.size, "counts")))
    lengths = _LENGTHS.unpack(reader.take(_LENGTHS.size, "lengths"))
    head = _Head(header, signature, counts, lengths[0::2], lengths[1::2], reader.at)
    _check_bounds(head, len(content), limits)
    return head


def _check_bounds(head: _Head, content_bytes: int, limits: Limits) -> None:
    """Every length that decides memory, before any is taken."""
    counts, gas_limit = head.counts, head.header.gas_limit
    rows, raw = limits.rows_for(gas_limit, content_bytes), limits.raw_for(gas_limit, content_bytes)
    most = max(counts.leaves, counts.moves, counts.envelopes, counts.codes, counts.withdrawals)
    if most > rows:
        raise Verdict(Rule.B1, "rows of the body", expected=f"at most {rows}", actual=most)
    if not counts.addresses <= counts.locations <= counts.moves:
        raise Verdict(Rule.B1, "more addresses than locations or more locations than moves")
    if sum(head.raw) > raw:
        raise Verdict(Rule.B1, "raw bytes of the body", expected=f"at most {raw}", actual=sum(head.raw))
    if sum(head.packed) != content_bytes - head.frames_at:
        raise Verdict(Rule.B1, "bytes of all frames", expected=sum(head.packed), actual=content_bytes - head.frames_at)


def _readers(content: bytes, head: _Head) -> list[Reader]:
    readers, at = [], head.frames_at
    for name, raw, packed in zip(FRAMES, head.raw, head.packed, strict=True):
        readers.append(Reader(decompress(content[at : at + packed], raw, name), name))
        at += packed
    return readers


def _decode_strings(reader: Reader, n: int, what: str) -> tuple[bytes, ...]:
    strings = reader.strings(n, what)
    reader.finish()
    _check_longest(strings, what)
    return strings


def _check_longest(strings: tuple[bytes, ...], what: str) -> None:
    longest = max(map(len, strings), default=0)
    if longest > MAX_STRING_BYTES:
        raise Verdict(Rule.B1, f"bytes of one of the {what}", expected=f"at most {MAX_STRING_BYTES}", actual=longest)


def _encode_withdrawals(withdrawals: tuple[Withdrawal, ...]) -> bytes:
    """Columns: index less the index before, validator, address, amount."""
    if not withdrawals:
        return b""
    rows = np.frombuffer(b"".join(w.encode() for w in withdrawals), np.uint8).reshape(len(withdrawals), 44)
    index, validator, address, amount = rows[:, :8], rows[:, 8:16], rows[:, 16:36], rows[:, 36:]
    step = numbers_of(index)
    step[1:] -= step[:-1].copy()
    return b"".join(encode_words(column) for column in (words_of(step), validator, address, amount))


def _decode_withdrawals(reader: Reader, n: int) -> tuple[Withdrawal, ...]:
    index = np.cumsum(reader.numbers(n, 8, "index"), dtype=np.uint64).tolist()
    validator = reader.numbers(n, 8, "validator").tolist()
    address = [row.tobytes() for row in reader.words(n, 20, "address")]
    amount = reader.numbers(n, 8, "amount").tolist()
    reader.finish()
    return tuple(Withdrawal(*row) for row in zip(index, validator, address, amount, strict=True))
