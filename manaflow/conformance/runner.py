"""One state test through everything: genesis, fill, sealed block, import into a fresh validator, each engine alone.

A valid transaction is filled and sealed, imported by a validator in mode `execute`, and executed by each engine with
nothing but its moves as the world; the cells that the validator then holds are the expected post-state, location by
location, and the logs hash is the expected one. An invalid one is refused by the filler, by each engine, and by the
validator in a block that holds it all the same; and nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from manaflow.conformance.fixtures import FORKS, Case, StateTest, UnknownFork
from manaflow.conformance.forgery import forged_block, sender_of
from manaflow.conformance.results import EngineResult, Result, Standing, alike
from manaflow.conformance.states import codes_of, differences, held_cells, known_values, missing_codes
from manaflow.coordinator.filler import Filler, begin_chain
from manaflow.coordinator.genesis import chain_config
from manaflow.coordinator.replay import DEVELOPMENT_KEY, address_of
from manaflow.errors import ManaflowError, Rule, StorageFailure, Undeclared, Unsupported, Verdict
from manaflow.evm.environment import environment_of
from manaflow.evm.executor import Executor, Job
from manaflow.evm.native import RevmExecutor
from manaflow.evm.native_hashing import NATIVE
from manaflow.evm.pyevm.executor import PyEvmExecutor
from manaflow.moves.block import Block
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.moves.wire import GenesisFile
from manaflow.rules.config import Fork, ForkEntry
from manaflow.validator.execution import judge_alone
from manaflow.validator.validator import Mode, Validator

OUTSIDE: Final[Mapping[str, str]] = {
    "create2collisionStorageParis": "CREATE2 onto storage alone (EIP-7610)",
    "FailedCreateRevertsDeletionParis": "CREATE onto storage alone (EIP-7610)",
    "RevertPrecompiledTouch_storage_Paris": "calls to accounts of storage alone, as precompiles once were",
}
"""Tests, by name, that start with storage at an account with nonce 0 and no code. No chain gets there, and genesis
refuses it (docs/SPEC.md, section 5)."""
PYEVM_LAST: Final = Fork.PRAGUE
"""py-evm has no later fork."""
REFUSING: Final = (Rule.X0, Rule.S1)
"""The rules by which an invalid transaction is refused."""


class Mismatch(Exception):
    """What a test asks for is not what was found."""


class Runner:
    """Runs state tests, one after another; its engines keep their codes analysed."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: where the tests' state directories come and go, None for the system's temporary folder."""
        self._folder, self._revm, self._pyevm = folder, RevmExecutor(), PyEvmExecutor()

    def run(self, case: Case, *, with_pyevm: bool = True) -> Result:
        """Run one test, on revm alone if py-evm is too slow for it.

        Raises StorageFailure or OSError if there is no room for its state directory; whatever else goes wrong is a
        result.
        """
        if isinstance(case, UnknownFork):
            return alike(case, Standing.OUTSIDE, f"the rules hold the forks {', '.join(FORKS)}")
        try:
            with TemporaryDirectory(prefix="manaflow-conformance-", dir=self._folder) as folder:
                return self._run(case, Path(folder), with_pyevm)
        except (StorageFailure, OSError):
            raise
        except Unsupported as unsupported:
            is_outside = FORKS[case.fork] < Fork.CANCUN  # an old SELFDESTRUCT; from Cancun on the rules hold all
            return alike(case, Standing.OUTSIDE if is_outside else Standing.FAILED, str(unsupported))
        except (ManaflowError, Mismatch) as error:
            return alike(case, Standing.FAILED, str(error))
        except Exception as error:
            return alike(case, Standing.FAILED, f"internal error ({type(error).__name__}: {error})")

    def _run(self, case: StateTest, folder: Path, with_pyevm: bool) -> Result:
        genesis, filler = begin(case)
        try:
            validator = Validator.create(folder / "state", genesis, mode=Mode.EXECUTE, threads=1)
        except Verdict as verdict:
            standing = Standing.OUTSIDE if is_outside(case, verdict) else Standing.FAILED
            return alike(case, standing, f"genesis: {verdict}")
        with validator:
            if case.exception is None:
                block = import_filled(case, filler, validator)
                judge: Callable[[Executor], EngineResult] = partial(accepts, case, block, validator)
            else:
                check_refused(case, filler, validator)
                judge = partial(refuses, case, filler)
            engines = {"revm": judge(self._revm)}
            if FORKS[case.fork] > PYEVM_LAST:
                engines["pyevm"] = EngineResult(Standing.ABSENT, f"py-evm has no {case.fork}")
            else:
                engines["pyevm"] = judge(self._pyevm) if with_pyevm else EngineResult(Standing.ABSENT, "not asked")
        return Result(case.id, case.fork, engines)


def begin(case: StateTest) -> tuple[GenesisFile, Filler]:
    """A chain whose genesis is the test's pre-state, one fork from the start, no system calls."""
    forks = (ForkEntry(FORKS[case.fork], 0, case.blobs),)
    config = chain_config(case.chain_id, forks, (), [case.block], address_of(DEVELOPMENT_KEY))
    return begin_chain(config, [case.block], known_values(case.pre), codes_of(case.pre), DEVELOPMENT_KEY, NATIVE)


def is_outside(case: StateTest, verdict: Verdict) -> bool:
    """True if genesis refuses this test's pre-state for what OUTSIDE says of it."""
    name = case.id.rpartition("::")[2].partition("[")[0]
    return name in OUTSIDE and verdict.rule == Rule.B8 and verdict.what.startswith("storage of an account")


def import_filled(case: StateTest, filler: Filler, validator: Validator) -> Block:
    """Fill, seal and import the test's block; its logs and the state that it leaves are the expected ones.

    Raises Mismatch, and Verdict or Failure as the filler and the validator do.
    """
    try:
        block = filler.fill(case.block).block
    except Verdict as verdict:
        raise Mismatch(f"the filler refuses a valid transaction: {verdict}") from verdict
    try:
        validator.import_block(block)
    except Verdict as verdict:
        raise Mismatch(f"the validator refuses the filled block: {verdict}") from verdict
    logs_hash = block.leaves[0].logs_hash
    if logs_hash != case.logs_hash:
        raise Mismatch(f"logs hash: expected 0x{case.logs_hash.hex()}, found 0x{logs_hash.hex()}")
    check_state(case, validator)
    return block


def check_state(case: StateTest, validator: Validator) -> None:
    """The cells that the validator holds are the expected state, and it has the codes. Raises Mismatch."""
    found = [*differences(case.post, held_cells(validator)), *missing_codes(case.post, validator)]
    if found:
        more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
        raise Mismatch(f"state: {found[0]}{more}")


def check_refused(case: StateTest, filler: Filler, validator: Validator) -> None:
    """The filler refuses the invalid transaction, the validator a block that holds it; nothing has changed.

    Raises Mismatch.
    """
    before, cells, head = known_values(case.pre), filler.latest.next_number, validator.head
    try:
        filler.fill(case.block)
    except Verdict as verdict:
        if verdict.rule not in REFUSING:
            raise Mismatch(f"the filler refuses by another rule: {verdict}") from verdict
    else:
        raise Mismatch(f"the filler accepts a transaction that is invalid: {case.exception}")
    if filler.latest.next_number != cells or any(filler.value(where) != value for where, value in before.items()):
        raise Mismatch("the filler's state has changed")
    sender = sender_of(case.block.envelopes[0], case.sender)
    try:
        validator.import_block(forged_block(filler, case.block, sender))
    except Verdict:
        pass  # by S1 or X0, or by what a rule before those sees: M3 the nonce, M6 blob gas unpaid, B2 too many blobs
    else:
        raise Mismatch(f"the validator accepts a transaction that is invalid: {case.exception}")
    if validator.head != head:
        raise Mismatch("the validator's head has moved")
    check_state(case, validator)


def accepts(case: StateTest, block: Block, validator: Validator, executor: Executor) -> EngineResult:
    """The engine, with the transaction's moves as the whole world, does what they say (X0 to X5)."""
    sender = sender_of(block.envelopes[0], case.sender)
    try:
        verdict = judge_alone(executor, validator.config, block, 0, sender, validator.code)
    except ManaflowError as error:
        return EngineResult(Standing.FAILED, f"{executor.name}: {error}")
    return EngineResult(Standing.PASSED) if verdict is None else EngineResult(Standing.FAILED, str(verdict))


def refuses(case: StateTest, filler: Filler, executor: Executor) -> EngineResult:
    """The engine refuses the transaction by S1 or X0, with its sender's account as the state."""
    envelope = case.block.envelopes[0]
    sender = sender_of(envelope, case.sender)
    account: list[Location] = [(mark, sender, ZERO32) for mark in (Mark.BALANCE, Mark.CODE, Mark.NONCE)]
    cells = {location: filler.value(location) for location in account}
    environment = environment_of(filler.open(case.block), filler.config)
    try:
        executor.execute(Job(environment, decode_envelope(envelope), sender, 0, 0, cells, codes_of(case.pre)))
    except Verdict as verdict:
        standing = Standing.PASSED if verdict.rule in REFUSING else Standing.FAILED
        return EngineResult(standing, str(verdict))
    except Undeclared:
        pass  # it began to execute
    return EngineResult(Standing.FAILED, f"{executor.name} accepts a transaction that is invalid: {case.exception}")
