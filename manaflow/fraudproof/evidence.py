"""What the evidence of each kind of proof holds, as format.py writes it and the judges read it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

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

    leaf: LeafEvidence | None
    """None only where the block has none (B8)."""
    envelope: bytes
    moves: bytes
    """MOVE_BYTES for each move of the transaction, in order."""
    codes: tuple[bytes, ...]
    """By ascending keccak-256."""
    withdrawals: bytes
    """WITHDRAWAL_BYTES for each withdrawal of the block, in order (B8, and M6 of the WITHDRAWALS leaf)."""


@dataclass(frozen=True, slots=True)
class MovesEvidence:
    """The accused move, and the one that contradicts it."""

    placed: PlacedEvidence
    old: HeaderEvidence | None
    """The block of `other`; None: the accused one."""
    other: PlacedEvidence | None
    """V1: the consume that made the cell, None if it is not born yet. V2 to V4: the earlier move."""


@dataclass(frozen=True, slots=True)
class MakerEvidence:
    """A declared transaction whose signer fixed the maker of a move's cell, and who made that cell (V1)."""

    position: int
    """Of the move in the transaction."""
    leaf: LeafEvidence
    envelope: bytes
    moves: bytes
    """MOVE_BYTES for each move of the transaction, in order: which of them the signature means depends on all."""
    old: HeaderEvidence | None
    """The block of `maker`; None: the accused one."""
    maker: LeafEvidence | None
    """The leaf that made the cell; None for a virgin one, which nobody made."""


@dataclass(frozen=True, slots=True)
class ParentEvidence:
    """The accused header's parent, and for B6 the frontier of the parent's history."""

    parent: HeaderEvidence
    """Its path leads to the accused header's history; empty if the accused header's parent hash names it."""
    peaks: Path


class Tree(IntEnum):
    """A tree whose root a producer signs; all but the last declare their number of leaves beside it."""

    TRANSACTIONS = 1
    """The header's."""
    CODES = 2
    """The header's."""
    MOVES = 3
    """A leaf's: consumes and references."""
    WITHDRAWALS = 4
    """The header's; only its root is declared."""


@dataclass(frozen=True, slots=True)
class TreeEvidence:
    """A node under a tree's root: of a kind that the declared count contradicts (B3), or none at all (B1)."""

    tree: Tree
    preimage: bytes
    """What the node is the SHA-256 of: 0x00 | leaf, 0x01 | left | right, or nothing (an empty tree); in B1 neither."""
    steps: tuple[bytes, ...]
    """STEP_BYTES each, from the node to the root."""


@dataclass(frozen=True, slots=True)
class LeavesEvidence:
    """Leaf i and leaf i + 1; without the one before the first, or the one after the last; or one that is too large."""

    leaf: LeafEvidence | None
    after: LeafEvidence | None
    envelope: bytes
    """Of `leaf`, if that is a signed transaction."""
    tree: TreeEvidence | None = None
    """A tree that contradicts its count, in place of neighbours."""


@dataclass(frozen=True, slots=True)
class BytesEvidence:
    """Bytes that the accused header commits to and that do not decode (B1)."""

    leaf: LeafEvidence | None
    """The transaction of a tree of moves; None for every other tree."""
    node: TreeEvidence | None
    """None: the bytes are those of the accused block's parent."""
    parent: bytes
    """What the accused header's parent hash is the SHA-256 of; empty beside a node."""


@dataclass(frozen=True, slots=True)
class ItemEvidence:
    """An entry of a tree: a code's hash, or number:8 | hash:32 of an ancestor."""

    position: int
    item: bytes
    path: Path


@dataclass(frozen=True, slots=True)
class CodeEvidence:
    """A code of the body and the path of its hash to the codes root."""

    position: int
    code: bytes
    path: Path


@dataclass(frozen=True, slots=True)
class CodesEvidence:
    """A consume of `c` whose code would stand between two neighbours; or, without it, two neighbours out of order; or
    nothing: the header counts too many codes."""

    placed: PlacedEvidence | None
    code: ItemEvidence | None
    """None: the missing code would be the first."""
    after: ItemEvidence | None
    """None: it would be the last."""
    codes: tuple[CodeEvidence, ...] = ()
    """By ascending position, in place of everything else: codes that are too long together."""


@dataclass(frozen=True, slots=True)
class HashesEvidence:
    """An `e` move and what the chain knows of the block that it asks for."""

    placed: PlacedEvidence
    old: HeaderEvidence | None
    """The header after that block; None if that is the accused one, or the block is older than genesis's parent."""
    ancestors: tuple[ItemEvidence, ...]
    """Of a block older than genesis's parent: its entry, or the neighbours between which it is missing."""


Evidence = (
    TransactionEvidence
    | MovesEvidence
    | MakerEvidence
    | ParentEvidence
    | LeavesEvidence
    | CodesEvidence
    | HashesEvidence
    | BytesEvidence
)
