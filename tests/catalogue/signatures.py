"""S1: envelopes that are none, of another chain or leaf, and moves that claim to be signed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from manaflow.errors import Rule
from manaflow.moves.marks import UNSIGNED, Mask
from manaflow.moves.signatures import CURVE_ORDER
from tests.catalogue.case import BLOBS, CANCUN, Base, Case, Lie, add, entry, flipped
from tests.catalogue.dishonest import Draft, Step, sealed
from tests.catalogue.envelopes import append_signed, edited, signed, stranger_moves


def of_kind(draft: Draft, kind: int) -> int:
    """The first transaction of an envelope type (0: legacy)."""
    for t in draft.signed:
        first = (draft[t].envelope or b"")[:1]
        if (first if first < b"\x80" else b"\0") == bytes([kind]):
            return t
    raise LookupError(f"no envelope of type {kind}")


def broken(name: str, change: Callable[[bytes], bytes], kind: int = 2, base: Base = CANCUN, reason: str = "") -> None:
    """Register an envelope that does not decode; its leaf has its txid."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        t = of_kind(draft, kind)
        raw = draft[t].envelope
        assert raw is not None
        draft[t].envelope = change(raw)
        return Lie(sealed(draft), t)

    add(name, Rule.S1, reason or "the envelope does not decode", make, base)


def with_items(**changes: Callable[[bytes], Any]) -> Callable[[bytes], bytes]:
    """Replace items of an envelope, after signing, by functions of what they were."""

    def change(items: dict[str, Any]) -> None:
        for name, value in changes.items():
            items[name] = value(items[name])

    return lambda raw: edited(raw, change)


def _high(s: bytes) -> int:
    return CURVE_ORDER - int.from_bytes(s, "big")


for _kind in (0, 2, 3):
    broken(f"trailing_byte_type_{_kind}", lambda raw: raw + b"\0", _kind)
    broken(f"cut_type_{_kind}", lambda raw: raw[:-1], _kind)
    broken(f"high_s_type_{_kind}", with_items(s=_high), _kind)
broken("high_s_type_1", with_items(s=_high), 1, BLOBS)
broken("r_zero", with_items(r=lambda r: 0))
broken("s_zero", with_items(s=lambda s: 0))
broken("r_of_the_curve_order", with_items(r=lambda r: CURVE_ORDER))
broken("y_parity_2", with_items(y_parity=lambda y: 2))
broken("v_29", with_items(v=lambda v: 29), 0)
broken("nonce_with_leading_zero", with_items(nonce=lambda n: b"\0" + n))
broken("recipient_of_19_bytes", with_items(to=lambda to: to[1:]))
broken("value_of_33_bytes", with_items(value=lambda value: b"\1" + bytes(32)))
broken("access_list_is_a_string", with_items(access_list=lambda entries: b"\1"))
broken("blob_hash_of_31_bytes", with_items(blob_hashes=lambda hashes: [b"\1" * 31]), 3)
broken("type_beside_the_declared_one", lambda raw: b"\x4e" + raw[1:], reason="type of the envelope")
broken("type_5", lambda raw: b"\x05" + raw[1:], reason="type of the envelope")
broken("empty_envelope", lambda raw: b"", reason="length of the envelope")
broken("signature_off_the_curve", with_items(r=lambda r: 5), reason="the signature recovers no sender")


@entry(Rule.S1, "chain id")
def typed_envelope_of_another_chain(case: Case) -> Lie:
    draft = case.draft()
    t = append_signed(draft, signed(case, 2, chain_id=case.config.chain_id + 1), stranger_moves())
    return Lie(sealed(draft), t)


@entry(Rule.S1, "chain id")
def legacy_envelope_of_another_chain(case: Case) -> Lie:
    draft = case.draft()
    t = append_signed(draft, signed(case, 0, chain_id=case.config.chain_id + 1), stranger_moves())
    return Lie(sealed(draft), t)


@entry(Rule.S1, "txid in the leaf")
def txid_of_nothing(case: Case) -> Lie:
    draft = case.draft()
    t = draft.signed[3]
    draft[t].say(txid=flipped(draft[t].leaf.txid))
    return Lie(sealed(draft, leave={Step.TXIDS}), t)


@entry(Rule.S1, "txid in the leaf")
def txids_swapped(case: Case) -> Lie:
    draft = case.draft()
    a, b = draft.signed[:2]
    one, other = draft[a].leaf.txid, draft[b].leaf.txid
    draft[a].say(txid=other)
    draft[b].say(txid=one)
    return Lie(sealed(draft, leave={Step.TXIDS}), a)


@entry(Rule.S1, "txid in the leaf")
def envelope_swapped_under_its_txid(case: Case) -> Lie:
    """One more chance to be paid: another valid envelope under an old name."""
    draft = case.draft()
    a, b = draft.signed[:2]
    draft[b].envelope = draft[a].envelope
    return Lie(sealed(draft, leave={Step.TXIDS}), b)


def mask(name: str, reference: bool, value: int) -> None:
    """Register a move of a signed transaction whose mask is another one."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        t, i = draft.find(lambda t, move: t in draft.signed[1:] and move.is_reference == reference)
        draft[t].change(i, mask=value)
        return Lie(sealed(draft), t, i)

    add(name, Rule.S1, "mask of an unsigned move", make)


for _bit in (Mask.INTX, Mask.PREV, Mask.NEXT, Mask.SLOT, Mask.ADDR, Mask.MARK):
    mask(f"consume_claims_a_signed_{str(_bit.name).lower()}", False, UNSIGNED & ~_bit)
mask("reference_claims_to_be_signed", True, int(Mask.REFERENCE))
mask("guard_on_a_reference", True, UNSIGNED | Mask.REFERENCE | Mask.GUARD)
mask("guard_on_a_consume", False, UNSIGNED | Mask.GUARD)
