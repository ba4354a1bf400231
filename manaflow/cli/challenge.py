"""`manaflow challenge`: follow a folder of blocks, import the honest ones, and prove what is wrong with the others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from manaflow.cli.files import MAX_FILE_BYTES, block_paths, read_bounded, write_whole
from manaflow.cli.options import Json, State
from manaflow.cli.output import ExitCode, naming, show
from manaflow.errors import Failure, Verdict
from manaflow.fraudproof.errors import ProofRejected, Unprovable
from manaflow.moves.view import hexed

if TYPE_CHECKING:
    from manaflow.cli.equivocation import Siblings
    from manaflow.moves.header import Header
    from manaflow.validator.validator import Validator

POLL_SECONDS: Final = 1.0


def challenge(
    blocks: Annotated[list[Path], typer.Argument(help="Block files, and folders of them.")],
    state: State,
    out: Annotated[Path | None, typer.Option(help="Folder for the proofs; else each goes beside its block.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on looking for new files until interrupted.")] = False,
    as_json: Json = False,
) -> None:
    """Judge each block in mode execute; import what is honest, and write a fraud proof of what is not.

    Blocks are taken in the order of their numbers. One that follows neither the head nor its history is passed over.
    Each proof is verified by py-evm before it is written. A producer who signed two blocks of one number on one parent
    is convicted by a proof of that (NAME.equivocation). Exit code 1: a proof was written, or a block refused that no
    file can convict.
    """
    from manaflow.cli.equivocation import Siblings
    from manaflow.validator.validator import Mode, Validator

    with Validator.open(state, mode=Mode.EXECUTE) as validator:
        rows, siblings = [], Siblings(validator)
        for path in _followed(blocks, watch):
            with naming(path):
                row = _judge_file(validator, siblings, path, out)
            rows.append(row)
            if watch or not as_json:
                show(as_json, row, [_line(row)])
        head, head_hash = validator.head
    if not watch:
        proofs = [row[kind] for row in rows for kind in ("proof", "equivocation") if kind in row]
        last = {"number": head.number, "hash": head_hash}
        found = {"state": str(state), "blocks": rows, "proofs": proofs, "head": last}
        show(as_json, found, [f"head: block {head.number}, {hexed(head_hash)}"])
    if any(row["what"] in ("convicted", "refused") or "equivocation" in row for row in rows):
        raise typer.Exit(ExitCode.VERDICT)


def _followed(inputs: Sequence[Path], watch: bool) -> Iterator[Path]:
    """Every block file once; with `watch` those that come later too, until an interrupt ends it."""
    seen: set[Path] = set()
    try:
        while True:
            for path in block_paths(inputs):
                if path not in seen:
                    seen.add(path)
                    yield path
            if not watch:
                return
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return


def _judge_file(validator: Validator, siblings: Siblings, path: Path, out: Path | None) -> dict[str, Any]:
    """What becomes of one file: `what` is imported, known, passed, convicted or refused."""
    from manaflow.evm.native_hashing import NATIVE
    from manaflow.fraudproof.challenge import UNPROVABLE, Accusation
    from manaflow.moves.wire import decode_block, decode_header
    from manaflow.rules.headers import check_b7
    from manaflow.validator.witness import Witness

    data = read_bounded(path, MAX_FILE_BYTES)
    row: dict[str, Any] = {"file": str(path)}
    try:
        header, signature = decode_header(data)  # a body is unpacked only for a producer
        producer = check_b7(header.hash, signature, validator.config)
        row |= _equivocation(siblings.proof_of(header, signature, producer), header, out or path.parent, path.stem)
        block = decode_block(data, NATIVE)
    except Verdict as verdict:
        why = UNPROVABLE[verdict.rule.name]
        return row | {"what": "refused", "verdict": verdict.as_json(), "why": why, "line": str(verdict)}
    row |= {"number": block.header.number, "hash": block.hash}
    accusation = Accusation(Witness(validator), block)
    try:
        verdict_found = accusation.verdict()
    except Failure as failure:
        return row | {"what": "passed", "why": str(failure)}
    if verdict_found is not None:
        target = (out or path.parent) / f"{path.stem}.proof"
        return row | _prove(accusation, verdict_found, target)
    if accusation.is_of_the_chain:
        return row | {"what": "known"}
    validator.import_block(data)
    return row | {"what": "imported"}


def _equivocation(proof: bytes | None, header: Header, folder: Path, stem: str) -> dict[str, Any]:
    """Write the proof that another block of the header's producer, number and parent is known, if there is one."""
    if proof is None:
        return {}
    target = folder / f"{stem}.equivocation"
    write_whole(target, proof)
    return {"equivocation": str(target), "equivocation_head": header.hash}


def _prove(accusation: Any, verdict: Verdict, target: Path) -> dict[str, Any]:
    from manaflow.evm.pyevm.executor import PyEvmExecutor
    from manaflow.fraudproof.verify import verify

    refused = {"what": "refused", "verdict": verdict.as_json(), "line": str(verdict)}
    try:
        data = accusation.proof(verdict).encode()
        verified = verify(data, accusation.head.hash, PyEvmExecutor())
    except Unprovable as unprovable:
        return refused | {"why": str(unprovable)}
    except ProofRejected as rejected:
        raise Failure(f"internal error: the proof of {verdict} does not verify: {rejected}") from rejected
    write_whole(target, data)
    return {
        "what": "convicted",
        "rule": verified.rule.name,
        "proof": str(target),
        "bytes": len(data),
        "head": accusation.head.hash,
        "producer": verified.producer,
        "verdict": verified.verdict.as_json(),
        "line": str(verified.verdict),
    }


def _line(row: dict[str, Any]) -> str:
    """What became of a file, in words."""
    if "equivocation" not in row:
        return _fate(row)
    return (
        f"{_fate(row)}\n  {row['equivocation']} proves to anyone that its producer signed another block of this number "
        f"and parent; manaflow verify-proof {row['equivocation']} --head {hexed(row['equivocation_head'])}"
    )


def _fate(row: dict[str, Any]) -> str:
    name = f"block {row['number']}" if "number" in row else row["file"]
    if row["what"] == "convicted":
        return (
            f"{name} is invalid: {row['line']}\n  {row['proof']} ({row['bytes']} bytes) proves to anyone that its "
            f"producer {hexed(row['producer'])} broke rule {row['rule']}; "
            f"manaflow verify-proof {row['proof']} --head {hexed(row['head'])}"
        )
    if row["what"] == "refused":
        return f"{name} is refused: {row['line']}\n  {row['why']}"
    if row["what"] == "passed":
        return f"{name} is passed over: {row['why']}"
    return f"{name} is in the chain already" if row["what"] == "known" else f"{name} is valid: imported"
