"""What one transaction costs a node from its envelope to its receipt, stage by stage, without JSON-RPC.

A node of one process (coordinator, producer, validator in mode `execute`, latest index) takes envelopes of distinct
senders in chunks; each chunk is filled, admitted, sealed and followed before the next one comes. Every receipt is read
back and every balance is compared afterwards. Times are CPU time of the process over all its threads, each stage
without the stages inside it; `elapsed` is what passed.

    python benchmarks/node_path.py --count 4000 --chunk 1000
    python benchmarks/node_path.py --profile           # where the Python time goes
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import rlp
from blocks import machine
from coincurve import PrivateKey
from fills import ETHER, SOLD, TOKEN_CODE, entry, selector, word
from rich.console import Console
from rich.table import Table

from manaflow import _native
from manaflow.coordinator.core import Coordinator
from manaflow.coordinator.door import Door
from manaflow.coordinator.filling import Filling
from manaflow.coordinator.following import Follower
from manaflow.coordinator.genesis import manaflow_config, new_chain
from manaflow.coordinator.latest_index import LatestIndex
from manaflow.coordinator.messages import Accepted
from manaflow.coordinator.pool import Limits
from manaflow.coordinator.producer import Producer
from manaflow.coordinator.replay import DEVELOPMENT_KEY, address_of
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.moves.wire import GenesisFile
from manaflow.node.chain import SealedBlock
from manaflow.node.opening import WAITING
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.validator_role import Instantly, Surroundings, ValidatorRole
from manaflow.validator.admission import OpenBlock
from manaflow.validator.index import Index
from manaflow.validator.validator import Validator

CHAIN_ID: Final = 7_779
GAS_LIMIT: Final = 1 << 40
SENT: Final = 5
"""Tokens, or wei, of each transfer."""
STAGES: Final[tuple[tuple[type, str, str], ...]] = (
    (Door, "read", "door"),
    (Coordinator, "handle", "pool"),
    (Filling, "fill", "fill"),
    (OpenBlock, "admit", "admit"),
    (Producer, "seal", "seal"),
    (Validator, "import_block", "import"),
    (Index, "check", "V of the block"),
    (Index, "apply", "index"),
    (Follower, "_receipts", "receipts"),
    (Follower, "_apply", "follow"),
    (LatestIndex, "apply", "latest index"),
    (LatestIndex, "keep", "pool's commit"),
)
"""(class, method, name of its stage)."""


@dataclass
class Stopwatch:
    """CPU seconds of nested stages, each without what it calls."""

    seconds: dict[str, float] = field(default_factory=dict)
    _stack: list[float] = field(default_factory=list)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, under the clock."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            started, before = time.process_time(), len(self._stack)
            self._stack.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                whole, inner = time.process_time() - started, self._stack.pop()
                self.seconds[name] = self.seconds.get(name, 0.0) + whole - inner
                if before:
                    self._stack[-1] += whole

        return wrapped

    @contextmanager
    def running(self) -> Any:
        """All stages are under the clock."""
        with ExitStack() as stack:
            for owner, method, name in STAGES:
                stack.enter_context(patch.object(owner, method, self.timed(name, getattr(owner, method))))
            yield


class Deaf:
    """Whoever listens to a node's events, without ears."""

    def __init__(self) -> None:
        self.blocks: list[SealedBlock] = []

    def sealed(self, block: SealedBlock) -> None:
        """Remember it."""
        self.blocks.append(block)

    def undone(self, block: SealedBlock) -> None:
        """Nobody does that here."""
        raise AssertionError("a block was undone")

    def accepted(self, txid: bytes, envelope: bytes) -> None:
        """Nothing."""

    def notice(self, kind: str, item: Mapping[str, Any]) -> None:
        """Nobody loses a race here."""
        assert kind == "admitted", item


@dataclass
class Load:
    """A chain, and a transfer by each of its accounts."""

    name: str
    genesis: GenesisFile
    receivers: list[Location]
    before: int
    envelopes: list[bytes]

    @staticmethod
    def of(name: str, count: int, tip: int) -> Load:
        """So many accounts. name: "transfer" or "erc20". tip: wei; another one makes other envelopes."""
        keys = [PrivateKey(keccak256(f"sender {i}".encode())) for i in range(count)]
        addresses = [keccak256(key.public_key.format(compressed=False)[1:])[12:] for key in keys]
        receivers = [keccak256(f"receiver {i}".encode())[12:] for i in range(count)]
        slots = [entry(0, address) for address in receivers]
        storage = {entry(0, address): word(1_000) for address in addresses} | dict.fromkeys(slots, word(1_000))
        alloc: dict[bytes, Any] = {address: (ETHER, 0, b"", {}) for address in addresses}
        alloc[SOLD] = (0, 1, TOKEN_CODE, storage)
        config = manaflow_config(CHAIN_ID, [address_of(DEVELOPMENT_KEY)])
        genesis = new_chain(config, alloc, NATIVE, timestamp=1_000, gas_limit=GAS_LIMIT, base_fee=7)
        if name == "erc20":
            data = [selector("transfer(address,uint256)") + to.rjust(32, b"\0") + word(SENT) for to in receivers]
            raws = [signed(key, SOLD, 0, call, tip) for key, call in zip(keys, data, strict=True)]
            return Load(name, genesis, [(Mark.STORAGE, SOLD, slot) for slot in slots], 1_000, raws)
        raws = [signed(key, to, SENT, b"", tip) for key, to in zip(keys, receivers, strict=True)]
        return Load(name, genesis, [(Mark.BALANCE, to, ZERO32) for to in receivers], 0, raws)


def signed(key: PrivateKey, to: bytes, value: int, data: bytes, tip: int) -> bytes:
    """A call of type 2 with nonce 0."""
    fields: list[Any] = [CHAIN_ID, 0, tip, 10**9, 100_000, to, value, data, []]
    signature = key.sign_recoverable(keccak256(b"\2" + rlp.encode(fields)), hasher=None)
    tail = [signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")]
    return b"\2" + bytes(rlp.encode([*fields, *tail]))


def node(path: Path, load: Load, events: Deaf) -> OwnedChain:
    """A node of one process that seals as soon as nothing waits."""
    validator = Validator.create(path / "validator", load.genesis, mode="execute")
    latest = LatestIndex.open(path / "latest", waiting=WAITING)
    surroundings = Surroundings(now=time.time, randomness=lambda: ZERO32, coinbase=b"\xcc" * 20)

    def producer(follower: Follower) -> ValidatorRole:
        return ValidatorRole(validator, latest, follower, DEVELOPMENT_KEY, surroundings)

    limits = Limits(transactions=10**6)
    return OwnedChain(
        validator, latest, events, None, producer=producer, sealing=Instantly(), clock=time.monotonic, limits=limits
    )


def assert_done(chain: OwnedChain, load: Load, blocks: Sequence[SealedBlock]) -> None:
    """Every transaction has its receipt, with status 1; every receiver has what was sent."""
    for raw in load.envelopes:
        place = chain.place(keccak256(raw))
        assert place is not None
    statuses = [receipt.status for block in blocks for receipt in block.receipts]
    assert statuses == [1] * len(load.envelopes)
    with_logs = [len(receipt.logs_rlp) > 1 for block in blocks for receipt in block.receipts]
    assert all(with_logs) == any(with_logs) == (load.name == "erc20")
    for location in load.receivers:
        assert int.from_bytes(chain.latest.cell(location).value, "big") == load.before + SENT


def measure(path: Path, load: Load, chunk: int, profiler: cProfile.Profile | None) -> dict[str, float]:
    """Seconds a transaction by stage. The first chunk is not counted: codes are new, and kernels are loaded."""
    events, watch = Deaf(), Stopwatch()
    chain = node(path, load, events)
    first, rest = load.envelopes[:chunk], load.envelopes[chunk:]
    assert all(isinstance(result, Accepted) for result in chain.submit(first))
    recovered = _native.senders_recovered() if hasattr(_native, "senders_recovered") else 0
    with watch.running():
        elapsed, started = time.perf_counter(), time.process_time()
        if profiler is not None:
            profiler.enable()
        for at in range(0, len(rest), chunk):
            chain.submit(rest[at : at + chunk])
        if profiler is not None:
            profiler.disable()
        whole, elapsed = time.process_time() - started, time.perf_counter() - elapsed
    assert_done(chain, load, events.blocks)
    chain.close()
    found = {name: watch.seconds.get(name, 0.0) / len(rest) for _, _, name in STAGES}
    found["other"] = whole / len(rest) - sum(found.values())
    found |= {"whole": whole / len(rest), "elapsed": elapsed / len(rest)}
    if hasattr(_native, "senders_recovered"):
        found["recoveries"] = (_native.senders_recovered() - recovered) / len(rest)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4_000)
    parser.add_argument("--chunk", type=int, default=1_000, help="envelopes that are taken together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loads", nargs="*", default=["transfer", "erc20"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    profiler = cProfile.Profile() if arguments.profile else None
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.loads:
            rounds = []
            for i in range(arguments.rounds):
                load = Load.of(name, arguments.count, tip=i + 1)  # a sender is recovered once in a process
                rounds.append(measure(Path(folder) / f"{name}-{i}", load, arguments.chunk, profiler))
            rows[name] = {stage: statistics.median(one[stage] for one in rounds) for stage in rounds[0]}
    table = Table("us of CPU a transaction", *rows)
    for stage in next(iter(rows.values())):
        factor = 1 if stage == "recoveries" else 1e6
        table.add_row(stage, *(f"{factor * found[stage]:.1f}" for found in rows.values()))
    table.add_row("transactions / s", *(f"{1 / found['elapsed']:,.0f}" for found in rows.values()))
    Console(width=100).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "chunk": arguments.chunk, "rows": rows}) + "\n")
    if profiler is not None:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    main()
