"""Sealing: order, numbers, totals, roots and the producer's signature (docs/SPEC.md, section 8, Producer)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from coincurve import PrivateKey

from manaflow.moves import trees
from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.columns import I64, U8, U32, U64, Leaves, Moves
from manaflow.moves.hashing import Hashing
from manaflow.moves.header import Header


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """What a block holds before it is sealed: everything but totals, roots and the signature.

    txid, logs_hash: uint8[t, 32]; consumes, references: uint32[t]; status: uint8[t]; gas_used, blob_gas: uint64[t],
    what each transaction itself uses; moves: in rule M5's order with their numbers; codes: in any order; fees: wei that
    each adds to the block's (compute_fees_added in profile `manaflow`, else 0; 0 for system transactions).
    """

    txid: U8
    consumes: U32
    references: U32
    status: U8
    gas_used: U64
    blob_gas: U64
    logs_hash: U8
    moves: Moves
    envelopes: tuple[bytes, ...]
    codes: Sequence[bytes]
    withdrawals: tuple[Withdrawal, ...]
    fees: Sequence[int]

    def offsets(self) -> I64:
        """int64[t + 1]: rows of each transaction's moves."""
        return _totals(self.consumes.astype(np.int64) + self.references.astype(np.int64)).astype(np.int64)


def _totals(added: I64 | U64 | U32) -> U64:
    """uint64[t + 1]: running totals, the one before each row and the last."""
    totals = np.zeros(len(added) + 1, np.uint64)
    np.cumsum(added.astype(np.uint64), out=totals[1:])
    return totals


def leaves_of(body: Body, first_cell: int, hashing: Hashing) -> Leaves:
    """The block's leaves with their running totals (B3)."""
    before = itertools.accumulate(body.fees, initial=0)
    fees = b"".join(total.to_bytes(32, "big") for total, _ in zip(before, body.status, strict=False))
    return Leaves(
        txid=body.txid,
        moves_root=hashing.moves_roots(body.moves, body.offsets()),
        consumes=body.consumes,
        references=body.references,
        status=body.status,
        gas_used=body.gas_used,
        logs_hash=body.logs_hash,
        first_cell=_totals(body.consumes)[:-1] + np.uint64(first_cell),
        gas=_totals(body.gas_used)[:-1],
        fees=np.frombuffer(fees, np.uint8).reshape(-1, 32),
        blob_gas=_totals(body.blob_gas)[:-1],
    )


def sign(block_hash: bytes, key: bytes) -> bytes:
    """The producer's signature, r:32 | s:32 | recovery id:1, deterministic (RFC 6979) with low s (B7)."""
    return PrivateKey(key).sign_recoverable(block_hash, hasher=None)


def seal(opened: Header, body: Body, key: bytes | None, hashing: Hashing) -> Block:
    """Close a block over `opened`, whose roots and totals (but first_cell and history_root) are still zero.

    `key`: the producer's 32-byte secret, or None for genesis, which nobody signs.
    """
    leaves = leaves_of(body, opened.first_cell, hashing)
    code_hashes = hashing.keccak_many(list(body.codes))
    order = sorted(range(len(body.codes)), key=lambda i: code_hashes[i].tobytes())
    header = replace(
        opened,
        transactions_root=hashing.tree_root(leaves.encoded()),
        codes_root=hashing.tree_root(code_hashes[order]) if order else trees.EMPTY_ROOT,
        withdrawals_root=trees.root([w.encode() for w in body.withdrawals]),
        cells=int(body.consumes.sum()),
        transactions=len(leaves),
        codes=len(order),
        fees=sum(body.fees),
        gas_used=int(body.gas_used.sum()) if key is not None else opened.gas_used,
        blob_gas_used=int(body.blob_gas.sum()) if key is not None else opened.blob_gas_used,
    )
    signature = b"" if key is None else sign(header.hash, key)
    codes = tuple(body.codes[i] for i in order)
    return Block(header, signature, leaves, body.moves, body.envelopes, codes, body.withdrawals)
