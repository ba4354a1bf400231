"""M1 to M6: what a transaction's moves fulfil by themselves (docs/SPEC.md, section 3).

A transaction's moves are given in their order. Each function raises Verdict with its own rule, the place and values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Final

from manaflow.errors import Rule, Verdict
from manaflow.moves.block import Withdrawal
from manaflow.moves.marks import ZERO20, ZERO32, Location, Mark, Mask, Move
from manaflow.moves.transactions import EthereumTransaction
from manaflow.rules.config import Profile

GWEI: Final = 10**9
"""Wei in the unit of a withdrawal's amount (EIP-4895)."""
_MARKS: Final = frozenset(Mark)


def value_of(word: bytes) -> int:
    """The number in a big-endian word."""
    return int.from_bytes(word, "big")


def named(location: Location) -> str:
    """A location in words, for messages; an unknown mark as a number."""
    mark, addr, slot = location
    shown = chr(mark) if mark in _MARKS else f"mark {mark}"
    return f"{shown} 0x{addr.hex()} slot 0x{slot.hex()}"


def check_m1(moves: Sequence[Move]) -> None:
    """M1: one move per location."""
    seen: dict[Location, int] = {}
    for i, move in enumerate(moves):
        first = seen.setdefault(move.location, i)
        if first != i:
            raise Verdict(Rule.M1, f"move {first} names the same location", move=i, actual=named(move.location))


def check_m2(moves: Sequence[Move]) -> None:
    """M2: a reference has next == prev, a consume has next != prev."""
    for i, move in enumerate(moves):
        if move.is_reference and move.next != move.prev:
            raise Verdict(Rule.M2, "next of a reference", move=i, expected=move.prev, actual=move.next)
        if not move.is_reference and move.next == move.prev:
            raise Verdict(Rule.M2, "next of a consume equals its prev", move=i, expected="another", actual=move.next)


def check_m3(moves: Sequence[Move], sender: bytes, nonce: int) -> None:
    """M3: exactly one consume of the sender's nonce, whose prev is the envelope's nonce. Binds signed transactions."""
    found = [i for i, m in enumerate(moves) if m.location == (Mark.NONCE, sender, ZERO32) and not m.is_reference]
    if len(found) != 1:
        raise Verdict(Rule.M3, f"consumes of the nonce of sender 0x{sender.hex()}", expected=1, actual=len(found))
    prev = value_of(moves[found[0]].prev)
    if prev != nonce:
        raise Verdict(Rule.M3, "prev of the sender's nonce", move=found[0], expected=nonce, actual=prev)


def check_m4(moves: Sequence[Move]) -> None:
    """M4: the mark is known, unused fields are zero, number 0 means prev 0, `e` moves are references with number 0."""
    for i, move in enumerate(moves):
        _check_m4_move(move, i)


def _check_m4_move(move: Move, i: int) -> None:
    if move.mark not in _MARKS:
        raise Verdict(Rule.M4, "mark", move=i, expected="one of b c e n s", actual=move.mark)
    if move.mark == Mark.BLOCKHASH:
        if not move.is_reference:
            raise Verdict(Rule.M4, "an e move consumes", move=i, expected="a reference", actual="a consume")
        if move.number != 0:
            raise Verdict(Rule.M4, "number of an e move", move=i, expected=0, actual=move.number)
        if move.addr != ZERO20:
            raise Verdict(Rule.M4, "address of an e move", move=i, expected=ZERO20, actual=move.addr)
        return
    if move.mark != Mark.STORAGE and move.slot != ZERO32:
        raise Verdict(Rule.M4, f"slot of a {chr(move.mark)} move", move=i, expected=ZERO32, actual=move.slot)
    if move.number == 0 and move.prev != ZERO32:
        raise Verdict(Rule.M4, "prev of a virgin cell", move=i, expected=ZERO32, actual=move.prev)


def check_m4_precompiles(moves: Sequence[Move], addresses: Set[bytes]) -> None:
    """M4, the part that needs the fork: c and n of a precompile's address are never cells."""
    for i, move in enumerate(moves):
        if move.mark in (Mark.CODE, Mark.NONCE) and move.addr in addresses:
            raise Verdict(Rule.M4, "c or n of a precompile", move=i, expected="no move", actual=named(move.location))


def check_m5(moves: Sequence[Move]) -> None:
    """M5: consumes first, then references, each sorted by (mark, addr, slot). Equal locations are M1's."""
    for i in range(1, len(moves)):
        before, move = moves[i - 1], moves[i]
        if before.is_reference and not move.is_reference:
            raise Verdict(Rule.M5, "a consume after a reference", move=i, actual=named(move.location))
        if before.is_reference == move.is_reference and before.location > move.location:
            after = f"after {named(before.location)}"
            raise Verdict(Rule.M5, "moves out of order", move=i, expected=after, actual=named(move.location))


def check_m5_counts(moves: Sequence[Move], consumes: int, references: int) -> None:
    """M5, beside the leaf: the first `consumes` moves consume (consume k makes cell first cell + k), the rest refer.

    Raises ValueError if there are not consumes + references moves: then they are not the leaf's (B3).
    """
    if len(moves) != consumes + references:
        raise ValueError(f"{len(moves)} moves for a leaf with {consumes} consumes and {references} references")
    for i, move in enumerate(moves):
        if move.is_reference != (i >= consumes):
            kind = "a reference" if i >= consumes else "a consume"
            found = "a reference" if move.is_reference else "a consume"
            raise Verdict(Rule.M5, "direction of the move by its leaf's counts", move=i, expected=kind, actual=found)


def compute_burned(
    profile: Profile, transaction: EthereumTransaction, gas_used: int, base_fee: int, blob_fee: int
) -> int:
    """Wei that leave the balances of a signed transaction's moves by its fees (M6).

    gas_used from its leaf; base_fee (wei per gas) and blob_fee (wei per blob gas) from its header. In `ethereum` the
    tip stays in the moves (the coinbase's is among them); in `manaflow` the whole price leaves and closing credits it.
    """
    price = base_fee if profile == Profile.ETHEREUM else transaction.effective_gas_price(base_fee)
    return gas_used * price + transaction.blob_gas * blob_fee


def check_m6(moves: Iterable[Move], burned: int) -> None:
    """M6: no ether is created: sum of b next + burned <= sum of b prev, over unbounded integers.

    `burned` is compute_burned's for a signed transaction, 0 for a system call. Genesis is exempt; withdrawals
    and closing fees have check_withdrawals and check_fees.
    """
    balances = [m for m in moves if m.mark == Mark.BALANCE]
    before = sum(value_of(m.prev) for m in balances)
    after = sum(value_of(m.next) for m in balances) + burned
    if after > before:
        raise Verdict(Rule.M6, "balances after plus what is burned", expected=f"at most {before}", actual=after)


def withdrawal_credits(withdrawals: Iterable[Withdrawal]) -> dict[bytes, int]:
    """Wei for each address with a total above 0, by ascending address: the consumes of b in a WITHDRAWALS leaf."""
    totals: dict[bytes, int] = {}
    for withdrawal in withdrawals:
        totals[withdrawal.address] = totals.get(withdrawal.address, 0) + withdrawal.amount * GWEI
    return {address: totals[address] for address in sorted(totals) if totals[address] > 0}


def check_withdrawals(moves: Sequence[Move], withdrawals: Iterable[Withdrawal]) -> None:
    """The WITHDRAWALS leaf: one consume of b for each credited address (B8), next = prev + its total (M6)."""
    _check_credits(moves, withdrawal_credits(withdrawals))


def check_fees(moves: Sequence[Move], coinbase: bytes, fees: int) -> None:
    """The FEES leaf (`manaflow`): one consume of the coinbase's b (B8), next = prev + the block's fees in wei (M6)."""
    _check_credits(moves, {coinbase: fees})


def _check_credits(moves: Sequence[Move], credits: dict[bytes, int]) -> None:
    expected = [(int(Mark.BALANCE), address, ZERO32) for address in sorted(credits)]
    for i, (move, location) in enumerate(zip(moves, expected, strict=False)):
        if move.location != location or move.is_reference or move.mask & Mask.GUARD:
            wanted = f"a consume of {named(location)}"
            raise Verdict(Rule.B8, "move of a credit", move=i, expected=wanted, actual=named(move.location))
    if len(moves) != len(expected):
        raise Verdict(Rule.B8, "moves of a crediting leaf", expected=len(expected), actual=len(moves))
    for i, move in enumerate(moves):
        after = value_of(move.prev) + credits[move.addr]
        if value_of(move.next) != after:
            raise Verdict(Rule.M6, "balance after the credit", move=i, expected=after, actual=value_of(move.next))
