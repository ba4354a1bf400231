from __future__ import annotations

from dataclasses import replace

import coincurve
import pytest
import rlp

from manaflow.errors import Rule
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import Mark, Mask
from manaflow.rules.config import Profile
from manaflow.rules.signing import (
    MAX_SIGNED_BYTES,
    check_b8_masks,
    check_length,
    check_s1,
    check_s1_chain,
    check_s1_masks,
)
from tests.chain import CHAIN_ID, address_of, chain_config, key_of
from tests.declared import declared_envelope
from tests.rules.build import B, consume, reference, refused, word

CONFIG = chain_config()
MANAFLOW = replace(CONFIG, profile=Profile.MANAFLOW)
MOVES = [consume(Mark.NONCE), reference(Mark.BALANCE)]


def signed(key: coincurve.PrivateKey, chain_id: int | None) -> bytes:
    """A legacy envelope, protected (EIP-155) if a chain id is given."""
    fields: list[int | bytes] = [3, 10**9, 21_000, B, 5, b""]
    extra = [chain_id, 0, 0] if chain_id else []
    signature = key.sign_recoverable(keccak256(rlp.encode([*fields, *extra])), hasher=None)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    v = signature[64] + (chain_id * 2 + 35 if chain_id else 27)
    return bytes(rlp.encode([*fields, v, r, s]))


RAW = signed(key_of(1), CHAIN_ID)


@pytest.mark.parametrize("config", [CONFIG, MANAFLOW])
def test_s1(config: object) -> None:
    transaction, sender = check_s1(RAW, config, keccak256(RAW), MOVES)  # type: ignore[arg-type]
    assert sender == address_of(key_of(1))
    assert (transaction.nonce, transaction.value, transaction.chain_id) == (3, 5, CHAIN_ID)


def test_s1_unprotected_only_in_ethereum() -> None:
    raw = signed(key_of(1), None)
    assert check_s1(raw, CONFIG, keccak256(raw), [])[1] == address_of(key_of(1))
    refused(Rule.S1, check_s1, raw, MANAFLOW, keccak256(raw), [], what="without chain id")


def test_invalid_s1_chain() -> None:
    verdict = refused(Rule.S1, check_s1, RAW, replace(CONFIG, chain_id=1), keccak256(RAW), [], what="chain id")
    assert (verdict.expected, verdict.actual) == (1, CHAIN_ID)
    mainnet = replace(MANAFLOW, chain_id=1)
    refused(Rule.S1, check_s1, RAW, mainnet, keccak256(RAW), [], what="an Ethereum network's chain id")


def test_invalid_s1_blob_in_manaflow() -> None:
    blob = replace(decode_envelope(RAW), type=3)
    check_s1_chain(blob, CONFIG)
    refused(Rule.S1, check_s1_chain, blob, MANAFLOW, what="a blob transaction")


def test_invalid_s1_envelope() -> None:
    refused(Rule.S1, check_s1, RAW + b"\0", CONFIG, keccak256(RAW), [])
    refused(Rule.S1, check_s1, b"", CONFIG, keccak256(b""), [])
    verdict = refused(Rule.S1, check_s1, RAW, CONFIG, word(1), [], what="txid in the leaf")
    assert (verdict.expected, verdict.actual) == (keccak256(RAW), word(1))


@pytest.mark.parametrize("mask", [0, 0x3E, 0x1F, 0x7F, 0x40])
@pytest.mark.parametrize(("rule", "check"), [(Rule.S1, check_s1_masks), (Rule.B8, check_b8_masks)])
def test_invalid_masks(mask: int, rule: Rule, check: object) -> None:
    verdict = refused(rule, check, [MOVES[1], replace(MOVES[0], mask=mask)], what="mask")  # type: ignore[arg-type]
    assert (verdict.move, verdict.expected, verdict.actual) == (1, 0x3F, mask)
    guarded = replace(MOVES[1], mask=mask | Mask.REFERENCE)
    verdict = refused(rule, check, [guarded], what="mask")  # type: ignore[arg-type]
    assert (verdict.move, verdict.expected) == (0, 0xBF)


def test_invalid_s1_declared() -> None:
    """It is S2's to judge."""
    raw = declared_envelope(chain_id=CHAIN_ID)
    verdict = refused(Rule.S1, check_s1, raw, MANAFLOW, keccak256(raw), [], what="type of the envelope")
    assert verdict.actual == 0x4D
    refused(Rule.S2, check_s1, raw[:-1], MANAFLOW, keccak256(raw), [])


def test_the_length_that_an_envelope_may_have() -> None:
    for rule in (Rule.S1, Rule.S2):
        check_length(rule, bytes(MAX_SIGNED_BYTES), Profile.MANAFLOW)
        check_length(rule, bytes(MAX_SIGNED_BYTES + 1), Profile.ETHEREUM)
        refused(rule, check_length, rule, bytes(MAX_SIGNED_BYTES + 1), Profile.MANAFLOW, what="length of the envelope")
    raw = b"\x02" + bytes(MAX_SIGNED_BYTES)
    for config, what in ((MANAFLOW, "length of the envelope"), (CONFIG, "does not decode")):
        refused(Rule.S1, check_s1, raw, config, keccak256(raw), [], what=what)
