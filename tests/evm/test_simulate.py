"""Calls outside any block: what they answer, what they ignore, and that they change nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from manaflow._native import Codes, World
from manaflow.errors import CallFailed, Failure, Rule, Verdict
from manaflow.evm.executor import Log
from manaflow.evm.native import fill_steps
from manaflow.evm.simulate import (
    MAX_LISTINGS,
    AccountOverride,
    CallRequest,
    CallResult,
    Ending,
    Overrides,
    access_list_of,
    create_access_list,
    estimate_gas,
    search_gas,
    simulate,
)
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Mark
from manaflow.moves.transactions import AccessEntry
from manaflow.rules.config import Fork
from tests.evm.crafting import (
    COINBASE,
    ETHER,
    NAMES,
    NUMBER,
    OTHER,
    SENDER,
    THIRD,
    TO,
    Account,
    asm,
    call,
    create,
    designation,
    environment,
    load,
    look,
    sign_authorization,
    store,
    unless,
    word,
    write,
)

RETURN = asm(32, 0, "RETURN")
"""Returns the first word of memory."""


def answer(*parts: str | int | bytes) -> bytes:
    """Code that returns what `parts` leave on the stack."""
    return asm(*parts, 0, "MSTORE") + RETURN


class Chain:
    """Accounts in a world, and calls of `TO` on them."""

    def __init__(self, code: bytes = b"", fork: Fork = Fork.PRAGUE, /, **accounts: Account) -> None:
        self.world, self.codes, self.environment = World(), Codes(), environment(fork)
        self.put(TO, Account(5, 1, code, {1: 11, 2: 22}))
        for name, account in accounts.items():
            self.put(NAMES[name], account)

    def put(self, address: bytes, account: Account) -> None:
        code_hash = self.codes.add(account.code) if account.code else ZERO32
        self.world.load(b"bnc", address * 3, ZERO32 * 3, word(account.balance) + word(account.nonce) + code_hash)
        for slot, value in account.storage.items():
            self.world.load(b"s", address, word(slot), word(value))

    def arguments(self, **changes: Any) -> tuple[World, Any, CallRequest, Overrides, dict[int, bytes], Codes]:
        overrides, hashes = changes.pop("overrides", {}), changes.pop("block_hashes", {})
        block = replace(self.environment, **changes.pop("block", {}))
        fields: dict[str, Any] = {"sender": SENDER, "to": TO, "gas_limit": 1_000_000}
        request = CallRequest(**(fields | changes))
        return self.world, block, request, overrides, hashes, self.codes

    def call(self, **changes: Any) -> CallResult:
        return simulate(*self.arguments(**changes))

    def word(self, **changes: Any) -> int:
        """The word that a successful call returns."""
        result = self.call(**changes)
        assert (result.outcome, len(result.output)) == (Ending.SUCCESS, 32)
        return int.from_bytes(result.output, "big")

    def estimate(self, **changes: Any) -> int:
        return estimate_gas(*self.arguments(**changes))

    def access_list(self, **changes: Any) -> tuple[tuple[AccessEntry, ...], CallResult]:
        return create_access_list(*self.arguments(**changes))


# ---- results ----


def test_a_call_returns_its_data_logs_gas_and_uses() -> None:
    code = asm(7, 0, "MSTORE", 9, 32, 0, "LOG1") + load(1) + store(2) + RETURN
    result = Chain(code).call()
    assert (result.outcome, result.output, result.halt_reason, result.created) == (Ending.SUCCESS, word(7), "", None)
    assert result.logs == (Log(TO, (word(9),), word(7)),)
    values = {use.location: (use.prev, use.next) for use in result.uses}
    assert values[Mark.STORAGE, TO, word(1)] == (word(11), word(11))
    assert values[Mark.STORAGE, TO, word(2)] == (word(22), word(1))
    assert (Mark.CODE, TO, ZERO32) in values
    assert [use.location for use in result.uses] == sorted(values)


def test_gas_is_exact_with_its_refund() -> None:
    """SSTORE of a cold slot from 11 to 0: 2,100 and 2,900, of which 4,800 are given back (EIP-2929, 3529)."""
    result = Chain(asm(0, 1, "SSTORE", "STOP")).call()
    spent = 21_000 + 3 + 3 + 2_900 + 2_100
    assert (result.gas_used, result.gas_refunded) == (spent - 4_800, 4_800)


@pytest.mark.parametrize("data", [b"", b"\x08\xc3\x79\xa0" + bytes(64), b"x" * 100])
def test_revert_data_is_exact(data: bytes) -> None:
    code = asm("CALLDATASIZE", 0, 0, "CALLDATACOPY", 1, 1, "SSTORE", "CALLDATASIZE", 0, "REVERT")
    result = Chain(code).call(data=data)
    assert (result.outcome, result.output, result.halt_reason, result.logs) == (Ending.REVERT, data, "", ())
    assert result.gas_used < 1_000_000
    slot = next(use for use in result.uses if use.mark == Mark.STORAGE)
    assert slot.prev == slot.next == word(11)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (asm("JUMPDEST", 0, "JUMP"), "out of gas"),
        (b"\xfe", "invalid 0xFE opcode"),
        (b"\x0c", "opcode not found"),
        (asm("POP"), "stack underflow"),
        (asm(9, "JUMP"), "invalid jump destination"),
        (asm(1, 0, 0, "RETURNDATACOPY"), "out of offset"),
    ],
)
def test_a_halt_says_why_and_takes_all_gas(code: bytes, reason: str) -> None:
    result = Chain(code).call()
    assert (result.outcome, result.halt_reason, result.output, result.gas_used) == (Ending.HALT, reason, b"", 1_000_000)
    assert result.is_out_of_gas == (reason == "out of gas")


def test_a_create_answers_the_address_and_the_deployed_code() -> None:
    deployed = asm(1, "POP")
    initcode = write(deployed) + asm(len(deployed), 0, "RETURN")
    result = Chain(sender=Account(0, 5)).call(to=None, data=initcode)
    assert (result.outcome, result.created, result.output) == (Ending.SUCCESS, NAMES["new"], deployed)
    failed = Chain(sender=Account(0, 5)).call(to=None, data=b"\xfe")
    assert (failed.outcome, failed.created) == (Ending.HALT, None)


def test_a_call_changes_nothing() -> None:
    chain = Chain(store(1) + create() + call(OTHER, 3) + answer(1, "SLOAD"), sender=Account(ETHER, 5))
    kept = len(chain.world)
    first = chain.call(value=9, max_fee=100, max_priority_fee=1)
    assert sum(use.prev != use.next for use in first.uses) >= 6
    assert chain.call(value=9, max_fee=100, max_priority_fee=1) == first
    assert len(chain.world) == kept
    for use in first.uses:
        assert chain.world.get(*use.location) == use.prev


# ---- what is not asked of the sender ----


def test_the_sender_may_be_anyone() -> None:
    """An address that does not exist, one with code (EIP-3607), one with the last nonce."""
    code = answer("ORIGIN")
    accounts = {"third": Account(0, 1, b"\0"), "other": Account(0, 2**64 - 1)}
    for name in ("sender", "third", "other", "to"):
        assert Chain(code, **accounts).word(sender=NAMES[name]) == int.from_bytes(NAMES[name], "big")


def test_without_a_fee_there_is_no_base_fee() -> None:
    assert Chain(answer("BASEFEE")).word() == 0
    assert Chain(answer("GASPRICE")).word() == 0
    rich = Chain(answer("BASEFEE"), sender=Account(ETHER))
    assert rich.word(max_fee=7) == 7
    assert Chain(answer("GASPRICE"), sender=Account(ETHER)).word(max_fee=100, max_priority_fee=2) == 9


def test_value_and_fees_must_be_owned() -> None:
    chain = Chain(asm("STOP"), sender=Account(1_000_000 * 7 + 5))
    assert chain.call(value=5, max_fee=7).outcome == Ending.SUCCESS
    for changes in ({"value": 6, "max_fee": 7}, {"value": 7_000_006}, {"max_fee": 6}, {"gas_limit": 20_999}):
        with pytest.raises(Verdict) as caught:
            chain.call(**changes)
        assert caught.value.rule == Rule.X0


def test_a_fee_is_paid_and_credited() -> None:
    result = Chain(asm("STOP"), sender=Account(ETHER)).call(max_fee=100, max_priority_fee=2)
    change = {use.addr: int.from_bytes(use.next, "big") - int.from_bytes(use.prev, "big") for use in result.uses
              if use.mark == Mark.BALANCE}  # fmt: skip
    assert change == {SENDER: -9 * 21_000, COINBASE: 2 * 21_000}


@pytest.mark.parametrize("fork", [Fork.PRAGUE, Fork.OSAKA])
def test_gas_may_exceed_a_blocks_and_a_transactions(fork: Fork) -> None:
    chain = Chain(answer("GASLIMIT"), fork)
    assert chain.word(gas_limit=500_000_000) == 30_000_000


def test_an_access_list_warms() -> None:
    chain = Chain(load(1) + asm("STOP"))
    listed = (AccessEntry(TO, (word(1),)),)
    assert chain.call(access_list=listed).gas_used - chain.call().gas_used == 2_400 + 1_900 - 2_000


def test_authorizations_count() -> None:
    chain = Chain(third=Account(0, 1, answer(7)))
    authority = NAMES["authority"]
    good, bad = sign_authorization(THIRD), sign_authorization(THIRD, nonce=1)
    assert chain.word(to=authority, authorizations=(good,)) == 7
    assert chain.call(to=authority, authorizations=(bad,)).output == b""


def test_block_overrides_and_hashes_come_with_the_environment() -> None:
    assert Chain(answer("NUMBER")).word(block={"number": 77}) == 77
    hashed = Chain(answer(NUMBER - 1, "BLOCKHASH"))
    assert hashed.word(block_hashes={NUMBER - 1: word(5)}) == 5
    with pytest.raises(Failure, match="hash of block 999"):
        hashed.call()


# ---- overrides ----


def slots(**fields: Any) -> dict[bytes, AccountOverride]:
    return {TO: AccountOverride(**fields)}


def test_each_field_is_overridden_for_one_call_only() -> None:
    balance = Chain(answer("SELFBALANCE"))
    assert (balance.word(overrides=slots(balance=77)), balance.word()) == (77, 5)
    code = Chain(answer(1))
    assert (code.word(overrides=slots(code=answer(2))), code.word()) == (2, 1)
    assert code.call(overrides=slots(code=b"")).output == b""
    made = Chain(asm(0, 0, 0, "CREATE", 0, "MSTORE") + RETURN)
    assert made.word() == int.from_bytes(NAMES["made"], "big")
    assert made.word(overrides=slots(nonce=2)) != made.word() == made.word(overrides=slots(nonce=1))
    assert keccak256(answer(2)) not in code.codes


def test_an_override_pays_for_the_value() -> None:
    chain = Chain(answer("CALLVALUE"))
    with pytest.raises(Verdict):
        chain.call(value=3)
    assert chain.word(value=3, overrides={SENDER: AccountOverride(balance=3)}) == 3


def test_whole_state_hides_every_other_slot_and_a_diff_none() -> None:
    both = Chain(asm(2, "SLOAD") + answer(1, "SLOAD", "ADD"))
    assert both.word() == 33
    assert both.word(overrides=slots(state={word(1): word(100)})) == 100
    assert both.word(overrides=slots(state_diff={word(1): word(100)})) == 122
    assert both.word(overrides=slots(state={})) == 0
    assert both.word(overrides=slots(state_diff={})) == 33
    assert both.word(overrides={OTHER: AccountOverride(state={})}) == 33
    with pytest.raises(ValueError, match="both"):
        both.call(overrides=slots(state={}, state_diff={}))


def test_overrides_hide_what_a_source_knows_and_do_not_reach_its_cache() -> None:
    chain = Chain()
    code_hash = keccak256(answer(1, "SLOAD"))
    known = {b"c" + TO + ZERO32: code_hash, b"s" + TO + word(1): word(8)}
    chain.world = World(known.get, {code_hash: answer(1, "SLOAD")}.get)
    assert chain.word(overrides=slots(state={})) == 0
    assert chain.word(overrides=slots(state_diff={word(1): word(9)})) == 9
    assert chain.word() == 8


def test_a_fill_sees_nothing_of_an_earlier_calls_overrides() -> None:
    chain = Chain(answer(1, "SLOAD"), sender=Account(ETHER))
    raw = b"\2" + rlp.encode([chain.environment.chain_id, 0, 1, 100, 100_000, TO, 0, b"", [], 0, 1, 1])
    chain.call(overrides=slots(state={}, code=store(3)))
    filled = fill_steps(chain.world, chain.environment, [raw], [SENDER], {}, chain.codes)
    marks, nexts = filled.marks, filled.nexts
    row = marks.index(b"s")
    assert (marks.count(b"s"), filled.slots[32 * row :][:32], nexts[32 * row :][:32]) == (1, word(1), word(11))


def test_a_call_that_cannot_start_leaves_no_override() -> None:
    chain = Chain(answer(1, "SLOAD"))
    with pytest.raises(Verdict):
        chain.call(gas_limit=0, overrides=slots(state={}))
    assert chain.word() == 11


# ---- estimates ----


def required(target: bytes, value: int = 0) -> bytes:
    """A call with all gas that reverts if it fails."""
    return unless(asm(0, 0, 0, 0, value, target, "GAS", "CALL"), asm(0, 0, "REVERT"))


ESTIMATED = {
    "a transfer": b"",
    "a write": store(3),
    "refunds": asm(0, 1, "SSTORE", 0, 2, "SSTORE"),
    "a call that keeps back a 64th": required(OTHER),
    "one with a stipend": required(OTHER, 1),
    "gas that is asked for": unless(asm(123_456, "GAS", "GT"), asm(0, 0, "REVERT")),
}


@pytest.mark.parametrize("name", ESTIMATED)
def test_an_estimate_is_exact(name: str) -> None:
    chain = Chain(ESTIMATED[name], other=Account(0, 1, store(1) + store(2) + asm("STOP")))
    gas = chain.estimate(gas_limit=30_000_000)
    assert chain.call(gas_limit=gas).outcome == Ending.SUCCESS
    if gas > 21_000:
        assert chain.call(gas_limit=gas - 1).outcome != Ending.SUCCESS
    else:
        with pytest.raises(Verdict):
            chain.call(gas_limit=gas - 1)


@given(st.integers(0, 2**24), st.integers(0, 2**24), st.integers(0, 2**24), st.integers(0, 2**24))
def test_the_search_finds_the_least_in_few_steps(used: int, refund: int, more: int, rest: int) -> None:
    """Also for the wallet, which searches with guards on top: wallet/execution.py."""
    least, tried = used + more, []
    enough = least + rest

    def succeeds(limit: int) -> bool:
        tried.append(limit)
        return limit >= least

    assert search_gas(succeeds, used, used + refund, enough) == least
    assert len(tried) <= 60


def test_an_estimate_below_the_gas_used_at_the_limit_is_refused() -> None:
    chain = Chain(store(3))
    enough = chain.estimate()
    assert chain.estimate(gas_limit=enough) == enough
    with pytest.raises(CallFailed, match="gas is not enough: out of gas") as caught:
        chain.estimate(gas_limit=enough - 1)
    assert caught.value.output == b""
    with pytest.raises(Verdict) as refused:
        chain.estimate(gas_limit=20_000)
    assert refused.value.rule == Rule.X0


def test_an_estimate_of_a_call_that_fails_carries_the_revert_data() -> None:
    with pytest.raises(CallFailed, match="reverted") as caught:
        Chain(write(b"why") + asm(3, 0, "REVERT")).estimate()
    assert caught.value.output == b"why"
    with pytest.raises(CallFailed, match="halted: invalid 0xFE opcode"):
        Chain(b"\xfe").estimate()


def test_an_estimate_is_bounded_by_what_the_sender_can_pay() -> None:
    chain = Chain(store(3), sender=Account(100 * 30_000 + 100))
    with pytest.raises(CallFailed, match="30000 gas is not enough"):
        chain.estimate(value=100, max_fee=100)
    enough = chain.estimate()
    assert chain.estimate(max_fee=100, overrides={SENDER: AccountOverride(balance=100 * enough)}) == enough
    with pytest.raises(Verdict, match="value exceeds"):
        chain.estimate(value=10**9, max_fee=100)


def test_an_estimate_of_osaka_stays_within_a_transactions_gas() -> None:
    needs_more = unless(asm(1 << 24, "GAS", "GT"), asm(0, 0, "REVERT"))
    assert Chain(needs_more, Fork.PRAGUE).estimate(gas_limit=30_000_000) > 1 << 24
    with pytest.raises(CallFailed):
        Chain(needs_more, Fork.OSAKA).estimate(gas_limit=30_000_000)


# ---- access lists ----


def test_an_access_list_that_never_settles_comes_with_its_own_result() -> None:
    """The call reads the slot that its gas names: each list changes the gas, and so the slot."""
    chain = Chain(asm("GAS", "SLOAD", "POP", "STOP"))
    listed, result = chain.access_list()
    assert sum(len(entry.slots) for entry in listed) == MAX_LISTINGS
    assert chain.call(access_list=listed) == result


def test_an_access_list_names_slots_and_cold_addresses() -> None:
    warm = (COINBASE, SENDER, NAMES["sha256"])
    code = load(1) + store(7) + call(OTHER) + b"".join(look("BALANCE", address) for address in warm)
    chain = Chain(code, sender=Account(0, 5), other=Account(0, 1, load(4)))
    listed, result = chain.access_list()
    assert result.outcome == Ending.SUCCESS
    assert {entry.address: set(entry.slots) for entry in listed} == {
        TO: {word(1), word(7)},
        OTHER: {word(4)},
    }
    assert chain.call(access_list=listed) == result
    assert chain.access_list(access_list=listed) == (listed, result)


def test_an_access_list_leaves_out_created_accounts_authorities_and_the_targets_delegate() -> None:
    chain = Chain(designation(OTHER), other=Account(0, 1, create() + call(THIRD)))
    for nonce in (0, 1):  # the second one does not count, and its authority is warm all the same
        listed, _ = chain.access_list(authorizations=(sign_authorization(OTHER, nonce=nonce),))
        assert listed == (AccessEntry(THIRD, ()),)
    overridden, _ = chain.access_list(overrides={TO: AccountOverride(code=call(OTHER))})
    assert [entry.address for entry in overridden] == [OTHER, THIRD]


def test_an_access_list_grows_until_it_is_stable() -> None:
    """The list costs gas, and with less gas left the contract reads another slot."""
    code = load(1) + unless(asm(76_000, "GAS", "LT", "ISZERO"), load(2))
    listed, result = Chain(code).access_list(gas_limit=100_000)
    assert access_list_of(Chain(code).call(gas_limit=100_000), {TO, SENDER}) == (AccessEntry(TO, (word(1),)),)
    assert access_list_of(result, {TO, SENDER}) == listed == (AccessEntry(TO, (word(1), word(2))),)


def test_a_call_that_fails_has_a_list_too() -> None:
    listed, result = Chain(load(1) + asm(0, 0, "REVERT")).access_list()
    assert (listed, result.outcome) == ((AccessEntry(TO, (word(1),)),), Ending.REVERT)
