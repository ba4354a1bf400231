"""Execution proofs of real transactions: at most 10 KB beside the code they run, for all but the few longest."""

from __future__ import annotations

from dataclasses import replace

from manaflow.fraudproof.evidence import TransactionEvidence
from manaflow.moves.hashing import keccak256
from tests.conftest import is_nightly
from tests.mutation.court import is_rejected
from tests.mutation.executions import (
    accused,
    mainnet_names,
    measure,
    proofs,
    section,
    share_within,
    signed_leaves,
)
from tests.replays import chain

NAMES = mainnet_names() if is_nightly() else ["1-22615247", "1-21230867"]


def test_every_transaction_of_mainnet_has_a_short_proof_beside_its_code() -> None:
    found = measure(NAMES, 40 if is_nightly() else 8)
    blocks = [chain(name).blocks[0] for name in NAMES]
    assert len(found.sizes) == sum(len(block.envelopes) for block in blocks)
    assert len(found.times) == sum(min(40 if is_nightly() else 8, len(block.envelopes)) for block in blocks)
    assert share_within(found.sizes) > 0.95
    calls = [size for size in found.sizes if size.code_bytes]
    assert len(calls) > 40
    assert share_within(calls) > 0.9
    for size in found.sizes:
        assert size.without_code < size.envelope_bytes + 126 * size.moves + 2_500  # headers, config, leaf, path
    assert "bytes without the code" in section(found)


def test_each_code_stands_in_a_file_once_and_an_honest_twin_stays_unconvicted() -> None:
    replayed = chain("1-22615247")
    block = replayed.blocks[0]
    assert signed_leaves(block) == sorted(signed_leaves(block))
    with_code = 0
    for place, lie, proof in proofs(replayed, block):
        evidence = proof.evidence
        assert isinstance(evidence, TransactionEvidence)
        hashes = [keccak256(code) for code in evidence.codes]
        assert hashes == sorted(set(hashes))
        with_code += bool(hashes)
        assert lie.hash == accused(block, place).hash != block.hash
        if place % 8 == 2:
            honest = replace(proof, header=block.header.encode(), signature=block.signature)
            assert is_rejected(honest.encode(), block.hash)
    assert with_code > 10
