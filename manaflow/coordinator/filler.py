"""The filler: envelopes become a sealed block, at once or batch by batch (docs/SPEC.md, sections 5 and 8).

    opened = filler.begin(inputs)              the environment is fixed, the opening calls have run
    taken = opened.add(envelopes)              as often as there are envelopes; each call runs natively, as one
    filled = opened.close()                    closing leaves, numbers, totals, roots, the signature

`Filler.fill` is the three in one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from manaflow._native import Codes, Filled, World
from manaflow.coordinator.credits import credit_step, credits_of
from manaflow.coordinator.genesis import ancestors_of, genesis_block, header_before
from manaflow.coordinator.inputs import BlockInputs, open_header
from manaflow.coordinator.latest import Latest, LatestCells, filled_moves
from manaflow.coordinator.receipts import Receipt
from manaflow.coordinator.seal import Body, seal
from manaflow.coordinator.steps import Steps, bytes_column, steps_of
from manaflow.errors import Failure, Rule, Unsupported, Verdict
from manaflow.evm.calls import Call
from manaflow.evm.envelopes import EnvelopeColumns, decode_envelopes, effective_prices
from manaflow.evm.environment import SYSTEM_ADDRESS, SYSTEM_CONTRACTS, environment_of, system_call
from manaflow.evm.native import fill_steps
from manaflow.moves.block import Block
from manaflow.moves.columns import Moves
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.hashing import Hashing
from manaflow.moves.header import Header
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import ZERO32, Location, Mark, Mask
from manaflow.moves.transactions import DECLARED_TYPE, GAS_PER_BLOB, DeclaredTransaction
from manaflow.moves.trees import Frontier, leaf_hash
from manaflow.moves.wire import GenesisFile
from manaflow.rules.bodies import HASH_WINDOW
from manaflow.rules.config import ChainConfig, Profile
from manaflow.rules.declared import check_s2_chain
from manaflow.rules.headers import check_b2
from manaflow.rules.leaves import compute_fees_added
from manaflow.rules.signing import BLOB_TYPE, check_s1_chain
from manaflow.rules.system import EMPTY_LOGS_HASH, REQUESTS, expected_system_leaves

CREDITING: Final = (SystemKind.WITHDRAWALS, SystemKind.FEES)
"""System leaves that execute nothing."""
_NO_GAS: Final = np.zeros(1, np.uint64)


@dataclass(frozen=True, slots=True)
class FilledBlock:
    """A sealed block and what its executions left that blocks do not hold."""

    block: Block
    receipts: tuple[Receipt, ...]
    """One per signed transaction."""


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What became of some envelopes that were added to an open block."""

    places: tuple[int, ...]
    """Which of the envelopes were taken, ascending; a row of `steps` and `receipts` each."""
    refused: tuple[Verdict, ...]
    """Why each other one was left out; `transaction` is its place among the envelopes."""
    steps: Steps
    receipts: tuple[Receipt, ...]


class Filler:
    """Fills consecutive blocks over one state. After an exception of `fill` or `close` it must not be used again."""

    def __init__(
        self,
        config: ChainConfig,
        head: Header,
        history: Frontier,
        block_hashes: Mapping[int, bytes],
        world: World,
        codes: Codes,
        latest: Latest,
        key: bytes,
        hashing: Hashing,
    ) -> None:
        """A filler of the blocks after `head`.

        history: hashes of all blocks up to the head; block_hashes: this chain's last 256, by number.
        world, codes, latest: values, code bytes and cells at the head. key: the producer's secret, 32 bytes.
        """
        self.config, self.head, self.history = config, head, history
        self.block_hashes = {n: h for n, h in block_hashes.items() if n > head.number - HASH_WINDOW}
        self.world, self.codes, self.latest, self.key, self.hashing = world, codes, latest, key, hashing

    @classmethod
    def at_genesis(cls, genesis: GenesisFile, key: bytes, hashing: Hashing) -> Self:
        """A filler of a chain's first blocks, over a state in memory. key: the producer's secret, 32 bytes."""
        config, block, moves = ChainConfig.decode(genesis.config), genesis.block, genesis.block.moves
        history, world, codes, latest = Frontier(), World(), Codes(), LatestCells()
        history.append(leaf_hash(block.hash))
        world.load(moves.mark, moves.addr, moves.slot, moves.next)
        consumes = block.leaves.consumes.astype(np.int64)
        latest.assign(moves.mark, moves.addr, moves.slot, consumes, block.leaves.move_offsets())
        for code in block.codes:
            codes.add(code)
        hashes = {block.header.number: block.hash}
        return cls(config, block.header, history, hashes, world, codes, latest, key, hashing)

    def fill(self, inputs: BlockInputs) -> FilledBlock:
        """Execute, fill and seal the next block.

        Raises Verdict if a transaction is invalid (S1, X0, X5), Failure if the block does not follow the last one,
        Unsupported if the rules cannot hold it.
        """
        opened = self.begin(inputs)
        opened.add(inputs.envelopes)
        return opened.close()

    def begin(self, inputs: BlockInputs) -> OpenFill:
        """Open the next block and make its opening calls; its envelopes are those that are added, not the inputs'.

        Raises as `open`, and Unsupported if an opening call fails. One block is open at a time.
        """
        return OpenFill(self, self.open(inputs), inputs)

    def value(self, location: Location) -> bytes:
        """The latest value at a location, 32 bytes."""
        return self.world.get(*location)

    def open(self, inputs: BlockInputs) -> Header:
        """The next header's environment, fixed before anything runs; roots and totals are zero.

        Raises Failure if the block does not follow the last one, Unsupported before the chain's first fork; Verdict(B2)
        in profile `manaflow`, whose producer chooses the inputs.
        """
        self.config.entry_at(inputs.timestamp)
        if inputs.number != self.head.number + 1:
            raise Failure(f"block {inputs.number} does not follow block {self.head.number}")
        opened = open_header(inputs, self.config, self.head, self.history.root(), self.latest.next_number)
        if self.config.profile == Profile.MANAFLOW:
            check_b2(self.head, opened, self.config)
            if inputs.withdrawals:
                raise Failure(f"block {inputs.number}: withdrawals in profile manaflow")
        return opened

    def follow(self, block: Block) -> None:
        """The next block is sealed: it is the head from here on."""
        self.head = block.header
        self.history.append(leaf_hash(block.hash))
        self.block_hashes[block.header.number] = block.hash
        self.block_hashes.pop(block.header.number - HASH_WINDOW, None)


class OpenFill:
    """A block being filled; made by `Filler.begin`. Use it until `close`, and then the filler's next one."""

    def __init__(self, filler: Filler, opened: Header, inputs: BlockInputs) -> None:
        self.header = opened
        """The environment; roots and totals are still zero."""
        self.gas_used = 0
        """Of the transactions taken so far."""
        self._filler, self._inputs = filler, inputs
        self._environment = environment_of(opened, filler.config)
        opening, _ = expected_system_leaves(filler.config, opened, inputs.withdrawals)
        self._blob_gas, self._fees = 0, 0
        self._envelopes: list[bytes] = []
        self._receipts: list[Receipt] = []
        self._parts = [self._call(kind, txid) for kind, txid in opening]

    @property
    def gas_left(self) -> int:
        """What the block's limit leaves for more transactions."""
        return self.header.gas_limit - self.gas_used

    @property
    def transactions(self) -> int:
        """Signed transactions taken so far."""
        return len(self._envelopes)

    def add(self, envelopes: Sequence[bytes], *, skip_refused: bool = False) -> Taken:
        """Execute envelopes one after another on what those before them left, and take them into the block.

        With `skip_refused`, an envelope that S1, X0 or X5 refuses is left out and named in the answer
        (manaflow.evm.native.is_block_full tells one that may fit the next block). Without it, raises that Verdict, with
        the place among `envelopes`. Raises Failure if a code or block hash is missing, Unsupported for what the rules
        cannot hold and for declared envelopes of this chain. After an error nothing of this batch has changed anything.
        """
        columns = decode_envelopes(envelopes)
        refused = self._refused(envelopes, columns)
        if refused and not skip_refused:
            raise refused[0]
        out = {verdict.transaction for verdict in refused}
        tried = [i for i in range(len(envelopes)) if i not in out]
        senders = [columns.sender[i].tobytes() for i in tried]
        filled = self._fill([envelopes[i] for i in tried], senders, skip_refused)
        places = [tried[i] for i in np.frombuffer(filled.places, np.uint32).tolist()]
        refused += [Verdict(Rule(rule), why, transaction=tried[i]) for i, rule, why in filled.refused]
        refused.sort(key=lambda verdict: verdict.transaction or 0)
        steps, receipts = self._take([envelopes[i] for i in places], columns.take(places), filled)
        return Taken(tuple(places), tuple(refused), steps, receipts)

    def close(self) -> FilledBlock:
        """Make the closing leaves, number the moves, seal the block; the filler then stands on it.

        Raises Unsupported if a closing call fails or its contract is missing, Failure if a code was made and not kept.
        """
        filler, inputs = self._filler, self._inputs
        with_fees = replace(self.header, fees=self._fees)
        _, closing = expected_system_leaves(filler.config, with_fees, inputs.withdrawals)
        for kind, txid in closing:
            self._parts.append(self._credit(kind, txid) if kind in CREDITING else self._call(kind, txid))
        block = seal(self.header, self._body(Steps.joined(self._parts)), filler.key, filler.hashing)
        filler.follow(block)
        return FilledBlock(block, tuple(self._receipts))

    def _refused(self, envelopes: Sequence[bytes], columns: EnvelopeColumns) -> list[Verdict]:
        """Verdicts on the envelopes that cannot be in a block of this chain (S1, S2), whatever the state."""
        config, declared = self._filler.config, columns.type == DECLARED_TYPE
        wrong = (columns.code != 0) | declared
        if config.profile == Profile.MANAFLOW:
            if declared.any():
                raise Unsupported("a filler signs for nobody: declared envelopes are fitted by a coordinator (S2)")
            wrong |= (columns.protected == 0) | (columns.type == BLOB_TYPE) | (columns.chain_id != config.chain_id)
        return [_refusal(envelopes[i], config).at(i) for i in np.flatnonzero(wrong).tolist()]

    def _take(
        self, envelopes: Sequence[bytes], columns: EnvelopeColumns, filled: Filled
    ) -> tuple[Steps, tuple[Receipt, ...]]:
        """The transactions that were executed are in the block from here on."""
        blob_gas = columns.blobs.astype(np.uint64) * np.uint64(GAS_PER_BLOB)
        steps = steps_of(filled, columns.txid, blob_gas)
        if self._filler.config.profile == Profile.MANAFLOW:
            prices, base_fee = effective_prices(columns, self.header.base_fee), self.header.base_fee
            used = zip(prices, steps.gas_used.tolist(), strict=True)
            steps = replace(steps, fees=tuple(compute_fees_added(price, base_fee, gas) for price, gas in used))
        gas = (np.cumsum(steps.gas_used) + np.uint64(self.gas_used)).tolist()
        rows = zip(columns.type.tolist(), steps.status.tolist(), gas, filled.logs, strict=True)
        receipts = tuple(Receipt(*row) for row in rows)
        self.gas_used += int(steps.gas_used.sum())
        self._blob_gas += int(blob_gas.sum())
        self._fees += sum(steps.fees)
        self._envelopes += envelopes
        self._receipts += receipts
        self._parts.append(steps)
        return steps, receipts

    def _fill(self, steps: Sequence[Call], senders: Sequence[bytes], skip_refused: bool = False) -> Filled:
        filler, before = self._filler, (self.gas_used, self._blob_gas)
        hashes = self._inputs.block_hashes
        return fill_steps(
            filler.world, self._environment, steps, senders, hashes, filler.codes, *before, skip_refused=skip_refused
        )

    def _call(self, kind: SystemKind, txid: bytes) -> Steps:
        """One system call. A 4788 or 2935 contract without code only references its `c`; a request's must have code."""
        number = self.header.number
        has_code = any(self._filler.value((Mark.CODE, SYSTEM_CONTRACTS[kind], ZERO32)))
        if not has_code and kind in REQUESTS:
            raise Unsupported(f"block {number}: the {kind.name.lower()} contract is listed and has no code")
        call = system_call(kind, self.header)
        steps = steps_of(self._fill([(call.to, call.data)], [SYSTEM_ADDRESS]), bytes_column(txid, 32), _NO_GAS)
        if steps.status[0] != 1:
            raise Unsupported(f"block {number}: the {kind.name.lower()} call fails")
        return replace(steps, gas_used=_NO_GAS, logs_hash=bytes_column(EMPTY_LOGS_HASH, 32))

    def _credit(self, kind: SystemKind, txid: bytes) -> Steps:
        """The closing withdrawals or fees: one consume of `b` per address (B8)."""
        credits = credits_of(kind, self._inputs.withdrawals, self.header.coinbase, self._fees)
        steps = credit_step(txid, credits, self._filler.value)
        mark, addr, slot, _, after = steps.columns
        self._filler.world.load(mark, addr, slot, after)
        return steps

    def _body(self, steps: Steps) -> Body:
        """Number the moves and gather the codes that this body must hold (B4): every consumed `c` that is not 0."""
        latest, consumes = self._filler.latest, steps.consumes.astype(np.int64)
        moves = filled_moves(latest, steps.columns, consumes, steps.offsets())
        return Body(
            txid=steps.txid,
            consumes=steps.consumes,
            references=steps.references,
            status=steps.status,
            gas_used=steps.gas_used,
            blob_gas=steps.blob_gas,
            logs_hash=steps.logs_hash,
            moves=moves,
            envelopes=tuple(self._envelopes),
            codes=_codes_of(moves, self._filler.codes),
            withdrawals=self._inputs.withdrawals,
            fees=steps.fees,
        )


def _refusal(raw: bytes, config: ChainConfig) -> Verdict:
    """S1 or S2's verdict, in words, on an envelope that the columns refuse."""
    try:
        transaction = decode_envelope(raw)
        recover_sender(transaction)
        if isinstance(transaction, DeclaredTransaction):
            check_s2_chain(transaction, config)
        else:
            check_s1_chain(transaction, config)
    except Verdict as verdict:
        return verdict
    raise Failure("internal error: the columns refuse an envelope that the plain rules accept")


def _codes_of(moves: Moves, codes: Codes) -> list[bytes]:
    """The bytes of every code that moves make live. Raises Failure if one was not kept."""
    rows = (moves.mark == Mark.CODE) & ((moves.mask & Mask.REFERENCE) == 0) & moves.next.any(axis=1)
    made = []
    for code_hash in sorted({row.tobytes() for row in moves.next[rows]}):
        code = codes.get(code_hash)
        if code is None:
            raise Failure(f"the code 0x{code_hash.hex()} was made and not kept")
        made.append(code)
    return made


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
    genesis = genesis_block(header_before(blocks[0], config), config, cells, codes, hashing)
    file = GenesisFile(config.encode(), ancestors_of(blocks), genesis)
    return file, Filler.at_genesis(file, key, hashing)
