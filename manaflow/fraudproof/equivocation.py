"""Equivocation: one producer signed two headers of one number on one parent (docs/SPEC.md, section 9).

It convicts the producer and voids no block. The file stands beside the proofs of rules (format.py); who reads files of
both kinds asks `is_equivocation` first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from manaflow.errors import Failure, Verdict
from manaflow.fraudproof.authenticate import decode_header
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.format import EQUIVOCATION, bounded, read_file, write_file
from manaflow.moves.header import MAX_HEADER_BYTES, Header
from manaflow.moves.rlp_reader import RlpError, RlpReader
from manaflow.rules.config import MAX_CONFIG_BYTES, ChainConfig
from manaflow.rules.headers import SIGNATURE_BYTES, check_b7


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header's RLP and its producer's signature."""

    header: bytes
    signature: bytes

    @property
    def hash(self) -> bytes:
        """The block hash, 32 bytes."""
        return hashlib.sha256(self.header).digest()


@dataclass(frozen=True, slots=True)
class Equivocation:
    """What a file says, still to be verified."""

    config: bytes
    """RLP of the chain config."""
    head: bytes | None
    """RLP of the trusted head's header; None if that is one of the two."""
    first: SignedHeader
    second: SignedHeader
    """The one with the larger hash."""

    def encode(self) -> bytes:
        """The file."""
        head, second = [] if self.head is None else [self.head], [self.second.header, self.second.signature]
        return write_file([EQUIVOCATION, self.config, head, self.first.header, self.first.signature, second])

    @staticmethod
    def decode(data: bytes) -> Equivocation:
        """Read a file strictly; every length is bounded. Raises ProofRejected."""
        try:
            return _read(read_file(data))
        except RlpError as error:
            raise ProofRejected(f"the file does not decode: {error}") from error


@dataclass(frozen=True, slots=True)
class VerifiedEquivocation:
    """A producer convicted. It says of neither block that it is invalid."""

    producer: bytes
    """20 bytes."""
    number: int
    parent: bytes
    """The hash that both headers name as their parent's."""
    hashes: tuple[bytes, bytes]
    """Of the two blocks, ascending."""


def is_equivocation(data: bytes) -> bool:
    """True for a file that claims to show an equivocation, False for a proof of a rule. Raises ProofRejected."""
    try:
        return read_file(data).integer("rule", 1) == EQUIVOCATION
    except RlpError as error:
        raise ProofRejected(f"the file does not decode: {error}") from error


def prove_equivocation(
    config: ChainConfig, one: SignedHeader, other: SignedHeader, head: Header | None = None
) -> Equivocation:
    """The evidence, for verifiers who trust either of the two blocks, or `head`, whose header names the same config."""
    first, second = sorted((one, other), key=lambda signed: signed.hash)
    shown = None if head is None or head.hash in (first.hash, second.hash) else head.encode()
    return Equivocation(config.encode(), shown, first, second)


def verify_equivocation(data: bytes, trusted_head: bytes) -> VerifiedEquivocation:
    """Verify the file of an equivocation; the trusted head (32-byte hash) binds the config, and so the producers.

    Raises ProofRejected, and only that, if the file does not show a producer of that config signing two headers of one
    number on one parent.
    """
    found = Equivocation.decode(data)
    hashes = (found.first.hash, found.second.hash)
    if hashes[0] >= hashes[1]:
        raise ProofRejected("the two headers are not two, or not by ascending hash")
    _check_head(found, hashes, trusted_head)
    headers = [decode_header(found.first.header), decode_header(found.second.header)]
    config = _config_of(found, headers)
    if headers[0].number != headers[1].number or headers[0].parent_hash != headers[1].parent_hash:
        raise ProofRejected("the two headers are of different numbers or parents: to sign both is no equivocation")
    producers = [_producer(signed, config) for signed in (found.first, found.second)]
    if producers[0] != producers[1]:
        raise ProofRejected("the two headers are of two producers")
    return VerifiedEquivocation(producers[0], headers[0].number, headers[0].parent_hash, hashes)


def _check_head(found: Equivocation, hashes: tuple[bytes, bytes], trusted_head: bytes) -> None:
    if found.head is None:
        if trusted_head not in hashes:
            raise ProofRejected(f"neither header is the trusted head 0x{trusted_head.hex()}")
        return
    head_hash = hashlib.sha256(found.head).digest()
    if head_hash in hashes:
        raise ProofRejected("a head that is one of the two headers is not to be repeated")
    if head_hash != trusted_head:
        raise ProofRejected(f"the head in the file is not the trusted head 0x{trusted_head.hex()}")


def _config_of(found: Equivocation, headers: list[Header]) -> ChainConfig:
    """The config, which the trusted head and both headers name."""
    named = {header.config for header in headers}
    if found.head is not None:
        named.add(decode_header(found.head).config)
    if named != {hashlib.sha256(found.config).digest()}:
        raise ProofRejected("the config is not the one that the headers name")
    try:
        return ChainConfig.decode(found.config)
    except Failure as failure:
        raise ProofRejected(str(failure)) from failure


def _producer(signed: SignedHeader, config: ChainConfig) -> bytes:
    try:
        return check_b7(signed.hash, signed.signature, config)
    except Verdict as verdict:
        raise ProofRejected(f"a header is not its producer's: {verdict}") from verdict


def _read(fields: RlpReader) -> Equivocation:
    if fields.integer("rule", 1) != EQUIVOCATION:
        raise ProofRejected("the file shows a broken rule, and no equivocation")
    config, items = bounded(fields, "config", MAX_CONFIG_BYTES), fields.items("head")
    head = bounded(items, "head", MAX_HEADER_BYTES) if items.more else None
    items.finish("head")
    first = _read_signed(fields)
    items = fields.items("the other header")
    second = _read_signed(items)
    items.finish("the other header")
    fields.finish("the proof")
    return Equivocation(config, head, first, second)


def _read_signed(fields: RlpReader) -> SignedHeader:
    return SignedHeader(bounded(fields, "header", MAX_HEADER_BYTES), fields.fixed("signature", SIGNATURE_BYTES))
