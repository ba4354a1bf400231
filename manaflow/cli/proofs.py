"""`manaflow prove` and `verify-proof`: from a refused block to one file that convinces anyone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from manaflow.cli.equivocation import equivocation_fields
from manaflow.cli.files import read_block, read_bounded, write_whole
from manaflow.cli.limits import DEFAULT_SECONDS, Seconds, within
from manaflow.cli.options import Engine, Json, State, block_hash
from manaflow.cli.output import show
from manaflow.errors import Failure, Rule, Verdict
from manaflow.fraudproof.equivocation import VerifiedEquivocation, is_equivocation, verify_equivocation
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.format import (
    BYTES_RULES,
    HASHES_RULES,
    MAX_PROOF_BYTES,
    MOVES_RULES,
    PROVABLE,
    TRANSACTION_RULES,
)
from manaflow.fraudproof.verify import VerifiedProof, verify_by_both
from manaflow.fraudproof.verify import verify as verify_bytes
from manaflow.moves.view import hexed

if TYPE_CHECKING:
    from manaflow.evm.executor import Executor

AUTO: Final = "auto"
RULES: Final = [rule.name for rule in sorted(PROVABLE - BYTES_RULES)]


def prove(
    file: Annotated[Path, typer.Argument(help="The block to convict (NUMBER.mana).")],
    state: State,
    out: Annotated[Path, typer.Option(help="Where the proof goes.")],
    rule: Annotated[
        str, typer.Option(help=f"{AUTO}: the first that a validator finds; or one of {', '.join(RULES)}.")
    ] = AUTO,
    transaction: Annotated[int | None, typer.Option(help="Where, if a rule is named.", min=0)] = None,
    move: Annotated[int | None, typer.Option(help="Where, if a rule about moves is named.", min=0)] = None,
    as_json: Json = False,
) -> None:
    """Build a fraud proof against a block.

    The block follows the head of the state directory, or is in its chain (imported in mode moves, say). The proof is
    verified by py-evm before it is written; verify-proof then needs nothing but the file and a block's hash.
    """
    from manaflow.fraudproof.challenge import Accusation
    from manaflow.validator.validator import Mode, Validator
    from manaflow.validator.witness import Witness

    block = read_block(file)
    started = time.perf_counter()
    with Validator.open(state, mode=Mode.EXECUTE) as validator:
        challenge = Accusation(Witness(validator), block)
        verdict = _named(rule, transaction, move) if rule != AUTO else challenge.verdict()
        if verdict is None:
            raise Failure(f"block {block.header.number} breaks no rule: there is nothing to prove")
        try:
            data, head = challenge.proof(verdict).encode(), challenge.head
        except (IndexError, ValueError) as error:
            raise typer.BadParameter(f"block {block.header.number} has no such place: {error}") from error
    try:
        verified = verify_bytes(data, head.hash, _executor(Engine.PYEVM))
    except ProofRejected as rejected:
        if rule != AUTO:
            raise
        raise Failure(f"no file shows to others that {verdict} ({rejected})") from rejected
    write_whole(out, data)
    found = {"file": str(out), "bytes": len(data), "head": head.hash, **_conviction(verified)}
    found["seconds"] = time.perf_counter() - started
    line = f"{out}  {len(data)} bytes: block {verified.number} breaks {verified.verdict}"
    show(as_json, found, [line, f"manaflow verify-proof {out} --head {hexed(head.hash)}"])


def verify_proof(
    file: Annotated[Path, typer.Argument(help="A fraud proof.")],
    head: Annotated[
        str, typer.Option(help="Hash of the chain's head that you trust: the accused block or a later one.")
    ],
    engine: Annotated[Engine, typer.Option(help="Which EVM judges X rules.")] = Engine.PYEVM,
    native: Annotated[bool, typer.Option("--native", help="Ask py-evm and revm: both must agree.")] = False,
    seconds: Seconds = DEFAULT_SECONDS,
    as_json: Json = False,
) -> None:
    """Verify a fraud proof from the file and a trusted head's hash alone: no chain, no state.

    Exit code 0: the proof convicts a block of that chain, or a producer who signed two blocks of one number. 1: it does
    not verify, and says nothing of any block.
    """
    trusted = block_hash(head)
    started = time.perf_counter()
    data = read_bounded(file, MAX_PROOF_BYTES)
    with within(seconds):
        judged = _judged(data, trusted, engine, native)
    took = {"seconds": time.perf_counter() - started}
    if isinstance(judged, VerifiedEquivocation):
        show(as_json, {**equivocation_fields(judged), **took}, _lines_of_equivocation(judged))
        return
    engines = [Engine.PYEVM.value, Engine.REVM.value] if native else [engine.value]
    lines = [
        f"the proof holds: block {judged.number} is invalid, and so are its descendants",
        f"block hash {hexed(judged.block_hash)}",
        f"sealed by {hexed(judged.producer)}",
        str(judged.verdict),
    ]
    show(as_json, {**_conviction(judged), "engine": "+".join(engines), **took}, lines)


def _judged(data: bytes, trusted: bytes, engine: Engine, native: bool) -> VerifiedProof | VerifiedEquivocation:
    if is_equivocation(data):
        return verify_equivocation(data, trusted)
    if native:
        return verify_by_both(data, trusted, _executor(Engine.PYEVM), _executor(Engine.REVM))
    return verify_bytes(data, trusted, _executor(engine))


def apply_proof(
    file: Annotated[Path, typer.Argument(help="A fraud proof.")],
    state: State,
    engine: Annotated[Engine, typer.Option(help="Which EVM judges X rules.")] = Engine.PYEVM,
    seconds: Seconds = DEFAULT_SECONDS,
    as_json: Json = False,
) -> None:
    """Verify a fraud proof, take the chain back to the convicted block's parent, and never take that block again.

    A convicted block that is not in the chain is remembered, too; the proof is kept in the state directory. Of an
    equivocation the evidence is kept, and no block is void.
    """
    from manaflow.fraudproof.consequences import carry_out, judge_proof
    from manaflow.validator.validator import Validator

    data = read_bounded(file, MAX_PROOF_BYTES)
    with Validator.open(state) as validator:
        with within(seconds):  # the verification alone: what follows from it is not cut short
            judged = judge_proof(validator.config, data, _executor(engine))
        applied = carry_out(validator, judged)
        header, head_hash = validator.head
    at = {"head": {"number": header.number, "hash": head_hash}}
    last = f"head: block {header.number}, {hexed(head_hash)}"
    if isinstance(applied, VerifiedEquivocation):
        kept = "the evidence is kept; nothing is undone"
        show(
            as_json,
            {**equivocation_fields(applied), "undone": [], **at},
            [*_lines_of_equivocation(applied), kept, last],
        )
        return
    verified, undone = applied.verified, list(applied.undone)
    lines = [
        f"block {verified.number} is void, and so are its descendants: {verified.verdict}",
        f"undone: {', '.join(map(str, undone)) or 'nothing, the block was not in the chain'}",
        last,
    ]
    show(as_json, {**_conviction(verified), "undone": undone, **at}, lines)


def _named(rule: str, transaction: int | None, move: int | None) -> Verdict:
    """An accusation by the command line."""
    if rule.upper() not in RULES:
        raise typer.BadParameter(f"rule {rule!r}: provable are {', '.join(RULES)}")
    named = Rule[rule.upper()]
    needs_move = named in MOVES_RULES | HASHES_RULES
    if transaction is None and (needs_move or named in TRANSACTION_RULES):
        raise typer.BadParameter(f"rule {named.name} needs --transaction")
    if move is None and needs_move:
        raise typer.BadParameter(f"rule {named.name} needs --move")
    return Verdict(named, "named on the command line", transaction=transaction, move=move)


def _conviction(verified: VerifiedProof) -> dict[str, object]:
    return {
        "rule": verified.rule.name,
        "number": verified.number,
        "block": verified.block_hash,
        "producer": verified.producer,
        "verdict": verified.verdict.as_json(),
    }


def _lines_of_equivocation(found: VerifiedEquivocation) -> list[str]:
    return [
        f"the proof holds: producer {hexed(found.producer)} equivocated; no block is void by it",
        f"it signed two blocks of number {found.number} on one parent, {hexed(found.parent)}",
        *(f"block hash {hexed(block)}" for block in found.hashes),
    ]


def _executor(engine: Engine) -> Executor:
    if engine is Engine.REVM:
        from manaflow.evm.native import RevmExecutor

        return RevmExecutor()
    from manaflow.evm.pyevm.executor import PyEvmExecutor

    return PyEvmExecutor()
