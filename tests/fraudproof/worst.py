"""The longest evidence that a dishonest block of profile `manaflow` can make necessary, under the deepest paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from manaflow.coordinator.replay import DEVELOPMENT_KEY, address_of
from manaflow.coordinator.seal import sign
from manaflow.errors import Rule
from manaflow.fraudproof.build_codes import with_codes_asked_for
from manaflow.fraudproof.evidence import Evidence, HeaderEvidence, LeafEvidence, TransactionEvidence
from manaflow.fraudproof.format import MAX_PATH, Proof
from manaflow.moves import trees
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.leaf import Leaf
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask, Move
from manaflow.rules.config import MAX_CONFIG_BYTES, ChainConfig
from manaflow.rules.leaves import MAX_MOVES
from manaflow.rules.signing import MAX_SIGNED_BYTES
from tests.builders import envelope
from tests.chain import word
from tests.manaflow_chain import BASE_FEE, CHAIN_ID, LOOKER, Producer, coded

DEEP = tuple(word(i) for i in range(MAX_PATH))
"""A path to the last but one of 2^48 leaves, or the first."""
MOST_LEAVES = 2**MAX_PATH
ENTRY_BYTES = 23
"""Of an address in an access list."""


@dataclass(frozen=True)
class Filled:
    """A transaction as its block has it."""

    envelope: bytes
    moves: list[Move]
    leaf: Leaf


@cache
def producer() -> Producer:
    return coded()


@cache
def config() -> ChainConfig:
    """The chain's, with as many producers as a config holds."""
    own = producer().config
    spare = MAX_CONFIG_BYTES - len(own.encode()) - 3
    others = tuple(i.to_bytes(20, "big") for i in range(1, 1 + spare // 21))
    return replace(own, producers=(address_of(DEVELOPMENT_KEY), *others))


def access_list(size: int) -> list[list[object]]:
    return [[b"\x0a" + i.to_bytes(19, "big"), []] for i in range(size // ENTRY_BYTES)]


@cache
def looking(count: int, gas: int = 2**24, *, size: int = MAX_SIGNED_BYTES) -> Filled:
    """A real execution that uses `count` codes, under an envelope full of an access list."""
    made = producer()
    raw = envelope(
        2, made.keys[1], chain_id=CHAIN_ID, nonce=made.nonces[1], tip=0, fee=10 * BASE_FEE, gas_limit=gas, to=LOOKER,
        value=0, data=word(count), access_list=access_list(size - 200),
    )  # fmt: skip
    assert size - 200 - ENTRY_BYTES < len(raw) <= size
    made.nonces[1] += 1
    block = made.seal_without_x5([raw])
    offsets = block.leaves.move_offsets().tolist()
    return Filled(raw, block.moves.take(offsets[1], offsets[2]).objects(), block.leaves[1])


def unused(count: int) -> list[Move]:
    """References to what no execution here asks for: many long codes first, then untouched slots."""
    mask, codes = int(UNSIGNED | Mask.REFERENCE), producer().codes
    hashes = sorted(code_hash for code_hash, code in codes.items() if len(code) > 1000)[:count]
    places = [b"\x55" + i.to_bytes(19, "big") for i in range(len(hashes))]
    named = [Move(mask, Mark.CODE, 1, a, ZERO32, h, h) for a, h in zip(places, hashes, strict=True)]
    slots = [Move(mask, Mark.STORAGE, 0, b"\x77" * 20, word(i), ZERO32, ZERO32) for i in range(count - len(named))]
    return named + slots


def crowded(moves: Sequence[Move]) -> list[Move]:
    """As many moves as a leaf may count, in M5's order."""
    every = [*moves, *unused(MAX_MOVES - len(moves))]
    return sorted(every, key=lambda move: (move.is_reference, move.location))


def header_of(leaf: LeafEvidence) -> Header:
    """A header of very many leaves, at a very high number, that commits to the leaf."""
    hashed = trees.leaf_hash(leaf.leaf)
    root = trees.root_from_path(hashed, leaf.position, MOST_LEAVES, leaf.path)
    head = producer().filler.head
    return replace(
        head, config=config().hash, number=MOST_LEAVES // 2, transactions=MOST_LEAVES, transactions_root=root,
        extra_data=b"\xff" * 32, prevrandao=b"\xff" * 32, coinbase=b"\xff" * 20, gas_used=2**63,
    )  # fmt: skip


def under_deep_head(rule: Rule, header: Header, evidence: Evidence) -> tuple[Proof, bytes]:
    """The proof, and the trusted head that it is under."""
    alone = Proof(rule, config().encode(), None, header.encode(), sign(header.hash, DEVELOPMENT_KEY), evidence)
    alone = with_codes_asked_for(alone) if rule.name.startswith("X") else alone
    position, count = header.number - config().genesis_number, MOST_LEAVES
    root = trees.root_from_path(trees.leaf_hash(header.hash), position, count, DEEP)
    head = replace(header, number=config().genesis_number + count, history_root=root)
    return replace(alone, head=HeaderEvidence(head.encode(), DEEP)), head.hash


def accuse(
    rule: Rule,
    filled: Filled,
    moves: Sequence[Move],
    *,
    envelope: bytes | None = None,
    codes: Mapping[bytes, bytes] | None = None,
) -> tuple[Proof, bytes]:
    """A proof that brings the whole transaction with these moves. codes: known ones; those that moves name go along."""
    raw = filled.envelope if envelope is None else envelope
    rows, references = [move.encode() for move in moves], sum(move.is_reference for move in moves)
    leaf = replace(
        filled.leaf, txid=keccak256(raw), moves_root=trees.root(rows), consumes=len(moves) - references,
        references=references, gas=0,
    )  # fmt: skip
    placed = LeafEvidence(0, leaf.encode(), DEEP)
    named = sorted({move.prev for move in moves if move.mark == Mark.CODE} & set(codes or {}))
    shown = tuple(codes[code_hash] for code_hash in named) if codes else ()
    needs = rule not in (Rule.M1, Rule.M2, Rule.M4, Rule.M5, Rule.B8)
    evidence = TransactionEvidence(placed, raw if needs else b"", b"".join(rows), shown, b"")
    return under_deep_head(rule, header_of(placed), evidence)
