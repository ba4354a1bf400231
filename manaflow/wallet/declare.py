"""Declaring: a call is executed on a snapshot, and what it used becomes the moves that its signer signs or masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from manaflow.coordinator.declare import Misfit, fit, ordered, unsigned_mask
from manaflow.errors import CallFailed, Failure
from manaflow.evm.executor import Environment, Log, Use
from manaflow.evm.validity import MAX_WEI
from manaflow.moves.declared import is_signed, signed_form
from manaflow.moves.marks import ZERO32, Location, Mark, Mask, Move
from manaflow.moves.transactions import DECLARED_TYPE, AccessEntry, DeclaredTransaction, Flag, NamedMove
from manaflow.rules.forks import precompiles
from manaflow.rules.moves import named
from manaflow.wallet.execution import depends_on_block, execute, highest_gas, least_gas, why_it_fails
from manaflow.wallet.intents import Intent, Policy, kind_of
from manaflow.wallet.source import Snapshot
from manaflow.wallet.words import cell_name, shown_value

GAS_MARGIN_PERCENT: Final = 25
"""On top of the gas that the call needs now, where the state that it will run on is not fixed."""
DEFAULT_TIP: Final = 10**9
"""Wei per gas."""
DEFAULT_BLOCKS: Final = 100
"""For how many blocks a signature is good if its signer does not say: one that never ends is a standing offer."""


DEPENDS: Final = (
    "Warning: on the same cells this call does otherwise in another block (it asks for the time, the number or the "
    "like), so that fixing everything will hardly land: --intent contested leaves that open."
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a signer wants to call. None: the wallet chooses. Fees in wei per gas."""

    to: bytes
    """20 bytes, or none for a create."""
    value: int = 0
    data: bytes = b""
    access_list: tuple[AccessEntry, ...] = ()
    nonce: int | None = None
    gas_limit: int | None = None
    max_fee: int | None = None
    priority_fee: int | None = None
    valid_until: int | None = None
    """A block's number; 0: for ever."""
    may_fail: bool = False
    """Sign it although a filler may choose a state on which it fails, and takes its fee."""
    guards: tuple[Location, ...] = ()
    """Cells that must be as they are now, although the call may not use them."""
    held: tuple[tuple[Location, bytes], ...] = ()
    """What cells held when their signer first named them: a wish that is declared again asks no less."""
    is_fee_chosen: bool = False
    """The wallet chose max_fee, not its signer."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A transaction to sign, and what it did on the snapshot."""

    transaction: DeclaredTransaction
    """Unsigned: its y parity, r and s stand for nothing, its txid and signing hash are empty."""
    sender: bytes
    moves: tuple[NamedMove, ...]
    """As filled on the snapshot, guards included, masks as signed, in M5's order."""
    status: int
    gas_used: int
    logs: tuple[Log, ...]
    warning: str
    """What its signer should know of this state beyond the words about the signature; empty for nothing."""


def declare(snapshot: Snapshot, sender: bytes, wish: Wish, policy: Policy) -> Declaration:
    """Execute a wish on a snapshot and say its moves by the policy.

    Raises CallFailed if the call fails and may not, Verdict(X0, X5) if it could stand in no block, Failure if the
    source fails, a guard cannot be, a pinned cell is none of the call's, or a cell is not what it was (`Wish.held`).
    """
    _check_held(snapshot, wish)
    guards = {location: _guard(snapshot, location) for location in wish.guards}
    plain = _plain(snapshot, sender, wish, policy, signed_moves(tuple(guards.values())))
    plain = replace(plain, gas_limit=_gas_limit(snapshot, plain, sender, wish, policy))
    execution = execute(snapshot, plain, sender)
    if execution.status != 1 and not wish.may_fail:
        raise CallFailed(why_it_fails(snapshot, plain, sender))
    filled = _filled(snapshot, execution.uses)
    moves = _guarded(snapshot, filled, guards)
    missing = policy.pinned - {move.location for move in moves}
    if missing:
        raise Failure(f"the call does not use a cell that is to be pinned: {named(min(missing))}; guard it instead")
    masked = tuple(_masked(move, policy, sender, plain.to) for move in moves)
    transaction = replace(plain, moves=signed_moves(masked))
    _check(snapshot, transaction, filled, execution.status)
    is_fixed = policy.intent == Intent.EXACT
    warning = DEPENDS if is_fixed and depends_on_block(snapshot, plain, sender, execution) else ""
    return Declaration(transaction, sender, masked, execution.status, execution.gas_used, execution.logs, warning)


def signed_moves(moves: Sequence[NamedMove]) -> tuple[NamedMove, ...]:
    """The forms that a signer signs of filled moves (S2): masked fields zero, ascending, unsigned ones left out."""
    forms = (_form(move) for move in moves if is_signed(move.mask))
    return tuple(sorted(forms, key=lambda form: form.sort_key))


def _form(move: NamedMove) -> NamedMove:
    sealed = Move(move.mask, move.mark, 0, move.addr, move.slot, move.prev, move.next)
    return signed_form(sealed, move.intx)


def _plain(
    snapshot: Snapshot, sender: bytes, wish: Wish, policy: Policy, guards: tuple[NamedMove, ...]
) -> DeclaredTransaction:
    """Everything but the gas limit and the moves; the guards count already, since each costs gas."""
    environment = snapshot.environment
    priority_fee, max_fee = fees(wish, environment.base_fee, fixes_balance(policy, sender, wish.to))
    nonce = snapshot.number_at(Mark.NONCE, sender) if wish.nonce is None else wish.nonce
    last = environment.number + DEFAULT_BLOCKS - 1 if wish.valid_until is None else wish.valid_until
    flags = policy.flags | (Flag(0) if wish.may_fail else Flag.MUST_SUCCEED)
    return DeclaredTransaction(
        type=DECLARED_TYPE, chain_id=environment.chain_id, nonce=nonce, max_priority_fee=priority_fee, max_fee=max_fee,
        gas_limit=0, to=wish.to, value=wish.value, data=wish.data, access_list=wish.access_list, max_fee_per_blob_gas=0,
        blob_hashes=(), authorizations=(), y_parity=0, r=1, s=1, signing_hash=b"", txid=b"", valid_until=last,
        flags=int(flags), moves=guards,
    )  # fmt: skip


def fixes_balance(policy: Policy, sender: bytes, to: bytes) -> bool:
    """True if what the sender's balance will be is signed."""
    location = (int(Mark.BALANCE), sender, ZERO32)
    return not policy.mask_of(kind_of(location, sender, to), location) & Mask.NEXT


def fees(wish: Wish, base_fee: int, is_balance_fixed: bool) -> tuple[int, int]:
    """(priority fee, max fee), in wei per gas.

    Where the balance afterwards is signed both are the same, so that the base fee of the block changes nothing in it.
    """
    tip = DEFAULT_TIP if wish.priority_fee is None else wish.priority_fee
    if is_balance_fixed:
        enough = base_fee * 5 // 4 + tip  # two full blocks raise the base fee by a quarter
        max_fee = enough if wish.max_fee is None else wish.max_fee
        return max_fee, max_fee
    max_fee = 2 * base_fee + tip if wish.max_fee is None else wish.max_fee
    return min(tip, max_fee), max_fee


def _gas_limit(snapshot: Snapshot, plain: DeclaredTransaction, sender: bytes, wish: Wish, policy: Policy) -> int:
    if wish.gas_limit is not None:
        return wish.gas_limit
    highest = highest_gas(snapshot, plain, sender)
    if wish.may_fail:
        return highest
    _check_funds(snapshot.environment, plain, highest)
    least = least_gas(snapshot, plain, sender)
    margin = 0 if policy.intent == Intent.EXACT else GAS_MARGIN_PERCENT
    return min(least * (100 + margin) // 100, highest)


def _check_funds(environment: Environment, plain: DeclaredTransaction, highest: int) -> None:
    """In words of money, not of gas."""
    if plain.max_fee < environment.base_fee:
        raise Failure(f"the max fee {plain.max_fee} is below the base fee {environment.base_fee}, in wei per gas")
    if plain.max_fee * environment.gas_limit > MAX_WEI:
        raise Failure(f"a max fee of {plain.max_fee} wei per gas is more wei than there are")
    if highest < 21_000:
        raise CallFailed(f"the balance does not pay for {plain.value} wei and the fee of any transaction")


def _check_held(snapshot: Snapshot, wish: Wish) -> None:
    for location, value in wish.held:
        now = snapshot.cell(location).value
        if now != value:
            raise Failure(
                f"{cell_name(location)} was to be {shown_value(location, value)}, and is {shown_value(location, now)} "
                "by now: it is not signed again on that"
            )


def _guard(snapshot: Snapshot, location: Location) -> NamedMove:
    mark, address, slot = location
    forbidden = precompiles(snapshot.environment.fork)
    is_possible = mark == Mark.STORAGE or (mark in (Mark.BALANCE, Mark.CODE, Mark.NONCE) and slot == ZERO32)
    if not is_possible or (mark in (Mark.CODE, Mark.NONCE) and address in forbidden):
        raise Failure(f"no cell that a guard could be on: {named(location)}")
    cell = snapshot.cell(location)
    mask = int(Mask.REFERENCE | Mask.GUARD | Mask.INTX)
    return NamedMove(mask, mark, ZERO32, address, slot, cell.value, cell.value)


def _filled(snapshot: Snapshot, uses: Sequence[Use]) -> list[NamedMove]:
    """The moves of an execution as a filler that is told nothing has them, in M5's order."""
    return ordered([
        NamedMove(
            unsigned_mask(use.prev == use.next), use.mark, snapshot.cell(use.location).intx,
            use.addr, use.slot, use.prev, use.next,
        )
        for use in uses
    ])  # fmt: skip


def _guarded(snapshot: Snapshot, filled: Sequence[NamedMove], guards: dict[Location, NamedMove]) -> list[NamedMove]:
    """The moves with nothing masked, and with the guards, in M5's order."""
    extra, moves = dict(guards), []
    for move in filled:
        is_guarded = extra.pop(move.location, None) is not None
        if is_guarded and not move.is_reference:
            raise Failure(f"the call itself changes a guarded cell, so pin it instead: {named(move.location)}")
        moves.append(replace(move, mask=(move.mask & Mask.REFERENCE) | (Mask.GUARD if is_guarded else 0)))
    for guard in extra.values():
        intx = snapshot.cell(guard.location).intx
        moves.append(replace(guard, mask=int(Mask.REFERENCE | Mask.GUARD), intx=intx))
    return ordered(moves)


def _masked(move: NamedMove, policy: Policy, sender: bytes, to: bytes) -> NamedMove:
    """The move with the mask that the policy gives it; a guard's values are always signed."""
    pinned = replace(policy, pinned=policy.pinned | {move.location}) if move.mask & Mask.GUARD else policy
    return replace(move, mask=move.mask | pinned.mask_of(kind_of(move.location, sender, to), move.location))


def _check(snapshot: Snapshot, transaction: DeclaredTransaction, filled: Sequence[NamedMove], status: int) -> None:
    """What is about to be signed fits the state that it was made on. Raises Failure: that would be a fault of ours."""

    def cell_at(location: Location) -> tuple[bytes, bytes]:
        cell = snapshot.cell(location)
        return cell.intx, cell.value

    found = fit(transaction, filled, status, cell_at)
    if isinstance(found, Misfit):
        raise Failure(f"the declaration does not fit the state that it was made on: {found.detail}")
