"""B2, B6, B7: headers that do not follow from their parents, and signatures of no producer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from manaflow.errors import Rule
from manaflow.moves.block import Withdrawal
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.marks import ZERO32
from manaflow.moves.signatures import CURVE_ORDER
from manaflow.moves.transactions import GAS_PER_BLOB
from tests.catalogue.case import BLOBS, CANCUN, PARIS, SHANGHAI, Base, Case, Lie, add, entry, flipped
from tests.catalogue.dishonest import Step, resigned, sealed

Change = Callable[[Header, Header], Any]
"""(parent, header) -> the field's new value."""


def field(field_name: str, how: str, reason: str, change: Change, base: Base = CANCUN, rule: Rule = Rule.B2) -> None:
    """Register a header with one field changed and nothing else recomputed."""

    def make(case: Case) -> Lie:
        return Lie(resigned(case.block, **{field_name: change(case.parent, case.header)}))

    add(f"{field_name}_{how}", rule, reason, make, base)


field("config", "of_another_chain", "config", lambda p, h: flipped(h.config))
field("number", "skips_one", "number", lambda p, h: h.number + 1)
field("number", "of_the_parent", "number", lambda p, h: p.number)
field("timestamp", "of_the_parent", "timestamp", lambda p, h: p.timestamp)
field("timestamp", "before_the_parent", "timestamp", lambda p, h: p.timestamp - 1)
field("gas_limit", "up_by_the_bound", "gas limit", lambda p, h: p.gas_limit + p.gas_limit // 1024)
field("gas_limit", "down_by_the_bound", "gas limit", lambda p, h: p.gas_limit - p.gas_limit // 1024)
field("gas_used", "over_the_limit", "gas used", lambda p, h: h.gas_limit + 1)
field("base_fee", "too_high", "base fee", lambda p, h: h.base_fee + 1)
field("base_fee", "too_low", "base fee", lambda p, h: h.base_fee - 1, BLOBS)
field("first_cell", "skips_one", "first cell", lambda p, h: h.first_cell + 1)
field("first_cell", "of_the_parent", "first cell", lambda p, h: p.first_cell)
field("fees", "in_profile_ethereum", "fees in profile ethereum", lambda p, h: 1)
field("excess_blob_gas", "too_high", "excess blob gas", lambda p, h: h.excess_blob_gas + 1, BLOBS)
field("excess_blob_gas", "too_low", "excess blob gas", lambda p, h: h.excess_blob_gas - GAS_PER_BLOB, BLOBS)
field("blob_gas_used", "over_the_maximum", "blob gas used", lambda p, h: 7 * GAS_PER_BLOB, BLOBS)
field("blob_gas_used", "no_whole_blob", "blob gas used beyond whole blobs", lambda p, h: h.blob_gas_used + 1)
field("blob_gas_used", "before_cancun", "blob gas used", lambda p, h: GAS_PER_BLOB, SHANGHAI)
field("excess_blob_gas", "before_cancun", "excess blob gas", lambda p, h: GAS_PER_BLOB, SHANGHAI)
field("parent_beacon_root", "before_cancun", "parent beacon root", lambda p, h: keccak256(b""), SHANGHAI)
field("history_root", "flipped", "history root", lambda p, h: flipped(h.history_root), rule=Rule.B6)
field("history_root", "of_the_parent", "history root", lambda p, h: p.history_root, rule=Rule.B6)
field("history_root", "of_no_history", "history root", lambda p, h: ZERO32, rule=Rule.B6)


@entry(Rule.B2, "withdrawals root", PARIS)
def withdrawals_before_shanghai(case: Case) -> Lie:
    draft = case.draft()
    draft.withdrawals.append(Withdrawal(1, 1, b"\x11" * 20, 0))
    return Lie(sealed(draft))


@entry(Rule.B2, "gas used")
def leaves_use_more_gas_than_the_limit(case: Case) -> Lie:
    """All sums fit each other."""
    draft = case.draft()
    t = draft.signed[0]
    draft[t].say(gas_used=case.header.gas_limit)
    return Lie(sealed(draft))


@entry(Rule.B7, "the signature is by no producer of the config")
def signed_by_another_key(case: Case) -> Lie:
    return Lie(resigned(case.block, key=keccak256(b"another producer")))


@entry(Rule.B7, "form of the signature")
def producer_signature_with_high_s(case: Case) -> Lie:
    """It verifies as well: the other form of the same signature."""
    signature = case.block.signature
    s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    other = signature[:32] + s.to_bytes(32, "big") + bytes([signature[64] ^ 1])
    return Lie(replace(case.block, signature=other))


@entry(Rule.B7, "form of the signature")
def producer_signature_with_recovery_id_27(case: Case) -> Lie:
    signature = case.block.signature
    return Lie(replace(case.block, signature=signature[:64] + bytes([signature[64] + 27])))


@entry(Rule.B7, "form of the signature")
def producer_signature_of_zeros(case: Case) -> Lie:
    return Lie(replace(case.block, signature=bytes(65)))


@entry(Rule.B7, "the signature recovers no producer")
def producer_signature_off_the_curve(case: Case) -> Lie:
    """No point of the curve has x = 5."""
    return Lie(replace(case.block, signature=(5).to_bytes(32, "big") + case.block.signature[32:]))


@entry(Rule.B7, "length of the signature")
def producer_signature_without_recovery_id(case: Case) -> Lie:
    return Lie(replace(case.block, signature=case.block.signature[:64]))


@entry(Rule.B7, "length of the signature")
def no_producer_signature(case: Case) -> Lie:
    return Lie(replace(case.block, signature=b""))


@entry(Rule.B7, "the signature is by no producer of the config")
def producer_signature_of_the_parent(case: Case) -> Lie:
    return Lie(replace(case.block, signature=case.before[-1].signature))


@entry(Rule.B7, "the signature is by no producer of the config")
def header_changed_after_signing(case: Case) -> Lie:
    draft = case.draft()
    draft.header = replace(draft.header, prevrandao=flipped(draft.header.prevrandao))
    return Lie(sealed(draft, leave={Step.SIGNATURE}))
