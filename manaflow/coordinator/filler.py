"""The filler: an Ethereum block becomes a Manaflow block of profile `ethereum` (docs/SPEC.md, sections 5 and 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from manaflow._native import Codes, Filled, World
from manaflow.coordinator.ethereum import EthereumBlock, prestate_cells
from manaflow.coordinator.latest import LatestCells, filled_moves
from manaflow.coordinator.receipts import Receipt, check_receipts
from manaflow.coordinator.seal import Body, seal
from manaflow.coordinator.steps import Steps, bytes_column, steps_of
from manaflow.errors import Failure, Unsupported
from manaflow.evm.envelopes import EnvelopeColumns, decode_envelopes
from manaflow.evm.environment import SYSTEM_ADDRESS, SYSTEM_CONTRACTS, environment_of, system_call
from manaflow.evm.native import fill_steps
from manaflow.moves.block import Block
from manaflow.moves.columns import Moves
from manaflow.moves.envelopes import GAS_PER_BLOB, decode_envelope, recover_sender
from manaflow.moves.hashing import Hashing
from manaflow.moves.header import HEADER_VERSION, Header
from manaflow.moves.leaf import SystemKind, system_txid
from manaflow.moves.marks import ZERO32, Location, Mark, Mask
from manaflow.moves.trees import EMPTY_ROOT, Frontier, leaf_hash
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
    """Fills consecutive Ethereum blocks over one state. After an exception it must not be used again."""

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

    def fill(self, ethereum: EthereumBlock) -> FilledBlock:
        """Execute, fill and seal the next block.

        Raises Failure if the result is not the original block's (pre-state, gas used, receipts root, logs bloom),
        Unsupported if the rules cannot hold it.
        """
        self._check_prestate(ethereum)
        opened = self._open(ethereum)
        steps, receipts = self._execute(opened, ethereum)
        block = seal(opened, self._body(ethereum, steps), self.key, self.hashing)
        self._check_original(ethereum, block, receipts)
        self.head = block.header
        self.history.append(leaf_hash(block.hash))
        return FilledBlock(block, receipts)

    def value(self, location: Location) -> bytes:
        """The latest value at a location, 32 bytes."""
        return self.world.get(*location)

    def _check_prestate(self, ethereum: EthereumBlock) -> None:
        """Every value that the block's pre-state names must be the chain's, else "first seen wins" went wrong."""
        for location, value in prestate_cells(ethereum):
            if self.value(location) != value:
                mark, addr, slot = location
                raise Failure(
                    f"block {ethereum.number}: its pre-state has 0x{value.hex()} at {chr(mark)} 0x{addr.hex()} "
                    f"slot 0x{slot.hex()}, the chain has 0x{self.value(location).hex()}"
                )

    def _open(self, ethereum: EthereumBlock) -> Header:
        """The header's environment, fixed before anything runs."""
        self.config.entry_at(ethereum.timestamp)
        if ethereum.number != self.head.number + 1:
            raise Failure(f"block {ethereum.number} does not follow block {self.head.number}")
        return Header(
            version=HEADER_VERSION,
            config=self.config.hash,
            number=ethereum.number,
            parent_hash=self.head.hash,
            seen_parent_hash=ethereum.parent_hash,
            coinbase=ethereum.coinbase,
            timestamp=ethereum.timestamp,
            gas_limit=ethereum.gas_limit,
            gas_used=0,
            base_fee=ethereum.base_fee,
            prevrandao=ethereum.prevrandao,
            blob_gas_used=0,
            excess_blob_gas=ethereum.excess_blob_gas,
            parent_beacon_root=ethereum.parent_beacon_root,
            extra_data=ethereum.extra_data,
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

    def _execute(self, opened: Header, ethereum: EthereumBlock) -> tuple[Steps, tuple[Receipt, ...]]:
        """Every step of the block in the order of rule B8."""
        opening, closing = expected_system_leaves(self.config, opened, ethereum.withdrawals)
        envelopes = decode_envelopes(ethereum.envelopes)
        for i in np.flatnonzero(envelopes.code):
            recover_sender(decode_envelope(ethereum.envelopes[i]))  # raises the verdict in words
        parts = [self._call(opened, kind, ethereum) for kind, _ in opening]
        filled = self._fill(opened, ethereum.envelopes, envelopes, ethereum)
        blob_gas = envelopes.blobs.astype(np.uint64) * np.uint64(GAS_PER_BLOB)
        transactions = steps_of(filled, envelopes.txid, blob_gas)
        parts.append(transactions)
        for kind, _ in closing:
            is_credit = kind == SystemKind.WITHDRAWALS
            parts.append(self._withdraw(opened, ethereum) if is_credit else self._call(opened, kind, ethereum))
        gas = np.cumsum(transactions.gas_used).tolist()
        rows = zip(envelopes.type.tolist(), transactions.status.tolist(), gas, filled.logs, strict=True)
        return Steps.joined(parts), tuple(Receipt(*row) for row in rows)

    def _fill(
        self,
        opened: Header,
        steps: Sequence[bytes | tuple[bytes, bytes]],
        envelopes: EnvelopeColumns | None,
        ethereum: EthereumBlock,
    ) -> Filled:
        senders = [SYSTEM_ADDRESS] * len(steps) if envelopes is None else [row.tobytes() for row in envelopes.sender]
        environment = environment_of(opened, self.config)
        return fill_steps(self.world, environment, steps, senders, ethereum.block_hashes, self.codes)

    def _call(self, opened: Header, kind: SystemKind, ethereum: EthereumBlock) -> Steps:
        """One system call. A 4788 or 2935 contract without code only references its `c`; a request's must have code."""
        has_code = any(self.value((Mark.CODE, SYSTEM_CONTRACTS[kind], ZERO32)))
        if not has_code and kind in (SystemKind.WITHDRAWAL_REQUESTS, SystemKind.CONSOLIDATION_REQUESTS):
            raise Unsupported(f"block {ethereum.number}: the {kind.name.lower()} contract is listed and has no code")
        call = system_call(kind, opened)
        filled = self._fill(opened, [(call.to, call.data)], None, ethereum)
        txid = bytes_column(system_txid(kind, self.config.chain_id, opened.number), 32)
        steps = steps_of(filled, txid, np.zeros(1, np.uint64))
        if steps.status[0] != 1:
            raise Unsupported(f"block {ethereum.number}: the {kind.name.lower()} call fails")
        return replace(steps, gas_used=np.zeros(1, np.uint64), logs_hash=bytes_column(EMPTY_LOGS_HASH, 32))

    def _withdraw(self, opened: Header, ethereum: EthereumBlock) -> Steps:
        """The closing withdrawals: one consume of `b` per address (B8)."""
        credits = sorted(withdrawal_credits(ethereum.withdrawals).items())
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

    def _body(self, ethereum: EthereumBlock, steps: Steps) -> Body:
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
            envelopes=tuple(ethereum.envelopes),
            codes=self._codes_of(moves),
            withdrawals=ethereum.withdrawals,
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

    def _check_original(self, ethereum: EthereumBlock, block: Block, receipts: tuple[Receipt, ...]) -> None:
        if block.header.gas_used != ethereum.gas_used:
            raise Failure(
                f"block {ethereum.number}: gas used {block.header.gas_used}, "
                f"the Ethereum header has {ethereum.gas_used}"
            )
        check_receipts(receipts, ethereum.receipts_root, ethereum.logs_bloom, ethereum.number)
