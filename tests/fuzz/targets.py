"""The decoders under test: each takes hostile bytes and says whether they are accepted; anything undocumented escapes.

What is accepted must be the one encoding of what it decodes to, and twins must agree.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

import rlp

from manaflow import _native
from manaflow.conformance.fixtures import fixture_files, read_fixtures
from manaflow.coordinator.ethereum import load_block, parse_json
from manaflow.errors import Failure, Rule, Verdict
from manaflow.evm.encoding import encode_envelope
from manaflow.evm.envelopes import decode_envelopes, decode_envelopes_in_python
from manaflow.evm.native_hashing import NATIVE
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.fraudproof.equivocation import Equivocation, is_equivocation, verify_equivocation
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.format import Proof
from manaflow.fraudproof.verify import verify
from manaflow.light.inclusion import MAGIC as INCLUSION_MAGIC
from manaflow.light.inclusion import InclusionRejected, read_header, verify_inclusion
from manaflow.moves.declared import typed_data
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.header import Header
from manaflow.moves.marks import Mask, Move
from manaflow.moves.reply_json import reply_as_json, reply_of_json
from manaflow.moves.transactions import DECLARED_TYPE, DeclaredTransaction
from manaflow.moves.wire import (
    GenesisFile,
    Limits,
    decode_block,
    decode_genesis,
    decode_header,
    encode_block,
    encode_genesis,
)
from manaflow.moves.wire_batch import BatchLimits, decode_batch, encode_batch
from manaflow.rules.config import ChainConfig
from manaflow.rules.declared import signed_intx
from tests.fuzz import mutations
from tests.fuzz.mutations import Mutation
from tests.moves.wire_blocks import same

CORPUS: Final = Path(__file__).parent / "corpus"
LIMITS: Final = Limits(file_bytes=2**20, raw_bytes=2**20, rows=2**12, by_gas=False)
"""What the decoders of files may spend here: enough for the corpus."""
BATCH_LIMITS: Final = BatchLimits(file_bytes=2**20, raw_bytes=2**20, transactions=2**12, moves=2**12, codes=2**10)
EXECUTOR: Final = PyEvmExecutor()
MAX_GAS: Final = 500_000
"""Of a transaction in a fraud proof."""


@dataclass(frozen=True)
class Target:
    """One decoder."""

    run: Callable[[bytes], bool]
    """True if it accepts the bytes."""
    mutate: Mutation
    base: int
    """Bytes of memory that one input may take at its peak ..."""
    factor: int
    """... and for each byte of the input."""


def envelope(data: bytes) -> bool:
    """Python and native, one by one and in columns: the same verdict, the same fields."""
    try:
        transaction = decode_envelope(data)
    except Verdict as verdict:
        rule = Rule.S2 if data[:1] == bytes((DECLARED_TYPE,)) else Rule.S1
        if verdict.rule != rule:
            raise
        assert _native.decode_envelope(data) is None
        assert decode_envelopes([data]).code[0] == rule
        return False
    assert _native.decode_envelope(data) == astuple(transaction)
    assert encode_envelope(transaction) == data
    ours, theirs = decode_envelopes([data]), decode_envelopes_in_python([data])
    for name in ours.__dataclass_fields__:
        assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes(), name
    return True


def declared(data: bytes) -> bool:
    """A declared envelope: as any envelope; its typed data is JSON, and its own moves filled with anything fit it."""
    if not envelope(data):
        return False
    transaction = decode_envelope(data)
    if not isinstance(transaction, DeclaredTransaction):
        return True
    json.dumps(typed_data(transaction))
    fill = [Move(one.mask, one.mark or 1, 0, one.addr, one.slot, one.prev, one.next) for one in transaction.moves]
    signed = [i for i, one in enumerate(fill) if not one.mask & Mask.INTX]
    assert list(signed_intx(transaction, fill)) == signed
    return True


def block(data: bytes) -> bool:
    """With Python's and with native hashing; what decodes encodes to a file of the same block."""
    try:
        found = decode_block(data, NATIVE, LIMITS)
    except Verdict as verdict:
        if verdict.rule != Rule.B1:
            raise
        return False
    assert decode_header(data, LIMITS) == (found.header, found.signature)
    again = encode_block(found, level=1)
    assert same(decode_block(again), found)
    return True


def batch(data: bytes) -> bool:
    """What decodes encodes to a file of the same batch."""
    try:
        found = decode_batch(data, BATCH_LIMITS)
    except Verdict as verdict:
        if verdict.rule != Rule.B1:
            raise
        return False
    again = decode_batch(encode_batch(found, level=1))
    assert again.moves.equals(found.moves)
    assert (again.envelopes, again.codes) == (found.envelopes, found.codes)
    for name in ("consumes", "references", "status", "gas_used", "logs_hash", "intx"):
        assert getattr(again, name).tobytes() == getattr(found, name).tobytes(), name
    return True


def reply(data: bytes) -> bool:
    """JSON of a reply; what is read is written as it was."""
    try:
        read = parse_json(data)
    except ValueError:
        return False
    try:
        found = reply_of_json(read)
    except Verdict as verdict:
        if verdict.rule != Rule.B1:
            raise
        return False
    assert reply_as_json(found) == read
    return True


def genesis(data: bytes) -> bool:
    """The config stays bytes."""
    try:
        found = decode_genesis(data, NATIVE, LIMITS)
    except Verdict as verdict:
        if verdict.rule != Rule.B1:
            raise
        return False
    again = decode_genesis(encode_genesis(found, level=1))
    assert (again.config, again.ancestors) == (found.config, found.ancestors)
    assert isinstance(again, GenesisFile)
    assert same(again.block, found.block)
    return True


def config(data: bytes) -> bool:
    """One encoding."""
    try:
        found = ChainConfig.decode(data)
    except Failure:
        return False
    assert found.encode() == data
    found.blobs_at(2**64)
    return True


def header(data: bytes) -> bool:
    """One encoding; the light client's reader agrees."""
    try:
        found = Header.decode(data)
    except Verdict as verdict:
        if verdict.rule != Rule.B1:
            raise
        assert _read_lightly(data) is None
        return False
    assert found.encode() == data
    assert _read_lightly(data) == {name: getattr(found, name) for name in Header.__slots__}
    return True


def _read_lightly(data: bytes) -> dict[str, object] | None:
    try:
        return read_header(data)
    except InclusionRejected:
        return None


def fraud_proof(data: bytes) -> bool:
    """Decoded, and judged under the head that the file itself names, as if that were trusted."""
    try:
        if is_equivocation(data):
            return _equivocation(data)
        proof = Proof.decode(data)
    except ProofRejected:
        return False
    assert proof.encode() == data
    top = proof.header if proof.head is None else proof.head.header
    try:
        verify(data, hashlib.sha256(top).digest(), EXECUTOR, max_gas=MAX_GAS)
    except ProofRejected:
        return False
    return True


def _equivocation(data: bytes) -> bool:
    """Under the head in the file, or one of the two headers. Raises ProofRejected."""
    found = Equivocation.decode(data)
    assert found.encode() == data
    verified = verify_equivocation(
        data, hashlib.sha256(found.first.header if found.head is None else found.head).digest()
    )
    assert verified.hashes[0] < verified.hashes[1]
    return True


def inclusion(data: bytes) -> bool:
    """Judged under the head that the file itself names, as if that were trusted; one encoding."""
    try:
        tree = rlp.decode(data[len(INCLUSION_MAGIC) + 1 :], strict=True)
        top = tree[1][0] if tree[1] else tree[2]
        head = hashlib.sha256(top).digest()
    except (rlp.exceptions.RLPException, IndexError, TypeError, RecursionError):
        tree, head = None, bytes(32)
    try:
        verify_inclusion(data, head)
    except InclusionRejected:
        return False
    assert tree is not None
    assert rlp.encode(tree) == data[len(INCLUSION_MAGIC) + 1 :]
    return True


def neutral(data: bytes) -> bool:
    """A neutral block file, plain or under zstd, read from disk."""
    _SCRATCH.write_bytes(data)
    try:
        found = load_block(_SCRATCH)
    except Failure as failure:
        if str(_SCRATCH) not in str(failure):
            raise
        return False
    found.inputs()
    return True


def fixtures(data: bytes) -> bool:
    """State tests."""
    try:
        return bool(read_fixtures("name", data))
    except Failure as failure:
        if "name" not in str(failure):
            raise
        return False


def archive(data: bytes) -> bool:
    """State tests in a tar archive, packed or not."""
    path = _SCRATCH.with_name("fixtures.tar.gz")
    path.write_bytes(data)
    try:
        return sum(len(read_fixtures(name, content)) for name, content in fixture_files(path)) > 0
    except Failure as failure:
        if str(path) not in str(failure):
            raise
        return False


_FOLDER = tempfile.TemporaryDirectory(prefix="manaflow-fuzz-")
_SCRATCH = Path(_FOLDER.name) / "block.json"

TARGETS: Final = {
    "envelope": Target(envelope, mutations.envelope, 2**18, 64),
    "declared": Target(declared, mutations.envelope, 2**18, 512),
    "block": Target(block, mutations.block_file, 2**25, 32),
    "batch": Target(batch, mutations.batch_file, 2**23, 32),
    "reply": Target(reply, mutations.json_text, 2**22, 64),
    "genesis": Target(genesis, mutations.genesis_file, 2**25, 32),
    "config": Target(config, mutations.rlp_after(0), 2**18, 256),
    "header": Target(header, mutations.rlp_after(0), 2**18, 64),
    "fraud_proof": Target(fraud_proof, mutations.fraud_proof, 2**23, 64),
    "inclusion": Target(inclusion, mutations.rlp_after(len(INCLUSION_MAGIC) + 1), 2**18, 64),
    "neutral": Target(neutral, mutations.json_text, 2**24, 64),
    "archive": Target(archive, mutations.archive, 2**25, 64),
    "fixtures": Target(fixtures, mutations.json_text, 2**24, 64),
}


def corpus(name: str) -> list[bytes]:
    """The kept inputs of a target, by file name."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
