"""A job on which something is wrong, made as small as it stays wrong: fewer fields, fewer accounts, less code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

from manaflow.evm.executor import Job, SystemCall
from manaflow.evm.validity import floor_gas, intrinsic_gas
from manaflow.moves.transactions import EthereumTransaction
from manaflow.rules.config import Profile
from tests.evm.crafting import Account
from tests.evm.job_files import accounts_of, to_json, world_of

IsWrong = Callable[[Job], bool]


def shrink(job: Job, is_wrong: IsWrong) -> Job:
    """The smallest job that greedy simplification reaches. `is_wrong(job)` must hold, and holds for the result."""
    job = with_accounts(job, accounts_of(job))
    while True:
        smaller = next((simpler for simpler in simplifications(job) if is_wrong(simpler)), None)
        if smaller is None:
            return job
        job = smaller


def simplifications(job: Job) -> Iterator[Job]:
    """Jobs that are one step simpler, the largest steps first."""
    yield from _fewer_accounts(job)
    if not isinstance(job.call, SystemCall):
        yield from (replace(job, call=call) for call in _plainer(job, job.call))
    if job.environment.credits_coinbase:
        yield replace(job, environment=replace(job.environment, profile=Profile.MANAFLOW))
    yield from _less_code(job)


def with_accounts(job: Job, accounts: dict[bytes, Account]) -> Job:
    world = world_of(accounts)
    return replace(job, cells=world, codes=world.codes)


def _fewer_accounts(job: Job) -> Iterator[Job]:
    accounts = accounts_of(job)
    for address, account in accounts.items():
        if address != job.sender:
            yield with_accounts(job, {other: accounts[other] for other in accounts if other != address})
        for change in ({"storage": {}}, {"code": b"", "storage": {}}, {"balance": 0}):
            if address == job.sender and "balance" in change:
                continue
            if (simpler := replace(account, **change)) != account:
                yield with_accounts(job, accounts | {address: simpler})
        for slot in account.storage if len(account.storage) > 1 else ():
            rest = {other: value for other, value in account.storage.items() if other != slot}
            yield with_accounts(job, accounts | {address: replace(account, storage=rest)})


def _plainer(job: Job, call: EthereumTransaction) -> Iterator[EthereumTransaction]:
    """The transaction with one field at its simplest, one item fewer, or less gas that still is enough to be valid."""
    if call.type == 4:
        yield replace(call, type=2, authorizations=())
    if call.type == 3:
        yield replace(call, type=2, blob_hashes=(), max_fee_per_blob_gas=0)
    if call.type == 1 or (call.type == 0 and call.chain_id is not None):
        yield replace(call, type=2)
    plainer = (replace(call, value=0), replace(call, data=b""), replace(call, access_list=()))
    yield from (plain for plain in plainer if plain != call)
    if call.type >= 2 and call.max_priority_fee:
        yield replace(call, max_priority_fee=0)
    for i in range(len(call.authorizations) if len(call.authorizations) > 1 else 0):
        yield replace(call, authorizations=call.authorizations[:i] + call.authorizations[i + 1 :])
    for i in range(len(call.access_list)):
        yield replace(call, access_list=call.access_list[:i] + call.access_list[i + 1 :])
    for shorter in _cuts(call.data):
        yield replace(call, data=shorter)
    fork = job.environment.fork
    least = max(intrinsic_gas(call, fork), floor_gas(call, fork))
    for limit in (least, (call.gas_limit + least) // 2):
        if limit < call.gas_limit:
            yield replace(call, gas_limit=limit)


def _less_code(job: Job) -> Iterator[Job]:
    accounts = accounts_of(job)
    for address, account in accounts.items():
        for shorter in (*_cuts(account.code), *_skips(account.code)):
            yield with_accounts(job, accounts | {address: replace(account, code=shorter)})


def _cuts(data: bytes) -> Iterator[bytes]:
    """Data without one part, wherever it begins: halves first, then quarters, down to single bytes."""
    size = len(data)
    while size > 1:
        size = (size + 1) // 2
        for start in range(0, len(data), max(1, size // 4)):
            yield data[:start] + data[start + size :]


def _skips(code: bytes) -> Iterator[bytes]:
    """Code without a few whole instructions, as read from its start."""
    starts, at = [], 0
    while at < len(code):
        starts.append(at)
        at += 1 + max(0, code[at] - 0x5F) * (code[at] <= 0x7F)
    starts.append(len(code))
    for count in range(8, 0, -1):
        for first, last in zip(starts, starts[count:], strict=False):
            yield code[:first] + code[last:]


def finding(job: Job, is_wrong: IsWrong) -> str:
    """The job made small, as the JSON that tests/vectors/engines keeps."""
    return json.dumps(to_json(shrink(job, is_wrong)), indent=2)
