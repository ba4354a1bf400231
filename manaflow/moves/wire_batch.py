"""The wire form of a batch of filled transactions (docs/SPEC.md, sections 8 and 11; rule B1).

    batch  = transactions:4 | moves:4 | codes:4 | 4 times raw length:4, packed length:4 | 4 zstd frames
    frames = transactions: consumes, references (words of 4), status (1), gas used (8), logs hash (32)
             moves: mask, mark (bytes), number (8), addr (20), slot, prev, next, intx (32)
             envelopes, codes: byte strings

in a MANA file of form 4. Integers are big-endian, columns those of words.py; an empty frame has no bytes. Every length
is bounded before memory is taken, and the frames' contents are one to one with the batch. A decoded batch is
**unchecked**: only its structure is judged here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from manaflow.errors import Rule, Verdict
from manaflow.moves.batch import Batch
from manaflow.moves.columns import Moves
from manaflow.moves.envelopes import MAX_ENVELOPE_BYTES
from manaflow.moves.wire_file import Form, compress, decompress, open_file, seal_file
from manaflow.moves.words import Reader, encode_strings, encode_words, words_of

FRAMES: Final = ("transactions", "moves", "envelopes", "codes")
_COUNTS: Final = struct.Struct(">3I")
_LENGTHS: Final = struct.Struct(f">{2 * len(FRAMES)}I")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a decoder takes. Rows are bounded by the raw bytes, too: each of them has some."""

    file_bytes: int = 2**24
    raw_bytes: int = 2**26
    """All frames decompressed."""
    transactions: int = 2**14
    moves: int = 2**18
    codes: int = 2**12


LIMITS: Final = BatchLimits()
"""What a network's batches keep to."""


def encode_batch(batch: Batch, level: int = 3) -> bytes:
    """The batch's file. `level` is zstd's: it changes the bytes, not what they mean.

    Raises Verdict(B1) if the columns do not fit each other.
    """
    check_shape(batch)
    moves = batch.moves
    transactions = (
        words_of(batch.consumes),
        words_of(batch.references),
        words_of(batch.status),
        words_of(batch.gas_used),
        batch.logs_hash,
    )
    words = (words_of(moves.number), moves.addr, moves.slot, moves.prev, moves.next, batch.intx)
    raw = (
        b"".join(map(encode_words, transactions)),
        moves.mask.tobytes() + moves.mark.tobytes() + b"".join(map(encode_words, words)),
        encode_strings(batch.envelopes) if batch.envelopes else b"",
        encode_strings(batch.codes) if batch.codes else b"",
    )
    packed = compress(raw, level)
    lengths = [length for pair in zip(raw, packed, strict=True) for length in map(len, pair)]
    counts = _COUNTS.pack(len(batch), len(moves), len(batch.codes))
    return seal_file(Form.BATCH, counts + _LENGTHS.pack(*lengths) + b"".join(packed))


def decode_batch(data: bytes, limits: BatchLimits = LIMITS) -> Batch:
    """The batch of a file; only its structure is judged. Raises Verdict(B1)."""
    content = Reader(open_file(data, Form.BATCH, limits.file_bytes), "head")
    transactions, moves, codes = _COUNTS.unpack(content.take(_COUNTS.size, "counts"))
    lengths = _LENGTHS.unpack(content.take(_LENGTHS.size, "lengths"))
    raw, packed = lengths[0::2], lengths[1::2]
    for what, most, found in (
        ("transactions of the batch", limits.transactions, transactions),
        ("moves of the batch", limits.moves, moves),
        ("codes of the batch", limits.codes, codes),
        ("raw bytes of the batch", limits.raw_bytes, sum(raw)),
    ):
        if found > most:
            raise Verdict(Rule.B1, what, expected=f"at most {most}", actual=found)
    frames = [content.take(length, name) for length, name in zip(packed, FRAMES, strict=True)]
    content.finish()
    readers = (
        Reader(decompress(frame, length, name), name) for frame, length, name in zip(frames, raw, FRAMES, strict=True)
    )
    batch = _decode(tuple(readers), transactions, moves, codes)
    check_shape(batch)
    return batch


def _decode(readers: tuple[Reader, ...], t: int, n: int, n_codes: int) -> Batch:
    transactions, moves, envelopes, codes = readers
    consumes, references = (transactions.numbers(t, 4, what) for what in ("consumes", "references"))
    status = transactions.words(t, 1, "status").reshape(-1)
    gas_used, logs_hash = transactions.numbers(t, 8, "gas used"), transactions.words(t, 32, "logs hash")
    mask, mark = (np.frombuffer(moves.take(n, what), np.uint8) for what in ("mask", "mark"))
    number, addr = moves.numbers(n, 8, "number"), moves.words(n, 20, "addr")
    slot, prev, next_, intx = (moves.words(n, 32, what) for what in ("slot", "prev", "next", "intx"))
    batch = Batch(
        envelopes=envelopes.strings(t, "envelopes"),
        consumes=consumes.astype(np.uint32),
        references=references.astype(np.uint32),
        status=status,
        gas_used=gas_used,
        logs_hash=logs_hash,
        moves=Moves(mask, mark, number, addr, slot, prev, next_),
        intx=intx,
        codes=codes.strings(n_codes, "codes"),
    )
    for reader in readers:
        reader.finish()
    return batch


def check_shape(batch: Batch) -> None:
    """The columns have one row a transaction or a move, and no envelope is longer than any may be. Raises Verdict(B1).

    What a batch that was made in this process must fulfil as well.
    """
    t, n = len(batch), len(batch.moves)
    columns: tuple[tuple[NDArray[Any], tuple[int, ...]], ...] = (
        (batch.consumes, (t,)),
        (batch.references, (t,)),
        (batch.status, (t,)),
        (batch.gas_used, (t,)),
        (batch.logs_hash, (t, 32)),
        (batch.intx, (n, 32)),
    )
    if any(column.shape != shape for column, shape in columns):
        raise Verdict(Rule.B1, "columns of a batch of different lengths")
    counted = int(batch.offsets()[-1])
    if counted != n:
        raise Verdict(Rule.B1, "moves counted by the transactions", expected=n, actual=counted)
    longest = max(map(len, batch.envelopes), default=0)
    if longest > MAX_ENVELOPE_BYTES:
        raise Verdict(Rule.B1, "bytes of an envelope", expected=f"at most {MAX_ENVELOPE_BYTES}", actual=longest)
