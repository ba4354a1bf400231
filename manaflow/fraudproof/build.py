"""Building fraud proofs: pure functions of blocks. A challenger verifies what it built before it publishes it.

`history` is the list of the hashes of all blocks before the accused one, genesis first. Each builder raises ValueError
or IndexError for places that the blocks do not have; whatever it builds against an honest block is rejected.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from manaflow.errors import Rule
from manaflow.fraudproof.evidence import (
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
    PlacedEvidence,
    TransactionEvidence,
)
from manaflow.fraudproof.format import Proof
from manaflow.moves import trees
from manaflow.moves.block import Block
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.marks import Mark, Move
from manaflow.rules.bodies import HASH_WINDOW, ancestor_leaf, is_header_source
from manaflow.rules.config import ChainConfig
from manaflow.rules.moves import value_of

Seat = tuple[int, int]
"""(transaction in the block, move in the transaction)."""
_NEEDS_CODES: Final = frozenset({Rule.X0, Rule.X1, Rule.X2, Rule.X3, Rule.X4, Rule.X5})
_NEEDS_ENVELOPE: Final = _NEEDS_CODES | {Rule.M3, Rule.M6, Rule.S1, Rule.S2, Rule.S3, Rule.S4}


def prove_transaction(
    rule: Rule, block: Block, config: ChainConfig, transaction: int, codes: Mapping[bytes, bytes] | None = None
) -> Proof:
    """Any rule that one whole transaction shows broken: M1 to M6, S1 to S4, B8, X0 to X5.

    codes: code bytes by hash, for X; those that the moves of `c` name go into the proof, and so do the block's own.
    """
    moves = _moves_of(block, transaction)
    used = _codes_of(block, moves, codes or {}) if rule in _NEEDS_CODES else ()
    envelope = _envelope_of(block, transaction) if rule in _NEEDS_ENVELOPE else b""
    encoded = b"".join(move.encode() for move in moves)
    needs_withdrawals = rule == Rule.B8 or (rule == Rule.M6 and not envelope)
    paid = b"".join(w.encode() for w in block.withdrawals) if needs_withdrawals else b""
    evidence = TransactionEvidence(leaf_evidence(block, transaction), envelope, encoded, used, paid)
    return proof_of(rule, block, config, evidence)


def prove_v1(
    block: Block, config: ChainConfig, seat: Seat, maker: Block | None, history: Sequence[bytes] = ()
) -> Proof:
    """V1: a move whose cell, made in block `maker`, has another location or value; None: it is not born yet."""
    placed = _placed(block, seat)
    if maker is None:
        return proof_of(Rule.V1, block, config, MovesEvidence(placed, None, None))
    source = _seat_of_cell(maker, move_at(block, seat).number)
    evidence = MovesEvidence(placed, _old(block, maker, config, history), _placed(maker, source))
    return proof_of(Rule.V1, block, config, evidence)


def prove_v1_maker(
    block: Block, config: ChainConfig, seat: Seat, maker: Block | None, history: Sequence[bytes] = ()
) -> Proof:
    """V1: a move whose signer fixed another maker than its cell's, which was made in block `maker`; None: virgin."""
    moves = _moves_of(block, seat[0])
    source = None if maker is None else leaf_evidence(maker, _seat_of_cell(maker, moves[seat[1]].number)[0])
    evidence = MakerEvidence(
        seat[1],
        leaf_evidence(block, seat[0]),
        _envelope_of(block, seat[0]),
        b"".join(move.encode() for move in moves),
        None if maker is None else _old(block, maker, config, history),
        source,
    )
    return proof_of(Rule.V1, block, config, evidence)


def prove_pair(
    rule: Rule,
    block: Block,
    config: ChainConfig,
    late: Seat,
    other: Block,
    early: Seat,
    history: Sequence[bytes] = (),
) -> Proof:
    """V2, V3 or V4: the move at `late` in the accused block comes after what `early` in block `other` did."""
    evidence = MovesEvidence(_placed(block, late), _old(block, other, config, history), _placed(other, early))
    return proof_of(rule, block, config, evidence)


def prove_parent(rule: Rule, block: Block, config: ChainConfig, parent: Header, history: Sequence[bytes] = ()) -> Proof:
    """B2 or B6: a header that does not follow from its parent. history is for B6, and for a wrong parent hash."""
    path: tuple[bytes, ...] = ()
    if block.header.parent_hash != parent.hash:
        path = _history_path(history, len(history) - 1)
    frontier = trees.Frontier()
    for block_hash in history[:-1] if rule == Rule.B6 else ():
        frontier.append(trees.leaf_hash(block_hash))
    evidence = ParentEvidence(HeaderEvidence(parent.encode(), path), tuple(frontier.peaks))
    return proof_of(rule, block, config, evidence)


def prove_b3(block: Block, config: ChainConfig, transaction: int | None) -> Proof:
    """B3: totals that do not follow from a leaf to the next, or to the header's. None: from the header to leaf 0."""
    count = len(block.leaves)
    first = None if transaction is None else leaf_evidence(block, transaction)
    following = 0 if transaction is None else transaction + 1
    after = leaf_evidence(block, following) if following < count else None
    envelope = b"" if transaction is None else _envelope_of(block, transaction)
    return proof_of(Rule.B3, block, config, LeavesEvidence(first, after, envelope))


def prove_missing_code(block: Block, config: ChainConfig, seat: Seat) -> Proof:
    """B4: a consume of `c` whose code is not in the body, whose codes ascend."""
    items = [keccak256(code) for code in block.codes]
    wanted = move_at(block, seat).next
    at = bisect.bisect_left(items, wanted)
    evidence = CodesEvidence(_placed(block, seat), *_around(items, at))
    return proof_of(Rule.B4, block, config, evidence)


def prove_code_order(block: Block, config: ChainConfig, position: int) -> Proof:
    """B4: codes `position` and the next one are out of order."""
    items = [keccak256(code) for code in block.codes]
    return proof_of(Rule.B4, block, config, CodesEvidence(None, _item(items, position), _item(items, position + 1)))


def prove_b5(
    block: Block,
    config: ChainConfig,
    seat: Seat,
    source: Header | None,
    history: Sequence[bytes] = (),
    ancestors: Sequence[tuple[int, bytes]] = (),
) -> Proof:
    """B5: an `e` move whose hash is not the chain's, or outside the window.

    source: the header after the block that is asked for, if it is on this chain and not the accused one. ancestors: all
    (number, hash) of the config's tree, for older blocks.
    """
    asked = value_of(move_at(block, seat).slot)
    old: HeaderEvidence | None = None
    shown: tuple[ItemEvidence, ...] = ()
    if not block.header.number - HASH_WINDOW <= asked < block.header.number:
        pass  # nothing to show: the window is the rule
    elif source is not None and source.hash != block.hash:
        position = source.number - config.genesis_number
        old = HeaderEvidence(source.encode(), _history_path(history, position))
    elif not is_header_source(asked, config):
        shown = _ancestors_around(ancestors, asked)
    return proof_of(Rule.B5, block, config, HashesEvidence(_placed(block, seat), old, shown))


def _ancestors_around(ancestors: Sequence[tuple[int, bytes]], asked: int) -> tuple[ItemEvidence, ...]:
    items = [ancestor_leaf(number, block_hash) for number, block_hash in ancestors]
    at = bisect.bisect_left([number for number, _ in ancestors], asked)
    if at < len(items) and ancestors[at][0] == asked:
        return (_item(items, at),)
    return tuple(item for item in _around(items, at) if item is not None)


def _around(items: Sequence[bytes], at: int) -> tuple[ItemEvidence | None, ItemEvidence | None]:
    """The neighbours between which something missing would stand at `at`."""
    return _item(items, at - 1) if at > 0 else None, _item(items, at) if at < len(items) else None


def _item(items: Sequence[bytes], position: int) -> ItemEvidence:
    return ItemEvidence(position, items[position], tuple(trees.path([trees.leaf_hash(i) for i in items], position)))


def under_head(proof: Proof, head: Header, history: Sequence[bytes]) -> Proof:
    """The same proof for verifiers whose trusted head is a later block. history: hashes of all blocks before that head.

    Raises ValueError if the accused block is not in it.
    """
    block_hash = Header.decode(proof.header).hash
    if head.hash == block_hash:
        return replace(proof, head=None)
    position = list(history).index(block_hash)
    return replace(proof, head=HeaderEvidence(head.encode(), _history_path(history, position)))


def proof_of(rule: Rule, block: Block, config: ChainConfig, evidence: Evidence) -> Proof:
    """A proof of evidence against a block, which is the trusted head itself."""
    return Proof(rule, config.encode(), None, block.header.encode(), block.signature, evidence)


def _history_path(history: Sequence[bytes], position: int) -> tuple[bytes, ...]:
    return tuple(trees.path([trees.leaf_hash(block_hash) for block_hash in history], position))


def _old(block: Block, other: Block, config: ChainConfig, history: Sequence[bytes]) -> HeaderEvidence | None:
    if other.hash == block.hash:
        return None
    position = other.header.number - config.genesis_number
    return HeaderEvidence(other.header.encode(), _history_path(history, position))


def leaf_evidence(block: Block, transaction: int) -> LeafEvidence:
    """A leaf of a block and its path."""
    encoded = [row.tobytes() for row in block.leaves.encoded()]
    path = trees.path([trees.leaf_hash(leaf) for leaf in encoded], transaction)
    return LeafEvidence(transaction, encoded[transaction], tuple(path))


def _placed(block: Block, seat: Seat) -> PlacedEvidence:
    transaction, at = seat
    encoded = [move.encode() for move in _moves_of(block, transaction)]
    path = trees.path([trees.leaf_hash(move) for move in encoded], at)
    return PlacedEvidence(leaf_evidence(block, transaction), MoveEvidence(at, encoded[at], tuple(path)))


def _moves_of(block: Block, transaction: int) -> list[Move]:
    if not 0 <= transaction < len(block.leaves):
        raise IndexError(transaction)
    offsets = block.leaves.move_offsets()
    return block.moves.take(int(offsets[transaction]), int(offsets[transaction + 1])).objects()


def move_at(block: Block, seat: Seat) -> Move:
    """The move at a place of a block."""
    return _moves_of(block, seat[0])[seat[1]]


def _envelope_of(block: Block, transaction: int) -> bytes:
    """The envelope that the leaf names; none for a system transaction."""
    txid = block.leaves.txid[transaction].tobytes()
    return next((envelope for envelope in block.envelopes if keccak256(envelope) == txid), b"")


def _codes_of(block: Block, moves: Sequence[Move], archive: Mapping[bytes, bytes]) -> tuple[bytes, ...]:
    """The codes that the c moves name, by ascending hash, as far as block and archive hold them."""
    own = {keccak256(code): code for code in block.codes}
    needed = sorted({move.prev for move in moves if move.mark == Mark.CODE})
    found = (own.get(code_hash, archive.get(code_hash)) for code_hash in needed)
    return tuple(code for code in found if code is not None)


def _seat_of_cell(block: Block, number: int) -> Seat:
    """Where a block makes a cell. Raises ValueError if it does not."""
    for transaction, (first, count) in enumerate(zip(block.leaves.first_cell, block.leaves.consumes, strict=True)):
        if int(first) <= number < int(first) + int(count):
            return transaction, number - int(first)
    raise ValueError(f"block {block.header.number} does not make cell {number}")
