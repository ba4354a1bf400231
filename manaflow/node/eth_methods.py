"""All Ethereum methods of a node in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from manaflow.node.chain_thread import NodeThread
from manaflow.node.eth_accounts import AccountMethods
from manaflow.node.eth_blocks import BlockMethods
from manaflow.node.eth_calls import CALL_GAS, CallMethods
from manaflow.node.eth_dev import DevMethods, Producing
from manaflow.node.eth_fees import FeeMethods
from manaflow.node.eth_logs import LogLimits, LogMethods
from manaflow.node.eth_network import NetworkMethods
from manaflow.node.eth_pool import PoolMethods
from manaflow.node.eth_sending import SendingMethods
from manaflow.node.eth_state import StateMethods
from manaflow.node.filters import Filters
from manaflow.node.limits import Clock, Limits
from manaflow.node.parameters import Method


@dataclass(frozen=True, slots=True)
class EthLimits:
    """What Ethereum's methods may take."""

    call_gas: int = CALL_GAS
    logs: LogLimits = field(default_factory=LogLimits)


def eth_methods(
    thread: NodeThread,
    limits: Limits,
    clock: Clock,
    *,
    keys: Sequence[bytes] = (),
    producing: Producing | None = None,
    eth_limits: EthLimits | None = None,
) -> tuple[dict[str, Method], Filters]:
    """The methods by name, and the filters among them, which a node must publish to.

    keys: of accounts for development; producing: for a node whose clients may make blocks. Both only for a node whose
    clients are trusted.
    """
    bounds = eth_limits or EthLimits()
    fees, logs = FeeMethods(thread), LogMethods(thread, limits, bounds.logs)
    filters = Filters(limits, clock, logs.get_logs, thread.settled)
    methods: dict[str, Method] = {}
    for part in (
        NetworkMethods(thread),
        StateMethods(thread),
        CallMethods(thread, bounds.call_gas),
        BlockMethods(thread),
        SendingMethods(thread),
        PoolMethods(thread),
        AccountMethods(thread, fees, keys),
        fees,
        logs,
        filters,
    ):
        methods.update(part.methods())
    if producing is not None:
        methods.update(DevMethods(producing).methods())
    return methods, filters
