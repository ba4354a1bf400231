"""A block's leaves on the wire: what follows from the rest of the body is sent as the difference from it.

| column | sent as | width |
|---|---|---|
| consumes, references | themselves; their sums are the offsets of the moves | 4 |
| status | exclusive or with 1 | 1 |
| gas used | itself | 8 |
| logs hash | exclusive or with the hash of no logs | 32 |
| own | exclusive or with 1 of: the txid is the keccak-256 of the next envelope not yet taken by a leaf | 1 |
| txids | those of the leaves with own = 0 (system transactions) | 32 |
| moves root | exclusive or with the root of the leaf's moves | 32 |
| first cell, gas, fees, blob gas | less what the leaf before leads to, modulo 2^64 (fees: 2^256) | 8, 8, 32, 8 |

What a leaf adds to the totals: its consumes, its gas used, and no fees and no blob gas: these two follow from
envelopes, and a difference of a few bytes is cheaper than a wire form that must understand every envelope.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from manaflow.moves.columns import U8, U64, Leaves
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.words import (
    Bools,
    Reader,
    encode_words,
    limbs_of,
    running_sums,
    running_sums_of_limbs,
    subtract,
    words_of,
    words_of_limbs,
)

NO_LOGS: Final = np.frombuffer(keccak256(b"\xc0"), np.uint8)
"""keccak-256 of the RLP of no logs, uint8[32]."""


@dataclass(frozen=True, slots=True)
class Derived:
    """What the rest of a body says about its leaves."""

    envelope_ids: U8
    """uint8[e, 32]: keccak-256 of each envelope."""
    moves_roots: U8
    """uint8[t, 32]."""


def _own(txid: U8, envelope_ids: U8) -> Bools:
    """bool[t]: which leaves, in order, have the txid of the next envelope that no leaf before has taken."""
    own, taken = np.zeros(len(txid), np.bool_), 0
    ids = [row.tobytes() for row in envelope_ids]
    for i, row in enumerate(txid):
        if taken < len(ids) and row.tobytes() == ids[taken]:
            own[i], taken = True, taken + 1
    return own


def _decode_txids(reader: Reader, own: Bools, envelope_ids: U8) -> U8:
    """uint8[t, 32]. Refuses a txid that is sent although it is the next envelope's."""
    if int(own.sum()) > len(envelope_ids):
        raise reader.refusal("own", "names more envelopes than there are")
    txid = np.zeros((len(own), 32), np.uint8)
    txid[own] = envelope_ids[: own.sum()]
    txid[~own] = reader.words(int((~own).sum()), 32, "txids")
    if not np.array_equal(_own(txid, envelope_ids), own):
        raise reader.refusal("txids", "holds one that follows from its envelope")
    return txid


def _steps(totals: U64, added: U64, start: int) -> U64:
    """What to send for running totals before each leaf; honest ones give zeros."""
    sent = totals.copy()
    sent[1:] -= totals[:-1] + added[:-1]
    sent[:1] -= np.uint64(start)
    return sent


def _totals(sent: U64, added: U64, start: int) -> U64:
    """The inverse of _steps."""
    terms = sent.copy()
    terms[1:] += added[:-1]
    terms[:1] += np.uint64(start)
    return running_sums(terms, np.zeros(len(terms), np.bool_))


def encode_leaves(leaves: Leaves, derived: Derived, header: Header) -> bytes:
    """The frame of leaves, its columns in the order of the table above."""
    own = _own(leaves.txid, derived.envelope_ids)
    fees = limbs_of(leaves.fees)
    before = np.concatenate([np.zeros((min(1, len(fees)), 8), np.uint64), fees[:-1]])
    none = np.zeros(len(leaves), np.uint64)
    columns = (
        words_of(leaves.consumes),
        words_of(leaves.references),
        leaves.status[:, None] ^ np.uint8(1),
        words_of(leaves.gas_used),
        leaves.logs_hash ^ NO_LOGS,
        (~own).astype(np.uint8)[:, None],
        leaves.txid[~own],
        leaves.moves_root ^ derived.moves_roots,
        words_of(_steps(leaves.first_cell, leaves.consumes.astype(np.uint64), header.first_cell)),
        words_of(_steps(leaves.gas, leaves.gas_used, 0)),
        words_of_limbs(subtract(fees, before)),
        words_of(_steps(leaves.blob_gas, none, 0)),
    )
    return b"".join(encode_words(column) for column in columns)


@dataclass(frozen=True, slots=True)
class LeavesStart:
    """The columns of leaves that the moves need, and the reader where the rest goes on."""

    leaves: Leaves
    """txid, moves root, first cell, gas, fees and blob gas are still zero."""
    reader: Reader


def decode_leaves_start(reader: Reader, t: int) -> LeavesStart:
    """Counts and outcomes of t leaves. Raises Verdict(B1)."""
    consumes = reader.numbers(t, 4, "consumes").astype(np.uint32)
    references = reader.numbers(t, 4, "references").astype(np.uint32)
    status = reader.words(t, 1, "status")[:, 0] ^ np.uint8(1)
    gas_used = reader.numbers(t, 8, "gas used")
    logs_hash = reader.words(t, 32, "logs hash") ^ NO_LOGS
    words, none = np.zeros((t, 32), np.uint8), np.zeros(t, np.uint64)
    leaves = Leaves(words, words, consumes, references, status, gas_used, logs_hash, none, none, words, none)
    return LeavesStart(leaves, reader)


def decode_leaves_rest(start: LeavesStart, derived: Derived, first_cell: int) -> Leaves:
    """All columns of leaves, once the moves are known. Raises Verdict(B1)."""
    reader, known = start.reader, start.leaves
    t = len(known)
    own = reader.words(t, 1, "own")[:, 0]
    if (own > 1).any():
        raise reader.refusal("own", "is neither 0 nor 1")
    txid = _decode_txids(reader, own == 0, derived.envelope_ids)
    moves_root = reader.words(t, 32, "moves root") ^ derived.moves_roots
    first = _totals(reader.numbers(t, 8, "first cell"), known.consumes.astype(np.uint64), first_cell)
    gas = _totals(reader.numbers(t, 8, "gas"), known.gas_used, 0)
    fees = running_sums_of_limbs(limbs_of(reader.words(t, 32, "fees")), np.zeros(t, np.bool_))
    blob_gas = _totals(reader.numbers(t, 8, "blob gas"), np.zeros(t, np.uint64), 0)
    reader.finish()
    return Leaves(
        txid, moves_root, known.consumes, known.references, known.status, known.gas_used, known.logs_hash,
        first, gas, words_of_limbs(fees), blob_gas,
    )  # fmt: skip
