"""The revm executor, and sealed blocks and fills executed natively over columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np

from manaflow import _native
from manaflow._native import Codes, Filled, World
from manaflow.errors import Failure, Undeclared
from manaflow.evm.calls import Call
from manaflow.evm.encoding import encode_envelope
from manaflow.evm.executor import Environment, Execution, Job, Log, SystemCall, Use
from manaflow.evm.validity import check_limits, check_x0
from manaflow.moves.columns import I64, U8, Leaves, Moves
from manaflow.moves.marks import Location, Mark

MAX_CODES: Final = 20_000
"""Codes that one RevmExecutor keeps analysed before it starts anew."""
FEW_LEAVES: Final = 8
"""Leaves that are executed on the thread that asks: to wake others costs more."""
_MISSING: Final = re.compile(r"transaction (\d+): the (?:code|hash) .* is not at hand")


class RevmExecutor:
    """Executor on revm. Threads may share one."""

    name = "revm"

    def __init__(self) -> None:
        self._codes = Codes()

    def execute(self, job: Job) -> Execution:
        """See Executor. `job.cells` may also be a mapping that answers more locations than it lists."""
        check_limits(job)
        check_x0(job)
        cells = dict(job.cells)
        while True:
            try:
                return self._execute(job, cells)
            except Undeclared as undeclared:
                location = (undeclared.mark[0], undeclared.addr, undeclared.slot)
                value = None if location in cells else job.cells.get(location)
                if value is None:
                    raise
                cells[location] = value

    def _execute(self, job: Job, cells: Mapping[Location, bytes]) -> Execution:
        execution = _native.execute(
            native_environment(job.environment),
            (job.call.to, job.call.data) if isinstance(job.call, SystemCall) else _unsigned_envelope(job),
            job.sender,
            job.gas_before,
            job.blob_gas_before,
            bytes(mark for mark, _, _ in cells),
            b"".join(addr for _, addr, _ in cells),
            b"".join(slot for _, _, slot in cells),
            b"".join(cells.values()),
            self._codes_of(cells, job.codes),
        )
        logs = (Log(address, tuple(topics), data) for address, topics, data in execution.logs)
        status, gas_used, codes = execution.status, execution.gas_used, execution.codes
        return Execution(status, gas_used, tuple(logs), uses_of(execution), codes, execution.code_bytes)

    def _codes_of(self, cells: Mapping[Location, bytes], codes: Mapping[bytes, bytes]) -> Codes:
        """The native cache, with the codes of these cells as far as `codes` has them."""
        if len(self._codes) > MAX_CODES:
            self._codes = Codes()
        known = self._codes
        for (mark, _, _), code_hash in cells.items():
            if mark == Mark.CODE and code_hash not in known:
                code = codes.get(code_hash)
                if code is not None:
                    known.add(code)
        return known


def execute_block(
    environment: Environment,
    moves: Moves,
    leaves: Leaves,
    calls: Sequence[Call | None],
    senders: U8,
    codes: Codes,
    order: I64 | None = None,
    threads: int = 0,
    logs: dict[int, bytes] | None = None,
) -> U8:
    """Execute each leaf of a block alone and compare it with what it declares (X0 to X5), in parallel, GIL released.

    `calls`: one per leaf (`calls_of`); `senders`: uint8[t, 20], zeros for system leaves; `codes` must hold the bytes of
    every code that a declared cell names and the execution runs; `order`: int64, which leaves to execute and in which
    order, None for all; `threads`: how many at most, 0 for all; `logs` is given the RLP of the logs of every leaf that
    was executed and breaks no rule, by place.
    Returns uint8[t]: 0, the number of the first rule that the leaf breaks, or NOT_EXECUTED where `order` does not name
    it. Raises Failure if a code is missing, Unsupported for what the rules cannot hold, ValueError if lengths do not
    fit.
    """
    rows: list[bytes] | None = None if logs is None else []
    if (len(leaves) if order is None else len(order)) <= FEW_LEAVES:
        threads = 1
    results = _native.execute_block(
        native_environment(environment),
        moves.mark,
        moves.addr,
        moves.slot,
        moves.prev,
        moves.next,
        moves.mask,
        leaves.move_offsets(),
        [call if isinstance(call, bytes) else b"" for call in calls],
        {i: call for i, call in enumerate(calls) if isinstance(call, tuple)},
        senders,
        leaves.status,
        leaves.gas_used,
        leaves.logs_hash,
        leaves.gas,
        leaves.blob_gas,
        codes,
        order,
        threads,
        rows,
    )
    if logs is not None and rows is not None:
        logs.update((t, row) for t, row in enumerate(rows) if row)
    return np.frombuffer(results, np.uint8)


def fill_steps(
    world: World,
    environment: Environment,
    steps: Sequence[Call],
    senders: Sequence[bytes],
    block_hashes: Mapping[int, bytes],
    codes: Codes,
    gas_before: int = 0,
    blob_gas_before: int = 0,
    skip_refused: bool = False,
) -> Filled:
    """Execute steps one after another on the latest values, each on what the ones before it left.

    `senders`: 20 bytes each. `block_hashes` answers BLOCKHASH. Codes that the steps make live are added to `codes`.
    With `skip_refused`, an invalid step changes nothing and is named in `Filled.refused`; `Filled.places` says which
    steps the rows are of, and `is_block_full` tells a step that may fit the next block. Without it, and on any other
    error, nothing has changed: raises Verdict(S1, X0) with the step's place, Failure if a code or a block hash is
    missing, Unsupported for what the rules cannot hold, and whatever the world's source raises.
    """
    native, hashes = native_environment(environment), dict(block_hashes)
    return world.fill(native, list(steps), b"".join(senders), hashes, codes, gas_before, blob_gas_before, skip_refused)


def is_block_full(why: str) -> bool:
    """True if a step was refused only for what the steps before it left of the block's gas or blob gas."""
    return why.endswith("that the block has left")


def place_of_missing(failure: Failure) -> int | None:
    """The place of the step for which fill_steps lacked a code or a block hash; None if that is not why it failed."""
    found = _MISSING.match(str(failure))
    return None if found is None else int(found[1])


@lru_cache(maxsize=64)
def native_environment(environment: Environment) -> _native.Environment:
    """The environment in native form."""
    blobs = environment.blobs
    return _native.Environment(
        environment.chain_id,
        environment.fork,
        environment.number,
        environment.timestamp,
        environment.coinbase,
        environment.gas_limit,
        environment.base_fee,
        environment.prevrandao,
        environment.excess_blob_gas,
        environment.blob_base_fee,
        blobs.maximum if blobs else 0,
        blobs.update_fraction if blobs else 0,
        environment.profile,
    )


def _unsigned_envelope(job: Job) -> bytes:
    """The call as an envelope under a signature that nobody looks at: the job names the sender."""
    assert not isinstance(job.call, SystemCall)
    return encode_envelope(replace(job.call, y_parity=0, r=1, s=1))


def uses_of(execution: _native.Execution | _native.Called) -> tuple[Use, ...]:
    """The uses of an execution, from their columns."""
    marks, addrs, slots, prevs, nexts = (
        execution.marks,
        execution.addrs,
        execution.slots,
        execution.prevs,
        execution.nexts,
    )
    return tuple(
        Use(
            mark,
            addrs[20 * i : 20 * i + 20],
            slots[32 * i : 32 * i + 32],
            prevs[32 * i : 32 * i + 32],
            nexts[32 * i : 32 * i + 32],
        )
        for i, mark in enumerate(marks)
    )
