"""X0, one test per condition, both sides of each bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from manaflow.errors import Failure, Rule, Undeclared, Verdict
from manaflow.evm.environment import SYSTEM_ADDRESS, SYSTEM_CONTRACTS
from manaflow.evm.executor import Job, SystemCall
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.evm.validity import check_x0, floor_gas, intrinsic_gas, maximum_cost
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import ZERO32, Mark
from manaflow.moves.transactions import GAS_PER_BLOB, AccessEntry
from manaflow.rules.config import PRAGUE_BLOBS, Fork
from tests.evm.crafting import (
    ETHER,
    OTHER,
    SENDER,
    Account,
    designation,
    environment,
    sign_authorization,
    transaction,
    wide_cells,
    word,
)

BLOB = b"\x01" + bytes(31)
AUTHORIZED = (sign_authorization(),)


def job(
    fork: Fork = Fork.PRAGUE,
    *,
    sender: Account | None = None,
    gas_before: int = 0,
    blob_gas_before: int = 0,
    settings: dict[str, Any] | None = None,
    **changes: Any,
) -> Job:
    account = sender or Account(100 * ETHER, 5)
    codes = {keccak256(account.code): account.code} if account.code else {}
    cells = wide_cells({SENDER: account})
    settings = {"blobs": PRAGUE_BLOBS if fork >= Fork.PRAGUE else environment(fork).blobs} | (settings or {})
    block = environment(fork, **settings)
    return Job(block, transaction(**changes), SENDER, gas_before, blob_gas_before, cells, codes)


def blob_job(fork: Fork = Fork.PRAGUE, count: int = 1, **changes: Any) -> Job:
    fields: dict[str, Any] = {"type": 3, "blob_hashes": (BLOB,) * count, "max_fee_per_blob_gas": 1}
    return job(fork, **(fields | changes))


def refused(job: Job, what: str) -> Verdict:
    with pytest.raises(Verdict) as raised:
        check_x0(job)
    assert raised.value.rule == Rule.X0
    assert raised.value.what == what
    return raised.value


def test_a_plain_transaction_is_valid() -> None:
    check_x0(job())


def test_a_system_call_is_valid_by_rule() -> None:
    call = SystemCall(SystemKind.HISTORY, SYSTEM_CONTRACTS[SystemKind.HISTORY], bytes(32))
    check_x0(Job(environment(), call, SYSTEM_ADDRESS, 0, 0, {}, {}))


@pytest.mark.parametrize(
    ("kind", "last_without", "first_with", "fields"),
    [
        (3, Fork.SHANGHAI, Fork.CANCUN, {"blob_hashes": (BLOB,), "max_fee_per_blob_gas": 1}),
        (4, Fork.CANCUN, Fork.PRAGUE, {"authorizations": AUTHORIZED}),
    ],
)
def test_types_begin_with_their_fork(kind: int, last_without: Fork, first_with: Fork, fields: dict[str, Any]) -> None:
    check_x0(job(first_with, type=kind, **fields))
    refused(job(last_without, type=kind, **fields), "type")


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_older_types_are_everywhere(kind: int) -> None:
    for fork in Fork:
        check_x0(job(fork, type=kind))


def test_an_unknown_type() -> None:
    assert refused(job(type=5), "type").actual == 5


@pytest.mark.parametrize("kind", [3, 4])
def test_types_3_and_4_do_not_create(kind: int) -> None:
    fields = {"blob_hashes": (BLOB,), "authorizations": AUTHORIZED, "max_fee_per_blob_gas": 1}
    refused(job(type=kind, to=b"", **fields), f"recipient of a type {kind} transaction")


def test_chain_id() -> None:
    refused(job(chain_id=1), "chain id")
    check_x0(job(type=0, chain_id=None))


def test_max_fee_covers_the_base_fee() -> None:
    check_x0(job(max_fee=7))
    refused(job(max_fee=6), "max fee")


def test_fees_stay_within_128_bits() -> None:
    rich, limit = Account(2**256 - 1, 5), (2**128 - 1) // 100_000
    check_x0(job(sender=rich, gas_limit=100_000, max_fee=limit))
    refused(job(sender=rich, gas_limit=100_000, max_fee=limit + 1), "gas limit x max fee")
    check_x0(blob_job(sender=rich, max_fee_per_blob_gas=2**128 - 1))
    refused(blob_job(sender=rich, max_fee_per_blob_gas=2**128), "max fee per blob gas")


def test_priority_fee_within_max_fee() -> None:
    check_x0(job(max_fee=50, max_priority_fee=50))
    refused(job(max_fee=50, max_priority_fee=51), "max priority fee")


@pytest.mark.parametrize(
    ("gas", "fork", "fields"),
    [
        (21_000, Fork.PARIS, {}),
        (21_000 + 4 + 16, Fork.PARIS, {"data": b"\0\1"}),
        (21_000 + 2_400 * 2 + 1_900 * 3, Fork.PARIS,
         {"access_list": (AccessEntry(OTHER, (word(1), word(1), word(2))), AccessEntry(OTHER, ()))}),
        (53_000 + 33 * 4, Fork.PARIS, {"to": b"", "data": bytes(33)}),
        (53_000 + 33 * 4 + 2 * 2, Fork.SHANGHAI, {"to": b"", "data": bytes(33)}),
        (21_000 + 25_000 * 2, Fork.PRAGUE, {"authorizations": AUTHORIZED * 2}),
        (21_000 + 10 * (1 + 4), Fork.PRAGUE, {"data": b"\0\1"}),
        (21_000 + 4 * (1 + 4), Fork.CANCUN, {"data": b"\0\1"}),
        (53_000 + 400 * 16 + 13 * 2, Fork.PRAGUE, {"to": b"", "data": b"\1" * 400}),
        (21_000 + 10 * 4 * 5_000, Fork.PRAGUE, {"to": b"", "data": b"\1" * 5_000}),
    ],
)  # fmt: skip
def test_gas_that_is_due_in_any_case(gas: int, fork: Fork, fields: dict[str, Any]) -> None:
    call = transaction(**fields)
    assert max(intrinsic_gas(call, fork), floor_gas(call, fork)) == gas
    check_x0(job(fork, gas_limit=gas, **fields))
    refused(job(fork, gas_limit=gas - 1, **fields), "gas limit")


def test_initcode_size() -> None:
    fields: dict[str, Any] = {"to": b"", "gas_limit": 3_000_000}
    check_x0(job(data=bytes(49_152), **fields))
    refused(job(data=bytes(49_153), **fields), "bytes of initcode")
    check_x0(job(Fork.PARIS, data=bytes(49_153), **fields))
    check_x0(job(data=bytes(49_153), gas_limit=3_000_000))


def test_gas_limit_within_what_the_block_has_left() -> None:
    check_x0(job(gas_limit=100_000, gas_before=29_900_000))
    refused(job(gas_limit=100_000, gas_before=29_900_001), "gas limit")
    refused(job(gas_limit=21_000, gas_before=2**64), "gas limit")


def test_gas_cap_from_osaka() -> None:
    check_x0(job(Fork.OSAKA, gas_limit=2**24))
    refused(job(Fork.OSAKA, gas_limit=2**24 + 1), "gas limit")
    check_x0(job(Fork.PRAGUE, gas_limit=2**24 + 1))


def test_blobs_at_least_one() -> None:
    check_x0(blob_job(count=1))
    refused(blob_job(count=0), "blobs")


def test_blobs_a_transaction_from_osaka() -> None:
    check_x0(blob_job(Fork.OSAKA, 6))
    refused(blob_job(Fork.OSAKA, 7), "blobs")


@pytest.mark.parametrize(("fork", "most"), [(Fork.CANCUN, 6), (Fork.PRAGUE, 9)])
def test_blob_gas_within_what_the_block_has_left(fork: Fork, most: int) -> None:
    check_x0(blob_job(fork, most))
    refused(blob_job(fork, most + 1), "blob gas")
    check_x0(blob_job(fork, 2, blob_gas_before=(most - 2) * GAS_PER_BLOB))
    refused(blob_job(fork, 2, blob_gas_before=(most - 2) * GAS_PER_BLOB + 1), "blob gas")


def test_version_of_every_blob_hash() -> None:
    for version in (0, 2):
        refused(blob_job(blob_hashes=(BLOB, bytes((version,)) + bytes(31))), "version of a blob hash")


def test_blob_fee_covers_the_blob_base_fee() -> None:
    check_x0(blob_job(settings={"blob_base_fee": 10}, max_fee_per_blob_gas=10))
    refused(blob_job(settings={"blob_base_fee": 10}, max_fee_per_blob_gas=9), "max fee per blob gas")


def test_authorizations_at_least_one() -> None:
    check_x0(job(authorizations=AUTHORIZED))
    refused(job(type=4), "authorizations")


def test_nonce_is_the_cell() -> None:
    refused(job(nonce=4), "nonce")
    refused(job(nonce=6), "nonce")


def test_nonce_below_its_bound() -> None:
    last = 2**64 - 1
    check_x0(job(sender=Account(ETHER, last - 1), nonce=last - 1))
    refused(job(sender=Account(ETHER, last), nonce=last), "nonce")


@pytest.mark.parametrize(
    "fields",
    [
        {"value": 77},
        {"value": 77, "type": 3, "blob_hashes": (BLOB, BLOB), "max_fee_per_blob_gas": 3},
    ],
)
def test_balance_covers_every_cap(fields: dict[str, Any]) -> None:
    blobs = len(fields.get("blob_hashes", ())) * GAS_PER_BLOB * 3
    cost = 500_000 * 100 + 77 + blobs
    assert maximum_cost(transaction(**fields)) == cost
    check_x0(job(sender=Account(cost, 5), **fields))
    refused(job(sender=Account(cost - 1, 5), **fields), "balance of the sender")


def test_a_cost_beyond_256_bits() -> None:
    rich = Account(2**256 - 1, 5)
    refused(job(sender=rich, value=2**256 - 1), "balance of the sender")


def test_sender_without_code() -> None:
    refused(job(sender=Account(ETHER, 5, b"\0")), "code of the sender")
    refused(job(sender=Account(ETHER, 5, designation(OTHER) + b"\0")), "code of the sender")
    refused(job(sender=Account(ETHER, 5, designation(OTHER)[:-1])), "code of the sender")
    refused(job(sender=Account(ETHER, 5, b"\xef\x01\x01" + OTHER)), "code of the sender")


def test_a_delegated_sender_from_prague() -> None:
    delegated = Account(ETHER, 5, designation(OTHER))
    check_x0(job(Fork.PRAGUE, sender=delegated))
    refused(job(Fork.CANCUN, sender=delegated), "code of the sender")


def test_a_missing_code_is_a_failure() -> None:
    with pytest.raises(Failure, match="missing"):
        check_x0(replace(job(sender=Account(ETHER, 5, designation(OTHER))), codes={}))


@pytest.mark.parametrize("mark", [Mark.NONCE, Mark.BALANCE, Mark.CODE])
def test_each_cell_of_the_sender_must_be_declared(mark: Mark) -> None:
    valid = job()
    cells = {location: value for location, value in valid.cells.items() if location != (mark, SENDER, ZERO32)}
    with pytest.raises(Undeclared) as raised:
        check_x0(replace(valid, cells=cells))
    assert (raised.value.mark, raised.value.addr, raised.value.slot) == (bytes((mark,)), SENDER, ZERO32)


def test_the_executor_asks_it() -> None:
    with pytest.raises(Verdict) as raised:
        PyEvmExecutor().execute(job(nonce=4))
    assert raised.value.rule == Rule.X0
