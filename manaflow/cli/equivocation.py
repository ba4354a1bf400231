"""`manaflow prove-equivocation`, and what `challenge` sees of it: two blocks of one producer, number and parent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manaflow.cli.files import MAX_FILE_BYTES, genesis_path, read_bounded, read_genesis, write_whole
from manaflow.cli.options import Json
from manaflow.cli.output import naming, show
from manaflow.errors import Failure
from manaflow.fraudproof.equivocation import (
    SignedHeader,
    VerifiedEquivocation,
    prove_equivocation,
    verify_equivocation,
)
from manaflow.fraudproof.errors import ProofRejected
from manaflow.moves.header import Header
from manaflow.moves.view import hexed
from manaflow.moves.wire import decode_header
from manaflow.rules.config import ChainConfig

if TYPE_CHECKING:
    from manaflow.validator.validator import Validator


def prove_equivocation_of(
    one: Annotated[Path, typer.Argument(help="A block (NUMBER.mana).")],
    other: Annotated[Path, typer.Argument(help="Another block of the same number, parent and producer.")],
    out: Annotated[Path, typer.Option(help="Where the proof goes.")],
    genesis: Annotated[Path | None, typer.Option(help="The chain's genesis.mana, unless beside a block.")] = None,
    head: Annotated[
        Path | None, typer.Option(help="The block whose hash verifiers trust, if it is neither of the two.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show that a producer signed two blocks of one number on one parent.

    It convicts the producer, and no block is void by it.
    """
    found_genesis = genesis_path([one, other], genesis)
    if found_genesis is None:
        raise typer.BadParameter("no genesis.mana beside the blocks: name it with --genesis")
    config = ChainConfig.decode(read_genesis(found_genesis).config)
    headers = [_read_header(path) for path in (one, other)]
    top = None if head is None else _read_header(head)[0]
    first, second = (signed_header(*found) for found in headers)
    data = prove_equivocation(config, first, second, top).encode()
    trusted = headers[0][0].hash if top is None else top.hash
    try:
        verified = verify_equivocation(data, trusted)
    except ProofRejected as rejected:
        raise Failure(f"the two blocks show no equivocation: {rejected}") from rejected
    write_whole(out, data)
    found = {"file": str(out), "bytes": len(data), "head": trusted, **equivocation_fields(verified)}
    line = f"{out}  {len(data)} bytes: producer {hexed(verified.producer)} signed two blocks {verified.number}"
    show(as_json, found, [line, f"manaflow verify-proof {out} --head {hexed(trusted)}"])


def equivocation_fields(found: VerifiedEquivocation) -> dict[str, Any]:
    """A verified equivocation for machines."""
    return {
        "equivocation": True,
        "producer": found.producer,
        "number": found.number,
        "parent": found.parent,
        "blocks": list(found.hashes),
    }


def signed_header(header: Header, signature: bytes) -> SignedHeader:
    """A header and its signature as evidence."""
    return SignedHeader(header.encode(), signature)


class Siblings:
    """Which headers producers have signed, as far as a challenger saw them: those of its chain and of its files."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator
        self._seen: dict[tuple[bytes, int, bytes], SignedHeader] = {}

    def proof_of(self, header: Header, signature: bytes, producer: bytes) -> bytes | None:
        """The proof that the producer signed this header and another; None if no other is known.

        The signature holds: it is the producer's.
        """
        own = signed_header(header, signature)
        other = self._seen.setdefault((producer, header.number, header.parent_hash), own)
        if other.hash == own.hash:
            held = self._held(header)
            if held is None:
                return None
            other = held
        data = prove_equivocation(self._validator.config, own, other).encode()
        try:
            verify_equivocation(data, own.hash)
        except ProofRejected:
            return None  # the chain's block is another producer's
        return data

    def _held(self, header: Header) -> SignedHeader | None:
        """The chain's own block of the number, if it is another one on the same parent."""
        held = self._validator.header(header.number)
        if held is None or held.hash == header.hash or held.parent_hash != header.parent_hash:
            return None
        block = self._validator.block(header.number)
        return None if block is None else signed_header(block.header, block.signature)


def _read_header(path: Path) -> tuple[Header, bytes]:
    with naming(path):
        return decode_header(read_bounded(path, MAX_FILE_BYTES))
