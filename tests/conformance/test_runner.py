"""A runner that cannot fail proves nothing: every broken expectation, invalid transaction and wrong engine is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from manaflow.conformance import runner as runner_module
from manaflow.conformance.fixtures import StateTest
from manaflow.conformance.forgery import forged_block, sender_of
from manaflow.conformance.results import EngineResult, Result, Standing, count
from manaflow.conformance.runner import OUTSIDE, Runner, begin
from manaflow.coordinator.ethereum import Account
from manaflow.coordinator.filler import Filler
from manaflow.coordinator.inputs import BlockInputs
from manaflow.errors import Failure, Rule, StorageFailure, Verdict
from manaflow.evm.executor import Execution, Job
from manaflow.evm.pyevm.executor import PyEvmExecutor
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import Mark
from manaflow.validator.validator import Mode, Validator
from tests.conformance.cases import FOLDER, shared_case, shared_cases

RUNNER = Runner(FOLDER)
PLAIN = shared_case("test_eip1559_tx_validity")
"""A valid transaction that writes one slot."""
INVALID = [case for case in shared_cases() if isinstance(case, StateTest) and case.exception is not None]
CONTRACT = bytes.fromhex("ef5d8525b90f834e9b84a59351846383049035d4")
ONE, TWO = (n.to_bytes(32, "big") for n in (1, 2))


def with_account(case: StateTest, address: bytes, **fields: object) -> StateTest:
    account = case.post.get(address, Account(0, 0, b"", bytes(32), {}))
    return replace(case, post={**case.post, address: replace(account, **fields)})


def without_account(case: StateTest, address: bytes) -> StateTest:
    return replace(case, post={known: account for known, account in case.post.items() if known != address})


BROKEN: Mapping[str, tuple[Callable[[StateTest], StateTest], str]] = {
    "a balance": (lambda c: with_account(c, CONTRACT, balance=1), "b 0xef5d"),
    "a nonce": (lambda c: with_account(c, CONTRACT, nonce=2), "n 0xef5d"),
    "a code": (lambda c: with_account(c, CONTRACT, code_hash=keccak256(b"\1"), code=b"\1"), "c 0xef5d"),
    "a slot": (lambda c: with_account(c, CONTRACT, storage={bytes(32): TWO}), "s 0xef5d"),
    "a slot more": (lambda c: with_account(c, CONTRACT, storage={bytes(32): ONE, ONE: ONE}), f"slot 0x{ONE.hex()}"),
    "a slot zeroed": (lambda c: with_account(c, CONTRACT, storage={bytes(32): bytes(32)}), "s 0xef5d"),
    "a slot less": (lambda c: with_account(c, CONTRACT, storage={}), "s 0xef5d"),
    "an account more": (lambda c: with_account(c, bytes(20), balance=7), f"b 0x{bytes(20).hex()}"),
    "an account deleted": (lambda c: without_account(c, CONTRACT), "c 0xef5d"),
    "the base fee, so that a tip is paid": (lambda c: replace(c, block=replace(c.block, base_fee=6)), "b 0x2adc"),
    "the logs": (lambda c: replace(c, logs_hash=bytes(32)), "logs hash: expected 0x0000"),
    "an exception": (lambda c: replace(c, exception="TransactionException.NONE"), "the filler accepts"),
    "an envelope": (lambda c: replace(c, block=replace(c.block, envelopes=(b"\2\xc0",))), "a valid transaction: S1"),
    "the chain": (lambda c: replace(c, chain_id=5), "X0"),
}


def test_the_broken_one_is_fine_when_it_is_whole() -> None:
    assert RUNNER.run(PLAIN).standing is Standing.PASSED


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_expectation_fails_and_says_where(name: str) -> None:
    change, message = BROKEN[name]
    result = RUNNER.run(change(PLAIN))
    assert {engine.standing for engine in result.engines.values()} == {Standing.FAILED}
    assert message in str(result.reason)


def test_zeros_in_an_expectation_are_no_difference() -> None:
    zeros = with_account(PLAIN, bytes(20), balance=0)
    slots = {**PLAIN.post[CONTRACT].storage, TWO: bytes(32)}
    assert RUNNER.run(with_account(zeros, CONTRACT, storage=slots)).standing is Standing.PASSED


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case.exception)
def test_an_invalid_transaction_expected_to_be_valid_fails(case: StateTest) -> None:
    result = RUNNER.run(replace(case, exception=None))
    assert result.standing is Standing.FAILED
    assert "the filler refuses a valid transaction: X0" in str(result.reason)


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case.exception)
def test_a_validator_refuses_an_invalid_transaction_in_a_block(case: StateTest, tmp_path: object) -> None:
    """The block is fine but for its transaction: the verdict is X0's (M3's where another nonce is claimed)."""
    genesis, filler = begin(case)
    block = forged_block(filler, case.block, sender_of(case.block.envelopes[0], case.sender))
    with Validator.create(f"{tmp_path}/state", genesis, mode=Mode.EXECUTE, threads=1) as validator:
        with pytest.raises(Verdict) as refused:
            validator.import_block(block)
        assert refused.value.rule == Rule.X0
        assert validator.head[0].number == 0


def test_an_invalid_transaction_must_leave_the_state() -> None:
    result = RUNNER.run(with_account(INVALID[0], bytes(20), balance=7))
    assert result.standing is Standing.FAILED
    assert "state: b 0x" in str(result.reason)


@pytest.mark.parametrize("name", sorted(OUTSIDE))
def test_only_genesis_puts_a_test_outside(name: str) -> None:
    """By its name alone nothing is outside, and without its name it fails."""
    outside = shared_case(f"::{name}[")
    assert RUNNER.run(replace(outside, id="x::other[y]")).standing is Standing.FAILED
    assert RUNNER.run(replace(PLAIN, id=f"x::{name}[y]")).standing is Standing.PASSED


class Lying:
    """py-evm that finds a little more gas used."""

    name = "pyevm"

    def execute(self, job: Job) -> Execution:
        execution = PyEvmExecutor().execute(job)
        return replace(execution, gas_used=execution.gas_used + 1)


class Broken:
    name = "pyevm"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def execute(self, job: Job) -> Execution:
        raise self.error


def test_an_engine_that_differs_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Runner(FOLDER)
    monkeypatch.setattr(wrong, "_pyevm", Lying())
    result = wrong.run(PLAIN)
    assert result.engines["revm"] == EngineResult(Standing.PASSED)
    assert result.engines["pyevm"].standing is Standing.FAILED
    assert str(result.reason).startswith("X3, transaction 0: gas used")


@pytest.mark.parametrize("error", [Failure("a code is missing"), RuntimeError("crash")])
def test_an_engine_that_fails_is_a_failed_test(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Runner(FOLDER)
    monkeypatch.setattr(wrong, "_pyevm", Broken(error))
    result = wrong.run(PLAIN)
    assert result.standing is Standing.FAILED
    assert str(error) in str(result.reason)


def test_an_engine_that_accepts_an_invalid_transaction_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def accept(job: Job) -> None:
        pass

    monkeypatch.setattr("manaflow.evm.pyevm.executor.check_x0", accept)
    result = RUNNER.run(next(case for case in INVALID if case.fork == "Cancun"))
    assert result.engines["revm"].standing is Standing.PASSED
    assert result.engines["pyevm"].standing is Standing.FAILED


def test_an_engine_that_refuses_by_another_rule_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Runner(FOLDER)
    monkeypatch.setattr(wrong, "_pyevm", Broken(Verdict(Rule.M3, "no")))
    result = wrong.run(next(case for case in INVALID if case.fork == "Cancun"))
    assert result.engines["pyevm"] == EngineResult(Standing.FAILED, "M3: no")


def test_a_validator_that_accepts_anything_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module.Validator, "import_block", lambda self, block: None)
    result = RUNNER.run(INVALID[0])
    assert result.standing is Standing.FAILED
    assert str(result.reason).startswith("the validator accepts")
    assert "state: " in str(RUNNER.run(PLAIN).reason), "nothing of a valid transaction has happened"


@pytest.mark.parametrize(
    ("rule", "changes", "message"),
    [(Rule.M3, False, "the filler refuses by another rule"), (Rule.X0, True, "the filler's state has changed")],
)
def test_a_filler_that_refuses_wrongly_fails(
    rule: Rule, changes: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Filler, inputs: BlockInputs) -> None:
        if changes:
            (address, *_) = (addr for addr, account in INVALID[0].pre.items() if account.balance)
            self.world.load(bytes([Mark.BALANCE]), address, bytes(32), bytes(32))
        raise Verdict(rule, "no")

    monkeypatch.setattr(Filler, "fill", refuse)
    result = RUNNER.run(INVALID[0])
    assert result.standing is Standing.FAILED
    assert str(result.reason).startswith(message)


def test_a_full_disk_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageFailure("disk full")

    monkeypatch.setattr(runner_module.Validator, "create", full)
    with pytest.raises(StorageFailure, match="disk full"):
        RUNNER.run(PLAIN)


def test_results_are_counted_by_fork_and_engine() -> None:
    passed, absent = EngineResult(Standing.PASSED), EngineResult(Standing.ABSENT, "py-evm has no Osaka")
    results = [
        Result("a", "Osaka", {"revm": passed, "pyevm": absent}),
        Result("b", "Osaka", {"revm": EngineResult(Standing.FAILED, "why"), "pyevm": absent}),
    ]
    assert [result.standing for result in results] == [Standing.PASSED, Standing.FAILED]
    assert [result.reason for result in results] == [None, "why"]
    assert count(results) == {
        "Osaka": {"all": {"passed": 1, "failed": 1}, "revm": {"passed": 1, "failed": 1}, "pyevm": {"absent": 2}}
    }
