"""Execution proofs of real transactions: an outcome that nobody executed, sealed again, and the proof against it.

Sizes of every signed transaction of a block, with and without the code that it runs; verification times of a sample.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles
from typing import Final

from manaflow.errors import Rule
from manaflow.evm.executor import Executor
from manaflow.fraudproof.build import prove_transaction
from manaflow.fraudproof.evidence import TransactionEvidence
from manaflow.fraudproof.format import MOVE_BYTES, Proof
from manaflow.fraudproof.verify import verify
from manaflow.moves import trees
from manaflow.moves.block import Block
from manaflow.moves.hashing import keccak256
from tests.catalogue.dishonest import resigned
from tests.mutation.court import PYEVM, REVM, code_bytes_of
from tests.replays import Chain, chain, supported_names

MOST: Final = 10_240
"""Bytes of an execution proof beside the code: 10 KB, what docs/SPEC.md section 9 promises for typical transactions."""
SAMPLE: Final = 40
"""Transactions of a block whose proofs are verified."""
MAINNET: Final = "1-"


@dataclass(frozen=True)
class Size:
    """The proof of one transaction."""

    block: str
    transaction: int
    moves: int
    envelope_bytes: int
    bytes: int
    """All of the file."""
    code_bytes: int

    @property
    def without_code(self) -> int:
        """The file beside the code that the transaction runs, each distinct one once."""
        return self.bytes - self.code_bytes


@dataclass(frozen=True)
class Time:
    """Seconds of one verification."""

    native: float
    python: float


@dataclass(frozen=True)
class Measured:
    """What was found, over all blocks."""

    names: tuple[str, ...]
    sizes: tuple[Size, ...]
    times: tuple[Time, ...]


def share_within(sizes: Sequence[Size]) -> float:
    """Of the proofs, those of at most MOST bytes beside the code."""
    return sum(size.without_code <= MOST for size in sizes) / len(sizes)


def mainnet_names() -> list[str]:
    """Every shared mainnet block that the rules hold."""
    return [name for name in supported_names() if name.startswith(MAINNET)]


def accused(block: Block, transaction: int) -> Block:
    """The block whose producer declares other logs of one transaction, and nothing else untrue."""
    logs_hash = block.leaves.logs_hash.copy()
    logs_hash[transaction] ^= 1
    leaves = replace(block.leaves, logs_hash=logs_hash)
    root = trees.root([row.tobytes() for row in leaves.encoded()])
    return resigned(replace(block, leaves=leaves), transactions_root=root)


def signed_leaves(block: Block) -> list[int]:
    """Places of the leaves that are no system transactions: as many as there are envelopes, in their order."""
    txids = {keccak256(envelope) for envelope in block.envelopes}
    return [place for place, row in enumerate(block.leaves.txid) if row.tobytes() in txids]


def proofs(replayed: Chain, block: Block) -> Iterator[tuple[int, Block, Proof]]:
    """X3 against every signed transaction, one lie at a time."""
    for place in signed_leaves(block):
        lie = accused(block, place)
        yield place, lie, prove_transaction(Rule.X3, lie, replayed.config, place, replayed.codes)


def seconds(data: bytes, head: bytes, executor: Executor) -> float:
    """To verify a proof, which convicts. Raises ProofRejected."""
    started = time.perf_counter()
    assert verify(data, head, executor).rule == Rule.X3
    return time.perf_counter() - started


def measure(names: Sequence[str], sample: int = SAMPLE) -> Measured:
    """Build the proofs of every signed transaction of these blocks, and verify a seeded sample of each block's."""
    sizes: list[Size] = []
    times: list[Time] = []
    for name in names:
        replayed = chain(name)
        block = replayed.blocks[0]
        places = signed_leaves(block)
        chosen = set(random.Random(name).sample(places, min(sample, len(places))))
        for place, lie, proof in proofs(replayed, block):
            data = proof.encode()
            sizes.append(_size(name, place, proof, data))
            if place in chosen:
                times.append(Time(seconds(data, lie.hash, REVM), seconds(data, lie.hash, PYEVM)))
    return Measured(tuple(names), tuple(sizes), tuple(times))


def _size(name: str, place: int, proof: Proof, data: bytes) -> Size:
    evidence = proof.evidence
    assert isinstance(evidence, TransactionEvidence)
    moves, envelope = len(evidence.moves) // MOVE_BYTES, len(evidence.envelope)
    return Size(name, place, moves, envelope, len(data), code_bytes_of(proof))


def section(found: Measured) -> str:
    """The measurements as a chapter of docs/PROOFS.md."""
    native, python = [1000 * t.native for t in found.times], [1000 * t.python for t in found.times]
    calls = [size for size in found.sizes if size.code_bytes]
    return f"""## Execution proofs of every transaction of the shared mainnet blocks

Each of the {len(found.sizes):,} signed transactions of {len(found.names)} mainnet blocks gets logs that it did not
make, and its X3 proof; {len(calls)} of them run code. A file holds each distinct code once. A seeded sample of
{len(found.times)} proofs is verified by both engines, on one core, codec and signature included.
Blocks: {", ".join(found.names)}.

| X3 of mainnet | median | 90th percentile | largest |
|---|--:|--:|--:|
| bytes without the code | {_three([s.without_code for s in found.sizes], 0)} |
| bytes without the code, of those that run code | {_three([s.without_code for s in calls], 0)} |
| bytes of the code, of those that run code | {_three([s.code_bytes for s in calls], 0)} |
| bytes in all | {_three([s.bytes for s in found.sizes], 0)} |
| moves | {_three([s.moves for s in found.sizes], 0)} |
| verification by revm, ms | {_three(native, 1)} |
| verification by py-evm, ms | {_three(python, 1)} |

| proofs of at most {MOST:,} bytes without the code | share |
|---|--:|
| of all | {100 * share_within(found.sizes):.1f} % |
| of those that run code | {100 * share_within(calls):.1f} % |

{_longest(found.sizes)}
"""


def _longest(sizes: Sequence[Size]) -> str:
    """Which proofs are longer than MOST, and why."""
    over = [size for size in sizes if size.without_code > MOST]
    if not over:
        return "None is longer."
    posted = [size for size in over if size.envelope_bytes > MOST // 2]
    others = [size for size in over if size.envelope_bytes <= MOST // 2]
    text = (
        f"Of the {len(over)} longer proofs, {len(posted)} carry envelopes of more than {MOST // 2:,} bytes, which the"
    )
    text += f"\ntransaction itself posts as data. A move takes {MOVE_BYTES} bytes: "
    if not others:
        return text + "no other transaction has too many."
    most = max(others, key=lambda size: size.moves)
    text += f"the {len(others)} others have {min(size.moves for size in others)}"
    text += f"\nmoves or more, at most {most.moves} (transaction {most.transaction} of {most.block}: "
    return text + f"{most.without_code:,} bytes)."


def _three(values: Sequence[float], digits: int) -> str:
    tenth = quantiles(values, n=10)[-1]
    return " | ".join(f"{value:,.{digits}f}" for value in (median(values), tenth, max(values)))
