"""M1 to M6, S1 and X0 to X5: a lie in one transaction, the file that shows it, and what does not convict."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest

from manaflow.errors import Rule
from manaflow.fraudproof.build import prove_transaction
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.format import TRANSACTION_RULES, Proof
from manaflow.fraudproof.verify import verify
from manaflow.moves.block import Block
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import UNSIGNED, Mark, Mask, Move
from tests.chain import word
from tests.fraudproof.forge import (
    COUNTER_AT,
    EXECUTOR,
    Call,
    ExecutedChain,
    Parts,
    changed,
    convict,
    executed_chain,
    forge,
    forge_header,
    forge_leaf,
    index_of,
    moves_of,
    rejection,
    signed,
)

CALL = 2
"""The leaf of the counter's call."""


@cache
def honest() -> ExecutedChain:
    return executed_chain()


def block() -> Block:
    return honest().head


def counter_slot() -> int:
    return index_of(moves_of(block(), CALL), Mark.STORAGE)


def prove(rule: Rule, accused: Block, transaction: int = CALL) -> Proof:
    return prove_transaction(rule, accused, honest().config, transaction, honest().codes)


def without(at: int) -> Block:
    moves = moves_of(block(), CALL)
    return forge(block(), CALL, moves[:at] + moves[at + 1 :])


def with_more(*more: Move) -> Block:
    def key(move: Move) -> tuple[bool, int, bytes, bytes]:
        return move.is_reference, *move.location

    return forge(block(), CALL, sorted([*moves_of(block(), CALL), *more], key=key))


def virgin(slot: int, mark: int = Mark.STORAGE) -> Move:
    return Move(UNSIGNED | Mask.REFERENCE, mark, 0, COUNTER_AT, word(slot), word(0), word(0))


def poor_sender() -> Block:
    """The sender cannot pay: its balance before, and after, is 1 wei short of nothing."""
    moves = moves_of(block(), CALL)
    at = index_of(moves, Mark.BALANCE, honest().addresses[1])
    moves[at] = replace(moves[at], prev=word(2), next=word(1))
    return forge(block(), CALL, moves)


def garbage() -> Block:
    parts = Parts.of(block())
    parts.envelopes[1] = b"\x02no envelope"
    parts.txids[CALL] = keccak256(parts.envelopes[1])
    return parts.seal(block().header, block().codes)


def other_chain() -> Block:
    parts, chain = Parts.of(block()), honest()
    parts.envelopes[1] = signed(chain, Call(1, COUNTER_AT, chain_id=1))
    parts.txids[CALL] = keccak256(parts.envelopes[1])
    return parts.seal(block().header, block().codes)


@dataclass(frozen=True)
class Lie:
    rule: Rule
    name: str
    tell: Callable[[], Block]
    what: str
    move: Callable[[], int | None] = lambda: None


LIES = [
    Lie(Rule.X0, "poor sender", poor_sender, "balance"),
    Lie(Rule.X0, "block full", lambda: forge_leaf(block(), CALL, gas=block().header.gas_limit), "gas"),
    Lie(Rule.X1, "undeclared slot", lambda: without(counter_slot()), "undeclared access: s 0xcd00"),
    Lie(Rule.X2, "wrong next", lambda: changed(block(), CALL, counter_slot(), next=word(9)), "", counter_slot),
    Lie(Rule.X3, "gas used", lambda: forge(block(), CALL, gas_used=50_000), "gas used"),
    Lie(Rule.X3, "status", lambda: forge(block(), CALL, status=0), "status"),
    Lie(Rule.X3, "logs", lambda: forge(block(), CALL, logs_hash=word(1)), "logs hash"),
    Lie(Rule.X4, "unused reference", lambda: with_more(virgin(7)), "declared and not used"),
    Lie(Rule.S1, "mask", lambda: changed(block(), CALL, 1, mask=0x3E), "mask of an unsigned move", lambda: 1),
    Lie(Rule.S1, "guard", lambda: changed(block(), CALL, 5, mask=0xFF), "mask of an unsigned move", lambda: 5),
    Lie(Rule.S1, "garbage", garbage, "does not decode"),
    Lie(Rule.S1, "chain id", other_chain, "chain id"),
    Lie(Rule.M1, "twice", lambda: with_more(virgin(0)), "names the same location"),
    Lie(Rule.M2, "changing reference", lambda: changed(block(), CALL, 5, next=word(1)), "next of a reference"),
    Lie(Rule.M3, "no nonce", lambda: without(index_of(moves_of(block(), CALL), Mark.NONCE)), "consumes of the nonce"),
    Lie(Rule.M4, "mark", lambda: changed(block(), CALL, 0, mark=0x70), "mark", lambda: 0),
    Lie(Rule.M4, "precompile", lambda: changed(block(), CALL, 4, addr=word(9)[12:]), "precompile", lambda: 4),
    Lie(Rule.M5, "order", lambda: forge(block(), CALL, moves_of(block(), CALL)[::-1]), "out of order", lambda: 1),
    Lie(Rule.M5, "counts", lambda: forge_leaf(block(), CALL, consumes=3, references=3), "direction", lambda: 3),
    Lie(Rule.M6, "minted", lambda: changed(block(), CALL, 1, next=word(10**30)), "balances after"),
]
IDS = [f"{lie.rule.name} {lie.name}" for lie in LIES]


@pytest.mark.parametrize("lie", LIES, ids=IDS)
def test_a_lie_is_convicted(lie: Lie) -> None:
    accused = lie.tell()
    proof = prove(lie.rule, accused)
    verdict = convict(proof, accused, lie.rule).verdict
    assert verdict.transaction == CALL
    assert lie.what in str(verdict)
    if lie.move() is not None:
        assert verdict.move == lie.move()
    assert "accused block is not the trusted head" in rejection(proof, block().hash)


@pytest.mark.parametrize("rule", sorted(TRANSACTION_RULES))
@pytest.mark.parametrize("transaction", range(4))
def test_nothing_convicts_an_honest_block(rule: Rule, transaction: int) -> None:
    for accused in honest().blocks[1:]:
        proof = prove(rule, accused, transaction)
        assert any(why in rejection(proof, accused.hash) for why in ("holds", "envelope is missing"))


@pytest.mark.parametrize("lie", LIES, ids=IDS)
def test_another_rule_is_not_convicted_by_the_same_evidence(lie: Lie) -> None:
    accused = lie.tell()
    for rule in TRANSACTION_RULES - {lie.rule}:
        with contextlib.suppress(ProofRejected):
            verified = verify(prove(rule, accused).encode(), accused.hash, EXECUTOR)
            assert verified.verdict.rule == rule  # the lie breaks this one too


def test_a_code_left_out_does_not_convict() -> None:
    accused = changed(block(), CALL, counter_slot(), next=word(9))
    proof = prove_transaction(Rule.X2, accused, honest().config, CALL, {})
    assert "cannot be judged" in rejection(proof, accused.hash)


def test_codes_are_bound_by_the_moves() -> None:
    accused = changed(block(), CALL, counter_slot(), next=word(9))
    proof = prove(Rule.X2, accused)
    for codes in ((b"\0",), (*proof.evidence.codes, *proof.evidence.codes)):  # type: ignore[union-attr]
        twisted = replace(proof, evidence=replace(proof.evidence, codes=codes))
        assert "codes are out of order, or no move" in rejection(twisted, accused.hash)


def test_an_envelope_of_another_transaction_does_not_convict() -> None:
    proof = prove_transaction(Rule.S1, block(), honest().config, CALL)
    for envelope in (block().envelopes[0], b"garbage"):
        twisted = replace(proof, evidence=replace(proof.evidence, envelope=envelope))
        assert "not the one that the leaf names" in rejection(twisted, block().hash)


def test_moves_of_another_transaction_do_not_convict() -> None:
    proof = prove(Rule.X2, block())
    other = prove(Rule.X2, block(), 1).evidence.moves  # type: ignore[union-attr]
    for moves in (other, b"", proof.evidence.moves[:-126]):  # type: ignore[union-attr]
        twisted = replace(proof, evidence=replace(proof.evidence, moves=moves))
        assert "not those of the leaf" in rejection(twisted, block().hash)


def test_a_leaf_of_another_place_does_not_convict() -> None:
    proof = prove(Rule.X2, block())
    leaf = proof.evidence.leaf  # type: ignore[union-attr]
    for wrong in (replace(leaf, position=1), replace(leaf, path=leaf.path[:-1]), replace(leaf, position=10**9)):
        twisted = replace(proof, evidence=replace(proof.evidence, leaf=wrong))
        assert "is not in block 2" in rejection(twisted, block().hash)


def test_a_lie_in_a_system_call_is_convicted() -> None:
    empty = forge(block(), 0, [])
    convict(prove(Rule.X1, empty, 0), empty, Rule.X1)
    more = forge(block(), 0, [*moves_of(block(), 0), virgin(1)])
    convict(prove(Rule.X4, more, 0), more, Rule.X4)
    minted = forge(block(), 0, [replace(virgin(0, Mark.BALANCE), mask=UNSIGNED, next=word(1))])
    convict(prove(Rule.M6, minted, 0), minted, Rule.M6)


def test_the_outcome_of_a_system_call_is_not_an_execution_rule() -> None:
    accused = forge(block(), 0, status=0)
    assert "X3 holds" in rejection(prove(Rule.X3, accused, 0), accused.hash)


def test_a_verifier_bounds_the_gas_that_it_executes() -> None:
    accused = changed(block(), CALL, counter_slot(), next=word(9))
    data = prove(Rule.X2, accused).encode()
    verify(data, accused.hash, EXECUTOR, max_gas=100_000)
    with pytest.raises(ProofRejected, match="executes at most 99999"):
        verify(data, accused.hash, EXECUTOR, max_gas=99_999)


def test_a_header_that_its_producer_did_not_sign_is_no_header() -> None:
    accused = changed(block(), CALL, counter_slot(), next=word(9))
    for signature in (bytes(65), block().signature):
        proof = prove(Rule.X2, replace(accused, signature=signature))
        assert "is not its producer's" in rejection(proof, accused.hash)


def test_a_config_must_be_the_headers() -> None:
    accused = changed(block(), CALL, counter_slot(), next=word(9))
    proof = prove(Rule.X2, accused)
    other = replace(honest().config, challenge_blocks=5)
    assert "the config is not the one" in rejection(replace(proof, config=other.encode()), accused.hash)
    foreign = forge_header(accused, config=other.hash)
    assert "the config is not the one" in rejection(prove(Rule.X2, foreign), foreign.hash)


def test_genesis_cannot_be_convicted() -> None:
    genesis = honest().blocks[0]
    signed_genesis = forge_header(genesis)
    proof = prove_transaction(Rule.M4, signed_genesis, honest().config, 0)
    assert "genesis cannot be convicted" in rejection(proof, genesis.hash)


@pytest.mark.parametrize("rule", [Rule.M1, Rule.M2, Rule.M4])
def test_moves_that_are_no_world_are_not_executed(rule: Rule) -> None:
    """Else an executor would have to make sense of them; they break an M rule, which is another proof."""
    accused = next(lie for lie in LIES if lie.rule == rule).tell()
    for execution in (Rule.X0, Rule.X1, Rule.X2, Rule.X3, Rule.X4):
        assert f"breaks another rule than {execution.name}: {rule.name}" in rejection(
            prove(execution, accused), accused.hash
        )


@pytest.mark.parametrize(("nonce", "why"), [(2**64 - 1, "another rule than X2: X0"), (2**64, "beyond 64 bits")])
def test_a_nonce_beyond_64_bits_is_not_executed(nonce: int, why: str) -> None:
    at = index_of(moves_of(block(), CALL), Mark.NONCE)
    accused = changed(block(), CALL, at, prev=word(nonce))
    assert why in rejection(prove(Rule.X2, accused), accused.hash)


@pytest.mark.parametrize("rule", [Rule.X1, Rule.X2, Rule.S1, Rule.M3, Rule.M6])
def test_a_signed_transaction_needs_its_envelope(rule: Rule) -> None:
    proof = prove(rule, block())
    twisted = replace(proof, evidence=replace(proof.evidence, envelope=b""))
    expected = "M6 holds" if rule == Rule.M6 else "the envelope is missing"
    assert expected in rejection(twisted, block().hash)


def test_a_config_that_does_not_decode_convicts_nobody() -> None:
    garbage_config = b"\xc1\x80"
    accused = forge_header(block(), config=hashlib.sha256(garbage_config).digest())
    proof = replace(prove(Rule.X2, accused), config=garbage_config)
    assert "chain config does not decode" in rejection(proof, accused.hash)
