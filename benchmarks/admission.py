"""How many filled transactions a second does a validator admit to an open block, with everything that admission is?

ERC-20 transfers of distinct senders, in batches of 100 and of 1,000: decoded and their senders recovered, judged by S,
M, B, V and X (each executed alone on its own moves), taken in, written and fsynced before the reply. Before anything is
timed, every transaction is admitted, the block is sealed by a producer and imported by a second validator that executes
it; and a batch with one wrong fill loses exactly that one. Beside the whole, its parts, each timed by itself. Times are
CPU time of the process, over all its threads, and for the whole the time that elapsed as well (it waits for the disk).

    taskset -c 0 python benchmarks/admission.py --rounds 5 --json admission.json
    python benchmarks/admission.py --profile           # where the Python time goes
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import rlp
from blocks import machine
from coincurve import PrivateKey
from fills import ETHER, SOLD, TOKEN_CODE, entry, selector, word
from rich.console import Console
from rich.table import Table

from manaflow._native import Codes, World
from manaflow.coordinator.genesis import manaflow_config, new_chain
from manaflow.coordinator.producer import Producer
from manaflow.coordinator.replay import DEVELOPMENT_KEY, address_of
from manaflow.coordinator.steps import bytes_column
from manaflow.errors import Rule
from manaflow.evm.envelopes import decode_envelopes
from manaflow.evm.environment import environment_of
from manaflow.evm.native import fill_steps
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.batch import Batch
from manaflow.moves.columns import Moves
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.marks import UNSIGNED, ZERO32, Location, Mask
from manaflow.moves.wire import GenesisFile
from manaflow.moves.wire_batch import decode_batch, encode_batch
from manaflow.validator.admission import OpenBlock
from manaflow.validator.candidates import candidates_of, judge_apart
from manaflow.validator.validator import Validator

CHAIN_ID: Final = 7_779
GAS_LIMIT: Final = 1 << 40
SIZES: Final = (100, 1_000)


@dataclass(frozen=True)
class Cell:
    """A live cell."""

    number: int
    intx: bytes
    value: bytes


class Latest:
    """Which cell lives at each location of genesis."""

    def __init__(self, genesis: GenesisFile) -> None:
        block, first = genesis.block, 1
        self._cells: dict[bytes, Cell] = {}
        offsets = block.leaves.move_offsets().tolist()
        for t in range(len(block.leaves)):
            txid = block.leaves.txid[t].tobytes()
            for row in range(offsets[t], offsets[t + 1]):
                mark, addr, slot = block.moves[row].location
                self._cells[bytes((mark,)) + addr + slot] = Cell(first, txid, block.moves[row].next)
                first += 1

    def cell(self, location: Location) -> Cell:
        """What lives at a location."""
        mark, addr, slot = location
        return self._cells.get(bytes((mark,)) + addr + slot, Cell(0, ZERO32, ZERO32))

    def source(self, key: bytes) -> bytes | None:
        """The value at mark | addr | slot."""
        found = self._cells.get(key)
        return None if found is None else found.value


@dataclass
class Load:
    """A chain, and a transfer by each of its accounts."""

    genesis: GenesisFile
    latest: Latest
    envelopes: list[bytes]

    @staticmethod
    def of(count: int) -> Load:
        """So many accounts."""
        keys = [PrivateKey(keccak256(f"sender {i}".encode())) for i in range(count)]
        addresses = [keccak256(key.public_key.format(compressed=False)[1:])[12:] for key in keys]
        receivers = [keccak256(f"receiver {i}".encode())[12:] for i in range(count)]
        storage = {entry(0, address): word(1_000) for address in (*addresses, *receivers)}
        alloc: dict[bytes, Any] = {address: (ETHER, 0, b"", {}) for address in addresses}
        alloc[SOLD] = (0, 1, TOKEN_CODE, storage)
        config = manaflow_config(CHAIN_ID, [address_of(DEVELOPMENT_KEY)])
        genesis = new_chain(config, alloc, NATIVE, timestamp=1_000, gas_limit=GAS_LIMIT, base_fee=7)
        envelopes = [_transfer(key, to) for key, to in zip(keys, receivers, strict=True)]
        return Load(genesis, Latest(genesis), envelopes)

    def batches(self, header: Header, validator: Validator, size: int) -> list[Batch]:
        """The transfers, filled."""
        world, environment = World(self.latest.source, validator.code), environment_of(header, validator.config)
        parts = (self.envelopes[at : at + size] for at in range(0, len(self.envelopes), size))
        return [self._batch(part, world, environment) for part in parts]

    def _batch(self, envelopes: Sequence[bytes], world: World, environment: Any) -> Batch:
        senders = [row.tobytes() for row in decode_envelopes(envelopes).sender]
        filled = fill_steps(world, environment, envelopes, senders, {}, Codes())
        consumes, references = (np.frombuffer(c, np.uint32) for c in (filled.consumes, filled.references))
        mark, addr = np.frombuffer(filled.marks, np.uint8), bytes_column(filled.addrs, 20)
        slot, prev, after = (bytes_column(c, 32) for c in (filled.slots, filled.prevs, filled.nexts))
        cells = [self.latest.cell((int(m), a.tobytes(), s.tobytes())) for m, a, s in zip(mark, addr, slot, strict=True)]
        is_reference = (prev == after).all(axis=1)
        return Batch(
            envelopes=tuple(envelopes),
            consumes=consumes,
            references=references,
            status=np.frombuffer(filled.statuses, np.uint8),
            gas_used=np.frombuffer(filled.gas_used, np.uint64),
            logs_hash=bytes_column(filled.logs_hashes, 32),
            moves=Moves(
                mask=np.where(is_reference, UNSIGNED | Mask.REFERENCE, UNSIGNED).astype(np.uint8),
                mark=mark,
                number=np.array([cell.number for cell in cells], np.uint64),
                addr=addr,
                slot=slot,
                prev=prev,
                next=after,
            ),
            intx=bytes_column(b"".join(cell.intx for cell in cells), 32),
            codes=(),
        )


def _transfer(key: PrivateKey, to: bytes) -> bytes:
    data = selector("transfer(address,uint256)") + to.rjust(32, b"\0") + word(1)
    fields: list[Any] = [CHAIN_ID, 0, 1, 100, 100_000, SOLD, 0, data, []]
    signature = key.sign_recoverable(keccak256(b"\2" + rlp.encode(fields)), hasher=None)
    tail = [signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")]
    return b"\2" + bytes(rlp.encode([*fields, *tail]))


def opened(path: Path, load: Load, threads: int) -> Producer:
    """A producer with an open block over a new state."""
    validator = Validator.create(path, load.genesis, mode="execute", threads=threads)
    producer = Producer(validator, load.latest, DEVELOPMENT_KEY)
    producer.open(timestamp=1_012, coinbase=b"\xcc" * 20)
    return producer


def block_of(producer: Producer) -> OpenBlock:
    assert producer.block is not None
    return producer.block


def assert_correct(path: Path, load: Load, threads: int) -> float:
    """See the module. Returns the moves of one transaction on average."""
    producer = opened(path / "producer", load, threads)
    batches = load.batches(block_of(producer).header, producer.validator, SIZES[0])
    gas_used = batches[0].gas_used.copy()
    gas_used[7] -= 1
    first = producer.admit(replace(batches[0], gas_used=gas_used))
    assert [(t, v.rule) for t, v in enumerate(first.verdicts) if v is not None] == [(7, Rule.X3)]
    refused = [v for batch in batches for v in producer.admit(batch).verdicts if v is not None]
    assert len(refused) == SIZES[0] - 1, "those that were in already"
    block = producer.seal()
    assert len(block.envelopes) == len(load.envelopes)
    assert bool(block.leaves.status.all())
    with Validator.create(path / "other", load.genesis, mode="execute", threads=threads) as other:
        other.import_block(block)
    producer.validator.close()
    return len(block.moves) / len(block.leaves)


def measure(path: Path, load: Load, size: int, threads: int, profiler: cProfile.Profile | None) -> dict[str, float]:
    """Seconds a transaction: admitting all batches, and parts of it. The first batch is not counted: codes are new."""
    producer = opened(path, load, threads)
    block, validator = block_of(producer), producer.validator
    first, *batches = load.batches(block.header, validator, size)
    producer.admit(first)
    count = sum(map(len, batches))
    rest = validator.config, block.codes, validator.hash_seen
    parts: dict[str, Callable[[Batch], object]] = {
        "decode the wire": lambda batch: decode_batch(encoded[id(batch)]),
        "decode, recover": lambda batch: decode_envelopes(batch.envelopes, threads),
        "S, M, B": lambda batch: judge_apart(candidates_of(batch, block.header, threads), *rest),
        "admit": lambda batch: producer.admit(batch, block.sequence),
    }
    encoded = {id(batch): encode_batch(batch) for batch in batches}
    seconds = {}
    for name, act in parts.items():
        if profiler is not None and name == "admit":
            profiler.enable()
        elapsed, started = time.perf_counter(), time.process_time()
        for batch in batches:
            act(batch)
        seconds[name] = (time.process_time() - started) / count
        if name == "admit":
            seconds["elapsed"] = (time.perf_counter() - elapsed) / count
        if profiler is not None:
            profiler.disable()
    assert block.sequence == count + len(first)
    started = time.process_time()
    producer.seal()
    seconds["seal and import"] = (time.process_time() - started) / (count + len(first))
    validator.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0 for all")
    parser.add_argument("--batches", type=int, default=6, help="of each size")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    profiler = cProfile.Profile() if arguments.profile else None
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        moves = assert_correct(path / "correct", Load.of(4 * SIZES[0]), arguments.threads)
        for size in SIZES:
            load = Load.of(size * arguments.batches)
            rounds = [
                measure(path / f"{size}-{i}", load, size, arguments.threads, profiler) for i in range(arguments.rounds)
            ]
            medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
            rows.append({"size": size, "moves": moves, "seconds": medians, "rounds": rounds})
    table = Table("batch of", "moves each", "admitted / s of CPU", *(f"{name}, us" for name in rows[0]["seconds"]))
    for row in rows:
        times = [f"{1e6 * value:.1f}" for value in row["seconds"].values()]
        table.add_row(f"{row['size']:,}", f"{row['moves']:.1f}", f"{1 / row['seconds']['admit']:,.0f}", *times)
    Console(width=160).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    if profiler is not None:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
