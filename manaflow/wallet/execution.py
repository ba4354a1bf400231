"""Executing a transaction on a snapshot: which cells it uses, how much gas it needs, why it fails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from manaflow._native import Codes, World
from manaflow.errors import CallFailed, Failure, Verdict
from manaflow.evm.encoding import encode_envelope
from manaflow.evm.executor import Execution, Job
from manaflow.evm.native import RevmExecutor, fill_steps
from manaflow.evm.simulate import CallRequest, Ending, search_gas, simulate
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import Mark
from manaflow.moves.transactions import DeclaredTransaction
from manaflow.rules.execution import MAX_GAS_LIMIT
from manaflow.wallet.source import LazyCells, LazyCodes, Snapshot

_ERROR_SELECTOR: Final = bytes.fromhex("08c379a0")
"""Error(string), what Solidity's require reverts with."""
MAX_REASON_BYTES: Final = 1_024


def execute(snapshot: Snapshot, transaction: DeclaredTransaction, sender: bytes) -> Execution:
    """Run a transaction as the first of the next block. Its signature is not looked at.

    Raises Verdict(X0, X5) if it could stand in no block, Failure from the source.
    """
    _read_ahead(snapshot, transaction, sender)
    job = Job(snapshot.environment, transaction, sender, 0, 0, LazyCells(snapshot), LazyCodes(snapshot))
    return RevmExecutor().execute(job)


def depends_on_block(snapshot: Snapshot, transaction: DeclaredTransaction, sender: bytes, seen: Execution) -> bool:
    """True if the call does otherwise in a later block on the same cells: it asks for the time, the number, ...

    seen: what it does in the next one.
    """
    now = snapshot.environment
    later = replace(
        now, number=now.number + 1, timestamp=now.timestamp + 12, prevrandao=keccak256(now.prevrandao),
        coinbase=keccak256(now.coinbase)[:20], base_fee=now.base_fee - now.base_fee // 8,
    )  # fmt: skip
    job = Job(later, transaction, sender, 0, 0, LazyCells(snapshot), LazyCodes(snapshot))
    try:
        other = RevmExecutor().execute(job)
    except (Verdict, Failure):  # it asks for the hash of a block that is not there yet, say
        return True
    return (other.status, other.uses) != (seen.status, seen.uses)


def _read_ahead(snapshot: Snapshot, transaction: DeclaredTransaction, sender: bytes) -> None:
    """Bring every cell that the call reads into the snapshot in one run; RevmExecutor starts anew for each."""

    def value(key: bytes) -> bytes:
        return snapshot.cell((key[0], key[1:21], key[21:])).value

    unsigned = encode_envelope(replace(transaction, y_parity=0, r=1, s=1))
    world = World(value, snapshot.code)
    # A verdict comes again from the executor, in full; so does a block hash that is asked for and not here.
    with suppress(Verdict, Failure):
        fill_steps(world, snapshot.environment, [unsigned], [sender], {}, Codes())


def least_gas(snapshot: Snapshot, transaction: DeclaredTransaction, sender: bytes) -> int:
    """The least gas limit with which the transaction succeeds, guards included.

    Raises CallFailed if it fails with all the gas that it may have, Verdict(X0) if it could stand in no block.
    """

    def run(gas_limit: int) -> Execution:
        return execute(snapshot, replace(transaction, gas_limit=gas_limit), sender)

    enough = highest_gas(snapshot, transaction, sender)
    first = run(enough)
    if first.status != 1:
        raise CallFailed(why_it_fails(snapshot, replace(transaction, gas_limit=enough), sender))
    return search_gas(lambda limit: _succeeds(run, limit), first.gas_used, first.gas_used, enough)


def highest_gas(snapshot: Snapshot, transaction: DeclaredTransaction, sender: bytes) -> int:
    """The most gas that the sender can pay for and a block may give."""
    environment = snapshot.environment
    highest = min(environment.gas_limit, MAX_GAS_LIMIT)
    balance = snapshot.number_at(Mark.BALANCE, sender)
    if transaction.max_fee:
        highest = min(highest, max(balance - transaction.value, 0) // transaction.max_fee)
    return highest


def _succeeds(run: Callable[[int], Execution], gas_limit: int) -> bool:
    try:
        return run(gas_limit).status == 1
    except Verdict:  # only the gas is another: it is below what is due before the execution
        return False


def why_it_fails(snapshot: Snapshot, transaction: DeclaredTransaction, sender: bytes) -> str:
    """Why a transaction that ran ends with status 0, in one line."""
    request = CallRequest(
        sender,
        transaction.to or None,
        transaction.gas_limit,
        transaction.value,
        transaction.data,
        transaction.max_fee,
        transaction.max_priority_fee,
        transaction.access_list,
    )
    world = World(lambda key: snapshot.cell((key[0], key[1:21], key[21:])).value, snapshot.code)
    try:
        result = simulate(world, snapshot.environment, request, {}, {}, Codes())
    except (Verdict, Failure):  # it reads block hashes, or has guards that a plain call has not
        return "the call fails on the state as it is"
    if result.outcome == Ending.HALT:
        return f"the call halts: {result.halt_reason}"
    return f"the call reverts{_reason(result.output)}"


def _reason(output: bytes) -> str:
    """What a revert says: Error(string)'s text, or the first bytes. The contract is hostile: one printable line."""
    if output[:4] == _ERROR_SELECTOR and len(output) >= 68:
        length = int.from_bytes(output[36:68], "big")
        text = output[68 : 68 + min(length, MAX_REASON_BYTES)].decode("utf-8", "replace")
        return ": " + "".join(letter if letter.isprintable() else "?" for letter in text)
    return f" with 0x{output[:MAX_REASON_BYTES].hex()}" if output else ""
