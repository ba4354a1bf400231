"""The file of a fraud proof (docs/SPEC.md, section 9): magic, version, and one RLP list.

    file        = "MANAPROOF" | version:1 | rlp([rule, config, head, header, signature, evidence]), or equivocation
    head        = [] if the accused block is the trusted head, else [the head's header, path of the accused hash]
    evidence    = transaction (M1 to M6, S1 to S4, B8, X0 to X5), moves (V1 to V4) or maker (V1), parent (B2, B6),
                  leaves (B3), codes (B4), hashes (B5) or bytes (B1)
    transaction = [leaf, envelope, moves, [code, ...], withdrawals]     what a rule does not need is empty; the leaf
                  is [] in B8 of a block without leaves
    moves       = [placed, old, other]                      the accused move; the other one, or [] (V1, not born yet)
    maker       = [position, leaf, envelope, moves, old, maker or []]   a move whose signer fixed its cell's maker; the
                  leaf of that cell's maker, or [] if the cell is virgin
    parent      = [header, path, peaks]                     path: empty if the parent hash names it; peaks: for B6
    leaves      = [leaf or [], next leaf or [], envelope, tree or []]   neighbours, or one [] at an end, or both in an
                  empty block; or one leaf that counts too many moves; or a tree and, if it is of moves, its leaf
    tree        = [which, preimage, [step, ...]]   a node that the tree's count contradicts; step: 1 if that node
                  is the right child, else 0, and its sibling's hash, from the node up to the root
    codes       = [placed or [], code or [], next code or [], [[position, code bytes, path], ...]]   the move that
                  needs a code between the two (code: item); or codes that are too long together; or nothing but [] (the
                  header counts too many)
    hashes      = [placed, old, [item, ...]]                the header after the block asked for, or ancestors: items
    bytes       = [leaf or [], tree or [], parent]          a node that is none, and its leaf if it is of a tree of
                  moves; or the bytes of the accused block's parent, which are no header
    item        = [position, bytes, path]                   of the codes tree, or of the config's tree of ancestors
    placed      = [leaf, [position, move, path]]
    leaf        = [position, LEAF_BYTES bytes, path]
    old         = [] if `other` is of the accused block, else [header, path of its hash]
    equivocation = "MANAPROOF" | version:1 | rlp([EQUIVOCATION, config, head, header, signature, [header, signature]])
                  two headers by ascending hash; head: [] if the trusted head is one of them, else [the head's header]

Moves are MOVE_BYTES each and withdrawals WITHDRAWAL_BYTES, joined, all of them in their order. A path is the list of
RFC 6962 sibling hashes, leaf to root. The history tree's positions follow from the headers' numbers. There is no
checksum: every byte is bound by a hash that leads to the trusted head, or refused. One proof has one encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import rlp

from manaflow.errors import Failure, Rule
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.evidence import (
    BytesEvidence,
    CodeEvidence,
    CodesEvidence,
    Evidence,
    HashesEvidence,
    HeaderEvidence,
    ItemEvidence,
    LeafEvidence,
    LeavesEvidence,
    MakerEvidence,
    MoveEvidence,
    MovesEvidence,
    ParentEvidence,
    Path,
    PlacedEvidence,
    TransactionEvidence,
    Tree,
    TreeEvidence,
)
from manaflow.moves.header import MAX_HEADER_BYTES
from manaflow.moves.leaf import LEAF_BYTES
from manaflow.moves.rlp_reader import RlpError, RlpReader
from manaflow.rules.config import MAX_CONFIG_BYTES
from manaflow.rules.headers import SIGNATURE_BYTES

MAGIC: Final = b"MANAPROOF"
PROOF_VERSION: Final = 1
MAX_PROOF_BYTES: Final = 4 * 2**20
"""F2."""
MAX_PATH: Final = 48
"""Sibling hashes of one path: no tree has more than 2^48 leaves."""
MOVE_BYTES: Final = 126
WITHDRAWAL_BYTES: Final = 44
ANCESTOR_BYTES: Final = 40
MAX_CODES: Final = 8192
"""Codes of one proof: more than the gas of X5 lets a transaction use (2,400 for an access and its listing)."""
MAX_PREIMAGE: Final = 1 + LEAF_BYTES
"""Bytes of a tree's node: no leaf of ours is longer than a transaction's. In B1 only the file's length bounds them."""
EQUIVOCATION: Final = 100
"""What stands in place of a rule's number in the file of an equivocation (equivocation.py)."""
STEP_BYTES: Final = 33
"""A direction and a hash."""

TRANSACTION_RULES: Final = frozenset({
    Rule.M1, Rule.M2, Rule.M3, Rule.M4, Rule.M5, Rule.M6, Rule.S1, Rule.S2, Rule.S3, Rule.S4, Rule.B8,
    Rule.X0, Rule.X1, Rule.X2, Rule.X3, Rule.X4, Rule.X5,
})  # fmt: skip
"""Rules that one whole transaction shows broken."""
MOVES_RULES: Final = frozenset({Rule.V1, Rule.V2, Rule.V3, Rule.V4})
"""Rules that one move or two show broken."""
PARENT_RULES: Final = frozenset({Rule.B2, Rule.B6})
"""Rules that a header and its parent's show broken."""
LEAVES_RULES: Final = frozenset({Rule.B3})
"""Rules that one leaf or two neighbours show broken."""
CODES_RULES: Final = frozenset({Rule.B4})
"""Rules that a move and two neighbours in the codes tree show broken."""
HASHES_RULES: Final = frozenset({Rule.B5})
"""Rules that an `e` move and the chain's own hash show broken."""
BYTES_RULES: Final = frozenset({Rule.B1})
"""Rules that the committed bytes themselves show broken."""
PROVABLE: Final = (
    TRANSACTION_RULES | MOVES_RULES | PARENT_RULES | LEAVES_RULES | CODES_RULES | HASHES_RULES | BYTES_RULES
)


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
    evidence: Evidence

    def encode(self) -> bytes:
        """The file. Raises Failure beyond MAX_PROOF_BYTES."""
        evidence = _of_evidence(self.evidence)
        return write_file([int(self.rule), self.config, _of_header(self.head), self.header, self.signature, evidence])

    @staticmethod
    def decode(data: bytes) -> Proof:
        """Read a file strictly; every length is bounded. Raises ProofRejected."""
        try:
            return _read_proof(read_file(data))
        except RlpError as error:
            raise ProofRejected(f"the file does not decode: {error}") from error


def write_file(fields: list[Any]) -> bytes:
    """The file that holds these fields. Raises Failure beyond MAX_PROOF_BYTES."""
    data = MAGIC + bytes((PROOF_VERSION,)) + rlp.encode(fields)
    if len(data) > MAX_PROOF_BYTES:
        raise Failure(f"the proof takes {len(data)} bytes, at most {MAX_PROOF_BYTES} are allowed (F2)")
    return bytes(data)


def read_file(data: bytes) -> RlpReader:
    """A reader over a file's fields. Raises ProofRejected for what is no such file, RlpError for a broken list."""
    start = len(MAGIC) + 1
    if len(data) > MAX_PROOF_BYTES:
        raise ProofRejected(f"a file of {len(data)} bytes, at most {MAX_PROOF_BYTES} are allowed (F2)")
    if data[: len(MAGIC)] != MAGIC or len(data) < start:
        raise ProofRejected("not a fraud proof: the file begins with other bytes")
    if data[start - 1] != PROOF_VERSION:
        raise ProofRejected(f"version {data[start - 1]} of the format, this program reads {PROOF_VERSION}")
    return RlpReader.whole(data, start)


def _of_evidence(evidence: Evidence) -> list[Any]:
    if isinstance(evidence, TransactionEvidence):
        head = [_of_leaf(evidence.leaf), evidence.envelope, evidence.moves]
        return [*head, list(evidence.codes), evidence.withdrawals]
    if isinstance(evidence, MovesEvidence):
        return [_of_placed(evidence.placed), _of_header(evidence.old), _of_placed(evidence.other)]
    if isinstance(evidence, MakerEvidence):
        whole = [evidence.position, _of_leaf(evidence.leaf), evidence.envelope, evidence.moves]
        return [*whole, _of_header(evidence.old), _of_leaf(evidence.maker)]
    if isinstance(evidence, ParentEvidence):
        return [*_of_header(evidence.parent), list(evidence.peaks)]
    if isinstance(evidence, LeavesEvidence):
        return [_of_leaf(evidence.leaf), _of_leaf(evidence.after), evidence.envelope, _of_tree(evidence.tree)]
    if isinstance(evidence, CodesEvidence):
        shown = [[code.position, code.code, list(code.path)] for code in evidence.codes]
        return [_of_placed(evidence.placed), _of_item(evidence.code), _of_item(evidence.after), shown]
    if isinstance(evidence, BytesEvidence):
        return [_of_leaf(evidence.leaf), _of_tree(evidence.node), evidence.parent]
    return [_of_placed(evidence.placed), _of_header(evidence.old), [_of_item(item) for item in evidence.ancestors]]


def _of_header(evidence: HeaderEvidence | None) -> list[Any]:
    return [evidence.header, list(evidence.path)] if evidence else []


def _of_leaf(evidence: LeafEvidence | None) -> list[Any]:
    return [evidence.position, evidence.leaf, list(evidence.path)] if evidence else []


def _of_tree(evidence: TreeEvidence | None) -> list[Any]:
    return [int(evidence.tree), evidence.preimage, list(evidence.steps)] if evidence else []


def _of_item(evidence: ItemEvidence | None) -> list[Any]:
    return [evidence.position, evidence.item, list(evidence.path)] if evidence else []


def _of_placed(evidence: PlacedEvidence | None) -> list[Any]:
    if evidence is None:
        return []
    move = evidence.move
    return [_of_leaf(evidence.leaf), [move.position, move.move, list(move.path)]]


def _read_proof(fields: RlpReader) -> Proof:
    number = fields.integer("rule", 1)
    if number == EQUIVOCATION:
        raise ProofRejected("the file shows an equivocation: it accuses a producer, and no block")
    if number not in PROVABLE:
        raise ProofRejected(f"rule number {number} is none that a file can show broken in this version")
    rule = Rule(number)
    config = bounded(fields, "config", MAX_CONFIG_BYTES)
    head = _read_header(fields.items("head"))
    header = bounded(fields, "header", MAX_HEADER_BYTES)
    signature = fields.fixed("signature", SIGNATURE_BYTES)
    items = fields.items("evidence")
    evidence = _READERS[rule](items)
    items.finish("evidence")
    fields.finish("the proof")
    return Proof(rule, config, head, header, signature, evidence)


def bounded(fields: RlpReader, name: str, most: int) -> bytes:
    """The next item, a byte string of at most `most` bytes. Raises RlpError."""
    value = fields.string(name)
    if len(value) > most:
        raise RlpError(f"{name}: {len(value)} bytes, at most {most} allowed")
    return value


def _read_path(fields: RlpReader, name: str = "path") -> Path:
    items = fields.items(name)
    path: list[bytes] = []
    while items.more:
        if len(path) == MAX_PATH:
            raise RlpError(f"{name}: more than {MAX_PATH} hashes")
        path.append(items.fixed(name, 32))
    return tuple(path)


def _read_header(items: RlpReader) -> HeaderEvidence | None:
    if not items.more:
        return None
    evidence = HeaderEvidence(bounded(items, "header", MAX_HEADER_BYTES), _read_path(items))
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
    inner = items.items("leaf")
    leaf = _read_leaf(inner) if inner.more else None
    envelope, moves = items.string("envelope"), _read_rows(items, "moves", MOVE_BYTES)
    codes = _read_codes(items)
    return TransactionEvidence(leaf, envelope, moves, codes, _read_rows(items, "withdrawals", WITHDRAWAL_BYTES))


def _read_rows(items: RlpReader, name: str, width: int) -> bytes:
    rows = items.string(name)
    if len(rows) % width:
        raise RlpError(f"{name}: {len(rows)} bytes are no multiple of {width}")
    return rows


def _read_codes(items: RlpReader) -> tuple[bytes, ...]:
    inner = items.items("codes")
    codes: list[bytes] = []
    while inner.more:
        if len(codes) == MAX_CODES:
            raise RlpError(f"codes: more than {MAX_CODES}")
        codes.append(inner.string("code"))
    return tuple(codes)


def _read_moves(items: RlpReader) -> MovesEvidence:
    placed = _read_placed(items.items("the accused move"))
    old = _read_header(items.items("older header"))
    inner = items.items("the other move")
    other = _read_placed(inner) if inner.more else None
    return MovesEvidence(placed, old, other)


def _read_v1(items: RlpReader) -> MovesEvidence | MakerEvidence:
    if items.at_list:
        return _read_moves(items)
    position, leaf = items.integer("position", 6), _read_leaf(items.items("leaf"))
    envelope, moves = items.string("envelope"), _read_rows(items, "moves", MOVE_BYTES)
    old, inner = _read_header(items.items("older header")), items.items("the maker's leaf")
    return MakerEvidence(position, leaf, envelope, moves, old, _read_leaf(inner) if inner.more else None)


def _read_parent(items: RlpReader) -> ParentEvidence:
    parent = HeaderEvidence(bounded(items, "parent", MAX_HEADER_BYTES), _read_path(items))
    return ParentEvidence(parent, _read_path(items, "peaks"))


def _read_leaves(items: RlpReader) -> LeavesEvidence:
    first, second = items.items("leaf"), items.items("next leaf")
    leaf = _read_leaf(first) if first.more else None
    after = _read_leaf(second) if second.more else None
    envelope, third = items.string("envelope"), items.items("tree")
    return LeavesEvidence(leaf, after, envelope, _read_tree(third) if third.more else None)


def _read_tree(items: RlpReader, most: int = MAX_PREIMAGE) -> TreeEvidence:
    number = items.integer("tree", 1)
    if number not in set(Tree):
        raise RlpError(f"tree: {number} is none")
    preimage, inner = bounded(items, "preimage", most), items.items("steps")
    steps: list[bytes] = []
    while inner.more:
        if len(steps) == MAX_PATH:
            raise RlpError(f"steps: more than {MAX_PATH}")
        steps.append(inner.fixed("step", STEP_BYTES))
    items.finish("tree")
    return TreeEvidence(Tree(number), preimage, tuple(steps))


def _read_item(items: RlpReader, width: int) -> ItemEvidence:
    evidence = ItemEvidence(items.integer("position", 6), items.fixed("item", width), _read_path(items))
    items.finish("item and path")
    return evidence


def _read_codes_evidence(items: RlpReader) -> CodesEvidence:
    first, second, third = items.items("a placed move"), items.items("code"), items.items("next code")
    return CodesEvidence(
        _read_placed(first) if first.more else None,
        _read_item(second, 32) if second.more else None,
        _read_item(third, 32) if third.more else None,
        _read_code_bytes(items.items("code bytes")),
    )


def _read_code_bytes(items: RlpReader) -> tuple[CodeEvidence, ...]:
    codes: list[CodeEvidence] = []
    while items.more:
        if len(codes) == MAX_CODES:
            raise RlpError(f"codes: more than {MAX_CODES}")
        inner = items.items("code")
        codes.append(CodeEvidence(inner.integer("position", 6), inner.string("code"), _read_path(inner)))
        inner.finish("code and path")
    return tuple(codes)


def _read_hashes(items: RlpReader) -> HashesEvidence:
    placed, old = _read_placed(items.items("a placed move")), _read_header(items.items("older header"))
    inner = items.items("ancestors")
    ancestors: list[ItemEvidence] = []
    while inner.more:
        if len(ancestors) == 2:
            raise RlpError("ancestors: more than 2")
        ancestors.append(_read_item(inner.items("ancestor"), ANCESTOR_BYTES))
    return HashesEvidence(placed, old, tuple(ancestors))


def _read_bytes(items: RlpReader) -> BytesEvidence:
    first, second = items.items("leaf"), items.items("tree")
    leaf = _read_leaf(first) if first.more else None
    node = _read_tree(second, MAX_PROOF_BYTES) if second.more else None
    return BytesEvidence(leaf, node, items.string("parent"))


_READERS: Final[Mapping[Rule, Callable[[RlpReader], Evidence]]] = {
    **dict.fromkeys(TRANSACTION_RULES, _read_transaction),
    **dict.fromkeys(MOVES_RULES, _read_moves),
    Rule.V1: _read_v1,
    **dict.fromkeys(PARENT_RULES, _read_parent),
    **dict.fromkeys(LEAVES_RULES, _read_leaves),
    **dict.fromkeys(CODES_RULES, _read_codes_evidence),
    **dict.fromkeys(HASHES_RULES, _read_hashes),
    **dict.fromkeys(BYTES_RULES, _read_bytes),
}
"""From a rule to how its evidence is read."""
