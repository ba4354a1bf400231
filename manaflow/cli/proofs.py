"""`manaflow prove` and `verify-proof`: from a refused block to one file that convinces anyone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from manaflow.cli.files import read_block, read_bounded, write_whole
from manaflow.cli.options import Engine, Json, State
from manaflow.cli.output import show
from manaflow.errors import Failure, Rule, Verdict
from manaflow.fraudproof import build
from manaflow.fraudproof.format import MAX_PROOF_BYTES, MOVES_RULES, TRANSACTION_RULES, Proof
from manaflow.fraudproof.verify import VerifiedProof
from manaflow.fraudproof.verify import verify as verify_bytes
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.marks import Mark
from manaflow.moves.view import hexed

if TYPE_CHECKING:
    from manaflow.evm.executor import Executor
    from manaflow.validator.archive import Archive
    from manaflow.validator.validator import Validator

AUTO: Final = "auto"
PROVABLE: Final = sorted(rule.name for rule in TRANSACTION_RULES | MOVES_RULES)


def prove(
    file: Annotated[Path, typer.Argument(help="The block to convict (NUMBER.mana).")],
    state: State,
    out: Annotated[Path, typer.Option(help="Where the proof goes.")],
    rule: Annotated[
        str, typer.Option(help=f"{AUTO}: the first that a validator finds; or one of {', '.join(PROVABLE)}.")
    ] = AUTO,
    transaction: Annotated[int | None, typer.Option(help="Where, if a rule is named.", min=0)] = None,
    move: Annotated[int | None, typer.Option(help="Where, if a V rule is named.", min=0)] = None,
    as_json: Json = False,
) -> None:
    """Build a fraud proof against a block.

    The block follows the head of the state directory, or is in its chain (imported in mode moves, say). The proof is
    verified by py-evm before it is written; verify-proof then needs nothing but the file and a block's hash.
    """
    from manaflow.validator.validator import Mode, Validator

    block = read_block(file)
    started = time.perf_counter()
    with Validator.open(state, mode=Mode.EXECUTE) as validator:
        verdict = _verdict(validator, block, rule, transaction, move)
        with validator.archive() as archive:
            proof = _built(validator, archive, block, verdict)
            head, hashes = _trusted(validator, archive, block)
            data = build.under_head(proof, head, hashes).encode()
    verified = verify_bytes(data, head.hash, _executor(Engine.PYEVM))
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
    as_json: Json = False,
) -> None:
    """Verify a fraud proof from the file and a trusted head's hash alone: no chain, no state.

    Exit code 0: the proof convicts a block of that chain. 1: it does not verify, and says nothing of any block.
    """
    trusted = _hash(head)
    started = time.perf_counter()
    verified = verify_bytes(read_bounded(file, MAX_PROOF_BYTES), trusted, _executor(engine))
    found = {**_conviction(verified), "engine": engine.value, "seconds": time.perf_counter() - started}
    lines = [
        f"the proof holds: block {verified.number} is invalid, and so are its descendants",
        f"block hash {hexed(verified.block_hash)}",
        f"sealed by {hexed(verified.producer)}",
        str(verified.verdict),
    ]
    show(as_json, found, lines)


def _verdict(validator: Validator, block: Block, rule: str, transaction: int | None, move: int | None) -> Verdict:
    """What the block is accused of, by the command line or the validator. Raises Failure if nothing is wrong."""
    if rule != AUTO:
        if rule.upper() not in PROVABLE:
            raise typer.BadParameter(f"rule {rule!r}: provable are {', '.join(PROVABLE)}")
        accused = Verdict(Rule[rule.upper()], "as named", transaction=transaction, move=move)
    else:
        found = _judged(validator, block)
        if found is None:
            raise Failure(f"block {block.header.number} breaks no rule: there is nothing to prove")
        accused = found
    if accused.rule.name not in PROVABLE:
        raise Failure(
            f"there is no proof of rule {accused.rule.name} yet ({accused}); provable are {', '.join(PROVABLE)}"
        )
    if accused.transaction is None or (accused.rule in MOVES_RULES and accused.move is None):
        raise typer.BadParameter(f"rule {accused.rule.name} needs a place: --transaction, and --move for V rules")
    return accused


def _judged(validator: Validator, block: Block) -> Verdict | None:
    """The first verdict on the head's next block, or of executing a block of the chain; None if there is none."""
    from manaflow.cli.verify import senders_of
    from manaflow.validator.execution import BlockExecution

    own = validator.header(block.header.number)
    try:
        if own is None or own.hash != block.hash:
            validator.judge_block(block)
        else:
            senders = senders_of(validator.config, block)
            BlockExecution(validator.config).check(block, senders, validator.code)
    except Verdict as verdict:
        return verdict
    return None


def _built(validator: Validator, archive: Archive, block: Block, verdict: Verdict) -> Proof:
    """The proof of a verdict, with the accused block as the trusted head."""
    assert verdict.transaction is not None
    try:
        if verdict.rule in TRANSACTION_RULES:
            codes = {h: code for h in _code_hashes(block) if (code := validator.code(h)) is not None}
            return build.prove_transaction(verdict.rule, block, validator.config, verdict.transaction, codes)
        return _built_of_moves(validator, archive, block, verdict)
    except (IndexError, ValueError) as error:
        raise typer.BadParameter(f"block {block.header.number} has no such place: {error}") from error


def _built_of_moves(validator: Validator, archive: Archive, block: Block, verdict: Verdict) -> Proof:
    from manaflow.validator.archive import Place
    from manaflow.validator.conflicts import consumer_before, maker_before, writer_before

    assert verdict.transaction is not None
    assert verdict.move is not None
    here = Place(block, verdict.transaction, verdict.move)
    seat, config, history = (here.transaction, here.move), validator.config, _hashes(validator, archive, block.header)
    if verdict.rule == Rule.V1:
        maker = maker_before(here, archive)
        return build.prove_v1(block, config, seat, None if maker is None else maker.block, history)
    other = (writer_before if verdict.rule == Rule.V4 else consumer_before)(here, archive)
    return build.prove_pair(verdict.rule, block, config, seat, other.block, (other.transaction, other.move), history)


def _code_hashes(block: Block) -> set[bytes]:
    named = block.moves.prev[block.moves.mark == Mark.CODE]
    return {row.tobytes() for row in named}


def _hashes(validator: Validator, archive: Archive, header: Header) -> list[bytes]:
    """Hashes of all blocks of the chain before a header, genesis first."""
    numbers = range(validator.config.genesis_number, header.number)
    return [record.hash for number in numbers if (record := archive.canonical(number)) is not None]


def _trusted(validator: Validator, archive: Archive, block: Block) -> tuple[Header, list[bytes]]:
    """The head that a verifier trusts, the chain's if it holds the block, else the block; and the hashes before it."""
    own = validator.header(block.header.number)
    head = validator.head[0] if own is not None and own.hash == block.hash else block.header
    return head, _hashes(validator, archive, head)


def _conviction(verified: VerifiedProof) -> dict[str, object]:
    return {
        "rule": verified.rule.name,
        "number": verified.number,
        "block": verified.block_hash,
        "producer": verified.producer,
        "verdict": verified.verdict.as_json(),
    }


def _executor(engine: Engine) -> Executor:
    if engine is Engine.REVM:
        from manaflow.evm.native import RevmExecutor

        return RevmExecutor()
    from manaflow.evm.pyevm.executor import PyEvmExecutor

    return PyEvmExecutor()


def _hash(text: str) -> bytes:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise typer.BadParameter(f"{text!r} is no block hash (0x and 64 hex digits)")
    return value
