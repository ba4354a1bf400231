"""Opening a node's chain: its directory, its roles, and the surroundings that they take from this process."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manaflow.coordinator.following import Follower
from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.policy import Arrival, Policy
from manaflow.coordinator.pool import Limits
from manaflow.errors import Failure
from manaflow.moves.marks import ZERO20
from manaflow.moves.wire import GenesisFile
from manaflow.node.chain import Events
from manaflow.node.links import ValidatorLink
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.validator_role import Instantly, Interval, OnDemand, Sealing, Surroundings, ValidatorRole
from manaflow.validator.beginning import has_chain
from manaflow.validator.validator import Mode, Validator

VALIDATOR: Final = "validator"
LATEST: Final = "latest"
"""Folders of a node's directory: the validator's state, and the latest index with the pool."""
WAITING: Final = 8
"""Blocks that the latest index may write together; after kill -9 they are executed once more."""


@dataclass(frozen=True, slots=True)
class Producing:
    """How a node makes blocks."""

    key: bytes
    """The producer's secret, 32 bytes."""
    coinbase: bytes = ZERO20
    gas_limit: int | None = None
    """Towards which blocks go; None: it stays as it is."""
    seconds: float | None = 0.0
    """Between two blocks; 0: instantly; None: on demand only."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a node's chain is opened with."""

    path: Path
    genesis: Callable[[], GenesisFile] | None = None
    """Of a new directory; None: it must be there."""
    producing: Producing | None = None
    """None: another process seals, and `link` leads there."""
    link: ValidatorLink | None = None
    takes_transactions: bool = True
    policy: Policy | None = None
    pool: Limits | None = None
    mode: Mode = Mode.EXECUTE
    threads: int = 0


def open_chain(plan: Plan, events: Events) -> OwnedChain:
    """Open a node's chain, on the thread that is to own it.

    Raises Failure if the directory is new and there is no genesis, or if the key is no producer's of the chain; Locked
    if another process has it open; StorageFailure.
    """
    validator = open_validator(plan)
    try:
        latest = LatestIndex.open(plan.path / LATEST, keep_undo=validator.config.challenge_blocks, waiting=WAITING)
        try:
            return _chain(plan, validator, latest, events)
        except BaseException:
            latest.close()
            raise
    except BaseException:
        validator.close()
        raise


def open_validator(plan: Plan) -> Validator:
    """The validator of a node's directory, made if the directory is new, or its making was cut short."""
    path = plan.path / VALIDATOR
    if has_chain(path):
        return Validator.open(path, mode=plan.mode, threads=plan.threads)
    if plan.genesis is None:
        raise Failure(f"there is no chain at {plan.path}: it begins with a genesis file")
    return Validator.create(path, plan.genesis(), mode=plan.mode, threads=plan.threads)


def _chain(plan: Plan, validator: Validator, latest: LatestIndex, events: Events) -> OwnedChain:
    producing = plan.producing

    def producer(follower: Follower) -> ValidatorRole:
        assert producing is not None
        around = Surroundings(
            time.time, lambda: secrets.token_bytes(32), coinbase=producing.coinbase, gas_limit=producing.gas_limit
        )
        return ValidatorRole(validator, latest, follower, producing.key, around)

    return OwnedChain(
        validator,
        latest,
        events,
        plan.link,
        producer=None if producing is None else producer,
        sealing=None if producing is None else sealing_of(producing.seconds),
        clock=time.monotonic,
        takes_transactions=plan.takes_transactions,
        policy=plan.policy or Arrival(),
        limits=plan.pool,
    )


def sealing_of(seconds: float | None) -> Sealing:
    """The policy for so many seconds between blocks; 0: instantly; None: on demand."""
    if seconds is None:
        return OnDemand()
    return Interval(seconds, time.monotonic()) if seconds > 0 else Instantly()
