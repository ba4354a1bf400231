"""EELS (ethereum-execution), Ethereum's executable specification, as a third executor: a process in .venv-eels."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from manaflow.errors import Failure, Rule, Unsupported, Verdict
from manaflow.evm.executor import Execution, Executor, Job, Log, Use
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO20, ZERO32, Location, Mark
from tests.conftest import ROOT
from tests.evm.comparing import Result, outcome
from tests.evm.job_files import account_of, raw, to_json, world_of
from tests.evm.worlds import word

PYTHON = ROOT / ".venv-eels" / "bin" / "python"
BRIDGE = Path(__file__).with_name("bridge.py")
PACKAGE = "ethereum-execution==2.20.0"
FIELDS = (Mark.BALANCE, Mark.CODE, Mark.NONCE)


def is_installed() -> bool:
    return PYTHON.exists()


class EelsExecutor:
    """Executor on EELS, Paris to Prague, profile `ethereum` only.

    EELS reads whole accounts and no cells: a location that the job does not declare is 0, never Undeclared, and block
    hashes are keccak-256 of the number, whatever the job says. `uses` are therefore an upper bound: b, c and n of every
    account that was read, c of every account that EIP-2929 charged for, every slot and every block hash.
    """

    name = "eels"

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([PYTHON, "-I", BRIDGE], stdin=pipe, stdout=pipe, text=True)

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()

    def execute(self, job: Job) -> Execution:
        """Raises Verdict(X0) if the transaction is invalid, Unsupported in profile `manaflow`, Failure at a crash."""
        if not job.environment.credits_coinbase:
            raise Unsupported("EELS always pays the coinbase")
        answer = self._ask(job)
        if "crashed" in answer:
            raise Failure(f"EELS crashed: {answer['crashed']}")
        if "refused" in answer:
            raise Verdict(Rule.X0, answer["refused"])
        logs = (Log(raw(address), tuple(map(raw, topics)), raw(data)) for address, topics, data in answer["logs"])
        uses, codes = _uses(job, answer)
        return Execution(answer["status"], answer["gas_used"], tuple(logs), uses, codes, code_bytes=0)  # nobody asks

    def _ask(self, job: Job) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(to_json(job)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Failure(f"the EELS bridge ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _uses(job: Job, answer: dict[str, Any]) -> tuple[tuple[Use, ...], dict[bytes, bytes]]:
    """Every location that was read or that changed, and the codes that became live."""
    after = world_of({raw(address): account_of(form) for address, form in answer["accounts"].items()})
    accessed = answer["accessed"]
    read: set[Location] = {(mark, raw(address), ZERO32) for address in accessed["accounts"] for mark in FIELDS}
    read |= {(Mark.CODE, raw(address), ZERO32) for address in accessed["warm"]}
    read |= {(Mark.STORAGE, raw(address), raw(slot)) for address, slot in accessed["slots"]}
    read |= {(Mark.BLOCKHASH, ZERO20, word(number)) for number in accessed["hashes"]}
    state = [location for location in job.cells if location[0] != Mark.BLOCKHASH]
    changed = {at for at in {*after, *state} if after[at] != job.cells.get(at, ZERO32)}
    uses = tuple(
        Use(*at, keccak256(at[2]), keccak256(at[2]))
        if at[0] == Mark.BLOCKHASH
        else Use(*at, job.cells.get(at, ZERO32), after[at])
        for at in sorted(read | changed)
    )
    made = {after[at] for at in changed if at[0] == Mark.CODE and after[at] != ZERO32}
    return uses, {code_hash: after.codes[code_hash] for code_hash in sorted(made)}


def eels_difference(ours: Executor, eels: EelsExecutor, job: Job) -> str | None:
    """How one of our executors differs from EELS: status, gas, logs, writes, codes, or a use that EELS did not read.

    None as well where ours says that the rules cannot hold the job.
    """
    result = outcome(ours, job)
    if result == ("Unsupported", None):
        return None
    try:
        expected = eels.execute(job)
    except Verdict as refusal:
        return None if _is_refused(result) else f"EELS refuses: {refusal.what}; {ours.name}: {result}"
    if not isinstance(result, Execution):
        return f"EELS executes; {ours.name}: {result}"
    return _compared(result, expected)


def _is_refused(result: Result) -> bool:
    return not isinstance(result, Execution) and result[0] == "Verdict"


def _compared(result: Execution, expected: Execution) -> str | None:
    for name in ("status", "gas_used", "logs", "codes"):
        if getattr(result, name) != getattr(expected, name):
            return f"{name}: {getattr(result, name)}, EELS {getattr(expected, name)}"
    ours, theirs = ({use for use in execution.uses if use.prev != use.next} for execution in (result, expected))
    if ours != theirs:
        return f"writes: only ours {ours - theirs}; only EELS {theirs - ours}"
    unread = {use.location for use in result.uses} - {use.location for use in expected.uses}
    return f"uses that EELS did not read: {unread}" if unread else None
