"""A block that holds a transaction which no honest producer would take: what a validator must refuse by itself."""

from __future__ import annotations

import numpy as np

from manaflow.coordinator.filler import Filler
from manaflow.coordinator.inputs import BlockInputs
from manaflow.coordinator.seal import Body, seal
from manaflow.errors import Verdict
from manaflow.moves.block import Block
from manaflow.moves.columns import Moves
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import UNSIGNED, ZERO32, Location, Mark, Mask, Move
from manaflow.rules.system import EMPTY_LOGS_HASH


def sender_of(envelope: bytes, otherwise: bytes) -> bytes:
    """Who signed; `otherwise` (20 bytes) if S1 refuses the envelope."""
    try:
        return recover_sender(decode_envelope(envelope))
    except Verdict:
        return otherwise


def forged_block(filler: Filler, inputs: BlockInputs, sender: bytes) -> Block:
    """The next block with its one envelope as if it were valid: its nonce is used, its gas is free, no more happens.

    Well formed and signed, so that what is wrong with the transaction is all that is wrong with the block.
    """
    nonce = filler.value((Mark.NONCE, sender, ZERO32))
    raised = ((int.from_bytes(nonce, "big") + 1) % 2**64).to_bytes(32, "big")
    seen = ((Mark.NONCE, raised), (Mark.BALANCE, None), (Mark.CODE, None))
    moves = Moves.of([_move(filler, (mark, sender, ZERO32), next_) for mark, next_ in seen])
    envelope = inputs.envelopes[0]
    body = Body(
        txid=np.frombuffer(keccak256(envelope), np.uint8).reshape(1, 32),
        consumes=np.array([1], np.uint32),
        references=np.array([2], np.uint32),
        status=np.ones(1, np.uint8),
        gas_used=np.zeros(1, np.uint64),
        blob_gas=np.array([_blob_gas(envelope)], np.uint64),
        logs_hash=np.frombuffer(EMPTY_LOGS_HASH, np.uint8).reshape(1, 32),
        moves=moves,
        envelopes=inputs.envelopes,
        codes=(),
        withdrawals=(),
        fees=(0,),
    )
    return seal(filler.open(inputs), body, filler.key, filler.hashing)


def _move(filler: Filler, location: Location, next_: bytes | None) -> Move:
    """A consume that leaves `next_`, or a reference."""
    prev, number = filler.value(location), filler.latest.number(location)
    mask = UNSIGNED if next_ is not None else UNSIGNED | Mask.REFERENCE
    return Move(int(mask), location[0], number, location[1], location[2], prev, prev if next_ is None else next_)


def _blob_gas(envelope: bytes) -> int:
    try:
        return decode_envelope(envelope).blob_gas
    except Verdict:
        return 0
