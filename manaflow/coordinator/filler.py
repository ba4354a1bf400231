"""The filler: envelopes become a sealed block of profile `ethereum` (docs/SPEC.md, sections 5 and 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from manaflow._native import Codes, Filled, World
from manaflow.coordinator.genesis import ancestors_of, genesis_block
from manaflow.coordinator.inputs import BlockInputs
from manaflow.coordinator.latest import LatestCells, filled_moves
from manaflow.coordinator.receipts import Receipt
from manaflow.coordinator.seal import Body, seal
from manaflow.coordinator.steps import Steps, bytes_column, steps_of
from manaflow.errors import Failure, Unsupported
from manaflow.evm.envelopes import EnvelopeColumns, decode_envelopes
from manaflow.evm.environment import SYSTEM_ADDRESS, SYSTEM_CONTRACTS, environment_of, system_call
from manaflow.evm.native import fill_steps
from manaflow.moves.block import Block
from manaflow.moves.columns import Moves
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.hashing import Hashing
from manaflow.moves.header import HEADER_VERSION, Header
from manaflow.moves.leaf import SystemKind, system_txid
from manaflow.moves.marks import ZERO32, Location, Mark, Mask
from manaflow.moves.transactions import GAS_PER_BLOB
from manaflow.moves.trees import EMPTY_ROOT, Frontier, leaf_hash
from manaflow.moves.wire import GenesisFile
from manaflow.rules.config import ChainConfig
from manaflow.rules.moves import withdrawal_credits
from manaflow.rules.system import EMPTY_LOGS_HASH, expected_system_leaves


@dataclass(frozen=True, slots=True)
class FilledBlock:
    """A sealed block and what its executions left that blocks do not hold."""

    block: Block
    receipts: tuple[Receipt, ...]
    """One per Ethereum transaction."""


class Filler:
    """Fills consecutive blocks over one state. After an exception it must not be used again."""

    def __init__(
        self,
        config: ChainConfig,
        genesis: Block,
        cells: Mapping[Location, bytes],
        codes: Iterable[bytes],
        latest: LatestCells,
        key: bytes,
        hashing: Hashing,
    ) -> None:
        """`genesis` has numbered `cells` in `latest`; `codes` are the bytes they need; `key`: a secret, 32 bytes."""
        self.config, self.head, self.latest, self.key, self.hashing = config, genesis.header, latest, key, hashing
        self.history = Frontier()
        self.history.append(leaf_hash(genesis.hash))
        self.world, self.codes = World(), Codes()
        rows = list(cells)
        self.world.load(
            bytes(mark for mark, _, _ in rows),
            b"".join(addr for _, addr, _ in rows),
            b"".join(slot for _, _, slot in rows),
            b"".join(cells.values()),
        )
        for code in codes:
            self.codes.add(code)

    def fill(self, inputs: BlockInputs) -> FilledBlock:
        """Execute, fill and seal the next block.

        Raises Verdict if a transaction is invalid (S1, X0), Failure if the block does not follow the last one,
        Unsupported if the rules cannot hold it.
        """
        opened = self.open(inputs)
        steps, receipts = self._execute(opened, inputs)
        block = seal(opened, self._body(inputs, steps), self.key, self.hashing)
        self.head = block.header
        self.history.append(leaf_hash(block.hash))
        return FilledBlock(block, receipts)

    def value(self, location: Location) -> bytes:
        """The latest value at a location, 32 bytes."""
        return self.world.get(*location)

    def open(self, inputs: BlockInputs) -> Header:
        """The next header's environment, fixed before anything runs; roots and totals are zero.

        Raises Failure if the block does not follow the last one, Unsupported before the chain's first fork.
        """
        self.config.entry_at(inputs.timestamp)
        if inputs.number != self.head.number + 1:
            raise Failure(f"block {inputs.number} does not follow block {self.head.number}")
        return Header(
            version=HEADER_VERSION,
            config=self.config.hash,
            number=inputs.number,
            parent_hash=self.head.hash,
            seen_parent_hash=inputs.seen_parent_hash,
            coinbase=inputs.coinbase,
            timestamp=inputs.timestamp,
            gas_limit=inputs.gas_limit,
            gas_used=0,
            base_fee=inputs.base_fee,
            prevrandao=inputs.prevrandao,
            blob_gas_used=0,
            excess_blob_gas=inputs.excess_blob_gas,
            parent_beacon_root=inputs.parent_beacon_root,
            extra_data=inputs.extra_data,
            transactions_root=EMPTY_ROOT,
            codes_root=EMPTY_ROOT,
            withdrawals_root=EMPTY_ROOT,
            history_root=self.history.root(),
            first_cell=self.latest.next_number,
            cells=0,
            transactions=0,
            codes=0,
            fees=0,
        )

    def _execute(self, opened: Header, inputs: BlockInputs) -> tuple[Steps, tuple[Receipt, ...]]:
        """Every step of the block in the order of rule B8."""
        opening, closing = expected_system_leaves(self.config, opened, inputs.withdrawals)
        envelopes = decode_envelopes(inputs.envelopes)
        for i in np.flatnonzero(envelopes.code):
            recover_sender(decode_envelope(inputs.envelopes[i]))  # raises the verdict in words
        parts = [self._call(opened, kind, inputs) for kind, _ in opening]
        filled = self._fill(opened, inputs.envelopes, envelopes, inputs)
        blob_gas = envelopes.blobs.astype(np.uint64) * np.uint64(GAS_PER_BLOB)
        transactions = steps_of(filled, envelopes.txid, blob_gas)
        parts.append(transactions)
        for kind, _ in closing:
            is_credit = kind == SystemKind.WITHDRAWALS
            parts.append(self._withdraw(opened, inputs) if is_credit else self._call(opened, kind, inputs))
        gas = np.cumsum(transactions.gas_used).tolist()
        rows = zip(envelopes.type.tolist(), transactions.status.tolist(), gas, filled.logs, strict=True)
        return Steps.joined(parts), tuple(Receipt(*row) for row in rows)

    def _fill(
        self,
        opened: Header,
        steps: Sequence[bytes | tuple[bytes, bytes]],
        envelopes: EnvelopeColumns | None,
        inputs: BlockInputs,
    ) -> Filled:
        senders = [SYSTEM_ADDRESS] * len(steps) if envelopes is None else [row.tobytes() for row in envelopes.sender]
        environment = environment_of(opened, self.config)
        return fill_steps(self.world, environment, steps, senders, inputs.block_hashes, self.codes)

    def _call(self, opened: Header, kind: SystemKind, inputs: BlockInputs) -> Steps:
        """One system call. A 4788 or 2935 contract without code only references its `c`; a request's must have code."""
        has_code = any(self.value((Mark.CODE, SYSTEM_CONTRACTS[kind], ZERO32)))
        if not has_code and kind in (SystemKind.WITHDRAWAL_REQUESTS, SystemKind.CONSOLIDATION_REQUESTS):
            raise Unsupported(f"block {inputs.number}: the {kind.name.lower()} contract is listed and has no code")
        call = system_call(kind, opened)
        filled = self._fill(opened, [(call.to, call.data)], None, inputs)
        txid = bytes_column(system_txid(kind, self.config.chain_id, opened.number), 32)
        steps = steps_of(filled, txid, np.zeros(1, np.uint64))
        if steps.status[0] != 1:
            raise Unsupported(f"block {inputs.number}: the {kind.name.lower()} call fails")
        return replace(steps, gas_used=np.zeros(1, np.uint64), logs_hash=bytes_column(EMPTY_LOGS_HASH, 32))

    def _withdraw(self, opened: Header, inputs: BlockInputs) -> Steps:
        """The closing withdrawals: one consume of `b` per address (B8)."""
        credits = sorted(withdrawal_credits(inputs.withdrawals).items())
        before = [self.value((Mark.BALANCE, address, ZERO32)) for address, _ in credits]
        after = [
            (int.from_bytes(value, "big") + wei).to_bytes(32, "big")
            for value, (_, wei) in zip(before, credits, strict=True)
        ]
        n = len(credits)
        marks, addresses = bytes([Mark.BALANCE]) * n, b"".join(address for address, _ in credits)
        self.world.load(marks, addresses, bytes(32 * n), b"".join(after))
        return Steps(
            bytes_column(system_txid(SystemKind.WITHDRAWALS, self.config.chain_id, opened.number), 32),
            np.array([n], np.uint32),
            np.zeros(1, np.uint32),
            np.ones(1, np.uint8),
            np.zeros(1, np.uint64),
            np.zeros(1, np.uint64),
            bytes_column(EMPTY_LOGS_HASH, 32),
            (
                np.frombuffer(marks, np.uint8),
                bytes_column(addresses, 20),
                np.zeros((n, 32), np.uint8),
                bytes_column(b"".join(before), 32),
                bytes_column(b"".join(after), 32),
            ),
        )

    def _body(self, inputs: BlockInputs, steps: Steps) -> Body:
        """Number the moves and gather the codes that this body must hold (B4): every consumed `c` that is not 0."""
        offsets = steps.offsets()
        moves = filled_moves(self.latest, steps.columns, steps.consumes.astype(np.int64), offsets)
        return Body(
            txid=steps.txid,
            consumes=steps.consumes,
            references=steps.references,
            status=steps.status,
            gas_used=steps.gas_used,
            blob_gas=steps.blob_gas,
            logs_hash=steps.logs_hash,
            moves=moves,
            envelopes=tuple(inputs.envelopes),
            codes=self._codes_of(moves),
            withdrawals=inputs.withdrawals,
        )

    def _codes_of(self, moves: Moves) -> list[bytes]:
        rows = (moves.mark == Mark.CODE) & ((moves.mask & Mask.REFERENCE) == 0) & moves.next.any(axis=1)
        hashes = {row.tobytes() for row in moves.next[rows]}
        codes = []
        for code_hash in sorted(hashes):
            code = self.codes.get(code_hash)
            if code is None:
                raise Failure(f"the code 0x{code_hash.hex()} was made and not kept")
            codes.append(code)
        return codes


def begin_chain(
    config: ChainConfig,
    blocks: Sequence[BlockInputs],
    cells: Mapping[Location, bytes],
    codes: Mapping[bytes, bytes],
    key: bytes,
    hashing: Hashing,
) -> tuple[GenesisFile, Filler]:
    """Seal the genesis before these blocks, and a filler that stands on it.

    cells: the non-zero state before the first block; codes: their bytes by hash; key: the producer's secret, 32 bytes.
    """
    latest = LatestCells()
    genesis = genesis_block(blocks[0], config, cells, codes, latest, hashing)
    filler = Filler(config, genesis, cells, codes.values(), latest, key, hashing)
    return GenesisFile(config.encode(), ancestors_of(blocks), genesis), filler
