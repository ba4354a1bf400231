"""The file of a fraud proof (docs/SPEC.md, section 9): magic, version, and one RLP list.

    file        = "MANAPROOF" | version:1 | rlp([rule, config, head, header, signature, evidence])
    head        = [] if the accused block is the trusted head, else [the head's header, path of the accused hash]
    evidence    = transaction (M1 to M6, S1, X0 to X4) or moves (V1 to V4)
    transaction = [leaf, envelope, moves, [code, ...]]      moves: MOVE_BYTES each; envelope: empty if not needed
    moves       = [placed, old, other]                      the accused move; the other one, or [] (V1, not born yet)
    placed      = [leaf, [position, move, path]]
    leaf        = [position, LEAF_BYTES bytes, path]
    old         = [] if `other` is of the accused block, else [header, path of its hash]

A path is the list of RFC 6962 sibling hashes, leaf to root. The history tree's positions follow from the headers'
numbers. There is no checksum: every byte is bound by a hash that leads to the trusted head, or refused. One proof
has one encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import rlp

from manaflow.errors import Failure, Rule
from manaflow.fraudproof.errors import ProofRejected
from manaflow.moves.header import MAX_HEADER_BYTES
from manaflow.moves.leaf import LEAF_BYTES
from manaflow.moves.rlp_reader import RlpError, RlpReader
from manaflow.rules.config import MAX_CONFIG_BYTES

MAGIC: Final = b"MANAPROOF"
PROOF_VERSION: Final = 1
MAX_PROOF_BYTES: Final = 4 * 2**20
"""F2."""
MAX_PATH: Final = 48
"""Sibling hashes of one path: no tree has more than 2^48 leaves."""
MOVE_BYTES: Final = 126
MAX_CODES: Final = 4096
"""Codes of one proof."""

TRANSACTION_RULES: Final = frozenset({
    Rule.M1, Rule.M2, Rule.M3, Rule.M4, Rule.M5, Rule.M6, Rule.S1, Rule.X0, Rule.X1, Rule.X2, Rule.X3, Rule.X4,
})  # fmt: skip
"""Rules that one whole transaction shows broken."""
MOVES_RULES: Final = frozenset({Rule.V1, Rule.V2, Rule.V3, Rule.V4})
"""Rules that one move or two show broken."""

Path = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class HeaderEvidence:
    """A header and a history path: of its own hash (`old`), or of the accused block's hash under it (`head`)."""

    header: bytes
    path: Path


@dataclass(frozen=True, slots=True)
class LeafEvidence:
    """A leaf of a block and its path to the transactions root."""

    position: int
    leaf: bytes
    path: Path


@dataclass(frozen=True, slots=True)
class MoveEvidence:
    """A move of a transaction and its path to the moves root."""

    position: int
    move: bytes
    path: Path


@dataclass(frozen=True, slots=True)
class PlacedEvidence:
    """A move where it stands in a block."""

    leaf: LeafEvidence
    move: MoveEvidence


@dataclass(frozen=True, slots=True)
class TransactionEvidence:
    """A transaction with everything that its execution depends on."""

    leaf: LeafEvidence
    envelope: bytes
    moves: bytes
    """MOVE_BYTES for each move of the transaction, in order."""
    codes: tuple[bytes, ...]
    """By ascending keccak-256."""


@dataclass(frozen=True, slots=True)
class MovesEvidence:
    """The accused move, and the one that contradicts it."""

    placed: PlacedEvidence
    old: HeaderEvidence | None
    """The block of `other`; None: the accused one."""
    other: PlacedEvidence | None
    """V1: the consume that made the cell, None if it is not born yet. V2 to V4: the earlier move."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a file says, still to be verified."""

    rule: Rule
    config: bytes
    """RLP of the chain config."""
    head: HeaderEvidence | None
    """The trusted head, None if the accused block is it."""
    header: bytes
    """RLP of the accused block's header."""
    signature: bytes
    """Its producer's."""
    evidence: TransactionEvidence | MovesEvidence

    def encode(self) -> bytes:
        """The file. Raises Failure beyond MAX_PROOF_BYTES."""
        evidence = self.evidence
        shape = _of_moves(evidence) if isinstance(evidence, MovesEvidence) else _of_transaction(evidence)
        fields = [int(self.rule), self.config, _of_header(self.head), self.header, self.signature, shape]
        data = MAGIC + bytes((PROOF_VERSION,)) + rlp.encode(fields)
        if len(data) > MAX_PROOF_BYTES:
            raise Failure(f"the proof takes {len(data)} bytes, at most {MAX_PROOF_BYTES} are allowed (F2)")
        return bytes(data)

    @staticmethod
    def decode(data: bytes) -> Proof:
        """Read a file strictly; every length is bounded. Raises ProofRejected."""
        start = len(MAGIC) + 1
        if len(data) > MAX_PROOF_BYTES:
            raise ProofRejected(f"a file of {len(data)} bytes, at most {MAX_PROOF_BYTES} are allowed (F2)")
        if data[: len(MAGIC)] != MAGIC or len(data) < start:
            raise ProofRejected("not a fraud proof: the file begins with other bytes")
        if data[start - 1] != PROOF_VERSION:
            raise ProofRejected(f"version {data[start - 1]} of the format, this program reads {PROOF_VERSION}")
        try:
            return _read_proof(RlpReader.whole(data, start))
        except RlpError as error:
            raise ProofRejected(f"the file does not decode: {error}") from error


def _of_header(evidence: HeaderEvidence | None) -> list[Any]:
    return [evidence.header, list(evidence.path)] if evidence else []


def _of_leaf(evidence: LeafEvidence) -> list[Any]:
    return [evidence.position, evidence.leaf, list(evidence.path)]


def _of_placed(evidence: PlacedEvidence | None) -> list[Any]:
    if evidence is None:
        return []
    move = evidence.move
    return [_of_leaf(evidence.leaf), [move.position, move.move, list(move.path)]]


def _of_transaction(evidence: TransactionEvidence) -> list[Any]:
    return [_of_leaf(evidence.leaf), evidence.envelope, evidence.moves, list(evidence.codes)]


def _of_moves(evidence: MovesEvidence) -> list[Any]:
    return [_of_placed(evidence.placed), _of_header(evidence.old), _of_placed(evidence.other)]


def _read_proof(fields: RlpReader) -> Proof:
    number = fields.integer("rule", 1)
    if number not in TRANSACTION_RULES | MOVES_RULES:
        raise ProofRejected(f"rule number {number} is none that a file can show broken in this version")
    rule = Rule(number)
    config = _bounded(fields, "config", MAX_CONFIG_BYTES)
    head = _read_header(fields.items("head"))
    header = _bounded(fields, "header", MAX_HEADER_BYTES)
    signature = fields.fixed("signature", 65)
    items = fields.items("evidence")
    evidence = _read_moves(items) if rule in MOVES_RULES else _read_transaction(items)
    fields.finish("the proof")
    return Proof(rule, config, head, header, signature, evidence)


def _bounded(fields: RlpReader, name: str, most: int) -> bytes:
    value = fields.string(name)
    if len(value) > most:
        raise RlpError(f"{name}: {len(value)} bytes, at most {most} allowed")
    return value


def _read_path(fields: RlpReader) -> Path:
    items = fields.items("path")
    path: list[bytes] = []
    while items.more:
        if len(path) == MAX_PATH:
            raise RlpError(f"path: more than {MAX_PATH} hashes")
        path.append(items.fixed("path", 32))
    return tuple(path)


def _read_header(items: RlpReader) -> HeaderEvidence | None:
    if not items.more:
        return None
    evidence = HeaderEvidence(_bounded(items, "header", MAX_HEADER_BYTES), _read_path(items))
    items.finish("header and path")
    return evidence


def _read_leaf(items: RlpReader) -> LeafEvidence:
    evidence = LeafEvidence(items.integer("position", 6), items.fixed("leaf", LEAF_BYTES), _read_path(items))
    items.finish("leaf and path")
    return evidence


def _read_placed(items: RlpReader) -> PlacedEvidence:
    leaf, inner = _read_leaf(items.items("leaf")), items.items("move")
    move = MoveEvidence(inner.integer("position", 6), inner.fixed("move", MOVE_BYTES), _read_path(inner))
    inner.finish("move and path")
    items.finish("a placed move")
    return PlacedEvidence(leaf, move)


def _read_transaction(items: RlpReader) -> TransactionEvidence:
    leaf = _read_leaf(items.items("leaf"))
    envelope, moves = items.string("envelope"), items.string("moves")
    if len(moves) % MOVE_BYTES:
        raise RlpError(f"moves: {len(moves)} bytes are no multiple of {MOVE_BYTES}")
    inner = items.items("codes")
    codes: list[bytes] = []
    while inner.more:
        if len(codes) == MAX_CODES:
            raise RlpError(f"codes: more than {MAX_CODES}")
        codes.append(inner.string("code"))
    items.finish("the transaction")
    return TransactionEvidence(leaf, envelope, moves, tuple(codes))


def _read_moves(items: RlpReader) -> MovesEvidence:
    placed = _read_placed(items.items("the accused move"))
    old = _read_header(items.items("older header"))
    inner = items.items("the other move")
    other = _read_placed(inner) if inner.more else None
    items.finish("the moves")
    return MovesEvidence(placed, old, other)
