from __future__ import annotations

from dataclasses import replace

import pytest

from manaflow.errors import Rule
from manaflow.moves import trees
from manaflow.moves.block import Withdrawal
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import Mark, Move
from manaflow.rules.bodies import (
    ancestor_leaf,
    check_b4,
    check_b5,
    check_codes,
    check_withdrawals_root,
    is_header_source,
)
from tests.rules.build import CONFIG, A, consume, header_pair, reference, refused, word

CODES = sorted([b"\x60\x00", b"\x60\x01", b"\xfe"], key=keccak256)
HASHES = [keccak256(code) for code in CODES]
HEADER = replace(header_pair()[1], codes_root=trees.root(HASHES), codes=3)


def creates(code_hash: bytes) -> Move:
    return replace(consume(Mark.CODE, A), next=code_hash)


def test_b4() -> None:
    zeroed = replace(consume(Mark.CODE, A, number=4, after=0), prev=word(7))
    used = replace(reference(Mark.CODE, A, number=4), prev=word(7), next=word(7))
    stored = replace(consume(Mark.STORAGE, A), next=word(7))
    check_b4([creates(HASHES[1]), zeroed, used, stored], frozenset(HASHES))


def test_invalid_b4() -> None:
    verdict = refused(Rule.B4, check_b4, [consume(Mark.BALANCE), creates(word(7))], frozenset(HASHES), what="missing")
    assert (verdict.move, verdict.expected) == (1, word(7))


def test_codes() -> None:
    assert check_codes(HEADER, CODES) == frozenset(HASHES)
    assert check_codes(replace(HEADER, codes_root=trees.EMPTY_ROOT, codes=0), []) == frozenset()


def test_invalid_codes() -> None:
    refused(Rule.B4, check_codes, HEADER, [CODES[1], CODES[0], CODES[2]], what="code 1 is out of order")
    refused(Rule.B4, check_codes, HEADER, [*CODES, CODES[2]], what="code 3 is out of order")
    refused(Rule.B3, check_codes, HEADER, CODES[:2], what="codes root")
    refused(Rule.B3, check_codes, replace(HEADER, codes=2), CODES, what="number of codes")


@pytest.mark.parametrize("gas_limit", [5_000, 19_999, 20_000, 30_000_000])
def test_codes_at_the_bound_on_their_number(gas_limit: int) -> None:
    most = gas_limit // 20_000 + 1
    codes = sorted((i.to_bytes(3, "big") for i in range(most + 1)), key=keccak256)
    hashes = [keccak256(code) for code in codes]
    fitting = replace(HEADER, gas_limit=gas_limit, codes_root=trees.root(hashes[:-1]), codes=most)
    assert len(check_codes(fitting, codes[:-1])) == most
    crowded = replace(fitting, codes_root=trees.root(hashes), codes=most + 1)
    assert refused(Rule.B4, check_codes, crowded, codes, what="codes in the body").actual == most + 1
    assert len(check_codes(crowded, codes, is_genesis=True)) == most + 1


def test_codes_at_the_size_bound() -> None:
    header = replace(HEADER, gas_limit=5_000)
    most = 5_000 // 200 + 24_576
    for size in (most, most + 1):
        code = bytes(size)
        fitting = replace(header, codes_root=trees.root([keccak256(code)]), codes=1)
        if size == most:
            check_codes(fitting, [code])
        else:
            verdict = refused(Rule.B4, check_codes, fitting, [code], what="bytes of code")
            assert verdict.actual == most + 1
            check_codes(fitting, [code], is_genesis=True)


def test_withdrawals_root() -> None:
    paid = [Withdrawal(1, 2, A, 3), Withdrawal(2, 2, A, 0)]
    header = replace(HEADER, withdrawals_root=trees.root([w.encode() for w in paid]))
    check_withdrawals_root(header, paid)
    check_withdrawals_root(HEADER, [])
    refused(Rule.B3, check_withdrawals_root, header, paid[:1], what="withdrawals root")
    refused(Rule.B3, check_withdrawals_root, header, [paid[1], paid[0]], what="withdrawals root")


def asks(number: int, shown: int) -> Move:
    return replace(reference(Mark.BLOCKHASH, bytes(20), number), prev=word(shown), next=word(shown))


@pytest.mark.parametrize("asked", [744, 999])
def test_b5_at_the_window(asked: int) -> None:
    check_b5([consume(Mark.BALANCE), asks(asked, 5)], 1000, {asked: word(5)})


@pytest.mark.parametrize("asked", [743, 1000, 2**255])
def test_invalid_b5_outside_the_window(asked: int) -> None:
    moves = [consume(Mark.BALANCE), asks(asked, 5)]
    verdict = refused(Rule.B5, check_b5, moves, 1000, {asked: word(5)}, what="block number of an e move")
    assert (verdict.move, verdict.expected, verdict.actual) == (1, "744 to 999", asked)


def test_invalid_b5_hash() -> None:
    verdict = refused(Rule.B5, check_b5, [asks(900, 5)], 1000, {900: word(6)}, what="hash of block 900")
    assert (verdict.move, verdict.expected, verdict.actual) == (0, word(6), word(5))
    refused(Rule.B5, check_b5, [asks(900, 5)], 1000, {}, what="knows no hash of block 900")


def test_b5_sources() -> None:
    assert is_header_source(99, CONFIG)
    assert not is_header_source(98, CONFIG)
    assert ancestor_leaf(258, word(93)) == bytes(6) + b"\1\2" + word(93)
