"""Calls outside any block, on the latest values: eth_call, eth_estimateGas, eth_createAccessList, as geth answers them.

Nothing changes; a lazy world keeps what it asked its source for. Differences from a transaction: the sender may be any
address (no signature, nonce or EIP-3607 check), the call may use more gas than a block has or EIP-7825 allows, and with
a fee of zero BASEFEE answers zero. The sender must still own the value that it sends, and the fee if there is one.
Overriding the code or nonce of a precompile has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from manaflow._native import Codes, World
from manaflow.errors import CallFailed, Rule, Verdict
from manaflow.evm.executor import Environment, Log, Use
from manaflow.evm.native import native_environment, uses_of
from manaflow.moves.envelopes import recover_authority
from manaflow.moves.marks import ZERO32, Mark
from manaflow.moves.transactions import AccessEntry, Authorization
from manaflow.rules.config import Fork
from manaflow.rules.forks import precompiles

MAX_TRANSACTION_GAS: Final = 1 << 24
"""EIP-7825, from Osaka on."""
CALL_STIPEND: Final = 2_300
MAX_LISTINGS: Final = 16
"""How often create_access_list tries a longer list."""
_DELEGATION: Final = bytes.fromhex("ef0100")


class Ending(StrEnum):
    """How a call ended."""

    SUCCESS = "success"
    REVERT = "revert"
    """REVERT: `CallResult.output` is its data, and the rest of the gas is left."""
    HALT = "halt"
    """Out of gas, an invalid opcode, ...: `CallResult.halt_reason` says which; all gas is gone."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """What to run. Addresses are 20 bytes; ether in wei."""

    sender: bytes
    to: bytes | None
    """None creates a contract whose initcode is `data`."""
    gas_limit: int
    value: int = 0
    data: bytes = b""
    max_fee: int = 0
    """Per gas; for a gas price, set both fees to it. Zero: no fee."""
    max_priority_fee: int = 0
    access_list: tuple[AccessEntry, ...] = ()
    authorizations: tuple[Authorization, ...] = ()
    """EIP-7702; one that does not verify is skipped, as in a transaction."""


@dataclass(frozen=True, slots=True)
class AccountOverride:
    """What a call sees of one account instead of its values; None leaves a field as it is."""

    balance: int | None = None
    nonce: int | None = None
    code: bytes | None = None
    state: Mapping[bytes, bytes] | None = None
    """Values by slot, 32 bytes each; every other slot reads as zero."""
    state_diff: Mapping[bytes, bytes] | None = None
    """Values by slot; every other slot keeps its value. Not together with `state`."""


Overrides = Mapping[bytes, AccountOverride]
"""Overridden accounts by address."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a call did."""

    outcome: Ending
    gas_used: int
    """After refunds."""
    gas_refunded: int
    output: bytes
    """What was returned or reverted with; for a create the deployed code; empty for a halt."""
    halt_reason: str
    """In words; empty unless halted."""
    created: bytes | None
    """The address that a successful create made."""
    logs: tuple[Log, ...]
    uses: tuple[Use, ...]
    """Sorted by (mark, addr, slot), each location once."""

    @property
    def is_out_of_gas(self) -> bool:
        """True if more gas might have helped."""
        return self.halt_reason.startswith("out of gas")


def simulate(
    world: World,
    environment: Environment,
    request: CallRequest,
    overrides: Overrides,
    block_hashes: Mapping[int, bytes],
    codes: Codes,
) -> CallResult:
    """Run one call and change nothing.

    `environment` is the block that the call sees, with any block overrides in it; `block_hashes` answers BLOCKHASH.
    Raises Verdict(X0) if the call cannot start (gas below the intrinsic gas, value or fee above the balance, fees below
    the base fee), Failure if a code or a block hash is missing, Unsupported for what the rules cannot hold, whatever
    the world's source raises, ValueError for an override with both `state` and `state_diff`.
    """
    rows = [_override_row(address, account) for address, account in overrides.items()]
    called = world.call(native_environment(environment), _native_request(request), rows, dict(block_hashes), codes)
    return CallResult(
        Ending(called.outcome),
        called.gas_used,
        called.gas_refunded,
        called.output,
        called.halt_reason,
        called.created,
        tuple(Log(address, tuple(topics), data) for address, topics, data in called.logs),
        uses_of(called),
    )


def estimate_gas(
    world: World,
    environment: Environment,
    request: CallRequest,
    overrides: Overrides,
    block_hashes: Mapping[int, bytes],
    codes: Codes,
) -> int:
    """The least gas limit with which the call succeeds, by geth's search.

    `request.gas_limit` is the most to try, lowered to what the balance pays for and, from Osaka on, to EIP-7825's cap.
    Raises CallFailed, with the revert data in `output`, if the call fails with that; else as `simulate` does.
    """

    def run(gas_limit: int) -> CallResult:
        limited = replace(request, gas_limit=gas_limit)
        return simulate(world, environment, limited, overrides, block_hashes, codes)

    def succeeds(gas_limit: int) -> bool:
        try:
            return run(gas_limit).outcome == Ending.SUCCESS
        except Verdict as verdict:
            if verdict.rule != Rule.X0:  # only the gas is another: X0 says that it is below the intrinsic gas
                raise
            return False

    enough = _highest_gas(world, environment, request, overrides)
    result = run(enough)
    if result.outcome != Ending.SUCCESS:
        raise _failed(result, enough)
    return search_gas(succeeds, result.gas_used, result.gas_used + result.gas_refunded, enough)


def search_gas(succeeds: Callable[[int], bool], used: int, spent: int, enough: int) -> int:
    """The least gas limit with which a call succeeds, as geth searches: two guesses, then halving, upwards first.

    `enough` gas was enough; the call spent so much of it, and `used` is what was left of that after refunds.
    """
    too_little = used - 1
    guesses = [used, (spent + CALL_STIPEND) * 64 // 63]
    while too_little + 1 < enough:
        upwards = max(2 * too_little, too_little + 1)
        middle = guesses.pop(0) if guesses else min((too_little + enough) // 2, upwards)
        if not too_little < middle < enough:
            continue
        if succeeds(middle):
            enough = middle
        else:
            too_little = middle
    return enough


def create_access_list(
    world: World,
    environment: Environment,
    request: CallRequest,
    overrides: Overrides,
    block_hashes: Mapping[int, bytes],
    codes: Codes,
) -> tuple[tuple[AccessEntry, ...], CallResult]:
    """The access list (EIP-2930) of what the call uses, and the call's result under that list.

    A list changes the gas, and gas may change what is used, so it grows until it stays the same, at most MAX_LISTINGS
    times. Raises as `simulate` does; a call that fails has a list as well.
    """
    listed = request.access_list
    known = {request.sender, environment.coinbase, _delegate_of(request.to, world, overrides, codes)}
    known |= precompiles(environment.fork) | {recover_authority(one) or b"" for one in request.authorizations}

    def run() -> CallResult:
        return simulate(world, environment, replace(request, access_list=listed), overrides, block_hashes, codes)

    result = run()
    for _ in range(MAX_LISTINGS):
        longer = _joined(listed, access_list_of(result, known | {request.to or b""}))
        if longer == listed:
            break
        listed = longer
        result = run()
    return listed, result


def access_list_of(result: CallResult, warm: Collection[bytes]) -> tuple[AccessEntry, ...]:
    """The access list (EIP-2930) of what a call used: slots by address, addresses in ascending order.

    `warm` are addresses that cost nothing to touch; they, and accounts that the call created, are listed only for their
    slots.
    """
    slots: dict[bytes, list[bytes]] = {}
    for use in result.uses:
        if use.mark == Mark.STORAGE:
            slots.setdefault(use.addr, []).append(use.slot)
    changed = {use.location for use in result.uses if use.prev != use.next}
    used = {use.location: use.prev for use in result.uses}
    touched = {addr for mark, addr, _ in used if mark in (Mark.BALANCE, Mark.CODE, Mark.NONCE)}

    def is_created(addr: bytes) -> bool:
        code, nonce = (Mark.CODE, addr, ZERO32), (Mark.NONCE, addr, ZERO32)
        return nonce in changed and used[nonce] == used.get(code) == ZERO32

    created = {addr for addr in touched if is_created(addr)}
    addresses = sorted((touched - created).difference(warm) | slots.keys())
    return tuple(AccessEntry(address, tuple(slots.get(address, ()))) for address in addresses)


def _joined(first: tuple[AccessEntry, ...], second: tuple[AccessEntry, ...]) -> tuple[AccessEntry, ...]:
    """One list of both: first as it is, if second adds nothing to it."""
    slots: dict[bytes, dict[bytes, None]] = {}
    for entry in (*first, *second):
        slots.setdefault(entry.address, {}).update(dict.fromkeys(entry.slots))
    return tuple(AccessEntry(address, tuple(keys)) for address, keys in slots.items())


def _delegate_of(to: bytes | None, world: World, overrides: Overrides, codes: Codes) -> bytes:
    """What the call's target delegates to (EIP-7702), empty if nothing."""
    if to is None:
        return b""
    override = overrides.get(to)
    code = override.code if override else None
    if code is None:
        code = codes.get(world.get(Mark.CODE, to, ZERO32)) or b""
    return code[3:] if code[:3] == _DELEGATION and len(code) == 23 else b""


def _highest_gas(world: World, environment: Environment, request: CallRequest, overrides: Overrides) -> int:
    highest = request.gas_limit
    if environment.fork >= Fork.OSAKA:
        highest = min(highest, MAX_TRANSACTION_GAS)
    if request.max_fee == 0:
        return highest
    override = overrides.get(request.sender)
    balance = override.balance if override else None
    if balance is None:
        balance = int.from_bytes(world.get(Mark.BALANCE, request.sender, ZERO32), "big")
    if request.value > balance:
        raise Verdict(Rule.X0, "the value exceeds the sender's balance", expected=request.value, actual=balance)
    return min(highest, (balance - request.value) // request.max_fee)


def _failed(result: CallResult, gas_limit: int) -> CallFailed:
    if result.outcome == Ending.REVERT:
        return CallFailed("execution reverted", result.output)
    if result.is_out_of_gas:
        return CallFailed(f"{gas_limit} gas is not enough: {result.halt_reason}")
    return CallFailed(f"execution halted: {result.halt_reason}")


@dataclass(frozen=True, slots=True)
class _NativeRequest:
    """A CallRequest in the words that World.call takes."""

    sender: bytes
    to: bytes | None
    value: bytes
    data: bytes
    gas_limit: int
    max_fee: int
    max_priority_fee: int
    access_list: list[tuple[bytes, tuple[bytes, ...]]]
    authorizations: list[tuple[bytes, bytes, int, int, bytes, bytes]]


def _native_request(request: CallRequest) -> _NativeRequest:
    return _NativeRequest(
        request.sender,
        request.to,
        _word(request.value),
        request.data,
        request.gas_limit,
        request.max_fee,
        request.max_priority_fee,
        [(entry.address, entry.slots) for entry in request.access_list],
        [
            (_word(one.chain_id), one.address, one.nonce, one.y_parity, _word(one.r), _word(one.s))
            for one in request.authorizations
        ],
    )


def _override_row(
    address: bytes, account: AccountOverride
) -> tuple[bytes, bytes | None, int | None, bytes | None, list[tuple[bytes, bytes]], bool]:
    if account.state is not None and account.state_diff is not None:
        raise ValueError(f"account 0x{address.hex()} has both state and state_diff")
    slots = account.state if account.state is not None else account.state_diff or {}
    balance = None if account.balance is None else _word(account.balance)
    return address, balance, account.nonce, account.code, list(slots.items()), account.state is not None


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")
