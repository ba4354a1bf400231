"""The closing system transactions that bring ether in: withdrawals (`ethereum`) and fees (`manaflow`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from manaflow.coordinator.steps import Steps, bytes_column
from manaflow.moves.block import Withdrawal
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.rules.moves import withdrawal_credits
from manaflow.rules.system import EMPTY_LOGS_HASH


def credits_of(
    kind: SystemKind, withdrawals: tuple[Withdrawal, ...], coinbase: bytes, fees: int
) -> Mapping[bytes, int]:
    """Wei for each address that a leaf of kind WITHDRAWALS or FEES credits."""
    return withdrawal_credits(withdrawals) if kind == SystemKind.WITHDRAWALS else {coinbase: fees}


def credit_step(txid: bytes, credits: Mapping[bytes, int], value: Callable[[Location], bytes]) -> Steps:
    """One step that consumes `b` of each credited address (B8, M6). txid: the leaf's; value: the latest one."""
    addresses = sorted(credits)
    before = [value((Mark.BALANCE, address, ZERO32)) for address in addresses]
    after = [
        (int.from_bytes(prev, "big") + credits[address]).to_bytes(32, "big")
        for prev, address in zip(before, addresses, strict=True)
    ]
    n = len(addresses)
    columns = (
        np.full(n, Mark.BALANCE, np.uint8),
        bytes_column(b"".join(addresses), 20),
        np.zeros((n, 32), np.uint8),
        bytes_column(b"".join(before), 32),
        bytes_column(b"".join(after), 32),
    )
    return Steps(
        txid=bytes_column(txid, 32),
        consumes=np.array([n], np.uint32),
        references=np.zeros(1, np.uint32),
        status=np.ones(1, np.uint8),
        gas_used=np.zeros(1, np.uint64),
        blob_gas=np.zeros(1, np.uint64),
        logs_hash=bytes_column(EMPTY_LOGS_HASH, 32),
        columns=columns,
        fees=(0,),
    )
