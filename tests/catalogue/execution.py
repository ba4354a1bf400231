"""X0 to X5: transactions whose moves fit the state and are not what an execution makes of it.

Out of X0's reach behind the other rules: a nonce that is not the sender's (M3, V1), another chain id (S1), a block over
its blob gas (B2), a sender with code (nobody has its key).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from manaflow.errors import Rule
from manaflow.evm.environment import environment_of
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask, Move
from manaflow.moves.transactions import GAS_PER_BLOB
from tests.builders import TO, authorization
from tests.catalogue.case import (
    BLOBS,
    CANCUN,
    CREATING,
    PRAGUE,
    SHANGHAI,
    Base,
    Case,
    Lie,
    add,
    entry,
    flipped,
    is_storage_consume,
    is_storage_reference,
    sender_of,
    virgin,
)
from tests.catalogue.dishonest import Draft, Transaction, resigned, sealed
from tests.catalogue.envelopes import append_signed, referring, signed, stranger_moves

BLOB = b"\x01" + bytes(31)
ONE = (1).to_bytes(32, "big")


# X0: a validly signed envelope of a key that owns nothing, filled as if it had been free.


def invalid(name: str, reason: str, kind: int, fields: Callable[[Case], dict[str, Any]], base: Base = CANCUN) -> None:
    """Register an envelope that its fork refuses; it is the block's last transaction."""

    def make(case: Case) -> Lie:
        draft, raw = case.draft(), signed(case, kind, **fields(case))
        moves = stranger_moves()
        burned = len(fields(case).get("blob_hashes", ())) * GAS_PER_BLOB if kind == 3 else 0
        if burned:
            moves.append(_payer(case, draft, burned))
        t = append_signed(draft, raw, moves)
        return Lie(sealed(draft), t)

    add(name, Rule.X0, reason, make, base)


def _payer(case: Case, draft: Draft, blob_gas: int) -> Move:
    """A consume that takes the blob fee from a genesis account that the block does not use (M6)."""
    burned = blob_gas * environment_of(case.header, case.config).blob_base_fee
    used = {move.location for _, _, move in draft.places()}
    for location, (number, value) in case.cells.items():
        owned = int.from_bytes(value, "big")
        if location[0] == Mark.BALANCE and location not in used and owned >= burned:
            return Move(UNSIGNED, *(location[0], number, *location[1:]), value, (owned - burned).to_bytes(32, "big"))
    raise LookupError("nobody can pay")


invalid("sender_cannot_pay", "balance of the sender", 2, lambda c: {})
invalid("sender_cannot_pay_legacy", "balance of the sender", 0, lambda c: {})
invalid("fee_cap_below_the_base_fee", "max fee", 2, lambda c: {"fee": c.header.base_fee - 1}, BLOBS)
invalid("gas_price_below_the_base_fee", "max fee", 1, lambda c: {"fee": c.header.base_fee - 1}, BLOBS)
invalid("tip_above_the_fee_cap", "max priority fee", 2, lambda c: {"tip": 2 * c.header.base_fee + 1})
invalid(
    "gas_limit_over_what_the_block_has_left",
    "gas limit",
    2,
    lambda c: {"gas_limit": c.header.gas_limit - c.header.gas_used + 1},
)
invalid("gas_limit_over_the_block", "gas limit", 2, lambda c: {"gas_limit": c.header.gas_limit + 1})
invalid("gas_below_the_intrinsic", "gas limit", 2, lambda c: {"gas_limit": 20_999})
invalid("gas_below_the_intrinsic_of_data", "gas limit", 2, lambda c: {"data": b"\1"})
invalid("gas_below_the_intrinsic_of_an_access_list", "gas limit", 1, lambda c: {"access_list": [[TO, []]]})
invalid("gas_below_the_floor", "gas limit", 2, lambda c: {"data": b"\1" * 100, "gas_limit": 24_999}, PRAGUE)
invalid(
    "initcode_too_long", "bytes of initcode", 2,
    lambda c: {"to": b"", "data": bytes(49_153), "gas_limit": 2_000_000},
)  # fmt: skip
invalid(
    "blob_fee_cap_below_the_blob_base_fee",
    "max fee per blob gas",
    3,
    lambda c: {"blob_fee": _blob_fee(c) - 1, "blob_hashes": [BLOB]},
)
invalid("no_blobs", "blobs", 3, lambda c: {"blob_hashes": []})
invalid("blob_of_an_unknown_version", "version of a blob hash", 3, lambda c: {"blob_hashes": [b"\2" + bytes(31)]})
invalid("blobs_before_cancun", "type", 3, lambda c: {"blob_hashes": []}, SHANGHAI)
invalid("authorizations_before_prague", "type", 4, lambda c: {"authorizations": [authorization()]})
invalid("no_authorizations", "authorizations", 4, lambda c: {"authorizations": []}, PRAGUE)


def _blob_fee(case: Case) -> int:
    return environment_of(case.header, case.config).blob_base_fee


# X1: what the execution needs is not declared.


def dropped(name: str, reason: str, which: Callable[[Draft, int, Move], bool], base: Base = CANCUN) -> None:
    """Register a block in which one move of a transaction is missing."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        t, i = draft.find(lambda t, move: which(draft, t, move))
        del draft[t].moves[i]
        draft.renumber()
        return Lie(sealed(draft), t)

    add(name, Rule.X1, f"undeclared access: {reason}", make, base)


def _is_last(draft: Draft, t: int, move: Move) -> bool:
    """No later transaction of the block uses the location."""
    return draft.uses(move.location)[-1][0] == t


dropped("read_code_missing", "c", lambda d, t, m: t in d.signed and m.mark == Mark.CODE and not _is_sender(d, t, m))
dropped("read_storage_missing", "s", lambda d, t, m: t in d.signed and is_storage_reference(m))
dropped("written_storage_missing", "s", lambda d, t, m: t in d.signed and is_storage_consume(m) and _is_last(d, t, m))
dropped("paid_balance_missing", "b", lambda d, t, m: _is_recipient(d, t, m) and _is_last(d, t, m), CREATING)
dropped(
    "code_of_the_sender_missing", "c", lambda d, t, m: t in d.signed and _is_sender(d, t, m) and m.mark == Mark.CODE
)
dropped("storage_of_a_system_call_missing", "s", lambda d, t, m: t == 0 and is_storage_consume(m))
dropped(
    "storage_of_a_request_call_missing",
    "s",
    lambda d, t, m: t == len(d.transactions) - 1 and is_storage_reference(m),
    PRAGUE,
)
dropped("read_block_hash_missing", "e", lambda d, t, m: m.mark == Mark.BLOCKHASH)


def _is_sender(draft: Draft, t: int, move: Move) -> bool:
    return move.addr == sender_of(draft[t])


def _is_recipient(draft: Draft, t: int, move: Move) -> bool:
    if t not in draft.signed or move.mark != Mark.BALANCE or move.is_reference or move.next <= move.prev:
        return False
    return move.addr != draft.header.coinbase


def header_input(name: str, reason: str, change: Callable[[Header], dict[str, Any]], t: int) -> None:
    """Register a header whose free fields are not those that its transactions were executed with; leaf t tells."""
    add(name, Rule.X1, f"undeclared access: {reason}", lambda case: Lie(resigned(case.block, **change(case.header)), t))


header_input("timestamp_moved", "s", lambda h: {"timestamp": h.timestamp + 1}, 0)
header_input("coinbase_exchanged", "b", lambda h: {"coinbase": flipped(h.coinbase)}, 1)


# X2: the execution leaves something else.


@entry(Rule.X2, "value after the execution")
def beacon_root_exchanged(case: Case) -> Lie:
    """The header shows another root than the one that its opening call has stored."""
    block = resigned(case.block, parent_beacon_root=flipped(case.header.parent_beacon_root))
    root = case.header.parent_beacon_root
    return Lie(block, 0, next(i for i, move in enumerate(case.draft()[0].moves) if move.next == root))


@entry(Rule.X2, "value after the execution", PRAGUE)
def seen_parent_hash_exchanged(case: Case) -> Lie:
    block = resigned(case.block, seen_parent_hash=flipped(case.header.seen_parent_hash))
    seen = case.header.seen_parent_hash
    return Lie(block, 1, next(i for i, move in enumerate(case.draft()[1].moves) if move.next == seen))


def written(
    name: str, which: Callable[[Draft, int, Move], bool], change: Callable[[Move], bytes], base: Base = CANCUN
) -> None:
    """Register a block in which a consume writes another value; nobody in the block uses the cell."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        t, i = draft.find(lambda t, m: not m.is_reference and which(draft, t, m) and _is_last(draft, t, m))
        draft[t].change(i, next=change(draft[t].moves[i]))
        return Lie(sealed(draft), t, i)

    add(name, Rule.X2, "value after the execution", make, base)


def _less(move: Move) -> bytes:
    return (int.from_bytes(move.next, "big") - 1).to_bytes(32, "big")


def _more(move: Move) -> bytes:
    return (int.from_bytes(move.next, "big") + 1).to_bytes(32, "big")


written("storage_written_otherwise", lambda d, t, m: t in d.signed and is_storage_consume(m), lambda m: b"\x77" * 32)
written("balance_lowered", lambda d, t, m: t in d.signed and m.mark == Mark.BALANCE, _less)
written("nonce_raised_by_two", lambda d, t, m: t in d.signed and m.mark == Mark.NONCE, _more)
written("nonce_taken_back", lambda d, t, m: t in d.signed and m.mark == Mark.NONCE, lambda m: ZERO32)
written("system_call_writes_otherwise", lambda d, t, m: t == 0, lambda m: b"\x77" * 32)


@entry(Rule.X2, "value after the execution")
def value_changed_through_the_block(case: Case) -> Lie:
    """The cell's value is another one, and every later use of it agrees."""
    draft = case.draft()
    for t, i, move in draft.places():
        later = [place for place in draft.uses(move.location) if place[0] > t]
        if is_storage_consume(move) and later and draft[later[0][0]].moves[later[0][1]].next != ONE:
            draft[t].change(i, next=ONE)
            _follow(draft, later)
            return Lie(sealed(draft), t, i)
    raise LookupError("no storage is written and used again")


def _follow(draft: Draft, later: list[tuple[int, int]]) -> None:
    """References show the new value, the first consume starts from it."""
    for t, i in later:
        is_reference = draft[t].moves[i].is_reference
        draft[t].change(i, prev=ONE, **({"next": ONE} if is_reference else {}))
        if not is_reference:
            return


@entry(Rule.X2, "value after the execution", CREATING)
def another_code_deployed(case: Case) -> Lie:
    """The body holds it, so that B4 is content."""
    draft, code = case.draft(), b"\0"
    t, i = draft.find(lambda t, move: move.mark == Mark.CODE and not move.is_reference)
    draft[t].change(i, next=keccak256(code))
    draft.codes.append(code)
    return Lie(sealed(draft), t, i)


@entry(Rule.X2, "value after the execution")
def write_hidden_as_a_read(case: Case) -> Lie:
    draft = case.draft()
    t, i = draft.find(lambda t, m: t in draft.signed and is_storage_consume(m) and _is_last(draft, t, m))
    made = referring(draft[t].moves.pop(i))
    at = draft[t].add(made)
    draft.renumber()
    return Lie(sealed(draft), t, at)


@entry(Rule.X2, "value after the execution")
def read_dressed_as_a_write(case: Case) -> Lie:
    draft = case.draft()
    t, i = draft.find(lambda t, m: t in draft.signed and is_storage_reference(m) and len(draft.uses(m.location)) == 1)
    move = draft[t].moves.pop(i)
    made = replace(move, mask=UNSIGNED, next=flipped(move.next))
    i = draft[t].add(made)
    draft.renumber()
    return Lie(sealed(draft), t, i)


# X3: the outcome.


def outcome(name: str, reason: str, change: Callable[[Transaction], dict[str, Any]], base: Base = CANCUN) -> None:
    """Register a transaction with another outcome, totals fixed."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        t = draft.signed[-1]
        draft[t].say(**change(draft[t]))
        return Lie(sealed(draft), t)

    add(name, Rule.X3, reason, make, base)


outcome("status_turned", "status", lambda t: {"status": 1 - t.leaf.status})
outcome("status_2", "status", lambda t: {"status": 2}, PRAGUE)
outcome("one_gas_less", "gas used", lambda t: {"gas_used": t.leaf.gas_used - 1})
outcome("no_gas", "gas used", lambda t: {"gas_used": 0}, BLOBS)
outcome("logs_exchanged", "logs hash", lambda t: {"logs_hash": flipped(t.leaf.logs_hash)})


# X4: more than the execution uses.


def extra(
    name: str,
    made: Callable[[Case, Draft], Move],
    base: Base = CANCUN,
    t: Callable[[Draft], int] = lambda d: d.signed[-1],
) -> None:
    """Register a reference too many; the state is as it says."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        at = t(draft)
        i = draft[at].add(made(case, draft))
        return Lie(sealed(draft), at, i)

    add(name, Rule.X4, "declared and not used, and no guard", make, base)


def _unused(case: Case, draft: Draft) -> Move:
    """A live cell that the block does not use."""
    used = {move.location for _, _, move in draft.places()}
    return next(case.reference(location) for location in case.cells if location not in used)


extra("reference_to_a_live_cell", _unused)
extra("reference_to_virgin_state", lambda c, d: virgin(Mark.STORAGE, TO, ONE))
extra("reference_to_a_virgin_balance", lambda c, d: virgin(Mark.BALANCE, TO))
extra("reference_in_a_system_call", _unused, t=lambda d: 0)
extra("reference_in_a_request_call", lambda c, d: virgin(Mark.CODE, TO), PRAGUE, lambda d: len(d.transactions) - 1)
extra(
    "reference_to_a_block_hash",
    lambda c, d: Move(
        UNSIGNED | Mask.REFERENCE, Mark.BLOCKHASH, 0, bytes(20), (c.header.number - 1).to_bytes(32, "big"),
        c.header.seen_parent_hash, c.header.seen_parent_hash,
    ),
)  # fmt: skip
