"""Speeding up and cancelling: another transaction of the same nonce, and what the old one may still do."""

from __future__ import annotations

from typing import Final

from manaflow.errors import Failure
from manaflow.moves.declared import is_signed
from manaflow.moves.marks import Mask
from manaflow.moves.transactions import DeclaredTransaction, EthereumTransaction
from manaflow.wallet.declare import Wish, fees
from manaflow.wallet.explain import explain
from manaflow.wallet.intents import Intent, Policy

BUMP_PERCENT: Final = 10
"""What a pool asks of a replacement, on both fees."""
NOWHERE: Final = (4).to_bytes(20, "big")
"""The identity precompile: a call of it without data or value does nothing."""
EITHER: Final = (
    "Either of the two lands, never both: both use up the same nonce. Until one of them is in a block, the old one may "
    "still be filled, by whoever has it; only then is it void."
)


def bumped(fee: int) -> int:
    """The least fee that replaces one."""
    return max(-(-fee * (100 + BUMP_PERCENT) // 100), fee + 1)


def speed_up(old: EthereumTransaction, base_fee: int) -> Wish:
    """The same call for fees that replace the old one's, and at least what a new one would pay now.

    base_fee: of the next block. Raises Failure for what a declared transaction cannot say.
    """
    if old.blob_hashes or old.authorizations:
        raise Failure("a transaction with blobs or authorizations cannot be declared anew")
    priority_fee, max_fee = _fees(old, base_fee)
    declared = old if isinstance(old, DeclaredTransaction) else None
    return Wish(
        to=old.to,
        value=old.value,
        data=old.data,
        access_list=old.access_list,
        nonce=old.nonce,
        max_fee=max_fee,
        priority_fee=priority_fee,
        may_fail=declared is None or not declared.must_succeed,
        guards=tuple(move.location for move in declared.moves if move.mask & Mask.GUARD) if declared else (),
    )


def cancel(old: EthereumTransaction, base_fee: int) -> Wish:
    """A call that does nothing, in the old one's place."""
    priority_fee, max_fee = _fees(old, base_fee)
    return Wish(NOWHERE, nonce=old.nonce, max_fee=max_fee, priority_fee=priority_fee)


def _fees(old: EthereumTransaction, base_fee: int) -> tuple[int, int]:
    """(priority fee, max fee)."""
    usual = fees(Wish(b""), base_fee, is_balance_fixed=False)
    priority_fee = max(bumped(old.max_priority_fee), usual[0])
    return priority_fee, max(bumped(old.max_fee), usual[1], priority_fee)


def policy_of(old: EthereumTransaction) -> Policy:
    """The policy that a transaction was made by, as far as it shows."""
    if not isinstance(old, DeclaredTransaction):
        return Policy(Intent.OPEN)
    signs_makers = any(not move.mask & Mask.INTX for move in old.moves)
    values = Mask.PREV | Mask.NEXT | Mask.SLOT | Mask.ADDR | Mask.MARK
    plain = [move for move in old.moves if not move.mask & Mask.GUARD and is_signed(move.mask)]
    if old.is_open and not plain:
        return Policy(Intent.OPEN, sign_makers=signs_makers)
    is_exact = not old.is_open and not any(move.mask & values for move in plain)
    intent = Intent.EXACT if is_exact else Intent.CONTESTED
    return Policy(intent, any_cells=old.is_open, sign_makers=signs_makers)


def what_the_old_may_do(old: EthereumTransaction, sender: bytes) -> list[str]:
    """For people: one line on both, then the worst of the old one."""
    lines = [EITHER]
    if isinstance(old, DeclaredTransaction):
        last = f"until block {old.valid_until}" if old.valid_until else "for ever"
        lines.append(f"The old one is good {last}.")
    explanation = explain(old, sender).as_json()
    return [*lines, f"If the old one lands: {explanation['call']}", *(f"  - {line}" for line in explanation["worst"])]
