"""A wallet at a node: declare on its state, submit, wait for what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from manaflow.errors import Failure
from manaflow.moves.envelopes import created_address, decode_envelope, recover_sender
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark, Mask
from manaflow.rules.config import ChainConfig
from manaflow.wallet.declare import Declaration, Wish, declare
from manaflow.wallet.intents import Policy
from manaflow.wallet.replace import bumped
from manaflow.wallet.rpc import NodeRefused, Rpc, data, fields, printable, quantity
from manaflow.wallet.rpc_source import RpcSource, next_nonce
from manaflow.wallet.source import Cell, Snapshot
from manaflow.wallet.words import amount

MAX_UNASKED_FEE: Final = 10**17
"""Wei: a fee that may be more is signed only if its signer names it, since the base fee is the node's word."""
ATTEMPTS: Final = 4
"""How often a state is read anew that moves while it is read."""
POLL_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Landed:
    """It is in a block."""

    txid: bytes
    block: int
    status: int
    gas_used: int
    fee: int
    """Wei."""
    created: bytes | None
    """The contract that it deployed."""

    def lines(self) -> list[str]:
        """For people."""
        how = "succeeded" if self.status == 1 else "failed, and paid its fee"
        line = f"0x{self.txid.hex()} {how} in block {self.block}: {self.gas_used} gas, {amount(self.fee)} of fee"
        return [line] if self.created is None else [line, f"it deployed 0x{self.created.hex()}"]


@dataclass(frozen=True, slots=True)
class LostRace:
    """It is in no block, and why, as the node says."""

    txid: bytes
    detail: str
    winner: bytes | None
    """Txid of the transaction that changed a cell first, or took its nonce."""
    may_change: tuple[str, ...]
    """What to sign anew for a fill to fit."""
    waits: bool
    """It stays in the pool in case the state comes back."""

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"0x{self.txid.hex()} is not in a block: {self.detail}"]
        if self.winner is not None:
            lines.append(f"the race went to 0x{self.winner.hex()}")
        if self.may_change:
            lines.append(
                f"to land it, sign anew or leave open: {', '.join(self.may_change)} (--again declares it anew)"
            )
        if self.waits:
            lines.append("it waits in the pool for the state to come back, and may still be filled until it expires")
        return lines


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is known yet; it may still land."""

    txid: bytes

    def lines(self) -> list[str]:
        """For people."""
        return [f"0x{self.txid.hex()} still waits, and may be filled until it expires or its nonce is used"]


Ending = Landed | LostRace | Waiting


class Client:
    """One node, one chain."""

    def __init__(self, rpc: Rpc, config: ChainConfig) -> None:
        self.rpc, self.config = rpc, config
        self._creates: dict[bytes, bytes | None] = {}
        """By txid of what was submitted: the address of the contract that it deploys."""

    def declare(self, sender: bytes, wish: Wish, policy: Policy) -> Declaration:
        """Declare a wish on the node's state. A replacement is a wish that names its nonce.

        Raises what declare.declare does, Failure if earlier transactions wait, if the nonce to replace is used, or if
        the fee may be more than one expects.
        """
        pending = wish.nonce is None or self._is_pending(sender, wish.nonce)
        for _ in range(ATTEMPTS):
            source = RpcSource(self.rpc, self.config, pending=pending)
            snapshot = Snapshot(source)
            declared = declare(snapshot, sender, wish, policy)
            if source.is_unmoved():
                break
        else:
            raise Failure("the node's state moves faster than it can be read")
        if wish.nonce is None:
            self._check_nonce(sender, declared.transaction.nonce)
        check_fee(declared, wish)
        return declared

    def _is_pending(self, sender: bytes, nonce: int) -> bool:
        """True if a replacement is declared on the open block; False if what it replaces may stand there already."""
        location = (int(Mark.NONCE), sender, ZERO32)
        if int.from_bytes(self.cell(location, pending=True).value, "big") == nonce:
            return True
        if int.from_bytes(self.cell(location).value, "big") > nonce:
            raise Failure(
                f"nonce {nonce} is used, by the transaction that was to be replaced or by another one: look which, "
                "before you sign the same with another nonce, or it may happen twice"
            )
        return False

    def _check_nonce(self, sender: bytes, nonce: int) -> None:
        waiting = next_nonce(self.rpc, sender) - nonce
        if waiting > 0:
            raise Failure(
                f"{waiting} earlier transaction(s) of this sender wait, from nonce {nonce} on: what they will leave is "
                "not known yet; wait for them, or replace one (--speed-up, --cancel)"
            )

    def cell(self, location: Location, *, pending: bool = False) -> Cell:
        """The live cell at a location, as the node says."""
        return RpcSource(self.rpc, self.config, pending=pending).cell(location)

    def head_hash(self) -> bytes:
        """The hash of the node's head: its word."""
        return data(fields(self.rpc.call("mana_head"), "mana_head").get("hash"), "the head's hash", 32)

    def inclusion(self, location: Location, cell: Cell) -> bytes | None:
        """A proof of the move that made a cell, for verify.check_shown; None if the node has none."""
        txid = "0x" + cell.intx.hex()
        told = self.rpc.call("mana_getMoves", txid)
        if told is None:
            return None
        place = _place_of(fields(told, "the transaction's moves").get("moves"), location)
        proof = self.rpc.call("mana_getInclusion", txid, place)
        return None if proof is None else data(proof, "the inclusion proof")

    def submit(self, envelope: bytes) -> bytes:
        """Send a signed envelope; its txid, once the node has it. Raises NodeRefused, or Verdict (S1, S2)."""
        txid = keccak256(envelope)
        self._creates[txid] = created_by(envelope)
        try:
            told = data(self.rpc.call("mana_submit", "0x" + envelope.hex()), "the transaction's id", 32)
        except Failure as failure:
            failure.add_note(_was_sent(txid))
            raise
        if told != txid:
            raise Failure(f"the node names the transaction 0x{told.hex()}, it is 0x{txid.hex()}")
        return txid

    def wait(self, txid: bytes, seconds: float, sleep: Callable[[float], None] = time.sleep) -> Ending:
        """Wait for a receipt or a verdict. A Failure on the way names what was sent, lest it be sent twice."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = self.receipt(txid) or self.conflict(txid)
            except Failure as failure:
                failure.add_note(_was_sent(txid))
                raise
            if found is not None:
                return found
            if time.monotonic() >= deadline:
                return Waiting(txid)
            sleep(POLL_SECONDS)

    def receipt(self, txid: bytes) -> Landed | None:
        """What the node says of a transaction in a sealed block."""
        told = self.rpc.call("eth_getTransactionReceipt", "0x" + txid.hex())
        if told is None:
            return None
        receipt = fields(told, "the receipt")
        if data(receipt.get("transactionHash"), "the receipt's transaction", 32) != txid:
            raise Failure("the node gives the receipt of another transaction")
        gas = quantity(receipt.get("gasUsed"), "the gas used")
        price = quantity(receipt.get("effectiveGasPrice"), "the price", 256)
        told_created = receipt.get("contractAddress")
        created = None if told_created is None else data(told_created, "the contract's address", 20)
        if created != self._creates.get(txid, created):
            raise Failure("the node names another contract than the one that the transaction deployed")
        return Landed(
            txid,
            quantity(receipt.get("blockNumber"), "the block's number"),
            quantity(receipt.get("status"), "the status", 4),
            gas,
            gas * price,
            created,
        )

    def conflict(self, txid: bytes) -> LostRace | None:
        """What the node's coordinator last told the signer, if it did."""
        try:
            told = self.rpc.call("mana_explainConflict", "0x" + txid.hex())
        except NodeRefused:  # a node without a coordinator
            return None
        if told is None:
            return None
        notice = fields(told, "the conflict")
        winner, changes = notice.get("winner"), notice.get("mayChange")
        listed = [one for one in changes if isinstance(one, str)][:16] if isinstance(changes, list) else []
        return LostRace(
            txid,
            printable(notice.get("detail")),
            None if winner is None else data(winner, "the winner", 32),
            tuple(printable(one) for one in listed),
            notice.get("waits") is True,
        )


def _was_sent(txid: bytes) -> str:
    return f"0x{txid.hex()} is signed and was sent: whoever has it may still fill it"


def created_by(envelope: bytes) -> bytes | None:
    """The address of the contract that a transaction deploys, None if it calls one. Raises Verdict (S1, S2)."""
    transaction = decode_envelope(envelope)
    if transaction.to:
        return None
    return created_address(recover_sender(transaction), transaction.nonce)


def check_fee(declared: Declaration, wish: Wish) -> None:
    """Raises Failure if more may be paid than anyone would expect who named no fee."""
    transaction = declared.transaction
    most = transaction.gas_limit * transaction.max_fee
    is_named = wish.max_fee is not None and not wish.is_fee_chosen
    if not is_named and most > MAX_UNASKED_FEE:
        raise Failure(
            f"the fee may be {amount(most)}, by the base fee that the node names; if that is right, name --max-fee"
        )


def again(wish: Wish, lost: LostRace, declared: Declaration, policy: Policy) -> Wish:
    """The wish to declare after a lost race; if the old one still waits, for fees that replace it.

    With the same nonce, whatever the node says became of the old one: so that never both land. What was guarded or
    pinned must still be as it was. Raises Failure if replacing takes more than the max fee that the signer named.
    """
    old = declared.transaction
    wish = replace(wish, nonce=old.nonce, held=_held(declared, policy))
    if not lost.waits:
        return wish
    max_fee = bumped(old.max_fee)
    if wish.max_fee is not None and not wish.is_fee_chosen:
        raise Failure(f"the old one waits, and replacing it takes a max fee of {amount(max_fee)}: name it, if you like")
    return replace(wish, priority_fee=bumped(old.max_priority_fee), max_fee=max_fee, is_fee_chosen=True)


def _held(declared: Declaration, policy: Policy) -> tuple[tuple[Location, bytes], ...]:
    """The guards and pinned cells of others, as they were. One's own balance is pinned as whatever it is."""
    own = (int(Mark.BALANCE), declared.sender, ZERO32)
    demanded = [move for move in declared.moves if move.mask & Mask.GUARD or move.location in policy.pinned - {own}]
    return tuple((move.location, move.prev) for move in demanded)


def _place_of(moves: Any, location: Location) -> int:
    """The place of the move that consumes a location. Whatever is wrong, the proof shows it."""
    mark, address, slot = location
    wanted = {"kind": "consume", "mark": chr(mark), "addr": "0x" + address.hex(), "slot": "0x" + slot.hex()}
    for place, move in enumerate(moves if isinstance(moves, list) else []):
        if isinstance(move, dict) and all(move.get(name) == value for name, value in wanted.items()):
            return place
    raise Failure("the node shows no move that made the cell")
