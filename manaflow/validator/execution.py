"""X0 to X5 of a whole block, each transaction alone and all in parallel (mode `execute`)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from manaflow._native import NOT_EXECUTED, Codes
from manaflow.errors import Failure, Rule, Verdict
from manaflow.evm.calls import calls_of
from manaflow.evm.code_cache import CodeCache, CodeOf, code_hashes_named
from manaflow.evm.envelopes import decode_envelopes
from manaflow.evm.environment import SYSTEM_ADDRESS, environment_of, system_call
from manaflow.evm.executor import Executor, Job, SystemCall
from manaflow.evm.isolated import execute_alone, job_of
from manaflow.evm.native import RevmExecutor, execute_block
from manaflow.moves.block import Block
from manaflow.moves.columns import I64, U8
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import ZERO32, Mark, Move
from manaflow.moves.transactions import EthereumTransaction
from manaflow.rules.config import ChainConfig
from manaflow.rules.system import expected_system_leaves


class BlockExecution:
    """Executes blocks natively. Codes are analysed once and kept from block to block, as many as fit."""

    def __init__(self, config: ChainConfig, threads: int = 0) -> None:
        """`threads`: how many at most, 0 for all."""
        self.config, self.threads = config, threads
        self._cache = CodeCache()
        self._revm = RevmExecutor()

    def run(
        self,
        block: Block,
        senders: U8,
        code_of: CodeOf,
        order: I64 | None = None,
        logs: dict[int, bytes] | None = None,
    ) -> U8:
        """uint8[t]: 0 or the number of the first rule of X0 to X5 that a leaf breaks; NOT_EXECUTED if not in `order`.

        senders: uint8[t, 20], zeros for system leaves; `order`: int64, leaves in any order, None for all; `logs`: see
        execute_block. The block is after genesis and fulfils B, S1 and M. Raises Failure if a code is missing,
        Unsupported for what no rule holds.
        """
        environment, calls = environment_of(block.header, self.config), calls_of(self.config, block)
        results = np.full(len(block.leaves), NOT_EXECUTED, np.uint8)
        which: list[int] = list(range(len(results))) if order is None else order.tolist()
        offsets, with_body = block.leaves.move_offsets().tolist(), self._with_body(block, code_of)

        def named_by(t: int) -> set[bytes]:
            return code_hashes_named(block.moves.take(offsets[t], offsets[t + 1]))

        for group in self._cache.groups(which, code_hashes_named(block.moves), named_by, with_body):
            at, codes = np.array(group, np.int64), self._cache.codes
            found = execute_block(
                environment, block.moves, block.leaves, calls, senders, codes, order=at, logs=logs, threads=self.threads
            )
            results[at] = found[at]
        return results

    def check(
        self, block: Block, senders: U8, code_of: CodeOf, judged: Mapping[int, bytes] = MappingProxyType({})
    ) -> Mapping[int, bytes]:
        """Raises the Verdict of the first transaction that breaks X0 to X5.

        judged: leaves that are known to fulfil them, with the RLP of their logs. Returns that of all that have any.
        """
        logs = dict(judged)
        order = np.array([t for t in range(len(block.leaves)) if t not in judged], np.int64)
        results = self.run(block, senders, code_of, order, logs)
        for t in order[results[order] != 0][:1].tolist():
            raise self.verdict(block, t, senders[t].tobytes(), code_of, int(results[t]))
        return logs

    def verdict(self, block: Block, t: int, sender: bytes, code_of: CodeOf, found: int) -> Verdict:
        """Why transaction t is refused: executed once more, rule after rule. `found`: the number that `run` gave."""
        assert found != NOT_EXECUTED
        verdict = judge_alone(self._revm, self.config, block, t, sender, self._with_body(block, code_of))
        if verdict is None:
            name = Rule(found).name
            raise Failure(
                f"internal error: the block's execution refuses transaction {t} by {name}, alone it is accepted"
            )
        return verdict

    def _with_body(self, block: Block, code_of: CodeOf) -> CodeOf:
        """Codes of the block's own body, then those that are known."""
        body = Codes()
        for code in block.codes:
            body.add(code)

        def known(code_hash: bytes) -> bytes | None:
            found = body.get(code_hash)
            return code_of(code_hash) if found is None else found

        return known


def senders_of(config: ChainConfig, block: Block) -> U8:
    """uint8[t, 20]: who signed each transaction of a block that fulfils B8; zeros for system transactions."""
    opening, _ = expected_system_leaves(config, block.header, block.withdrawals)
    senders = np.zeros((len(block.leaves), 20), np.uint8)
    senders[len(opening) : len(opening) + len(block.envelopes)] = decode_envelopes(block.envelopes).sender
    return senders


def kinds_of(config: ChainConfig, block: Block) -> list[SystemKind | None]:
    """The kind of each leaf of a block after genesis that fulfils B8; None for a signed transaction."""
    opening, closing = expected_system_leaves(config, block.header, block.withdrawals)
    signed: list[SystemKind | None] = [None] * len(block.envelopes)
    return [*(kind for kind, _ in opening), *signed, *(kind for kind, _ in closing)]


def alone(config: ChainConfig, block: Block, t: int, sender: bytes, code_of: CodeOf) -> tuple[Job, list[Move]] | None:
    """Transaction t as a job, and its moves; None for what executes nothing (withdrawals). Raises Verdict(S1)."""
    kinds, offsets = kinds_of(config, block), block.leaves.move_offsets()
    kind = kinds[t]
    if kind in (SystemKind.WITHDRAWALS, SystemKind.FEES):
        return None
    moves = block.moves.take(int(offsets[t]), int(offsets[t + 1])).objects()
    named = {m.prev for m in moves if m.mark == Mark.CODE and m.prev != ZERO32}
    codes = {code_hash: code for code_hash in named if (code := code_of(code_hash)) is not None}
    call: EthereumTransaction | SystemCall
    if kind is None:
        call = decode_envelope(block.envelopes[t - kinds.index(None)])
    else:
        call, sender = system_call(kind, block.header), SYSTEM_ADDRESS
    return job_of(environment_of(block.header, config), call, sender, block.leaves[t], moves, codes), moves


def judge_alone(
    executor: Executor, config: ChainConfig, block: Block, t: int, sender: bytes, code_of: CodeOf
) -> Verdict | None:
    """Transaction t by X0 to X5, executed alone: its verdict, or None. Raises Failure as executors do."""
    made = alone(config, block, t, sender, code_of)
    if made is None:
        return None
    job, moves = made
    try:
        execute_alone(executor, job, moves, block.leaves[t].outcome)
    except Verdict as verdict:
        return verdict.at(t)
    return None
