"""B3, B4, B5, B8: bodies whose totals, codes, block hashes or leaves are not those of the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from manaflow.errors import Rule
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.leaf import SystemKind, system_txid
from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32, Mark, Mask, Move
from manaflow.moves.transactions import GAS_PER_BLOB
from manaflow.rules.bodies import CODE_GAS_PER_BYTE, GAS_PER_CODE, HASH_WINDOW, MAX_CODE_BYTES
from manaflow.rules.system import EMPTY_LOGS_HASH
from tests.catalogue.case import CANCUN, CREATING, PARIS, PRAGUE, Base, Case, Lie, add, entry, flipped, virgin
from tests.catalogue.dishonest import Draft, Step, Transaction, resigned, sealed

MIDDLE = 5
"""A leaf in the middle of a block."""


def total(name: str, what: str, add_to: int = 1) -> None:
    """Register two blocks whose running total is off: before the first leaf, and from the middle on."""
    first = f"{what} of the first leaf" if name == "first_cell" else f"{what} before the first leaf"
    middle = what if name == "first_cell" else f"{what} before"

    def make(case: Case, t: int) -> Draft:
        draft = case.draft()
        draft[t].say(**{name: getattr(draft[t].leaf, name) + add_to})
        return draft

    def make_first(case: Case) -> Lie:
        return Lie(sealed(make(case, 0), leave={Step.TOTALS}))

    def make_middle(case: Case) -> Lie:
        return Lie(sealed(make(case, MIDDLE), leave={Step.TOTALS}), MIDDLE - 1)

    add(f"{name}_before_the_first_leaf", Rule.B3, first, make_first)
    add(f"{name}_before_a_leaf", Rule.B3, middle, make_middle)


total("first_cell", "first cell")
total("gas", "gas")
total("fees", "fees")
total("blob_gas", "blob gas", GAS_PER_BLOB)


def header_field(
    name: str, reason: str, change: Callable[[Header], Any], base: Base = CANCUN, *, at_last_leaf: bool = False
) -> None:
    """Register a header that disagrees with its body."""

    def make(case: Case) -> Lie:
        last = len(case.block.leaves) - 1 if at_last_leaf else None
        return Lie(resigned(case.block, **{name: change(case.header)}), last)

    add(f"header_{name}", Rule.B3, reason, make, base)


header_field("cells", "cells", lambda h: h.cells + 1, at_last_leaf=True)
header_field("gas_used", "gas used", lambda h: h.gas_used + 1, at_last_leaf=True)
header_field("blob_gas_used", "blob gas used", lambda h: h.blob_gas_used + GAS_PER_BLOB, at_last_leaf=True)
header_field("transactions", "number of leaves", lambda h: h.transactions - 1)
header_field("codes", "number of codes", lambda h: h.codes + 1, CREATING)
header_field("transactions_root", "transactions root", lambda h: flipped(h.transactions_root))
header_field("codes_root", "codes root", lambda h: flipped(h.codes_root), CREATING)
header_field("withdrawals_root", "withdrawals root", lambda h: flipped(h.withdrawals_root))


@entry(Rule.B3, "moves root")
def moves_root_of_a_leaf(case: Case) -> Lie:
    draft = case.draft()
    draft[MIDDLE].say(moves_root=flipped(draft[MIDDLE].leaf.moves_root))
    return Lie(sealed(draft, leave={Step.MOVES_ROOTS}), MIDDLE)


@entry(Rule.B3, "moves root")
def move_changed_under_its_root(case: Case) -> Lie:
    draft = case.draft()
    draft[MIDDLE].change(0, next=flipped(draft[MIDDLE].moves[0].next))
    return Lie(sealed(draft, leave={Step.MOVES_ROOTS}), MIDDLE)


@entry(Rule.B3, "transactions root")
def status_changed_under_the_root(case: Case) -> Lie:
    draft = case.draft()
    draft[MIDDLE].say(status=1 - draft[MIDDLE].leaf.status)
    return Lie(sealed(draft, leave={Step.TRANSACTIONS_ROOT}))


@entry(Rule.B3, "withdrawals root")
def withdrawal_changed_under_the_root(case: Case) -> Lie:
    draft = case.draft()
    draft.withdrawals[0] = replace(draft.withdrawals[0], amount=draft.withdrawals[0].amount + 1)
    return Lie(sealed(draft, leave={Step.WITHDRAWALS_ROOT}))


@entry(Rule.B3, "codes root", CREATING)
def code_changed_under_the_root(case: Case) -> Lie:
    draft = case.draft()
    draft.codes[0] = flipped(draft.codes[0])
    return Lie(sealed(draft, leave={Step.CODES_ROOT}))


@entry(Rule.B3, "number of leaves")
def leaf_dropped_and_still_counted(case: Case) -> Lie:
    draft = case.draft()
    del draft.transactions[draft.signed[-1]]
    draft.renumber()
    return Lie(sealed(draft, leave={Step.BODY_COUNTS}))


def _code_maker(draft: Draft) -> tuple[int, int]:
    return draft.find(lambda t, move: move.mark == Mark.CODE and not move.is_reference)


@entry(Rule.B4, "a code is missing in the body", CREATING)
def code_missing(case: Case) -> Lie:
    draft = case.draft()
    draft.codes.clear()
    return Lie(sealed(draft), *_code_maker(draft))


@entry(Rule.B4, "a code is missing in the body", CREATING)
def code_with_a_bit_flipped(case: Case) -> Lie:
    draft = case.draft()
    draft.codes[0] = flipped(draft.codes[0])
    return Lie(sealed(draft), *_code_maker(draft))


@entry(Rule.B4, "code 1 is out of order", CREATING)
def codes_out_of_order(case: Case) -> Lie:
    draft = case.draft()
    draft.codes = sorted([*draft.codes, b"\0"], key=keccak256, reverse=True)
    return Lie(sealed(draft, leave={Step.CODE_ORDER}))


@entry(Rule.B4, "code 1 is out of order", CREATING)
def code_twice(case: Case) -> Lie:
    draft = case.draft()
    draft.codes *= 2
    return Lie(sealed(draft))


@entry(Rule.B4, "codes in the body")
def one_code_too_many_by_number(case: Case) -> Lie:
    """None of them is long."""
    draft = case.draft()
    most = case.header.gas_limit // GAS_PER_CODE + 1
    draft.codes += [i.to_bytes(3, "big") for i in range(most + 1 - len(draft.codes))]
    return Lie(sealed(draft))


@entry(Rule.B4, "bytes of code in the body")
def one_byte_of_code_too_many(case: Case) -> Lie:
    draft = case.draft()
    draft.codes.append(bytes(case.header.gas_limit // CODE_GAS_PER_BYTE + MAX_CODE_BYTES + 1))
    return Lie(sealed(draft))


def block_hash(name: str, reason: str, change: Callable[[Case, Move], Move]) -> None:
    """Register a block whose first move on a block hash is changed."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        t, i = draft.find(lambda t, move: move.mark == Mark.BLOCKHASH)
        made = change(case, draft[t].moves.pop(i))
        i = draft[t].add(made)
        return Lie(sealed(draft), t, i)

    add(name, Rule.B5, reason, make)


def _asking(move: Move, number: int) -> Move:
    return replace(move, slot=number.to_bytes(32, "big"))


block_hash("hash_flipped", "hash of block", lambda c, m: replace(m, prev=flipped(m.prev), next=flipped(m.prev)))
block_hash(
    "hash_of_our_own_header",
    "hash of block",
    lambda c, m: replace(m, prev=c.header.parent_hash, next=c.header.parent_hash),
)
block_hash("hash_zero", "hash of block", lambda c, m: replace(m, prev=ZERO32, next=ZERO32))
block_hash("hash_of_the_block_itself", "block number of an e move", lambda c, m: _asking(m, c.header.number))
block_hash("hash_too_old", "block number of an e move", lambda c, m: _asking(m, c.header.number - HASH_WINDOW - 1))
block_hash(
    "hash_of_a_number_beyond_64_bits", "block number of an e move", lambda c, m: _asking(m, 2**64 + c.header.number - 1)
)


@entry(Rule.B5, "the chain knows no hash of block", PRAGUE)
def hash_that_the_chain_does_not_know(case: Case) -> Lie:
    """Within the window, but neither a header nor the config's ancestors show it."""
    draft, asked = case.draft(), case.config.genesis_number - 2
    assert asked not in dict(case.chain.genesis.ancestors)
    shown = keccak256(b"a hash")
    t = draft.signed[0]
    i = draft[t].add(_asking(Move(UNSIGNED | Mask.REFERENCE, Mark.BLOCKHASH, 0, ZERO20, ZERO32, shown, shown), asked))
    return Lie(sealed(draft), t, i)


def system_leaf(case: Case, kind: SystemKind, moves: list[Move], number: int | None = None) -> Transaction:
    """A system transaction as the rules would have it."""
    txid = system_txid(kind, case.config.chain_id, case.header.number if number is None else number)
    leaf = replace(case.draft()[0].leaf, txid=txid, status=1, gas_used=0, logs_hash=EMPTY_LOGS_HASH)
    return Transaction(leaf, moves, None)


def leaves(name: str, reason: str, change: Callable[[Case, Draft], int | None], base: Base = CANCUN) -> None:
    """Register a block whose leaves are changed; `change` returns the leaf that is to blame, if one is."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        blamed = change(case, draft)
        draft.renumber()
        return Lie(sealed(draft), blamed)

    add(name, Rule.B8, reason, make, base)


def _drop(draft: Draft, t: int) -> None:
    del draft.transactions[t]


def _swap(draft: Draft, a: int, b: int) -> int:
    """Exchange two leaves; returns the earlier one."""
    rows = draft.transactions
    a, b = a % len(rows), b % len(rows)
    rows[a], rows[b] = rows[b], rows[a]
    return min(a, b)


def _insert(draft: Draft, t: int, transaction: Transaction) -> None:
    draft.transactions.insert(t, transaction)


def _append(draft: Draft, transaction: Transaction) -> None:
    draft.transactions.append(transaction)


def _say(draft: Draft, t: int, **fields: Any) -> int:
    draft.transactions[t].say(**fields)
    return t % len(draft.transactions)


def _no_envelope(draft: Draft) -> None:
    draft[draft.signed[-1]].envelope = None


HISTORY_AT = bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935")
_NUMBER = "number of leaves"

leaves("opening_call_missing", _NUMBER, lambda c, d: _drop(d, 0))
leaves("request_call_missing", _NUMBER, lambda c, d: _drop(d, -1), PRAGUE)
leaves("withdrawals_leaf_missing", _NUMBER, lambda c, d: _drop(d, -1))
leaves("withdrawals_dropped_from_the_body", _NUMBER, lambda c, d: d.withdrawals.clear())
leaves("opening_call_twice", _NUMBER, lambda c, d: _insert(d, 1, d[0]))
leaves(
    "call_before_its_fork",
    _NUMBER,
    lambda c, d: _insert(d, 1, system_leaf(c, SystemKind.HISTORY, [virgin(Mark.CODE, HISTORY_AT)])),
)
leaves(
    "withdrawals_leaf_without_withdrawals",
    _NUMBER,
    lambda c, d: _append(d, system_leaf(c, SystemKind.WITHDRAWALS, [])),
    PARIS,
)
leaves("fees_leaf_in_profile_ethereum", _NUMBER, lambda c, d: _append(d, system_leaf(c, SystemKind.FEES, [])))
leaves("genesis_part_after_genesis", _NUMBER, lambda c, d: _append(d, system_leaf(c, SystemKind.GENESIS, [])))
leaves("envelope_left_over", _NUMBER, lambda c, d: d.left_over.append(c.block.envelopes[0]))
leaves("envelope_missing", _NUMBER, lambda c, d: _no_envelope(d))
leaves("opening_calls_swapped", "txid of the beacon roots leaf", lambda c, d: _swap(d, 0, 1), PRAGUE)
leaves("request_calls_swapped", "txid of the withdrawal requests leaf", lambda c, d: _swap(d, -1, -2), PRAGUE)
leaves("requests_before_withdrawals", "txid of the withdrawals leaf", lambda c, d: _swap(d, -2, -3), PRAGUE)
leaves("transaction_before_the_opening_call", "txid of the beacon roots leaf", lambda c, d: _swap(d, 0, 1))
leaves("transaction_after_the_withdrawals", "txid of the withdrawals leaf", lambda c, d: _swap(d, -1, -2) + 1)
leaves("system_call_failed", "status of the beacon roots leaf", lambda c, d: _say(d, 0, status=0))
leaves("system_call_uses_gas", "gas used of the history leaf", lambda c, d: _say(d, 1, gas_used=1), PRAGUE)
leaves(
    "system_call_logs",
    "logs hash of the consolidation requests leaf",
    lambda c, d: _say(d, -1, logs_hash=ZERO32),
    PRAGUE,
)
leaves(
    "system_txid_of_another_block",
    "txid of the beacon roots leaf",
    lambda c, d: _say(d, 0, txid=system_txid(SystemKind.BEACON_ROOTS, c.config.chain_id, c.header.number - 1)),
)


def system_move(
    name: str, reason: str, t: int, change: Callable[[Transaction], int | None], base: Base = CANCUN
) -> None:
    """Register a change to the moves of system leaf t; `change` returns the move to blame."""

    def make(case: Case) -> Lie:
        draft = case.draft()
        move = change(draft.transactions[t])
        draft.renumber()
        return Lie(sealed(draft), t % len(draft.transactions), move)

    add(name, Rule.B8, reason, make, base)


def _change(transaction: Transaction, i: int, **fields: Any) -> int:
    transaction.change(i, **fields)
    return i


def _credit(transaction: Transaction, addr: bytes) -> None:
    transaction.add(Move(UNSIGNED, Mark.BALANCE, 0, addr, ZERO32, ZERO32, (1).to_bytes(32, "big")))


def _unpaid(transaction: Transaction) -> None:
    del transaction.moves[-1]


def _stranger(transaction: Transaction) -> int:
    """The first credit goes to an address just below it."""
    addr = (int.from_bytes(transaction.moves[0].addr, "big") - 1).to_bytes(20, "big")
    return _change(transaction, 0, addr=addr, number=0, prev=ZERO32)


def _only_read(transaction: Transaction) -> int:
    """The last credit is a reference."""
    last = len(transaction.moves) - 1
    move = transaction.moves[last]
    return _change(transaction, last, mask=move.mask | Mask.REFERENCE, next=move.prev)


_MASK = "mask of an unsigned move"
system_move("system_move_signed", _MASK, 0, lambda t: _change(t, 0, mask=UNSIGNED & ~Mask.NEXT))
system_move(
    "system_move_guarded", _MASK, 0, lambda t: _change(t, len(t.moves) - 1, mask=UNSIGNED | Mask.REFERENCE | Mask.GUARD)
)
system_move("withdrawal_signed", _MASK, -1, lambda t: _change(t, 0, mask=UNSIGNED & ~Mask.ADDR))
system_move("withdrawal_to_a_stranger", "move of a credit", -1, _stranger)
system_move("withdrawal_that_only_reads", "move of a credit", -1, _only_read)
system_move("withdrawal_missing", "moves of a crediting leaf", -1, _unpaid)
system_move("withdrawal_too_many", "moves of a crediting leaf", -1, lambda t: _credit(t, b"\xff" * 20))
