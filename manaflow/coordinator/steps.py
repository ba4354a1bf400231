"""A block under construction: its executed steps, as columns, in the order of rule B8."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manaflow._native import Filled
from manaflow.moves.columns import I64, U8, U32, U64

Columns = tuple[U8, U8, U8, U8, U8]
"""mark uint8[n], addr uint8[n, 20], slot, prev, next uint8[n, 32], in rule M5's order."""


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """t executed steps. txid, logs_hash: uint8[t, 32]; consumes, references: uint32[t]; status: uint8[t];

    gas_used, blob_gas: uint64[t]; columns: their moves without masks and numbers; fees: t integers, the wei that each
    adds to the block's fees (profile `manaflow`; 0 in `ethereum` and for system transactions).
    """

    txid: U8
    consumes: U32
    references: U32
    status: U8
    gas_used: U64
    blob_gas: U64
    logs_hash: U8
    columns: Columns
    fees: tuple[int, ...]

    def offsets(self) -> I64:
        """int64[t + 1]: rows of each step's moves."""
        counts = self.consumes.astype(np.int64) + self.references.astype(np.int64)
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])

    @staticmethod
    def joined(parts: Sequence[Steps]) -> Steps:
        """The steps of all parts, one after another; at least one part."""
        mark, addr, slot, prev, next_ = (np.concatenate([part.columns[i] for part in parts]) for i in range(5))
        return Steps(
            txid=np.concatenate([part.txid for part in parts]),
            consumes=np.concatenate([part.consumes for part in parts]),
            references=np.concatenate([part.references for part in parts]),
            status=np.concatenate([part.status for part in parts]),
            gas_used=np.concatenate([part.gas_used for part in parts]),
            blob_gas=np.concatenate([part.blob_gas for part in parts]),
            logs_hash=np.concatenate([part.logs_hash for part in parts]),
            columns=(mark, addr, slot, prev, next_),
            fees=tuple(itertools.chain.from_iterable(part.fees for part in parts)),
        )


def bytes_column(data: bytes, width: int) -> U8:
    """uint8[n, width] over bytes."""
    return np.frombuffer(data, np.uint8).reshape(-1, width)


def steps_of(filled: Filled, txid: U8, blob_gas: U64) -> Steps:
    """The native filler's result as columns, without fees. txid: uint8[t, 32]; blob_gas: uint64[t]."""
    columns = (
        np.frombuffer(filled.marks, np.uint8),
        bytes_column(filled.addrs, 20),
        bytes_column(filled.slots, 32),
        bytes_column(filled.prevs, 32),
        bytes_column(filled.nexts, 32),
    )
    return Steps(
        txid,
        np.frombuffer(filled.consumes, np.uint32),
        np.frombuffer(filled.references, np.uint32),
        np.frombuffer(filled.statuses, np.uint8),
        np.frombuffer(filled.gas_used, np.uint64),
        blob_gas,
        bytes_column(filled.logs_hashes, 32),
        columns,
        (0,) * len(txid),
    )
