"""B2, B3, B6 and B8: lies in headers, running totals and system leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from manaflow.errors import Rule
from manaflow.fraudproof.build import prove_b3, prove_parent, prove_transaction
from manaflow.fraudproof.evidence import HeaderEvidence, LeavesEvidence, ParentEvidence
from manaflow.fraudproof.format import Proof
from manaflow.moves import trees
from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.leaf import SystemKind, system_txid
from manaflow.moves.marks import UNSIGNED, Mask
from tests.chain import Chain, Transfer, word
from tests.fraudproof.forge import (
    ExecutedChain,
    Parts,
    changed,
    convict,
    executed_chain,
    forge,
    forge_header,
    forge_leaf,
    hashes,
    moves_of,
    rejection,
)


@cache
def honest() -> ExecutedChain:
    return executed_chain()


def block() -> Block:
    return honest().head


def parent_proof(rule: Rule, accused: Block) -> Proof:
    return prove_parent(rule, accused, honest().config, honest().blocks[-2].header, hashes(honest()))


def evidence_of(proof: Proof) -> Any:
    return proof.evidence


# ---- B2, B6 ----


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"number": 3}, "number"),
        ({"number": 0}, "number"),
        ({"timestamp": 0}, "timestamp"),
        ({"gas_limit": 2**40}, "gas limit"),
        ({"base_fee": 1}, "base fee"),
        ({"first_cell": 1}, "first cell"),
        ({"excess_blob_gas": 5}, "excess blob gas"),
        ({"fees": 5}, "fees"),
    ],
)
def test_b2(fields: dict[str, Any], what: str) -> None:
    accused = forge_header(block(), **fields)
    verdict = convict(parent_proof(Rule.B2, accused), accused, Rule.B2).verdict
    assert verdict.what.startswith(what)
    assert verdict.actual == next(iter(fields.values()))


def test_b2_of_a_wrong_parent_hash() -> None:
    accused = forge_header(block(), parent_hash=word(1))
    verdict = convict(parent_proof(Rule.B2, accused), accused, Rule.B2).verdict
    assert (verdict.what, verdict.expected) == ("parent hash", honest().blocks[-2].hash)


def test_b2_and_b6_hold_in_an_honest_block() -> None:
    for rule in (Rule.B2, Rule.B6):
        assert f"{rule.name} holds" in rejection(parent_proof(rule, block()), block().hash)
    first, genesis = honest().blocks[1], honest().blocks[0]
    for rule in (Rule.B2, Rule.B6):
        proof = prove_parent(rule, first, honest().config, genesis.header, [genesis.hash])
        assert f"{rule.name} holds" in rejection(proof, first.hash)


def test_only_the_parent_convicts() -> None:
    stranger = replace(honest().blocks[-2].header, base_fee=1)
    for header in (stranger, honest().blocks[0].header, block().header):
        for path in ((), evidence_of(parent_proof(Rule.B2, block())).parent.path, (word(1),)):
            evidence = ParentEvidence(HeaderEvidence(header.encode(), path), ())
            proof = replace(parent_proof(Rule.B2, block()), evidence=evidence)
            assert "is not the accused block's parent" in rejection(proof, block().hash)


def test_genesis_has_no_parent() -> None:
    genesis = forge_header(honest().blocks[0])
    for path in ((), (word(1),)):
        evidence = ParentEvidence(HeaderEvidence(block().header.encode(), path), ())
        proof = replace(parent_proof(Rule.B2, genesis), evidence=evidence)
        assert "is not the accused block's parent" in rejection(proof, genesis.hash)


def test_a_parent_before_genesis_is_refused() -> None:
    config = replace(honest().config, genesis_number=5)
    parent = replace(honest().blocks[1].header, config=config.hash, number=4)
    accused = forge_header(block(), config=config.hash, number=9, parent_hash=parent.hash)
    for rule in (Rule.B2, Rule.B6):
        proof = prove_parent(rule, accused, config, parent, [word(1), parent.hash])
        assert "older than genesis" in rejection(proof, accused.hash)


def test_b6() -> None:
    for root in (word(1), trees.EMPTY_ROOT, honest().blocks[-2].header.history_root):
        accused = forge_header(block(), history_root=root)
        verdict = convict(parent_proof(Rule.B6, accused), accused, Rule.B6).verdict
        assert (verdict.expected, verdict.actual) == (block().header.history_root, root)


def test_b6_needs_the_parents_frontier() -> None:
    accused = forge_header(block(), history_root=word(1))
    proof = parent_proof(Rule.B6, accused)
    for peaks in ((), (word(1),), (word(1), word(2))):
        twisted = replace(proof, evidence=replace(evidence_of(proof), peaks=peaks))
        assert "the frontier is not" in rejection(twisted, accused.hash)
    with_peaks = replace(evidence_of(parent_proof(Rule.B2, accused)), peaks=(word(1),))
    assert "needs no frontier" in rejection(replace(parent_proof(Rule.B2, accused), evidence=with_peaks), accused.hash)


# ---- B3 ----

TOTALS = ["first_cell", "gas", "fees", "blob_gas"]


@pytest.mark.parametrize("place", [None, 0, 1, 2, 3])
def test_b3_holds_in_an_honest_block(place: int | None) -> None:
    for accused in honest().blocks[1:]:
        assert "B3 holds" in rejection(prove_b3(accused, honest().config, place), accused.hash)


@pytest.mark.parametrize("name", TOTALS)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_b3_of_a_wrong_total_before_a_leaf(name: str, place: int) -> None:
    accused = forge_leaf(block(), place, **{name: getattr(block().leaves[place], name) + 1})
    proof = prove_b3(accused, honest().config, place - 1 if place else None)
    verdict = convict(proof, accused, Rule.B3).verdict
    assert verdict.transaction == max(place - 1, 0)
    assert verdict.actual == getattr(block().leaves[place], name) + 1


@pytest.mark.parametrize("name", ["cells", "gas_used", "fees", "blob_gas_used"])
def test_b3_of_a_wrong_total_in_the_header(name: str) -> None:
    accused = forge_header(block(), **{name: getattr(block().header, name) + 1})
    verdict = convict(prove_b3(accused, honest().config, 3), accused, Rule.B3).verdict
    assert verdict.transaction == 3


def test_b3_of_an_empty_block() -> None:
    empty = replace(
        forge_header(block(), transactions=0, cells=0, gas_used=0, blob_gas_used=0, transactions_root=trees.EMPTY_ROOT),
        leaves=block().leaves.of([]),
    )
    assert "B3 holds" in rejection(prove_b3(empty, honest().config, None), empty.hash)
    accused = forge_header(empty, gas_used=1)
    convict(prove_b3(accused, honest().config, None), accused, Rule.B3)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda e, o: replace(e, after=o.after), "no neighbours"),
        (lambda e, o: replace(e, after=None), "not the last one"),
        (lambda e, o: replace(e, leaf=None, envelope=b""), "not the first one"),
        (lambda e, o: replace(e, leaf=None), "an envelope without its leaf"),
        (lambda e, o: LeavesEvidence(None, None, b""), "the leaves are missing"),
        (lambda e, o: replace(e, envelope=b""), "not the one that the leaf names"),
        (lambda e, o: replace(e, envelope=o.envelope), "not the one that the leaf names"),
    ],
)
def test_b3_needs_neighbours_and_the_envelope(change: Callable[[Any, Any], Any], why: str) -> None:
    proof = prove_b3(block(), honest().config, 1)
    other = evidence_of(prove_b3(block(), honest().config, 2))
    twisted = replace(proof, evidence=change(evidence_of(proof), other))
    assert why in rejection(twisted, block().hash)


# ---- B8 and M6 of system leaves ----


@cache
def paying() -> tuple[Chain, Block]:
    """A chain whose last block pays withdrawals in its leaf 1."""
    chain = Chain(accounts=3)
    chain.seal([Transfer(0, 1)])
    return chain, chain.seal(
        [Transfer(1, 2)],
        withdrawals=[Withdrawal(1, 1, chain.addresses[0], 5), Withdrawal(2, 1, b"\x77" * 20, 7)],
    )


PAID = 1


def b8(chain: Chain, accused: Block, place: int, rule: Rule = Rule.B8) -> Proof:
    return prove_transaction(rule, accused, chain.config, place)


@pytest.mark.parametrize("rule", [Rule.B8, Rule.M6])
def test_b8_holds_in_an_honest_block(rule: Rule) -> None:
    chain, paid = paying()
    for owner, accused in ((chain, paid), (chain, chain.blocks[1]), (honest(), block())):
        for place in range(len(accused.leaves)):
            assert f"{rule.name} holds" in rejection(b8(owner, accused, place, rule), accused.hash)


@pytest.mark.parametrize("fields", [{"status": 0}, {"gas_used": 5}, {"logs_hash": word(1)}, {"txid": word(1)}])
def test_b8_of_a_system_leaf(fields: dict[str, Any]) -> None:
    accused = forge_leaf(block(), 0, **fields)
    verdict = convict(b8(honest(), accused, 0), accused, Rule.B8).verdict
    assert (verdict.transaction, verdict.actual) == (0, next(iter(fields.values())))
    chain, paid = paying()
    accused = forge_leaf(paid, PAID, **fields)
    assert convict(b8(chain, accused, PAID), accused, Rule.B8).verdict.transaction == PAID


def test_b8_of_a_missing_system_leaf() -> None:
    parts = Parts.of(block())
    for entries in (parts.txids, parts.moves, parts.status, parts.gas_used, parts.logs_hash, parts.blob_gas):
        del entries[0]
    accused = parts.seal(block().header)
    verdict = convict(b8(honest(), accused, 0), accused, Rule.B8).verdict
    assert verdict.what == "txid of the beacon roots leaf"


def test_b8_of_a_system_leaf_too_many() -> None:
    accused = forge_leaf(block(), 2, txid=system_txid(SystemKind.FEES, honest().config.chain_id, 2))
    verdict = convict(b8(honest(), accused, 2), accused, Rule.B8).verdict
    assert verdict.what == "a system transaction among the signed ones"


def test_b8_of_masks_and_credits() -> None:
    accused = changed(block(), 0, 0, mask=UNSIGNED | Mask.REFERENCE | Mask.GUARD)
    assert convict(b8(honest(), accused, 0), accused, Rule.B8).verdict.what == "mask of an unsigned move"
    chain, paid = paying()
    short = forge(paid, PAID, moves_of(paid, PAID)[:1])
    assert convict(b8(chain, short, PAID), short, Rule.B8).verdict.what == "moves of a crediting leaf"


def test_m6_of_a_withdrawal_that_pays_too_much() -> None:
    chain, paid = paying()
    accused = changed(paid, PAID, 1, next=word(10**30))
    verdict = convict(b8(chain, accused, PAID, Rule.M6), accused, Rule.M6).verdict
    assert (verdict.what, verdict.transaction, verdict.move) == ("balance after the credit", PAID, 1)


def test_withdrawals_are_the_headers() -> None:
    chain, paid = paying()
    proof = b8(chain, paid, PAID)
    for data in (b"", evidence_of(proof).withdrawals[:44], bytes(88)):
        twisted = replace(proof, evidence=replace(evidence_of(proof), withdrawals=data))
        assert "not those of the header" in rejection(twisted, paid.hash)


def test_nothing_unused_rides_along() -> None:
    chain, paid = paying()
    proof = b8(chain, paid, PAID, Rule.M2)
    twisted = replace(proof, evidence=replace(evidence_of(proof), withdrawals=bytes(44)))
    assert "needs no withdrawals" in rejection(twisted, paid.hash)
    proof = prove_b3(block(), honest().config, 0)
    twisted = replace(proof, evidence=replace(evidence_of(proof), envelope=b"unused"))
    assert "has no envelope" in rejection(twisted, block().hash)
