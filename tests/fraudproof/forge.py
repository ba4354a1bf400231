"""Honest small chains whose transactions really execute, and dishonest twins of their blocks, sealed like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import rlp

from manaflow.coordinator.seal import Body, seal
from manaflow.errors import Rule
from manaflow.evm.environment import SYSTEM_ADDRESS, environment_of, system_call
from manaflow.evm.executor import Execution, Job
from manaflow.evm.logs import outcome_of
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.format import Proof
from manaflow.fraudproof.verify import VerifiedProof, verify
from manaflow.moves import trees
from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.columns import Leaves, Moves
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.hashing import PYTHON, keccak256
from manaflow.moves.header import Header
from manaflow.moves.leaf import SystemKind, system_txid
from manaflow.moves.marks import Location, Move
from manaflow.rules.config import ChainConfig
from manaflow.rules.system import EMPTY_LOGS_HASH
from tests.chain import CHAIN_ID, PRODUCER, Chain, address_of, chain_config

COUNTER = bytes.fromhex("6000546001016000555f60205fa100")
"""Adds 1 to its slot 0 and logs 32 bytes of zeros under topic 0."""
COUNTER_AT = bytes([0xCD, 0]) + bytes(18)
EXECUTOR = PyEvmExecutor()


@dataclass
class AnyCell(Mapping[Location, bytes]):
    """The chain's live cells as a world that answers every location."""

    chain: Chain

    def __getitem__(self, location: Location) -> bytes:
        return self.chain.state.value(location)

    def __iter__(self) -> Iterator[Location]:
        return iter(self.chain.state.cells)

    def __len__(self) -> int:
        return len(self.chain.state.cells)


@dataclass
class Parts:
    """A block taken apart: one entry per leaf."""

    txids: list[bytes] = field(default_factory=list)
    moves: list[list[Move]] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    gas_used: list[int] = field(default_factory=list)
    logs_hash: list[bytes] = field(default_factory=list)
    blob_gas: list[int] = field(default_factory=list)
    fees: list[int] = field(default_factory=list)
    envelopes: list[bytes] = field(default_factory=list)
    withdrawals: tuple[Withdrawal, ...] = ()

    @staticmethod
    def of(block: Block) -> Parts:
        leaves, bounds = block.leaves.objects(), block.leaves.move_offsets().tolist()
        totals = [*(leaf.blob_gas for leaf in leaves), block.header.blob_gas_used]
        fees = [*(leaf.fees for leaf in leaves), block.header.fees]
        return Parts(
            [leaf.txid for leaf in leaves],
            [block.moves.take(bounds[i], bounds[i + 1]).objects() for i in range(len(leaves))],
            [leaf.status for leaf in leaves],
            [leaf.gas_used for leaf in leaves],
            [leaf.logs_hash for leaf in leaves],
            [after - before for before, after in pairwise(totals)],
            [after - before for before, after in pairwise(fees)],
            list(block.envelopes),
            block.withdrawals,
        )

    def add(self, txid: bytes, moves: list[Move], status: int, gas_used: int, logs_hash: bytes) -> None:
        self.txids.append(txid)
        self.moves.append(moves)
        self.status.append(status)
        self.gas_used.append(gas_used)
        self.logs_hash.append(logs_hash)
        self.blob_gas.append(0)
        self.fees.append(0)

    def seal(self, opened: Header, codes: Sequence[bytes] = (), key: bytes = PRODUCER.secret) -> Block:
        references = [sum(m.is_reference for m in part) for part in self.moves]
        t = len(self.txids)
        body = Body(
            txid=np.frombuffer(b"".join(self.txids), np.uint8).reshape(t, 32).copy(),
            consumes=np.array([len(p) - r for p, r in zip(self.moves, references, strict=True)], np.uint32),
            references=np.array(references, np.uint32),
            status=np.array(self.status, np.uint8),
            gas_used=np.array(self.gas_used, np.uint64),
            blob_gas=np.array(self.blob_gas, np.uint64),
            logs_hash=np.frombuffer(b"".join(self.logs_hash), np.uint8).reshape(t, 32).copy(),
            moves=Moves.of(m for part in self.moves for m in part),
            envelopes=tuple(self.envelopes),
            codes=list(codes),
            withdrawals=self.withdrawals,
            fees=self.fees,
        )
        return seal(opened, body, key, PYTHON)


@dataclass(frozen=True)
class Call:
    """A legacy transaction to make."""

    sender: int
    to: bytes
    value: int = 0
    data: bytes = b""
    gas: int = 100_000
    gas_price: int = 10**10
    chain_id: int = CHAIN_ID


def signed(chain: Chain, call: Call) -> bytes:
    key, nonce = chain.keys[call.sender], chain.nonces[call.sender]
    fields = [nonce, call.gas_price, call.gas, call.to, call.value, call.data]
    signature = key.sign_recoverable(keccak256(rlp.encode([*fields, call.chain_id, 0, 0])), hasher=None)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return bytes(rlp.encode([*fields, call.chain_id * 2 + 35 + signature[64], r, s]))


class ExecutedChain(Chain):
    """A chain with the EIP-4788 call whose blocks hold what py-evm makes of each call."""

    def __init__(self, config: ChainConfig | None = None) -> None:
        calls = (SystemKind.BEACON_ROOTS,)
        super().__init__(4, replace(config or chain_config(), system_calls=calls), codes=(COUNTER,))
        self.codes = {keccak256(COUNTER): COUNTER}

    def append(self, calls: Sequence[Call]) -> Block:
        """Execute, seal and append the next block."""
        opened, parts, gas = self.opened(), Parts(), 0
        environment = environment_of(opened, self.config)
        root = system_call(SystemKind.BEACON_ROOTS, opened)
        done = EXECUTOR.execute(Job(environment, root, SYSTEM_ADDRESS, 0, 0, AnyCell(self), self.codes))
        txid = system_txid(SystemKind.BEACON_ROOTS, self.config.chain_id, opened.number)
        parts.add(txid, self._moves_of(done), 1, 0, EMPTY_LOGS_HASH)
        for call in calls:
            raw = signed(self, call)
            transaction = decode_envelope(raw)
            sender = recover_sender(transaction)
            done = EXECUTOR.execute(Job(environment, transaction, sender, gas, 0, AnyCell(self), self.codes))
            outcome = outcome_of(done)
            parts.add(keccak256(raw), self._moves_of(done), outcome.status, outcome.gas_used, outcome.logs_hash)
            parts.envelopes.append(raw)
            self.nonces[call.sender] += 1
            gas += outcome.gas_used
        return self.add(parts.seal(opened))

    def add(self, block: Block) -> Block:
        self.blocks.append(block)
        self.history.append(trees.leaf_hash(block.hash))
        return block

    def _moves_of(self, done: Execution) -> list[Move]:
        after = {use.location: use.next for use in done.uses if use.next != use.prev}
        return self.state.moves(after, [use.location for use in done.uses])


def executed_chain() -> ExecutedChain:
    """Genesis and two blocks; leaf 0 is the beacon roots call, 1 a transfer, 2 a call of the counter, 3 a transfer."""
    chain = ExecutedChain()
    for _ in range(2):
        transfer = Call(0, chain.addresses[1], value=5, gas=21_000)
        chain.append([transfer, Call(1, COUNTER_AT), Call(2, chain.addresses[3], value=7, gas=21_000)])
    return chain


def forge(block: Block, transaction: int, moves: list[Move] | None = None, **fields: Any) -> Block:
    """The block with a transaction's moves replaced, and entries of Parts; sealed and signed as if it were honest."""
    parts = Parts.of(block)
    if moves is not None:
        parts.moves[transaction] = moves
    for name, value in fields.items():
        getattr(parts, name)[transaction] = value
    return parts.seal(block.header, block.codes)


def forge_leaf(block: Block, transaction: int, **fields: Any) -> Block:
    """The block with fields of a leaf overwritten as they are, and signed."""
    leaves = block.leaves.objects()
    leaves[transaction] = replace(leaves[transaction], **fields)
    rows = Leaves.of(leaves)
    header = replace(block.header, transactions_root=PYTHON.tree_root(rows.encoded()))
    return resign(replace(block, header=header, leaves=rows))


def forge_header(block: Block, **fields: Any) -> Block:
    return resign(replace(block, header=replace(block.header, **fields)))


def resign(block: Block) -> Block:
    return replace(block, signature=PRODUCER.sign_recoverable(block.hash, hasher=None))


def hashes(chain: Chain) -> list[bytes]:
    """Of all blocks before the chain's last one, genesis first."""
    return [block.hash for block in chain.blocks[:-1]]


def moves_of(block: Block, transaction: int) -> list[Move]:
    return Parts.of(block).moves[transaction]


def index_of(moves: Sequence[Move], mark: int, addr: bytes | None = None, *, reference: bool | None = None) -> int:
    """The first move of this kind."""
    return next(
        i
        for i, m in enumerate(moves)
        if m.mark == mark and addr in (None, m.addr) and reference in (None, m.is_reference)
    )


def changed(block: Block, transaction: int, at: int, **fields: Any) -> Block:
    """The block with fields of one move overwritten."""
    moves = moves_of(block, transaction)
    moves[at] = replace(moves[at], **fields)
    return forge(block, transaction, moves)


def convict(proof: Proof, block: Block, rule: Rule) -> VerifiedProof:
    """The proof verifies against the block as the trusted head, and it is this rule."""
    verified = verify(proof.encode(), block.hash, EXECUTOR)
    assert (verified.rule, verified.verdict.rule) == (rule, rule)
    assert (verified.block_hash, verified.number) == (block.hash, block.header.number)
    assert verified.producer == address_of(PRODUCER)
    return verified


def rejection(data: bytes | Proof, head: bytes) -> str:
    """Why the file is rejected; fails if it verifies."""
    try:
        verified = verify(data.encode() if isinstance(data, Proof) else data, head, EXECUTOR)
    except ProofRejected as rejected:
        return str(rejected)
    raise AssertionError(f"verified: {verified}")
