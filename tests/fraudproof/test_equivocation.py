"""Two blocks of one producer, number and parent convict the producer; nothing else does, and no block is void by it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import coincurve
import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow.fraudproof.build import prove_b3
from manaflow.fraudproof.consequences import apply_proof, judge_proof
from manaflow.fraudproof.equivocation import (
    Equivocation,
    SignedHeader,
    VerifiedEquivocation,
    is_equivocation,
    prove_equivocation,
    verify_equivocation,
)
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.format import MAGIC, Proof
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.wire import GenesisFile
from manaflow.rules.config import ChainConfig
from manaflow.validator.validator import Validator
from tests.chain import PRODUCER, address_of, key_of, word
from tests.fraudproof.forge import EXECUTOR, executed_chain, forge_header, rejection

START = len(MAGIC) + 1
SECOND = key_of(1001)
"""Another producer of the config."""
CHAIN = executed_chain()
CONFIG: ChainConfig = replace(CHAIN.config, producers=tuple(sorted((address_of(PRODUCER), address_of(SECOND)))))
HEADER: Header = replace(CHAIN.head.header, config=CONFIG.hash)


def signed(key: coincurve.PrivateKey = PRODUCER, **fields: Any) -> SignedHeader:
    header = replace(HEADER, **fields)
    return SignedHeader(header.encode(), key.sign_recoverable(header.hash, hasher=None))


ONE, OTHER = signed(), signed(prevrandao=word(1))


def why_not(found: Equivocation | bytes, head: bytes) -> str:
    """Why the file is rejected; fails if it verifies."""
    try:
        verified = verify_equivocation(found if isinstance(found, bytes) else found.encode(), head)
    except ProofRejected as rejected:
        return str(rejected)
    raise AssertionError(f"verified: {verified}")


# ---- what convicts ----


@pytest.mark.parametrize("order", [1, -1])
def test_two_headers_convict_their_producer(order: int) -> None:
    found = prove_equivocation(CONFIG, *(ONE, OTHER)[::order])
    data = found.encode()
    assert Equivocation.decode(data) == found
    assert len(data) < 1_100
    hashes = tuple(sorted((ONE.hash, OTHER.hash)))
    for head in hashes:
        verified = verify_equivocation(data, head)
        assert verified == VerifiedEquivocation(address_of(PRODUCER), HEADER.number, HEADER.parent_hash, hashes)


def test_under_another_head_of_the_same_config() -> None:
    head = replace(HEADER, number=77, parent_hash=word(5))
    data = prove_equivocation(CONFIG, ONE, OTHER, head).encode()
    assert verify_equivocation(data, head.hash).producer == address_of(PRODUCER)
    assert "the head in the file is not the trusted head" in why_not(data, ONE.hash)
    assert prove_equivocation(CONFIG, ONE, OTHER, HEADER).head is None


# ---- what does not ----


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (ONE, "are not two"),
        (signed(number=HEADER.number + 1), "different numbers or parents"),
        (signed(parent_hash=word(1)), "different numbers or parents"),
        (signed(SECOND, prevrandao=word(1)), "two producers"),
        (signed(key_of(7), prevrandao=word(1)), "not its producer's"),
        (signed(config=CHAIN.config.hash), "config is not the one"),
        (replace(OTHER, signature=bytes(65)), "not its producer's"),
        (replace(OTHER, signature=ONE.signature), "not its producer's"),
    ],
)
def test_what_is_no_equivocation(other: SignedHeader, why: str) -> None:
    found = prove_equivocation(CONFIG, ONE, other)
    assert why in why_not(found, ONE.hash)


def test_one_header_signed_twice_is_none() -> None:
    """A producer may sign one header again and again: another nonce of the signature makes no other block."""
    again = SignedHeader(ONE.header, SECOND.sign_recoverable(ONE.hash, hasher=None))
    for found in (prove_equivocation(CONFIG, ONE, again), Equivocation(CONFIG.encode(), None, ONE, ONE)):
        assert "are not two" in why_not(found, ONE.hash)


def test_another_order_is_another_file() -> None:
    found = prove_equivocation(CONFIG, ONE, OTHER)
    assert "ascending" in why_not(replace(found, first=found.second, second=found.first), ONE.hash)


def test_the_trusted_head_binds_the_config() -> None:
    """Whoever lists a key of his own in a config of his own convicts nobody of a chain that others trust."""
    own = replace(CONFIG, producers=(address_of(key_of(7)),))
    pair = [signed(key_of(7), config=own.hash, prevrandao=word(i)) for i in (1, 2)]
    found = prove_equivocation(own, *pair)
    assert "neither header is the trusted head" in why_not(found, ONE.hash)
    assert "config is not the one" in why_not(prove_equivocation(own, *pair, HEADER), HEADER.hash)
    assert "config is not the one" in why_not(prove_equivocation(own, ONE, OTHER), ONE.hash)
    assert "config is not the one" in why_not(replace(prove_equivocation(CONFIG, ONE, OTHER), config=b""), ONE.hash)
    garbage = hashlib.sha256(b"config").digest()
    pair = [signed(config=garbage, prevrandao=word(i)) for i in (1, 2)]
    broken = replace(prove_equivocation(CONFIG, *pair), config=b"config")
    assert "chain config" in why_not(broken, pair[0].hash)


def test_a_head_is_shown_once_and_decodes() -> None:
    found = prove_equivocation(CONFIG, ONE, OTHER)
    assert "not to be repeated" in why_not(replace(found, head=ONE.header), ONE.hash)
    assert "does not decode" in why_not(replace(found, head=b"x"), hashlib.sha256(b"x").digest())
    for broken in (replace(found, first=replace(ONE, header=b"")), replace(found, second=replace(OTHER, header=b"x"))):
        fitting = sorted((broken.first, broken.second), key=lambda one: one.hash)
        assert "does not decode" in why_not(replace(broken, first=fitting[0], second=fitting[1]), fitting[0].hash)


# ---- the file ----


@pytest.mark.parametrize("head", [None, replace(HEADER, number=77)])
def test_no_byte_can_be_changed_added_or_left_out(head: Header | None) -> None:
    data, trusted = prove_equivocation(CONFIG, ONE, OTHER, head).encode(), (head or HEADER).hash
    verify_equivocation(data, trusted)
    assert why_not(data + b"\0", trusted)
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        assert why_not(bytes(flipped), trusted)
        assert why_not(data[:at] + data[at + 1 :], trusted)
        assert why_not(data[:at], trusted)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda f: f.__setitem__(0, b"\1"), "no equivocation"),
        (lambda f: f.__setitem__(1, bytes(8193)), "config: 8193 bytes"),
        (lambda f: f.__setitem__(2, [bytes(1025)]), "head: 1025 bytes"),
        (lambda f: f.__setitem__(2, [b"", b""]), "something follows"),
        (lambda f: f.__setitem__(3, bytes(1025)), "header: 1025 bytes"),
        (lambda f: f.__setitem__(4, bytes(66)), "signature: 66 bytes"),
        (lambda f: f[5].__setitem__(1, bytes(64)), "signature: 64 bytes"),
        (lambda f: f[5].append(b""), "something follows"),
        (lambda f: f.append(b""), "something follows"),
    ],
)
def test_the_file_is_strict(change: Callable[[list], object], why: str) -> None:
    fields = rlp.decode(prove_equivocation(CONFIG, ONE, OTHER).encode()[START:])
    change(fields)
    assert why in why_not(MAGIC + b"\1" + rlp.encode(fields), ONE.hash)


def test_a_head_of_no_bytes_has_one_form() -> None:
    fields = rlp.decode(prove_equivocation(CONFIG, ONE, OTHER).encode()[START:])
    fields[2] = [b""]
    assert why_not(MAGIC + b"\1" + rlp.encode(fields), ONE.hash)


def test_each_reader_names_the_other_kind() -> None:
    twice = prove_equivocation(CONFIG, ONE, OTHER).encode()
    proof = prove_b3(forge_header(CHAIN.head, gas_used=1), CHAIN.config, 3).encode()
    assert (is_equivocation(twice), is_equivocation(proof)) == (True, False)
    assert "no block" in rejection(twice, ONE.hash)
    assert "no equivocation" in why_not(proof, ONE.hash)
    for broken in (b"", MAGIC, MAGIC + b"\1", MAGIC + b"\1\xc0", MAGIC + b"\2" + twice[START:]):
        with pytest.raises(ProofRejected):
            is_equivocation(broken)


@settings(max_examples=200, deadline=2_000)
@given(st.binary(max_size=300), st.binary(max_size=40))
def test_hostile_bytes_are_rejected(data: bytes, tail: bytes) -> None:
    good = prove_equivocation(CONFIG, ONE, OTHER).encode()
    for file in (data, MAGIC + b"\1" + data, good[: len(data)] + tail, good[: START + 4] + data):
        assert file == good or why_not(file, ONE.hash)


# ---- what follows ----


@pytest.fixture
def validator(tmp_path: Path) -> Validator:
    genesis = GenesisFile(CHAIN.config.encode(), (), CHAIN.blocks[0])
    made = Validator.create(tmp_path / "state", genesis)
    for block in CHAIN.blocks[1:]:
        made.import_block(block)
    return made


def twin(block: Block, i: int) -> SignedHeader:
    forged = forge_header(block, prevrandao=word(i))
    return SignedHeader(forged.header.encode(), forged.signature)


def test_the_evidence_is_kept_and_nothing_is_undone(validator: Validator, tmp_path: Path) -> None:
    block, head = CHAIN.head, validator.head
    own = SignedHeader(block.header.encode(), block.signature)
    producer, later = address_of(PRODUCER), replace(block.header, number=99)
    data = prove_equivocation(CHAIN.config, own, twin(block, 1), later).encode()
    assert validator.equivocation(producer, block.header.number) is None
    applied = apply_proof(validator, data, EXECUTOR)
    assert isinstance(applied, VerifiedEquivocation)
    assert (applied.producer, validator.head) == (producer, head)
    kept = validator.equivocation(producer, block.header.number)
    assert kept is not None
    assert verify_equivocation(kept, own.hash) == applied
    assert validator.conviction(block.hash) is None
    apply_proof(validator, prove_equivocation(CHAIN.config, own, twin(block, 2)).encode(), EXECUTOR)
    apply_proof(validator, data, EXECUTOR)
    assert validator.equivocation(producer, block.header.number) == kept
    assert validator.equivocation(producer, 1) is validator.equivocation(bytes(20), block.header.number) is None
    validator.check()
    validator.close()
    with Validator.open(tmp_path / "state") as opened:
        assert opened.equivocation(producer, block.header.number) == kept
        assert opened.head == head
        assert opened.undo_block() == block.header.number
        opened.import_block(block)


def test_an_equivocation_on_another_chain_is_not_kept(validator: Validator) -> None:
    data = prove_equivocation(CONFIG, ONE, OTHER).encode()
    with pytest.raises(ProofRejected, match="another chain"):
        apply_proof(validator, data, EXECUTOR)
    wrong = prove_equivocation(CHAIN.config, twin(CHAIN.head, 1), twin(CHAIN.blocks[1], 1)).encode()
    with pytest.raises(ProofRejected, match="different numbers"):
        apply_proof(validator, wrong, EXECUTOR)
    assert validator.equivocation(address_of(PRODUCER), HEADER.number) is None
    validator.close()


def test_judging_needs_no_chain() -> None:
    judged = judge_proof(CONFIG, prove_equivocation(CONFIG, ONE, OTHER).encode(), EXECUTOR)
    assert isinstance(judged.verified, VerifiedEquivocation)
    proof = Proof.decode(prove_b3(forge_header(CHAIN.head, gas_used=1), CHAIN.config, 3).encode())
    assert judge_proof(CHAIN.config, proof.encode(), EXECUTOR).evidence == proof.encode()
