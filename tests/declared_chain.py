"""A producer of profile `manaflow`: small valid chains whose declared transactions really execute, masked as asked.

Every transaction is executed by py-evm on the chain's values, so that every rule holds, X included; then each of its
moves is masked as its `Call` says, what is left is signed, and the block is sealed by the development key.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

import coincurve
import numpy as np

from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.coordinator.replay import address_of as producer_of
from manaflow.coordinator.seal import Body, seal
from manaflow.evm.environment import environment_of
from manaflow.evm.executor import Execution, Job
from manaflow.evm.logs import outcome_of
from manaflow.evm.pyevm.executor import PyEvmExecutor
from manaflow.moves import trees
from manaflow.moves.block import Block
from manaflow.moves.columns import Moves
from manaflow.moves.declared import encode_declared, signed_form, signing_hash
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.hashing import PYTHON, keccak256
from manaflow.moves.header import HEADER_VERSION, Header
from manaflow.moves.leaf import Outcome, SystemKind, system_txid
from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32, Location, Mark, Mask, Move
from manaflow.moves.transactions import DECLARED_TYPE, DeclaredTransaction, EthereumTransaction, Flag, NamedMove
from manaflow.moves.wire import GenesisFile
from manaflow.rules.config import PRAGUE_BLOBS, ChainConfig, Fork, ForkEntry, Profile
from manaflow.rules.fees import next_base_fee
from manaflow.rules.leaves import compute_fees_added
from manaflow.rules.system import EMPTY_LOGS_HASH
from tests.builders import address_of, envelope, sign
from tests.chain import State, key_of, word

CHAIN_ID: Final = 7_777
ETHER: Final = 10**18
COINBASE: Final = bytes.fromhex("c0" * 20)
COUNTER: Final = bytes.fromhex("cc" * 20)
COUNTER_CODE: Final = bytes.fromhex("3615600857" + "5f5ffd" + "5b" + "5f546001015f55" + "00")
"""Without data: adds 1 to slot 0. With any: reverts."""
COUNT: Final[Location] = (Mark.STORAGE, COUNTER, ZERO32)
FLAG: Final[Location] = (Mark.STORAGE, COUNTER, word(7))
"""A cell that nothing executed here uses: what guards are put on."""
EMPTY: Final[Location] = (Mark.STORAGE, COUNTER, word(8))
"""A virgin one."""
CELL: Final = Mask.INTX | Mask.PREV | Mask.NEXT
"""Masked where a signer says which location, and leaves what stands there open."""
Masks = Callable[[Move], int]
"""What a signer leaves out of a move: of the six low bits."""


def pinned(move: Move) -> int:
    """Everything signed but the cell's maker."""
    return int(Mask.INTX)


def usual(move: Move) -> int:
    """Nonces pinned, all other cells named and their values left open."""
    return int(Mask.INTX if move.mark == Mark.NONCE else CELL)


def identified(move: Move) -> int:
    """Everything signed, the maker as well, but what a balance is."""
    return int(CELL if move.mark == Mark.BALANCE else 0)


def unsaid(move: Move) -> int:
    """Nothing signed but the nonce: the transaction must be open."""
    return int(Mask.INTX) if move.mark == Mark.NONCE else UNSIGNED


@dataclass(frozen=True)
class Call:
    """One transaction to make: declared, or an Ethereum one if `masks` is None."""

    sender: int
    to: bytes
    value: int = 0
    data: bytes = b""
    masks: Masks | None = usual
    flags: int = 0
    valid_until: int = 0
    guards: tuple[tuple[Location, int], ...] = ()
    """Locations that the signer guards, and what of each guard is masked (INTX, PREV, NEXT)."""
    gas_limit: int = 100_000


class _Everything(dict[Location, bytes]):
    """Cells of a world in which nothing is undeclared."""

    def __contains__(self, location: object) -> bool:
        return True

    def __missing__(self, location: Location) -> bytes:
        return ZERO32

    def get(self, location: Location, default: bytes | None = None) -> bytes:  # type: ignore[override]
        return self[location]


@dataclass(frozen=True)
class _Filled:
    """One leaf before it is sealed."""

    txid: bytes
    moves: list[Move]
    outcome: Outcome
    fees: int = 0


SYSTEM_OUTCOME: Final = Outcome(1, 0, EMPTY_LOGS_HASH)


@dataclass
class DeclaredChain:
    """Seals blocks one after another. `blocks[0]` is genesis: accounts with ether, the counter at 5, its flag at 9."""

    accounts: int = 4
    config: ChainConfig = field(init=False)
    blocks: list[Block] = field(init=False)

    def __post_init__(self) -> None:
        self.config = ChainConfig(
            chain_id=CHAIN_ID, profile=Profile.MANAFLOW, forks=(ForkEntry(Fork.PRAGUE, 0, PRAGUE_BLOBS),),
            system_calls=(), producers=(producer_of(DEVELOPMENT_KEY),), genesis_number=0,
            ancestors_root=trees.EMPTY_ROOT, ancestors=0, challenge_blocks=4,
        )  # fmt: skip
        self.keys: list[coincurve.PrivateKey] = [key_of(i) for i in range(self.accounts)]
        self.addresses = [address_of(key) for key in self.keys]
        self.state, self.makers, self.history = State(), dict[int, bytes](), trees.Frontier()
        self.codes = {keccak256(COUNTER_CODE): COUNTER_CODE}
        self.blocks = [self._genesis()]

    def _genesis(self) -> Block:
        cells: dict[Location, bytes] = {(Mark.BALANCE, a, ZERO32): word(1000 * ETHER) for a in self.addresses}
        cells |= {
            (Mark.CODE, COUNTER, ZERO32): keccak256(COUNTER_CODE), (Mark.NONCE, COUNTER, ZERO32): word(1),
            COUNT: word(5), FLAG: word(9),
        }  # fmt: skip
        opened = Header(
            version=HEADER_VERSION, config=self.config.hash, number=0, parent_hash=ZERO32, seen_parent_hash=ZERO32,
            coinbase=ZERO20, timestamp=999, gas_limit=30_000_000, gas_used=15_000_000, base_fee=10**9,
            prevrandao=ZERO32, blob_gas_used=0, excess_blob_gas=0, parent_beacon_root=ZERO32, extra_data=b"",
            transactions_root=ZERO32, codes_root=ZERO32, withdrawals_root=ZERO32, history_root=trees.EMPTY_ROOT,
            first_cell=1, cells=0, transactions=0, codes=0, fees=0,
        )  # fmt: skip
        part = _Filled(system_txid(SystemKind.GENESIS, CHAIN_ID, 0, 0), self.state.moves(cells, ()), SYSTEM_OUTCOME)
        self._remember(part)
        return seal(opened, _body([part], (), [COUNTER_CODE]), None, PYTHON)

    def seal(self, *calls: Call) -> Block:
        """Make, sign and append the next block."""
        opened = self._opened()
        made = [self._call(call, opened) for call in calls]
        filled = [part for part, _ in made]
        fees = sum(part.fees for part in filled)
        if fees:
            filled.append(self._credit(opened, fees))
        block = seal(opened, _body(filled, tuple(raw for _, raw in made), ()), DEVELOPMENT_KEY, PYTHON)
        self.blocks.append(block)
        return block

    def _opened(self) -> Header:
        parent = self.blocks[-1].header
        self.history.append(trees.leaf_hash(parent.hash))
        return replace(
            parent, number=parent.number + 1, parent_hash=parent.hash, seen_parent_hash=parent.hash,
            coinbase=COINBASE, timestamp=parent.timestamp + 12, gas_used=0, base_fee=next_base_fee(parent),
            history_root=self.history.root(), first_cell=self.state.next_number, cells=0, transactions=0, codes=0,
            fees=0,
        )  # fmt: skip

    def _call(self, call: Call, opened: Header) -> tuple[_Filled, bytes]:
        nonce = int.from_bytes(self.state.value((Mark.NONCE, self.addresses[call.sender], ZERO32)), "big")
        if call.masks is None:
            raw = envelope(
                2, self.keys[call.sender], chain_id=CHAIN_ID, nonce=nonce, gas_limit=call.gas_limit, to=call.to,
                value=call.value, data=call.data, access_list=[],
            )  # fmt: skip
            transaction = decode_envelope(raw)
            execution = self._execute(transaction, call, opened)
            return self._filled(transaction, execution, self.state.moves(_left(execution), ()), raw, opened), raw
        plain = _unsigned(call, nonce)
        execution = self._execute(plain, call, opened)
        guards = dict(call.guards)
        moves = [_masked(move, call.masks, guards) for move in self.state.moves(_left(execution), guards)]
        forms = [signed_form(m, self.maker(m)) for m in moves if m.mask & UNSIGNED != UNSIGNED]
        raw = self.signed(replace(plain, moves=tuple(sorted(forms, key=lambda form: form.sort_key))), call.sender)
        return self._filled(plain, execution, moves, raw, opened), raw

    def signed(self, transaction: DeclaredTransaction, sender: int) -> bytes:
        """The envelope that an account of the chain signs."""
        y_parity, r, s = sign(self.keys[sender], signing_hash(transaction))
        return encode_declared(replace(transaction, y_parity=y_parity, r=r, s=s))

    def maker(self, move: Move) -> bytes:
        """Txid of the transaction that made the move's cell; zero for a virgin one."""
        return self.makers[move.number] if move.number else ZERO32

    def _execute(self, transaction: EthereumTransaction, call: Call, opened: Header) -> Execution:
        cells = _Everything((location, value) for location, (_, value) in self.state.cells.items())
        environment = environment_of(opened, self.config)
        job = Job(environment, transaction, self.addresses[call.sender], 0, 0, cells, self.codes)
        return PyEvmExecutor().execute(job)

    def _filled(
        self, transaction: EthereumTransaction, execution: Execution, moves: list[Move], raw: bytes, opened: Header
    ) -> _Filled:
        price = transaction.effective_gas_price(opened.base_fee)
        fees = compute_fees_added(price, opened.base_fee, execution.gas_used)
        part = _Filled(keccak256(raw), moves, outcome_of(execution), fees)
        self._remember(part)
        return part

    def _credit(self, opened: Header, fees: int) -> _Filled:
        after = {(Mark.BALANCE, COINBASE, ZERO32): word(self.state.balance(COINBASE) + fees)}
        txid = system_txid(SystemKind.FEES, CHAIN_ID, opened.number)
        part = _Filled(txid, self.state.moves(after, ()), SYSTEM_OUTCOME)
        self._remember(part)
        return part

    def _remember(self, part: _Filled) -> None:
        """Who made the cells that `part` has just made."""
        made = sum(not move.is_reference for move in part.moves)
        first = self.state.next_number - made
        self.makers |= dict.fromkeys(range(first, first + made), part.txid)


def _left(execution: Execution) -> dict[Location, bytes]:
    """What every location that was used holds afterwards."""
    return {use.location: use.next for use in execution.uses}


def _masked(move: Move, masks: Masks, guards: dict[Location, int]) -> Move:
    if move.location in guards:
        return replace(move, mask=int(Mask.REFERENCE | Mask.GUARD | guards[move.location]))
    return replace(move, mask=int(move.mask & Mask.REFERENCE | masks(move)))


def _unsigned(call: Call, nonce: int) -> DeclaredTransaction:
    """Before its moves are known: guards count already, since each costs gas."""
    mask = int(Mask.REFERENCE | Mask.GUARD)
    guards = [NamedMove(mask, Mark.STORAGE, ZERO32, ZERO20, ZERO32, ZERO32, ZERO32) for _ in call.guards]
    return DeclaredTransaction(
        type=DECLARED_TYPE, chain_id=CHAIN_ID, nonce=nonce, max_priority_fee=2 * 10**9, max_fee=20 * 10**9,
        gas_limit=call.gas_limit, to=call.to, value=call.value, data=call.data, access_list=(), max_fee_per_blob_gas=0,
        blob_hashes=(), authorizations=(), y_parity=0, r=0, s=0, signing_hash=b"", txid=b"",
        valid_until=call.valid_until, flags=call.flags, moves=tuple(guards),
    )  # fmt: skip


def _body(parts: Sequence[_Filled], envelopes: tuple[bytes, ...], codes: Sequence[bytes]) -> Body:
    t = len(parts)
    references = [sum(m.is_reference for m in part.moves) for part in parts]
    return Body(
        txid=np.frombuffer(b"".join(part.txid for part in parts), np.uint8).reshape(t, 32).copy(),
        consumes=np.array([len(p.moves) - r for p, r in zip(parts, references, strict=True)], np.uint32),
        references=np.array(references, np.uint32),
        status=np.array([part.outcome.status for part in parts], np.uint8),
        gas_used=np.array([part.outcome.gas_used for part in parts], np.uint64),
        blob_gas=np.zeros(t, np.uint64),
        logs_hash=np.frombuffer(b"".join(p.outcome.logs_hash for p in parts), np.uint8).reshape(t, 32).copy(),
        moves=Moves.of(itertools.chain.from_iterable(part.moves for part in parts)),
        envelopes=envelopes,
        codes=list(codes),
        withdrawals=(),
        fees=[part.fees for part in parts],
    )


@dataclass(frozen=True)
class Sealed:
    """A chain of four blocks as tests of blocks take it; `producer` can sign for its accounts."""

    producer: DeclaredChain
    calls: tuple[Call, ...]
    """What the last block's signed transactions were made of, in order."""

    @property
    def config(self) -> ChainConfig:
        return self.producer.config

    @property
    def genesis(self) -> GenesisFile:
        return GenesisFile(self.config.encode(), (), self.producer.blocks[0])

    @property
    def blocks(self) -> list[Block]:
        """Blocks after genesis, ascending."""
        return self.producer.blocks[1:]


@cache
def sealed_chain() -> Sealed:
    """Three blocks that hold every kind of declared transaction beside Ethereum's; the last one most of them."""
    chain, open_, succeed = DeclaredChain(), int(Flag.OPEN), int(Flag.MUST_SUCCEED)
    a = chain.addresses
    chain.seal(
        Call(0, a[1], ETHER, masks=None),
        Call(1, COUNTER, masks=identified),
        Call(2, COUNTER, data=b"\1", masks=unsaid, flags=open_),
    )
    chain.seal(Call(3, a[2], 7, guards=((FLAG, Mask.INTX),)))
    last = (
        Call(0, a[1], ETHER, masks=pinned),
        Call(1, COUNTER, masks=usual, flags=succeed, guards=((FLAG, 0), (EMPTY, 0)), valid_until=3),
        Call(2, COUNTER, masks=identified, flags=open_ | succeed),
        Call(3, bytes.fromhex("0d" * 20), 5, masks=unsaid, flags=open_),
        Call(0, COUNTER, masks=None),
        Call(1, COUNTER, data=b"\1", masks=identified, valid_until=9),
        Call(2, a[3], 1, masks=identified, guards=((COUNT, int(CELL)),)),
    )
    chain.seal(*last)
    return Sealed(chain, last)
