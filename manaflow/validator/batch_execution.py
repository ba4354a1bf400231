"""X of a batch's transactions, each alone and all in parallel (docs/SPEC.md, sections 7 and 8).

What the block has left of gas is not looked at here (each is judged as if it stood first): admission does, in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from manaflow.errors import Failure, Rule, StorageFailure, Verdict
from manaflow.evm.code_cache import CodeCache, CodeOf, code_hashes_named
from manaflow.evm.environment import environment_of
from manaflow.evm.isolated import execute_alone, job_of
from manaflow.evm.native import RevmExecutor, execute_block
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.header import Header
from manaflow.moves.marks import ZERO32, Mark
from manaflow.rules.config import ChainConfig
from manaflow.validator.candidates import Candidates


class BatchExecution:
    """Executes batches for one open block. Codes are analysed once."""

    def __init__(self, config: ChainConfig, opened: Header, threads: int = 0) -> None:
        """`threads`: how many at most, 0 for all."""
        self._environment, self._threads = environment_of(opened, config), threads
        self._cache, self._revm = CodeCache(), RevmExecutor()
        self.logs: dict[bytes, bytes] = {}
        """RLP of the logs of what was executed together and fulfils X, by their hash (a transaction may be sent in two
        fills), since someone last emptied it."""

    def run(self, candidates: Candidates, which: Sequence[int], code_of: CodeOf) -> Mapping[int, Verdict | None]:
        """X0 to X5 of some of the candidates, which fulfil S and M: their verdicts, None for one that fulfils them.

        One that names a code which nobody knows is not executed and not answered for: its cell cannot be there (V1).
        What the rules cannot hold is refused by X0.
        """
        offsets, moves = candidates.offsets, candidates.block.moves
        unknown: set[bytes] = set()

        def named_by(t: int) -> set[bytes]:
            return code_hashes_named(moves.take(offsets[t], offsets[t + 1]))

        def noting(code_hash: bytes) -> bytes | None:
            code = code_of(code_hash)
            if code is None:
                unknown.add(code_hash)
            return code

        verdicts: dict[int, Verdict | None] = {}
        is_whole = len(which) == len(candidates.batch)
        names = code_hashes_named(moves) if is_whole else set[bytes]().union(*map(named_by, which))
        for group in self._cache.groups(which, names, named_by, noting):
            ready = [t for t in group if not named_by(t) & unknown] if unknown else group
            verdicts |= self._judge(candidates, ready, code_of)
        return verdicts

    def _judge(self, candidates: Candidates, ready: Sequence[int], code_of: CodeOf) -> dict[int, Verdict | None]:
        """Those whose codes the cache holds."""
        if not ready:
            return {}
        try:
            results = self._execute(candidates, ready)
        except StorageFailure:
            raise
        except Failure:  # of one of them: each for itself
            return {t: self._alone(candidates, t, code_of) for t in ready}
        if not any(results.values()):
            return dict.fromkeys(results)
        return {t: self._alone(candidates, t, code_of, found) if found else None for t, found in results.items()}

    def _execute(self, candidates: Candidates, which: Sequence[int]) -> dict[int, int]:
        block, logs = candidates.block, dict[int, bytes]()
        found = execute_block(
            self._environment,
            block.moves,
            block.leaves,
            block.envelopes,
            candidates.envelopes.sender,
            self._cache.codes,
            order=np.array(which, np.int64),
            threads=self._threads,
            logs=logs,
        )
        hashes, rules = candidates.batch.logs_hash.tobytes(), found.tolist()
        self.logs.update((hashes[32 * t : 32 * t + 32], encoded) for t, encoded in logs.items() if not rules[t])
        return {t: rules[t] for t in which}

    def _alone(self, candidates: Candidates, t: int, code_of: CodeOf, found: int = 0) -> Verdict | None:
        """One of them, rule after rule. found: the number of the rule that it breaks, if that is known."""
        block, moves = candidates.block, candidates.transactions.moves(t)
        named = {move.prev for move in moves if move.mark == Mark.CODE and move.prev != ZERO32}
        codes = {code_hash: code for code_hash in named if (code := code_of(code_hash)) is not None}
        call, sender = decode_envelope(block.envelopes[t]), candidates.envelopes.sender[t].tobytes()
        leaf = block.leaves[t]
        try:
            execute_alone(self._revm, job_of(self._environment, call, sender, leaf, moves, codes), moves, leaf.outcome)
        except Verdict as verdict:
            return verdict
        except Failure as failure:
            return Verdict(Rule.X0, str(failure))
        if found:
            raise Failure(f"internal error: together refused by {Rule(found).name}, alone accepted")
        return None
