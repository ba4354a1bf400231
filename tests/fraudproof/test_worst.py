"""F2 in profile `manaflow`: whatever a dishonest producer does, the proof fits a file and verifies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from manaflow.errors import Rule
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.fraudproof.evidence import (
    CodeEvidence,
    CodesEvidence,
    HeaderEvidence,
    LeafEvidence,
    LeavesEvidence,
    MakerEvidence,
)
from manaflow.fraudproof.format import MAX_CODES, MAX_PATH, MAX_PROOF_BYTES, MOVE_BYTES, Proof
from manaflow.fraudproof.verify import MAX_GAS, verify
from manaflow.moves.envelopes import MAX_ENVELOPE_BYTES
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import MAX_HEADER_BYTES
from manaflow.moves.leaf import LEAF_BYTES
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask, Move
from manaflow.moves.transactions import Flag
from manaflow.rules.bodies import CODE_GAS_PER_BYTE, GAS_PER_CODE, MAX_CODE_BYTES
from manaflow.rules.config import MAX_CONFIG_BYTES
from manaflow.rules.execution import MAX_CODE_BYTES as MOST_CODE
from manaflow.rules.leaves import MAX_MOVES
from manaflow.rules.signing import MAX_SIGNED_BYTES
from tests.chain import word
from tests.declared import declared_envelope
from tests.fraudproof.worst import DEEP, Filled, accuse, config, crowded, header_of, looking, producer, under_deep_head
from tests.manaflow_chain import CHAIN_ID, coded_address

Made = tuple[Proof, bytes]
PYEVM = PyEvmExecutor()
FRAME = 2 * MAX_HEADER_BYTES + 2 * 33 * MAX_PATH + LEAF_BYTES + MAX_CONFIG_BYTES + 65 + 200
"""Of a proof beside moves, envelope and codes: headers, paths, leaf, config, signature and lengths."""


def test_the_bounds_leave_room() -> None:
    moves, codes = MAX_MOVES * MOVE_BYTES, MOST_CODE + MAX_CODE_BYTES
    assert moves + MAX_SIGNED_BYTES + codes + 4 * MAX_CODES + FRAME <= MAX_PROOF_BYTES
    assert moves + MAX_ENVELOPE_BYTES + FRAME <= MAX_PROOF_BYTES


def changed(moves: list[Move], test: Callable[[Move], bool], **fields: object) -> list[Move]:
    """The first move of a kind with fields overwritten."""
    at = next(i for i, move in enumerate(moves) if test(move))
    return [*moves[:at], replace(moves[at], **fields), *moves[at + 1 :]]  # type: ignore[arg-type]


def balance(move: Move) -> bool:
    return move.mark == Mark.BALANCE and not move.is_reference


def more(filled: Filled, **fields: int) -> Filled:
    return replace(filled, leaf=replace(filled.leaf, **fields))


def x0() -> Made:
    filled = looking(42)
    moves = changed(crowded(filled.moves), balance, prev=word(1))
    return accuse(Rule.X0, filled, moves, codes=producer().codes)


def x1() -> Made:
    filled = looking(42)
    moves = [move for move in filled.moves if move.addr != coded_address(1)]
    return accuse(Rule.X1, filled, crowded(moves), codes=producer().codes)


def x2() -> Made:
    filled = looking(42)
    return accuse(Rule.X2, filled, changed(crowded(filled.moves), balance, next=word(1)), codes=producer().codes)


def x3() -> Made:
    filled = looking(42)
    wrong = more(filled, gas_used=filled.leaf.gas_used + 1)
    return accuse(Rule.X3, wrong, crowded(filled.moves), codes=producer().codes)


def x4() -> Made:
    filled = looking(42)
    return accuse(Rule.X4, filled, crowded(filled.moves), codes=producer().codes)


def x4_codes_of_two_mebibytes() -> Made:
    """Fewer codes than fill a file by themselves, and more than it has room for beside the moves."""
    filled = looking(42)
    known = {code_hash: code for code_hash, code in producer().codes.items() if code_hash in used_by(filled)}
    rest = {code_hash: code for code_hash, code in producer().codes.items() if code_hash not in known}
    return accuse(Rule.X4, filled, crowded(filled.moves), codes=known | dict(sorted(rest.items())[:40]))


def x4_many_small_codes() -> Made:
    """More codes than a proof may list."""
    filled, small = looking(2), {keccak256(code): code for code in (word(i)[-3:] for i in range(MAX_CODES + 100))}
    mask = int(UNSIGNED | Mask.REFERENCE)
    named = [Move(mask, Mark.CODE, 1, h[:20], ZERO32, h, h) for h in small]
    moves = sorted([*filled.moves, *named], key=lambda move: (move.is_reference, move.location))
    return accuse(Rule.X4, filled, moves, codes=producer().codes | small)


def used_by(filled: Filled) -> set[bytes]:
    return {move.prev for move in filled.moves if move.mark == Mark.CODE}


def x5_code() -> Made:
    filled = looking(180)
    return accuse(Rule.X5, filled, crowded(filled.moves), codes=producer().codes)


def x5_gas() -> Made:
    filled = looking(42, 2**24 + 1)
    return accuse(Rule.X5, filled, crowded(filled.moves), codes=producer().codes)


def declared(status: int = 1, *, size: int = MAX_SIGNED_BYTES, **fields: int) -> tuple[Filled, bytes]:
    raw = declared_envelope(data=bytes(size - 400), chain_id=CHAIN_ID, moves=(), **fields)
    assert size - 400 < len(raw) <= size
    return more(looking(42), status=status), raw


def s1_length() -> Made:
    raw = b"\x02" + bytes(MAX_ENVELOPE_BYTES - 1)
    return accuse(Rule.S1, looking(42), crowded([]), envelope=raw)


def s1_mask() -> Made:
    moves = changed(crowded(looking(42).moves), lambda move: move.mark == Mark.STORAGE, mask=int(Mask.REFERENCE))
    return accuse(Rule.S1, looking(42), moves)


def s2_length() -> Made:
    filled, raw = declared(size=MAX_ENVELOPE_BYTES)
    return accuse(Rule.S2, filled, crowded([]), envelope=raw)


def s2_mask() -> Made:
    filled, raw = declared(flags=int(Flag.OPEN))
    moves = changed(crowded([]), lambda move: move.mark == Mark.STORAGE, mask=int(Mask.REFERENCE))
    return accuse(Rule.S2, filled, moves, envelope=raw)


def s3() -> Made:
    filled, raw = declared(0, flags=int(Flag.OPEN | Flag.MUST_SUCCEED))
    return accuse(Rule.S3, filled, crowded([]), envelope=raw)


def s4() -> Made:
    filled, raw = declared(flags=int(Flag.OPEN), valid_until=1)
    return accuse(Rule.S4, filled, crowded([]), envelope=raw)


def m1() -> Made:
    moves = crowded([])
    return accuse(Rule.M1, looking(42), [*moves[:-1], moves[-2]])


def m2() -> Made:
    return accuse(Rule.M2, looking(42), changed(crowded([]), lambda move: move.is_reference, next=word(9)))


def m3() -> Made:
    return accuse(Rule.M3, looking(42), crowded([]))


def m4() -> Made:
    return accuse(Rule.M4, looking(42), changed(crowded([]), lambda move: True, mark=1))


def m5() -> Made:
    return accuse(Rule.M5, looking(42), crowded([])[::-1])


def m6() -> Made:
    moves = changed(crowded(looking(42).moves), balance, next=b"\xff" * 32)
    return accuse(Rule.M6, looking(42), moves)


def b8() -> Made:
    return accuse(Rule.B8, looking(42), crowded([]))


def b3_size() -> Made:
    leaf = replace(looking(42).leaf, consumes=2**32 - 1, references=2**32 - 1)
    placed = LeafEvidence(0, leaf.encode(), DEEP)
    return under_deep_head(Rule.B3, header_of(placed), LeavesEvidence(placed, None, b""))


def b3_totals() -> Made:
    """A leaf beside the header, with the longest envelope that S1 lets through."""
    filled = looking(42)
    placed = LeafEvidence(2**MAX_PATH - 1, replace(filled.leaf, gas=7).encode(), DEEP)
    return under_deep_head(Rule.B3, header_of(placed), LeavesEvidence(placed, None, filled.envelope))


def b4_count() -> Made:
    placed = LeafEvidence(0, looking(42).leaf.encode(), DEEP)
    header = replace(header_of(placed), codes=2**40)
    return under_deep_head(Rule.B4, header, CodesEvidence(None, None, None))


WORST = (
    x0, x1, x2, x3, x4, x4_codes_of_two_mebibytes, x4_many_small_codes,
    x5_code, x5_gas, s1_length, s1_mask, s2_length, s2_mask, s3, s4,
    m1, m2, m3, m4, m5, m6, b8, b3_size, b3_totals, b4_count,
)  # fmt: skip


@pytest.mark.parametrize("make", WORST, ids=lambda make: make.__name__)
def test_the_worst_proof_fits_and_verifies(make: Callable[[], Made]) -> None:
    proof, head = make()
    data = proof.encode()
    assert len(data) <= MAX_PROOF_BYTES
    rule = Rule[make.__name__.split("_")[0].upper()]
    assert verify(data, head, PYEVM).verdict.rule == rule


@pytest.mark.parametrize("make", [x1, x2, x3, x4, x5_code, s1_length, s2_length], ids=lambda make: make.__name__)
def test_the_worst_is_near_the_bound(make: Callable[[], Made]) -> None:
    """So that a bound which is loosened is noticed."""
    assert len(make()[0].encode()) > MAX_PROOF_BYTES * 0.9


def test_a_proof_of_a_signed_maker_fits() -> None:
    filled = looking(42)
    leaf = LeafEvidence(0, filled.leaf.encode(), DEEP)
    old = HeaderEvidence(bytes(MAX_HEADER_BYTES), DEEP)
    evidence = MakerEvidence(MAX_MOVES - 1, leaf, bytes(MAX_SIGNED_BYTES), bytes(MAX_MOVES * MOVE_BYTES), old, leaf)
    assert len(under_deep_head(Rule.V1, header_of(leaf), evidence)[0].encode()) <= MAX_PROOF_BYTES


def test_codes_that_are_too_long_together_fit_up_to_the_gas_that_a_verifier_executes() -> None:
    """As many as the gas could make; in a tree of so many, each with its path."""
    count = MAX_GAS // GAS_PER_CODE + 1
    assert count <= MAX_CODES
    most = MAX_GAS // CODE_GAS_PER_BYTE + MAX_CODE_BYTES
    path = DEEP[: count.bit_length()]
    codes = tuple(CodeEvidence(i, bytes(most // count + 1), path) for i in range(count))
    placed = LeafEvidence(0, looking(42).leaf.encode(), DEEP)
    proof, _ = under_deep_head(Rule.B4, header_of(placed), CodesEvidence(None, None, None, codes))
    assert most < sum(len(code.code) for code in codes)
    assert len(proof.encode()) <= MAX_PROOF_BYTES


def test_every_config_byte_is_used() -> None:
    assert len(config().encode()) > MAX_CONFIG_BYTES - 30
    assert all(move.mask & UNSIGNED == UNSIGNED for move in crowded([]))
    assert len(crowded(looking(42).moves)) == len(crowded([])) == MAX_MOVES
    assert ZERO32 not in producer().codes
