"""Speeding up and cancelling: another transaction of the same nonce, and what the old one may still do."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from manaflow.errors import Failure
from manaflow.moves.declared import is_signed
from manaflow.moves.marks import ZERO32, Location, Mark, Mask
from manaflow.moves.transactions import DeclaredTransaction, EthereumTransaction, NamedMove
from manaflow.wallet.declare import Wish, fees
from manaflow.wallet.explain import data_lines, explain
from manaflow.wallet.intents import Intent, Policy, kind_of

BUMP_PERCENT: Final = 10
"""What a pool asks of a replacement, on both fees."""
NOWHERE: Final = (4).to_bytes(20, "big")
"""The identity precompile: a call of it without data or value does nothing."""
CANCELLING: Final = Policy(Intent.OPEN)
"""Nothing can be made of a call that does nothing; and were its cells signed, whoever holds the old one could keep the
new one from landing, by a wei to its sender in every block."""
_VALUES: Final = int(Mask.PREV | Mask.NEXT)
_PLACE: Final = int(Mask.SLOT | Mask.ADDR | Mask.MARK)
EITHER: Final = (
    "Either of the two lands, never both: both use up the same nonce. Until one of them is in a block, the old one may "
    "still be filled, by whoever has it; only then is it void."
)


def bumped(fee: int) -> int:
    """The least fee that replaces one."""
    return max(-(-fee * (100 + BUMP_PERCENT) // 100), fee + 1)


def speed_up(old: EthereumTransaction, base_fee: int, sender: bytes) -> Wish:
    """The same call on the same terms, for fees that replace the old one's, and at least what a new one would pay now.

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
        held=_held(declared, sender) if declared else (),
        is_fee_chosen=True,
    )


def _held(old: DeclaredTransaction, sender: bytes) -> tuple[tuple[Location, bytes], ...]:
    """What the old one's guards and pins demand of the cells of others."""
    own, pinned = (int(Mark.BALANCE), sender, ZERO32), policy_of(old, sender).pinned
    demanded = (move for move in old.moves if move.mask & Mask.GUARD or move.location in pinned - {own})
    return tuple((move.location, move.prev) for move in demanded if not move.mask & Mask.PREV)


def cancel(old: EthereumTransaction, base_fee: int) -> Wish:
    """A call that does nothing, in the old one's place; to be declared by CANCELLING."""
    priority_fee, max_fee = _fees(old, base_fee)
    return Wish(NOWHERE, nonce=old.nonce, max_fee=max_fee, priority_fee=priority_fee, is_fee_chosen=True)


def _fees(old: EthereumTransaction, base_fee: int) -> tuple[int, int]:
    """(priority fee, max fee)."""
    usual = fees(Wish(b""), base_fee, is_balance_fixed=False)
    priority_fee = max(bumped(old.max_priority_fee), usual[0])
    return priority_fee, max(bumped(old.max_fee), usual[1], priority_fee)


def policy_of(old: EthereumTransaction, sender: bytes) -> Policy:
    """The policy that a transaction was made by, as far as it shows: cells beyond its intent are pinned."""
    if not isinstance(old, DeclaredTransaction):
        return Policy(Intent.OPEN)
    signs_makers = any(not move.mask & Mask.INTX for move in old.moves)
    plain = [move for move in old.moves if not move.mask & Mask.GUARD and is_signed(move.mask)]
    is_exact = not old.is_open and not any(move.mask & (_VALUES | _PLACE) for move in plain)
    if is_exact:
        return Policy(Intent.EXACT, sign_makers=signs_makers)
    names_nonce = any(move.location == (Mark.NONCE, sender, ZERO32) for move in plain)
    is_wide = old.is_open and names_nonce
    intent = Intent.OPEN if old.is_open and not names_nonce else Intent.CONTESTED
    policy = Policy(intent, any_cells=is_wide, sign_makers=signs_makers)
    return replace(policy, pinned=frozenset(m.location for m in plain if _is_pinned(m, policy, sender, old.to)))


def _is_pinned(move: NamedMove, policy: Policy, sender: bytes, to: bytes) -> bool:
    """True if a signed move says more than its intent does."""
    usual = policy.mask_of(kind_of(move.location, sender, to), move.location)
    return not move.mask & _PLACE and bool(usual & ~move.mask & _VALUES)


def what_the_old_may_do(old: EthereumTransaction, sender: bytes) -> list[str]:
    """For people: one line on both, then the worst of the old one."""
    lines = [EITHER]
    if isinstance(old, DeclaredTransaction):
        last = f"until block {old.valid_until}" if old.valid_until else "for ever"
        lines.append(f"The old one is good {last}.")
    explanation = explain(old, sender)
    worst = [f"  - {line}" for line in explanation.as_json()["worst"]]
    return [*lines, f"If the old one lands: {explanation.call}", *data_lines(explanation.data), *worst]
