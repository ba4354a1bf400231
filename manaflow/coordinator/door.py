"""What strangers submit: decoded, bounded and held against everything that needs no execution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from manaflow._native import keccak256
from manaflow.coordinator.declare import is_masked_whole
from manaflow.coordinator.messages import Reason
from manaflow.coordinator.pool import Entry, Limits, Refusal
from manaflow.errors import Failure, Verdict
from manaflow.evm.envelopes import EnvelopeColumns, decode_envelopes
from manaflow.evm.validity import (
    GAS_ACCESS_ADDRESS,
    GAS_ACCESS_SLOT,
    GAS_AUTHORIZATION,
    GAS_CREATE,
    GAS_FLOOR_TOKEN,
    GAS_GUARD,
    GAS_INITCODE_WORD,
    GAS_TOKEN,
    GAS_TRANSACTION,
    MAX_INITCODE,
    MAX_WEI,
    TOKENS_NON_ZERO,
)
from manaflow.moves.declared import decode_declared
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.transactions import DECLARED_TYPE, GAS_PER_BLOB, DeclaredTransaction
from manaflow.rules.config import ChainConfig, Fork, Profile
from manaflow.rules.declared import check_s2_chain
from manaflow.rules.signing import BLOB_TYPE, MAX_SIGNED_BYTES, check_s1_chain

MAX_GAS: Final = 2**24
"""X5 in profile `manaflow`, EIP-7825 from Osaka on: no transaction may have more."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for the next block."""

    number: int
    fork: Fork
    gas_limit: int
    """The block's; no transaction may have more."""


class Door:
    """Reads submissions for one chain."""

    def __init__(self, config: ChainConfig, limits: Limits) -> None:
        self.config, self.limits = config, limits
        is_bounded = config.profile == Profile.MANAFLOW
        self._most = min(limits.envelope_bytes, MAX_SIGNED_BYTES) if is_bounded else limits.envelope_bytes

    def read(self, envelopes: Sequence[bytes], terms: Terms) -> list[Entry | tuple[bytes, Refusal]]:
        """One per envelope: an entry whose arrival is still 0, or (txid, why not)."""
        short = [raw if 0 < len(raw) <= self._most else b"" for raw in envelopes]
        columns = decode_envelopes(short)
        return [
            self._too_long(raw) if raw and not kept else self._read(raw, i, columns, terms)
            for i, (raw, kept) in enumerate(zip(envelopes, short, strict=True))
        ]

    def _too_long(self, raw: bytes) -> tuple[bytes, Refusal]:
        text = f"an envelope of {len(raw)} bytes; this pool takes {self._most}"
        return keccak256(raw), Refusal(Reason.TOO_LARGE, text)

    def _read(self, raw: bytes, i: int, columns: EnvelopeColumns, terms: Terms) -> Entry | tuple[bytes, Refusal]:
        try:
            if columns.code[i] or not self._is_of_this_chain(columns, i):
                self._refuse(raw)
        except Verdict as verdict:
            return keccak256(raw), Refusal(Reason.MALFORMED, str(verdict))
        entry = self._entry(raw, i, columns, terms)
        refusal = self._check(entry, columns, i, terms)
        return entry if refusal is None else (entry.txid, refusal)

    def _is_of_this_chain(self, columns: EnvelopeColumns, i: int) -> bool:
        """S1 and S2 of the chain, without words."""
        is_ethereum = self.config.profile == Profile.ETHEREUM
        if not columns.protected[i]:
            return is_ethereum
        allowed = columns.type[i] != (DECLARED_TYPE if is_ethereum else BLOB_TYPE)
        return bool(allowed) and int(columns.chain_id[i]) == self.config.chain_id

    def _refuse(self, raw: bytes) -> None:
        """Raises Verdict(S1, S2): what is wrong, in words."""
        transaction = decode_envelope(raw)
        if isinstance(transaction, DeclaredTransaction):
            check_s2_chain(transaction, self.config)
        else:
            check_s1_chain(transaction, self.config)
        recover_sender(transaction)
        raise Failure("internal error: the native library refuses an envelope that the rules accept")

    def _entry(self, raw: bytes, i: int, columns: EnvelopeColumns, terms: Terms) -> Entry:
        max_fee, gas_limit = _word(columns.max_fee[i].tobytes()), int(columns.gas_limit[i])
        blob_cost = int(columns.blobs[i]) * GAS_PER_BLOB * _word(columns.max_fee_per_blob_gas[i].tobytes())
        valid_until, kept = int(columns.valid_until[i]), terms.number + self.limits.blocks
        return Entry(
            txid=columns.txid[i].tobytes(),
            envelope=raw,
            sender=columns.sender[i].tobytes(),
            nonce=int(columns.nonce[i]),
            priority_fee=_word(columns.max_priority_fee[i].tobytes()),
            max_fee=max_fee,
            gas_limit=gas_limit,
            cost=gas_limit * max_fee + _word(columns.value[i].tobytes()) + blob_cost,
            declared=_signed(raw) if columns.type[i] == DECLARED_TYPE else None,
            valid_until=valid_until,
            arrival=0,
            expires=min(kept, valid_until + 1) if valid_until else kept,
        )

    def _check(self, entry: Entry, columns: EnvelopeColumns, i: int, terms: Terms) -> Refusal | None:
        """Everything that X0 and S4 would refuse whatever the state is."""
        due = _gas_due(columns, i, terms.fork)
        limit = min(terms.gas_limit, MAX_GAS) if self._has_gas_bound(terms) else terms.gas_limit
        if entry.gas_limit > limit:
            return Refusal(Reason.GAS_LIMIT, f"gas limit {entry.gas_limit}, at most {limit} may be")
        if entry.gas_limit < due:
            return Refusal(Reason.GAS_LIMIT, f"gas limit {entry.gas_limit}, {due} are due before it runs")
        if columns.is_create[i] and columns.data_bytes[i] > MAX_INITCODE:
            return Refusal(Reason.TOO_LARGE, f"{columns.data_bytes[i]} bytes of initcode, at most {MAX_INITCODE}")
        if entry.priority_fee > entry.max_fee:
            return Refusal(Reason.FEES, f"priority fee {entry.priority_fee} is above the fee cap {entry.max_fee}")
        if entry.gas_limit * entry.max_fee > MAX_WEI:
            return Refusal(Reason.FEES, f"gas limit x fee cap is more than {MAX_WEI} wei")
        if entry.valid_until and entry.valid_until < terms.number:
            return Refusal(Reason.EXPIRED, f"valid until block {entry.valid_until}, the next is {terms.number}")
        return None

    def _has_gas_bound(self, terms: Terms) -> bool:
        return self.config.profile == Profile.MANAFLOW or terms.fork >= Fork.OSAKA


def _signed(raw: bytes) -> DeclaredTransaction | None:
    """A declared envelope that signs more than its call, decoded; None of one that any fill fits."""
    declared = decode_declared(raw)
    return None if is_masked_whole(declared) and not declared.must_succeed else declared


def _word(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _gas_due(columns: EnvelopeColumns, i: int, fork: Fork) -> int:
    """`validity.intrinsic_gas` and `floor_gas` of a row, without decoding it anew."""
    size, zeros = int(columns.data_bytes[i]), int(columns.data_zeros[i])
    tokens = zeros + TOKENS_NON_ZERO * (size - zeros)
    gas = GAS_TRANSACTION + GAS_TOKEN * tokens + GAS_AUTHORIZATION * int(columns.authorizations[i])
    gas += GAS_GUARD * int(columns.guards[i])
    gas += GAS_ACCESS_ADDRESS * int(columns.access_addresses[i]) + GAS_ACCESS_SLOT * int(columns.access_slots[i])
    if columns.is_create[i]:
        gas += GAS_CREATE + (GAS_INITCODE_WORD * ((size + 31) // 32) if fork >= Fork.SHANGHAI else 0)
    return max(gas, GAS_TRANSACTION + GAS_FLOOR_TOKEN * tokens if fork >= Fork.PRAGUE else 0)
