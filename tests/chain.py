"""A synthetic producer: small valid chains of profile `ethereum`, for tests of what needs no execution.

Every transaction is a real signed legacy transfer; its moves are those of a transfer, and the caller may add moves on
storage and codes, which mode `moves` judges like any other. Everything follows from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import coincurve
import numpy as np
import rlp

from manaflow.coordinator.seal import Body, seal
from manaflow.evm.environment import SYSTEM_CONTRACTS
from manaflow.moves import trees
from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.columns import Moves
from manaflow.moves.hashing import PYTHON, Hashing, keccak256
from manaflow.moves.header import HEADER_VERSION, Header
from manaflow.moves.leaf import SystemKind, system_txid
from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32, Location, Mark, Mask, Move
from manaflow.moves.transactions import GAS_PER_BLOB
from manaflow.rules.bodies import ancestor_leaf
from manaflow.rules.config import CANCUN_BLOBS, BlobParameters, ChainConfig, Fork, ForkEntry, Profile
from manaflow.rules.fees import blob_base_fee, next_base_fee, next_excess_blob_gas
from manaflow.rules.system import expected_system_leaves

GAS = 21_000
CHAIN_ID = 7_777
EMPTY_LOGS = keccak256(rlp.encode([]))
COINBASE = bytes.fromhex("c0" * 20)
ETHER = 10**18


def key_of(i: int) -> coincurve.PrivateKey:
    """Secret number i of a test chain."""
    return coincurve.PrivateKey((0x4D414E41 + i).to_bytes(32, "big"))


def address_of(key: coincurve.PrivateKey) -> bytes:
    return keccak256(key.public_key.format(compressed=False)[1:])[-20:]


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


PRODUCER = key_of(1000)


def chain_config(
    *,
    fork: Fork = Fork.CANCUN,
    blobs: BlobParameters | None = CANCUN_BLOBS,
    system_calls: tuple[SystemKind, ...] = (),
    challenge_blocks: int = 4,
    genesis_number: int = 0,
    ancestors: Sequence[tuple[int, bytes]] = (),
) -> ChainConfig:
    """A chain on one fork from the start."""
    return ChainConfig(
        chain_id=CHAIN_ID,
        profile=Profile.ETHEREUM,
        forks=(ForkEntry(fork, 0, blobs),),
        system_calls=system_calls,
        producers=(address_of(PRODUCER),),
        genesis_number=genesis_number,
        ancestors_root=trees.root([ancestor_leaf(*ancestor) for ancestor in ancestors]),
        ancestors=len(ancestors),
        challenge_blocks=challenge_blocks,
    )


@dataclass(frozen=True)
class Transfer:
    """One transaction to make: account indices, wei, and what else it touches."""

    sender: int
    recipient: int
    value: int = 1
    writes: tuple[tuple[Location, bytes], ...] = ()
    """More consumes: location and next value."""
    reads: tuple[Location, ...] = ()
    """More references; `e` locations too."""
    gas_price: int = 10**11
    """Also the fee cap of types 2 and 3."""
    kind: int = 0
    """EIP-2718 type: 0, 2 or 3."""
    tip: int = 10**9
    """Of types 2 and 3."""
    blobs: int = 0
    """Of type 3."""


def signed_transfer(key: coincurve.PrivateKey, nonce: int, to: bytes, transfer: Transfer) -> bytes:
    """The envelope: legacy with EIP-155 protection, or typed."""
    price, value = transfer.gas_price, transfer.value
    if transfer.kind == 0:
        fields: list[Any] = [nonce, price, GAS, to, value, b""]
        y_parity, r, s = _signed(key, rlp.encode([*fields, CHAIN_ID, 0, 0]))
        return bytes(rlp.encode([*fields, CHAIN_ID * 2 + 35 + y_parity, r, s]))
    fields = [CHAIN_ID, nonce, transfer.tip, price, GAS, to, value, b"", []]
    if transfer.kind == 3:
        fields += [10**9, [b"\1" + bytes(30) + bytes([i]) for i in range(transfer.blobs)]]
    prefix = bytes([transfer.kind])
    return prefix + bytes(rlp.encode([*fields, *_signed(key, prefix + rlp.encode(fields))]))


def _signed(key: coincurve.PrivateKey, message: bytes) -> tuple[int, int, int]:
    """(y parity, r, s)."""
    signature = key.sign_recoverable(keccak256(message), hasher=None)
    return signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")


@dataclass(frozen=True)
class Part:
    """One transaction, filled."""

    txid: bytes
    moves: list[Move]
    gas: int = 0
    blob_gas: int = 0


@dataclass
class State:
    """Location -> (number, value) of every live cell, and the next number."""

    cells: dict[Location, tuple[int, bytes]] = field(default_factory=dict)
    next_number: int = 1
    hashes: dict[int, bytes] = field(default_factory=dict)
    """What BLOCKHASH shows, by block number."""

    def value(self, location: Location) -> bytes:
        if location[0] == Mark.BLOCKHASH:
            return self.hashes[int.from_bytes(location[2], "big")]
        return self.cells.get(location, (0, ZERO32))[1]

    def balance(self, addr: bytes) -> int:
        return int.from_bytes(self.value((Mark.BALANCE, addr, ZERO32)), "big")

    def moves(self, after: dict[Location, bytes], read: Iterable[Location]) -> list[Move]:
        """The moves of one transaction in M5 order, applied; a write that changes nothing is a reference."""
        consumes = sorted(loc for loc, value in after.items() if value != self.value(loc))
        references = sorted({*read, *after} - set(consumes))
        moves = []
        for location in consumes:
            number, prev = self.cells.get(location, (0, ZERO32))
            moves.append(Move(UNSIGNED, location[0], number, location[1], location[2], prev, after[location]))
        for location in references:
            number, prev = self.cells.get(location, (0, ZERO32))[0], self.value(location)
            moves.append(Move(UNSIGNED | Mask.REFERENCE, location[0], number, location[1], location[2], prev, prev))
        for location in consumes:
            self.cells[location] = (self.next_number, after[location])
            self.next_number += 1
        return moves


class Chain:
    """Seals blocks one after another from genesis. `blocks[0]` is genesis."""

    def __init__(
        self,
        accounts: int = 6,
        config: ChainConfig | None = None,
        slots: int = 0,
        hashing: Hashing = PYTHON,
        codes: Sequence[bytes] = (),
        ancestors: Sequence[tuple[int, bytes]] = (),
    ) -> None:
        """`slots`: storage cells that genesis gives one contract; `codes`: each a contract of genesis."""
        self.config = config or chain_config()
        self.hashing, self.state = hashing, State()
        self.keys = [key_of(i) for i in range(accounts)]
        self.addresses = [address_of(key) for key in self.keys]
        self.nonces = [0] * accounts
        self.contract = bytes.fromhex("cc" * 20)
        cells: dict[Location, bytes] = {(Mark.BALANCE, a, ZERO32): word(10**6 * ETHER) for a in self.addresses}
        for i in range(slots):
            cells[(Mark.STORAGE, self.contract, word(i))] = word(i + 1)
        if slots or codes:
            cells[(Mark.NONCE, self.contract, ZERO32)] = word(1)
        for i, code in enumerate(codes):
            cells[(Mark.CODE, bytes([0xCD, i]) + bytes(18), ZERO32)] = keccak256(code)
            cells[(Mark.NONCE, bytes([0xCD, i]) + bytes(18), ZERO32)] = word(1)
        self.history = trees.Frontier()
        self.state.hashes.update(ancestors)
        self.genesis_cells = cells
        self.blocks = [self._genesis(cells, codes)]
        self.state.hashes[self.head.header.number - 1] = self.head.header.seen_parent_hash
        self.history.append(trees.leaf_hash(self.blocks[0].hash))

    @property
    def head(self) -> Block:
        return self.blocks[-1]

    def _genesis(self, cells: dict[Location, bytes], codes: Sequence[bytes]) -> Block:
        number, moves = self.config.genesis_number, self.state.moves(cells, ())
        parts = [
            Part(system_txid(SystemKind.GENESIS, self.config.chain_id, number, i // 4096), moves[i : i + 4096])
            for i in range(0, len(moves), 4096)
        ]
        opened = Header(
            version=HEADER_VERSION, config=self.config.hash, number=self.config.genesis_number, parent_hash=ZERO32,
            seen_parent_hash=ZERO32, coinbase=ZERO20, timestamp=999, gas_limit=30_000_000, gas_used=15_000_000,
            base_fee=10**9, prevrandao=ZERO32, blob_gas_used=self._blob_target(), excess_blob_gas=0,
            parent_beacon_root=ZERO32, extra_data=b"", transactions_root=ZERO32, codes_root=ZERO32,
            withdrawals_root=ZERO32, history_root=trees.EMPTY_ROOT, first_cell=1, cells=0, transactions=0, codes=0,
            fees=0,
        )  # fmt: skip
        body = _body(parts, [], list(codes), [])
        return seal(opened, body, None, self.hashing)

    def _blob_target(self) -> int:
        blobs = self.config.blobs_at(1000)
        return blobs.target * 2**17 if blobs else 0

    def opened(self, coinbase: bytes = COINBASE) -> Header:
        """The next header's environment."""
        parent = self.head.header
        timestamp = parent.timestamp + 12
        self.state.hashes[parent.number] = keccak256(parent.hash)
        return replace(
            parent, number=parent.number + 1, parent_hash=parent.hash, seen_parent_hash=keccak256(parent.hash),
            coinbase=coinbase, timestamp=timestamp, gas_used=0, base_fee=next_base_fee(parent), blob_gas_used=0,
            excess_blob_gas=next_excess_blob_gas(parent, self.config, timestamp), prevrandao=keccak256(b"randao"),
            history_root=self.history.root(), first_cell=self.state.next_number, cells=0, transactions=0, codes=0,
        )  # fmt: skip

    def seal(
        self,
        transfers: Sequence[Transfer] = (),
        *,
        codes: Sequence[bytes] = (),
        withdrawals: Sequence[Withdrawal] = (),
        coinbase: bytes = COINBASE,
    ) -> Block:
        """Make, sign and append the next block."""
        opened = self.opened(coinbase)
        opening, closing = expected_system_leaves(self.config, opened, withdrawals)
        parts = [self._system_part(kind, txid, withdrawals) for kind, txid in opening]
        envelopes = []
        for transfer in transfers:
            envelope, part = self._transfer(transfer, opened)
            envelopes.append(envelope)
            parts.append(part)
        parts += [self._system_part(kind, txid, withdrawals) for kind, txid in closing]
        body = _body(parts, envelopes, list(codes), list(withdrawals))
        block = seal(opened, body, PRODUCER.secret, self.hashing)
        self.blocks.append(block)
        self.history.append(trees.leaf_hash(block.hash))
        return block

    def _transfer(self, transfer: Transfer, opened: Header) -> tuple[bytes, Part]:
        """Sign and fill one transaction."""
        sender, to = self.addresses[transfer.sender], self.addresses[transfer.recipient]
        nonce = self.nonces[transfer.sender]
        envelope = signed_transfer(self.keys[transfer.sender], nonce, to, transfer)
        price = min(transfer.gas_price, opened.base_fee + transfer.tip) if transfer.kind else transfer.gas_price
        blobs = self.config.blobs_at(opened.timestamp)
        blob_fee = blob_base_fee(opened.excess_blob_gas, blobs.update_fraction) if blobs else 0
        change: dict[bytes, int] = {}
        for addr, wei in (
            (sender, -transfer.value - GAS * price - transfer.blobs * GAS_PER_BLOB * blob_fee),
            (to, transfer.value),
            (opened.coinbase, GAS * (price - opened.base_fee) * (self.config.profile == Profile.ETHEREUM)),
        ):
            change[addr] = change.get(addr, 0) + wei
        after = {(Mark.BALANCE, a, ZERO32): word(self.state.balance(a) + wei) for a, wei in change.items()}
        after[(Mark.NONCE, sender, ZERO32)] = word(nonce + 1)
        after.update(transfer.writes)
        reads = [(Mark.CODE, sender, ZERO32), (Mark.CODE, to, ZERO32), *transfer.reads]
        self.nonces[transfer.sender] += 1
        return envelope, Part(keccak256(envelope), self.state.moves(after, reads), GAS, transfer.blobs * GAS_PER_BLOB)

    def _system_part(self, kind: SystemKind, txid: bytes, withdrawals: Sequence[Withdrawal]) -> Part:
        """A closing credit, or a call that finds no code and only looks for it."""
        if kind == SystemKind.WITHDRAWALS:
            return Part(txid, self._withdrawal_moves(withdrawals))
        return Part(txid, self.state.moves({}, [(Mark.CODE, SYSTEM_CONTRACTS[kind], ZERO32)]))

    def _withdrawal_moves(self, withdrawals: Sequence[Withdrawal]) -> list[Move]:
        total: dict[bytes, int] = {}
        for w in withdrawals:
            total[w.address] = total.get(w.address, 0) + w.amount * 10**9
        after = {(Mark.BALANCE, a, ZERO32): word(self.state.balance(a) + wei) for a, wei in total.items() if wei}
        return self.state.moves(after, ())


def _body(
    parts: Sequence[Part], envelopes: Sequence[bytes], codes: Sequence[bytes], withdrawals: Sequence[Withdrawal]
) -> Body:
    t = len(parts)
    references = [sum(m.is_reference for m in part.moves) for part in parts]
    return Body(
        txid=np.frombuffer(b"".join(part.txid for part in parts), np.uint8).reshape(t, 32).copy(),
        consumes=np.array([len(p.moves) - r for p, r in zip(parts, references, strict=True)], np.uint32),
        references=np.array(references, np.uint32),
        status=np.ones(t, np.uint8),
        gas_used=np.array([part.gas for part in parts], np.uint64),
        blob_gas=np.array([part.blob_gas for part in parts], np.uint64),
        logs_hash=np.frombuffer(EMPTY_LOGS * t, np.uint8).reshape(t, 32).copy(),
        moves=Moves.of([m for part in parts for m in part.moves]),
        envelopes=tuple(envelopes),
        codes=list(codes),
        withdrawals=tuple(withdrawals),
        fees=[0] * t,
    )


def random_chain(blocks: int, seed: int = 1, *, transactions: int = 4, accounts: int = 6, slots: int = 24) -> Chain:
    """A chain whose transactions contend within and across blocks: writes, zeroings, hot reads, virgin reads."""
    rng = random.Random(seed)
    chain = Chain(accounts=accounts, slots=slots)
    for _ in range(blocks):
        transfers = [random_transfer(chain, rng, slots) for _ in range(rng.randrange(1, transactions + 1))]
        paid = [Withdrawal(rng.randrange(99), 7, rng.choice(chain.addresses), rng.randrange(3)) for _ in range(2)]
        chain.seal(transfers, withdrawals=paid if rng.random() < 0.3 else ())
    return chain


def random_transfer(chain: Chain, rng: random.Random, slots: int) -> Transfer:
    """A transfer that also writes and reads some storage."""

    def location() -> Location:
        return (Mark.STORAGE, chain.contract, word(rng.randrange(2 * slots + 1)))

    writes = tuple((location(), word(rng.choice((0, rng.randrange(1, 9))))) for _ in range(rng.randrange(4)))
    reads = tuple(location() for _ in range(rng.randrange(4)))
    n = len(chain.keys)
    return Transfer(rng.randrange(n), rng.randrange(n), rng.randrange(1, 1000), tuple(dict(writes).items()), reads)


def with_move(block: Block, row: int, **fields: object) -> Block:
    """The block with fields of one move overwritten, and nothing else made to fit."""
    moves = Moves(*(getattr(block.moves, name).copy() for name in Moves.__slots__))
    for name, value in fields.items():
        column = getattr(moves, name)
        column[row] = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
    return replace(block, moves=moves)
