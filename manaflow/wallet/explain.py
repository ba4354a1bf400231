"""What a signature fixes, what it leaves open, and the worst that a filler can make of it, in words.

Nothing here asks a node: the words are about the signature alone, so that they hold whoever made the transaction. Each
claim of `fixed` and `worst` is an object that tests hold against fills (claims.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark, Mask
from manaflow.moves.transactions import DeclaredTransaction, EthereumTransaction, NamedMove
from manaflow.wallet.claims import (
    Becomes,
    Claim,
    FeeAtMost,
    MadeBy,
    PriceIs,
    Requires,
    SpendsAtMost,
    Succeeds,
    TouchesOnly,
    Until,
)
from manaflow.wallet.words import amount, cell_name

FILLERS_POWER: Final = (
    "Whoever fills in what you leave open has exactly one power: to choose which state the call runs on. "
    "Given the state, there is only one way to fill it."
)
"""SPEC 4: masking grants exactly one power."""
NOTHING_OPEN: Final = "Nothing is left for a filler to choose."
PROTECTION: Final = (
    "For everything else, tokens too, the worst is whatever the call allows on the state that is worst for you: "
    "what protects you there is in the call itself, such as a minimum output in its calldata, and what you guard."
)
PRODUCER: Final = (
    "A block's timestamp, randomness and coinbase are its producer's, and a call that reads them may do otherwise."
)
PRODUCER_EXACT: Final = (
    "A block's timestamp, randomness and coinbase are its producer's; where they change a cell, it does not run."
)
MAKERS: Final = "Who made the cells is not signed: where a value has gone and come back, it counts as the same."
MAY_FAIL: Final = "It may stand in a block although its call fails: then the fee is gone and nothing else happens."
HAS_CODE: Final = (
    "Your account has code (EIP-7702): a call that reaches it may spend whatever that code allows, beyond the value."
)
STANDING: Final = "It is good for ever: until its nonce is used it may be filled, however old it is."
MAX_SHOWN_DATA: Final = 4 + 64 * 32
"""Bytes of a call's data that people are shown."""
_LOCATION: Final = Mask.MARK | Mask.ADDR | Mask.SLOT
_VALUES: Final = Mask.PREV | Mask.NEXT


@dataclass(frozen=True, slots=True)
class Explanation:
    """What to read before signing."""

    sender: bytes
    call: str
    data: bytes
    """Of the call: it says to whom a token goes, and how much of it."""
    fixed: tuple[Claim, ...]
    open: tuple[str, ...]
    worst: tuple[Claim, ...]
    notes: tuple[str, ...]

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Everything that holds of every valid fill."""
        return *self.fixed, *self.worst

    def lines(self) -> list[str]:
        """For people."""
        parts: list[tuple[str, list[str]]] = [
            ("Fixed by your signature:", self._said(self.fixed)),
            ("Left open:", self._said(self.open) or ["nothing"]),
            ("At worst:", self._said(self.worst)),
        ]
        listed = [line for title, entries in parts for line in (title, *(f"  - {entry}" for entry in entries))]
        return [self.call, *data_lines(self.data), *listed, *self.notes]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "call": self.call,
            "data": "0x" + self.data.hex(),
            "fixed": self._said(self.fixed),
            "open": self._said(self.open),
            "worst": self._said(self.worst),
            "notes": list(self.notes),
        }

    def _said(self, parts: Iterable[Claim | str]) -> list[str]:
        """In words, with the signer's own cells called so."""
        return [re.sub(rf"\bthe (\w+) of 0x{self.sender.hex()}", r"your \1", str(part)) for part in parts]


def explain(transaction: EthereumTransaction, sender: bytes) -> Explanation:
    """Explain a transaction, signed or about to be, of this sender (20 bytes)."""
    if not isinstance(transaction, DeclaredTransaction):
        return _explain_plain(transaction, sender)
    forms = transaction.moves
    fixed = [claim for form in forms for claim in _fixed_by(form, sender)]
    only = [] if transaction.is_open else [_only(forms)]
    price = [PriceIs(transaction.max_fee, transaction.max_priority_fee)] if _is_price_fixed(transaction) else []
    success: list[Claim] = [Succeeds()] if transaction.must_succeed else []
    until: list[Claim] = [Until(transaction.valid_until)] if transaction.valid_until else []
    notes = _notes(transaction)
    return Explanation(
        sender,
        _call(transaction, sender),
        transaction.data,
        (*fixed, *only, *success, *until, *price),
        _left_open(transaction),
        (*_worst(transaction, sender),),
        (*notes, HAS_CODE) if _has_code(_located(transaction), sender) else notes,
    )


def _explain_plain(transaction: EthereumTransaction, sender: bytes) -> Explanation:
    """An Ethereum envelope: the call is signed, and no move of it."""
    notes = [FILLERS_POWER, PROTECTION, PRODUCER, MAY_FAIL, STANDING]
    worst: list[Claim] = [_fee(transaction), _spends(transaction, sender, False, None)]
    if transaction.authorizations:  # one of them may give the sender itself code in this very transaction
        worst.pop()
        notes.append("It carries authorizations (EIP-7702): whoever signed them hands an account over to a contract.")
    call, left_open = _call(transaction, sender), ("every cell that the call uses",)
    return Explanation(sender, call, transaction.data, (), left_open, tuple(worst), tuple(notes))


def _call(transaction: EthereumTransaction, sender: bytes) -> str:
    who = f"0x{sender.hex()} (nonce {transaction.nonce}, chain {transaction.chain_id})"
    size = f"{len(transaction.data)} bytes of data"
    if not transaction.to:
        return f"{who} deploys a contract with {size} and {amount(transaction.value)}"
    if not transaction.data:
        return f"{who} sends {amount(transaction.value)} to 0x{transaction.to.hex()}"
    return f"{who} calls 0x{transaction.to.hex()} with {size} and {amount(transaction.value)}"


def data_lines(data: bytes) -> list[str]:
    """A call's data in full, the selector and a word a line; of what is too long to read, its hash as well."""
    if not data:
        return []
    shown = data[:MAX_SHOWN_DATA]
    words = [shown[i : i + 32] for i in range(4, len(shown), 32)]
    lines = ["Data of the call:", *(f"  0x{part.hex()}" for part in (shown[:4], *words))]
    if len(data) > len(shown):
        rest = len(data) - len(shown)
        lines.append(f"  and {rest} bytes more; keccak-256 of all of it: 0x{keccak256(data).hex()}")
    return lines


def _has_location(form: NamedMove) -> bool:
    return not form.mask & _LOCATION


def _fixed_by(form: NamedMove, sender: bytes) -> list[Claim]:
    """What one signed move makes certain."""
    if not _has_location(form):
        return []
    claims: list[Claim] = []
    value = _signed_value(form)
    if form.is_reference:
        claims += [] if value is None else [Requires(form.location, value, stays=True)]
    else:
        claims += [] if form.mask & Mask.PREV else [Requires(form.location, form.prev, stays=False)]
        claims += [] if form.mask & Mask.NEXT else [Becomes(form.location, form.next, form.addr == sender)]
    if not form.mask & Mask.INTX:
        claims.append(MadeBy(form.location, form.intx))
    return claims


def _signed_value(form: NamedMove) -> bytes | None:
    """What a signed reference demands: either of its values, since M2 makes them one."""
    if form.mask & Mask.PREV:
        return None if form.mask & Mask.NEXT else form.next
    return form.prev


def _only(forms: tuple[NamedMove, ...]) -> TouchesOnly:
    named = [form.location for form in forms if _has_location(form)]
    return TouchesOnly(frozenset(named), len(forms) - len(named))


def _is_price_fixed(transaction: DeclaredTransaction) -> bool:
    return transaction.max_priority_fee >= transaction.max_fee


def _left_open(transaction: DeclaredTransaction) -> tuple[str, ...]:
    """What a filler fills in."""
    lines = [line for form in transaction.moves for line in _open_of(form)]
    if transaction.is_open:
        others = "every other cell" if transaction.moves else "every cell"
        lines.append(f"{others} that the call uses: which ones, and what they hold")
    return tuple(lines)


def _open_of(form: NamedMove) -> list[str]:
    does = "reads" if form.is_reference else "changes"
    if not _has_location(form):
        what = "the hash of one block" if form.mark == Mark.BLOCKHASH and not form.mask & Mask.MARK else "one more cell"
        return [f"it {does} {what}: which one, and what it holds"]
    name, masked = cell_name(form.location), form.mask & _VALUES
    if form.is_reference:
        return [f"it reads {name}, whatever it holds"] if masked == _VALUES else []
    if masked == _VALUES:
        return [f"it changes {name}, whatever it holds before and afterwards"]
    if masked == Mask.NEXT:
        return [f"what {name} holds afterwards"]
    return [f"what {name} holds before"] if masked == Mask.PREV else []


def _worst(transaction: DeclaredTransaction, sender: bytes) -> list[Claim]:
    """Of the sender's own ether, the strongest that the masks can say."""
    signed = _located(transaction)
    balance = signed.get((Mark.BALANCE, sender, ZERO32))
    claims: list[Claim] = [_fee(transaction)]
    if balance is not None and not balance.mask & Mask.NEXT:
        claims.append(Becomes(balance.location, balance.next, own=True))
        return claims
    if _has_code(signed, sender):
        return claims
    before = None if balance is None or balance.mask & Mask.PREV else int.from_bytes(balance.prev, "big")
    claims.append(_spends(transaction, sender, _has_no_code(signed, sender), before))
    return claims


def _located(transaction: DeclaredTransaction) -> dict[Location, NamedMove]:
    """The signed moves whose place is signed, by it."""
    return {form.location: form for form in transaction.moves if _has_location(form)}


def _has_code(signed: dict[Location, NamedMove], sender: bytes) -> bool:
    """True if the signature is for a state in which the sender has code."""
    code = signed.get((Mark.CODE, sender, ZERO32))
    return code is not None and _signed_value(code) not in (None, ZERO32)


def _has_no_code(signed: dict[Location, NamedMove], sender: bytes) -> bool:
    """True if the signature demands that the sender is no contract and delegates to none."""
    code = signed.get((Mark.CODE, sender, ZERO32))
    return code is not None and code.is_reference and _signed_value(code) == ZERO32


def _most_fee(transaction: EthereumTransaction) -> int:
    """Wei, for blobs (EIP-4844) too."""
    return transaction.gas_limit * transaction.max_fee + transaction.blob_gas * transaction.max_fee_per_blob_gas


def _fee(transaction: EthereumTransaction) -> FeeAtMost:
    return FeeAtMost(_most_fee(transaction), transaction.max_fee, transaction.max_priority_fee)


def _spends(transaction: EthereumTransaction, sender: bytes, has_no_code: bool, before: int | None) -> SpendsAtMost:
    fee = _most_fee(transaction)
    at_least = None if before is None else max(before - transaction.value - fee, 0)
    return SpendsAtMost(sender, transaction.value, fee, has_no_code, at_least)


def _notes(transaction: DeclaredTransaction) -> tuple[str, ...]:
    is_chosen = transaction.is_open or any(form.mask & (_VALUES | _LOCATION) for form in transaction.moves)
    notes = [FILLERS_POWER, PROTECTION, PRODUCER] if is_chosen else [NOTHING_OPEN, PRODUCER_EXACT]
    notes += [MAKERS] if any(form.mask & Mask.INTX and not form.mask & Mask.PREV for form in transaction.moves) else []
    notes += [] if transaction.must_succeed else [MAY_FAIL]
    notes += [] if transaction.valid_until else [STANDING]
    return tuple(notes)
